import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { DecodeError, Writer } from '../codec/bytes.ts'
import { encodeValue, ValueTooLarge } from '../codec/value.ts'
import { AssertionError } from '../lib/assert.ts'
import { WepaxosError } from '../lib/errors.ts'
import type { Value } from '../lib/value.ts'
import type { Entry } from './machine.ts'
import { type AtomicTransaction, checkKey, Overlay, Store } from './store.ts'

/** Keys that share prefixes and whose code units order otherwise than their code points. */
const key = fc.constantFrom('a', 'a/1', 'a/10', 'a/2', 'a0', 'b', '__proto__', '\u{1f600}', '\ue000', 'a/\uffff')
const prefix = fc.constantFrom('', 'a', 'a/', 'a/1', 'b', 'zz', '\ud83d', '__')
const value = fc.oneof(
  fc.integer(),
  fc.string(),
  fc.constant(null),
  fc.record({ n: fc.nat(), tags: fc.array(fc.nat()) }),
)

type Step =
  | { readonly kind: 'set'; readonly key: string; readonly value: Value }
  | { readonly kind: 'delete'; readonly key: string }
  | { readonly kind: 'list'; readonly prefix: string }

const step: fc.Arbitrary<Step> = fc.oneof(
  { arbitrary: fc.record({ kind: fc.constant('set' as const), key, value }), weight: 4 },
  { arbitrary: fc.record({ kind: fc.constant('delete' as const), key }), weight: 2 },
  { arbitrary: fc.record({ kind: fc.constant('list' as const), prefix }), weight: 1 },
)
const steps = fc.array(step, { maxLength: 60 })

/** What a store should be, in the plainest words. */
class Model {
  readonly entries = new Map<string, { value: Value; version: number }>()

  run(step: Step): void {
    if (step.kind === 'set') {
      this.entries.set(step.key, { value: step.value, version: (this.entries.get(step.key)?.version ?? 0) + 1 })
    } else if (step.kind === 'delete') {
      this.entries.delete(step.key)
    }
  }

  list(prefix: string): Entry[] {
    return [...this.entries]
      .filter(([key]) => key.startsWith(prefix))
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, { value, version }]) => ({ key, value, version }))
  }
}

function run(store: AtomicTransaction, step: Step): void {
  if (step.kind === 'set') store.set(step.key, step.value)
  else if (step.kind === 'delete') store.delete(step.key)
  else store.list(step.prefix)
}

function expectSame(store: AtomicTransaction, model: Model): void {
  expect(store.size).toBe(model.entries.size)
  for (const prefix of ['', 'a/', 'b', '\ud83d']) expect(store.list(prefix)).toEqual(model.list(prefix))
  for (const key of ['a', 'a/1', '__proto__', 'toString', '\ue000']) {
    expect(store.has(key)).toBe(model.entries.has(key))
    expect(store.get(key)).toEqual(model.entries.get(key)?.value)
    expect(store.version(key)).toBe(model.entries.get(key)?.version ?? 0)
  }
}

function storeAfter(steps: readonly Step[]): Store {
  const store = new Store()
  for (const step of steps) run(store, step)
  return store
}

const makers: readonly [string, () => AtomicTransaction, Model][] = [
  ['a store', () => new Store(), new Model()],
  ['an overlay on an empty store', () => new Overlay(new Store()), new Model()],
  ['an overlay on an overlay', () => new Overlay(new Overlay(new Store())), new Model()],
]

