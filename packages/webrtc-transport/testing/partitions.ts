// Several partitions over the links of one room: in each room a replica of each of them, and commands in all.
import { type KvCommands, type KvQueries, kv, memoryStorage, openReplica, type Replica } from '@wepaxos/core'
import type { Room } from '../src/room.ts'

const patienceMs = 60_000

export interface HostedPartition {
  readonly name: string
  /** One in each room. */
  readonly replicas: readonly Replica<KvCommands, KvQueries>[]
}

/** Opens `count` partitions in all these rooms, of which the first one has founded the room. */
export async function hostPartitions(rooms: readonly Room[], count: number): Promise<readonly HostedPartition[]> {
  const storages = rooms.map(() => memoryStorage())
  return await Promise.all(
    Array.from({ length: count }, async (_, index) => {
      const name = `partition-${index}`
      const opening = rooms.map((transport, at) =>
        openReplica<KvCommands, KvQueries>({
          partition: name,
          transport,
          storage: storages[at] ?? memoryStorage(),
          machine: kv(),
        }),
      )
      const replicas = await Promise.all(opening)
      await Promise.all(replicas.map((replica) => replica.ready({ timeoutMs: patienceMs })))
      return { name, replicas }
    }),
  )
}

/** Every replica of each partition counts once in a key that all share, and all of them have seen it when this resolves. */
export async function countInEach(partitions: readonly HostedPartition[]): Promise<readonly number[]> {
  return await Promise.all(
    partitions.map(async ({ name, replicas }) => {
      await Promise.all(replicas.map((replica) => replica.mutate.increment(name).done))
      const values = await Promise.all(replicas.map((replica) => replica.read.get(name)))
      const [first] = values
      if (typeof first !== 'number' || values.some((value) => value !== first)) {
        throw new Error(`the replicas of ${name} read ${JSON.stringify(values)}`)
      }
      return first
    }),
  )
}

/** The keys that each partition's first replica has: only its own. */
export function keysOfEach(partitions: readonly HostedPartition[]): readonly string[] {
  return partitions.map(({ replicas }) =>
    (replicas[0]?.view.committed.list() ?? [])
      .map(({ key }) => key)
      .sort()
      .join(),
  )
}

export async function closePartitions(partitions: readonly HostedPartition[]): Promise<void> {
  await Promise.all(partitions.flatMap(({ replicas }) => replicas.map((replica) => replica.close())))
}
