// The first words on a new link: each end proves its key, its role and that the channel ends where it says, before
// anything else is read. A hello with key, nonce and role crosses at once; the signature that answers it covers both
// hellos and both certificates of the channel, so a proof says nothing on any other channel. A voter adds an HMAC of the
// same with the join key, which the reader's secret does not give.
import { encodeBase64Url, randomText } from './base64url.ts'
import type { Clock } from './clock.ts'
import { type Identity, type IdentityAlgorithm, identityName, isSignedBy, knowsKind, signAs } from './identity.ts'
import type { RoomKeys } from './invite.ts'
import { lengthPrefixed } from './length-prefixed.ts'
import type { LinkFingerprints } from './peer-link.ts'

/** What a page proves itself with. */
export interface Credentials {
  readonly keys: Pick<RoomKeys, 'room' | 'role' | 'join'>
  readonly identity: Identity
}

/** Who is at the other end of a link. */
export interface ProvenPeer {
  /** The name of its key: see identityName. It has signed for this very channel. */
  readonly identity: string
  /**
   * `voter`: it holds the voter's secret. Proven where this page holds it too; a reader can not check that, and takes the
   * word of the other end.
   */
  readonly role: RoomKeys['role']
  readonly binding: LinkBinding
}

/**
 * One short name for each end of this one link: the SHA-256 of what that end has signed here, base64url. Both ends know both,
 * and no other link has any of them, so what is signed together with one is worth nothing anywhere else.
 */
export interface LinkBinding {
  readonly own: string
  readonly theirs: string
}

export interface LinkProofOptions {
  readonly credentials: Credentials
  /** The ids of both ends in the room. */
  readonly self: string
  readonly peer: string
  readonly clock: Clock
  readonly fingerprints: () => Promise<LinkFingerprints>
  readonly send: (bytes: Uint8Array<ArrayBuffer>) => void
  /** Once, if the other end proves itself; `unread` are the frames that came after its proof. */
  readonly onProven: (peer: ProvenPeer, unread: readonly Uint8Array[]) => void
  /**
   * Once, if it does not: the link is to be closed. `unknown-key`: what it would say can not be checked in this browser, so it
   * was not told who is here either.
   */
  readonly onRefused: (reason: string, kind: ProofRefusal) => void
}

export type ProofRefusal = 'unproven' | 'unknown-key'

interface Hello {
  readonly alg: IdentityAlgorithm
  readonly key: string
  readonly nonce: string
  readonly role: RoomKeys['role']
}

interface Proof {
  readonly signature: string
  /** The HMAC of a voter. */
  readonly join: string | undefined
}

/** One end of the channel, as both ends sign it. */
interface End extends Hello {
  readonly id: string
  readonly certificate: string
}

/** Of each of the two messages of a proof. */
export const proofBytesMax = 4096
export const proofTimeoutMs = 5_000
/** What the other end says after its proof, while that is being verified, waits unread; this much of it. */
const unreadBytesMax = 1024 * 1024
const bindingLabel = 'wepaxos-dtls-bind/v1'

export class LinkProof {
  readonly #options: LinkProofOptions
  readonly #frames: Uint8Array[] = []
  readonly #cancelTimeout: () => void
  #wake: () => void = () => undefined
  #taken = 0
  #heldBytes = 0
  #ended = false

  /** Begins at once: the link is open. */
  constructor(options: LinkProofOptions) {
    this.#options = options
    this.#cancelTimeout = options.clock.after(proofTimeoutMs, () => this.#refuse('no proof in time'))
    this.#run().catch((error: unknown) => this.#refuse(error instanceof Error ? error.message : String(error)))
  }

