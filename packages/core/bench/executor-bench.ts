// The executor alone on the two graphs that hurt most: one chain, and one strongly connected component. What is committed
// last is searched first, so that the search has to go all the way down.
import { Executor } from '../src/execution/executor.ts'
import type { ApplicationCommand } from '../src/protocol/command.ts'
import { replicaIdFromBytes } from '../src/protocol/ids.ts'
import type { CommittedInstance } from '../src/protocol/instance.ts'
import { interleave, type Measurement, quartilesOf, startCpu } from './measure.ts'
import { calibrationTable, type Report, roundedQuartiles, whole, withQuartiles } from './report.ts'

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
  /** The longest time for which `run` did not return. */
  readonly longestSliceMs: number
}

/** Runs a graph, and checks that each instance was executed once and in the order that its deps ask for. */
export function runGraph({ instances, edges }: Graph, ordered: boolean): ExecutorFigure {
  const order: CommittedInstance[] = []
  const executor = new Executor(rows, (instance) => order.push(instance))
  const last = instances.at(-1)
  if (last === undefined) throw new Error('a graph has an instance')
  const cpuSeconds = startCpu()
  let longestSliceMs = 0
  executor.commit(last)
  for (const instance of instances) if (instance !== last) executor.commit(instance)
  for (;;) {
    const before = performance.now()
    // an executor that works in slices says whether there is more to do
    const more: unknown = executor.run()
    longestSliceMs = Math.max(longestSliceMs, performance.now() - before)
    if (more !== true) break
  }
  const nsPerEdge = (cpuSeconds() * 1e9) / edges
  if (order.length !== instances.length || new Set(order).size !== order.length) {
    throw new Error(`${order.length} executions of ${instances.length} instances`)
  }
  if (ordered && order.some((instance, index) => instance !== instances[index]))
    throw new Error('a chain has one order')
  return { nsPerEdge, longestSliceMs }
}

export async function benchExecutor(rounds: number, size: number): Promise<Report> {
  const graphs = [
    { name: 'chain', graph: chain(size), ordered: true },
    { name: 'component', graph: component(size), ordered: false },
  ]
  const slices = new Map<string, number[]>(graphs.map(({ name }) => [name, []]))
  const measurements: Measurement[] = graphs.map(({ name, graph, ordered }) => ({
    name,
    run: async () => {
      const { nsPerEdge, longestSliceMs } = runGraph(graph, ordered)
      slices.get(name)?.push(longestSliceMs)
      return nsPerEdge
    },
  }))
  const measured = await interleave(measurements, rounds)
  const facts = new Map<string, number>()
  const data: Record<string, unknown>[] = []
  const lines = graphs.map(({ name, graph }) => {
    const nsPerEdge = quartilesOf(measured, name)
    const longest = Math.max(...(slices.get(name) ?? []).slice(1))
    facts.set(`${name}: ns per edge`, nsPerEdge.median)
    facts.set(`${name}: longest slice ms`, longest)
    data.push({ graph: name, edges: graph.edges, nsPerEdge: roundedQuartiles(nsPerEdge), longestSliceMs: longest })
    return [name, whole(graph.edges), withQuartiles(nsPerEdge, whole), longest.toFixed(1)]
  })
  facts.set('worst graph: ns per edge', Math.max(...graphs.map(({ name }) => facts.get(`${name}: ns per edge`) ?? 0)))
  facts.set(
    'worst graph: longest slice ms',
    Math.max(...graphs.map(({ name }) => facts.get(`${name}: longest slice ms`) ?? 0)),
  )
  return {
    facts,
    tables: [
      {
        bench: 'executor',
        title: `The executor alone, ${whole(size)} instances on one key, committing included. ${rounds} rounds.`,
        columns: ['graph', 'edges', 'CPU ns per edge (quartiles)', 'longest slice ms'],
        rows: lines,
        data: { rounds, size, rows: data },
      },
      calibrationTable(measured),
    ],
  }
}
