// The executor alone on the two graphs that hurt most: one chain, and one strongly connected component. What is committed
// last is searched first, so that the search has to go all the way down. It runs in slices as the runtime has it run.
import { Executor } from '../src/execution/executor.ts'
import type { ApplicationCommand } from '../src/protocol/command.ts'
import { replicaIdFromBytes } from '../src/protocol/ids.ts'
import type { CommittedInstance } from '../src/protocol/instance.ts'
import { systemClock } from '../src/runtime/clock.ts'
import { interleave, type Measurement, quartiles, quartilesOf, startCpu } from './measure.ts'
import { calibrationTable, type Report, rounded, roundedQuartiles, twoPlaces, whole, withQuartiles } from './report.ts'

const session = replicaIdFromBytes(new Uint8Array(16).fill(1))
const rows = 3
/** As runtime/engine.ts has it: how long execution may hold a turn up, and its steps between two looks at the clock. */
const sliceMs = 3
const sliceSteps = 256

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
  /** The longest slice, in CPU time (all threads, so the collector's too): what a page would be held up for. */
  readonly longestSliceMs: number
  /** The same by the clock, with what else the machine did meanwhile. */
  readonly longestSliceClockMs: number
}

/** Runs a graph, and checks that each instance was executed once and in the order that its deps ask for. */
export function runGraph({ instances, edges }: Graph, ordered: boolean): ExecutorFigure {
  const order: CommittedInstance[] = []
  const executor = new Executor(rows, (instance) => order.push(instance))
  const last = instances.at(-1)
  if (last === undefined) throw new Error('a graph has an instance')
  const cpuSeconds = startCpu()
  executor.commit(last)
  for (const instance of instances) if (instance !== last) executor.commit(instance)
  let slices = 0
  let longestSliceMs = 0
  let longestSliceClockMs = 0
  for (let more = true; more; slices++) {
    const clockBefore = systemClock.now()
    const sliceSeconds = startCpu()
    more = runSlice(executor)
    longestSliceMs = Math.max(longestSliceMs, sliceSeconds() * 1_000)
    longestSliceClockMs = Math.max(longestSliceClockMs, systemClock.now() - clockBefore)
  }
  const nsPerEdge = (cpuSeconds() * 1e9) / edges
  if (order.length !== instances.length || new Set(order).size !== order.length) {
    throw new Error(`${order.length} executions of ${instances.length} instances`)
  }
  if (ordered && order.some((instance, index) => instance !== instances[index]))
    throw new Error('a chain has one order')
  return { nsPerEdge, slices, longestSliceMs, longestSliceClockMs }
}

/** True when there is more to do. */
function runSlice(executor: Executor): boolean {
  const until = systemClock.now() + sliceMs
  while (executor.run(sliceSteps)) {
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
      const figure = runGraph(graph, ordered)
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
    const slices = quartiles(counted.map((figure) => figure.slices)).median
    const longest = Math.max(...counted.map((figure) => figure.longestSliceMs))
    const longestByClock = Math.max(...counted.map((figure) => figure.longestSliceClockMs))
    facts.set(`${name}: ns per edge`, nsPerEdge.median)
    facts.set(`${name}: longest slice ms`, longest)
    data.push({
      graph: name,
      edges: graph.edges,
      nsPerEdge: roundedQuartiles(nsPerEdge),
      slices,
      longestSliceMs: rounded(longest),
      longestSliceClockMs: rounded(longestByClock),
    })
    return [
      name,
      whole(graph.edges),
      withQuartiles(nsPerEdge, whole),
      whole(slices),
      twoPlaces(longest),
      twoPlaces(longestByClock),
    ]
  })
  const worst = (figure: string) => Math.max(...graphs.map(({ name }) => facts.get(`${name}: ${figure}`) ?? Number.NaN))
  facts.set('worst graph: ns per edge', worst('ns per edge'))
  facts.set('worst graph: longest slice ms', worst('longest slice ms'))
  return {
    facts,
    tables: [
      {
        bench: 'executor',
        title:
          `The executor alone, ${whole(size)} instances on one key, committing included; slices as the runtime makes ` +
          `them, after ${sliceMs} ms. ${rounds} rounds; the longest slice is that of all rounds.`,
        columns: [
          'graph',
          'edges',
          'CPU ns per edge (quartiles)',
          'slices',
          'longest slice, CPU ms',
          'longest slice, ms by the clock',
        ],
        rows: lines,
        data: { rounds, size, rows: data },
      },
      calibrationTable(measured),
    ],
  }
}
