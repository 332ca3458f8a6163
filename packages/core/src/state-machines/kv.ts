// The key-value store that ships with wepaxos: a map from text to values, with unique claims, compare-and-set, versions,
// counters and small transactions. How commands become bytes and run is not here: see execution/define-machine.ts.
import { checkValue, describe, equalValues, isPlainObject } from '../codec/value.ts'
import { defineMachine } from '../execution/define-machine.ts'
import type {
  Access,
  AccessMode,
  Entry,
  MachineDefinition,
  ReadTransaction,
  WriteTransaction,
} from '../execution/machine.ts'
import { checkKey } from '../execution/store.ts'
import { WepaxosError } from '../lib/errors.ts'
import { footprintAccessesMax, valueBytesMax } from '../lib/limits.ts'
import type { Value } from '../lib/value.ts'

/** It happened. */
export type Done<V extends Value> = { readonly ok: true; readonly value: V }

/** It did not happen, for this reason; these are the value and version that stand in the way (null and 0: no such key). */
export type Refused<Code extends string> = {
  readonly ok: false
  readonly code: Code
  readonly value: Value
  readonly version: number
}

/** One condition of a transaction on one key: that it exists or not, that it has this version, or that it has this value. */
export type KvCheck =
  | { readonly key: string; readonly exists: boolean }
  /** Version 0: the key does not exist. */
  | { readonly key: string; readonly version: number }
  | { readonly key: string; readonly equals: Value }

/** One step of a transaction, with the meaning and the refusals of the command of that name. */
export type KvOperation =
  | { readonly op: 'set'; readonly key: string; readonly value: Value }
  | { readonly op: 'create'; readonly key: string; readonly value: Value }
  | { readonly op: 'delete'; readonly key: string }
  | { readonly op: 'increment'; readonly key: string; readonly by?: number }

/** A transaction did not happen: which check (CHECK) or which operation (the other codes) said no, and what stood there. */
export type TransactionRefused =
  | (Refused<'CHECK'> & { readonly check: number; readonly key: string })
  | (Refused<'EXISTS' | 'NOT_A_NUMBER' | 'OVERFLOW'> & { readonly operation: number; readonly key: string })

/** The commands. Where a result's `value` is a version, it is the one that the key now has. */
export type KvCommands = {
  /** Writes, whatever was there. Value: the version. */
  readonly set: (tx: WriteTransaction, key: string, value: Value) => Done<number>
  /** Value: whether there was anything to delete. */
  readonly delete: (tx: WriteTransaction, key: string) => Done<boolean>
  /** A unique claim: writes if the key does not exist, else EXISTS. Value: the version, 1. */
  readonly create: (tx: WriteTransaction, key: string, value: Value) => Done<number> | Refused<'EXISTS'>
  /**
   * Writes if the key holds `expected`, else MISMATCH. `null` is the value null, not absence: a key that does not exist
   * never matches (its refusal has version 0). To write only if there is nothing, use `create`. Value: the version.
   */
  readonly compareAndSet: (
    tx: WriteTransaction,
    key: string,
    expected: Value,
    value: Value,
  ) => Done<number> | Refused<'MISMATCH'>
  /** Writes if the key has this version (0: does not exist), else VERSION. Value: the version. */
  readonly update: (
    tx: WriteTransaction,
    key: string,
    expectedVersion: number,
    value: Value,
  ) => Done<number> | Refused<'VERSION'>
  /**
   * Adds to a whole number and says what it became; a key that does not exist counts as 0. NOT_A_NUMBER when something
   * else than a safe integer is there, OVERFLOW when the sum is none. `by` is 1 unless given.
   */
  readonly increment: (
    tx: WriteTransaction,
    key: string,
    by?: number,
  ) => Done<number> | Refused<'NOT_A_NUMBER' | 'OVERFLOW'>
  readonly decrement: (
    tx: WriteTransaction,
    key: string,
    by?: number,
  ) => Done<number> | Refused<'NOT_A_NUMBER' | 'OVERFLOW'>
  /**
   * Adds like `increment`, but does not say what the number became, and so needs no order among other `add`s: concurrent
   * ones all take the fast path. A sum beyond ±(2^53 − 1) comes round again from the other end, since to refuse or to
   * clamp would depend on the order.
   */
  readonly add: (
    tx: WriteTransaction,
    key: string,
    by: number,
  ) => Done<null> | { readonly ok: false; readonly code: 'NOT_A_NUMBER' }
  /**
   * All checks, on the state before; then all operations, in order, each seeing those before it; or nothing at all. Touches
   * at most 64 keys. Value: what each operation's command would have as its value.
   */
  readonly transact: (
    tx: WriteTransaction,
    checks: readonly KvCheck[],
    operations: readonly KvOperation[],
  ) => Done<readonly (number | boolean)[]> | TransactionRefused
}

