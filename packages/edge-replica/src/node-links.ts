// What a room needs that Node does not have: WebRTC, by simple-peer over @roamhq/wrtc, and on Node 20 a WebSocket, by ws.
// The native part is loaded on first use, so that `--help` and a wrong flag do not pay for it.
import { type CreatePeerLink, loadSimplePeerLinks, type SignalingSocket } from '@wepaxos/webrtc-transport'
import { WebSocket } from 'ws'

/** Links for `joinRoom({ createLink })`. Rejects where @roamhq/wrtc has no binary for this platform. */
export async function loadNodeLinks(): Promise<CreatePeerLink> {
  const { default: wrtc } = await import('@roamhq/wrtc')
  return loadSimplePeerLinks(wrtc)
}

/** Sockets for `joinRoom({ createSocket })`. */
export function createNodeSocket(url: string, protocol: string): SignalingSocket {
  // As in browsers, nothing is compressed: what is sent is sealed and does not get smaller.
  return new WebSocket(url, protocol, { perMessageDeflate: false, handshakeTimeout: 10_000 })
}
