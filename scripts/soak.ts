// `npm run soak -- NAME [--rounds N]`: the long checks, each by its name. Each ends with one JSON line of its figures
// (`{"check": …, "rounds": …, "failures": 0, …}`) and exits non-zero when it failed.
import { parseArgs } from 'node:util'
import { addFigures, noFigures } from '../packages/core/sim/report.ts'
import { simulate } from '../packages/core/sim/simulate.ts'
import { soakCodec } from '../packages/core/sim/soak-codec.ts'

interface Check {
  readonly says: string
  readonly roundsDefault: number
  /** Throws at the first failure; returns figures. */
  run(rounds: number): Promise<Readonly<Record<string, number>>>
}

const checks: Readonly<Record<string, Check>> = {
  sim: {
    says: 'simulated clusters of 3, 5 and 7 replicas, one fresh seed a round',
    roundsDefault: 500,
    async run(rounds) {
      const first = Math.floor(Math.random() * 1e9)
      const totals = noFigures()
      for (let round = 0; round < rounds; round++) {
        const replicas = [3, 5, 7][round % 3] ?? 3
        const { figures } = await simulate({ seed: first + round, steps: 400, replicas })
        addFigures(totals, figures)
      }
      return { firstSeed: first, ...totals }
    },
  },
  fuzz: {
    says: 'random and mutated frames and records for each decoder of the core: refused, never thrown through',
    roundsDefault: 200_000,
    run: (rounds) => Promise.resolve(soakCodec(rounds, Math.floor(Math.random() * 1e9))),
  },
}

const { values, positionals } = parseArgs({ allowPositionals: true, options: { rounds: { type: 'string' } } })
const [name] = positionals
const check = name !== undefined && Object.hasOwn(checks, name) ? checks[name] : undefined
if (check === undefined) {
  console.error('npm run soak -- NAME [--rounds N]')
  for (const [known, { says, roundsDefault }] of Object.entries(checks)) {
    console.error(`  ${known.padEnd(8)} ${says} (${roundsDefault} rounds)`)
  }
  process.exit(2)
}
const rounds = values.rounds === undefined ? check.roundsDefault : Number(values.rounds)
if (!Number.isSafeInteger(rounds) || rounds < 1) {
  console.error(`--rounds: a whole number from 1 on, not ${values.rounds}`)
  process.exit(2)
}

const startedAt = performance.now()
let failures = 0
let figures: Readonly<Record<string, number>> = {}
try {
  figures = await check.run(rounds)
} catch (error) {
  failures = 1
  console.error(error)
}
const seconds = Math.round((performance.now() - startedAt) / 100) / 10
console.log(JSON.stringify({ check: name, rounds, failures, seconds, ...figures }))
process.exitCode = failures === 0 ? 0 : 1