export type KvQueries = {
  readonly get: (tx: ReadTransaction, key: string) => Value | undefined
  readonly has: (tx: ReadTransaction, key: string) => boolean
  /** How often the key was written since it came to be; 0 when it does not exist. */
  readonly version: (tx: ReadTransaction, key: string) => number
  /** The entries whose key starts with `prefix` (all, if it is left out), by the order of their keys' code units. */
  readonly list: (tx: ReadTransaction, prefix?: string) => readonly Entry[]
  readonly size: (tx: ReadTransaction) => number
}

/** Keys: 1 … 1,024 bytes of UTF-8. Values: JSON and bytes, up to 1 MiB each. */
export function kv(): MachineDefinition<KvCommands, KvQueries> {
  return machine
}

const machine = defineMachine<KvCommands, KvQueries>({
  name: 'kv',
  version: 1,
  commands: {
    set: put,
    delete: (tx, key) => done(tx.delete(key)),
    create,
    compareAndSet: (tx, key, expected, value) => {
      const current = tx.get(key)
      if (current === undefined || !equalValues(current, expected)) return refused(tx, key, 'MISMATCH')
      return put(tx, key, value)
    },
    update: (tx, key, expectedVersion, value) =>
      tx.version(key) === expectedVersion ? put(tx, key, value) : refused(tx, key, 'VERSION'),
    increment: (tx, key, by = 1) => increment(tx, key, by),
    decrement: (tx, key, by = 1) => increment(tx, key, -by),
    add: (tx, key, by) => {
      const current = tx.get(key) ?? absent(tx, key)
      // Between two writes that are no `add`, all see the same kind of value, so this refusal depends on no order.
      if (!isWhole(current)) return { ok: false, code: 'NOT_A_NUMBER' }
      tx.set(key, addAround(current, by))
      return done(null)
    },
    transact: (tx, checks, operations) => {
      for (const [index, check] of checks.entries()) {
        if (!holds(tx, check)) return { ...refused(tx, check.key, 'CHECK'), check: index, key: check.key }
      }
      const values: (number | boolean)[] = []
      for (const [index, operation] of operations.entries()) {
        const result = operate(tx, operation)
        if (!result.ok) return { ...result, operation: index, key: operation.key }
        values.push(result.value)
      }
      return done(values)
    },
  },
  queries: {
    get: (tx, key) => tx.get(key),
    has: (tx, key) => tx.has(key),
    version: (tx, key) => tx.version(key),
    list: (tx, prefix = '') => tx.list(prefix),
    size: (tx) => tx.size,
  },
  // Arguments are looked at here once more, because a footprint is asked for at every replica and `check` only at the
  // proposer's: so the commands above never run on arguments of the wrong kind, whoever proposed them.
  footprint: {
    set: (key, value) => {
      present(value)
      return one(key, 'write')
    },
    delete: (key) => one(key, 'write'),
    create: (key, value) => {
      present(value)
      return one(key, 'write')
    },
    compareAndSet: (key, expected, value) => {
      present(expected, 'expected')
      present(value)
      return one(key, 'write')
    },
    update: (key, expectedVersion, value) => {
      versionNumber(expectedVersion)
      present(value)
      return one(key, 'write')
    },
    increment: (key, by = 1) => {
      whole(by)
      return one(key, 'write')
    },
    decrement: (key, by = 1) => {
      whole(by)
      return one(key, 'write')
    },
    add: (key, by) => {
      whole(by)
      return one(key, 'add')
    },
    transact: (checks, operations) => [
      ...checkList(checks, 'checks', checkShape).map(({ key }): Access => ({ key, mode: 'read' })),
      ...checkList(operations, 'operations', operationShape).map(({ key }): Access => ({ key, mode: 'write' })),
    ],
  },
  queryFootprint: {
    get: (key) => one(key, 'read'),
    has: (key) => one(key, 'read'),
    version: (key) => one(key, 'read'),
  },
  // What is left for the proposer: the footprint looked at the rest, keys included.
  check: {
    set: (_key, value) => storable(value),
    create: (_key, value) => storable(value),
    compareAndSet: (_key, _expected, value) => storable(value),
    update: (_key, _expectedVersion, value) => storable(value),
    transact: (checks, operations) => {
      const keys = new Set<string>()
      for (const { key } of checkList(checks, 'checks', checkShape)) keys.add(checkKey(key))
      for (const operation of checkList(operations, 'operations', operationShape)) {
        keys.add(checkKey(operation.key))
        if ('value' in operation) storable(operation.value)
      }
      expectThat(keys.size > 0, 'a transaction has a check or an operation', 'neither')
      expectThat(
        keys.size <= footprintAccessesMax,
        `a transaction touches at most ${footprintAccessesMax} keys`,
        keys.size,
      )
    },
  },
})

// What commands do

function put(tx: WriteTransaction, key: string, value: Value): Done<number> {
  tx.set(key, value)
  return done(tx.version(key))
}

function create(tx: WriteTransaction, key: string, value: Value): Done<number> | Refused<'EXISTS'> {
  return tx.has(key) ? refused(tx, key, 'EXISTS') : put(tx, key, value)
}

