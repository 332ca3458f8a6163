// What a cluster gets done with one of its replicas gone: commands that do not conflict, a fixed number under way at each
// replica, counted in simulated time. The simulated network has delays and no capacity, so what shows is waiting alone.
import { must } from '../src/lib/assert.ts'
import { type KvReplica, Stage } from './stage.ts'

export interface Throughput {
  readonly replicas: number
  /** Answered a simulated second by all, before one is killed. */
  readonly before: number
  /** By those that are left, from that moment on. */
  readonly after: number
  /** By those that are left, before. */
  readonly othersBefore: number
}

const inFlight = 8
const measuredMs = 5_000

export async function measureThroughput(replicas: number, seed: number): Promise<Throughput> {
  const stage = new Stage(seed)
  const cluster = await stage.cluster(replicas)
  const answered = cluster.map((replica, index) => keepBusy(replica, `r${index}`))
  const count = () => answered.map((read) => read())
  const sum = (counts: readonly number[]) => counts.reduce((all, one) => all + one, 0)
  const perSecond = (commands: number) => Math.round((commands * 1_000) / measuredMs)
  await stage.pass(500)
  const first = count()
  await stage.pass(measuredMs)
  const second = count()
  stage.kill(must(['a', 'b', 'c', 'd', 'e', 'f', 'g'][replicas - 1], 'a name for each replica'))
  await stage.pass(measuredMs)
  const third = count()
  return {
    replicas,
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
