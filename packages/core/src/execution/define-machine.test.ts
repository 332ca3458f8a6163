import { describe, expect, expectTypeOf, test } from 'vitest'
import { DecodeError, Writer } from '../codec/bytes.ts'
import { encodeValue } from '../codec/value.ts'
import { WepaxosError } from '../lib/errors.ts'
import type { Value } from '../lib/value.ts'
import type { Handle, Mutators, Reads, View } from '../runtime/api.ts'
import { bindMachine, defineMachine, FootprintViolation } from './define-machine.ts'
import type { Access, CommandResult, Entry, WriteTransaction } from './machine.ts'
import { Overlay, Store } from './store.ts'

/** Seats that are claimed, a board of totals, and a few commands that misbehave when told to. */
const seats = defineMachine({
  name: 'seats',
  version: 2,
  commands: {
    claim: (tx, seat: string, by: string) => {
      const taken = tx.get(seat)
      tx.set('last', seat)
      if (taken !== undefined) return { ok: false, code: 'TAKEN', by: taken }
      tx.set(seat, { by })
      return { ok: true, value: tx.version(seat) }
    },
    note: (tx, text: string, times?: number) => {
      tx.set('note', text.repeat(times ?? 1))
      return { ok: true, value: null }
    },
    clear: (tx) => {
      for (const { key } of tx.list('')) tx.delete(key)
      return { ok: true, value: tx.size }
    },
  },
  queries: {
    holder: (tx, seat: string) => tx.get(seat),
    all: (tx) => tx.list(''),
  },
  footprint: {
    claim: (seat) => [
      { key: seat, mode: 'write' },
      { key: 'last', mode: 'write' },
    ],
    note: () => [{ key: 'note', mode: 'write' }],
    clear: () => 'everything',
  },
  queryFootprint: { holder: (seat) => [{ key: seat, mode: 'read' }] },
  check: {
    claim: (_seat, by) => {
      if (by === '') throw new WepaxosError('InvalidArgument', 'who claims a seat has a name')
    },
  },
  init: (tx) => tx.set('note', 'welcome'),
})

/** A machine of one command, for what commands may and may not do. */
function one(
  command: (tx: WriteTransaction) => unknown,
  footprint: readonly Access[] | 'everything' = 'everything',
): { run(store?: Store): CommandResult } {
  const machine = bindMachine(
    defineMachine({
      name: 'one',
      version: 1,
      commands: { go: command as (tx: WriteTransaction) => CommandResult },
      queries: {},
      footprint: { go: () => footprint },
    }),
  )
  return { run: (store = new Store()) => machine.apply(store, machine.encodeCommand('go', [])) }
}

function payload(name: string, args: Value): Uint8Array {
  const writer = new Writer()
  writer.string(name)
  writer.raw(encodeValue(args))
  return writer.finish()
}

