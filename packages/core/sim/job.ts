// The child's side of jobs.ts: simulates the seeds that it is sent, one after the other, until its parent is done with it.
import type { Job, JobResult } from './jobs.ts'
import { simulate } from './simulate.ts'

process.on('message', (message) => {
  void run(message as Job).then((result) => process.send?.(result))
})

async function run(job: Job): Promise<JobResult> {
  try {
    const { figures } = await simulate(job)
    return { seed: job.seed, figures, failure: null }
  } catch (error) {
    return { seed: job.seed, figures: null, failure: error instanceof Error ? error.message : String(error) }
  }
}
