// Signaling wire v1: every message that goes between a peer and the signaling server, one JSON text each, with checking
// decoders for both directions, the close codes and the error codes. Pure and without Node: browsers import it as
// `@wepaxos/signaling-server/wire`. What is inside `data` is sealed between the peers and is not described here.
import { accept, type Decoded, hasOtherFields, isRecord, parseRecord, refuse } from './bounded-json.ts'

export { type Decoded, nestingMax } from './bounded-json.ts'

/** The WebSocket subprotocol that both sides must name. */
export const signalingProtocol = 'wepaxos.signal.v1'

declare const brand: unique symbol
type Branded<Name extends string> = string & { readonly [brand]: Name }

/** The room's public name: all that the server knows of it. */
export type SignalRoomId = Branded<'SignalRoomId'>
/** One peer's name within its room. */
export type SignalPeerId = Branded<'SignalPeerId'>

/** What a room id and a peer id look like. */
export const idPattern = /^[A-Za-z0-9_-]{16,64}$/
/** Tokens for the server's `authorize` hook are at most so long. */
export const tokenLengthMax = 4_096
/** What a resume token looks like, whoever made it. Random ones of 16 letters can not be guessed. */
export const resumePattern = /^[A-Za-z0-9_-]{16,64}$/

export function isRoomId(value: unknown): value is SignalRoomId {
  return typeof value === 'string' && idPattern.test(value)
}

export function isPeerId(value: unknown): value is SignalPeerId {
  return typeof value === 'string' && idPattern.test(value)
}

/** What one peer tells another through the server: a string or an object that the server never looks into. */
export type SealedPayload = string | { readonly [field: string]: unknown }

/** From a peer to the server. */
export type ClientMessage =
  /**
   * First message, once. `resume`: a secret of the peer's own, made once at random, or the one of its last welcome. Whoever
   * shows it takes the same id again, also when the welcome never came; a peer that shows none gets one in its welcome.
   * `token`: for the authorize hook.
   */
  | {
      readonly type: 'hello'
      readonly room: SignalRoomId
      readonly id: SignalPeerId
      readonly resume?: string
      readonly token?: string
    }
  | { readonly type: 'signal'; readonly to: SignalPeerId; readonly data: SealedPayload }
  /** Asks for a pong: browsers can not send the WebSocket's own pings. */
  | { readonly type: 'ping' }

/** What the server holds each peer to. */
export interface AnnouncedLimits {
  readonly messageBytesMax: number
  readonly messagesPerSecond: number
  readonly messagesBurst: number
  readonly roomSocketsMax: number
  /** How long a resume token keeps its id after the socket is gone. */
  readonly resumeMs: number
}

/** As in RTCConfiguration. */
export interface IceServer {
  readonly urls: readonly string[]
  readonly username?: string
  readonly credential?: string
}

/**
 * `left`: it closed its socket with 1000 or 1001, and its id is free. `gone`: the connection broke, or it closed it with
 * another code because it means to come back. `replaced`: its newer socket follows at once in a peer-joined. `removed`: the
 * server ended it.
 */
export type LeaveReason = 'gone' | 'left' | 'removed' | 'replaced'
const leaveReasons: readonly string[] = ['gone', 'left', 'removed', 'replaced'] satisfies LeaveReason[]

/** From the server to a peer. */
export type ServerMessage =
  | {
      readonly type: 'welcome'
      readonly you: SignalPeerId
      /** The others that are in the room now. */
      readonly peers: readonly SignalPeerId[]
      /** A secret: whoever shows it takes over this id. The one of the hello, if that had one. */
      readonly resume: string
      readonly limits: AnnouncedLimits
      readonly ice?: readonly IceServer[]
    }
  | { readonly type: 'peer-joined'; readonly id: SignalPeerId }
  | { readonly type: 'peer-left'; readonly id: SignalPeerId; readonly reason: LeaveReason }
  /** `from` is the server's word, not the sender's. */
  | { readonly type: 'signal'; readonly from: SignalPeerId; readonly data: SealedPayload }
  | { readonly type: 'pong' }
  /** All but `unknown-peer` are followed by the close code that belongs to them. `to`: of the signal that was not sent. */
  | { readonly type: 'error'; readonly code: SignalErrorCode; readonly to?: SignalPeerId }
  /** Fresh credentials, before those of the welcome (or of the last such message) expire. */
  | { readonly type: 'ice'; readonly ice: readonly IceServer[] }
  /** The server is about to stop: come back after so long, plus a random while. */
  | { readonly type: 'drain'; readonly retryAfterMs: number }