describe('defineMachine', () => {
  test('carries the types of commands and queries over to mutate, view and read', () => {
    type C = typeof seats.commands
    type Q = typeof seats.queries
    type ClaimResult = ReturnType<Mutators<C>['claim']>['local']
    expectTypeOf<Parameters<Mutators<C>['claim']>>().toEqualTypeOf<[seat: string, by: string]>()
    expectTypeOf<Extract<ClaimResult, { ok: true }>['value']>().toEqualTypeOf<number>()
    expectTypeOf<Extract<ClaimResult, { ok: false }>['by']>().toEqualTypeOf<Value>()
    expectTypeOf<Parameters<Mutators<C>['note']>>().toEqualTypeOf<[text: string, times?: number | undefined]>()
    expectTypeOf<ReturnType<Mutators<C>['clear']>>().toExtend<Handle<CommandResult>>()
    expectTypeOf<View<Q>['holder']>().toEqualTypeOf<(seat: string) => Value | undefined>()
    expectTypeOf<Reads<Q>['all']>().toEqualTypeOf<() => Promise<readonly Entry[]>>()
    expectTypeOf<keyof Mutators<C>>().toEqualTypeOf<'claim' | 'note' | 'clear'>()
  })

  test('knows at compile time that a command lacks a footprint, and that a name is none of its own', () => {
    const ok = (): CommandResult => ({ ok: true, value: null })
    const parts = { name: 'm', version: 1, queries: {} }
    // @ts-expect-error: no footprint for b
    expect(() => defineMachine({ ...parts, commands: { a: ok, b: ok }, footprint: { a: () => [] } })).toThrow(
      /command b/,
    )
    // @ts-expect-error: undefined is no value
    defineMachine({ ...parts, commands: { a: () => ({ ok: true, value: undefined }) }, footprint: { a: () => [] } })
  })

  test('gives the definition back frozen, and later changes of what it was given do not reach it', () => {
    const commands = { a: (): CommandResult => ({ ok: true, value: 1 }) }
    const machine = defineMachine({ name: 'm', version: 1, commands, queries: {}, footprint: { a: () => [] } })
    commands.a = () => ({ ok: true, value: 2 })
    const bound = bindMachine(machine)
    expect(bound.apply(new Store(), bound.encodeCommand('a', []))).toEqual({ ok: true, value: 1 })
    expect(Object.isFrozen(machine) && Object.isFrozen(machine.commands) && Object.isFrozen(machine.footprint)).toBe(
      true,
    )
  })

  const good = { name: 'm', version: 1, commands: { a: () => 1 }, queries: {}, footprint: { a: () => [] } }
  test.each<[unknown, RegExp]>([
    [null, /is an object; got null/],
    [{ ...good, name: '' }, /the name of a machine/],
    [{ ...good, name: 'a b' }, /got "a b"/],
    [{ ...good, name: 'x'.repeat(65) }, /the name of a machine/],
    [{ ...good, version: 0 }, /a whole number from 1 on; got 0/],
    [{ ...good, version: 1.5 }, /got 1.5/],
    [{ ...good, version: '1' }, /got "1"/],
    [{ ...good, commands: undefined }, /the commands of machine m are an object/],
    [{ ...good, commands: { a: 1 } }, /a among the commands of machine m is a function; got 1/],
    [{ ...good, commands: { 'a b': () => 1 } }, /letters, digits/],
    [{ ...good, commands: JSON.parse('{"__proto__": 1}') }, /letters, digits/],
    [{ ...good, queries: [] }, /got an array/],
    [{ ...good, footprint: {} }, /command a of machine m has a footprint/],
    [{ ...good, footprint: { a: [] } }, /is a function; got an array/],
    [{ ...good, footprint: { a: () => [], b: () => [] } }, /only what there is; got "b"/],
    [{ ...good, queryFootprint: { b: () => [] } }, /only what there is; got "b"/],
    [{ ...good, check: { b: () => [] } }, /only what there is; got "b"/],
    [{ ...good, init: 1 }, /init of machine m is a function/],
  ])('refuses %o', (definition, message) => {
    expect(() => defineMachine(definition as never)).toThrow(message)
    expect(() => defineMachine(definition as never)).toThrow(WepaxosError)
  })
})

