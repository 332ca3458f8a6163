import { expect, test } from 'vitest'
import { AssertionError } from '../lib/assert.ts'
import { quorumsOf } from './quorum.ts'

test.each([
  { n: 1, f: 0, e: 0, slow: 1, fast: 1 },
  { n: 2, f: 0, e: 0, slow: 2, fast: 2 },
  { n: 3, f: 1, e: 1, slow: 2, fast: 2 },
  { n: 4, f: 1, e: 1, slow: 3, fast: 3 },
  { n: 5, f: 2, e: 2, slow: 3, fast: 3 },
  { n: 6, f: 2, e: 2, slow: 4, fast: 4 },
  { n: 7, f: 3, e: 2, slow: 4, fast: 5 },
  { n: 8, f: 3, e: 3, slow: 5, fast: 5 },
  { n: 9, f: 4, e: 3, slow: 5, fast: 6 },
])('$n voters outlive $f failures, and commit with $fast on the fast path and $slow on the slow one', (row) => {
  expect(quorumsOf(row.n)).toEqual(row)
})

test('e is the largest for which n ≥ max(2e + f - 1, 2f + 1)', () => {
  for (let n = 1; n <= 9; n++) {
    const { f, e } = quorumsOf(n)
    expect(n).toBeGreaterThanOrEqual(Math.max(2 * e + f - 1, 2 * f + 1))
    expect(2 * (f + 1) + 1, `${n} voters could outlive more`).toBeGreaterThan(n)
    expect(e === f || 2 * (e + 1) + f - 1 > n, `${n} voters allow a smaller fast quorum`).toBe(true)
  }
})

test.each([0, 10, 2.5, -1, Number.NaN])('%s voters make no epoch', (n) => {
  expect(() => quorumsOf(n)).toThrow(AssertionError)
})
