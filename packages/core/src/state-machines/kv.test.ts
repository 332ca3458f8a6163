import fc from 'fast-check'
import { describe, expect, expectTypeOf, test } from 'vitest'
import { checkMachineContract } from '../../testing/machine-contract.ts'
import { Writer } from '../codec/bytes.ts'
import { encodeValue } from '../codec/value.ts'
import { bindMachine } from '../execution/define-machine.ts'
import type { CommandArguments, CommandResult } from '../execution/machine.ts'
import { Store } from '../execution/store.ts'
import { WepaxosError } from '../lib/errors.ts'
import type { Random } from '../lib/random.ts'
import type { Value } from '../lib/value.ts'
import type { Mutators, View } from '../runtime/api.ts'
import { type KvCheck, type KvCommands, type KvOperation, type KvQueries, kv } from './kv.ts'

const machine = bindMachine(kv())
const max = Number.MAX_SAFE_INTEGER

/** A store, and the commands and queries on it. */
function fresh(initial: Readonly<Record<string, Value>> = {}) {
  const store = new Store()
  for (const [key, value] of Object.entries(initial)) store.set(key, value)
  return {
    store,
    run: <K extends keyof KvCommands>(name: K, ...args: CommandArguments<KvCommands[K]>): CommandResult =>
      machine.apply(store, machine.encodeCommand(name, args)),
    ask: <K extends keyof KvQueries>(name: K, ...args: CommandArguments<KvQueries[K]>): unknown =>
      machine.query(name, store, args),
    state: () => Object.fromEntries(store.list('').map(({ key, value }) => [key, value])),
  }
}

describe('set and delete', () => {
  test('set writes whatever was there, and gives the version', () => {
    const { run, ask } = fresh()
    expect(run('set', 'k', { a: [1, new Uint8Array([2])] })).toEqual({ ok: true, value: 1 })
    expect(run('set', 'k', null)).toEqual({ ok: true, value: 2 })
    expect(ask('get', 'k')).toBe(null)
  })

  test('delete says whether there was anything', () => {
    const { run, store } = fresh({ k: 1 })
    expect(run('delete', 'k')).toEqual({ ok: true, value: true })
    expect(run('delete', 'k')).toEqual({ ok: true, value: false })
    expect(store.size).toBe(0)
  })
})

describe('create', () => {
  test('is a claim: the first wins, the next is told who did', () => {
    const { run, ask } = fresh()
    expect(run('create', 'seat/A1', { by: 'ana' })).toEqual({ ok: true, value: 1 })
    expect(run('create', 'seat/A1', { by: 'bo' })).toEqual({
      ok: false,
      code: 'EXISTS',
      value: { by: 'ana' },
      version: 1,
    })
    expect(ask('get', 'seat/A1')).toEqual({ by: 'ana' })
  })

  test('a key that holds null exists', () => {
    expect(fresh({ k: null }).run('create', 'k', 1)).toEqual({ ok: false, code: 'EXISTS', value: null, version: 1 })
  })
})

describe('compareAndSet', () => {
  test('writes when the value is equal, be it an object', () => {
    const { run, ask } = fresh({ k: { a: 1, b: [2] } })
    expect(run('compareAndSet', 'k', { b: [2], a: 1 }, 'new')).toEqual({ ok: true, value: 2 })
    expect(ask('get', 'k')).toBe('new')
  })

  test('is refused with what is there when that differs', () => {
    const { run, ask } = fresh({ k: 1 })
    expect(run('compareAndSet', 'k', 2, 3)).toEqual({ ok: false, code: 'MISMATCH', value: 1, version: 1 })
    expect(ask('get', 'k')).toBe(1)
  })

  test('null matches null and not absence', () => {
    const { run } = fresh({ empty: null })
    expect(run('compareAndSet', 'absent', null, 1)).toEqual({ ok: false, code: 'MISMATCH', value: null, version: 0 })
    expect(run('compareAndSet', 'empty', null, 1)).toEqual({ ok: true, value: 2 })
  })
})

