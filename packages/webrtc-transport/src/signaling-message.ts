// What two peers tell each other through the signaling server, inside the sealed envelope, and its total decoder.
// Nothing that did not pass this decoder reaches a peer connection.

export interface IceCandidate {
  readonly candidate: string
  readonly sdpMid: string | null
  readonly sdpMLineIndex: number | null
}

/**
 * `hello` begins an attempt to connect: a fresh nonce of the sender, and the receiver's nonce as far as it is known. All
 * others name by `echo` the receiver's current nonce, so that nothing of an older attempt is ever taken for this one.
 */
export type SignalingMessage =
  | { readonly type: 'hello'; readonly nonce: string; readonly echo: string | null }
  | { readonly type: 'offer'; readonly echo: string; readonly sdp: string }
  | { readonly type: 'answer'; readonly echo: string; readonly sdp: string }
  | { readonly type: 'ice'; readonly echo: string; readonly candidates: readonly IceCandidate[] }
  | { readonly type: 'bye' }

const noncePattern = /^[A-Za-z0-9_-]{22}$/
const sdpLengthMax = 10_000
const candidateLengthMax = 1_000
export const candidatesMax = 32

/** The message that `value` is, with nothing but its known fields; undefined for anything else. */
export function decodeSignalingMessage(value: unknown): SignalingMessage | undefined {
  if (!isRecord(value)) return undefined
  const { type, nonce, echo, sdp, candidates } = value
  switch (type) {
    case 'hello':
      return isNonce(nonce) && (echo === null || isNonce(echo)) ? { type, nonce, echo } : undefined
    case 'offer':
    case 'answer':
      return isNonce(echo) && isText(sdp, sdpLengthMax) && sdp !== '' ? { type, echo, sdp } : undefined
    case 'ice': {
      if (!isNonce(echo) || !Array.isArray(candidates) || candidates.length > candidatesMax) return undefined
      const decoded = candidates.map(decodeCandidate).filter((candidate) => candidate !== undefined)
      return decoded.length === candidates.length ? { type, echo, candidates: decoded } : undefined
    }
    case 'bye':
      return { type }
    default:
      return undefined
  }
}

function decodeCandidate(value: unknown): IceCandidate | undefined {
  if (!isRecord(value)) return undefined
  const { candidate, sdpMid, sdpMLineIndex } = value
  if (!isText(candidate, candidateLengthMax)) return undefined
  if (sdpMid !== null && !isText(sdpMid, 64)) return undefined
  if (sdpMLineIndex === null) return { candidate, sdpMid, sdpMLineIndex }
  if (typeof sdpMLineIndex !== 'number' || !Number.isInteger(sdpMLineIndex)) return undefined
  return sdpMLineIndex >= 0 && sdpMLineIndex < 256 ? { candidate, sdpMid, sdpMLineIndex } : undefined
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> & Record<KnownField, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

type KnownField = 'type' | 'nonce' | 'echo' | 'sdp' | 'candidates' | 'candidate' | 'sdpMid' | 'sdpMLineIndex'

function isNonce(value: unknown): value is string {
  return typeof value === 'string' && noncePattern.test(value)
}

function isText(value: unknown, lengthMax: number): value is string {
  return typeof value === 'string' && value.length <= lengthMax
}
