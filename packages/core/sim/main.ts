// `npm run sim -- --seed N --seeds N --steps N --replicas N`: fresh seeds (or the given ones), one after the other. Ends with
// one JSON line of figures; exits non-zero at the first violation, whose message names the seed.
import { parseArgs } from 'node:util'
import { simulate } from './simulate.ts'

const { values } = parseArgs({
  options: {
    seed: { type: 'string' },
    seeds: { type: 'string', default: '20' },
    steps: { type: 'string', default: '400' },
    replicas: { type: 'string', default: '3' },
  },
})

function whole(name: string, text: string): number {
  const value = Number(text)
  if (!Number.isSafeInteger(value) || value < 0) {
    console.error(`--${name}: a whole number from 0 on, not ${text}`)
    process.exit(2)
  }
  return value
}

const seed = values.seed === undefined ? Math.floor(Math.random() * 1e9) : whole('seed', values.seed)
const seeds = whole('seeds', values.seeds)
const steps = whole('steps', values.steps)
const replicas = whole('replicas', values.replicas)
if (replicas < 1 || replicas > 9) {
  console.error(`--replicas: 1 to 9, not ${replicas}`)
  process.exit(2)
}

const totals: Record<string, number> = {}
let failures = 0
const startedAt = performance.now()
for (let index = 0; index < seeds; index++) {
  try {
    const report = await simulate({ seed: seed + index, steps, replicas })
    for (const [name, value] of Object.entries(report)) {
      if (name !== 'seed') totals[name] = (totals[name] ?? 0) + value
    }
  } catch (error) {
    failures++
    console.error(error)
    break
  }
}
const seconds = Math.round((performance.now() - startedAt) / 100) / 10
console.log(
  JSON.stringify({ check: 'sim', rounds: seeds, failures, firstSeed: seed, steps, replicas, seconds, ...totals }),
)
process.exitCode = failures === 0 ? 0 : 1
