import { describe, expect, it } from 'vitest'
import { explore } from './explore.ts'
import { scenarios } from './explore-scenarios.ts'
import { accessing } from './protocol-cluster.ts'
import { walk } from './walk.ts'

function named(name: string) {
  const scenario = scenarios.find((one) => one.name === name)
  if (scenario === undefined) throw new Error(`there is a scenario ${name}`)
  return scenario
}

describe('exhaustive exploration', () => {
  it('finds nothing wrong in any interleaving of one command and one recovery', { timeout: 60_000 }, () => {
    const result = explore(named('one-command'))
    expect(result.violation).toBeNull()
    expect(result.complete).toBe(true)
    expect(result.states).toBeGreaterThan(1_000)
    expect(result.finishes).toBeGreaterThan(100)
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
    const { seconds: _, ...first } = explore(named('one-command'), { finishes: 1 })
    const { seconds: __, ...second } = explore(named('one-command'), { finishes: 1 })
    expect(second).toEqual(first)
  })
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
