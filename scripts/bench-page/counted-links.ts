// Links that count what they carry: a frame on a link costs far more than the messages in it, and only the link sees them.
import type { CreatePeerLink, PeerLink } from '@wepaxos/webrtc-transport'

/** Both directions, over all links of this page. */
export interface Carried {
  frames: number
  bytes: number
}

export function countedLinks(createLink: CreatePeerLink, carried: Carried): CreatePeerLink {
  return (options) => {
    const { events } = options
    const link: PeerLink = createLink({
      ...options,
      events: {
        onSignal: (signal) => events.onSignal(signal),
        onOpen: () => events.onOpen(),
        onMessage: (bytes) => {
          carried.frames += 1
          carried.bytes += bytes.length
          events.onMessage(bytes)
        },
        onDrain: () => events.onDrain(),
        onClose: (reason) => events.onClose(reason),
      },
    })
    return {
      get bufferedBytes() {
        return link.bufferedBytes
      },
      get writable() {
        return link.writable
      },
      fingerprints: () => link.fingerprints(),
      signal: (signal) => link.signal(signal),
      send: (bytes) => {
        carried.frames += 1
        carried.bytes += bytes.length
        link.send(bytes)
      },
      close: (reason) => link.close(reason),
    }
  }
}
