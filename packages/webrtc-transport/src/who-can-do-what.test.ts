// The table "Who can do what" of docs/security.md: for each row, that what it says nobody can do is refused. The hostile
// signaling server has its own tests (attacks.test.ts); that an ex-member is not heard, and that nobody starts ballots of
// others, is the core's to refuse: [EP5] and [CO7] in packages/core/src/protocol/replica.test.ts.
import { kv, memoryStorage, openReplica, replicaId, type Transport } from '@wepaxos/core'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { createMemoryLinks } from '../testing/memory-links.ts'
import { MemorySignaling } from '../testing/memory-signaling.ts'
import { joinAsRogue, type RogueMember } from '../testing/rogue-member.ts'
import { createWorld, isMesh, openPeers } from '../testing/room-world.ts'
import { systemClock } from './clock.ts'
import { encodeControlMessage } from './control-message.ts'
import { frameBytesMax } from './framing.ts'
import { createInvite, deriveRoomKeys, formatInvite, type Invite, parseInvite, readerInvite } from './invite.ts'
import { joinRoom, type Room } from './room.ts'

const alpha = replicaId('a'.repeat(32))
const beta = replicaId('b'.repeat(32))
const limits = { messageBytesMax: 100_000 }

let world: ReturnType<typeof createWorld>
let first: Room
let second: Room
let rogue: RogueMember | undefined
/** What the replica of the first page heard, and from whom. */
let heard: string[]

beforeEach(async () => {
  world = createWorld()
  first = await world.join({ limits })
  second = await world.join({ invite: first.invite, limits })
  heard = []
  first.attach(endpoint(alpha, (from, frame) => heard.push(`${frame[0]} from ${from}`)))
  second.attach(endpoint(beta, () => undefined))
  await world.until(() => isMesh([first, second]) && first.peers[0]?.replicas.length === 1, 'two pages are connected')
})

afterEach(async () => {
  rogue?.close()
  rogue = undefined
  // Whatever was tried: the honest two are together.
  expect(openPeers(first)).toContain(second.self)
  await world.close()
})

function endpoint(replica: typeof alpha, onFrame: (from: string, frame: Uint8Array) => void) {
  return { partition: 'main', replica, onConnected: () => undefined, onDisconnected: () => undefined, onFrame }
}

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
    const gamma = replicaId('c'.repeat(32))
    const watching = { ...endpoint(gamma, () => undefined), partition: 'other' }
    first.attach({ ...watching, onConnected: (peer, right) => rights.push([peer, right]) })
    second.attach({ ...watching, replica: beta })
    await world.until(() => rights.length === 1, 'the voter is known')
    const invite = formatInvite(await readerInvite(voterInvite()))
    const reader = await world.join({ invite })
    reader.attach({ ...watching, replica: alpha })
    await world.until(() => rights.length === 2, 'the reader is known')
    expect(rights).toEqual([
      [beta, { mayVote: true }],
      [alpha, { mayVote: false }],
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
    const changed = { room, founded: false, mayVote: true, presence, attach: readerRoom.attach.bind(readerRoom) }
    await using _asking = await open(changed)
    await vi.waitFor(() => expect(voter.stats().refused).toMatchObject({ reader: expect.any(Number) }), 20_000)
    // One that asks for nothing but to follow is let in, beside it.
    await using honestRoom = await joinRoom({ ...options, invite })
    await using following = await open(honestRoom)
    await following.ready({ timeoutMs: 20_000 })
    expect(voter.members.filter(({ role }) => role === 'voter').map(({ id }) => id)).toEqual([voter.id])
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

  const toFirst = () => rogue?.sessions.find(({ peer }) => peer === first.self)

  it('can not speak for another member: a spoofed sender is refused', async () => {
    const session = toFirst()
    // Whatever it says about when: a later attachment is no better.
    session?.sendControl({ type: 'attach', channel: 16, partition: 'main', replica: beta, sinceMs: Date.now() + 1e9 })
    session?.send({ channel: 16, sender: 16, bytes: Uint8Array.of(66) }, 'normal')
    session?.sendControl({ type: 'attach', channel: 17, partition: 'main', replica: alpha, sinceMs: 0 })
    session?.send({ channel: 16, sender: 17, bytes: Uint8Array.of(67) }, 'normal')
    session?.send({ channel: 16, sender: 18, bytes: Uint8Array.of(68) }, 'normal')
    await world.clock.advance(30_000)
    expect([heard, first.refused]).toEqual([[], { 'spoofed-sender': 2 }])
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
