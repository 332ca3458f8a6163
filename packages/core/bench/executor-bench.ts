// The executor alone on the two graphs that hurt most: one chain, and one strongly connected component. What is committed
// last is searched first, so that the search has to go all the way down. It runs in slices as the runtime has it run.
import { PerformanceObserver } from 'node:perf_hooks'
import { Executor } from '../src/execution/executor.ts'
import type { ApplicationCommand } from '../src/protocol/command.ts'
import { replicaIdFromBytes } from '../src/protocol/ids.ts'
import type { CommittedInstance } from '../src/protocol/instance.ts'
import { systemClock } from '../src/runtime/clock.ts'
import { executionMs, executionSteps } from '../src/runtime/engine.ts'
import { interleave, type Measurement, quartiles, quartilesOf, startCpu } from './measure.ts'
import { calibrationTable, type Report, roundedQuartiles, twoPlaces, whole, withQuartiles } from './report.ts'

const session = replicaIdFromBytes(new Uint8Array(16).fill(1))
const rows = 3

function write(number: number): ApplicationCommand {
  const footprint = [{ key: 7, mode: 'write' as const }]
  return {
    kind: 'application',
    proposals: [{ session, number, ackedUpTo: number - 1, footprint, payload: new Uint8Array(0) }],
  }
}

function committed(row: number, seq: number, deps: readonly number[]): CommittedInstance {
  const command = write(seq * rows + row)
  return {
    id: { row, seq },
    phase: 'committed',
    promisedBallot: 0,
    acceptedBallot: 0,
    command,
    deps,
    initCommand: command,
    initDeps: deps,
  }
}

interface Graph {
  readonly instances: readonly CommittedInstance[]
  /** Of the graph without the edges that a path implies: what no search can leave out. */
  readonly edges: number
}

/** Each instance sees all before it, over the rows in turn. */
export function chain(length: number): Graph {
  const seen = new Array<number>(rows).fill(0)
  const instances: CommittedInstance[] = []
  for (let index = 0; index < length; index++) {
    const row = index % rows
    const seq = Math.floor(index / rows) + 1
    instances.push(committed(row, seq, seen.slice()))
    seen[row] = seq
  }
  return { instances, edges: length - 1 }
}

/** Two rows; each instance sees those before it in its own row, and all of the other row. */
export function component(size: number): Graph {
  const half = Math.floor(size / 2)
  const instances: CommittedInstance[] = []
  for (let seq = 1; seq <= half; seq++) {
    instances.push(committed(0, seq, [seq - 1, half, 0]), committed(1, seq, [half, seq - 1, 0]))
  }
  return { instances, edges: 4 * half - 2 }
}

export interface ExecutorFigure {
  readonly nsPerEdge: number
  readonly slices: number
  /** The longest slice, in CPU time or by the clock, whichever says less: other processes of the machine are not counted. */
  readonly longestSliceMs: number
  /** The same without the garbage collections that fell into it. */
  readonly longestOwnMs: number
}

interface Slice {
  readonly from: number
  readonly to: number
  readonly cpuMs: number
}

/** Runs a graph, and checks that each instance was executed once and in the order that its deps ask for. */
export async function runGraph({ instances, edges }: Graph, ordered: boolean): Promise<ExecutorFigure> {
  const last = instances.at(-1)
  if (last === undefined) throw new Error('a graph has an instance')
  const collections: PerformanceEntry[] = []
  const observer = new PerformanceObserver((list) => collections.push(...list.getEntries()))
  observer.observe({ entryTypes: ['gc'] })
  const order: CommittedInstance[] = []
  const executor = new Executor(rows, (instance) => order.push(instance))
  const cpuSeconds = startCpu()
  executor.commit(last)
  for (const instance of instances) if (instance !== last) executor.commit(instance)
  const slices: Slice[] = []
  for (let more = true; more; ) {
    const from = systemClock.now()
    const sliceSeconds = startCpu()
    more = runSlice(executor)
    slices.push({ from, to: systemClock.now(), cpuMs: sliceSeconds() * 1_000 })
  }
  const nsPerEdge = (cpuSeconds() * 1e9) / edges
  // an observer hears of what happened some turns later
  for (let turns = 0; turns < 4; turns++) await new Promise((resolve) => setImmediate(resolve))
  observer.disconnect()
  if (order.length !== instances.length || new Set(order).size !== order.length) {
    throw new Error(`${order.length} executions of ${instances.length} instances`)
  }
  if (ordered && order.some((instance, index) => instance !== instances[index]))
    throw new Error('a chain has one order')
  const held = slices.map(({ from, to, cpuMs }) => Math.min(to - from, cpuMs))
  const own = slices.map((slice, at) => Math.max(0, (held[at] ?? 0) - msWithin(slice, collections)))
  return {
    nsPerEdge,
    slices: slices.length,
    longestSliceMs: Math.max(...held),
    longestOwnMs: Math.max(...own),
  }
}

