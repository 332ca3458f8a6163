import { expect, it } from 'vitest'
import { TokenBucket } from './token-bucket.ts'

it('lets a burst through, then the steady rate, and never more than one burst after a long silence', () => {
  const bucket = new TokenBucket(20, 60, 0)
  const taken = (count: number, nowMs: number) =>
    Array.from({ length: count }, () => bucket.take(nowMs)).filter(Boolean)
  expect(taken(100, 0)).toHaveLength(60)
  expect(taken(100, 49)).toHaveLength(0)
  expect(taken(100, 1_000)).toHaveLength(20)
  expect(taken(100, 1_000_000)).toHaveLength(60)
})
