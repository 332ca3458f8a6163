// Rooms in Node: everything but WebRTC and the network is real. The same rooms in a browser: room.browser-test.ts.
import type { Endpoint, Logger, WepaxosError } from '@wepaxos/core'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { describeTransportContract } from '../../core/testing/transport-contract.ts'
import { holdCrypto } from '../testing/manual-clock.ts'
import { forgetEd25519 } from '../testing/old-browser.ts'
import { describePeerLinkContract } from '../testing/peer-link-contract.ts'
import { createReplica, silent } from '../testing/replicas.ts'
import { createWorld, isMesh, openPeers } from '../testing/room-world.ts'
import { randomText } from './base64url.ts'
import { createKeyPair } from './identity.ts'
import { createInvite, deriveRoomKeys, formatInvite, parseInvite, readerInvite } from './invite.ts'
import type { CreatePeerLink } from './peer-link.ts'
import { createReplicaKey } from './replica-key.ts'
import { type JoinRoomOptions, joinRoom, type Room } from './room.ts'
import { Opener, type SealedEnvelope, Sealer } from './sealing.ts'
import type { SignalingMessage } from './signaling-message.ts'

type World = ReturnType<typeof createWorld>

describePeerLinkContract('the in-memory link', async () => {
  const { links, until } = createWorld()
  return { createLink: links.createLink, until }
})

describeTransportContract('a room over in-memory links', async () => {
  const world = createWorld()
  const first = await world.join()
  const second = await world.join({ invite: first.invite })
  const third = await world.join({ invite: first.invite })
  const rooms = [first, second, third] as const
  await world.until(() => isMesh(rooms), 'three rooms are a mesh')
  const at = (index: number) => rooms[index] ?? first
  return {
    transports: rooms,
    cut: (left, right) => at(left).faults.set(at(right).self, { cut: true }),
    heal: (left, right) => at(left).faults.clear(at(right).self),
    until: world.until,
    close: world.close,
  }
})