  /** One frame from the link. */
  receive(frame: Uint8Array): void {
    if (this.#ended) return
    this.#heldBytes += frame.length
    const count = this.#taken + this.#frames.length
    if (count < 2 && frame.length > proofBytesMax)
      return this.#refuse(`a message of ${frame.length} bytes before a proof`)
    if (this.#heldBytes > unreadBytesMax) return this.#refuse('too much before the proof was verified')
    this.#frames.push(frame)
    this.#wake()
  }

  /** The link is gone, or no longer wanted. */
  end(): void {
    this.#ended = true
    this.#cancelTimeout()
    this.#frames.length = 0
  }

  async #run(): Promise<void> {
    const { credentials, self, peer, fingerprints, send } = this.#options
    const { keys, identity } = credentials
    const hello: Hello = { alg: identity.alg, key: identity.key, nonce: randomText(32), role: keys.role }
    send(encode({ type: 'proof-hello', ...hello }))
    const [certificates, firstFrame] = await Promise.all([fingerprints(), this.#nextFrame()])
    const theirHello = decodeHello(firstFrame)
    if (theirHello === undefined) return this.#refuse('a hello that is none')
    if (!(await knowsKind(theirHello.alg))) return this.#refuse(`a key of the kind ${theirHello.alg}`, 'unknown-key')
    // Nobody has these but this end: what shows them is this end's own echo.
    if (theirHello.nonce === hello.nonce || certificates.own === certificates.theirs) return this.#refuse('an echo')

    const ours: End = { ...hello, id: self, certificate: certificates.own }
    const theirs: End = { ...theirHello, id: peer, certificate: certificates.theirs }
    const said = bound(keys.room, ours, theirs)
    const [signature, join] = await Promise.all([signAs(identity, said), mac(keys.join, said)])
    if (this.#ended) return
    send(encode({ type: 'proof', signature, ...(join === undefined ? {} : { join }) }))

    const proof = decodeProof(await this.#nextFrame())
    if (proof === undefined) return this.#refuse('a proof that is none')
    const saidThere = bound(keys.room, theirs, ours)
    const [isSigned, mayJoin, name, ownEnd, theirEnd] = await Promise.all([
      isSignedBy(theirs, proof.signature, saidThere),
      isRoleProven(keys.join, theirs.role, proof, saidThere),
      identityName(theirs),
      digest(said),
      digest(saidThere),
    ])
    if (!isSigned) return this.#refuse('a signature that is not for this channel')
    if (!mayJoin) return this.#refuse("a voter's role without the voter's secret")
    if (this.#ended) return
    const unread = [...this.#frames]
    this.end()
    this.#options.onProven({ identity: name, role: theirs.role, binding: { own: ownEnd, theirs: theirEnd } }, unread)
  }

  async #nextFrame(): Promise<Uint8Array> {
    while (this.#frames.length === 0) await new Promise<void>((resolve) => (this.#wake = resolve))
    this.#taken += 1
    return this.#frames.shift() ?? new Uint8Array(0)
  }

  #refuse(reason: string, kind: ProofRefusal = 'unproven'): void {
    if (this.#ended) return
    this.end()
    this.#options.onRefused(reason, kind)
  }
}

/** What the end `from` says to the end `to`. */
function bound(room: string, from: End, to: End): Uint8Array<ArrayBuffer> {
  const end = ({ id, alg, key, nonce, certificate, role }: End) => [id, alg, key, nonce, certificate, role]
  return lengthPrefixed([bindingLabel, room, ...end(from), ...end(to)])
}

async function digest(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  return encodeBase64Url(new Uint8Array(await crypto.subtle.digest('SHA-256', bytes)))
}

async function mac(key: CryptoKey | undefined, bytes: Uint8Array<ArrayBuffer>): Promise<string | undefined> {
  return key === undefined ? undefined : encodeBase64Url(new Uint8Array(await crypto.subtle.sign('HMAC', key, bytes)))
}

async function isRoleProven(
  key: CryptoKey | undefined,
  role: RoomKeys['role'],
  { join }: Proof,
  bytes: Uint8Array<ArrayBuffer>,
): Promise<boolean> {
  if (role === 'reader') return join === undefined
  if (join === undefined) return false
  // Comparing needs no constant time: the MAC is of this channel only, and a wrong one ends it.
  return key === undefined || join === (await mac(key, bytes))
}

function encode(message: Readonly<Record<string, unknown>>): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(JSON.stringify(message))
}

function decode(bytes: Uint8Array): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
    return typeof value === 'object' && value !== null ? { ...value } : {}
  } catch {
    return {}
  }
}

function decodeHello(bytes: Uint8Array): Hello | undefined {
  const { type, alg, key, nonce, role } = decode(bytes) as Record<keyof Hello | 'type', unknown>
  if (type !== 'proof-hello' || (alg !== 'Ed25519' && alg !== 'P-256') || typeof key !== 'string') return undefined
  if (typeof nonce !== 'string' || !/^[\w-]{43}$/.test(nonce) || (role !== 'voter' && role !== 'reader'))
    return undefined
  return { alg, key, nonce, role }
}

function decodeProof(bytes: Uint8Array): Proof | undefined {
  const { type, signature, join } = decode(bytes) as Record<keyof Proof | 'type', unknown>
  if (type !== 'proof' || typeof signature !== 'string') return undefined
  return join === undefined || typeof join === 'string' ? { signature, join } : undefined
}
