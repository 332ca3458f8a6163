// The package's public face: rooms, their invites, and the ports that another link or socket would implement.

export { createBroadcastLink } from './broadcast-link.ts'
export type { Clock } from './clock.ts'
export type { LinkFault } from './faults.ts'
export { createIdentity } from './identity.ts'
export { createInvite, formatInvite, type Invite, parseInvite, passwordInvite, readerInvite } from './invite.ts'
export type { Liveness, SessionLimits } from './link-session.ts'
export type {
  CreatePeerLink,
  LinkFingerprints,
  LinkSignal,
  PeerLink,
  PeerLinkEvents,
  PeerLinkOptions,
} from './peer-link.ts'
export {
  type JoinRoomOptions,
  joinRoom,
  type RefusalReason,
  type Room,
  type RoomEventType,
  type RoomFaults,
  type RoomPeer,
} from './room.ts'
export { type RtcImplementation, rtcLinks } from './rtc-link.ts'
export type { SignalingSocket, SignalingState, SignalingToken } from './signaling-client.ts'
export type { IceCandidate } from './signaling-message.ts'
export { loadSimplePeerLinks, type WebRtcImplementation } from './simple-peer-link.ts'
