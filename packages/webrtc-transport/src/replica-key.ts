// A replica's own key pair. Its id is a hash of the public half, so who holds the private half can prove the id, and nobody
// else can take it, not even while the replica is away. Unlike a page's identity it has to outlive the page: it is kept as
// bytes, with the replica's state. What is signed with it is announcement.ts's business.
import { type ReplicaId, replicaId, WepaxosError } from '@wepaxos/core'
import { decodeBase64Url, encodeBase64Url } from './base64url.ts'
import {
  createKeyPair,
  defaultAlgorithm,
  type Identity,
  type IdentityAlgorithm,
  importPrivateKey,
  isSignedBy,
  keyBytes,
  knowsKind,
  type PublicIdentity,
  signAs,
} from './identity.ts'
import { lengthPrefixed } from './length-prefixed.ts'

/** Ready to sign. */
export interface ReplicaKey extends Identity {
  readonly replica: ReplicaId
}

/** The parts of a key as it is stored. They have the right form; whether they belong together shows when it is imported. */
export interface StoredReplicaKey extends PublicIdentity {
  readonly replica: ReplicaId
  readonly pkcs8: Uint8Array<ArrayBuffer>
}

const idLabel = 'wepaxos-replica/v1'
const idBytes = 16
//   key = version, algorithm (1 byte each), id (16 bytes), raw public key (32 or 65 bytes), private key (PKCS #8)
const version = 1
const algorithms: readonly IdentityAlgorithm[] = ['Ed25519', 'P-256']
const publicKeyAt = 2 + idBytes
const pkcs8BytesMax = 512

/** A new key and the id that comes from it. Rejects where this browser does not know the kind. */
export async function createReplicaKey(
  alg: IdentityAlgorithm = defaultAlgorithm,
): Promise<{ readonly replica: ReplicaId; readonly key: Uint8Array }> {
  const pair = await createKeyPair(alg, true)
  const [publicKey, pkcs8] = await Promise.all([
    crypto.subtle.exportKey('raw', pair.publicKey),
    crypto.subtle.exportKey('pkcs8', pair.privateKey),
  ])
  const id = await hashOf(alg, new Uint8Array(publicKey))
  const head = Uint8Array.of(version, algorithms.indexOf(alg))
  const parts = [head, id, new Uint8Array(publicKey), new Uint8Array(pkcs8)]
  return { replica: replicaId(hex(id)), key: Uint8Array.from(parts.flatMap((part) => [...part])) }
}

/** The id that comes from a public key; undefined where the key is not one of its kind. */
export async function replicaIdOf({ alg, key }: PublicIdentity): Promise<ReplicaId | undefined> {
  const publicKey = decodeBase64Url(key)
  if (publicKey === undefined || publicKey.length !== keyBytes[alg]) return undefined
  return replicaId(hex(await hashOf(alg, publicKey)))
}

/** undefined for bytes that are not of the form that `createReplicaKey` gives a key. */
export function decodeReplicaKey(bytes: Uint8Array): StoredReplicaKey | undefined {
  const alg = algorithms[bytes[1] ?? -1]
  if (bytes[0] !== version || alg === undefined) return undefined
  const pkcs8At = publicKeyAt + keyBytes[alg]
  const pkcs8Bytes = bytes.length - pkcs8At
  if (pkcs8Bytes < 1 || pkcs8Bytes > pkcs8BytesMax) return undefined
  return {
    replica: replicaId(hex(bytes.subarray(2, publicKeyAt))),
    alg,
    key: encodeBase64Url(bytes.subarray(publicKeyAt, pkcs8At)),
    pkcs8: new Uint8Array(bytes.subarray(pkcs8At)),
  }
}

/**
 * Rejects with InvalidArgument where the private key, the public one and the id do not belong together, and with NotSupported
 * where this browser does not know the kind.
 */
export async function importReplicaKey({ replica, alg, key, pkcs8 }: StoredReplicaKey): Promise<ReplicaKey> {
  if (!(await knowsKind(alg))) {
    const unknown = `the key of replica ${replica} is of the kind ${alg}, which this browser does not know`
    throw new WepaxosError('NotSupported', unknown)
  }
  const problem = `the key of replica ${replica} is none, or not its own`
  let privateKey: CryptoKey
  try {
    privateKey = await importPrivateKey(alg, pkcs8)
  } catch (cause) {
    throw new WepaxosError('InvalidArgument', problem, {}, cause)
  }
  const imported: ReplicaKey = { replica, alg, key, privateKey }
  // Tried here, for peers close the link on which it fails.
  const probe = lengthPrefixed([`${idLabel} probe`])
  const isPair = await isSignedBy(imported, await signAs(imported, probe), probe)
  if (!isPair || (await replicaIdOf(imported)) !== replica) throw new WepaxosError('InvalidArgument', problem)
  return imported
}

async function hashOf(alg: IdentityAlgorithm, publicKey: Uint8Array): Promise<Uint8Array> {
  return new Uint8Array(await crypto.subtle.digest('SHA-256', lengthPrefixed([idLabel, alg, publicKey])), 0, idBytes)
}

function hex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('')
}