describe('update', () => {
  test('writes when the version is the expected one, 0 for a key that is not there', () => {
    const { run, ask } = fresh()
    expect(run('update', 'k', 0, 'a')).toEqual({ ok: true, value: 1 })
    expect(run('update', 'k', 1, 'b')).toEqual({ ok: true, value: 2 })
    expect(run('update', 'k', 1, 'c')).toEqual({ ok: false, code: 'VERSION', value: 'b', version: 2 })
    expect(ask('get', 'k')).toBe('b')
    expect(run('update', 'absent', 1, 'c')).toEqual({ ok: false, code: 'VERSION', value: null, version: 0 })
  })
})

describe('increment and decrement', () => {
  test('count from 0, by 1 unless told otherwise, and give what it became', () => {
    const { run } = fresh()
    expect(run('increment', 'n')).toEqual({ ok: true, value: 1 })
    expect(run('increment', 'n', 10)).toEqual({ ok: true, value: 11 })
    expect(run('decrement', 'n')).toEqual({ ok: true, value: 10 })
    expect(run('decrement', 'n', 12)).toEqual({ ok: true, value: -2 })
    expect(run('increment', 'n', -1)).toEqual({ ok: true, value: -3 })
  })

  test.each<Value>([null, 'x', 0.5, true, [], 2 ** 53])('are refused on %o', (value) => {
    const { run, state } = fresh({ n: value })
    expect(run('increment', 'n')).toEqual({ ok: false, code: 'NOT_A_NUMBER', value, version: 1 })
    expect(run('decrement', 'n')).toEqual({ ok: false, code: 'NOT_A_NUMBER', value, version: 1 })
    expect(state()).toEqual({ n: value })
  })

  test('are refused beyond the safe integers', () => {
    const { run } = fresh({ high: max, low: -max })
    expect(run('increment', 'high')).toEqual({ ok: false, code: 'OVERFLOW', value: max, version: 1 })
    expect(run('decrement', 'low', max)).toEqual({ ok: false, code: 'OVERFLOW', value: -max, version: 1 })
    expect(run('decrement', 'high', max)).toEqual({ ok: true, value: 0 })
  })
})

describe('add', () => {
  test('adds without saying what it became, and counts as one write', () => {
    const { run, ask } = fresh()
    expect(run('add', 'n', 5)).toEqual({ ok: true, value: null })
    expect(run('add', 'n', -7)).toEqual({ ok: true, value: null })
    expect(ask('get', 'n')).toBe(-2)
    expect(ask('version', 'n')).toBe(2)
  })

  test('does not say on what it was refused, for the version there depends on the order of other adds', () => {
    expect(fresh({ n: null }).run('add', 'n', 1)).toEqual({ ok: false, code: 'NOT_A_NUMBER' })
    expect(fresh({ n: 'x' }).run('add', 'n', 1)).toEqual({ ok: false, code: 'NOT_A_NUMBER' })
  })

  test('comes round from the other end beyond the safe integers', () => {
    const { run, ask } = fresh({ n: max })
    run('add', 'n', 1)
    expect(ask('get', 'n')).toBe(-max)
    run('add', 'n', -1)
    expect(ask('get', 'n')).toBe(max)
  })

  test('is addition on a circle of 2^54 - 1 numbers', () => {
    const circle = 2n ** 54n - 1n
    const onCircle = (sum: bigint): number => {
      const rest = ((sum % circle) + circle) % circle
      return Number(rest > BigInt(max) ? rest - circle : rest)
    }
    const edge = fc.oneof(
      fc.maxSafeInteger(),
      fc.integer({ min: 0, max: 3 }).chain((n) => fc.constantFrom(max - n, n - max)),
    )
    fc.assert(
      fc.property(edge, edge, (a, b) => {
        const { run, ask } = fresh({ n: a })
        run('add', 'n', b)
        expect(ask('get', 'n')).toBe(onCircle(BigInt(a) + BigInt(b)))
      }),
      { numRuns: 500 },
    )
  })
})

