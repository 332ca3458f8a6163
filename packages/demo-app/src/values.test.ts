import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { formatForDisplay, formatForEdit, formatShort, kindOf, parseValue, sameValue } from './values.ts'

describe('parseValue', () => {
  test.each([
    ['42', 42],
    [' -1.5e3 ', -1500],
    ['-0', 0],
    ['true', true],
    ['null', null],
    ['blue', 'blue'],
    ['  two words ', 'two words'],
    ['"42"', '42'],
    ['""', ''],
    ['007', '007'],
    ['1,5', '1,5'],
    ['True', 'True'],
    ['[1, "a"]', [1, 'a']],
    ['{"a": {"b": null}}', { a: { b: null } }],
  ])('%j becomes the value it looks like', (text, value) => {
    expect(parseValue(text)).toEqual({ ok: true, value })
  })

  test('what begins like JSON and is not is a problem, not a text', () => {
    for (const text of ['{"a": }', '[1, 2', '"open', '{a: 1}']) expect(parseValue(text)).toMatchObject({ ok: false })
  })

  test('a number that a double would change is refused, in place of being stored as another number', () => {
    expect(parseValue('9007199254740993')).toMatchObject({ ok: false, problem: expect.stringContaining('too large') })
    expect(parseValue('1e999')).toMatchObject({ ok: false })
    expect(parseValue('9007199254740991')).toEqual({ ok: true, value: 9007199254740991 })
  })

  test('nothing typed is a problem that says how to type an empty text', () => {
    expect(parseValue('  ')).toMatchObject({ ok: false, problem: expect.stringContaining('""') })
  })
})

describe('formatForEdit', () => {
  test('gives text on one line that parses to the same value', () => {
    const value = fc.jsonValue({ maxDepth: 3 }).filter((json) => {
      // Integers beyond the safe ones can not be typed on purpose, and minus zero is never stored.
      if (!isSameAsJson(json)) return false
      return !JSON.stringify(json).match(/\d{16,}|e\+|-0/)
    })
    fc.assert(
      fc.property(fc.oneof(value, fc.string()), (json) => {
        const text = formatForEdit(json as never)
        expect(text).not.toMatch(/[\r\n]/)
        expect(parseValue(text ?? '')).toEqual({ ok: true, value: json })
      }),
    )
  })

  test('quotes a text that would else be read as something other than text', () => {
    expect(formatForEdit('42')).toBe('"42"')
    expect(formatForEdit(' padded')).toBe('" padded"')
    expect(formatForEdit('two\nlines')).toBe('"two\\nlines"')
    expect(formatForEdit('plain')).toBe('plain')
  })

  test('bytes, at any depth, can not be edited as text', () => {
    expect(formatForEdit(new Uint8Array([1]))).toBeUndefined()
    expect(formatForEdit({ a: [new Uint8Array([1])] })).toBeUndefined()
  })
})

describe('formatForDisplay', () => {
  test('shows JSON, and bytes as their number and first hex digits', () => {
    expect(formatForDisplay({ a: 'x' })).toBe('{"a":"x"}')
    expect(formatForDisplay(new Uint8Array([1, 255]))).toBe('2 bytes: 01ff')
  })

  test('cuts what is very long', () => {
    expect(formatForDisplay('x'.repeat(100_000)).length).toBeLessThan(2_100)
    expect(formatShort('x'.repeat(100))).toHaveLength(60)
  })
})

test('kindOf names the seven kinds', () => {
  const values = ['a', 1, true, null, [], {}, new Uint8Array()]
  expect(values.map(kindOf)).toEqual(['text', 'number', 'boolean', 'null', 'list', 'object', 'bytes'])
})

test('values are the same whatever the order of keys, and a missing one is not null', () => {
  expect(sameValue({ a: 1, b: [{ c: 1, d: 2 }] }, { b: [{ d: 2, c: 1 }], a: 1 })).toBe(true)
  expect(sameValue([1, 2], [2, 1])).toBe(false)
  expect(sameValue(null, undefined)).toBe(false)
  expect(sameValue('1', 1)).toBe(false)
  expect(sameValue(new Uint8Array([1]), new Uint8Array([1]))).toBe(true)
})

/** JSON has no negative zero. */
function isSameAsJson(value: unknown): boolean {
  if (Object.is(value, -0)) return false
  return typeof value !== 'object' || value === null || Object.values(value).every(isSameAsJson)
}
