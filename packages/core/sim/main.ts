// `npm run sim -- --seed N --seeds N --steps N --replicas N --jobs N`: fresh seeds (or from the given one on), on all cores.
// Ends with a table of what happened and one JSON line of figures; exits non-zero at the first violation, which is shrunk to
// a short trace. `--history FILE` writes what the clients saw; `--without`, `--only`, `--workload` repeat a shrunk run;
// `--throughput` measures clusters of 3, 5 and 7 with one replica gone.
import { writeFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { parseArgs } from 'node:util'
import { faultKinds } from './faults.ts'
import { writeHistory } from './history.ts'
import { type JobResult, type Outcome, runJobs } from './jobs.ts'
import { addFigures, figureTable, noFigures } from './report.ts'
import { commandOf, describeFailure, shrink } from './shrink.ts'
import { SimulationFailure, type SimulationOptions, simulate } from './simulate.ts'
import { measureThroughput } from './throughput.ts'
import { workloadNames } from './workload.ts'

const { values } = parseArgs({
  options: {
    seed: { type: 'string' },
    seeds: { type: 'string', default: '20' },
    steps: { type: 'string', default: '400' },
    replicas: { type: 'string', default: '3' },
    jobs: { type: 'string', default: String(availableParallelism()) },
    history: { type: 'string' },
    without: { type: 'string' },
    only: { type: 'string' },
    workload: { type: 'string' },
    throughput: { type: 'boolean', default: false },
  },
})

function refuse(why: string): never {
  console.error(why)
  process.exit(2)
}

function whole(name: string, text: string, least = 0): number {
  const value = Number(text)
  if (!Number.isSafeInteger(value) || value < least) refuse(`--${name}: a whole number from ${least} on, not ${text}`)
  return value
}

function known<T extends string>(name: string, text: string, all: readonly T[]): T {
  return all.find((one) => one === text) ?? refuse(`--${name}: of ${all.join(', ')}; not ${text}`)
}

const seed = values.seed === undefined ? Math.floor(Math.random() * 1e9) : whole('seed', values.seed)
const seeds = whole('seeds', values.seeds, 1)
const steps = whole('steps', values.steps)
const replicas = whole('replicas', values.replicas, 1)
const jobs = whole('jobs', values.jobs, 1)
if (replicas > 9) refuse(`--replicas: 1 to 9, not ${replicas}`)
const { without, only, workload, history } = values

/** The run of one seed, with what the command line asks for. */
function optionsOf(one: number): SimulationOptions {
  return {
    seed: one,
    steps,
    replicas,
    ...(without === undefined
      ? {}
      : { without: new Set(without.split(',').map((kind) => known('without', kind, faultKinds))) }),
    ...(only === undefined ? {} : { only: new Set(only.split(',').map((step) => whole('only', step))) }),
    ...(workload === undefined ? {} : { workload: known('workload', workload, workloadNames) }),
  }
}

/** In this process, in order: where histories or special options are wanted. */
async function runHere(): Promise<Outcome> {
  const figures = noFigures()
  if (history !== undefined) writeFileSync(history, '')
  for (let index = 0; index < seeds; index++) {
    try {
      const report = await simulate(optionsOf(seed + index))
      addFigures(figures, report.figures)
      if (history !== undefined) writeFileSync(history, writeHistory(report.calls), { flag: 'a' })
    } catch (error) {
      if (!(error instanceof SimulationFailure)) throw error
      if (history !== undefined) writeFileSync(history, writeHistory(error.calls), { flag: 'a' })
      return { figures, passed: index, failed: { seed: seed + index, figures: null, failure: error.message } }
    }
  }
  return { figures, passed: seeds, failed: null }
}

async function explain({ seed: failed, failure }: JobResult): Promise<void> {
  try {
    await simulate(optionsOf(failed))
    console.error(
      `${failure}\nThis does not come again when seed ${failed} is repeated: something is not deterministic`,
    )
  } catch (error) {
    if (!(error instanceof SimulationFailure)) throw error
    console.error(`${error.message}\n${commandOf(error.options)}\nshrinking …`)
    console.error(describeFailure(await shrink(error)))
  }
}

async function main(): Promise<void> {
  const startedAt = performance.now()
  const secondsNow = () => Math.round((performance.now() - startedAt) / 100) / 10
  if (values.throughput) {
    for (const delays of ['even', 'uneven'] as const) {
      for (const size of [3, 5, 7]) console.log(JSON.stringify(await measureThroughput(size, 1, delays)))
    }
    return
  }
  const special = history ?? without ?? only ?? workload
  let saidAt = startedAt
  const progress = (done: number) => {
    if (performance.now() - saidAt < 30_000) return
    saidAt = performance.now()
    console.error(`${done} of ${seeds} seeds after ${secondsNow()} s`)
  }
  const outcome =
    special === undefined && seeds > 1
      ? await runJobs(seed, seeds, { steps, replicas, jobs }, progress)
      : await runHere()
  const { figures, passed, failed } = outcome
  console.log(figureTable(figures))
  if (failed !== null) await explain(failed)
  const failures = failed === null ? 0 : 1
  console.log(
    JSON.stringify({
      check: 'sim',
      rounds: passed + failures,
      failures,
      firstSeed: seed,
      ...(failed === null ? {} : { failedSeed: failed.seed }),
      steps,
      replicas,
      seconds: secondsNow(),
      ...figures,
    }),
  )
  process.exitCode = failures
}

await main()
