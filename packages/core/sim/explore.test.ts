import { describe, expect, it } from 'vitest'
import { formatInstanceId } from '../src/protocol/ids.ts'
import { explore, patientTimeouts, type Scenario } from './explore.ts'
import { preparedScenarios } from './explore-prepared.ts'
import { scenarios } from './explore-scenarios.ts'
import { accessing, ProtocolCluster } from './protocol-cluster.ts'
import { walk } from './walk.ts'

function namedIn(list: readonly Scenario[], name: string): Scenario {
  const scenario = list.find((one) => one.name === name)
  if (scenario === undefined) throw new Error(`there is a scenario ${name}`)
  return scenario
}

function named(name: string): Scenario {
  return namedIn(scenarios, name)
}

describe('exhaustive exploration', () => {
  it('finds nothing wrong in any interleaving of one command and one recovery', { timeout: 60_000 }, () => {
    const result = explore(named('one-command'))
    expect(result.violation).toBeNull()
    expect(result.complete).toBe(true)
    expect(result.states).toBeGreaterThan(1_000)
    expect(result.finishes).toBeGreaterThan(100)
  })

  it('finds an end for a command whose recoverer took the promises and died', { timeout: 60_000 }, () => {
    const result = explore(named('recoverer-crash'))
    expect(result.violation).toBeNull()
    expect(result.complete).toBe(true)
  })

  it('says so when it was stopped before the end', () => {
    expect(explore(named('one-command'), { statesMax: 100, finishes: 1 }).complete).toBe(false)
  })

  it('explores nothing but the proposal where no message is ever sent', () => {
    const result = explore({
      name: 'deaf',
      n: 3,
      commands: [{ row: 0, command: accessing(1, 'write', 1) }],
      lost: () => true,
      fastPathTimeouts: false,
    })
    expect(result).toMatchObject({ states: 2, depth: 1, complete: true, violation: null })
  })

  it('gives the same figures again', () => {
    const { seconds: _, ...first } = explore(named('one-command'), { statesMax: 500, finishes: 1 })
    const { seconds: __, ...second } = explore(named('one-command'), { statesMax: 500, finishes: 1 })
    expect(second).toEqual(first)
  })
})

describe('what is left out of an exploration', () => {
  const write = accessing(1, 'write', 1)
  const oneOf: (n: number) => Scenario = (n) => ({ name: `${n}`, n, commands: [{ row: 0, command: write }] })
  const tiny: readonly Scenario[] = [
    { ...oneOf(3), name: 'one command' },
    { ...oneOf(2), name: 'one command of two voters, and its recovery', recoveries: 1, recoverers: [1] },
    {
      ...oneOf(3),
      name: 'a recovery without the coordinator',
      recoveries: 1,
      recoverers: [1],
      lost: (_, to) => to === 0,
    },
    {
      ...oneOf(2),
      name: 'two commands of two voters',
      commands: [
        { row: 0, command: write },
        { row: 1, command: accessing(2, 'write', 1) },
      ],
    },
  ]

  it.each(tiny.map((scenario) => [scenario.name, scenario] as const))(
    'leaves out no state of the replicas: %s',
    (_, scenario) => {
      const less = explore(scenario, { finishes: 1 })
      const all = explore(scenario, { finishes: 1, leaveOutSpent: false })
      expect([less.complete, all.complete]).toEqual([true, true])
      expect(less.states).toBeLessThan(all.states)
      expect(less.situations).toBe(all.situations)
    },
  )
})

describe('prepared beginnings', () => {
  it.each([
    ['two-accepted-values', ['0 0.1 accepted 34 nop', '1 0.1 accepted 17 application', '2 0.1 committed 34 nop']],
    [
      'validated-by-two',
      ['1 1.1 preaccepted 0 application', '2 0.1 preaccepted 0 application', '3 0.1 none', '4 0.1 none'],
    ],
    ['two-coordinators-gone', ['2 0.1 preaccepted 0 application', '3 1.1 preaccepted 0 application']],
    ['forgotten-proposal', ['1 0.1 preaccepted 0 application']],
    ['four-of-seven', [0, 1, 2, 3].map((row) => `${row} 0.1 preaccepted 0 application`)],
  ])('%s is what it says', (name, known) => {
    const { n, disk = 'instant', prefix } = namedIn(preparedScenarios, name)
    const cluster = new ProtocolCluster({ n, disk, timeouts: patientTimeouts, cloneable: true })
    prefix?.(cluster)
    const found: string[] = []
    for (const { row, state } of cluster.hosts) {
      for (const instance of state?.log.all() ?? []) {
        const value = instance.phase === 'none' ? '' : ` ${instance.acceptedBallot} ${instance.command.kind}`
        found.push(`${row} ${formatInstanceId(instance.id)} ${instance.phase}${value}`)
      }
    }
    expect(found).toEqual(known)
  })

  it.each(['two-accepted-values', 'validated-by-two', 'forgotten-proposal', 'four-of-seven'])(
    'nothing goes wrong after %s',
    { timeout: 60_000 },
    (name) => {
      const { complete, violation } = explore(namedIn(preparedScenarios, name), { finishes: 20 })
      expect({ complete, violation }).toEqual({ complete: true, violation: null })
    },
  )
})

describe('random walks', () => {
  it.each([3, 5, 7])('keep all promises with %i replicas through 200 fixed seeds', { timeout: 60_000 }, (n) => {
    const total = { committed: 0, nops: 0, fast: 0, slow: 0, recovered: 0, crashes: 0, restarts: 0 }
    for (let seed = 1; seed <= 200; seed++) {
      const report = walk({ seed, n })
      for (const name of Object.keys(total) as (keyof typeof total)[]) total[name] += report[name]
    }
    // walks in which nothing happens prove nothing
    for (const count of Object.values(total)) expect(count).toBeGreaterThan(20)
  })

  it('are the same for the same seed', () => {
    expect(walk({ seed: 7, n: 5 })).toEqual(walk({ seed: 7, n: 5 }))
  })
})
