import fc from 'fast-check'
import { expect, test } from 'vitest'
import { decodePresence, encodePresence, type PresenceState } from './presence-state.ts'

const state: PresenceState = { name: 'Ada', hue: 2, since: 5, editing: 'color', wrote: { key: 'n', version: 3 } }

test('what one page encodes, another reads', () => {
  expect(decodePresence(encodePresence(state))).toEqual(state)
})

test('the encoded state stays under the limit of 4 KiB, however long the keys are', () => {
  const long = '\u0001'.repeat(1024)
  const value = encodePresence({ ...state, editing: long, wrote: { key: long, version: 1 } })
  expect(JSON.stringify(value).length).toBeLessThan(4096)
  const full = '\u0001'.repeat(256)
  const fits = encodePresence({ ...state, editing: full, wrote: { key: full, version: 1 } })
  expect(JSON.stringify(fits).length).toBeLessThan(4096)
  expect(decodePresence(fits)?.editing).toBe(full)
})

test('nonsense from another page never throws, and gives nothing or a state with valid fields', () => {
  fc.assert(
    fc.property(fc.jsonValue(), (value) => {
      const decoded = decodePresence(value as never)
      if (decoded !== undefined) expect(decodePresence(encodePresence(decoded))).toEqual(decoded)
    }),
  )
  expect(decodePresence({ name: 'x', hue: 99 })).toBeUndefined()
  expect(decodePresence({ name: 'x', hue: 1, editing: 7, wrote: 'no' })).toMatchObject({ editing: null, wrote: null })
})