describe('commands as bytes', () => {
  const machine = bindMachine(seats)

  test('come back as they went, frozen', () => {
    const bytes = machine.encodeCommand('claim', ['A1', 'ana'])
    expect(Buffer.from(bytes).toString('hex')).toBe('05636c61696d' + '0802' + '06024131' + '0603616e61')
    const command = machine.decodeCommand(bytes)
    expect(command).toEqual({ name: 'claim', args: ['A1', 'ana'] })
    expect(Object.isFrozen(command.args)).toBe(true)
  })

  test('leave out what is undefined at the end, and only there', () => {
    expect(machine.encodeCommand('note', ['x', undefined])).toEqual(machine.encodeCommand('note', ['x']))
    expect(() => machine.encodeCommand('note', [undefined, 2])).toThrow('note: arguments[0]: expected')
  })

  test.each<[string, readonly unknown[], RegExp]>([
    ['unclaim', ['A1'], /has no command "unclaim"; it has: claim, note, clear/],
    ['toString', [], /has no command "toString"/],
    ['__proto__', [], /has no command/],
    ['claim', ['A1', new Date(0)], /claim: arguments\[1\].*got an instance of Date/],
    ['claim', ['A1', ''], /who claims a seat has a name/],
    ['claim', ['', 'ana'], /a key is not empty/],
    ['claim', [7, 'ana'], /a key is text, not 7/],
    ['note', ['x'.repeat(2 << 20)], /note: arguments takes at most 2097152 bytes/],
    ['note', new Array(17).fill(0), /at most 16 arguments; got 17/],
  ])('are refused with InvalidArgument: %s(%o)', (name, args, message) => {
    expect(() => machine.encodeCommand(name, args)).toThrow(message)
    expect(() => machine.encodeCommand(name, args)).toThrow(WepaxosError)
  })

  test.each([
    ['nothing', new Uint8Array()],
    ['arguments that are no list', payload('claim', { 0: 'A1' })],
    ['bytes left over', new Uint8Array([...payload('clear', []), 0])],
    ['17 arguments', payload('clear', new Array(17).fill(null))],
    ['noise', new Uint8Array([5, 1, 2, 3])],
  ])('%s: not decoded, and applied as the refusal UNKNOWN_COMMAND', (_, bytes) => {
    expect(() => machine.decodeCommand(bytes)).toThrow(DecodeError)
    const store = new Store()
    expect(machine.apply(store, bytes)).toEqual({ ok: false, code: 'UNKNOWN_COMMAND' })
    expect(store.revision).toBe(0)
  })
})

describe('footprints', () => {
  const machine = bindMachine(seats)
  const of = (footprint: unknown): unknown =>
    bindMachine({
      name: 'm',
      version: 1,
      commands: { go: (): CommandResult => ({ ok: true, value: null }) },
      queries: {},
      footprint: { go: () => footprint as never },
    }).footprint('go', [])

  test('come from the arguments, each key once, in the order of the keys', () => {
    expect(machine.footprint('claim', ['z', 'ana'])).toEqual([
      { key: 'last', mode: 'write' },
      { key: 'z', mode: 'write' },
    ])
    expect(machine.footprint('clear', [])).toBe('everything')
    expect(machine.queryFootprint('holder', ['z'])).toEqual([{ key: 'z', mode: 'read' }])
    expect(machine.queryFootprint('all', [])).toBe('everything')
    expect(machine.prepareCommand('note', ['x'])).toEqual({
      bytes: machine.encodeCommand('note', ['x']),
      footprint: [{ key: 'note', mode: 'write' }],
    })
  })

  test.each([
    [['read', 'read'], 'read'],
    [['add', 'add'], 'add'],
    [['read', 'add'], 'write'],
    [['read', 'write'], 'write'],
    [['write', 'add'], 'write'],
  ])('with %o on one key become %s', (modes, mode) => {
    expect(of(modes.map((mode) => ({ key: 'k', mode })))).toEqual([{ key: 'k', mode }])
  })

  test('have at most 64 keys', () => {
    const accesses = (count: number): Access[] =>
      Array.from({ length: count }, (_, n) => ({ key: `${n}`, mode: 'read' }))
    expect(of([...accesses(64), ...accesses(64)])).toHaveLength(64)
    expect(() => of(accesses(65))).toThrow(/at most 64 keys/)
  })

  test.each([
    [undefined, /a list of accesses or 'everything'; got undefined/],
    ['all', /got "all"/],
    [['k'], /is {key, mode}; got "k"/],
    [[{ key: 'k' }], /read, write or add; got undefined/],
    [[{ key: 'k', mode: 'rw' }], /got "rw"/],
    [[{ key: '', mode: 'read' }], /a key is not empty/],
    [[{ key: 'k'.repeat(1025), mode: 'read' }], /at most 1024 bytes/],
  ])('are refused when they are %o', (footprint, message) => {
    expect(() => of(footprint)).toThrow(message)
    expect(() => of(footprint)).toThrow(WepaxosError)
  })

  test('and unknown names are refused', () => {
    expect(() => machine.footprint('nope', [])).toThrow(/no command "nope"/)
    expect(() => machine.queryFootprint('nope', [])).toThrow(/no query "nope"/)
    expect(() => machine.query('nope', new Store(), [])).toThrow(/no query "nope"/)
  })
})

