// Commands per CPU-second of a whole cluster in one process: the real runtime, codec, executor, memory storage and memory
// network. Rounds of the contenders take turns, so that a machine that slows down slows all of them.
import type { Replica } from '../src/runtime/api.ts'
import { openReplica } from '../src/runtime/open-replica.ts'
import { type KvCommands, type KvQueries, kv } from '../src/state-machines/kv.ts'
import { memoryStorage } from '../src/storage/memory.ts'
import { createMemoryNetwork } from '../testing/memory-transport.ts'

export interface ClusterCase {
  readonly replicas: number
  readonly inFlight: number
  readonly commands: number
}

export interface ClusterFigure {
  /** Answered commands per second of this process's CPU time. */
  readonly perCpuSecond: number
  /** Answered commands per second of the wall clock. */
  readonly perSecond: number
}

/** Runs one case and checks that every command was answered and all replicas have one state. */
export async function runCluster({ replicas, inFlight, commands }: ClusterCase): Promise<ClusterFigure> {
  const network = createMemoryNetwork()
  const cluster: Replica<KvCommands, KvQueries>[] = []
  for (let index = 0; index < replicas; index++) {
    cluster.push(
      await openReplica({
        partition: 'bench',
        transport: network.transport(`r${index}`),
        storage: memoryStorage(),
        machine: kv(),
        votersMax: 9,
      }),
    )
  }
  for (const replica of cluster) await replica.ready({ members: 'all', timeoutMs: 30_000 })
  const [first] = cluster
  if (first === undefined) throw new Error('a cluster has at least one replica')
  await waitFor(() => first.members.filter((member) => member.role === 'voter').length === replicas)

  const cpuBefore = process.cpuUsage()
  const wallBefore = performance.now()
  let next = 0
  const worker = async () => {
    while (next < commands) {
      const number = next++
      const result = await first.mutate.set(`key/${number % 1_000}`, number).done
      if (!result.ok) throw new Error('a command was refused')
    }
  }
  await Promise.all(Array.from({ length: inFlight }, worker))
  const wallSeconds = (performance.now() - wallBefore) / 1_000
  const cpu = process.cpuUsage(cpuBefore)
  const cpuSeconds = (cpu.user + cpu.system) / 1e6

  await waitFor(() => new Set(cluster.map((replica) => replica.stats().stateHash)).size === 1)
  const { executed } = first.stats()
  if (executed !== commands) throw new Error(`${executed} commands were executed instead of ${commands}`)
  for (const replica of cluster) await replica.close()
  return { perCpuSecond: commands / cpuSeconds, perSecond: commands / wallSeconds }
}

async function waitFor(condition: () => boolean): Promise<void> {
  for (let tries = 0; !condition(); tries++) {
    if (tries > 3_000) throw new Error('the cluster did not come to rest')
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}
