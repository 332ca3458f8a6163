import type { Entry } from '@wepaxos/core'
import { expect, test } from 'vitest'
import { mergeViews, selectRows } from './rows.ts'

const entry = (key: string, version = 1): Entry => ({ key, value: `${key}${version}`, version })
const textOf = (row: { value: unknown }): string => String(row.value)

test('a key is pending while what this page expects differs from what is agreed on', () => {
  const rows = mergeViews([entry('a'), entry('b', 2), entry('new')], [entry('a'), entry('b'), entry('gone')])
  expect(rows.map(({ key, state }) => [key, state])).toEqual([
    ['a', 'agreed'],
    ['b', 'writing'],
    ['gone', 'deleting'],
    ['new', 'writing'],
  ])
  expect(rows[1]?.value).toBe('b2')
})

test('the filter looks at keys and values, without regard to case', () => {
  const rows = mergeViews([entry('Apple'), entry('pear')], [])
  expect(selectRows(rows, ' APP', textOf, 10, new Set()).rows.map((row) => row.key)).toEqual(['Apple'])
  expect(selectRows(rows, 'pear1', textOf, 10, new Set()).matching).toBe(1)
})

test('a key that is being edited stays, although it was deleted, does not match or is beyond the limit', () => {
  const rows = mergeViews([entry('a'), entry('b'), entry('c')], [])
  const shown = selectRows(rows, '', textOf, 1, new Set(['c', 'gone']))
  expect(shown.rows.map((row) => row.key)).toEqual(['a', 'c', 'gone'])
  expect(shown.rows[2]).toMatchObject({ value: undefined, version: 0 })
  expect(shown.matching).toBe(3)
  expect(selectRows(rows, 'b', textOf, 9, new Set(['a'])).rows.map((row) => row.key)).toEqual(['a', 'b'])
})
