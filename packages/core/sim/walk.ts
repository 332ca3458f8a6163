// Random walks through what can happen to a small cluster of real replicas, all from one seed: messages arrive in any order,
// twice or never, recoveries start at will, replicas crash and come back. What is promised is checked as it happens, and at
// the end that everything ends once nothing goes wrong any more.
import { createRandom, type Random } from '../src/lib/random.ts'
import type { Command } from '../src/protocol/command.ts'
import type { InstanceId } from '../src/protocol/ids.ts'
import { checkInvariants } from '../src/protocol/invariants.ts'
import { accessing, barrierFor, ProtocolCluster } from './protocol-cluster.ts'
import type { DiskMode } from './replica-host.ts'
import { settle } from './settle.ts'

/**
 * `broad`: 3 to 5 commands, a little of everything. `duels`: one or two commands, recoveries all the time, and commits that
 * seldom arrive: the way to the second and third recovery of one instance, which broad walks seldom go.
 */
export type WalkKind = 'broad' | 'duels'

export interface WalkOptions {
  readonly seed: number
  /** Default broad. */
  readonly kind?: WalkKind
  readonly n: number
  /** Default 400. */
  readonly steps?: number
  /** Default 8. */
  readonly recoveries?: number
  /** Default: as the seed says. */
  readonly disk?: DiskMode
  /** The invariants of each replica, after so many operations on it. Default 1 in 16. */
  readonly checkEvery?: number
}

/** What happened in a walk. */
export interface WalkReport {
  readonly steps: number
  readonly committed: number
  readonly nops: number
  readonly fast: number
  readonly slow: number
  readonly recovered: number
  readonly recoveries: number
  readonly crashes: number
  readonly restarts: number
}

const loss = 0.05
const duplication = 0.03
const commitLossInDuels = 0.9

/** Throws at the first broken promise. */
export function walk(options: WalkOptions): WalkReport {
  const { seed, n, steps = 400, checkEvery = 16, kind = 'broad' } = options
  const duels = kind === 'duels'
  const random = createRandom(seed)
  const paths = { fast: 0, slow: 0, recovered: 0, learned: 0 }
  let operations = 0
  const cluster = new ProtocolCluster({
    n,
    disk: options.disk ?? (random.chance(0.3) ? 'held' : 'instant'),
    unusedSeqsMax: 0,
    heartbeats: true,
    listener: {
      committed: (_, __, path) => {
        paths[path]++
      },
    },
    check: (state) => {
      if (++operations % checkEvery === 0) checkInvariants(state)
    },
  })
  const counts = { recoveries: 0, crashes: 0, restarts: 0 }
  const recoveriesMax = options.recoveries ?? 8
  const crashesMax = Math.floor((n - 1) / 2)
  const proposals = proposalsOf(random, n, duels ? 1 + random.integer(2) : 3 + random.integer(3))
  const ids: InstanceId[] = []

  let step = 0
  for (; step < steps; step++) {
    const die = random.integer(100)
    const row = random.integer(n)
    if (die < 8 && proposals.length > 0) {
      const command = proposals.at(-1)
      if (command !== undefined && cluster.canPropose(row)) {
        proposals.pop()
        ids.push(cluster.propose(row, command))
      }
    } else if (die < (duels ? 20 : 14) && counts.recoveries < recoveriesMax && ids.length > 0) {
      const id = random.pick(ids)
      if (cluster.canRecover(row, id)) {
        counts.recoveries++
        cluster.recover(row, id)
      }
    } else if (die < (duels ? 21 : 16)) {
      if (cluster.isUp(row)) {
        cluster.advance(cluster.state(row).timeouts.fastPathMs)
        cluster.tick(row)
      }
    } else if (die === (duels ? 21 : 16)) {
      if (cluster.isUp(row) && counts.crashes < crashesMax) {
        counts.crashes++
        cluster.crash(row, { written: random.chance(0.5), silently: random.chance(0.7) })
      } else if (!cluster.isUp(row)) {
        counts.restarts++
        cluster.restart(row)
      }
    } else if (die < 26) {
      if (cluster.isUp(row)) cluster.write(row)
    } else if (cluster.flights.length > 0) {
      const flight = random.pick(cluster.flights)
      const isCommit = flight.message.type === 'Commit' || flight.message.type === 'ShortCommit'
      if (random.chance(duels && isCommit ? commitLossInDuels : loss)) cluster.drop(flight)
      else cluster.deliver(flight, { keep: random.chance(duplication) })
    } else if (proposals.length === 0 && counts.recoveries >= recoveriesMax) break
  }
  for (const { state } of cluster.hosts) if (state !== null) checkInvariants(state)
  settle(cluster)
  let nops = 0
  for (const { command } of cluster.promises.decided.values()) if (command.kind === 'nop') nops++
  return {
    steps: step,
    committed: cluster.promises.decided.size,
    nops,
    fast: paths.fast,
    slow: paths.slow,
    recovered: paths.recovered,
    ...counts,
  }
}

/** Most of them on one key; now and then one of them is a barrier. */
function proposalsOf(random: Random, n: number, count: number): Command[] {
  const commands: Command[] = []
  for (let number = 1; number <= count; number++) {
    const die = random.integer(20)
    if (die === 0) commands.push(barrierFor(n))
    else commands.push(accessing(number, die < 3 ? 'add' : die < 5 ? 'read' : 'write', random.chance(0.8) ? 1 : 2))
  }
  return commands
}