describe('a room', () => {
  let world: World

  beforeEach(() => {
    world = createWorld()
  })

  afterEach(() => world.close())

  async function mesh(count: number): Promise<readonly [Room, Room, ...Room[]]> {
    const first = await world.join()
    const second = await world.join({ invite: first.invite })
    const more: Room[] = []
    while (more.length < count - 2) more.push(await world.join({ invite: first.invite }))
    await world.until(() => isMesh([first, second, ...more]), `${count} rooms are a mesh`)
    return [first, second, ...more]
  }

  it('is there before any server or peer is', async () => {
    world.signaling.stop()
    const room = await world.join()
    expect([room.founded, room.peers, room.signaling]).toEqual([true, [], 'connecting'])
    expect(parseInvite(room.invite).role).toBe('voter')
  })

  it('connects nine pages that come at once, each with each, and honest ones cause no refusals', async () => {
    const first = await world.join()
    const others = await Promise.all(Array.from({ length: 8 }, () => world.join({ invite: first.invite })))
    const rooms = [first, ...others]
    await world.until(() => isMesh(rooms), 'nine rooms are a mesh')
    expect(rooms.map(({ refused }) => refused)).toEqual(rooms.map(() => ({})))
    expect(world.links.open()).toBe(9 * 8)
  })

  it('connects the holder of a reader link, and knows that it is a reader', async () => {
    const invite = createInvite()
    const voter = await world.join({ invite: formatInvite(invite) })
    const reader = await world.join({ invite: formatInvite(await readerInvite(invite)) })
    await world.until(() => isMesh([voter, reader]), 'they are connected')
    expect([voter.role, reader.role, reader.founded]).toEqual(['voter', 'reader', false])
    expect(voter.peers).toEqual([expect.objectContaining({ role: 'reader', identity: reader.identity })])
    expect(reader.peers).toEqual([expect.objectContaining({ role: 'voter', identity: voter.identity })])
  })

  it('of another secret never meets this one', async () => {
    const [first] = await mesh(2)
    const stranger = await world.join({ invite: formatInvite(createInvite()) })
    await world.clock.advance(30_000)
    expect([stranger.peers, openPeers(first).length]).toEqual([[], 1])
  })

  it('throws what is wrong with its arguments', async () => {
    const code = (options: Partial<JoinRoomOptions>) =>
      world.join(options).then(
        () => 'joined',
        (error: WepaxosError) => error.code,
      )
    expect(await code({ invite: '#v1.w.short' })).toBe('InvalidInvite')
    expect(await code({ signaling: 'https://signal.example' })).toBe('InvalidArgument')
    expect(await code({ signaling: 'nothing' })).toBe('InvalidArgument')
    expect(await code({ iceServers: [{ urls: 'turn:turn.example' }] })).toBe('InvalidArgument')
    expect(await code({ signal: AbortSignal.abort() })).toBe('Aborted')
    expect(
      await joinRoom({ signaling: 'ws://127.0.0.1:1', createSocket: world.signaling.createSocket }).catch(
        (error: WepaxosError) => error.code,
      ),
    ).toBe('NotSupported')
  })

  it('heals a link that breaks at once, and one that falls silent', async () => {
    const [first, second] = await mesh(2)
    first.faults.breakLinks()
    await world.until(() => openPeers(first).length === 0 && openPeers(second).length === 0, 'both know of the break')
    await world.until(() => isMesh([first, second]), 'they are connected again')

    second.faults.set('all', { cut: true })
    const startedMs = world.clock.now()
    await world.until(() => openPeers(first).length === 0, 'the silence is noticed')
    expect(world.clock.now() - startedMs).toBeLessThanOrEqual(8_100)
    second.faults.clear()
    await world.until(() => isMesh([first, second]), 'they are connected again')
  })

  it('learns of a replica that was attached during a cut too short to be noticed', async () => {
    const [first, second] = await mesh(2)
    const connected: string[] = []
    first.attach({ ...silent(alpha), onConnected: (peer) => connected.push(peer) })
    first.faults.set(second.self, { cut: true })
    second.attach({ ...silent(beta) })
    await world.clock.advance(500)
    first.faults.clear(second.self)
    await world.until(() => connected.length === 1, 'the replica is known')
  })

  it('calls nobody behind a cut, however long it lasts', async () => {
    const [first, second] = await mesh(2)
    // The last candidates of the handshake may still be on their way.
    await world.clock.advance(100)
    let signals = 0
    world.signaling.tamper = (signal) => {
      if (signal.from === first.self) signals += 1
      return [signal]
    }
    first.faults.set(second.self, { cut: true })
    await world.clock.advance(60_000)
    expect(signals).toBe(0)
  })

  it('does not judge a peer by its own sleep', async () => {
    const [first, second] = await mesh(2)
    await world.clock.advance(5_000)
    let changes = 0
    const hear = () => {
      changes += openPeers(first).length === 1 && openPeers(second).length === 1 ? 0 : 1
    }
    for (const room of [first, second]) room.addEventListener('peers', hear)
    world.clock.sleep(120_000)
    await world.clock.advance(1_500)
    expect([changes, isMesh([first, second])]).toEqual([0, true])
  })

  it('goes on without the signaling server, and takes newcomers when it is back', async () => {
    const [first, second] = await mesh(2)
    const before = first.peers.map(({ id }) => id)
    world.signaling.stop()
    await world.clock.advance(60_000)
    expect([first.signaling, isMesh([first, second])]).toEqual(['connecting', true])
    expect(first.signalingProblem).toContain('1006')
    const newcomer = await world.join({ invite: first.invite })
    world.signaling.start()
    await world.until(() => isMesh([first, second, newcomer]), 'the newcomer is in')
    expect(first.signalingProblem).toBeNull()
    expect(first.peers.map(({ id }) => id)).toEqual([...before, newcomer.self])
  })

  it('heals a link that broke while the signaling server was away, once it is back', async () => {
    const [first, second] = await mesh(2)
    world.signaling.stop()
    first.faults.breakLinks()
    await world.clock.advance(30_000)
    expect(isMesh([first, second])).toBe(false)
    world.signaling.start()
    await world.until(() => isMesh([first, second]), 'they are connected again')
  })

  it('connects though the server loses every other message for a while', async () => {
    let count = 0
    world.signaling.tamper = (signal) => {
      count += 1
      return count < 40 && count % 2 === 0 ? [] : [signal]
    }
    await mesh(3)
  })

  it('takes nothing that the server repeats, changes, relabels or makes up, and connects all the same', async () => {
    const seen: { from: string; data: unknown }[] = []
    world.signaling.tamper = (signal) => {
      const { from, data } = signal
      const envelope = data as SealedEnvelope
      seen.push({ from, data })
      const old = seen[Math.floor(seen.length / 2)]
      return [
        { from, data: { ...envelope, ct: `${envelope.ct.slice(0, -4)}AAAA` } },
        { from, data: { ...envelope, seq: envelope.seq + 5 } },
        { from: randomText(16), data },
        { from, data: 'rubbish' },
        signal,
        signal,
        ...(old === undefined ? [] : [old]),
      ]
    }
    const rooms = await mesh(3)
    for (const room of rooms) {
      expect(room.refused).toMatchObject({
        undecryptable: expect.any(Number),
        'wrong-sender': expect.any(Number),
        malformed: expect.any(Number),
        replayed: expect.any(Number),
      })
      expect(openPeers(room)).toHaveLength(2)
    }
  })

  it('is not entered by one who knows its name but not its secret', async () => {
    const [first, second] = await mesh(2)
    const keys = { ...(await deriveRoomKeys(createInvite())), room: first.room }
    const intruder = randomText(16)
    const sealer = new Sealer(keys, intruder, randomText(16))
    const nonce = 'n'.repeat(22)
    const messages: readonly SignalingMessage[] = [
      { type: 'hello', nonce, echo: null },
      { type: 'offer', echo: nonce, sdp: 'v=0' },
      { type: 'bye' },
    ]
    for (const message of messages) {
      world.signaling.inject(first.self, intruder, await sealer.seal(first.self, message))
    }
    await world.clock.advance(5_000)
    expect(first.refused).toEqual({ undecryptable: messages.length })
    expect([openPeers(first), openPeers(second)]).toEqual([[second.self], [first.self]])
  })

  it('needs eight signals at most to connect two pages, and none from then on', async () => {
    const types: string[] = []
    world.signaling.tamper = (signal) => {
      types.push(signal.from)
      return [signal]
    }
    await mesh(2)
    await world.clock.advance(60_000)
    expect(types.length).toBeLessThanOrEqual(8)
  })

  describe('with a member that follows a script', () => {
    const nonce = 'n'.repeat(22)
    const other = 'o'.repeat(22)

    /** A room, and one that knows its secret and says what the test wants; its id is the greater one, so the room offers. */
    async function puppet(options: Partial<JoinRoomOptions> = {}) {
      const room = await world.join(options)
      const keys = await deriveRoomKeys(parseInvite(room.invite))
      const id = `zzzzzz${randomText(12)}`
      const sealer = new Sealer(keys, id, randomText(16))
      const opener = new Opener(keys, id)
      const heard: SignalingMessage[] = []
      const socket = world.signaling.createSocket()
      socket.addEventListener('message', async ({ data }: { data: string }) => {
        const { type, from, data: sealed } = JSON.parse(data)
        const opened = type === 'signal' ? await opener.open(from, sealed) : undefined
        if (opened?.ok) heard.push(opened.message)
      })
      socket.addEventListener('open', () => socket.send(JSON.stringify({ type: 'hello', room: room.room, id })))
      const say = async (message: SignalingMessage) => {
        const data = await sealer.seal(room.self, message)
        socket.send(JSON.stringify({ type: 'signal', to: room.self, data }))
        await world.clock.advance(40)
      }
      await world.until(() => room.signaling === 'open' && room.peers.length === 1, 'both are in the room')
      await say({ type: 'hello', nonce, echo: null })
      const hello = heard.find(({ type }) => type === 'hello')
      const echo = hello?.type === 'hello' ? hello.nonce : 'none'
      return { room, heard, say, echo }
    }

    it('answers its hello with one hello and one offer, both of them for its nonce', async () => {
      const { heard } = await puppet()
      const [hello, offer] = heard
      expect(hello).toEqual({ type: 'hello', nonce: expect.any(String), echo: nonce })
      expect(offer).toMatchObject({ type: 'offer', echo: nonce })
    })

    it('does not begin anew when it only says again what is known', async () => {
      const { heard, say, echo } = await puppet()
      const before = heard.length
      await say({ type: 'hello', nonce, echo })
      expect(heard.slice(before)).toEqual([])
    })

    it('begins anew when it comes with another nonce', async () => {
      const { heard, say, echo } = await puppet()
      const before = heard.length
      await say({ type: 'hello', nonce: other, echo })
      expect(heard.slice(before).filter(({ type }) => type === 'offer')).toEqual([
        { type: 'offer', echo: other, sdp: expect.any(String) },
      ])
    })

    it('takes nothing that is meant for another nonce than its present one', async () => {
      const { room, say } = await puppet()
      await say({ type: 'answer', echo: other, sdp: 'an old answer' })
      await say({ type: 'ice', echo: other, candidates: [] })
      expect(room.refused).toEqual({ stale: 2 })
    })

    it('takes no offer where it is the one to offer, and no second answer', async () => {
      const { room, say, echo } = await puppet()
      await say({ type: 'offer', echo, sdp: 'an offer' })
      await say({ type: 'answer', echo, sdp: 'nobody' })
      await say({ type: 'answer', echo, sdp: 'nobody' })
      expect(room.refused).toEqual({ unexpected: 2 })
    })

    it('takes the candidates that stand behind one which it refuses', async () => {
      const taken: string[] = []
      const createLink: CreatePeerLink = (options) => {
        const link = world.links.createLink(options)
        link.signal = (signal) => {
          if (signal.type !== 'ice' || signal.candidate.candidate === 'bad') return false
          taken.push(signal.candidate.candidate)
          return true
        }
        return link
      }
      const { room, say, echo } = await puppet({ createLink })
      const candidates = ['one', 'bad', 'other'].map((candidate) => ({ candidate, sdpMid: '0', sdpMLineIndex: 0 }))
      await say({ type: 'ice', echo, candidates })
      expect([taken, room.refused]).toEqual([['one', 'other'], { unexpected: 1 }])
    })

    it('does not call it any more once it has said goodbye', async () => {
      const { heard, say, room } = await puppet()
      await say({ type: 'bye' })
      expect(room.peers).toEqual([])
      const before = heard.length
      await world.clock.advance(60_000)
      expect(heard.length).toBe(before)
    })
  })

  it('says goodbye when it is closed, leaves nothing behind, and does so once', async () => {
    const [first, second, third] = await mesh(3)
    const closing = [first.close(), first.close()]
    await world.until(() => openPeers(second).length === 1, 'the others know')
    await Promise.all(closing)
    expect([first.peers, first.signaling]).toEqual([[], 'closed'])
    expect(() => first.attach(silent(alpha))).toThrow(expect.objectContaining({ code: 'Closed' }))
    expect(second.peers.map(({ id }) => id)).toEqual([third?.self])
    await world.close()
    expect([world.clock.pending, world.links.open()]).toEqual([0, 0])
  })

  it('leaves nothing behind though a replica throws when it hears that all are gone', async () => {
    const second = await world.join()
    const { signaling, links, clock } = world
    const { createSocket } = signaling
    const { createLink } = links
    const first = await joinRoom({
      invite: second.invite,
      signaling: 'ws://127.0.0.1:1',
      createSocket,
      createLink,
      clock,
    })
    const fault = new Error('a fault of the replica')
    first.attach({
      ...silent(alpha),
      onDisconnected: () => {
        throw fault
      },
    })
    second.attach(silent(beta))
    await world.until(() => first.peers[0]?.replicas.length === 1, 'beta is known')
    const closed = first.close().catch((error: unknown) => error)
    await world.until(() => second.peers.length === 0, 'the other one knows')
    expect([await closed, first.peers, first.signaling, links.open()]).toEqual([fault, [], 'closed', 0])
  })

  it('finds the others again when all of them were hidden at the same moment', async () => {
    const page = new EventTarget()
    vi.stubGlobal('document', new EventTarget())
    vi.stubGlobal('addEventListener', page.addEventListener.bind(page))
    try {
      const rooms = await mesh(3)
      page.dispatchEvent(new Event('pagehide'))
      await world.until(() => rooms.every((room) => room.peers.length === 0), 'all have said goodbye')
      page.dispatchEvent(new Event('pageshow'))
      await world.until(() => isMesh(rooms), 'they are connected again')
    } finally {
      vi.unstubAllGlobals()
    }
  })

  it('leaves nothing behind of links that broke, however often, in whatever state they were', async () => {
    const rooms = await mesh(3)
    await world.clock.advance(5_000)
    const before = [world.clock.pending, world.links.open()]
    for (let count = 0; count < 40; count += 1) {
      for (const room of rooms) room.faults.breakLinks()
      // Sometimes while the new one is being made, or proven.
      await world.clock.advance(320 + count)
    }
    await world.until(() => isMesh(rooms), 'they are connected again')
    await world.clock.advance(30_000)
    expect([world.clock.pending, world.links.open()]).toEqual(before)
  })

  it('is closed when the signal that it was given aborts', async () => {
    const controller = new AbortController()
    const room = await world.join({ signal: controller.signal })
    controller.abort()
    await world.until(() => room.signaling === 'closed', 'it is closed')
  })

  it('tells of peers, signaling and refusals by events, until the listener is aborted', async () => {
    const room = await world.join()
    const heard: string[] = []
    const listening = new AbortController()
    for (const type of ['peers', 'signaling', 'refused'] as const) {
      room.addEventListener(type, () => heard.push(type), { signal: listening.signal })
    }
    await world.until(() => heard.includes('signaling'), 'signaling is told')
    await world.join({ invite: room.invite })
    await world.until(() => heard.includes('peers'), 'peers are told')
    world.signaling.inject(room.self, randomText(16), 'rubbish')
    await world.until(() => heard.includes('refused'), 'the refusal is told')
    listening.abort()
    heard.length = 0
    await world.join({ invite: room.invite })
    await world.clock.advance(1_000)
    expect(heard).toEqual([])
  })

  it('says that there is no route when two attempts have found none, until one is found', async () => {
    // Two networks with no way between them: descriptions cross, and nothing else does.
    let isBlocked = true
    const createLink: CreatePeerLink = (options) =>
      world.links.createLink({
        ...options,
        events: {
          ...options.events,
          onOpen: () => {
            if (!isBlocked) options.events.onOpen()
          },
        },
      })
    const first = await world.join({ createLink })
    const second = await world.join({ invite: first.invite, createLink })
    await world.clock.advance(10_500)
    expect([first.peers[0]?.problem, second.peers[0]?.problem]).toEqual([null, null])
    await world.until(
      () => first.peers[0]?.problem?.code === 'NoRoute' && second.peers[0]?.problem?.code === 'NoRoute',
      'both say what is wrong',
    )
    isBlocked = false
    await world.until(() => isMesh([first, second]), 'they are connected')
    expect([first.peers[0]?.problem, second.peers[0]?.problem]).toEqual([null, null])
  })

  const failures: Readonly<Record<string, CreatePeerLink>> = {
    throws: () => {
      throw new Error('no more connections')
    },
    // As simple-peer does it.
    'closes it at once': (options) => {
      const link = world.links.createLink(options)
      link.close('no more connections')
      return link
    },
  }
  const ways = Object.keys(failures).flatMap((how) => [
    ['offers', how, false] as const,
    ['answers', how, false] as const,
    // The end that answers makes it only when it has seen the offer.
    ['answers', how, true] as const,
  ])
  it.each(ways)(
    'says why no link can be made, and makes one as soon as it can: the one who %s, where what makes it %s (same browser: %s)',
    async (role, how, sameBrowser) => {
      let isBroken = true
      const createLink: CreatePeerLink = (options) =>
        (isBroken ? (failures[how] ?? expect.unreachable()) : world.links.createLink)(options)
      const first = await world.join()
      let second = await world.join({ invite: first.invite, createLink, sameBrowser })
      // The smaller id offers, and ids are random.
      while (second.self < first.self !== (role === 'offers')) {
        const closing = second.close()
        await world.clock.advance(100)
        await closing
        second = await world.join({ invite: first.invite, createLink, sameBrowser })
      }
      await world.until(() => second.peers[0]?.problem?.code === 'NotSupported', 'it says what is wrong')
      expect(second.peers[0]?.problem?.message).toContain('no more connections')
      await world.clock.advance(60_000)
      expect([second.peers[0]?.problem?.code, openPeers(first)]).toEqual(['NotSupported', []])
      isBroken = false
      await world.until(() => isMesh([first, second]), 'they are connected')
      expect(second.peers[0]?.problem).toBeNull()
    },
  )

  it('does not blame the network when the other page does not answer', async () => {
    const first = await world.join()
    world.signaling.tamper = () => []
    await world.join({ invite: first.invite })
    await world.clock.advance(60_000)
    expect(first.peers.map(({ problem }) => problem)).toEqual([null])
  })

  describe('with a page whose browser does not know Ed25519', () => {
    let remember: () => void = () => undefined

    afterEach(() => remember())

    const replicasSeen = (room: Room) => room.peers.flatMap(({ replicas }) => replicas.map(({ replica }) => replica))

    it('connects it, and hears its replicas as it hears those here: new keys are of a kind that both know', async () => {
      const first = await world.join()
      const ours = await first.newReplica()
      first.attach(silent(ours))
      await world.clock.advance(1)
      remember = forgetEd25519()
      const second = await world.join({ invite: first.invite })
      const theirs = await second.newReplica()
      second.attach(silent(theirs))
      await world.until(() => replicasSeen(first).length === 1 && replicasSeen(second).length === 1, 'both are known')
      expect([replicasSeen(first), replicasSeen(second)]).toEqual([[theirs.replica], [ours.replica]])
      expect([first.refused, second.refused]).toEqual([{}, {}])
    })

    it('says of a page whose key it can not check just that, and connects it where it can', async () => {
      const first = await world.join({ identity: await createKeyPair('Ed25519', false) })
      let opened = 0
      first.addEventListener('peers', () => {
        opened += openPeers(first).length
      })
      remember = forgetEd25519()
      const second = await world.join({ invite: first.invite })
      await world.until(() => second.peers[0]?.problem !== null, 'the problem is told')
      expect(second.peers[0]?.problem).toMatchObject({ code: 'NotSupported', message: expect.stringContaining('kind') })
      await world.clock.advance(20_000)
      expect(second.peers[0]?.problem?.code).toBe('NotSupported')
      expect([opened, first.refused, second.refused]).toEqual([0, {}, { 'unknown-key': expect.any(Number) }])
      remember()
      await world.until(() => isMesh([first, second]), 'they are connected')
      expect(second.peers[0]?.problem).toBeNull()
    })

    it('hears nothing of a replica whose stored key it can not check, says so, and hears the others of that page', async () => {
      const first = await world.join()
      const old = await createReplicaKey('Ed25519')
      const oldChannel = first.attach(silent(old))
      const other = await first.newReplica()
      first.attach(silent(other))
      await world.clock.advance(1)
      remember = forgetEd25519()
      const second = await world.join({ invite: first.invite })
      const connected: string[] = []
      second.attach({ ...silent(await second.newReplica()), onConnected: (peer) => connected.push(peer) })
      await world.until(() => second.refused['unknown-key'] === 1 && connected.length === 1, 'both were looked at')
      await world.clock.advance(10_000)
      expect([connected, replicasSeen(second)]).toEqual([[other.replica], [other.replica]])
      expect([isMesh([first, second]), second.refused]).toEqual([true, { 'unknown-key': 1 }])
      expect(second.peers[0]?.problem?.code).toBe('NotSupported')
      oldChannel.close()
      await world.until(() => second.peers[0]?.problem === null, 'it is gone, and the problem with it')
    })
  })

  it('gives a list of peers that stays the same while nothing changes, with figures', async () => {
    const [first, second] = await mesh(2)
    await world.until(() => first.peers[0]?.rttMs !== null, 'the first pong came')
    expect(first.peers).toBe(first.peers)
    expect(first.peers).toEqual([
      expect.objectContaining({ id: second.self, state: 'open', rttMs: expect.any(Number), replicas: [] }),
    ])
    expect(first.peers[0]?.rttMs).toBeGreaterThan(0)
    second.attach(silent(alpha))
    const before = first.peers
    await world.until(() => first.peers !== before && first.peers[0]?.replicas.length === 1, 'the replica is announced')
  })

  it('lets small frames pass a big one of the bulk lane', async () => {
    const [first, second] = await mesh(2)
    const order: number[] = []
    const channel = first.attach({ ...silent(alpha) })
    second.attach({ ...silent(beta), onFrame: (_from, frame) => order.push(frame.length) })
    await world.until(
      () => second.peers[0]?.replicas.length === 1 && first.peers[0]?.replicas.length === 1,
      'both are known',
    )
    channel.send(beta.replica, new Uint8Array(5_000_000), 'bulk')
    await world.clock.advance(5)
    expect(channel.queuedBytes(beta.replica)).toBeGreaterThan(1_000_000)
    channel.send(beta.replica, new Uint8Array(10))
    await world.until(() => order.length === 2, 'both frames are there')
    expect(order).toEqual([10, 5_000_000])
  })

  it('sends all frames of one turn as one', async () => {
    let sent = 0
    const createLink: CreatePeerLink = (options) => {
      const link = world.links.createLink(options)
      const send = link.send.bind(link)
      link.send = (bytes) => {
        sent += 1
        send(bytes)
      }
      return link
    }
    const first = await world.join({ createLink })
    const second = await world.join({ invite: first.invite })
    const got: number[] = []
    const channel = first.attach({ ...silent(alpha) })
    second.attach({ ...silent(beta), onFrame: (_from, frame) => got.push(frame.length) })
    await world.until(() => first.peers[0]?.replicas.length === 1, 'beta is known')
    await world.clock.advance(10)
    sent = 0
    for (let count = 0; count < 100; count += 1) channel.send(beta.replica, new Uint8Array(60))
    await world.clock.advance(10)
    expect([got.length, sent]).toEqual([100, 1])
  })

  it('drops a peer for which more is queued than the limit, and connects it anew', async () => {
    const limits = { queueBytesMax: 1_000_000 }
    const first = await world.join({ limits })
    const second = await world.join({ invite: first.invite })
    let losses = 0
    const channel = first.attach({ ...silent(alpha), onDisconnected: () => (losses += 1) })
    second.attach({ ...silent(beta) })
    await world.until(() => first.peers[0]?.replicas.length === 1, 'beta is known')
    for (let count = 0; count < 30; count += 1) channel.send(beta.replica, new Uint8Array(100_000))
    expect(losses).toBe(0)
    await world.until(() => losses === 1, 'the loss is told')
    await world.until(() => isMesh([first, second]), 'they are connected again')
  })

  it('refuses to send a frame above the limit', async () => {
    const room = await world.join({ limits: { messageBytesMax: 1_000 } })
    const channel = room.attach(silent(alpha))
    expect(() => channel.send(beta.replica, new Uint8Array(1_001))).toThrow(
      expect.objectContaining({ code: 'InvalidArgument' }),
    )
  })

  it('delays and loses frames as its faults say, and nothing once they are taken away', async () => {
    const [first, second] = await mesh(2)
    const got: number[] = []
    const channel = first.attach({ ...silent(alpha) })
    second.attach({ ...silent(beta), onFrame: (_from, frame) => got.push(frame[0] ?? -1) })
    await world.until(() => first.peers[0]?.replicas.length === 1 && second.peers[0]?.replicas.length === 1, 'known')
    first.faults.set('all', { delayMs: 500 })
    for (const byte of [1, 2, 3]) channel.send(beta.replica, Uint8Array.of(byte))
    await world.clock.advance(400)
    expect(got).toEqual([])
    await world.clock.advance(200)
    expect(got).toEqual([1, 2, 3])
    first.faults.set('all', { dropProbability: 0.5 })
    for (let count = 0; count < 200; count += 1) channel.send(beta.replica, Uint8Array.of(9))
    await world.clock.advance(100)
    expect(got.length).toBeGreaterThan(60)
    expect(got.length).toBeLessThan(150)
    first.faults.clear()
    got.length = 0
    for (let count = 0; count < 50; count += 1) channel.send(beta.replica, Uint8Array.of(9))
    await world.clock.advance(100)
    expect(got).toHaveLength(50)
  })

  it('keeps frames in order when their delay is shortened, or taken away, while some of them wait', async () => {
    const [first, second] = await mesh(2)
    const got: number[] = []
    const channel = first.attach({ ...silent(alpha) })
    second.attach({ ...silent(beta), onFrame: (_from, frame) => got.push(frame[0] ?? -1) })
    await world.until(() => first.peers[0]?.replicas.length === 1 && second.peers[0]?.replicas.length === 1, 'known')
    const send = (byte: number) => channel.send(beta.replica, Uint8Array.of(byte))
    first.faults.set('all', { delayMs: 500 })
    send(1)
    first.faults.set('all', { delayMs: 100 })
    send(2)
    first.faults.clear()
    send(3)
    await world.clock.advance(400)
    expect(got).toEqual([])
    await world.clock.advance(200)
    send(4)
    await world.clock.advance(50)
    expect(got).toEqual([1, 2, 3, 4])
  })

  it('believes the newer of two pages that hold the key of one replica', async () => {
    const [first, second, third] = await mesh(3)
    if (third === undefined) return expect.unreachable()
    const got: string[] = []
    const events: string[] = []
    const channel = first.attach({
      ...silent(alpha),
      onConnected: () => events.push('connected'),
      onDisconnected: () => events.push('disconnected'),
      onFrame: (_from, frame) => got.push(`byte ${frame[0]}`),
    })
    const older = second.attach({ ...silent(beta), onFrame: () => got.push('old') })
    await world.until(() => events.length === 1, 'the old one is known')
    const newer = third.attach({ ...silent(beta), onFrame: () => got.push('new') })
    await world.until(() => events.length === 3, 'the new one took its place')
    channel.send(beta.replica, Uint8Array.of(1))
    await world.until(() => got.length === 1, 'the frame is there')
    older.send(alpha.replica, Uint8Array.of(1))
    newer.send(alpha.replica, Uint8Array.of(2))
    await world.until(() => got.length === 2, 'the answer is there')
    expect(got).toEqual(['new', 'byte 2'])
    expect(events).toEqual(['connected', 'disconnected', 'connected'])
    newer.close()
    await world.until(() => events.length === 5, 'the old one is all there is')
    expect(first.refused).toEqual({})
    return undefined
  })

  it('goes on with the older of two pages that hold the key of one replica when the newer one goes', async () => {
    const [first, older, newer] = await mesh(3)
    if (newer === undefined) return expect.unreachable()
    const got: string[] = []
    const channel = first.attach(silent(alpha))
    older.attach({ ...silent(beta), onFrame: () => got.push('older') })
    await world.until(() => first.peers.some(({ replicas }) => replicas.length === 1), 'the older one is known')
    newer.attach({ ...silent(beta), onFrame: () => got.push('newer') })
    await world.until(() => first.peers.every(({ replicas }) => replicas.length === 1), 'the newer one is known')
    channel.send(beta.replica, Uint8Array.of(1))
    await world.until(() => got.length === 1, 'somebody got it')
    const closing = newer.close()
    await world.until(() => openPeers(first).length === 1, 'the newer one is gone')
    await closing
    channel.send(beta.replica, Uint8Array.of(2))
    await world.until(() => got.length === 2, 'somebody got it')
    expect(got).toEqual(['newer', 'older'])
    return undefined
  })

  it('believes a page that was reloaded at once, under the id that its replica had, though its old link is not known to be dead', async () => {
    const [first, second] = await mesh(2)
    const events: string[] = []
    const got: number[] = []
    first.attach({
      ...silent(alpha),
      onConnected: (peer) => events.push(`connected ${peer}`),
      onDisconnected: (peer) => events.push(`disconnected ${peer}`),
      onFrame: (_from, frame) => got.push(frame[0] ?? -1),
    })
    second.attach(silent(beta))
    await world.until(() => events.length === 1, 'the first page of the replica is known')
    // It ends without a word: nothing but its silence would tell.
    second.faults.set('all', { cut: true })
    const reloaded = await world.join({ invite: first.invite })
    const channel = reloaded.attach({
      ...silent(beta),
      onConnected: (peer) => channel.send(peer, Uint8Array.of(7)),
    })
    const startedMs = world.clock.now()
    await world.until(() => got.length === 1, 'the second one is heard')
    expect(world.clock.now() - startedMs).toBeLessThan(1_000)
    expect(openPeers(first)).toContain(second.self)
    const of = (what: string) => `${what} ${beta.replica}`
    expect([events, got]).toEqual([[of('connected'), of('disconnected'), of('connected')], [7]])
    expect([reloaded.identity === second.identity, first.refused]).toEqual([false, {}])
  })

  describe('while WebCrypto takes its time', () => {
    let first: Room
    let second: Room
    let log: string[]
    let release: () => void

    /** Two pages, with alpha on the first one, and beta about to come on the second, where it greets all that it hears of. */
    beforeEach(async () => {
      ;[first, second] = await mesh(2)
      log = []
      first.attach({
        ...silent(alpha),
        onConnected: (peer) => log.push(`alpha hears of ${peer}`),
        onFrame: (_from, frame) => log.push(`alpha hears ${frame[0]}`),
      })
      await world.until(() => second.peers[0]?.replicas.length === 1, 'alpha is known')
    })

    afterEach(() => release())

    /** A key is tried before it is used. */
    const beforeAnnouncing = 1
    const greetings = ['alpha hears 1', 'alpha hears 2', 'alpha hears 3']

    function attachBeta() {
      const channel = second.attach({
        ...silent(beta),
        onConnected: (peer) => {
          log.push('beta hears of alpha')
          for (const byte of [1, 2, 3]) channel.send(peer, Uint8Array.of(byte))
        },
      })
      return channel
    }

    it('to sign an announcement, its replica hears of nobody, and from then on is heard', async () => {
      release = holdCrypto('sign', beforeAnnouncing)
      attachBeta()
      await world.clock.advance(1_000)
      expect(log).toEqual([])
      release()
      await world.until(() => log.length >= 5, 'all is said')
      expect(log).toEqual(['beta hears of alpha', `alpha hears of ${beta.replica}`, ...greetings])
    })

    it('to verify an announcement, what comes behind it waits, in order', async () => {
      release = holdCrypto('verify', beforeAnnouncing)
      attachBeta()
      await world.clock.advance(1_000)
      expect([log, first.peers[0]?.replicas]).toEqual([['beta hears of alpha'], []])
      release()
      await world.until(() => log.length >= 5, 'all is said')
      expect(log.slice(1)).toEqual([`alpha hears of ${beta.replica}`, ...greetings])
    })

    it('to sign or verify for a link that is gone by then, nothing comes of it, and the next link brings it all', async () => {
      release = holdCrypto('verify', beforeAnnouncing)
      attachBeta()
      await world.clock.advance(100)
      first.faults.breakLinks()
      await world.until(() => openPeers(first).length === 0 && openPeers(second).length === 0, 'the link is gone')
      release()
      await world.clock.advance(100)
      expect([openPeers(first), log]).toEqual([[], ['beta hears of alpha']])
      await world.until(() => log.length >= 6, 'all is said')
      expect(log.slice(1).sort()).toEqual([...greetings, `alpha hears of ${beta.replica}`, 'beta hears of alpha'])
      expect(log.filter((entry) => entry.startsWith('alpha'))).toEqual([`alpha hears of ${beta.replica}`, ...greetings])
    })

    it('to sign for a replica that is detached by then, nobody hears of it', async () => {
      release = holdCrypto('sign', beforeAnnouncing)
      attachBeta().close()
      await world.clock.advance(100)
      release()
      await world.clock.advance(1_000)
      expect([log, first.peers[0]?.replicas, first.refused]).toEqual([[], [], {}])
    })
  })

  it('tells a replica neither of itself on another page, nor counts that page as a liar', async () => {
    const [first, second] = await mesh(2)
    const heard: string[] = []
    first.attach({ ...silent(alpha), onConnected: (peer) => heard.push(peer) })
    second.attach({ ...silent(alpha), onConnected: (peer) => heard.push(peer) })
    await world.until(() => first.peers[0]?.replicas.length === 1, 'it is announced')
    await world.clock.advance(100)
    expect([heard, first.refused]).toEqual([[], {}])
  })

  it('takes no replica without its own key', async () => {
    const room = await world.join()
    const invalid = (endpoint: Endpoint, message: RegExp) =>
      expect(() => room.attach(endpoint)).toThrow(
        expect.objectContaining({ code: 'InvalidArgument', message: expect.stringMatching(message) }),
      )
    const { key: _none, ...keyless } = silent(alpha)
    invalid(keyless, /stored by an older version.*Erase the stored state/)
    invalid({ ...silent(alpha), key: beta.key }, new RegExp(`the key of replica ${beta.replica}`))
    invalid({ ...silent(alpha), key: alpha.key.slice(1) }, /is no key/)
  })

  it('announces no replica whose key turns out to be none, and says so', async () => {
    const warned: string[] = []
    const logger = { debug: () => undefined, warn: (message: string) => warned.push(message) } as unknown as Logger
    const first = await world.join({ logger })
    const second = await world.join({ invite: first.invite })
    await world.until(() => isMesh([first, second]), 'they are connected')
    // The id and the public half of one, and the private half of another.
    const mixed = Uint8Array.from([...alpha.key.slice(0, 50), ...beta.key.slice(50)])
    first.attach({ ...silent(alpha), key: mixed })
    second.attach(silent(beta))
    await world.until(() => first.peers[0]?.replicas.length === 1, 'the other one is announced')
    await world.clock.advance(1_000)
    expect([second.peers[0]?.replicas, second.refused, isMesh([first, second])]).toEqual([[], {}, true])
    expect(warned).toEqual(['a replica can not prove its id: nobody will hear it'])
  })

  it('connects two replicas of one partition that are attached to the same room', async () => {
    const room = await world.join()
    const got: number[] = []
    const channel = room.attach({ ...silent(alpha) })
    const other = room.attach({ ...silent(beta), onFrame: (_from, frame) => got.push(frame.length) })
    await world.clock.advance(1)
    channel.send(beta.replica, new Uint8Array(7))
    channel.send(alpha.replica, new Uint8Array(8))
    await world.clock.advance(1)
    expect(got).toEqual([7])
    other.close()
  })
})

const alpha = await createReplica()
const beta = await createReplica()
