// From a run that broke a promise to a short one that breaks the same: kinds of faults are left out, then steps, as long as
// the same promise is broken. What is left is worth reading.
import { type FaultKind, faultKinds } from './faults.ts'
import { SimulationFailure, type SimulationOptions, simulate } from './simulate.ts'

/** Runs spent on it at most. */
const runsMax = 150

/** The shortest failing run that was found; at worst the one that was given. */
export async function shrink(failure: SimulationFailure): Promise<SimulationFailure> {
  let best = failure
  let runs = 0
  /** Takes the run as the best so far if it breaks the same promise. */
  const breaks = async (options: SimulationOptions): Promise<boolean> => {
    if (runs >= runsMax) return false
    runs++
    const found = await failureOf(options)
    if (found === null || found.promise !== failure.promise) return false
    best = found
    return true
  }

  for (const kind of faultKinds) {
    const without: ReadonlySet<FaultKind> = new Set([...(best.options.without ?? []), kind])
    await breaks({ ...best.options, without })
  }
  await breaks(onlyTraced(best))
  for (let parts = 2; runs < runsMax; ) {
    const steps = [...(onlyTraced(best).only ?? [])]
    const size = Math.ceil(steps.length / parts)
    if (size === 0) break
    let shorter = false
    for (let from = 0; from < steps.length && !shorter; from += size) {
      const only = new Set([...steps.slice(0, from), ...steps.slice(from + size)])
      shorter = await breaks({ ...best.options, only, steps: lastOf(only) + 1 })
    }
    if (shorter) parts = Math.max(2, parts - 1)
    else if (size === 1) break
    else parts = Math.min(steps.length, parts * 2)
  }
  return best
}

async function failureOf(options: SimulationOptions): Promise<SimulationFailure | null> {
  try {
    await simulate(options)
    return null
  } catch (error) {
    if (error instanceof SimulationFailure) return error
    throw error
  }
}

/** The same run without the steps in which nothing came to pass. */
function onlyTraced({ options, trace }: SimulationFailure): SimulationOptions {
  const only = new Set(trace.map(({ step }) => step))
  return { ...options, only, steps: lastOf(only) + 1 }
}

function lastOf(steps: ReadonlySet<number>): number {
  return Math.max(-1, ...steps)
}

/** What to type to see the run again. */
export function commandOf({ seed, steps, replicas, without, workload, only }: SimulationOptions): string {
  const parts = [`npm run sim -- --seed ${seed} --seeds 1 --steps ${steps} --replicas ${replicas}`]
  if (workload !== undefined) parts.push(`--workload '${workload}'`)
  if (without !== undefined && without.size > 0) parts.push(`--without '${[...without].join(',')}'`)
  if (only !== undefined) parts.push(`--only '${[...only].join(',')}'`)
  return parts.join(' ')
}

/** The failure as text: why, how to repeat it, and what was done when. */
export function describeFailure(failure: SimulationFailure): string {
  const lines = failure.trace.map(
    ({ step, atMs, what }) => `  ${atMs.toFixed(1).padStart(9)} ms  step ${step}: ${what}`,
  )
  return [failure.message, commandOf(failure.options), ...lines].join('\n')
}
