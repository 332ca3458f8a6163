// `npm run bench [-- NAME…] [--rounds N] [--quick] [--json FILE]`: the benchmarks, each as a Markdown table and one line of
// JSON. Without names all of them, and the speeds to reach beside what was measured; `targets` runs only what those need,
// `base` only the base load: the short way to see what a change to the core did. On a machine with nothing else to do all
// of them end within ten minutes, and within one and a half with --quick.
import { writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { benchCodec } from '../packages/core/bench/codec-bench.ts'
import { allRows, benchCore, quickRows, targetRows } from '../packages/core/bench/core-bench.ts'
import { benchExecutor } from '../packages/core/bench/executor-bench.ts'
import { benchLasting } from '../packages/core/bench/lasting-bench.ts'
import { benchRecovery } from '../packages/core/bench/recovery-bench.ts'
import { markdown, type Report, type Table } from '../packages/core/bench/report.ts'
import { targetsTable } from '../packages/core/bench/targets.ts'

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { rounds: { type: 'string' }, quick: { type: 'boolean', default: false }, json: { type: 'string' } },
})
const { quick } = values
const rounds = Number(values.rounds ?? (quick ? 3 : 7))
const commands = quick ? 1_500 : 3_000

const benches: Readonly<Record<string, () => Promise<Report>>> = {
  base: () => benchCore({ rows: targetRows.slice(0, 1), rounds, commands }),
  targets: () => benchCore({ rows: quick ? quickRows : targetRows, rounds, commands }),
  cluster: () => benchCore({ rows: quick ? quickRows : allRows, rounds, commands }),
  lasting: () => benchLasting(rounds, quick ? 20_000 : 1_000_000, quick ? 20_000 : 100_000),
  executor: () => benchExecutor(rounds, quick ? 30_000 : 100_000),
  codec: () => benchCodec(rounds, quick ? 20_000 : 100_000),
  recovery: () => benchRecovery(quick ? 1 : rounds, 1_000),
  latency: benchLatency,
  durable: benchDurable,
  links: benchLinks,
}
const all = ['cluster', 'lasting', 'executor', 'codec', 'recovery', 'latency', 'durable', 'links']
const targets = positionals.length === 0 || positionals.includes('targets')
const asked = positionals.length === 0 ? all : positionals
const names = new Set(asked.flatMap((name) => (name === 'targets' ? ['targets', 'lasting', 'executor'] : [name])))
if (!Number.isInteger(rounds) || rounds < 1 || [...names].some((name) => !Object.hasOwn(benches, name))) {
  console.error(`npm run bench [-- ${Object.keys(benches).join(' | ')}] [--rounds N] [--quick] [--json FILE]`)
  process.exit(2)
}

async function benchLatency(): Promise<Report> {
  const samples = rounds * (quick ? 30 : 70)
  // only now: what drives a browser fills the heap that the others are measured in
  const { measureLatency } = await import('./bench-latency.ts')
  return await measureLatency(samples)
}

async function benchLinks(): Promise<Report> {
  const { benchLinks } = await import('./bench-links.ts')
  return await benchLinks({ connections: quick ? 10 : 50, roundTrips: 50, frames: 200 })
}

async function benchDurable(): Promise<Report> {
  const { benchDurable } = await import('./bench-durable.ts')
  return await benchDurable({
    rounds: quick ? 1 : Math.min(rounds, 3),
    forMs: quick ? 500 : 2_000,
    logs: quick ? [1_000] : [10_000, 100_000],
  })
}

const tables: Table[] = []
function show(table: Table): void {
  tables.push(table)
  console.log(`\n${markdown(table)}\n`)
  console.log(JSON.stringify({ bench: table.bench, ...table.data }))
}

const reports: Report[] = []
for (const name of names) {
  const report = await benches[name]?.()
  if (report === undefined) continue
  reports.push(report)
  for (const table of report.tables) show(table)
}
if (targets) show(targetsTable(reports))
if (values.json !== undefined) {
  const written = tables.map((table) => ({ bench: table.bench, title: table.title, ...table.data }))
  writeFileSync(values.json, `${JSON.stringify(written, null, 2)}\n`)
}
