// A world with its own clock, dice, signaling server and in-memory links, in which rooms meet in Node.
import { createRandom } from '../../core/src/lib/random.ts'
import { type JoinRoomOptions, joinRoom, type Room } from '../src/room.ts'
import { ManualClock } from './manual-clock.ts'
import { createMemoryLinks } from './memory-links.ts'
import { MemorySignaling } from './memory-signaling.ts'

/** Any signaling server may be brought; by default one that behaves. */
export function createWorld<Signaling extends MemorySignaling = MemorySignaling>(
  signaling: Signaling = new MemorySignaling() as Signaling,
  seed = 1,
) {
  // Dice, not always the middle: two ends that wait equally long would never show what happens when they do not.
  const random = createRandom(seed)
  const clock = new ManualClock(() => random.next())
  const links = createMemoryLinks(clock)
  const rooms: Room[] = []
  return {
    clock,
    signaling,
    links,
    async join(options: Partial<JoinRoomOptions> = {}): Promise<Room> {
      const room = await joinRoom({
        signaling: 'ws://127.0.0.1:1',
        clock,
        createSocket: signaling.createSocket,
        createLink: links.createLink,
        ...options,
      })
      rooms.push(room)
      return room
    },
    async until(condition: () => boolean, what: string): Promise<void> {
      for (let waitedMs = 0; waitedMs < 60_000; waitedMs += 20) {
        if (condition()) return
        await clock.advance(20)
      }
      throw new Error(`it did not come true within 60 s that ${what}`)
    },
    async close(): Promise<void> {
      const closing = Promise.all(rooms.map((room) => room.close()))
      await clock.advance(100)
      await closing
    },
  }
}

export function openPeers(room: Room): readonly string[] {
  return room.peers.filter(({ state }) => state === 'open').map(({ id }) => id)
}

/** Each is connected with each. */
export function isMesh(rooms: readonly Room[]): boolean {
  return rooms.every((room) => openPeers(room).length === rooms.length - 1)
}
