// A room for tests with real parts: a signaling server on a free port of the loopback interface, and a Node peer that
// founded the room and holds a partition of it in memory.
import { type KvCommands, type KvQueries, kv, memoryStorage, openReplica, type Replica } from '@wepaxos/core'
import { createSignalingServer } from '@wepaxos/signaling-server'
import { joinRoom, type Room } from '@wepaxos/webrtc-transport'
import { createNodeSocket, loadNodeLinks } from '../src/node-links.ts'

export interface FoundedRoom {
  readonly signaling: string
  readonly room: Room
  readonly founder: Replica<KvCommands, KvQueries>
  close(): Promise<void>
}

export async function foundRoom(partition: string): Promise<FoundedRoom> {
  const server = createSignalingServer({ port: 0, addressConnectsPerMinute: 10_000 })
  const { url } = await server.listen()
  const room = await joinRoom({ signaling: url, createLink: await loadNodeLinks(), createSocket: createNodeSocket })
  const founder = await openReplica({ partition, transport: room, storage: memoryStorage(), machine: kv() })
  return {
    signaling: url,
    room,
    founder,
    async close() {
      await founder.close()
      await room.close()
      await server.close()
    },
  }
}

/** Resolves when `founder` and its peers are so many voters, all of them connected. */
export function voters({ founder }: FoundedRoom, count: number): Promise<void> {
  return new Promise((resolve) => {
    const ending = new AbortController()
    const check = () => {
      const connected = founder.members.filter(({ role, connected }) => role === 'voter' && connected).length
      if (connected !== count || founder.stats().voters !== count) return
      ending.abort()
      resolve()
    }
    founder.addEventListener('members', check, { signal: ending.signal })
    check()
  })
}
