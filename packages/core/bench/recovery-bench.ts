// A coordinator is gone in the middle of its work: how long until the others have finished what it left, and what that
// costs. Real time and the default timeouts, so most of the time is the patience before a recovery.
import { openEngines, until } from './cluster.ts'
import { baseLoad, commandsOf } from './load.ts'
import { interleave, type Measurement, quartiles, quartilesOf, startCpu } from './measure.ts'
import { calibrationTable, type Report, roundedQuartiles, whole, withQuartiles } from './report.ts'

export interface RecoveryFigure {
  /** From the crash until all that was left is executed (or came to nothing) at both others. */
  readonly milliseconds: number
  readonly cpuMilliseconds: number
  /** Commands that were executed, of those in flight; the rest had reached nobody who lives. */
  readonly executed: number
}

/** The first of three proposes, and is gone when the others have heard of all of it and of no commit. */
export async function runRecovery(inFlight: number): Promise<RecoveryFigure> {
  const load = { ...baseLoad, inFlight, commands: inFlight, proposers: 'first' as const }
  const cluster = await openEngines(load)
  const [coordinator, ...others] = cluster.engines
  if (coordinator === undefined) throw new Error('there are three replicas')
  const row = coordinator.protocol?.row ?? 0
  const { keys, values } = commandsOf(load)
  for (const [index, key] of keys.entries()) cluster.setUnanswered(0, key, values[index] ?? '')
  const heard = () => others.every(({ protocol }) => (protocol?.log.knownUpTo[row] ?? 0) >= inFlight)
  // deliveries are microtasks: let one after the other happen, and stop in the middle of them
  for (let turns = 0; !heard(); turns++) {
    if (turns > 1_000_000) throw new Error('the others did not hear of all commands')
    await Promise.resolve()
  }
  cluster.network.drop('r0')
  await coordinator.close()

  const cpuSeconds = startCpu()
  const before = performance.now()
  const finished = () =>
    others.every((engine) => {
      const log = engine.protocol?.log
      return log !== undefined && (log.committedUpTo[row] ?? 0) >= inFlight
    })
  const committedAtCrash = Math.max(...others.map(({ protocol }) => protocol?.log.committedUpTo[row] ?? 0))
  if (committedAtCrash >= inFlight) throw new Error('nothing was left in flight')
  await until(finished)
  await until(() => new Set(others.map(({ application }) => application?.executed)).size === 1)
  const milliseconds = performance.now() - before
  const cpuMilliseconds = cpuSeconds() * 1_000

  const states = new Set(others.map(({ application }) => application?.stateHash()))
  if (states.size !== 1) throw new Error('the replicas that are left hold different states')
  const executed = others[0]?.application?.executed ?? 0
  await cluster.close()
  return { milliseconds, cpuMilliseconds, executed }
}

export async function benchRecovery(rounds: number, inFlight: number): Promise<Report> {
  const runs: RecoveryFigure[] = []
  const measurement: Measurement = {
    name: 'recovery',
    run: async () => {
      const figure = await runRecovery(inFlight)
      runs.push(figure)
      return figure.milliseconds
    },
  }
  const measured = await interleave([measurement], rounds)
  const counted = runs.slice(1)
  const milliseconds = quartilesOf(measured, measurement.name)
  const cpuMilliseconds = quartiles(counted.map((figure) => figure.cpuMilliseconds))
  const executed = quartiles(counted.map((figure) => figure.executed))
  return {
    facts: new Map([['recovery ms', milliseconds.median]]),
    tables: [
      {
        bench: 'recovery',
        title:
          `Three replicas; the coordinator of ${whole(inFlight)} commands is gone after PreAccept. Until both others ` +
          `have executed all that was left, default timeouts. ${rounds} rounds.`,
        columns: ['in flight', 'ms (quartiles)', 'CPU ms of both (quartiles)', 'executed of them'],
        rows: [
          [
            whole(inFlight),
            withQuartiles(milliseconds, whole),
            withQuartiles(cpuMilliseconds, whole),
            whole(executed.median),
          ],
        ],
        data: {
          rounds,
          inFlight,
          milliseconds: roundedQuartiles(milliseconds),
          cpuMilliseconds: roundedQuartiles(cpuMilliseconds),
          executed: executed.median,
        },
      },
      calibrationTable(measured),
    ],
  }
}
