// The port to one connection with one other page: bytes in order, or closed. Whoever makes links decides how they come
// about; simple-peer-link.ts is the default. Liveness, framing and who is at the other end are not its business.
import type { IceCandidate } from './signaling-message.ts'

/** What a link needs carried to the other end while it is being made, and back. */
export type LinkSignal =
  | { readonly type: 'offer'; readonly sdp: string }
  | { readonly type: 'answer'; readonly sdp: string }
  | { readonly type: 'ice'; readonly candidate: IceCandidate }

/** What a link tells. Never called from within a call to the link. After onClose, nothing more. */
export interface PeerLinkEvents {
  onSignal(signal: LinkSignal): void
  /** Sending works from now on. Once, and before the first onMessage. */
  onOpen(): void
  onMessage(bytes: Uint8Array): void
  /** `writable` has become true again. */
  onDrain(): void
  /** Once, also after `close()`. */
  onClose(reason: string): void
}

/** The certificates between which a link is encrypted, as SHA-256 fingerprints in lower case hex. */
export interface LinkFingerprints {
  readonly own: string
  readonly theirs: string
}

export interface PeerLink {
  /** Bytes given to `send` that have not left the page. */
  readonly bufferedBytes: number
  /** False while so much is buffered that the sender should wait for onDrain. */
  readonly writable: boolean
  /**
   * Between which two ends the bytes are carried; both ends give the same pair, the other way round. Whoever stands between
   * them can not make them agree. Only after onOpen; rejects where it can not be told.
   */
  fingerprints(): Promise<LinkFingerprints>
  /** Takes a signal of the other end. What does not fit the link's state is refused: false. Never throws. */
  signal(signal: LinkSignal): boolean
  /** Sends one frame. Only after onOpen; on a closed link it does nothing. */
  send(bytes: Uint8Array<ArrayBuffer>): void
  /** Idempotent. */
  close(reason: string): void
}

export interface PeerLinkOptions {
  /** The other page's id in the room. */
  readonly peer: string
  /** True at the end that makes the offer. */
  readonly initiator: boolean
  readonly iceServers: readonly RTCIceServer[]
  readonly events: PeerLinkEvents
}

export type CreatePeerLink = (options: PeerLinkOptions) => PeerLink