function increment(tx: WriteTransaction, key: string, by: number): Done<number> | Refused<'NOT_A_NUMBER' | 'OVERFLOW'> {
  const current = tx.get(key) ?? absent(tx, key)
  if (!isWhole(current)) return refused(tx, key, 'NOT_A_NUMBER')
  const sum = current + by
  if (!isWhole(sum)) return refused(tx, key, 'OVERFLOW')
  tx.set(key, sum)
  return done(sum)
}

/** What a counter that is not there counts from; null, which is a value and no number, stays null. */
function absent(tx: ReadTransaction, key: string): Value {
  return tx.has(key) ? null : 0
}

/** The sum of two safe integers on the circle of all 2^54 − 1 of them. */
function addAround(a: number, b: number): number {
  const max = Number.MAX_SAFE_INTEGER
  // Each step stays among the safe integers, where arithmetic is exact.
  if (b > 0 && a > max - b) return a - max + (b - max) - 1
  if (b < 0 && a < -max - b) return a + max + (b + max) + 1
  return a + b
}

function holds(tx: ReadTransaction, check: KvCheck): boolean {
  if ('exists' in check) return tx.has(check.key) === check.exists
  if ('version' in check) return tx.version(check.key) === check.version
  const current = tx.get(check.key)
  return current !== undefined && equalValues(current, check.equals)
}

function operate(
  tx: WriteTransaction,
  operation: KvOperation,
): Done<number | boolean> | Refused<'EXISTS' | 'NOT_A_NUMBER' | 'OVERFLOW'> {
  switch (operation.op) {
    case 'set':
      return put(tx, operation.key, operation.value)
    case 'create':
      return create(tx, operation.key, operation.value)
    case 'delete':
      return done(tx.delete(operation.key))
    case 'increment':
      return increment(tx, operation.key, operation.by ?? 1)
  }
}

function done<V extends Value>(value: V): Done<V> {
  return { ok: true, value }
}

function refused<Code extends string>(tx: ReadTransaction, key: string, code: Code): Refused<Code> {
  return { ok: false, code, value: tx.get(key) ?? null, version: tx.version(key) }
}

// What arguments must be

function one(key: string, mode: AccessMode): readonly Access[] {
  return [{ key, mode }]
}

function present(value: unknown, name = 'value'): void {
  expectThat(value !== undefined, `${name} is a value (null, if need be)`, value)
}

function storable(value: unknown): void {
  checkValue(value, { bytesMax: valueBytesMax, name: 'value' })
}

function versionNumber(number: unknown): void {
  expectThat(isWhole(number) && number >= 0, 'a version is a whole number from 0 on', number)
}

function whole(by: unknown): void {
  expectThat(isWhole(by), '`by` is a whole number within ±(2^53 − 1)', by)
}

function isWhole(input: unknown): input is number {
  return Number.isSafeInteger(input)
}

function checkList<T>(
  list: readonly T[],
  name: string,
  checkItem: (item: unknown, name: string) => void,
): readonly T[] {
  expectThat(Array.isArray(list), `${name} are an array`, list)
  for (const [index, item] of list.entries()) checkItem(item, `${name}[${index}]`)
  return list
}

function checkShape(check: unknown, name: string): void {
  expectThat(isPlainObject(check), `${name} is {key} with exists, version or equals`, check)
  const { exists, version } = check
  const conditions = Object.keys(check).filter((field) => field !== 'key')
  const known = conditions.length === 1 && ['exists', 'version', 'equals'].includes(conditions[0] ?? '')
  expectThat(known, `${name} has a key and one of exists, version, equals`, fields(check))
  if (exists !== undefined) expectThat(typeof exists === 'boolean', `${name}.exists is a boolean`, exists)
  if (version !== undefined) versionNumber(version)
}

/** The fields that each operation has besides `op` and `key`. */
const operationFields: Readonly<Record<KvOperation['op'], readonly string[]>> = {
  set: ['value'],
  create: ['value'],
  delete: [],
  increment: ['by'],
}

function operationShape(operation: unknown, name: string): void {
  expectThat(isPlainObject(operation), `${name} is {op, key, …}`, operation)
  const { op, key: _, ...rest } = operation
  const { value, by } = rest
  expectThat(isOperationName(op), `${name}.op is one of ${Object.keys(operationFields).join(', ')}`, op)
  const allowed = operationFields[op]
  const fits = Object.keys(rest).every((field) => allowed.includes(field))
  expectThat(fits, `${name} has op, key${allowed.map((field) => `, ${field}`).join('')} and no more`, fields(operation))
  if (op === 'set' || op === 'create') present(value, `${name}.value`)
  if (op === 'increment' && by !== undefined) whole(by)
}

function isOperationName(op: unknown): op is KvOperation['op'] {
  return typeof op === 'string' && Object.hasOwn(operationFields, op)
}

function fields(input: object): string {
  return Object.keys(input).join(', ')
}

function expectThat(holds: boolean, expected: string, came: unknown): asserts holds {
  if (!holds) throw new WepaxosError('InvalidArgument', `${expected}; got ${describe(came)}`)
}
