// A page in a room, with a replica and nothing to see, for the long checks of links: it writes once as soon as it can, counts
// its data channels, and lets the harness break what it likes. `?signaling=` says where the signaling server is.
import { kv, openReplica } from '@wepaxos/core'
import { indexedDbStorage } from '@wepaxos/core/indexeddb'
import {
  type CreatePeerLink,
  joinRoom,
  type LinkFault,
  loadSimplePeerLinks,
  type Room,
  rtcLinks,
} from '@wepaxos/webrtc-transport'

export interface LinkFacts {
  readonly signaling: Room['signaling']
  /** Peers to which a link is open. */
  readonly openPeers: number
  readonly status: string
  readonly voters: number
  /** Members that this page's replica is connected to. */
  readonly connected: number
  /** Numbers of the data channels that are open. No number comes twice in the life of a page. */
  readonly channels: readonly number[]
}

export interface LinksPage {
  readonly invite: string
  /** From the beginning of the navigation until the first write of this page was committed. */
  readonly firstWriteMs: number
  facts(): LinkFacts
  /** One command: how long it took until its result was there. */
  command(): Promise<number>
  /** Of all links of this page; null takes it away. */
  fault(fault: LinkFault | null): void
  /** All that this page sends over its links is lost from now on, of whatever kind, and what it hears is not. */
  mute(isMuted: boolean): void
}

declare global {
  interface Window {
    links?: LinksPage
    /** Why there is no `links`, if so. */
    linksFailure?: string
  }
}

const channels = new Set<number>()
let channelsSeen = 0

function watch(channel: RTCDataChannel): void {
  channelsSeen += 1
  const number = channelsSeen
  channel.addEventListener('open', () => channels.add(number))
  channel.addEventListener('close', () => channels.delete(number))
  channel.addEventListener('error', () => channels.delete(number))
  if (channel.readyState === 'open') channels.add(number)
}

globalThis.RTCPeerConnection = class extends RTCPeerConnection {
  constructor(configuration?: RTCConfiguration) {
    super(configuration)
    this.addEventListener('datachannel', ({ channel }) => watch(channel))
  }

  override createDataChannel(label: string, options?: RTCDataChannelInit): RTCDataChannel {
    const channel = super.createDataChannel(label, options)
    watch(channel)
    return channel
  }
}

let isMuted = false

function mutable(createLink: CreatePeerLink): CreatePeerLink {
  return (options) => {
    const link = createLink(options)
    const send = link.send.bind(link)
    link.send = (bytes) => {
      if (!isMuted) send(bytes)
    }
    return link
  }
}

async function enter(): Promise<LinksPage> {
  const settings = new URLSearchParams(location.search)
  const createLink = mutable(settings.get('links') === 'plain' ? rtcLinks() : await loadSimplePeerLinks())
  const signaling = settings.get('signaling') ?? ''
  const room = await joinRoom({ signaling, createLink, ...(location.hash === '' ? {} : { invite: location.hash }) })
  const replica = await openReplica({
    partition: 'links',
    transport: room,
    storage: indexedDbStorage(),
    machine: kv(),
  })
  history.replaceState(null, '', room.invite)
  await replica.ready()
  await replica.mutate.set(`first/${replica.id}`, Date.now()).done
  return {
    invite: room.invite,
    firstWriteMs: performance.now(),
    facts() {
      const { members, status } = replica
      return {
        signaling: room.signaling,
        openPeers: room.peers.filter(({ state }) => state === 'open').length,
        status: status.kind,
        voters: members.filter(({ role }) => role === 'voter').length,
        connected: members.filter(({ connected, self }) => connected && !self).length,
        channels: [...channels],
      }
    },
    async command() {
      const fromMs = performance.now()
      const result = await replica.mutate.increment('commands').done
      if (!result.ok) throw new Error(`a command was refused: ${result.code}`)
      return performance.now() - fromMs
    },
    fault(fault) {
      if (fault === null) room.faults.clear()
      else room.faults.set('all', fault)
    },
    mute(muted) {
      isMuted = muted
    },
  }
}

try {
  window.links = await enter()
} catch (error) {
  window.linksFailure = String(error)
}