describe.each([
  ['a store', () => new Store()],
  ['an overlay', () => new Overlay(new Store())],
])('apply on %s', (_, make) => {
  const machine = bindMachine(seats)

  test('runs the command and gives its result, frozen', () => {
    const store = make()
    const result = machine.apply(store, machine.encodeCommand('claim', ['A1', 'ana']))
    expect(result).toEqual({ ok: true, value: 1 })
    expect(Object.isFrozen(result)).toBe(true)
    expect(store.get('A1')).toEqual({ by: 'ana' })
    expect(machine.query('holder', store, ['A1'])).toEqual({ by: 'ana' })
  })

  test('a refused command leaves no writes behind', () => {
    const store = make()
    store.set('A1', 'bo')
    const before = store.list('')
    expect(machine.apply(store, machine.encodeCommand('claim', ['A1', 'ana']))).toEqual({
      ok: false,
      code: 'TAKEN',
      by: 'bo',
    })
    expect(store.list('')).toEqual(before)
  })

  test('a value that the command makes too large is a refusal and leaves no writes behind', () => {
    const store = make()
    expect(machine.apply(store, machine.encodeCommand('note', ['x', 1 << 20]))).toEqual({
      ok: false,
      code: 'TOO_LARGE',
    })
    expect(store.size).toBe(0)
  })

  test('a command of another version of the machine is a refusal', () => {
    const store = make()
    expect(machine.apply(store, payload('release', ['A1']))).toEqual({ ok: false, code: 'UNKNOWN_COMMAND' })
    expect(machine.apply(store, payload('toString', []))).toEqual({ ok: false, code: 'UNKNOWN_COMMAND' })
  })

  test('arguments that have no footprint are a refusal', () => {
    const store = make()
    expect(machine.apply(store, payload('claim', [7]))).toEqual({ ok: false, code: 'INVALID_ARGUMENTS' })
    expect(store.size).toBe(0)
  })
})

describe('what a command throws', () => {
  test('is thrown on, with the store as it was', () => {
    const store = new Store()
    store.set('k', 1)
    const before = store.revision
    const { run } = one((tx) => {
      tx.set('k', 2)
      tx.delete('k')
      throw new RangeError('broken')
    })
    expect(() => run(store)).toThrow(new RangeError('broken'))
    expect(store.get('k')).toBe(1)
    expect(store.revision).toBe(before)
    expect(one((tx) => ({ ok: true, value: tx.version('k') })).run(store)).toEqual({ ok: true, value: 1 })
  })

  test.each<[unknown, RegExp]>([
    [undefined, /the result of command go: expected/],
    [7, /is {ok: true, value} or {ok: false, code, …facts}; got 7/],
    [{}, /has ok: true or ok: false; got undefined/],
    [{ ok: 1 }, /got 1/],
    [{ ok: true }, /with ok: true has a value/],
    [{ ok: false }, /with ok: false has a code/],
    [{ ok: false, code: '' }, /has a code/],
    [{ ok: true, value: new Date(0) }, /the result of command go\.value.*an instance of Date/],
    [Promise.resolve({ ok: true, value: 1 }), /an instance of Promise/],
  ])('a result like %o is a mistake of the machine, and its writes are taken back', (result, message) => {
    const store = new Store()
    const { run } = one((tx) => {
      tx.set('k', 1)
      return result
    })
    expect(() => run(store)).toThrow(message)
    expect(store.size).toBe(0)
  })

  test('a value that is none is a mistake of the machine', () => {
    expect(() => one((tx) => tx.set('k', Number.NaN)).run()).toThrow(/a value of the store: expected/)
  })

  test('a result beyond its limit is a refusal', () => {
    const big = { ok: true, value: 'x'.repeat(2 << 20) }
    expect(one(() => big).run()).toEqual({ ok: false, code: 'TOO_LARGE' })
  })
})

