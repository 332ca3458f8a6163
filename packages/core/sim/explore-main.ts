// `npm run explore [-- NAME …] [--states-max N]`: explores the scenarios of explore-scenarios.ts (or those named) to their
// ends, prints a table and one JSON line, and exits non-zero at a violation, whose shortest way there it tells.
import { parseArgs } from 'node:util'
import { explore } from './explore.ts'
import { preparedScenarios } from './explore-prepared.ts'
import { scenarios as wholeScenarios } from './explore-scenarios.ts'

const scenarios = [...wholeScenarios, ...preparedScenarios]
const { values, positionals } = parseArgs({
  options: { 'states-max': { type: 'string', default: '300000' } },
  allowPositionals: true,
})
const statesMax = Number(values['states-max'])
if (!Number.isSafeInteger(statesMax) || statesMax < 1) {
  console.error(`--states-max: a whole number from 1 on, not ${values['states-max']}`)
  process.exit(2)
}
const unknown = positionals.filter((name) => !scenarios.some((scenario) => scenario.name === name))
if (unknown.length > 0) {
  console.error(`no scenario ${unknown.join(', ')}: ${scenarios.map(({ name }) => name).join(', ')}`)
  process.exit(2)
}

const wanted = scenarios.filter(({ name }) => positionals.length === 0 || positionals.includes(name))
const columns = ['states', 'steps', 'of a replica', 'depth', 'fair ends', 'seconds']
const width = Math.max(...wanted.map(({ name }) => name.length))
console.log(`${'scenario'.padEnd(width)} ${columns.map((column) => column.padStart(14)).join('')}  complete`)
const results = []
for (const scenario of wanted) {
  const result = explore(scenario, { statesMax })
  results.push(result)
  const { states, transitions, replicaStates, depth, wholeDepth, finishes, seconds, complete, violation } = result
  const figures = [states, transitions, replicaStates, depth, finishes, seconds].map((one) => String(one).padStart(14))
  console.log(
    `${scenario.name.padEnd(width)} ${figures.join('')}  ${complete ? 'yes' : `no: all within ${wholeDepth} actions`}`,
  )
  if (violation !== null) {
    console.log(`\n${scenario.name}: ${violation.reason}`)
    for (const [index, line] of violation.trace.entries()) console.log(`  ${String(index + 1).padStart(3)}. ${line}`)
    console.log('')
  }
}
const violations = results.filter(({ violation }) => violation !== null).length
console.log(
  JSON.stringify({
    check: 'explore',
    violations,
    states: results.reduce((sum, { states }) => sum + states, 0),
    seconds: Math.round(results.reduce((sum, { seconds }) => sum + seconds, 0) * 10) / 10,
    scenarios: results.map(({ violation, ...figures }) => ({ ...figures, violation: violation?.reason ?? null })),
  }),
)
process.exitCode = violations === 0 ? 0 : 1
