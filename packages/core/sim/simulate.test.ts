// Fixed seeds of the simulator in the ordinary run; fresh ones are `npm run sim`.
import { describe, expect, it } from 'vitest'
import { simulate } from './simulate.ts'
import { soakCodec } from './soak-codec.ts'

describe('simulated clusters', () => {
  it.each([
    { replicas: 1, seeds: 2 },
    { replicas: 3, seeds: 60 },
    { replicas: 5, seeds: 25 },
    { replicas: 7, seeds: 12 },
  ])(
    '$replicas replicas keep their promises through $seeds fixed seeds',
    { timeout: 300_000 },
    async ({ replicas, seeds }) => {
      const total = { crashes: 0, fastPath: 0, slowPath: 0, recoveries: 0, epochs: 0, answered: 0 }
      for (let seed = 0; seed < seeds; seed++) {
        const report = await simulate({ seed: 7_000 + seed, steps: 250, replicas })
        for (const name of Object.keys(total) as (keyof typeof total)[]) total[name] += report[name]
      }
      // a run in which nothing happened would prove nothing
      expect(total.crashes).toBeGreaterThan(0)
      expect(total.answered).toBeGreaterThan(100)
      expect(total.fastPath).toBeGreaterThan(0)
      if (replicas > 1) {
        expect(total.slowPath).toBeGreaterThan(0)
        expect(total.recoveries).toBeGreaterThan(0)
        expect(total.epochs).toBeGreaterThan(seeds)
      }
    },
  )

  it('the same seed gives the same run', async () => {
    const options = { seed: 7_003, steps: 120, replicas: 3 }
    expect(await simulate(options)).toEqual(await simulate(options))
  })
})

describe('decoders', () => {
  it('refuse random and mutated bytes with DecodeError alone', () => {
    const { refused } = soakCodec(2_000, 42)
    expect(refused).toBeGreaterThan(10_000)
  })
})
