// Sealed envelopes: how signaling messages cross a server that is not trusted. AES-256-GCM under a key of the room, the
// sender and the sender's session; the header is authenticated, and each receiver takes each sequence number once, in
// growing order. Says nothing about what the messages mean.

import { decodeBase64Url, encodeBase64Url } from './base64url.ts'
import type { RoomKeys } from './invite.ts'
import { lengthPrefixed } from './length-prefixed.ts'
import { decodeSignalingMessage, type SignalingMessage } from './signaling-message.ts'

/** What the signaling server sees. `iv` and `ct` are base64url; `seq` grows with each message of a session. */
export interface SealedEnvelope {
  readonly v: 1
  readonly room: string
  readonly from: string
  readonly to: string
  readonly session: string
  readonly seq: number
  readonly iv: string
  readonly ct: string
}

/** Why an envelope was not opened. */
export type SealRefusal =
  /** Not an envelope of this version. */
  | 'malformed'
  | 'wrong-room'
  /** The server says it comes from another peer than the envelope does. */
  | 'wrong-sender'
  | 'wrong-recipient'
  /** The sender is known under another session. */
  | 'wrong-session'
  /** The sequence number was used already, or is older than one that was. */
  | 'replayed'
  /** Sealed with another secret, or changed on the way. */
  | 'undecryptable'
  /** Sealed rightly, but not a message of this version. */
  | 'bad-message'

export type OpenResult =
  | { readonly ok: true; readonly from: string; readonly message: SignalingMessage }
  | { readonly ok: false; readonly reason: SealRefusal }

const idPattern = /^[A-Za-z0-9_-]{16,64}$/
const ivBytes = 12
const ciphertextLengthMax = 16 * 1024
const sendersMax = 1024

/** Seals one sender's messages of one session. */
export class Sealer {
  readonly #keys: RoomKeys
  readonly #from: string
  readonly #session: string
  readonly #key: Promise<CryptoKey>
  #seq = 0
  #tail: Promise<unknown> = Promise.resolve()

  constructor(keys: RoomKeys, from: string, session: string) {
    this.#keys = keys
    this.#from = from
    this.#session = session
    this.#key = senderKey(keys, from, session)
  }

  /** Resolves in the order of the calls: the receiver refuses a number that is lower than one it has seen. */
  seal(to: string, message: SignalingMessage): Promise<SealedEnvelope> {
    this.#seq += 1
    const header = {
      v: 1 as const,
      room: this.#keys.room,
      from: this.#from,
      to,
      session: this.#session,
      seq: this.#seq,
    }
    const sealed = this.#tail.then(async () => {
      const iv = crypto.getRandomValues(new Uint8Array(ivBytes))
      const plaintext = new TextEncoder().encode(JSON.stringify(message))
      const parameters = { name: 'AES-GCM', iv, additionalData: additionalData(header) }
      const ct = new Uint8Array(await crypto.subtle.encrypt(parameters, await this.#key, plaintext))
      return { ...header, iv: encodeBase64Url(iv), ct: encodeBase64Url(ct) }
    })
    this.#tail = sealed.catch(() => undefined)
    return sealed
  }
}

interface KnownSender {
  readonly session: string
  readonly key: CryptoKey
  lastSeq: number
}

/** Opens what others sealed for one receiver. */
export class Opener {
  readonly #keys: RoomKeys
  readonly #self: string
  // Only who sealed rightly gets an entry, so an outsider can not push anybody out. In order of last use.
  readonly #senders = new Map<string, KnownSender>()
  #tail: Promise<unknown> = Promise.resolve()

  constructor(keys: RoomKeys, self: string) {
    this.#keys = keys
    this.#self = self
  }

  /** `stampedFrom` is who the server says the sender is. Resolves in the order of the calls; never rejects. */
  open(stampedFrom: string, data: unknown): Promise<OpenResult> {
    const opened = this.#tail.then(() => this.#open(stampedFrom, data))
    this.#tail = opened
    return opened
  }

  async #open(stampedFrom: string, data: unknown): Promise<OpenResult> {
    const envelope = decodeEnvelope(data)
    if (envelope === undefined) return { ok: false, reason: 'malformed' }
    if (envelope.room !== this.#keys.room) return { ok: false, reason: 'wrong-room' }
    if (envelope.from !== stampedFrom || envelope.from === this.#self) return { ok: false, reason: 'wrong-sender' }
    if (envelope.to !== this.#self) return { ok: false, reason: 'wrong-recipient' }
    const known = this.#senders.get(envelope.from)
    if (known !== undefined && known.session !== envelope.session) return { ok: false, reason: 'wrong-session' }
    if (known !== undefined && envelope.seq <= known.lastSeq) return { ok: false, reason: 'replayed' }

    const iv = decodeBase64Url(envelope.iv)
    const ct = decodeBase64Url(envelope.ct)
    if (iv === undefined || iv.length !== ivBytes || ct === undefined) return { ok: false, reason: 'malformed' }
    const key = known?.key ?? (await senderKey(this.#keys, envelope.from, envelope.session))
    const parameters = { name: 'AES-GCM', iv, additionalData: additionalData(envelope) }
    const plaintext = await crypto.subtle.decrypt(parameters, key, ct).catch(() => undefined)
    if (plaintext === undefined) return { ok: false, reason: 'undecryptable' }

    this.#senders.delete(envelope.from)
    this.#senders.set(envelope.from, { session: envelope.session, key, lastSeq: envelope.seq })
    for (const oldest of this.#senders.keys()) {
      if (this.#senders.size <= sendersMax) break
      this.#senders.delete(oldest)
    }
    const message = decodeSignalingMessage(parseJson(plaintext))
    if (message === undefined) return { ok: false, reason: 'bad-message' }
    return { ok: true, from: envelope.from, message }
  }
}

function decodeEnvelope(data: unknown): SealedEnvelope | undefined {
  if (typeof data !== 'object' || data === null) return undefined
  const { v, room, from, to, session, seq, iv, ct } = data as Record<keyof SealedEnvelope, unknown>
  if (v !== 1 || !isId(room) || !isId(from) || !isId(to) || !isId(session)) return undefined
  if (typeof seq !== 'number' || !Number.isSafeInteger(seq) || seq < 1) return undefined
  if (typeof iv !== 'string' || typeof ct !== 'string' || ct.length > ciphertextLengthMax) return undefined
  return { v, room, from, to, session, seq, iv, ct }
}

function isId(value: unknown): value is string {
  return typeof value === 'string' && idPattern.test(value)
}

function parseJson(bytes: ArrayBuffer): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
  } catch {
    return undefined
  }
}

function senderKey(keys: RoomKeys, from: string, session: string): Promise<CryptoKey> {
  const info = lengthPrefixed(['wepaxos/v1 seal', keys.room, from, session])
  const parameters = { name: 'HKDF', hash: 'SHA-256', salt: new Uint8Array(0), info }
  return crypto.subtle.deriveKey(parameters, keys.signaling, { name: 'AES-GCM', length: 256 }, false, [
    'encrypt',
    'decrypt',
  ])
}

function additionalData(header: Omit<SealedEnvelope, 'iv' | 'ct'>): Uint8Array<ArrayBuffer> {
  return lengthPrefixed([String(header.v), header.room, header.from, header.to, header.session, String(header.seq)])
}