/** The codes of the WebSocket's close frame that this server sends. */
export const closeCodes = {
  drain: 1001,
  policy: 1008,
  tooBig: 1009,
  later: 1013,
  protocol: 4400,
  auth: 4401,
  originOrRoom: 4403,
  idInUse: 4409,
  rate: 4429,
} as const
export type CloseCode = (typeof closeCodes)[keyof typeof closeCodes]

/** Which close code follows each fatal error. */
export const closeCodeOfError = {
  'bad-message': closeCodes.protocol,
  'hello-expected': closeCodes.protocol,
  'hello-repeated': closeCodes.protocol,
  'hello-timeout': closeCodes.policy,
  'not-authorized': closeCodes.auth,
  'origin-refused': closeCodes.originOrRoom,
  'room-refused': closeCodes.originOrRoom,
  'room-full': closeCodes.later,
  'server-full': closeCodes.later,
  'server-trouble': closeCodes.later,
  draining: closeCodes.later,
  'id-in-use': closeCodes.idInUse,
  /** To the older socket: a newer one showed its resume token. */
  replaced: closeCodes.idInUse,
  'too-many-messages': closeCodes.rate,
  'too-many-sockets': closeCodes.rate,
  'too-many-connects': closeCodes.rate,
  /** On the y-webrtc path only. */
  'too-many-topics': closeCodes.policy,
} as const satisfies Record<string, CloseCode>

export type FatalErrorCode = keyof typeof closeCodeOfError
export type SignalErrorCode = FatalErrorCode | 'unknown-peer'

export function encodeMessage(message: ClientMessage | ServerMessage): string {
  return JSON.stringify(message)
}

/** The server's decoder: total, and strict: fields that v1 does not know are refused. */
export function decodeClientMessage(text: string): Decoded<ClientMessage> {
  const parsed = parseRecord(text)
  if (!parsed.ok) return parsed
  const fields = parsed.message
  switch (fields['type']) {
    case 'hello': {
      if (hasOtherFields(fields, ['type', 'room', 'id', 'resume', 'token'])) return refuse('unknown field in hello')
      const { room, id, resume, token } = fields
      if (!isRoomId(room)) return refuse('hello.room is no id')
      if (!isPeerId(id)) return refuse('hello.id is no id')
      if (resume !== undefined && !isResumeToken(resume)) return refuse('hello.resume is no resume token')
      if (token !== undefined && !isToken(token)) return refuse('hello.token is no token')
      const tokens = { ...(resume === undefined ? {} : { resume }), ...(token === undefined ? {} : { token }) }
      return accept({ type: 'hello', room, id, ...tokens })
    }
    case 'signal': {
      if (hasOtherFields(fields, ['type', 'to', 'data'])) return refuse('unknown field in signal')
      const { to, data } = fields
      if (!isPeerId(to)) return refuse('signal.to is no id')
      if (!isPayload(data)) return refuse('signal.data is neither an object nor a string')
      return accept({ type: 'signal', to, data })
    }
    case 'ping':
      return hasOtherFields(fields, ['type']) ? refuse('unknown field in ping') : accept({ type: 'ping' })
    default:
      return refuse('unknown type')
  }
}