function msWithin({ from, to }: Slice, entries: readonly PerformanceEntry[]): number {
  let sum = 0
  for (const { startTime, duration } of entries) {
    sum += Math.max(0, Math.min(to, startTime + duration) - Math.max(from, startTime))
  }
  return sum
}

/** True when there is more to do. */
function runSlice(executor: Executor): boolean {
  const until = systemClock.now() + executionMs
  while (executor.run(executionSteps)) {
    if (systemClock.now() >= until) return true
  }
  return false
}

export async function benchExecutor(rounds: number, size: number): Promise<Report> {
  const graphs = [
    { name: 'chain', graph: chain(size), ordered: true },
    { name: 'component', graph: component(size), ordered: false },
  ]
  const runs = new Map<string, ExecutorFigure[]>(graphs.map(({ name }) => [name, []]))
  const measurements: Measurement[] = graphs.map(({ name, graph, ordered }) => ({
    name,
    run: async () => {
      const figure = await runGraph(graph, ordered)
      runs.get(name)?.push(figure)
      return figure.nsPerEdge
    },
  }))
  const measured = await interleave(measurements, rounds)
  const facts = new Map<string, number>()
  const data: Record<string, unknown>[] = []
  const lines = graphs.map(({ name, graph }) => {
    const nsPerEdge = quartilesOf(measured, name)
    const counted = (runs.get(name) ?? []).slice(1)
    const over = (field: keyof ExecutorFigure) => quartiles(counted.map((figure) => figure[field]))
    const longest = over('longestSliceMs')
    const longestOwn = over('longestOwnMs')
    const slices = over('slices').median
    facts.set(`${name}: ns per edge`, nsPerEdge.median)
    facts.set(`${name}: longest slice ms`, longest.median)
    facts.set(`${name}: longest own ms`, longestOwn.median)
    data.push({
      graph: name,
      edges: graph.edges,
      nsPerEdge: roundedQuartiles(nsPerEdge),
      slices,
      longestSliceMs: roundedQuartiles(longest),
      longestOwnMs: roundedQuartiles(longestOwn),
    })
    return [
      name,
      whole(graph.edges),
      withQuartiles(nsPerEdge, whole),
      whole(slices),
      withQuartiles(longest, twoPlaces),
      withQuartiles(longestOwn, twoPlaces),
    ]
  })
  const worst = (figure: string) => Math.max(...graphs.map(({ name }) => facts.get(`${name}: ${figure}`) ?? Number.NaN))
  facts.set('worst graph: ns per edge', worst('ns per edge'))
  facts.set('worst graph: longest slice ms', worst('longest slice ms'))
  facts.set('worst graph: longest own ms', worst('longest own ms'))
  return {
    facts,
    tables: [
      {
        bench: 'executor',
        title:
          `The executor alone, ${whole(size)} instances on one key, committing included; slices as the runtime makes ` +
          `them, after ${executionMs} ms. ${rounds} rounds; the longest slice of each, CPU time or by the clock, whichever is less.`,
        columns: [
          'graph',
          'edges',
          'CPU ns per edge (quartiles)',
          'slices',
          'longest slice, ms (quartiles)',
          'without garbage collection',
        ],
        rows: lines,
        data: { rounds, size, rows: data },
      },
      calibrationTable(measured),
    ],
  }
}
