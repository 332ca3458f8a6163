// Rooms over real WebRTC and a real signaling server, several in one page. What does not need a browser is tested in
// room.test.ts.
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { describeTransportContract } from '../../core/testing/transport-contract.ts'
import { closePartitions, countInEach, hostPartitions, keysOfEach } from '../testing/partitions.ts'
import { describePeerLinkContract } from '../testing/peer-link-contract.ts'
import { createReplica, silent } from '../testing/replicas.ts'
import { type SignalingServerHandle, startSignalingServer } from '../testing/signaling-servers.ts'
import { randomText } from './base64url.ts'
import { createBroadcastLink } from './broadcast-link.ts'
import { systemClock } from './clock.ts'
import { decodeIceServers } from './ice-servers.ts'
import { createInvite, deriveRoomKeys, formatInvite } from './invite.ts'
import type { CreatePeerLink } from './peer-link.ts'
import { type JoinRoomOptions, joinRoom, type Room } from './room.ts'
import { rtcLinks } from './rtc-link.ts'
import { SameBrowser } from './same-browser.ts'
import { Sealer } from './sealing.ts'
import { SignalingClient } from './signaling-client.ts'
import { loadSimplePeerLinks } from './simple-peer-link.ts'

/** Seconds of silence would be minutes of tests. */
const liveness = { pingIntervalMs: 200, silentIntervalsMax: 3 }

async function until(condition: () => boolean, what: string, timeoutMs = 10_000): Promise<void> {
  await vi.waitFor(
    () => {
      if (!condition()) throw new Error(`it did not come true within ${timeoutMs} ms that ${what}`)
    },
    { timeout: timeoutMs, interval: 5 },
  )
}

function openPeers(room: Room): readonly string[] {
  return room.peers.filter(({ state }) => state === 'open').map(({ id }) => id)
}

function isMesh(rooms: readonly Room[]): boolean {
  return rooms.every((room) => openPeers(room).length === rooms.length - 1)
}

describePeerLinkContract('simple-peer', async () => ({ createLink: await loadSimplePeerLinks(), until }))
describePeerLinkContract('BroadcastChannel', async () => ({ createLink: createBroadcastLink, until }))
describePeerLinkContract('a link that follows the offer', async () => {
  const near = new SameBrowser('room', 'the one that offers')
  const far = new SameBrowser('room', 'the one that answers')
  // They have heard of each other once a message has gone there and back.
  await new Promise<void>((resolve) => {
    const channel = new BroadcastChannel('wepaxos room room')
    channel.onmessage = () => {
      channel.close()
      resolve()
    }
    channel.postMessage({ id: 'somebody', asks: true })
  })
  const [offering, answering] = [near.prefer(rtcLinks()), far.prefer(rtcLinks())]
  return { createLink: (options) => (options.initiator ? offering(options) : answering(options)), until }
})
describePeerLinkContract('a plain RTCPeerConnection', async () => ({ createLink: rtcLinks(), until }))

describeTransportContract('a room over WebRTC', async () => {
  const server = await startSignalingServer()
  const first = await joinRoom({ signaling: server.url, liveness })
  const options = { signaling: server.url, liveness, invite: first.invite }
  const rooms = [first, await joinRoom(options), await joinRoom(options)] as const
  await until(() => isMesh(rooms), 'three rooms are a mesh')
  const at = (index: number) => rooms[index] ?? first
  return {
    transports: rooms,
    cut: (left, right) => at(left).faults.set(at(right).self, { cut: true }),
    heal: (left, right) => at(left).faults.clear(at(right).self),
    until,
    async close() {
      await Promise.all(rooms.map((room) => room.close()))
      await server.stop()
    },
  }
})

