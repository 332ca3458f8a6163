// The speeds to reach, and what was measured of each in the same run. Whoever changes a number here changes what is promised.
import { type Report, type Table, twoPlaces, whole } from './report.ts'

interface Target {
  readonly what: string
  /** At least this, or at most this. */
  readonly atLeast?: number
  readonly atMost?: number
  readonly measured: (facts: Facts) => number
}

type Facts = (name: string) => number

/** How many times the CPU time of a base command one of this load takes. */
const costOf = (load: string) => (facts: Facts) => 1 / facts(`${load}: core / base: core`)

const targets: readonly Target[] = [
  { what: 'core, of the bound loop', atLeast: 0.65, measured: (facts) => 1 / facts('base: bound / base: core') },
  {
    what: 'core, of Yjs with one set a transaction',
    atLeast: 8,
    measured: (facts) => 1 / facts('base: yjs / base: core'),
  },
  { what: 'batches of 100, of unbatched', atLeast: 2, measured: (facts) => facts('batches of 100: core / unbatched') },
  { what: 'cost at 25 % conflicts, of none', atMost: 1.2, measured: costOf('25 % conflicts') },
  { what: 'cost at 100 % conflicts, of none', atMost: 1.6, measured: costOf('100 % conflicts') },
  { what: 'speed after a long history, of a short one', atLeast: 0.97, measured: (facts) => facts('long / young') },
  { what: 'heap after a long history, of a short one', atMost: 1.1, measured: (facts) => facts('heap / first heap') },
  { what: 'speed with many keys, of few', atLeast: 0.5, measured: (facts) => facts('large / young') },
  { what: 'CPU per command, 5 replicas of 3', atMost: 2.3, measured: costOf('5 replicas') },
  { what: 'CPU per command, 7 replicas of 3', atMost: 3.6, measured: costOf('7 replicas') },
  { what: 'executor, ns per edge', atMost: 1_000, measured: (facts) => facts('worst graph: ns per edge') },
  { what: 'executor, longest slice in ms', atMost: 4, measured: (facts) => facts('worst graph: longest slice ms') },
  {
    what: 'the same without garbage collection',
    atMost: 4,
    measured: (facts) => facts('worst graph: longest own ms'),
  },
  { what: 'bytes per 48-byte command and peer', atMost: 75, measured: (facts) => facts('base: core bytes') },
]

/** Throws where a figure is missing: a target that was not measured is not reached. */
export function targetsTable(reports: readonly Report[]): Table {
  const facts: Facts = (name) => {
    for (const report of reports) {
      const figure = report.facts.get(name)
      if (figure !== undefined) return figure
    }
    throw new Error(`nothing was measured under the name ${name}`)
  }
  const compared = targets.map(({ what, atLeast, atMost, measured }) => {
    const figure = measured(facts)
    const reached = (atLeast === undefined || figure >= atLeast) && (atMost === undefined || figure <= atMost)
    return { what, asked: atLeast === undefined ? `≤ ${atMost}` : `≥ ${atLeast}`, measured: figure, reached }
  })
  return {
    bench: 'targets',
    title:
      'The speeds to reach: 3 replicas, 32 in flight, no conflicts where nothing else is said; a long history is ' +
      `${whole(facts('history'))} commands, many keys are ${whole(facts('keys'))}.`,
    columns: ['what', 'asked', 'measured', 'reached'],
    rows: compared.map((one) => [one.what, one.asked, twoPlaces(one.measured), one.reached ? 'yes' : '**no**']),
    data: { rows: compared },
  }
}
