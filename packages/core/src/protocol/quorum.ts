// Quorum sizes, computed from the number of voters and never supplied (docs/protocol.md, section 1).
import { assert } from '../lib/assert.ts'

export const votersMax = 9

export interface Quorums {
  /** Voters. */
  readonly n: number
  /** Failures that the epoch outlives. */
  readonly f: number
  /** Failures with which the fast path still works. */
  readonly e: number
  /** n - f */
  readonly slow: number
  /** n - e */
  readonly fast: number
}

/** The largest f and e with n ≥ max(2e + f - 1, 2f + 1). */
export function quorumsOf(n: number): Quorums {
  assert(Number.isInteger(n) && n >= 1 && n <= votersMax, `an epoch has 1 to ${votersMax} voters, not ${n}`)
  const f = Math.floor((n - 1) / 2)
  const e = Math.min(f, Math.floor((n - f + 1) / 2))
  return { n, f, e, slow: n - f, fast: n - e }
}
