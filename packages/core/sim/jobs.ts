// Many seeds on all cores: child processes take seed after seed, and their figures are added up. What comes out does not
// depend on how many there are: sums do not care for order, and of several failures the one with the lowest seed counts.
import { fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { addFigures, type Figures, noFigures } from './report.ts'

/** What a child is asked. */
export interface Job {
  readonly seed: number
  readonly steps: number
  readonly replicas: number
}

/** What it answers. */
export interface JobResult {
  readonly seed: number
  readonly figures: Figures | null
  /** Why it failed, where it did. */
  readonly failure: string | null
}

export interface Outcome {
  readonly figures: Figures
  /** Runs that kept all promises, before the first that did not. */
  readonly passed: number
  readonly failed: JobResult | null
}

export async function runJobs(
  first: number,
  seeds: number,
  options: { readonly steps: number; readonly replicas: number; readonly jobs: number },
  progress: (done: number) => void,
): Promise<Outcome> {
  const { steps, replicas } = options
  const results = new Map<number, JobResult>()
  let next = first
  let end = first + seeds
  const take = (): Job | null => (next < end ? { seed: next++, steps, replicas } : null)
  const done = (result: JobResult) => {
    results.set(result.seed, result)
    if (result.failure !== null) end = Math.min(end, result.seed) // what comes after the first failure does not count
    progress(results.size)
  }
  const jobs = Math.max(1, Math.min(options.jobs, seeds))
  await Promise.all(Array.from({ length: jobs }, () => work(take, done)))
  const figures = noFigures()
  for (let seed = first; seed < first + seeds; seed++) {
    const result = results.get(seed)
    if (result?.figures === undefined || result.figures === null) {
      return { figures, passed: seed - first, failed: result ?? null }
    }
    addFigures(figures, result.figures)
  }
  return { figures, passed: seeds, failed: null }
}

/** One child, until there is nothing to take. */
function work(take: () => Job | null, done: (result: JobResult) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = fork(fileURLToPath(new URL('./job.ts', import.meta.url)))
    const give = () => {
      const job = take()
      if (job === null) child.disconnect()
      else child.send(job)
    }
    child.on('message', (message) => {
      done(message as JobResult)
      give()
    })
    child.on('error', reject)
    child.on('exit', (code) => {
      if (code === 0) resolve()
      else reject(new Error(`a simulating process ended with ${code}`))
    })
    give()
  })
}
