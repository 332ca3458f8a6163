// The table "Who can do what" of docs/security.md: for each row, that what it says nobody can do is refused. The hostile
// signaling server has its own tests (attacks.test.ts); that an ex-member is not heard, and that nobody starts ballots of
// others, is the core's to refuse: [EP5] and [CO7] in packages/core/src/protocol/replica.test.ts.
import { type Channel, kv, memoryStorage, openReplica, type Transport } from '@wepaxos/core'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { holdCrypto } from '../testing/manual-clock.ts'
import { createMemoryLinks } from '../testing/memory-links.ts'
import { MemorySignaling } from '../testing/memory-signaling.ts'
import { announcementOf, createReplica, silent } from '../testing/replicas.ts'
import { joinAsRogue, type RogueMember } from '../testing/rogue-member.ts'
import { createWorld, isMesh, openPeers } from '../testing/room-world.ts'
import { systemClock } from './clock.ts'
import { type Announcement, encodeControlMessage } from './control-message.ts'
import { frameBytesMax } from './framing.ts'
import { createInvite, deriveRoomKeys, formatInvite, type Invite, parseInvite, readerInvite } from './invite.ts'
import { presenceChannel } from './link-session.ts'
import { joinRoom, type Room } from './room.ts'

const [alpha, beta, gamma] = await Promise.all([createReplica(), createReplica(), createReplica()])
const limits = { messageBytesMax: 100_000 }

let world: ReturnType<typeof createWorld>
let first: Room
let second: Room
let rogue: RogueMember | undefined
/** What alpha, the replica of the first page, heard, and from whom. */
let heard: string[]
/** Of whom it was told. */
let told: string[]
/** The other one's. */
let channelOfBeta: Channel

beforeEach(async () => {
  world = createWorld()
  first = await world.join({ limits })
  second = await world.join({ invite: first.invite, limits })
  heard = []
  told = []
  first.attach({
    ...silent(alpha),
    onConnected: (peer) => told.push(`connected ${peer}`),
    onDisconnected: (peer) => told.push(`disconnected ${peer}`),
    onFrame: (from, frame) => heard.push(`${frame[0]} from ${from}`),
  })
  channelOfBeta = second.attach(silent(beta))
  await world.until(() => isMesh([first, second]) && first.peers[0]?.replicas.length === 1, 'two pages are connected')
})

afterEach(async () => {
  rogue?.close()
  rogue = undefined
  // Whatever was tried: the honest two are together.
  expect(openPeers(first)).toContain(second.self)
  await world.close()
})

const voterInvite = (): Invite => parseInvite(first.invite)

async function connected(one: RogueMember): Promise<void> {
  await world.until(() => openPeers(first).includes(one.self) && one.sessions.length === 2, 'the rogue is connected')
}

/** `number` in the bytes of the frame format. */
function varuint(number: number): readonly number[] {
  const bytes: number[] = []
  let rest = number
  for (; rest > 0x7f; rest >>>= 7) bytes.push((rest & 0x7f) | 0x80)
  return [...bytes, rest]
}

describe('row "outsider without the invite"', () => {
  it('can not connect, though it knows the name of the room', async () => {
    const keys = { ...(await deriveRoomKeys(createInvite())), room: first.room }
    rogue = await joinAsRogue(world, keys)
    await world.clock.advance(30_000)
    expect([openPeers(first), rogue.sessions, rogue.heard]).toEqual([[second.self], [], []])
    expect(first.refused.undecryptable).toBeGreaterThan(0)
  })

  it('can not tell a right room from a wrong one by what the server passes on', async () => {
    const seen: string[] = []
    world.signaling.tamper = (signal) => {
      seen.push(JSON.stringify(signal.data))
      return [signal]
    }
    await world.join({ invite: first.invite })
    await world.clock.advance(5_000)
    expect(seen.length).toBeGreaterThan(4)
    expect(seen.join()).not.toMatch(/fingerprint|"(?:sdp|offer|answer|nonce)"/)
  })
})

