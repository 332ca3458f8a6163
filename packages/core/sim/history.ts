// What the clients of a run asked and were told, and when; and the same as lines of JSON, for judging by other tools.
import type { Value } from '../src/lib/value.ts'
import type { KvCheck, KvOperation } from '../src/state-machines/kv.ts'
import type { Sight } from './recorded-kv.ts'

export type Command =
  | { readonly op: 'set' | 'create'; readonly key: string; readonly value: number }
  | { readonly op: 'delete'; readonly key: string }
  | { readonly op: 'compareAndSet'; readonly key: string; readonly expected: Value; readonly value: number }
  | { readonly op: 'increment' | 'add'; readonly key: string; readonly by: number }
  | { readonly op: 'transact'; readonly checks: readonly KvCheck[]; readonly operations: readonly KvOperation[] }

export type Read = { readonly op: 'get'; readonly key: string } | { readonly op: 'list' }

interface Asked {
  readonly client: string
  readonly call: number
  /** Null where the outcome is unknown. */
  return: number | null
}

export interface CommandCall extends Asked {
  readonly kind: 'command'
  /** Names the command in what replicas record. */
  readonly tag: number
  readonly command: Command
  /** What the client was told: `resultOf` of the machine's result. */
  result: Value
}

export interface ReadCall extends Asked {
  readonly kind: 'read'
  readonly read: Read
  sights: readonly Sight[]
}

export type Call = CommandCall | ReadCall

/** One line of a history file. Times are simulated milliseconds. */
export interface HistoryLine {
  readonly client: string
  readonly call: number
  readonly return: number | null
  readonly op: string
  /** The key; for a transaction all its keys; null for a read of everything. */
  readonly key: string | readonly string[] | null
  readonly args: readonly Value[]
  /** Null where it is unknown. A key that is not there reads as null. */
  readonly result: Value
}

export function toLine(call: Call): HistoryLine {
  const { client, call: at, return: returned } = call
  const when = { client, call: at, return: returned }
  if (call.kind === 'read') {
    const [one] = call.sights
    const all = () => Object.fromEntries(call.sights.map(({ key, value }) => [key, value]))
    const seen = call.read.op === 'get' ? (one?.value ?? null) : all()
    const key = call.read.op === 'get' ? call.read.key : null
    return { ...when, op: call.read.op, key, args: [], result: returned === null ? null : seen }
  }
  const { command } = call
  const result = returned === null ? null : call.result
  return { ...when, op: command.op, key: keyOf(command), args: argumentsOf(command), result }
}

function keyOf(command: Command): string | readonly string[] {
  if (command.op !== 'transact') return command.key
  return [...new Set([...command.checks, ...command.operations].map(({ key }) => key))].sort()
}

function argumentsOf(command: Command): readonly Value[] {
  switch (command.op) {
    case 'set':
    case 'create':
      return [command.value]
    case 'delete':
      return []
    case 'compareAndSet':
      return [command.expected, command.value]
    case 'increment':
    case 'add':
      return [command.by]
    case 'transact':
      return [command.checks.map((one) => ({ ...one })), command.operations.map((one) => ({ ...one }))]
  }
}

export function writeHistory(calls: readonly Call[]): string {
  return calls.map((call) => `${JSON.stringify(toLine(call))}\n`).join('')
}

/** The lines of a history file. Throws where one is no such line. */
export function readHistory(text: string): HistoryLine[] {
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line, at) => {
      const read: unknown = JSON.parse(line)
      if (!isLine(read)) throw new Error(`line ${at + 1} of the history is no {client, call, return, op, …}: ${line}`)
      return read
    })
}

function isLine(read: unknown): read is HistoryLine {
  if (typeof read !== 'object' || read === null) return false
  const fields = new Map(Object.entries(read))
  const returned = fields.get('return')
  return (
    typeof fields.get('client') === 'string' &&
    typeof fields.get('call') === 'number' &&
    (returned === null || typeof returned === 'number') &&
    typeof fields.get('op') === 'string' &&
    Array.isArray(fields.get('args')) &&
    fields.has('key') &&
    fields.has('result')
  )
}