/** The peer's decoder: total; fields that v1 does not know are left out, so that a later server can add some. */
export function decodeServerMessage(text: string): Decoded<ServerMessage> {
  const parsed = parseRecord(text)
  if (!parsed.ok) return parsed
  const fields = parsed.message
  switch (fields['type']) {
    case 'welcome': {
      const { you, peers, resume, ice } = fields
      const limits = decodeLimits(fields['limits'])
      if (!isPeerId(you)) return refuse('welcome.you is no id')
      if (!Array.isArray(peers) || !peers.every(isPeerId)) return refuse('welcome.peers is no list of ids')
      if (!isToken(resume)) return refuse('welcome.resume is no token')
      if (limits === undefined) return refuse('welcome.limits is incomplete')
      if (ice === undefined) return accept({ type: 'welcome', you, peers, resume, limits })
      const servers = decodeIceServers(ice)
      if (servers === undefined) return refuse('welcome.ice is no list of ICE servers')
      return accept({ type: 'welcome', you, peers, resume, limits, ice: servers })
    }
    case 'peer-joined': {
      const { id } = fields
      return isPeerId(id) ? accept({ type: 'peer-joined', id }) : refuse('peer-joined.id is no id')
    }
    case 'peer-left': {
      const { id, reason } = fields
      if (!isPeerId(id)) return refuse('peer-left.id is no id')
      return isLeaveReason(reason) ? accept({ type: 'peer-left', id, reason }) : refuse('unknown peer-left.reason')
    }
    case 'signal': {
      const { from, data } = fields
      if (!isPeerId(from)) return refuse('signal.from is no id')
      if (!isPayload(data)) return refuse('signal.data is neither an object nor a string')
      return accept({ type: 'signal', from, data })
    }
    case 'pong':
      return accept({ type: 'pong' })
    case 'error': {
      const { code, to } = fields
      if (!isErrorCode(code)) return refuse('unknown error.code')
      if (to !== undefined && !isPeerId(to)) return refuse('error.to is no id')
      return accept({ type: 'error', code, ...(to === undefined ? {} : { to }) })
    }
    case 'ice': {
      const servers = decodeIceServers(fields['ice'])
      return servers === undefined ? refuse('ice.ice is no list of ICE servers') : accept({ type: 'ice', ice: servers })
    }
    case 'drain': {
      const { retryAfterMs } = fields
      if (!isCount(retryAfterMs)) return refuse('drain.retryAfterMs is no duration')
      return accept({ type: 'drain', retryAfterMs })
    }
    default:
      return refuse('unknown type')
  }
}

function isPayload(value: unknown): value is SealedPayload {
  return typeof value === 'string' || isRecord(value)
}

function isResumeToken(value: unknown): value is string {
  return typeof value === 'string' && resumePattern.test(value)
}

function isToken(value: unknown): value is string {
  return typeof value === 'string' && value.length > 0 && value.length <= tokenLengthMax
}

function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0
}

function isLeaveReason(value: unknown): value is LeaveReason {
  return typeof value === 'string' && leaveReasons.includes(value)
}

function isErrorCode(value: unknown): value is SignalErrorCode {
  return typeof value === 'string' && (value === 'unknown-peer' || Object.hasOwn(closeCodeOfError, value))
}

function decodeLimits(value: unknown): AnnouncedLimits | undefined {
  if (!isRecord(value)) return undefined
  const { messageBytesMax, messagesPerSecond, messagesBurst, roomSocketsMax, resumeMs } = value as {
    readonly [Name in keyof AnnouncedLimits]?: unknown
  }
  if (!isCount(messageBytesMax) || !isCount(messagesPerSecond) || !isCount(messagesBurst)) return undefined
  if (!isCount(roomSocketsMax) || !isCount(resumeMs)) return undefined
  return { messageBytesMax, messagesPerSecond, messagesBurst, roomSocketsMax, resumeMs }
}

function decodeIceServers(value: unknown): readonly IceServer[] | undefined {
  if (!Array.isArray(value)) return undefined
  const servers = value.map(decodeIceServer).filter((server) => server !== undefined)
  return servers.length === value.length ? servers : undefined
}

function decodeIceServer(value: unknown): IceServer | undefined {
  if (!isRecord(value)) return undefined
  const { urls, username, credential } = value as { readonly [Name in keyof IceServer]?: unknown }
  if (!Array.isArray(urls) || !urls.every((url) => typeof url === 'string')) return undefined
  if (username !== undefined && typeof username !== 'string') return undefined
  if (credential !== undefined && typeof credential !== 'string') return undefined
  return {
    urls,
    ...(username === undefined ? {} : { username }),
    ...(credential === undefined ? {} : { credential }),
  }
}
