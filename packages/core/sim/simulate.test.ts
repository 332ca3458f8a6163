// Fixed seeds of the simulator in the ordinary run; fresh ones are `npm run sim`.
import { describe, expect, it } from 'vitest'
import { Violation } from './agreement.ts'
import { readHistory, writeHistory } from './history.ts'
import { entryOf, judgeHistory } from './linearizability.ts'
import { addFigures, noFigures } from './report.ts'
import { commandOf, shrink } from './shrink.ts'
import { SimulationFailure, type SimulationOptions, simulate } from './simulate.ts'
import { soakCodec } from './soak-codec.ts'
import { measureThroughput } from './throughput.ts'

const seed = 7_003

describe('simulated clusters', () => {
  it.each([
    { replicas: 1, seeds: [7_000, 7_001] },
    { replicas: 3, seeds: Array.from({ length: 14 }, (_, index) => 7_008 + index) },
    { replicas: 5, seeds: Array.from({ length: 7 }, (_, index) => 7_009 + index) },
    { replicas: 7, seeds: [7_003, 7_005, 7_006, 7_007] },
  ])(
    '$replicas replicas keep their promises through fixed seeds',
    { timeout: 300_000 },
    async ({ replicas, seeds }) => {
      const total = noFigures()
      for (const one of seeds) {
        const { figures } = await simulate({ seed: one, steps: 400, replicas })
        addFigures(total, figures)
      }
      // a run in which nothing happened would prove nothing
      expect(total.crashes).toBeGreaterThan(0)
      expect(total.boundaryCrashes).toBeGreaterThan(0)
      expect(total.commandsAnswered).toBeGreaterThan(100)
      expect(total.reads).toBeGreaterThan(50)
      expect(total.fastPath).toBeGreaterThan(0)
      if (replicas > 1) {
        expect(total.slowPath).toBeGreaterThan(0)
        expect(total.recoveredToNop).toBeGreaterThan(0)
        expect(total.epochs).toBeGreaterThan(seeds.length)
        expect(total.checkpointTransfers).toBeGreaterThan(0)
        expect(total.cuts + total.splits).toBeGreaterThan(0)
      }
    },
  )

  it('the same seed gives the same run', async () => {
    const options = { seed, steps: 120, replicas: 3 }
    expect(await simulate(options)).toEqual(await simulate(options))
  })

  it('a history is written as lines, and what is read back is judged linearizable by a judge that knows nothing else', async () => {
    const { calls } = await simulate({ seed, steps: 300, replicas: 3, workload: 'many keys' })
    const lines = readHistory(writeHistory(calls))
    expect(lines.length).toBe(calls.length)
    expect(lines.length).toBeGreaterThan(50)
    const verdicts = judgeHistory(lines.filter(({ op }) => op !== 'list').map(entryOf))
    expect(verdicts.size).toBeGreaterThan(10)
    expect(new Set(verdicts.values())).toEqual(new Set(['yes']))
    expect(() => readHistory('{"client":"c"}\n')).toThrow('line 1')
  })
})

describe('a failure', () => {
  it('is shrunk to a few steps that break the same promise, and the command repeats it', {
    timeout: 60_000,
  }, async () => {
    // a judge with a whim: whoever deletes a key breaks its promise
    const alsoJudge: SimulationOptions['alsoJudge'] = (calls) => {
      if (calls.some((call) => call.kind === 'command' && call.command.op === 'delete'))
        throw new Violation('Whim: deleted')
    }
    const options = { seed, steps: 150, replicas: 3, workload: 'hot key' as const, alsoJudge }
    const failure = await simulate(options).then(
      () => null,
      (error: unknown) => error,
    )
    if (!(failure instanceof SimulationFailure)) throw new Error('the run was to fail')
    expect(failure.promise).toBe('Whim')
    const short = await shrink(failure)
    expect(short.promise).toBe('Whim')
    expect(short.trace.length).toBe(1)
    expect(short.trace[0]?.what).toContain('delete')
    expect(commandOf(short.options)).toContain(`--seed ${seed} `)
    await expect(simulate(short.options)).rejects.toThrow('Whim')
  })
})

describe('throughput', () => {
  it.each([3, 5, 7])(
    'of %i replicas, with one gone the others get done what they did before',
    { timeout: 60_000 },
    async (replicas) => {
      const { before, after, othersBefore } = await measureThroughput(replicas, 1, 'even')
      expect(before).toBeGreaterThan(1_000)
      // a hundredth: what was under way in the moment in which the counting begins and ends
      expect(after / before).toBeGreaterThan(((replicas - 1) / replicas) * 0.99)
      expect(after / othersBefore).toBeGreaterThan(0.99)
    },
  )
})

describe('decoders', () => {
  it('refuse random and mutated bytes with DecodeError alone', () => {
    const { refused } = soakCodec(2_000, 42)
    expect(refused).toBeGreaterThan(10_000)
  })
})
