// What a hostile signaling server can do to real WebRTC connections: a few rounds of what attacks.test.ts does with links
// in memory, where the certificates are those of a browser.
import { afterEach, describe, expect, it, vi } from 'vitest'
import { createRandom } from '../../core/src/lib/random.ts'
import { type Attack, attacks, EvilSignaling } from '../testing/evil-signaling.ts'
import { ManInTheMiddle } from '../testing/man-in-the-middle.ts'
import { deriveRoomKeys, parseInvite, readerInvite } from './invite.ts'
import { type JoinRoomOptions, joinRoom, type Room } from './room.ts'
import { loadSimplePeerLinks } from './simple-peer-link.ts'

const rooms: Room[] = []

afterEach(async () => {
  await Promise.all(rooms.splice(0).map((room) => room.close()))
})

async function until(condition: () => boolean, what: string): Promise<void> {
  await vi.waitFor(
    () => {
      if (!condition()) throw new Error(`it did not come true in time that ${what}`)
    },
    { timeout: 15_000, interval: 5 },
  )
}

async function pair(evil: EvilSignaling, options: Partial<JoinRoomOptions> = {}): Promise<readonly [Room, Room]> {
  const { createSocket } = evil
  const all = { signaling: 'ws://127.0.0.1:1', createSocket, connectTimeoutMs: 700, ...options }
  const first = await joinRoom(all)
  rooms.push(first)
  const second = await joinRoom({ ...all, invite: first.invite })
  rooms.push(second)
  return [first, second]
}

function openPeers(room: Room) {
  return room.peers.filter(({ state }) => state === 'open')
}

function isConnected(room: Room, other: Room): boolean {
  return openPeers(room).some(({ id, identity }) => id === other.self && identity === other.identity)
}

describe('a hostile signaling server', () => {
  it('that holds the reader secret and puts its own connections between two pages is found out by both', async () => {
    const seed = Math.floor(Math.random() * 1e9)
    const evil = new EvilSignaling(createRandom(seed))
    let middle: ManInTheMiddle | undefined
    // The pages meet once it has what it needs.
    const gate: (() => void)[] = []
    const tamper = evil.tamper
    evil.tamper = (signal) => {
      if (middle !== undefined) return tamper(signal)
      gate.push(() => middle?.take(signal))
      return []
    }
    const [first, second] = await pair(evil, { connectTimeoutMs: 5_000 })
    const keys = await deriveRoomKeys(await readerInvite(parseInvite(first.invite)))
    const links = await loadSimplePeerLinks()
    middle = new ManInTheMiddle(keys, links, (to, from, data) => evil.inject(to, from, data))
    await evil.misbehave(['middle'], first.room, middle)
    for (const open of gate) open()
    await until(() => (first.refused.unproven ?? 0) > 0 && (second.refused.unproven ?? 0) > 0, 'both have refused')
    expect(middle.opened, `seed ${seed}`).toBeGreaterThan(0)
    expect([middle.stolenFrames, openPeers(first), openPeers(second)]).toEqual([0, [], []])
    evil.behave()
    await until(() => isConnected(first, second) && isConnected(second, first), 'they connect when it behaves')
  })

  it.each(attacks.filter((attack) => attack !== 'middle' && attack !== 'replay').map((attack) => [attack] as const))(
    'gets nobody else in by %s, and the pages connect when it behaves',
    async (attack: Attack) => {
      const seed = Math.floor(Math.random() * 1e9)
      const evil = new EvilSignaling(createRandom(seed))
      const [first, second] = await pair(evil)
      let wrong = 0
      const judge = () => {
        wrong += openPeers(first).filter(
          ({ id, identity }) => id !== second.self || identity !== second.identity,
        ).length
      }
      first.addEventListener('peers', judge)
      await evil.misbehave([attack], first.room)
      first.faults.breakLinks()
      for (let count = 0; count < 3; count += 1) {
        await evil.intrude(first.self)
        const before = evil.done[attack]
        await until(
          () => evil.done[attack] > before || isConnected(first, second),
          `seed ${seed}: it does what it does`,
        )
        first.faults.breakLinks()
      }
      expect([wrong, evil.done[attack] > 0]).toEqual([0, true])
      evil.behave()
      await until(() => isConnected(first, second) && isConnected(second, first), `seed ${seed}: they are connected`)
      judge()
      expect(wrong).toBe(0)
    },
  )
})