describe.each(makers)('%s', (_, make) => {
  test('does what a plain map with versions does, whatever comes', () => {
    fc.assert(
      fc.property(steps, (steps) => {
        const store = make()
        const model = new Model()
        for (const step of steps) {
          run(store, step)
          model.run(step)
          if (step.kind === 'list') expect(store.list(step.prefix)).toEqual(model.list(step.prefix))
        }
        expectSame(store, model)
      }),
      { numRuns: 200 },
    )
  })

  test('after a rollback is what it was before the begin, and after a commit what was written', () => {
    fc.assert(
      fc.property(steps, steps, fc.boolean(), (first, second, keepIt) => {
        const store = make()
        const model = new Model()
        for (const step of first) {
          run(store, step)
          model.run(step)
        }
        store.begin()
        for (const step of second) {
          run(store, step)
          if (keepIt) model.run(step)
        }
        if (keepIt) store.commit()
        else store.rollback()
        expectSame(store, model)
        store.set('a', 'after')
        model.run({ kind: 'set', key: 'a', value: 'after' })
        expectSame(store, model)
      }),
      { numRuns: 200 },
    )
  })

  test('starts a key that was deleted and comes again at version 1', () => {
    const store = make()
    store.set('k', 1)
    store.set('k', 2)
    expect(store.version('k')).toBe(2)
    expect(store.delete('k')).toBe(true)
    expect(store.version('k')).toBe(0)
    expect(store.delete('k')).toBe(false)
    store.set('k', 3)
    expect(store.version('k')).toBe(1)
  })

  test('keeps frozen copies of what it is given', () => {
    const store = make()
    const input = { list: [1] }
    store.set('k', input)
    input.list.push(2)
    expect(store.get('k')).toEqual({ list: [1] })
    expect(Object.isFrozen(store.get('k'))).toBe(true)
    expect(Object.isFrozen((store.get('k') as { list: Value }).list)).toBe(true)
    expect(Object.isFrozen(store.list('')[0])).toBe(true)
    expect(store.get('k')).toBe(store.get('k'))
  })

  test('is not changed by who writes into bytes that it handed out', () => {
    const store = make()
    store.set('k', { blob: new Uint8Array([1]) })
    const holds = (value: unknown): Uint8Array => (value as { blob: Uint8Array }).blob
    holds(store.get('k'))[0] = 9
    holds(store.list('')[0]?.value)[0] = 9
    holds(store.list('')[0]?.value)[0] = 9
    expect(holds(store.get('k'))).toEqual(new Uint8Array([1]))
    expect(holds(store.list('k')[0]?.value)).toEqual(new Uint8Array([1]))
  })

  test('refuses keys and values that are none, and stays as it was', () => {
    const store = make()
    store.set('k', 1)
    for (const bad of ['', '\ud800', 7, null, undefined]) {
      expect(() => store.set(bad as string, 1)).toThrow(WepaxosError)
    }
    expect(() => store.set('é'.repeat(513), 1)).toThrow(ValueTooLarge)
    for (const bad of [undefined, Number.NaN, new Date(0), { f: () => 1 }]) {
      expect(() => store.set('k', bad as unknown as Value)).toThrow(WepaxosError)
    }
    expect(() => store.set('k', 'x'.repeat(1 << 20))).toThrow(ValueTooLarge)
    expect(store.list('')).toEqual([{ key: 'k', value: 1, version: 1 }])
    store.set('é'.repeat(512), 'x'.repeat((1 << 20) - 4))
    expect(store.size).toBe(2)
  })

  test('begins do not nest, and ends need a begin', () => {
    const store = make()
    expect(() => store.commit()).toThrow(AssertionError)
    store.begin()
    expect(() => store.begin()).toThrow(AssertionError)
    store.rollback()
    expect(() => store.rollback()).toThrow(AssertionError)
  })
})