describe('a command is held to its footprint', () => {
  const ok = (): CommandResult => ({ ok: true, value: null })
  const on = (mode: Access['mode']): readonly Access[] => [{ key: 'k', mode }]

  test.each<[string, readonly Access[], (tx: WriteTransaction) => unknown]>([
    ['get of another key', on('write'), (tx) => tx.get('other')],
    ['has of another key', on('write'), (tx) => tx.has('other')],
    ['version of another key', on('write'), (tx) => tx.version('other')],
    ['set of another key', on('write'), (tx) => tx.set('other', 1)],
    ['delete of another key', on('write'), (tx) => tx.delete('other')],
    ['set of a key that is only read', on('read'), (tx) => tx.set('k', 1)],
    ['delete of a key that is only read', on('read'), (tx) => tx.delete('k')],
    ['delete of a key that is added to', on('add'), (tx) => tx.delete('k')],
    ['list', on('write'), (tx) => tx.list('k')],
    ['size', on('write'), (tx) => tx.size],
    ['get, with nothing declared', [], (tx) => tx.get('k')],
  ])('%s throws FootprintViolation and leaves no writes', (_, footprint, use) => {
    const store = new Store()
    const { run } = one((tx) => {
      if (footprint[0]?.mode === 'write') tx.set('k', 1)
      use(tx)
      return ok()
    }, footprint)
    expect(() => run(store)).toThrow(FootprintViolation)
    expect(() => run(store)).toThrow(/the command go .* which its footprint does not declare/)
    expect(store.size).toBe(0)
  })

  test('what is declared is allowed: all with everything, reads in any mode', () => {
    const all = (tx: WriteTransaction): CommandResult => {
      tx.set('a', 1)
      tx.delete('b')
      return { ok: true, value: [tx.size, tx.list('').length, tx.version('a'), tx.has('a'), tx.get('a') ?? null] }
    }
    expect(one(all).run()).toEqual({ ok: true, value: [1, 1, 1, true, 1] })
    for (const mode of ['read', 'write', 'add'] as const) {
      const { run } = one((tx) => ({ ok: true, value: [tx.has('k'), tx.get('k') ?? null, tx.version('k')] }), on(mode))
      expect(run()).toEqual({ ok: true, value: [false, null, 0] })
    }
    const adds = (tx: WriteTransaction): CommandResult => {
      tx.set('k', 1)
      return ok()
    }
    expect(one(adds, on('add')).run()).toEqual(ok())
  })

  test('a transaction that outlives its command does nothing any more', () => {
    let leaked: WriteTransaction | undefined
    const store = new Store()
    const { run } = one((tx) => {
      leaked = tx
      return ok()
    })
    run(store)
    expect(() => leaked?.set('k', 1)).toThrow(/after it has returned/)
    expect(() => leaked?.get('k')).toThrow(FootprintViolation)
    expect(() => leaked?.list('')).toThrow(FootprintViolation)
    expect(store.size).toBe(0)
  })
})

describe('init', () => {
  test('fills the empty store, all or nothing', () => {
    const store = new Store()
    bindMachine(seats).init(store)
    expect(store.list('')).toEqual([{ key: 'note', value: 'welcome', version: 1 }])
    const broken = bindMachine({
      ...seats,
      init: (tx) => {
        tx.set('k', 1)
        throw new Error('broken')
      },
    })
    const empty = new Store()
    expect(() => broken.init(empty)).toThrow('broken')
    expect(empty.size).toBe(0)
  })
})
