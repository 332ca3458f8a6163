// `npm run bench [-- codec | cluster | latency] [--rounds N]`: the benchmarks, as a Markdown table and one JSON line each.
import { parseArgs } from 'node:util'
import { type ClusterCase, runCluster } from '../packages/core/bench/cluster.ts'
import { type CodecFigure, runCodec } from '../packages/core/bench/codec.ts'
import { measureLatency } from './bench-latency.ts'

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { rounds: { type: 'string', default: '7' } },
})
const rounds = Number(values.rounds)
const benches: Readonly<Record<string, () => Promise<void>>> = {
  codec: benchCodec,
  cluster: benchCluster,
  latency: benchLatency,
}
const names = positionals.length > 0 ? positionals : Object.keys(benches)
if (!Number.isInteger(rounds) || rounds < 1 || names.some((name) => !Object.hasOwn(benches, name))) {
  console.error('npm run bench [-- codec | cluster | latency] [--rounds N]')
  process.exit(2)
}

function quartiles(figures: readonly number[]): {
  readonly low: number
  readonly median: number
  readonly high: number
} {
  const sorted = figures.toSorted((a, b) => a - b)
  const at = (part: number) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? 0
  return { low: at(0.25), median: at(0.5), high: at(0.75) }
}

async function benchCluster(): Promise<void> {
  const cases: readonly ClusterCase[] = [1, 3, 5].flatMap((replicas) =>
    [1, 32].map((inFlight) => ({ replicas, inFlight, commands: inFlight === 1 ? 2_000 : 8_000 })),
  )
  const figures = cases.map(() => ({ cpu: [] as number[], wall: [] as number[] }))
  await runCluster({ replicas: 3, inFlight: 32, commands: 4_000 }) // warm up
  for (let round = 0; round < rounds; round++) {
    for (const [index, one] of cases.entries()) {
      const { perCpuSecond, perSecond } = await runCluster(one)
      figures[index]?.cpu.push(perCpuSecond)
      figures[index]?.wall.push(perSecond)
    }
  }
  console.log('| replicas | in flight | commands per CPU-second (quartiles) | per second |\n|---|---|---|---|')
  const rows = cases.map(({ replicas, inFlight }, index) => {
    const cpu = quartiles(figures[index]?.cpu ?? [])
    const wall = quartiles(figures[index]?.wall ?? [])
    const text = (value: number) => Math.round(value).toLocaleString('en')
    console.log(
      `| ${replicas} | ${inFlight} | ${text(cpu.median)} (${text(cpu.low)} … ${text(cpu.high)}) | ${text(wall.median)} |`,
    )
    return { replicas, inFlight, perCpuSecond: Math.round(cpu.median), perSecond: Math.round(wall.median) }
  })
  console.log(JSON.stringify({ bench: 'cluster', rounds, rows }))
}

async function benchLatency(): Promise<void> {
  const figures = await measureLatency(rounds * 100)
  console.log('| | median ms | p99 ms |\n|---|---|---|')
  for (const [name, { median, p99 }] of Object.entries(figures)) {
    console.log(`| ${name} | ${median.toFixed(2)} | ${p99.toFixed(2)} |`)
  }
  console.log(JSON.stringify({ bench: 'latency', samples: rounds * 100, ...figures }))
}

async function benchCodec(): Promise<void> {
  runCodec(20_000) // warm up
  const figures = Array.from({ length: rounds }, () => runCodec(100_000))
  const median = (name: string, field: keyof CodecFigure) =>
    Math.round(quartiles(figures.map((round) => round[name]?.[field] ?? 0)).median)
  console.log('| a PreAccept with 48 bytes of payload | encode ns | decode ns | bytes |\n|---|---|---|---|')
  const rows = Object.keys(figures[0] ?? {}).map((name) => {
    const row = {
      name,
      encodeNs: median(name, 'encodeNs'),
      decodeNs: median(name, 'decodeNs'),
      bytes: median(name, 'bytes'),
    }
    console.log(`| ${name} | ${row.encodeNs} | ${row.decodeNs} | ${row.bytes} |`)
    return row
  })
  console.log(JSON.stringify({ bench: 'codec', rounds, rows }))
}

for (const name of names) await benches[name]?.()
