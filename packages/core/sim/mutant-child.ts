// One hunt in a process of its own, whose modules mutants.ts chose: tells as one JSON line what was found.
import { parseArgs } from 'node:util'
import { hunt } from './hunt.ts'

const { values, positionals } = parseArgs({
  options: {
    seed: { type: 'string', default: '1' },
    walks: { type: 'string', default: '300000' },
    seconds: { type: 'string', default: '60' },
  },
  allowPositionals: true,
})
console.log(
  JSON.stringify(
    hunt({
      firstSeed: Number(values.seed),
      explore: positionals,
      walksMax: Number(values.walks),
      seconds: Number(values.seconds),
    }),
  ),
)
