// What a cluster gets done with one of its replicas gone: commands that do not conflict, a fixed number under way at each
// replica, counted in simulated time. The simulated network has delays and no capacity, so what shows is waiting alone. Where delays
// differ by chance, a quorum of fewer replicas is a little later too: its luck has fewer to choose from. There are no
// checkpoints meanwhile: a barrier conflicts with everything, so one that meets what the dead replica left in doubt waits
// for its recovery.
import { must } from '../src/lib/assert.ts'
import { type KvReplica, Stage } from './stage.ts'

export interface Throughput {
  readonly replicas: number
  readonly delays: Delays
  /** Answered a simulated second by all, before one is killed. */
  readonly before: number
  /** By those that are left, from that moment on. */
  readonly after: number
  /** By those that are left, before. */
  readonly othersBefore: number
}

/** `even`: every frame takes the same time, every write none. `uneven`: both take up to a millisecond, by chance. */
export type Delays = 'even' | 'uneven'

const inFlight = 2
const measuredMs = 200

export async function measureThroughput(replicas: number, seed: number, delays: Delays): Promise<Throughput> {
  const stage = new Stage(seed)
  if (delays === 'even') {
    stage.network.faults.delayMaxMs = 0
    stage.diskFaults.writeMaxMs = 0
  }
  const cluster = await stage.cluster(replicas, { checkpointEvery: 0, checkpointBytes: 0 })
  const answered = cluster.map((replica, index) => keepBusy(replica, `r${index}`))
  const count = () => answered.map((read) => read())
  const sum = (counts: readonly number[]) => counts.reduce((all, one) => all + one, 0)
  const perSecond = (commands: number) => Math.round((commands * 1_000) / measuredMs)
  await stage.pass(50)
  const first = count()
  await stage.pass(measuredMs)
  const second = count()
  stage.kill(must(['a', 'b', 'c', 'd', 'e', 'f', 'g'][replicas - 1], 'a name for each replica'))
  await stage.pass(measuredMs)
  const third = count()
  return {
    replicas,
    delays,
    before: perSecond(sum(second) - sum(first)),
    after: perSecond(sum(third.slice(0, -1)) - sum(second.slice(0, -1))),
    othersBefore: perSecond(sum(second.slice(0, -1)) - sum(first.slice(0, -1))),
  }
}

/** Keeps so many commands under way, each on a key that no other replica touches. How many were answered so far. */
function keepBusy(replica: KvReplica, name: string): () => number {
  let answered = 0
  let called = 0
  const next = () => {
    called++
    replica.mutate.set(`${name}/${called % 64}`, called).done.then(
      () => {
        answered++
        next()
      },
      () => {}, // the replica is gone
    )
  }
  for (let one = 0; one < inFlight; one++) next()
  return () => answered
}
