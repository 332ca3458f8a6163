import { describe, expect, test } from 'vitest'
import { AssertionError } from './assert.ts'
import { createRandom, type Random } from './random.ts'

function draws(random: Random, count = 8): number[] {
  return Array.from({ length: count }, () => random.next())
}

describe('createRandom', () => {
  test('one seed gives one history, written down here so that old seeds of failed runs keep their meaning', () => {
    const random = createRandom(42)
    expect([random.integer(1000), random.integer(1000), random.integer(1000), random.integer(1000)]).toEqual([
      881, 851, 570, 175,
    ])
    expect(draws(createRandom(7))).toEqual(draws(createRandom(7)))
  })

  test('near seeds give histories that have nothing in common', () => {
    const seen = new Set<number>()
    for (let seed = -50; seed < 50; seed++) for (const value of draws(createRandom(seed))) seen.add(value)
    for (const seed of [0.5, 1e15, 1e15 + 1]) for (const value of draws(createRandom(seed))) seen.add(value)
    // 824 draws of 32 bits: a collision or two by chance would not be a fault, more would.
    expect(seen.size).toBeGreaterThanOrEqual(822)
  })

  test('0 and -0 are one seed', () => {
    expect(draws(createRandom(-0))).toEqual(draws(createRandom(0)))
  })

  test('next() is in [0, 1) and evenly spread', () => {
    const random = createRandom(1)
    const buckets = new Array<number>(10).fill(0)
    for (let round = 0; round < 10_000; round++) {
      const value = random.next()
      expect(value >= 0 && value < 1).toBe(true)
      const bucket = Math.floor(value * 10)
      buckets[bucket] = (buckets[bucket] ?? 0) + 1
    }
    for (const count of buckets) expect(Math.abs(count - 1000)).toBeLessThan(150)
  })

  test('integer() reaches each number and no other', () => {
    const random = createRandom(2)
    const seen = new Set(Array.from({ length: 200 }, () => random.integer(5)))
    expect([...seen].sort()).toEqual([0, 1, 2, 3, 4])
    expect(random.integer(1)).toBe(0)
    for (let round = 0; round < 100; round++) expect(random.integer(2 ** 32)).toBeLessThan(2 ** 32)
  })

  test('chance() never happens at 0, always at 1, and takes one draw in any case', () => {
    const random = createRandom(3)
    const twin = createRandom(3)
    for (let round = 0; round < 100; round++) {
      expect(random.chance(0)).toBe(false)
      expect(random.chance(1)).toBe(true)
      twin.next()
      twin.next()
    }
    expect(random.next()).toBe(twin.next())
  })

  test('shuffle() keeps the elements, leaves the array alone, and reaches every order', () => {
    const random = createRandom(4)
    const array = Object.freeze([1, 2, 3])
    const orders = new Set<string>()
    for (let round = 0; round < 200; round++) orders.add(random.shuffle(array).join(''))
    expect([...orders].sort()).toEqual(['123', '132', '213', '231', '312', '321'])
    expect(array).toEqual([1, 2, 3])
  })

  test('a fork draws by itself: what it draws does not change the parent', () => {
    const parent = createRandom(5)
    const fork = parent.fork()
    const twin = createRandom(5)
    const twinFork = twin.fork()
    draws(fork, 100)
    expect(draws(parent)).toEqual(draws(twin))
    expect(draws(twinFork)).not.toEqual(draws(createRandom(5)))
  })

  test('picks from what is there, and refuses an empty array and senseless bounds', () => {
    const random = createRandom(6)
    expect(random.pick(['only'])).toBe('only')
    expect(() => random.pick([])).toThrow(AssertionError)
    for (const below of [0, -1, 0.5, 2 ** 33, Number.NaN]) expect(() => random.integer(below)).toThrow(AssertionError)
    expect(() => createRandom(Number.NaN)).toThrow(AssertionError)
  })
})
