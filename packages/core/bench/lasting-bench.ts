// Clusters that last: what a long history and a large state do to the speed and to the heap. The clusters are grown first,
// in full batches because that is quicker; then they take turns with slices of single commands, each slice as long as an
// epoch, so that it holds one checkpoint.
import { type EngineCluster, openEngines, until } from './cluster.ts'
import { baseLoad, type Load, runLoad } from './load.ts'
import { interleave, liveHeapBytes, type Measurement, quartilesOf, ratios, startCpu } from './measure.ts'
import { calibrationTable, type Report, rounded, roundedQuartiles, twoPlaces, whole, withQuartiles } from './report.ts'

const epochCommands = 10_000
/** Wide enough that single commands never wait for each other; a thousand in flight fill it with batches. */
const pipe = { instancesMax: 32, batchMax: 100 }

interface Lasting {
  readonly name: string
  readonly keys: number
}

class LastingCluster {
  readonly name: string
  readonly heaps: { readonly executed: number; readonly bytes: number }[] = []
  readonly #cluster: EngineCluster
  readonly #load: Load
  #executed = 0

  private constructor(name: string, cluster: EngineCluster, load: Load) {
    this.name = name
    this.#cluster = cluster
    this.#load = load
  }

  static async open({ name, keys }: Lasting): Promise<LastingCluster> {
    const load = { ...baseLoad, keys }
    return new LastingCluster(name, await openEngines(load, pipe), load)
  }

  get executed(): number {
    return this.#executed
  }

  async growTo(executed: number): Promise<void> {
    while (this.#executed < executed) {
      await this.#run({ ...this.#load, inFlight: 1_000, commands: Math.min(epochCommands, executed - this.#executed) })
    }
  }

  async slice(): Promise<number> {
    return this.#run({ ...this.#load, commands: epochCommands })
  }

  async #run(load: Load): Promise<number> {
    const { perCpuSecond } = await runLoad(this.#cluster, load, startCpu, this.#executed)
    this.#executed += load.commands
    return perCpuSecond
  }

  /** Right after a checkpoint, where the log is empty, so that the place within an epoch plays no part. */
  async noteHeap(): Promise<void> {
    const { engines } = this.#cluster
    await engines[0]?.checkpoint()
    await until(() => new Set(engines.map(({ epoch }) => epoch)).size === 1)
    this.heaps.push({ executed: this.#executed, bytes: liveHeapBytes() })
  }

  close(): Promise<void> {
    return this.#cluster.close()
  }
}

/** `history` is how long the long one gets, `keys` how many the large state has. */
export async function benchLasting(rounds: number, history: number, keys: number): Promise<Report> {
  if (history <= epochCommands) throw new Error(`a history of ${history} is no longer than the first`)
  const long = await LastingCluster.open({ name: 'long', keys: 1_000 })
  for (let executed = epochCommands; executed < history; executed *= 10) {
    await long.growTo(executed)
    await long.noteHeap()
  }
  await long.growTo(history)
  await long.noteHeap()
  const young = await LastingCluster.open({ name: 'young', keys: 1_000 })
  await young.growTo(epochCommands)
  const large = await LastingCluster.open({ name: 'large', keys })
  await large.growTo(keys)

  const clusters = [young, long, large]
  const grown = new Map(clusters.map((cluster) => [cluster.name, cluster.executed]))
  const measurements: Measurement[] = clusters.map((cluster) => ({ name: cluster.name, run: () => cluster.slice() }))
  const measured = await interleave(measurements, rounds)
  await Promise.all(clusters.map((cluster) => cluster.close()))

  const facts = new Map<string, number>()
  const data: Record<string, unknown>[] = []
  const lines = clusters.map(({ name }) => {
    const perCpuSecond = quartilesOf(measured, name)
    const ratio = ratios(measured, name, young.name)
    facts.set(`${name} / young`, ratio.median)
    const executed = grown.get(name) ?? 0
    const entries = name === large.name ? keys : 1_000
    data.push({
      history: executed,
      keys: entries,
      perCpuSecond: roundedQuartiles(perCpuSecond),
      ratio: roundedQuartiles(ratio),
    })
    return [whole(executed), whole(entries), withQuartiles(perCpuSecond, whole), withQuartiles(ratio, twoPlaces)]
  })
  const [first] = long.heaps
  const last = long.heaps.at(-1)
  facts.set('heap / first heap', (last?.bytes ?? Number.NaN) / (first?.bytes ?? Number.NaN))
  facts.set('history', history)
  facts.set('keys', keys)
  return {
    facts,
    tables: [
      {
        bench: 'lasting',
        title:
          'Clusters of three that last (engines, checkpoints every 10,000 commands): slices of 10,000 single commands, ' +
          `32 in flight, each with one checkpoint; ${rounds} rounds, clusters in turns.`,
        columns: ['history', 'keys', 'commands per CPU-second (quartiles)', 'of the youngest, round by round'],
        rows: lines,
        data: { rounds, rows: data },
      },
      {
        bench: 'heap',
        title: 'Live heap of the process after a checkpoint, all three replicas in it, 1,000 keys.',
        columns: ['history', 'MB'],
        rows: long.heaps.map(({ executed, bytes }) => [whole(executed), (bytes / 1e6).toFixed(2)]),
        data: { rows: long.heaps.map(({ executed, bytes }) => ({ executed, bytes: rounded(bytes) })) },
      },
      calibrationTable(measured),
    ],
  }
}