describe('transact', () => {
  test('runs all operations in order, each seeing those before it', () => {
    const { run, state } = fresh({ from: 10, old: 'x' })
    const result = run(
      'transact',
      [
        { key: 'from', equals: 10 },
        { key: 'to', exists: false },
        { key: 'old', version: 1 },
        { key: 'nobody', version: 0 },
      ],
      [
        { op: 'increment', key: 'from', by: -3 },
        { op: 'create', key: 'to', value: 0 },
        { op: 'increment', key: 'to', by: 3 },
        { op: 'increment', key: 'to' },
        { op: 'delete', key: 'old' },
        { op: 'set', key: 'log', value: ['moved'] },
      ],
    )
    expect(result).toEqual({ ok: true, value: [7, 1, 3, 4, true, 1] })
    expect(state()).toEqual({ from: 7, to: 4, log: ['moved'] })
  })

  test.each<[string, KvCheck, Partial<CommandResult>]>([
    ['exists', { key: 'b', exists: true }, { key: 'b', value: null, version: 0 }],
    ['does not exist', { key: 'a', exists: false }, { key: 'a', value: 1, version: 1 }],
    ['has a version', { key: 'a', version: 2 }, { key: 'a', value: 1, version: 1 }],
    ['has a value', { key: 'a', equals: 2 }, { key: 'a', value: 1, version: 1 }],
    ['has the value null', { key: 'b', equals: null }, { key: 'b', value: null, version: 0 }],
  ])('is refused when a check that a key %s fails, and says which', (_, check, facts) => {
    const { run, state } = fresh({ a: 1 })
    expect(run('transact', [{ key: 'a', exists: true }, check], [{ op: 'set', key: 'c', value: 1 }])).toEqual({
      ok: false,
      code: 'CHECK',
      check: 1,
      ...facts,
    })
    expect(state()).toEqual({ a: 1 })
  })

  test.each<[string, KvOperation, Value]>([
    ['EXISTS', { op: 'create', key: 'a', value: 2 }, 'x'],
    ['NOT_A_NUMBER', { op: 'increment', key: 'a' }, 'x'],
    ['OVERFLOW', { op: 'increment', key: 'n', by: 1 }, max],
  ])('is refused with %s by an operation, says which, and takes those before it back', (code, operation, value) => {
    const { run, store } = fresh({ a: 'x', n: max })
    const before = store.snapshot()
    expect(run('transact', [], [{ op: 'set', key: 'b', value: 1 }, operation])).toEqual({
      ok: false,
      code,
      operation: 1,
      key: operation.key,
      value,
      version: 1,
    })
    expect(store.snapshot()).toEqual(before)
  })

  test('checks look at the state before the operations', () => {
    const { run } = fresh()
    expect(run('transact', [{ key: 'k', exists: false }], [{ op: 'create', key: 'k', value: 1 }])).toEqual({
      ok: true,
      value: [1],
    })
  })

  test('may have checks alone', () => {
    expect(fresh({ k: 1 }).run('transact', [{ key: 'k', exists: true }], [])).toEqual({ ok: true, value: [] })
  })
})

describe('queries', () => {
  test('read one key, a prefix, or everything', () => {
    const { ask } = fresh({ 'a/2': 2, 'a/1': 1, b: 3 })
    expect(ask('get', 'a/1')).toBe(1)
    expect(ask('get', 'nope')).toBeUndefined()
    expect([ask('has', 'b'), ask('has', 'c'), ask('version', 'b'), ask('version', 'c')]).toEqual([true, false, 1, 0])
    expect(ask('list', 'a/')).toEqual([
      { key: 'a/1', value: 1, version: 1 },
      { key: 'a/2', value: 2, version: 1 },
    ])
    expect(ask('list')).toHaveLength(3)
    expect(ask('size')).toBe(3)
  })
})

describe('footprints', () => {
  test('are the key, and for transact all keys, written ones as written', () => {
    for (const [name, ...rest] of [
      ['set', 1],
      ['delete'],
      ['create', 1],
      ['compareAndSet', 1, 2],
      ['update', 0, 1],
    ] as const) {
      expect(machine.footprint(name, ['k', ...rest])).toEqual([{ key: 'k', mode: 'write' }])
    }
    expect(machine.footprint('increment', ['k'])).toEqual([{ key: 'k', mode: 'write' }])
    expect(machine.footprint('decrement', ['k'])).toEqual([{ key: 'k', mode: 'write' }])
    expect(machine.footprint('add', ['k', 1])).toEqual([{ key: 'k', mode: 'add' }])
    const checks: KvCheck[] = [
      { key: 'a', exists: true },
      { key: 'b', version: 1 },
    ]
    expect(
      machine.footprint('transact', [
        checks,
        [
          { op: 'delete', key: 'b' },
          { op: 'delete', key: 'c' },
        ],
      ]),
    ).toEqual([
      { key: 'a', mode: 'read' },
      { key: 'b', mode: 'write' },
      { key: 'c', mode: 'write' },
    ])
    for (const query of ['get', 'has', 'version']) {
      expect(machine.queryFootprint(query, ['k'])).toEqual([{ key: 'k', mode: 'read' }])
    }
    expect([machine.queryFootprint('list', ['']), machine.queryFootprint('size', [])]).toEqual([
      'everything',
      'everything',
    ])
  })
})

