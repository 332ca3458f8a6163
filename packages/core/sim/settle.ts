// The fair end of a run: whoever is up is connected, nothing is lost any more and time passes. Everything that anybody who is
// up knows of has to be decided and executed by then, or to be void behind a barrier: first without those that are down, as
// long as a quorum is up, and then with all.
import { formatInstanceId } from '../src/protocol/ids.ts'
import { isCommitted } from '../src/protocol/instance.ts'
import { quorumsOf } from '../src/protocol/quorum.ts'
import { defaultTimeouts, type ReplicaState } from '../src/protocol/state.ts'
import { knownSeq, type ProtocolCluster } from './protocol-cluster.ts'
import { BrokenPromise } from './protocol-promises.ts'

/** Simulated time between two looks at the clock … */
const tickMs = 100
/** … and how often that may be. A recovery's back-off is at most 2^5 times recoveryMs, half as much again with jitter. */
const ticksMax = 600
/** How often answers may be answered after one look at the clock: replicas that answer each other for ever do not come to an end. */
const roundsMax = 1_000

/** Loses what is on its way first: whatever was to be said is said again, or was not needed. */
export function settle(cluster: ProtocolCluster): void {
  cluster.setTimeouts(defaultTimeouts)
  cluster.dropAll()
  const down = cluster.hosts.filter(({ isUp }) => !isUp)
  if (down.length > 0 && cluster.n - down.length >= quorumsOf(cluster.n).slow) bringToItsEnd(cluster)
  for (const { row } of down) cluster.restart(row)
  bringToItsEnd(cluster)
}

function bringToItsEnd(cluster: ProtocolCluster): void {
  for (let a = 0; a < cluster.n; a++) for (let b = 0; b < a; b++) cluster.connect(a, b)
  // waits that began under other timeouts are as long as those
  for (const { state } of cluster.hosts) if (state !== null) forgetWaits(state)
  for (let ticks = 0; ticks < ticksMax; ticks++) {
    cluster.tickAll(tickMs)
    for (let rounds = 0; ; ) {
      for (const { row, pending, isUp } of cluster.hosts) if (isUp && pending.length > 0) cluster.write(row)
      if (cluster.flights.length === 0) break
      for (const flight of [...cluster.flights]) cluster.deliver(flight)
      rounds++
      if (rounds > roundsMax) throw new BrokenPromise('Liveness', 'replicas answer each other for ever')
    }
    if (stuck(cluster) === null) return
  }
  throw new BrokenPromise('Liveness', stuck(cluster) ?? 'it ended too late')
}

function forgetWaits(state: ReplicaState): void {
  state.watches.clear()
  state.heartbeatAt = state.now
}

/** What is not at its end yet, in words; null when all is. */
function stuck(cluster: ProtocolCluster): string | null {
  for (const { row, state, executor } of cluster.hosts) {
    if (state === null) continue
    if (executor.endedBy !== null) continue
    for (let of = 0; of < cluster.n; of++) {
      for (let seq = 1; seq <= knownSeq(cluster, of); seq++) {
        const instance = state.log.at(of, seq)
        if (!isCommitted(instance))
          return `${formatInstanceId({ row: of, seq })} is ${instance?.phase ?? 'unknown'} at ${row}`
      }
    }
    if (executor.backlog > 0) return `${row} has ${executor.backlog} committed that it can not execute`
  }
  return null
}
