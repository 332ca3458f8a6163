// `npm run mutants [-- NAME …] [--seed N] [--seconds N]`: breaks each rule of mutations.ts in turn and looks whether the
// explorer or the walks see it. Prints a table and one JSON line; exits non-zero when one was not found.
import { parseArgs } from 'node:util'
import { huntMutant } from './mutants.ts'
import { mutations } from './mutations.ts'

const { values, positionals } = parseArgs({
  options: { seed: { type: 'string' }, seconds: { type: 'string', default: '60' } },
  allowPositionals: true,
})
/** How long the code as it is is looked at. */
const controlSeconds = 10
const seed = Number(values.seed ?? Math.floor(Math.random() * 1e9))
const seconds = Number(values.seconds)
if (!Number.isSafeInteger(seed) || seed < 0 || !(seconds > 0)) {
  console.error('--seed: a whole number from 0 on; --seconds: how long each is hunted at most')
  process.exit(2)
}
const unknown = positionals.filter((name) => !mutations.some((mutation) => mutation.name === name))
if (unknown.length > 0) {
  console.error(`no mutation ${unknown.join(', ')}: ${mutations.map(({ name }) => name).join(', ')}`)
  process.exit(2)
}

const wanted = mutations.filter(({ name }) => positionals.length === 0 || positionals.includes(name))
const width = Math.max(...wanted.map(({ name }) => name.length))
console.log(`first seed ${seed}`)
console.log(`${'mutation'.padEnd(width)}  rule    found by                     after       seed  seconds  as`)
const explored = [...new Set(wanted.flatMap(({ explore = [] }) => explore))]
// a tester that cries at the code as it is says nothing about mutants
const control = await huntMutant(null, { seed, seconds: controlSeconds, walks: 1_000_000, explore: explored })
console.log(
  `${'none'.padEnd(width)}          ${(control.found?.by ?? 'nothing').padEnd(24)}  ${String(control.walks).padStart(9)}  ${' '.repeat(9)}  ${String(control.seconds).padStart(7)}  ${control.found?.reason ?? ''}`,
)
const results = []
for (const mutation of wanted) {
  const hunt = await huntMutant(mutation, { seed, seconds, walks: 1_000_000, explore: mutation.explore ?? [] })
  const { found } = hunt
  results.push({ name: mutation.name, rule: mutation.rule, walks: hunt.walks, seconds: hunt.seconds, found })
  const cells = [
    mutation.name.padEnd(width),
    mutation.rule.padEnd(6),
    (found?.by ?? 'NOT FOUND').padEnd(24),
    String(found?.after ?? hunt.walks).padStart(9),
    String(found?.seed ?? '').padStart(9),
    String(hunt.seconds).padStart(7),
    found?.reason.slice(0, 90) ?? '',
  ]
  console.log(cells.join('  '))
}
const missed = results.filter(({ found }) => found === null).map(({ name }) => name)
console.log(JSON.stringify({ check: 'mutants', seed, mutations: results.length, missed, control, results }))
process.exitCode = missed.length === 0 && control.found === null ? 0 : 1