/** Each wrong in its own way, with what the proposer is told. */
const wrong: readonly [name: string, args: readonly unknown[], message: RegExp][] = [
  ['set', [], /value: expected null.*got undefined/],
  ['set', ['k'], /value: expected null.*got undefined/],
  ['set', [undefined, 1], /arguments\[0\].*got undefined/],
  ['set', ['', 1], /a key is not empty/],
  ['set', [7, 1], /a key is text, not 7/],
  ['set', ['k', 'x'.repeat(1 << 20)], /value takes at most 1048576 bytes/],
  ['delete', [], /a key is text, not undefined/],
  ['delete', ['k'.repeat(1025)], /at most 1024 bytes/],
  ['create', ['k'], /value: expected null.*got undefined/],
  ['compareAndSet', ['k', 1], /value: expected null.*got undefined/],
  ['compareAndSet', ['k'], /value: expected null/],
  ['update', ['k', -1, 1], /a version is a whole number from 0 on; got -1/],
  ['update', ['k', '1', 1], /got "1"/],
  ['update', ['k', 1], /value: expected null.*got undefined/],
  ['increment', ['k', 0.5], /`by` is a whole number/],
  ['increment', ['k', '1'], /`by` is a whole number.*got "1"/],
  ['decrement', ['k', null], /`by` is a whole number.*got null/],
  ['add', ['k'], /`by` is a whole number.*got undefined/],
  ['add', ['k', 2 ** 53], /`by` is a whole number/],
  ['transact', [], /checks are an array; got undefined/],
  ['transact', [[], {}], /operations are an array; got an object/],
  ['transact', [['k'], []], /checks\[0\] is {key} with exists, version or equals; got "k"/],
  ['transact', [[{ key: 'k' }], []], /one of exists, version, equals; got "key"/],
  ['transact', [[{ key: 'k', exists: true, version: 1 }], []], /one of exists, version, equals/],
  ['transact', [[{ key: 'k', exists: 1 }], []], /checks\[0\]\.exists is a boolean; got 1/],
  ['transact', [[{ key: 'k', version: 0.5 }], []], /a version is a whole number/],
  ['transact', [[{ exists: true }], []], /a key is text, not undefined/],
  [
    'transact',
    [[], [{ op: 'drop', key: 'k' }]],
    /operations\[0\]\.op is one of set, create, delete, increment; got "drop"/,
  ],
  ['transact', [[], [{ op: 'toString', key: 'k' }]], /operations\[0\]\.op is one of/],
  ['transact', [[], [{ op: 'set', key: 'k' }]], /operations\[0\]\.value is a value/],
  ['transact', [[], [{ op: 'delete', key: 'k', value: 1 }]], /operations\[0\] has op, key and no more/],
  ['transact', [[], [{ op: 'increment', key: 'k', by: 'x' }]], /`by` is a whole number/],
  ['transact', [[], [{ op: 'set', key: '', value: 1 }]], /a key is not empty/],
]

