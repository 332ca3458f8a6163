// A page's identity in a room: a key pair of which only the public half leaves the browser. ECDSA on P-256, which every
// WebCrypto has; one of Ed25519 can be given, and kept ones are used. What is signed with it is link-proof.ts's business. The
// keys of replicas are of the same kinds: see replica-key.ts.
import { WepaxosError } from '@wepaxos/core'
import { decodeBase64Url, encodeBase64Url } from './base64url.ts'

export type IdentityAlgorithm = 'Ed25519' | 'P-256'

/**
 * Of new keys. Not the best kind that this browser knows: the other end has to check what is signed, and Ed25519 came to
 * Chrome with 137, to Firefox with 129.
 */
export const defaultAlgorithm: IdentityAlgorithm = 'P-256'

/** The public half of an identity, as it is written in a proof. */
export interface PublicIdentity {
  readonly alg: IdentityAlgorithm
  /** The raw public key, base64url. */
  readonly key: string
}

/** This page's own. */
export interface Identity extends PublicIdentity {
  readonly privateKey: CryptoKey
}

/** Of a raw public key. */
export const keyBytes: Readonly<Record<IdentityAlgorithm, number>> = { Ed25519: 32, 'P-256': 65 }
const signing: Readonly<Record<IdentityAlgorithm, AlgorithmIdentifier | EcdsaParams>> = {
  Ed25519: 'Ed25519',
  'P-256': { name: 'ECDSA', hash: 'SHA-256' },
}
const making = { Ed25519: 'Ed25519', 'P-256': { name: 'ECDSA', namedCurve: 'P-256' } } as const

/** A new key pair whose private half can not be extracted, ready to be kept in IndexedDB. */
export function createIdentity(): Promise<CryptoKeyPair> {
  return createKeyPair(defaultAlgorithm, false)
}

/** Rejects where this browser does not know the kind. */
export async function createKeyPair(alg: IdentityAlgorithm, extractable: boolean): Promise<CryptoKeyPair> {
  // Both kinds make pairs; the types know it only for the names that they list.
  return (await crypto.subtle.generateKey(making[alg], extractable, ['sign', 'verify'])) as CryptoKeyPair
}

/** A private key that may sign, from its PKCS #8. Rejects where the bytes are none of that kind. */
export function importPrivateKey(alg: IdentityAlgorithm, pkcs8: Uint8Array<ArrayBuffer>): Promise<CryptoKey> {
  return crypto.subtle.importKey('pkcs8', pkcs8, making[alg], false, ['sign'])
}

/** The identity of a key pair. Throws InvalidArgument where it is of another kind, or can not sign. */
export async function identityOf(pair: CryptoKeyPair): Promise<Identity> {
  const alg = algorithmOf(pair.publicKey)
  if (alg === undefined || algorithmOf(pair.privateKey) !== alg || !pair.privateKey.usages.includes('sign')) {
    const problem = 'an identity is a key pair of Ed25519 or of ECDSA on P-256, with a private key that may sign'
    throw new WepaxosError('InvalidArgument', problem)
  }
  const key = encodeBase64Url(new Uint8Array(await crypto.subtle.exportKey('raw', pair.publicKey)))
  return { alg, key, privateKey: pair.privateKey }
}

/** One short name for an identity: the first 128 bits of the SHA-256 of its public half, base64url. */
export async function identityName({ alg, key }: PublicIdentity): Promise<string> {
  const digest = await crypto.subtle.digest('SHA-256', new TextEncoder().encode(`wepaxos-identity/v1 ${alg} ${key}`))
  return encodeBase64Url(new Uint8Array(digest, 0, 16))
}

export async function signAs(identity: Identity, bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  return encodeBase64Url(new Uint8Array(await crypto.subtle.sign(signing[identity.alg], identity.privateKey, bytes)))
}

/** False: this browser can not tell whether a signature of that kind is one. Nobody is to be blamed for that. */
export async function knowsKind(alg: IdentityAlgorithm): Promise<boolean> {
  if (alg === 'P-256') return true
  try {
    await crypto.subtle.importKey('raw', new Uint8Array(keyBytes[alg]), making[alg], true, ['verify'])
    return true
  } catch (error) {
    // Another error would be about these bytes.
    return !(error instanceof Error && error.name === 'NotSupportedError')
  }
}

/** False also where the key or the signature is not one, or `knowsKind` is false. */
export async function isSignedBy(
  { alg, key }: PublicIdentity,
  signature: string,
  bytes: Uint8Array<ArrayBuffer>,
): Promise<boolean> {
  const rawKey = decodeBase64Url(key)
  const rawSignature = decodeBase64Url(signature)
  if (rawKey === undefined || rawKey.length !== keyBytes[alg] || rawSignature === undefined) return false
  try {
    const publicKey = await crypto.subtle.importKey('raw', rawKey, making[alg], true, ['verify'])
    return await crypto.subtle.verify(signing[alg], publicKey, rawSignature, bytes)
  } catch {
    // The bytes are no point of the curve.
    return false
  }
}

function algorithmOf(key: CryptoKey): IdentityAlgorithm | undefined {
  const { name } = key.algorithm
  if (name === 'Ed25519') return 'Ed25519'
  return name === 'ECDSA' && 'namedCurve' in key.algorithm && key.algorithm.namedCurve === 'P-256' ? 'P-256' : undefined
}
