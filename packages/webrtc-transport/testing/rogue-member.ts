// A page that breaks the rules of a room: it signals and connects like any other, but proves itself with whatever it is
// given, and says on its links whatever a test wants.
import { randomText } from '../src/base64url.ts'
import type { Announcement } from '../src/control-message.ts'
import { createIdentity, identityOf } from '../src/identity.ts'
import type { RoomKeys } from '../src/invite.ts'
import type { Credentials } from '../src/link-proof.ts'
import type { LinkSession } from '../src/link-session.ts'
import { Mesh } from '../src/mesh.ts'
import type { PeerLink } from '../src/peer-link.ts'
import { Opener, Sealer } from '../src/sealing.ts'
import { SignalingClient } from '../src/signaling-client.ts'
import type { createWorld } from './room-world.ts'

export interface RogueMember {
  readonly self: string
  /** Its open links, as it sees them. */
  readonly sessions: readonly LinkSession[]
  /** How often others' links to it closed, with why. */
  readonly closed: readonly string[]
  /** What was announced to it, the first first. */
  readonly announced: readonly Announcement[]
  /** Messages of replicas that it got. */
  readonly heard: readonly Uint8Array[]
  /** Puts bytes on its latest link, past all framing. */
  sendRaw(bytes: Uint8Array<ArrayBuffer>): void
  close(): void
}

/** Joins with the keys that it has, and proves `claim` in place of what they say. */
export async function joinAsRogue(
  world: ReturnType<typeof createWorld>,
  keys: RoomKeys,
  claim: Partial<Credentials['keys']> = {},
): Promise<RogueMember> {
  const self = randomText(16)
  const sealer = new Sealer(keys, self, randomText(16))
  const opener = new Opener(keys, self)
  const credentials = { keys: { ...keys, ...claim }, identity: await identityOf(await createIdentity()) }
  const closed: string[] = []
  const announced: Announcement[] = []
  const heard: Uint8Array[] = []
  let latest: PeerLink | undefined
  const mesh = new Mesh({
    self,
    credentials,
    clock: world.clock,
    createLink: (options) => {
      latest = world.links.createLink(options)
      return latest
    },
    iceServers: () => [],
    liveness: { pingIntervalMs: 2_000, silentIntervalsMax: 3 },
    limits: { messageBytesMax: 1e9, partialMessagesMax: 1_000, queueBytesMax: 1e9 },
    connectTimeoutMs: 10_000,
    fault: () => ({}),
    sendSignal: async (peer, message) => {
      client.send(peer, await sealer.seal(peer, message))
    },
    events: {
      onOpen: () => undefined,
      onClosed: (_session, reason) => closed.push(reason),
      onPeers: () => undefined,
      onRefused: () => undefined,
      onUnproven: () => undefined,
      onControl: (_session, message) => {
        if (message.type === 'attach') announced.push(message)
      },
      onMessage: (_session, { bytes }) => heard.push(bytes),
      onAlive: () => undefined,
      onGarbage: () => undefined,
    },
  })
  const client = new SignalingClient({
    url: 'ws://127.0.0.1:1',
    room: keys.room,
    id: self,
    clock: world.clock,
    createSocket: world.signaling.createSocket,
    events: {
      onState: () => undefined,
      onIceServers: () => undefined,
      onWelcome: (peers) => mesh.welcome(peers),
      onPeerJoined: (peer) => mesh.joined(peer),
      onPeerLeft: (peer) => mesh.left(peer),
      onSignal: async (from, data) => {
        const opened = await opener.open(from, data)
        if (opened.ok) mesh.signal(opened.from, opened.message)
      },
    },
  })
  client.start()
  return {
    self,
    get sessions() {
      return mesh.sessions
    },
    closed,
    announced,
    heard,
    sendRaw: (bytes) => latest?.send(bytes),
    close() {
      mesh.close()
      client.close()
    },
  }
}