describe('wrong arguments', () => {
  test.each(wrong)('%s(%o) is refused before it is proposed', (name, args, message) => {
    expect(() => machine.encodeCommand(name, args)).toThrow(message)
    expect(() => machine.encodeCommand(name, args)).toThrow(WepaxosError)
  })

  test.each(wrong)('%s(%o) from a peer that does not check is a refusal, and no more', (name, args) => {
    const writer = new Writer()
    writer.string(name)
    writer.raw(encodeValue(args.map((arg) => arg ?? null) as Value))
    const store = new Store()
    const result = machine.apply(store, writer.finish())
    // What only the size is wrong of is found by the store; null in place of undefined can be a key or `by` no more.
    expect(['INVALID_ARGUMENTS', 'TOO_LARGE']).toContain(result.ok ? 'applied' : result.code)
    expect(store.size).toBe(0)
  })

  test('a transaction has something to do, on at most 64 keys', () => {
    const deletes = (count: number): KvOperation[] =>
      Array.from({ length: count }, (_, n) => ({ op: 'delete', key: `${n}` }))
    expect(() => machine.encodeCommand('transact', [[], []])).toThrow(/a check or an operation/)
    expect(() => machine.encodeCommand('transact', [[], deletes(65)])).toThrow(/touches at most 64 keys; got 65/)
    expect(machine.footprint('transact', [[], [...deletes(64), ...deletes(64)]])).toHaveLength(64)
    expect(() =>
      machine.encodeCommand('transact', [[], [{ op: 'set', key: 'k', value: 'x'.repeat(1 << 20) }]]),
    ).toThrow(/value takes at most 1048576 bytes/)
  })
})

describe('the contract of machines', () => {
  const keys = ['a', 'b', 'c', 'd']
  const values: Value[] = [0, 1, null, 'x', max, -max, { n: 1 }, new Uint8Array([1])]

  function randomCommand(random: Random) {
    const key = random.pick(keys)
    const value = random.pick(values)
    const by = random.pick([1, -1, 5, max, -max])
    switch (random.integer(10)) {
      case 0:
        return { name: 'set', args: [key, value] } as const
      case 1:
        return { name: 'delete', args: [key] } as const
      case 2:
        return { name: 'create', args: [key, value] } as const
      case 3:
        return { name: 'compareAndSet', args: [key, random.pick(values), value] } as const
      case 4:
        return { name: 'update', args: [key, random.integer(3), value] } as const
      case 5:
        return { name: 'increment', args: [key, by] } as const
      case 6:
        return { name: 'decrement', args: [key, by] } as const
      case 7:
        return {
          name: 'transact',
          args: [[randomCheck(random)], [randomOperation(random), randomOperation(random)]],
        } as const
      default:
        return { name: 'add', args: [key, by] } as const
    }
  }

  function randomCheck(random: Random): KvCheck {
    const key = random.pick(keys)
    return random.pick<KvCheck>([
      { key, exists: random.chance(0.5) },
      { key, version: random.integer(3) },
      { key, equals: random.pick(values) },
    ])
  }

  function randomOperation(random: Random): KvOperation {
    const key = random.pick(keys)
    const value = random.pick(values)
    return random.pick<KvOperation>([
      { op: 'set', key, value },
      { op: 'create', key, value },
      { op: 'delete', key },
      { op: 'increment', key, by: random.pick([1, -3]) },
    ])
  }

  test('holds for any commands and queries: what need not be ordered gives the same in either order', () => {
    fc.assert(
      fc.property(fc.integer(), (seed) => {
        const report = checkMachineContract({
          machine: kv(),
          seed,
          rounds: 60,
          command: randomCommand,
          query: (random) => ({ name: random.pick(['get', 'has', 'version'] as const), args: [random.pick(keys)] }),
        })
        expect(report.unorderedPairs).toBeGreaterThan(10)
        expect(report.refusals).toBeGreaterThan(10)
        expect(report.unrelatedQueries).toBeGreaterThan(10)
      }),
      { numRuns: 20 },
    )
  })
})

test('the types say what each command takes and may answer', () => {
  type M = Mutators<KvCommands>
  expectTypeOf<Parameters<M['create']>>().toEqualTypeOf<[key: string, value: Value]>()
  expectTypeOf<Parameters<M['increment']>>().toEqualTypeOf<[key: string, by?: number | undefined]>()
  expectTypeOf<ReturnType<M['create']>['local']>().toEqualTypeOf<ReturnType<KvCommands['create']>>()
  expectTypeOf<Awaited<ReturnType<M['increment']>['done']>>().toExtend<CommandResult>()
  expectTypeOf<Extract<ReturnType<M['compareAndSet']>['local'], { ok: false }>['code']>().toEqualTypeOf<'MISMATCH'>()
  expectTypeOf<ReturnType<M['transact']>['local']>().not.toBeNever()
  expectTypeOf<View<KvQueries>['get']>().toEqualTypeOf<(key: string) => Value | undefined>()
})