describe('row "holder of a reader link"', () => {
  it('connects, and is known to the voters as a reader', async () => {
    const keys = await deriveRoomKeys(await readerInvite(voterInvite()))
    rogue = await joinAsRogue(world, keys)
    await connected(rogue)
    const { self } = rogue
    expect(first.peers.find(({ id }) => id === self)).toMatchObject({ state: 'open', role: 'reader' })
  })

  it('is one whose replicas are not to be counted, and the voters are told so', async () => {
    const rights: unknown[] = []
    first.attach({ ...silent(gamma, 'other'), onConnected: (peer, right) => rights.push([peer, right]) })
    second.attach(silent(beta, 'other'))
    await world.until(() => rights.length === 1, 'the voter is known')
    const invite = formatInvite(await readerInvite(voterInvite()))
    const reader = await world.join({ invite })
    reader.attach(silent(alpha, 'other'))
    await world.until(() => rights.length === 2, 'the reader is known')
    expect(rights).toEqual([
      [beta.replica, { mayVote: true }],
      [alpha.replica, { mayVote: false }],
    ])
    expect([first.mayVote, reader.mayVote]).toEqual([true, false])
  })

  it('can not vote, though its page was changed to ask for it', async () => {
    // On the real clock, as the replicas are: nothing here waits for a time, only for what happens.
    const signaling = new MemorySignaling()
    const { createLink } = createMemoryLinks(systemClock)
    const options = { signaling: 'ws://127.0.0.1:1', createSocket: signaling.createSocket, createLink }
    await using voterRoom = await joinRoom(options)
    const invite = formatInvite(await readerInvite(parseInvite(voterRoom.invite)))
    await using readerRoom = await joinRoom({ ...options, invite })
    const open = (transport: Transport) =>
      openReplica({ partition: 'main', transport, storage: memoryStorage(), machine: kv(), role: 'voter' })
    await using voter = await open(voterRoom)
    const { room, presence } = readerRoom
    const attach = readerRoom.attach.bind(readerRoom)
    const newReplica = readerRoom.newReplica.bind(readerRoom)
    const changed = { room, founded: false, mayVote: true, presence, newReplica, attach }
    await using _asking = await open(changed)
    await vi.waitFor(() => expect(voter.stats().refused).toMatchObject({ reader: expect.any(Number) }), 20_000)
    // One that asks for nothing but to follow is let in, beside it.
    await using honestRoom = await joinRoom({ ...options, invite })
    await using following = await open(honestRoom)
    await following.ready({ timeoutMs: 20_000 })
    expect(voter.members.filter(({ role }) => role === 'voter').map(({ id }) => id)).toEqual([voter.id])
  })

  it('can not keep two voters apart, nor hide one, by showing the presence of one as its own', async () => {
    second.presence.set({ name: 'second' })
    rogue = await joinAsRogue(world, await deriveRoomKeys(await readerInvite(voterInvite())))
    const { self } = rogue
    await connected(rogue)
    await world.until(() => (rogue?.heard.length ?? 0) > 0, 'the reader has heard what the second page shows')
    const copied = rogue.heard.at(-1) ?? expect.unreachable()
    // While the voters are apart for a moment, as a sleep or a change of network makes it.
    first.faults.breakLinks(second.self)
    await world.clock.advance(1)
    const message = { channel: presenceChannel, sender: presenceChannel, bytes: copied }
    rogue.sessions.find(({ peer }) => peer === first.self)?.send(message, 'normal')
    await world.until(() => openPeers(first).length === 2, 'they are back')
    await world.clock.advance(60_000)
    expect([openPeers(first).includes(second.self), first.refused]).toEqual([true, {}])
    const shown = (peer: string) => first.presence.others.find((one) => one.peer === peer)?.state
    expect([shown(second.self), shown(self)]).toEqual([{ name: 'second' }, { name: 'second' }])
  })

  it('can not pass for a voter: not with a made-up proof, and not without one', async () => {
    const keys = await deriveRoomKeys(await readerInvite(voterInvite()))
    const { join } = await deriveRoomKeys({ role: 'voter', secret: (await readerInvite(voterInvite())).secret })
    for (const key of [undefined, join]) {
      const one = await joinAsRogue(world, keys, { role: 'voter', join: key })
      const before = first.refused.unproven ?? 0
      await world.until(() => (first.refused.unproven ?? 0) > before, 'it is refused')
      await world.clock.advance(5_000)
      expect([openPeers(first), one.heard]).toEqual([[second.self], []])
      one.close()
    }
  })
})