describe('Store', () => {
  test('equal states have equal snapshots, however they came about, and a snapshot restores its state', () => {
    fc.assert(
      fc.property(steps, (steps) => {
        const store = storeAfter(steps)
        const model = new Model()
        for (const step of steps) model.run(step)
        const other = new Store()
        for (const { key, value, version } of model.list('').reverse()) {
          for (let write = 1; write < version; write++) other.set(key, 'earlier')
          other.set(key, value)
        }
        expect(other.snapshot()).toEqual(store.snapshot())
        const restored = Store.restore(store.snapshot())
        expectSame(restored, model)
        expect(restored.snapshot()).toEqual(store.snapshot())
      }),
    )
  })

  test('a snapshot has the bytes that the format says', () => {
    const store = storeAfter([
      { kind: 'set', key: 'b', value: [] },
      { kind: 'set', key: 'a', value: 0 },
      { kind: 'set', key: 'a', value: 1 },
    ])
    expect(Buffer.from(store.snapshot()).toString('hex')).toBe(
      '01' + '02' + '0161' + '02' + '0301' + '0162' + '01' + '0800',
    )
  })

  test.each([
    ['another format', '0200'],
    ['keys out of order', '0102' + '0162' + '01' + '00' + '0161' + '01' + '00'],
    ['a key twice', '0102' + '0161' + '01' + '00' + '0161' + '01' + '00'],
    ['an empty key', '0101' + '00' + '01' + '00'],
    ['version 0', '0101' + '0161' + '00' + '00'],
    ['an entry too few', '0102' + '0161' + '01' + '00'],
    ['bytes left over', '0100' + '00'],
    ['nothing', ''],
  ])('does not restore a snapshot with %s', (_, hex) => {
    expect(() => Store.restore(new Uint8Array(Buffer.from(hex, 'hex')))).toThrow(DecodeError)
  })

  test('does not restore keys and values beyond their limits', () => {
    const snapshot = (key: string, value: Value): Uint8Array => {
      const writer = new Writer()
      writer.raw(new Uint8Array([1, 1]))
      writer.string(key)
      writer.varint(1)
      writer.raw(encodeValue(value))
      return writer.finish()
    }
    expect(Store.restore(snapshot('k'.repeat(1024), 'x'.repeat((1 << 20) - 4))).size).toBe(1)
    expect(() => Store.restore(snapshot('k'.repeat(1025), 1))).toThrow(DecodeError)
    expect(() => Store.restore(snapshot('k', 'x'.repeat(1 << 20)))).toThrow(DecodeError)
  })

  test('a restored store hands out copies of bytes too', () => {
    const store = new Store()
    store.set('k', new Uint8Array([1]))
    const restored = Store.restore(store.snapshot())
    const bytes = restored.get('k') as Uint8Array
    bytes[0] = 9
    expect(restored.get('k')).toEqual(new Uint8Array([1]))
  })

  test('the revision changes with each write that changes something, and with nothing else', () => {
    const store = new Store()
    const revisions = [store.revision]
    const note = (): number => revisions.push(store.revision)
    store.set('k', 1)
    note()
    store.set('k', 1)
    note()
    store.delete('k')
    note()
    expect(new Set(revisions).size).toBe(4)
    const before = store.revision
    store.delete('k')
    store.get('k')
    store.list('')
    store.begin()
    store.set('k', 2)
    store.rollback()
    expect(store.revision).toBe(before)
  })

  test('a list keeps its identity until a key with its prefix is written', () => {
    const store = storeAfter([
      { kind: 'set', key: 'a/1', value: 1 },
      { kind: 'set', key: 'b/1', value: 1 },
    ])
    const list = store.list('a/')
    store.set('b/1', 2)
    expect(store.list('a/')).toBe(list)
    expect(new Overlay(store).list('a/')).toBe(list)
    store.set('a/1', 2)
    expect(store.list('a/')).toEqual([{ key: 'a/1', value: 2, version: 2 }])
    store.set('a/2', 1)
    store.delete('a/1')
    expect(store.list('a/').map(({ key }) => key)).toEqual(['a/2'])
  })

  test('remembers only so many lists, and gives right answers beyond', () => {
    const store = new Store()
    for (let round = 0; round < 2; round++) {
      for (let group = 0; group < 40; group++) {
        store.set(`${group}/${round}`, round)
        expect(store.list(`${group}/`)).toHaveLength(round + 1)
      }
    }
  })

  test('a list after many keys came and went is in order', () => {
    const store = new Store()
    const name = (number: number): string => `k${(number * 7919) % 2000}`
    for (let number = 0; number < 1000; number++) store.set(name(number), number)
    expect(store.list('')).toHaveLength(1000)
    for (let number = 500; number < 1500; number++) {
      if (number < 1000) store.delete(name(number))
      else store.set(name(number), number)
    }
    const keys = store.list('').map((entry) => entry.key)
    expect(keys).toEqual([...keys].sort())
    expect(keys).toHaveLength(1000)
    expect(new Set(keys).size).toBe(1000)
  })
})

describe('Overlay', () => {
  test('shows what is below with its own changes, and leaves it alone', () => {
    fc.assert(
      fc.property(steps, steps, (first, second) => {
        const store = storeAfter(first)
        const before = store.snapshot()
        const overlay = new Overlay(store)
        const model = new Model()
        for (const step of first) model.run(step)
        for (const step of second) {
          run(overlay, step)
          model.run(step)
        }
        expectSame(overlay, model)
        expect(store.snapshot()).toEqual(before)
        overlay.discard()
        expect(overlay.list('')).toEqual(store.list(''))
        expect(overlay.size).toBe(store.size)
      }),
      { numRuns: 200 },
    )
  })
})

test('checkKey gives the key back, or says what is wrong with it', () => {
  expect(checkKey('seat/A1')).toBe('seat/A1')
  expect(() => checkKey(7)).toThrow('a key is text, not 7')
  expect(() => checkKey('')).toThrow('a key is not empty')
  expect(() => checkKey('\ud800')).toThrow(/surrogate/)
  expect(() => checkKey('k'.repeat(1025))).toThrow('a key takes at most 1024 bytes')
})