describe('a room over WebRTC', () => {
  let server: SignalingServerHandle
  let rooms: Room[]

  beforeEach(async () => {
    server = await startSignalingServer()
    rooms = []
  })

  afterEach(async () => {
    await Promise.all(rooms.map((room) => room.close()))
    await server.stop()
  })

  async function join(options: Partial<JoinRoomOptions> = {}): Promise<Room> {
    const room = await joinRoom({ signaling: server.url, liveness, ...options })
    rooms.push(room)
    return room
  }

  async function mesh(): Promise<readonly [Room, Room, Room]> {
    const first = await join()
    const { invite } = first
    const all = [first, await join({ invite }), await join({ invite })] as const
    await until(() => isMesh(all), 'three rooms are a mesh')
    return all
  }

  it('connects three pages each with each, and measures the way', async () => {
    const all = await mesh()
    await until(() => all.every(({ peers }) => peers.every(({ rttMs }) => rttMs !== null)), 'all have heard a pong')
    expect(all.map(({ refused }) => refused)).toEqual([{}, {}, {}])
    expect(all.map(({ founded }) => founded)).toEqual([true, false, false])
    expect(new Set(all.map(({ room }) => room)).size).toBe(1)
  })

  it('is not entered with another secret, nor by one who knows only its name', async () => {
    const [first] = await mesh()
    const stranger = await join({ invite: formatInvite(createInvite()) })
    await until(() => stranger.signaling === 'open', 'the stranger has reached the server')

    const intruder = randomText(16)
    const sealer = new Sealer({ ...(await deriveRoomKeys(createInvite())), room: first.room }, intruder, randomText(16))
    const socket = new WebSocket(server.url, 'wepaxos.signal.v1')
    await new Promise((resolve) => socket.addEventListener('open', resolve))
    const say = (message: unknown) => socket.send(JSON.stringify(message))
    const heard: string[] = []
    socket.addEventListener('message', ({ data }) => heard.push(String(data)))
    say({ type: 'hello', room: first.room, id: intruder })
    await until(() => heard.length > 0, 'the server has answered the intruder')
    expect(heard[0]).toContain('"welcome"')
    const hello = { type: 'hello', nonce: 'n'.repeat(22), echo: null } as const
    say({ type: 'signal', to: first.self, data: await sealer.seal(first.self, hello) })
    say({ type: 'signal', to: first.self, data: 'rubbish' })
    say({ type: 'signal', to: first.self, data: { type: 'offer', sdp: 'v=0' } })
    await until(() => first.refused.undecryptable === 1 && first.refused.malformed === 2, 'all three are refused')
    // The members call whom the server announces; what the intruder gets to see of that is sealed.
    await until(() => heard.some((text) => text.includes('"ct"')), 'a member has called')
    expect(heard.join()).not.toMatch(/candidate|fingerprint|sdp/)
    expect([stranger.peers, openPeers(first).length, openPeers(first).includes(intruder)]).toEqual([[], 2, false])
    socket.close()
  })

  it('connects pages with different kinds of links', async () => {
    const first = await join({ createLink: rtcLinks() })
    const all = [
      first,
      await join({ invite: first.invite }),
      await join({ invite: first.invite, createLink: rtcLinks() }),
    ]
    await until(() => isMesh(all), 'three rooms are a mesh')
    expect(all.map(({ refused }) => refused)).toEqual([{}, {}, {}])
  })

  it('connects pages of one browser over BroadcastChannel where both want that, and proves them like all others', async () => {
    let others = 0
    const createRtcLink = rtcLinks()
    const createLink: CreatePeerLink = (options) => {
      if (options.initiator) others += 1
      return createRtcLink(options)
    }
    const sameBrowser = true
    const first = await join({ sameBrowser, createLink })
    const { invite } = first
    const second = await join({ sameBrowser, createLink, invite })
    await until(() => isMesh([first, second]), 'the two are connected')
    expect(others).toBe(0)
    expect(first.peers).toEqual([expect.objectContaining({ role: 'voter', identity: second.identity })])
    const third = await join({ createLink, invite })
    await until(() => isMesh([first, second, third]), 'the third one is in, which does not want that')
    expect(others).toBeGreaterThanOrEqual(2)
    first.faults.breakLinks()
    await until(() => openPeers(first).length === 0, 'the break is noticed')
    await until(() => isMesh([first, second, third]), 'all is healed')
    await second.close()
    await until(() => openPeers(first).length === 1, 'the goodbye is heard')
  })

  it('heals a link that breaks, and one that falls silent', async () => {
    const all = await mesh()
    const [first, second] = all
    first.faults.breakLinks(second.self)
    await until(() => !openPeers(first).includes(second.self), 'the break is noticed')
    await until(() => isMesh(all), 'the link is back')
    first.faults.set(second.self, { cut: true })
    await until(() => !openPeers(second).includes(first.self), 'the silence is noticed')
    first.faults.clear()
    await until(() => isMesh(all), 'the link is back')
  })

  it('carries frames while the signaling server is down, and takes a newcomer when it is up again', async () => {
    const all = await mesh()
    const [first, second] = all
    const got: number[] = []
    let losses = 0
    const onDisconnected = () => {
      losses += 1
    }
    const channel = first.attach({ ...silent(alpha), onDisconnected })
    second.attach({ ...silent(beta), onFrame: (_from, frame) => got.push(frame[0] ?? -1), onDisconnected })
    await until(() => first.peers.some(({ replicas }) => replicas.length === 1), 'beta is known')
    channel.send(beta.replica, Uint8Array.of(1))
    await until(() => got.length === 1, 'a frame came before')
    await server.stop()
    await until(() => all.every(({ signaling }) => signaling === 'connecting'), 'all know that the server is gone')
    channel.send(beta.replica, Uint8Array.of(2))
    await until(() => got.length === 2, 'a frame came while it was down')
    await server.start()
    const newcomer = await join({ invite: first.invite })
    await until(() => isMesh([...all, newcomer]), 'the newcomer is in')
    channel.send(beta.replica, Uint8Array.of(3))
    await until(() => got.length === 3, 'a frame came after')
    expect([got, losses]).toEqual([[1, 2, 3], 0])
  })

  it('reaches the server at the pace that it allows: nothing is lost, and it is not thrown out', async () => {
    const ids = [randomText(16), randomText(16)] as const
    const got: unknown[] = []
    const states: string[] = []
    let welcomes = 0
    const clients = ids.map(
      (id) =>
        new SignalingClient({
          url: server.url,
          room: someRoom,
          id,
          clock: systemClock,
          createSocket: (url, protocol) => new WebSocket(url, protocol),
          events: {
            onState: (state) => states.push(state),
            onIceServers: () => undefined,
            onWelcome: () => {
              welcomes += 1
            },
            onPeerJoined: () => undefined,
            onPeerLeft: () => undefined,
            onSignal: (_from, data) => got.push(data),
          },
        }),
    )
    for (const client of clients) client.start()
    await until(() => welcomes === 2, 'both are welcome')
    const payloads = Array.from({ length: 80 }, (_, count) => ({ count }))
    for (const payload of payloads) clients[0]?.send(ids[1], payload)
    await until(() => got.length === payloads.length, 'all have come')
    expect(got).toEqual(payloads)
    expect(states).toEqual(['open', 'open'])
    for (const client of clients) client.close()
  })

  it.each([1, 20])('carries %i partitions over one connection to each page', async (count) => {
    const Connection = globalThis.RTCPeerConnection
    let connections = 0
    globalThis.RTCPeerConnection = class extends Connection {
      constructor(configuration?: RTCConfiguration) {
        super(configuration)
        connections += 1
      }
    }
    try {
      const partitions = await hostPartitions(await mesh(), count)
      expect(await countInEach(partitions)).toEqual(Array.from({ length: count }, () => 3))
      expect(keysOfEach(partitions)).toEqual(partitions.map(({ name }) => name))
      await closePartitions(partitions)
      // Three ways between three pages, with two ends each, all of them in this page.
      expect(connections).toBe(6)
    } finally {
      globalThis.RTCPeerConnection = Connection
    }
  })

  it('makes connections with whatever ICE servers the signaling server names', () => {
    const credentials = { username: 'user', credential: 'secret' }
    const hosts = [
      'a.example',
      'a..example',
      '-.example',
      '[::1]',
      '[::ffff:192.0.2.1]',
      '[1:2:3]',
      '256.1.1.1',
      'xn--a',
      '0',
    ]
    const ends = ['', ':1', ':65535', ':99999', ':0', '?transport=udp', '?transport=sctp', '/', '#', '?']
    const urls = ['stun', 'stuns', 'turn', 'turns', 'http'].flatMap((scheme) =>
      hosts.flatMap((host) => ends.map((end) => `${scheme}:${host}${end}`)),
    )
    const usable = urls.flatMap((url) => decodeIceServers([{ urls: url, ...credentials }]))
    expect(usable.length).toBeGreaterThan(50)
    for (const server of usable) {
      const make = () => new RTCPeerConnection({ iceServers: [server] }).close()
      expect(make, server.urls[0]).not.toThrow()
    }
  })

  it('shows what a page shows of itself until its link is gone', async () => {
    const [first, second, third] = await mesh()
    second.presence.set({ name: 'bo', colour: 'teal' })
    await until(() => first.presence.others.length === 1 && third.presence.others.length === 1, 'both see it')
    expect(first.presence.others).toEqual([{ peer: second.self, replicas: [], state: { name: 'bo', colour: 'teal' } }])
    await second.close()
    await until(() => first.presence.others.length === 0 && third.presence.others.length === 0, 'it is gone')
  })

  it('brings 5 MB whole while small frames pass them', async () => {
    const [first, second] = await mesh()
    const order: number[] = []
    let whole = false
    const big = Uint8Array.from({ length: 5_000_000 }, (_, index) => (index * 31) % 251)
    const channel = first.attach({ ...silent(alpha) })
    second.attach({
      ...silent(beta),
      onFrame: (_from, frame) => {
        order.push(frame.length)
        if (frame.length === big.length) whole = frame.every((byte, index) => byte === big[index])
      },
    })
    await until(() => first.peers.some(({ replicas }) => replicas.length === 1), 'beta is known')
    await until(() => second.peers.some(({ replicas }) => replicas.length === 1), 'alpha is known')
    channel.send(beta.replica, big, 'bulk')
    await new Promise((resolve) => setTimeout(resolve, 1))
    expect(channel.queuedBytes(beta.replica)).toBeGreaterThan(1_000_000)
    for (let count = 0; count < 10; count += 1) channel.send(beta.replica, new Uint8Array(100))
    await until(() => order.length === 11, 'everything is there')
    expect(order).toEqual([...new Array(10).fill(100), big.length])
    expect(whole).toBe(true)
  })

  it('closes so that the others know within a second, and its connections are gone', async () => {
    const [first, second, third] = await mesh()
    const startedMs = performance.now()
    await first.close()
    await until(() => openPeers(second).length === 1 && openPeers(third).length === 1, 'the others know')
    expect(performance.now() - startedMs).toBeLessThan(1_000)
    expect(first.peers).toEqual([])
  })
})

const someRoom = randomText(24)
const alpha = await createReplica()
const beta = await createReplica()