describe('row "member"', () => {
  beforeEach(async () => {
    rogue = await joinAsRogue(world, await deriveRoomKeys(voterInvite()))
    await connected(rogue)
  })

  const sessionTo = (room: Room) => {
    const session = rogue?.sessions.find(({ peer }) => peer === room.self)
    if (session === undefined) throw new Error('the rogue has no link to that page')
    return session
  }

  /** What the replica's page announced to the rogue. */
  async function recorded({ replica }: typeof alpha): Promise<Announcement> {
    const find = () => rogue?.announced.find((one) => one.replica === replica)
    await world.until(() => find() !== undefined, 'it is announced to the rogue, too')
    return find() ?? expect.unreachable()
  }

  /** Ways to say "I am beta" without its key, on the link to the first page. */
  const lies: Readonly<Record<string, () => Promise<Announcement>>> = {
    'with a key of its own': () => announcementOf(gamma, sessionTo(first), beta.replica),
    "with beta's public key and a signature of its own": async () => {
      const { alg, key } = await recorded(beta)
      return { ...(await announcementOf(gamma, sessionTo(first), beta.replica)), alg, key }
    },
    'with what beta said to it on its own link': () => recorded(beta),
    'with what beta said to it, and another time': async () => ({
      ...(await recorded(beta)),
      sinceMs: Date.now() + 1e9,
    }),
    'with an empty signature': async () => ({ ...(await recorded(beta)), signature: '' }),
    'with a key that is none': async () => ({ ...(await recorded(beta)), key: '' }),
  }
  const cases = Object.keys(lies).flatMap((how) => [
    [how, 'is there'],
    [how, 'is away'],
  ])
  it.each(cases)('can not speak for another member, %s, while that one %s', async (how, where) => {
    const lie = await lies[how ?? '']?.()
    if (lie === undefined) return expect.unreachable()
    await recorded(beta)
    const expected = [`connected ${beta.replica}`]
    if (where === 'is away') {
      channelOfBeta.close()
      expected.push(`disconnected ${beta.replica}`)
      await world.until(() => told.length === 2, 'beta is away')
    }
    const session = sessionTo(first)
    session.sendControl(lie)
    session.send({ channel: 16, sender: lie.channel, bytes: Uint8Array.of(66) }, 'normal')
    await world.until(() => first.refused['spoofed-sender'] === 1, 'it is refused')
    await world.clock.advance(100)
    expect([session.isOpen, heard, told]).toEqual([false, [], expected])
    await world.clock.advance(30_000)
    expect([heard, told, first.refused]).toEqual([[], expected, { 'spoofed-sender': 1 }])
    expect(first.peers.find(({ id }) => id === rogue?.self)?.replicas).toEqual([])
    return undefined
  })

  it('can not show a page its own words: an announcement that comes back', async () => {
    const own = await recorded(alpha)
    sessionTo(first).sendControl(own)
    await world.until(() => first.refused['spoofed-sender'] === 1, 'it is refused')
    expect(told).toEqual([`connected ${beta.replica}`])
  })

  it('can not change what it announced for a replica of its own: number, partition and time are signed', async () => {
    let refused = 0
    for (const change of [{ channel: 17 }, { partition: 'other' }, { sinceMs: 5 }]) {
      sessionTo(first).sendControl({ ...(await announcementOf(gamma, sessionTo(first))), ...change })
      refused += 1
      await world.until(() => first.refused['spoofed-sender'] === refused, 'it is refused')
      await world.until(() => rogue?.sessions.length === 2, 'the rogue is back')
    }
    expect([heard, told]).toEqual([[], [`connected ${beta.replica}`]])
  })

  it('is heard under its own id: what it says right behind its announcement, in order', async () => {
    const session = sessionTo(first)
    const announcement = await announcementOf(gamma, session)
    session.sendControl(announcement)
    for (const byte of [1, 2, 3]) session.send({ channel: 16, sender: 16, bytes: Uint8Array.of(byte) }, 'normal')
    session.send({ channel: 16, sender: 18, bytes: Uint8Array.of(68) }, 'normal')
    await world.until(() => heard.length === 3, 'it is heard')
    await world.clock.advance(1_000)
    expect(heard).toEqual([1, 2, 3].map((byte) => `${byte} from ${gamma.replica}`))
    expect([told.slice(1), first.refused]).toEqual([[`connected ${gamma.replica}`], {}])
  })

  it('is not heard when it has withdrawn what it announced before that was verified', async () => {
    const session = sessionTo(first)
    const announcement = await announcementOf(gamma, session)
    const release = holdCrypto('verify')
    session.sendControl(announcement)
    session.send({ channel: 16, sender: 16, bytes: Uint8Array.of(1) }, 'normal')
    await world.clock.advance(100)
    session.sendControl({ type: 'detach', channel: 16 })
    await world.clock.advance(100)
    release()
    await world.clock.advance(1_000)
    expect([heard, told, first.refused, session.isOpen]).toEqual([[], [`connected ${beta.replica}`], {}, true])
  })

  it('can not fill the memory with what it says before its announcement is verified', async () => {
    const session = sessionTo(first)
    const announcement = await announcementOf(gamma, session)
    const release = holdCrypto('verify')
    session.sendControl(announcement)
    const bytes = new Uint8Array(limits.messageBytesMax / 4)
    for (let count = 0; count < 4; count += 1) session.send({ channel: 16, sender: 16, bytes }, 'normal')
    await world.clock.advance(100)
    expect([session.isOpen, first.refused]).toEqual([true, {}])
    session.send({ channel: 16, sender: 16, bytes: Uint8Array.of(1) }, 'normal')
    await world.clock.advance(100)
    release()
    expect([session.isOpen, heard, first.refused]).toEqual([false, [], { garbage: 1 }])
  })

  it('can not crash a peer with a frame that is too big', async () => {
    rogue?.sendRaw(Uint8Array.from({ length: frameBytesMax + 1 }, () => 1))
    await world.until(() => (first.refused.garbage ?? 0) + (second.refused.garbage ?? 0) === 1, 'its link is closed')
    expect(heard).toEqual([])
  })

  it('can not announce a message above the limit: oversized fragments', async () => {
    // A first piece: channel 16, sender 16, transfer 1, of 100,001 bytes, four of which are here.
    rogue?.sendRaw(Uint8Array.of(1, 1, 16, 16, 1, ...varuint(100_001), 4, 0, 0, 0, 0))
    await world.until(() => (first.refused.garbage ?? 0) + (second.refused.garbage ?? 0) === 1, 'its link is closed')
  })

  it('can not fill the memory with messages that never end: endless fragments', async () => {
    // Each of them within the limits, and never its last byte.
    const piece = new Uint8Array(16_000)
    let sent = 0
    const refusals = () => (first.refused.garbage ?? 0) + (second.refused.garbage ?? 0)
    for (let transfer = 1; transfer <= 8 && refusals() === 0; transfer += 1) {
      rogue?.sendRaw(Uint8Array.of(1, 1, 16, 16, transfer, ...varuint(100_000), ...varuint(16_000), ...piece))
      for (let count = 0; count < 5 && refusals() === 0; count += 1) {
        rogue?.sendRaw(Uint8Array.of(1, 2, transfer, ...varuint(16_000), ...piece))
        sent += 1
        await world.clock.advance(10)
      }
    }
    expect(refusals()).toBe(1)
    expect(sent * 16_000).toBeLessThan(3 * limits.messageBytesMax)
  })

  it.each([
    ['garbage', Uint8Array.of(9, 9, 9, 9)],
    ['an empty frame', new Uint8Array(0)],
    ['a control message that is none', Uint8Array.of(1, 0, 0, 0, 2, 123, 125)],
    ['a second proof', encodeControlMessage({ type: 'bye' })],
  ])('can not crash a peer with bad bytes: %s', async (_what, bytes) => {
    rogue?.sendRaw(new Uint8Array(bytes))
    await world.until(() => (first.refused.garbage ?? 0) + (second.refused.garbage ?? 0) === 1, 'its link is closed')
    expect(heard).toEqual([])
  })
})
