import { expect, test } from 'vitest'
import { createRandom } from '../lib/random.ts'
import { sortInSlices } from './sort-in-slices.ts'

interface Item {
  readonly key: number
  readonly place: number
}

function byKey(a: Item, b: Item): number {
  return a.key - b.key
}

/** The most that was moved between two yields, and how often it yielded. */
function sortWhole(items: Item[]): { readonly most: number; readonly yields: number } {
  let most = 0
  let yields = 0
  for (const moved of sortInSlices(items, byKey)) {
    most = Math.max(most, moved)
    yields++
  }
  return { most, yields }
}

test.each([0, 1, 2, 255, 256, 257, 511, 512, 513, 1_000, 5_000])(
  '%i items end in the order of a stable sort',
  (length) => {
    const random = createRandom(length + 1)
    for (const keys of [3, 1_000_000]) {
      const items = Array.from({ length }, (_, place) => ({ key: random.integer(keys), place }))
      const expected = items.slice().sort(byKey)
      sortWhole(items)
      expect(items).toEqual(expected)
    }
  },
)

test('a long list is sorted in many small slices, a short one in one', () => {
  const items = Array.from({ length: 10_000 }, (_, place) => ({ key: -place, place }))
  const { most, yields } = sortWhole(items)
  expect(most).toBeLessThanOrEqual(256)
  expect(yields).toBeGreaterThan(100)
  expect(sortWhole(items.slice(0, 200)).yields).toBe(0)
})
