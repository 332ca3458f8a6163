// The key-value store of the simulated clusters: the one that ships, and beside each key a note of what was done to it, so
// that whatever is executed or read says exactly what it came after. The note of a key counts the commands that had to be
// ordered (its generation), and names the commuting ones since the last of them.
import { defineMachine } from '../src/execution/define-machine.ts'
import type {
  Access,
  CommandResult,
  MachineDefinition,
  ReadTransaction,
  WriteTransaction,
} from '../src/execution/machine.ts'
import type { Value } from '../src/lib/value.ts'
import { type KvCheck, type KvOperation, kv } from '../src/state-machines/kv.ts'

/** One key as a command or a read found it. */
export interface Sight {
  readonly key: string
  /** Null: the key is not there. */
  readonly value: Value
  readonly generation: number
  /** Tags of the additions since the generation began, ascending. */
  readonly adds: readonly number[]
}

export type Change = 'replaces' | 'adds' | 'leaves'

/** What one execution of a command found and did. */
export interface Execution {
  /** Names the command: the simulation gives each its own number. */
  readonly tag: number
  readonly touches: readonly { readonly before: Sight; readonly change: Change }[]
  readonly result: CommandResult
}

export type RecordedCommands = {
  readonly set: (tx: WriteTransaction, tag: number, key: string, value: Value) => CommandResult
  readonly create: (tx: WriteTransaction, tag: number, key: string, value: Value) => CommandResult
  readonly delete: (tx: WriteTransaction, tag: number, key: string) => CommandResult
  readonly compareAndSet: (
    tx: WriteTransaction,
    tag: number,
    key: string,
    expected: Value,
    value: Value,
  ) => CommandResult
  readonly increment: (tx: WriteTransaction, tag: number, key: string, by: number) => CommandResult
  readonly add: (tx: WriteTransaction, tag: number, key: string, by: number) => CommandResult
  readonly transact: (
    tx: WriteTransaction,
    tag: number,
    checks: readonly KvCheck[],
    operations: readonly KvOperation[],
  ) => CommandResult
}

export type RecordedQueries = {
  /** One key. */
  readonly get: (tx: ReadTransaction, key: string) => Sight
  /** All keys that were ever touched, at one moment. */
  readonly list: (tx: ReadTransaction) => readonly Sight[]
}

const noteMark = '~'

/** `executed` is called whenever a replica runs a command, on its state or as a forecast. */
export function recordedKv(
  executed: (execution: Execution) => void,
): MachineDefinition<RecordedCommands, RecordedQueries> {
  const { commands } = kv()

  function ordered(
    tx: WriteTransaction,
    tag: number,
    written: readonly string[],
    looked: readonly string[],
    run: () => CommandResult,
  ): CommandResult {
    const before = new Map([...written, ...looked].map((key) => [key, sight(tx, key)]))
    const result = run()
    const touches = [...before.values()].map((one) => {
      const change: Change = result.ok && written.includes(one.key) ? 'replaces' : 'leaves'
      if (change === 'replaces') tx.set(noteOf(one.key), [one.generation + 1])
      return { before: one, change }
    })
    executed({ tag, touches, result })
    return result
  }

  return defineMachine<RecordedCommands, RecordedQueries>({
    name: 'recorded-kv',
    version: 1,
    commands: {
      set: (tx, tag, key, value) => ordered(tx, tag, [key], [], () => commands.set(tx, key, value)),
      create: (tx, tag, key, value) => ordered(tx, tag, [key], [], () => commands.create(tx, key, value)),
      delete: (tx, tag, key) => ordered(tx, tag, [key], [], () => commands.delete(tx, key)),
      compareAndSet: (tx, tag, key, expected, value) =>
        ordered(tx, tag, [key], [], () => commands.compareAndSet(tx, key, expected, value)),
      increment: (tx, tag, key, by) => ordered(tx, tag, [key], [], () => commands.increment(tx, key, by)),
      add: (tx, tag, key, by) => {
        const before = sight(tx, key)
        const result = commands.add(tx, key, by)
        if (result.ok) tx.set(noteOf(key), [before.generation, ...[...before.adds, tag].sort((a, b) => a - b)])
        executed({ tag, touches: [{ before, change: result.ok ? 'adds' : 'leaves' }], result })
        return result
      },
      transact: (tx, tag, checks, operations) => {
        const written = [...new Set(operations.map(({ key }) => key))]
        const looked = [...new Set(checks.map(({ key }) => key))].filter((key) => !written.includes(key))
        return ordered(tx, tag, written, looked, () => commands.transact(tx, checks, operations))
      },
    },
    queries: {
      get: (tx, key) => sight(tx, key),
      list: (tx) =>
        tx
          .list('')
          .filter(({ key }) => key.endsWith(noteMark))
          .map(({ key }) => sight(tx, key.slice(0, -noteMark.length))),
    },
    footprint: {
      set: (_tag, key) => both(key, 'write'),
      create: (_tag, key) => both(key, 'write'),
      delete: (_tag, key) => both(key, 'write'),
      compareAndSet: (_tag, key) => both(key, 'write'),
      increment: (_tag, key) => both(key, 'write'),
      add: (_tag, key) => both(key, 'add'),
      transact: (_tag, checks, operations) => [
        ...checks.flatMap(({ key }) => both(key, 'read')),
        ...operations.flatMap(({ key }) => both(key, 'write')),
      ],
    },
    queryFootprint: { get: (key) => both(key, 'read') },
  })
}

function noteOf(key: string): string {
  return `${key}${noteMark}`
}

function both(key: string, mode: Access['mode']): readonly Access[] {
  return [
    { key, mode },
    { key: noteOf(key), mode },
  ]
}

function sight(tx: ReadTransaction, key: string): Sight {
  const note = tx.get(noteOf(key))
  const [generation = 0, ...adds] = Array.isArray(note) ? (note as readonly number[]) : []
  return { key, value: tx.get(key) ?? null, generation, adds }
}
