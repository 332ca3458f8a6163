// Invites and what is derived from them: the room's name, the base of its signaling keys, the voters' join key. An invite's secret lives in
// the URL fragment only; the signaling server sees nothing but the room id. No network and no page state here.
import { WepaxosError } from '@wepaxos/core'
import { decodeBase64Url, encodeBase64Url } from './base64url.ts'

/** What an invite link carries. A voter's secret W can make the reader's secret R = HKDF(W), never the other way round. */
export interface Invite {
  /** `voter`: may become a member. `reader`: may connect and follow. */
  readonly role: 'voter' | 'reader'
  /** 32 random bytes (W), or the 32 bytes derived from them (R). */
  readonly secret: Uint8Array<ArrayBuffer>
}

/** What a room works with. The same for the voter's link and the reader's link of one room. */
export interface RoomKeys {
  readonly role: Invite['role']
  /** The room's public name: all that the signaling server learns. Matches ^[A-Za-z0-9_-]{16,64}$. */
  readonly room: string
  /** HKDF base of the signaling keys, one for each sender and session. Not extractable. */
  readonly signaling: CryptoKey
  /** HMAC key that proves that its holder may become a voter; undefined behind a reader's link. Not extractable. */
  readonly join: CryptoKey | undefined
}

const secretBytes = 32
/** Of `secretBytes` in base64url. */
const secretLength = 43
const roomBytes = 24

/** A new room's invite, from 32 random bytes. */
export function createInvite(): Invite {
  return { role: 'voter', secret: crypto.getRandomValues(new Uint8Array(secretBytes)) }
}

/** PBKDF2 rounds: what one guess costs whoever guesses. */
const passwordRounds = 600_000

/**
 * The voter's invite of a room that people enter with its name and a password: whoever knows both makes the same. The password
 * is all that keeps others out, and it is weaker than an invite's secret: the signaling server learns the room's id from it, and
 * can try passwords against that on its own machines, without asking anybody, 600,000 rounds of PBKDF2-SHA256 each. Good
 * enough are five random words.
 *
 * The page that makes the room opens its replica with `start: 'found'`. Throws InvalidArgument where one of them is empty, and
 * NotSupported where the page has no WebCrypto.
 */
export async function passwordInvite(name: string, password: string): Promise<Invite> {
  if (name === '' || password === '') throw new WepaxosError('InvalidArgument', 'a room has a name and a password')
  const subtle = webCrypto()
  const encoder = new TextEncoder()
  // The same letters are the same bytes, however they were typed.
  const key = await subtle.importKey('raw', encoder.encode(password.normalize('NFKC')), 'PBKDF2', false, ['deriveBits'])
  const salt = encoder.encode(`wepaxos/v1 password ${name.normalize('NFKC')}`)
  const pbkdf2 = { name: 'PBKDF2', hash: 'SHA-256', iterations: passwordRounds, salt }
  return { role: 'voter', secret: new Uint8Array(await subtle.deriveBits(pbkdf2, key, secretBytes * 8)) }
}

/** The URL fragment of an invite, with its `#`. */
export function formatInvite(invite: Invite): string {
  return `#v1.${invite.role === 'voter' ? 'w' : 'r'}.${encodeBase64Url(invite.secret)}`
}

/** Reads an invite from a whole URL or from its fragment, with or without `#`. Throws InvalidInvite, saying what is wrong. */
export function parseInvite(text: string): Invite {
  const trimmed = text.trim()
  // The text itself never goes into an error: it may hold most of a secret, and errors end up in logs.
  const refuse = (problem: string): never => {
    throw new WepaxosError('InvalidInvite', `an invite looks like #v1.w.<43 characters>; ${problem}`)
  }
  const hash = trimmed.indexOf('#')
  if (hash === -1 && /^[a-z][a-z0-9+.-]*:\/\//i.test(trimmed)) return refuse('this link has no part after a #')
  const fragment = hash === -1 ? trimmed : trimmed.slice(hash + 1)
  if (fragment === '') return refuse('this one is empty')
  const [version, kind, secretText, ...rest] = fragment.split('.')
  if (version !== 'v1') return refuse('this one does not begin with v1')
  if (kind !== 'w' && kind !== 'r') return refuse('after v1 comes w (for voters) or r (for readers)')
  if (secretText === undefined || secretText === '') return refuse('this one has no secret')
  if (rest.length > 0) return refuse('this one has something after the secret')
  if (secretText.length !== secretLength) {
    return refuse(`the secret of this one has ${secretText.length} characters, so the link was cut or changed`)
  }
  const secret = decodeBase64Url(secretText)
  if (secret === undefined) return refuse('the secret of this one is not base64url')
  return { role: kind === 'w' ? 'voter' : 'reader', secret }
}

/** The link that lets its holder connect and follow, but not vote. A reader's invite is returned as it is. */
export async function readerInvite(invite: Invite): Promise<Invite> {
  if (invite.role === 'reader') return invite
  return { role: 'reader', secret: await expand(await hkdfKey(invite.secret), 'wepaxos/v1 read', secretBytes) }
}

/** Derives what a room works with. Throws NotSupported where the page has no WebCrypto (plain http, except on localhost). */
export async function deriveRoomKeys(invite: Invite): Promise<RoomKeys> {
  const reader = await hkdfKey((await readerInvite(invite)).secret)
  const room = encodeBase64Url(await expand(reader, 'wepaxos/v1 room', roomBytes))
  const signaling = await hkdfKey(await expand(reader, 'wepaxos/v1 signaling', secretBytes))
  const join = invite.role === 'voter' ? await joinKey(invite.secret) : undefined
  return { role: invite.role, room, signaling, join }
}

function webCrypto(): SubtleCrypto {
  if (globalThis.crypto?.subtle === undefined) {
    throw new WepaxosError('NotSupported', 'rooms need WebCrypto, which browsers offer on https and on localhost only')
  }
  return crypto.subtle
}

function hkdfKey(secret: Uint8Array<ArrayBuffer>): Promise<CryptoKey> {
  return webCrypto().importKey('raw', secret, 'HKDF', false, ['deriveBits', 'deriveKey'])
}

async function joinKey(secret: Uint8Array<ArrayBuffer>): Promise<CryptoKey> {
  const hmac = { name: 'HMAC', hash: 'SHA-256', length: 256 }
  return crypto.subtle.deriveKey(hkdf('wepaxos/v1 join'), await hkdfKey(secret), hmac, false, ['sign', 'verify'])
}

async function expand(key: CryptoKey, label: string, byteLength: number): Promise<Uint8Array<ArrayBuffer>> {
  return new Uint8Array(await crypto.subtle.deriveBits(hkdf(label), key, byteLength * 8))
}

function hkdf(label: string): HkdfParams {
  return { name: 'HKDF', hash: 'SHA-256', salt: new Uint8Array(0), info: new TextEncoder().encode(label) }
}
