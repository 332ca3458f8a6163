// Seeded dice, for jitter, tests and the simulator: one seed, one history, on every platform. Not for secrets and not for
// ids: those come from crypto.getRandomValues.
import { assert } from './assert.ts'

export interface Random {
  /** A number in [0, 1) with 32 random bits. */
  next(): number
  /** A whole number in 0 … below − 1; `below` is 1 … 2^32. */
  integer(below: number): number
  /** True with probability `p`. Takes one draw whatever `p` is, so that changing `p` does not shift the rest. */
  chance(p: number): boolean
  /** One element; the array is not empty. */
  pick<T>(array: readonly T[]): T
  /** A new array with the same elements in random order. */
  shuffle<T>(array: readonly T[]): T[]
  /** A source of its own, so that drawing more in one place does not change what another draws. */
  fork(): Random
}

/** The same finite seed gives the same draws for ever. */
export function createRandom(seed: number): Random {
  assert(Number.isFinite(seed), `a seed is a finite number, not ${seed}`)
  const bits = new DataView(new ArrayBuffer(8))
  bits.setFloat64(0, seed === 0 ? 0 : seed)
  return sfc32(bits.getUint32(0), bits.getUint32(4), 0x9e3779b9)
}

/** sfc32, the small fast counting generator of PractRand by Chris Doty-Humphrey, with 12 rounds to mix the seed. */
function sfc32(seed1: number, seed2: number, seed3: number): Random {
  let a = seed1 | 0
  let b = seed2 | 0
  let c = seed3 | 0
  let counter = 1

  function draw(): number {
    const sum = (((a + b) | 0) + counter) | 0
    counter = (counter + 1) | 0
    a = b ^ (b >>> 9)
    b = (c + (c << 3)) | 0
    c = (c << 21) | (c >>> 11)
    c = (c + sum) | 0
    return sum >>> 0
  }
  for (let round = 0; round < 12; round++) draw()

  function integer(below: number): number {
    assert(Number.isInteger(below) && below >= 1 && below <= 2 ** 32, `below is 1 … 2^32, not ${below}`)
    // Draws in the last, incomplete stretch of `below` numbers would favour the small ones: draw again.
    const limit = 2 ** 32 - (2 ** 32 % below)
    for (;;) {
      const value = draw()
      if (value < limit) return value % below
    }
  }

  return {
    next: () => draw() / 2 ** 32,
    integer,
    chance: (p) => draw() / 2 ** 32 < p,
    pick: <T>(array: readonly T[]): T => {
      assert(array.length > 0, 'there is something to pick from')
      return array[integer(array.length)] as T
    },
    shuffle: <T>(array: readonly T[]): T[] => {
      const result = [...array]
      for (let last = result.length - 1; last > 0; last--) {
        const other = integer(last + 1)
        const moved = result[last] as T
        result[last] = result[other] as T
        result[other] = moved
      }
      return result
    },
    fork: () => sfc32(draw(), draw(), draw()),
  }
}
