// Small rounds of what `npm run soak -- rollback` does a thousand times.
import { expect, it } from 'vitest'
import { rollbackRound } from './rollback.ts'

it('[DU6] [DU7] [DU8] a disk that is older, damaged or empty is noticed before its replica says anything in an epoch', async () => {
  const ways = new Set<string>()
  for (let seed = 1; seed <= 40; seed++) ways.add((await rollbackRound(seed)).way)
  expect(ways.size).toBeGreaterThan(6)
  expect(ways).toContain('an older copy, opened alone first')
  expect(ways).toContain('as it was left, opened alone first')
})
