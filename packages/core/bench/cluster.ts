// Whole clusters in one process, memory ports, the real codec, executor and runtime, at two levels: `openReplica` as an
// application has it (forecast, handles, two promises a command), and the engine under it (callbacks).
import { bindMachine } from '../src/execution/define-machine.ts'
import type { CommandResult } from '../src/execution/machine.ts'
import type { WepaxosError } from '../src/lib/errors.ts'
import { hashString } from '../src/lib/hash.ts'
import { defaultTimeouts } from '../src/protocol/state.ts'
import type { Replica } from '../src/runtime/api.ts'
import { systemClock } from '../src/runtime/clock.ts'
import { Engine } from '../src/runtime/engine.ts'
import { openReplica } from '../src/runtime/open-replica.ts'
import { type KvCommands, type KvQueries, kv } from '../src/state-machines/kv.ts'
import { memoryStorage } from '../src/storage/memory.ts'
import { CountedNetwork } from './counted-network.ts'
import type { Load, Subject } from './load.ts'

const partition = 'bench'
const votersMax = 9
const triesMax = 6_000

/** Unbatched, every command that is in flight has an instance of its own; batched, only full pipes make batches. */
function pipeOf({ batchMax, inFlight, proposers, replicas }: Load): Pipe {
  const each = proposers === 'all' ? Math.ceil(inFlight / replicas) : inFlight
  return { batchMax, instancesMax: Math.max(1, Math.floor(each / batchMax)) }
}

/** Instances of one replica under way at one time, and how many commands share one at most. */
export interface Pipe {
  readonly instancesMax: number
  readonly batchMax: number
}

/** The public API. */
export async function openReplicas(load: Load): Promise<Subject> {
  const { replicas } = load
  const network = new CountedNetwork()
  const cluster: Replica<KvCommands, KvQueries>[] = []
  for (let index = 0; index < replicas; index++) {
    cluster.push(
      await openReplica({
        partition,
        transport: network.transport(`r${index}`),
        storage: memoryStorage(),
        machine: kv(),
        votersMax,
        ...pipeOf(load),
      }),
    )
  }
  await until(() =>
    cluster.every(
      ({ status, members }) =>
        status.kind === 'ready' &&
        members.filter(({ role, connected }) => role === 'voter' && connected).length === replicas,
    ),
  )
  const before = cluster.map((replica) => replica.stats().executed)
  return {
    set: (at, key, value, answered) => {
      cluster[at]?.mutate.set(key, value).done.then((result) => {
        if (!result.ok) throw new Error('a command was refused')
        answered()
      })
    },
    states: () => cluster.map((replica) => replica.stats().stateHash),
    executed: () => cluster.map((replica, index) => replica.stats().executed - (before[index] ?? 0)),
    takeTraffic: () => network.takeTraffic(),
    close: async () => {
      for (const replica of cluster) await replica.close()
    },
  }
}

/** A cluster of engines, for what the public API does not show. */
export interface EngineCluster extends Subject {
  readonly engines: readonly Engine[]
  readonly network: CountedNetwork
  /** `set` of which nobody waits for the answer, nor minds when there is none. */
  setUnanswered(at: number, key: string, value: string): void
}

/** The engines alone. Encoding the command and hashing its key belong to the work. */
export async function openEngines(load: Load, pipe = pipeOf(load)): Promise<EngineCluster> {
  const { replicas } = load
  const network = new CountedNetwork()
  const machine = bindMachine(kv())
  const engines: Engine[] = []
  for (let index = 0; index < replicas; index++) {
    const transport = network.transport(`r${index}`)
    engines.push(
      await Engine.open({
        machine,
        storage: await memoryStorage().open({ room: transport.room, partition }),
        transport,
        partition,
        clock: systemClock,
        timeouts: defaultTimeouts,
        start: index === 0 ? 'found' : 'join',
        membership: { membership: 'auto', wanted: 'voter', votersMax, silentMs: 30_000, steady: false },
        checkpointEvery: 10_000,
        checkpointBytes: 16 * 1_024 * 1_024,
        ...pipe,
        randomBytes: (count) => crypto.getRandomValues(new Uint8Array(count)),
        logger: { debug() {}, warn() {} },
        isHosted: false,
        inPlaceOf: [],
        readersPropose: false,
        listener: {
          onChanged() {},
          onExecuted() {},
          onCheckpoint() {},
          onCarriedOver: () => ({ committed() {}, done() {}, failed() {} }),
        },
      }),
    )
  }
  await until(() =>
    engines.every(
      ({ members, acceptedPeers, role }) =>
        role === 'voter' && members.voters.length === replicas && acceptedPeers.length === replicas - 1,
    ),
  )
  const propose = (
    at: number,
    key: string,
    value: string,
    done: (result: CommandResult) => void,
    failed = (error: WepaxosError): void => {
      throw error
    },
  ) => {
    const { bytes } = machine.prepareCommand('set', [key, value])
    engines[at]?.propose([{ key: hashString(key), mode: 'write' }], bytes, { committed() {}, done, failed })
  }
  return {
    engines,
    network,
    set: (at, key, value, answered) => {
      propose(at, key, value, (result) => {
        if (!result.ok) throw new Error('a command was refused')
        answered()
      })
    },
    setUnanswered: (at, key, value) =>
      propose(
        at,
        key,
        value,
        () => {},
        () => {},
      ),
    states: () => engines.map((engine) => engine.application?.stateHash() ?? ''),
    executed: () => engines.map((engine) => engine.application?.executed ?? 0),
    takeTraffic: () => network.takeTraffic(),
    close: async () => {
      for (const engine of engines) await engine.close()
    },
  }
}

export async function until(condition: () => boolean): Promise<void> {
  for (let tries = 0; !condition(); tries++) {
    if (tries > triesMax) throw new Error('the cluster did not come to rest')
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}
