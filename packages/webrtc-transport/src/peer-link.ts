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

export interface PeerLink {
  /** Bytes given to `send` that have not left the page. */
  readonly bufferedBytes: number
  /** False while so much is buffered that the sender should wait for onDrain. */
  readonly writable: boolean
  /** Takes a signal of the other end. What does not fit the link's state is refused: false. Never throws. */
  signal(signal: LinkSignal): boolean
  /** Sends one frame. Only after onOpen; on a closed link it does nothing. */
  send(bytes: Uint8Array<ArrayBuffer>): void
  /** Idempotent. */
  close(reason: string): void
}

export interface PeerLinkOptions {
  /** True at the end that makes the offer. */
  readonly initiator: boolean
  readonly iceServers: readonly RTCIceServer[]
  readonly events: PeerLinkEvents
}

export type CreatePeerLink = (options: PeerLinkOptions) => PeerLink
