// Whether a history of operations on a key-value store is linearizable: a search in the manner of Wing and Gong with the
// memo of Lowe, key by key. An operation whose outcome is unknown may have taken effect at any time after its call, or never.
import type { Value } from '../src/lib/value.ts'
import type { HistoryLine } from './history.ts'

export type Operation =
  | { readonly op: 'set'; readonly value: Value }
  | { readonly op: 'get' }
  | { readonly op: 'create'; readonly value: Value }
  | { readonly op: 'delete' }
  | { readonly op: 'increment' | 'add'; readonly by: number }
  | { readonly op: 'compareAndSet'; readonly expected: Value; readonly value: Value }

export interface HistoryEntry {
  readonly client: string
  readonly key: string
  readonly operation: Operation
  readonly call: number
  /** Null where the outcome is unknown. */
  return: number | null
  /** Canonical text of the result; compared with what the model says. */
  result: string | null
}

/** The model: state of one key (null: not there) and operation → next state and result, as texts. */
export function applyOperation(
  state: string,
  operation: Operation,
): { readonly state: string; readonly result: string } {
  switch (operation.op) {
    case 'set':
      return { state: JSON.stringify(operation.value), result: 'ok' }
    case 'get':
      return { state, result: state }
    case 'create':
      return state === 'absent' ? { state: JSON.stringify(operation.value), result: 'ok' } : { state, result: 'exists' }
    case 'delete':
      return { state: 'absent', result: state === 'absent' ? 'nothing' : 'deleted' }
    case 'increment':
    case 'add': {
      const before = state === 'absent' ? 0 : Number(JSON.parse(state))
      const after = String(before + operation.by)
      return { state: after, result: operation.op === 'add' ? 'ok' : after }
    }
    case 'compareAndSet':
      return state === JSON.stringify(operation.expected)
        ? { state: JSON.stringify(operation.value), result: 'ok' }
        : { state, result: 'mismatch' }
  }
}

export type Verdict = 'yes' | 'no' | 'undecided'

/** For each key, whether its operations can be put in one order. */
export function judgeHistory(history: readonly HistoryEntry[]): ReadonlyMap<string, Verdict> {
  const byKey = new Map<string, HistoryEntry[]>()
  for (const entry of history) {
    const list = byKey.get(entry.key)
    if (list === undefined) byKey.set(entry.key, [entry])
    else list.push(entry)
  }
  return new Map([...byKey].map(([key, entries]) => [key, judge(entries)]))
}

/** A line of a history file as an operation on one key. Throws on those that touch several. */
export function entryOf(line: HistoryLine): HistoryEntry {
  const { client, key, call, args, result } = line
  if (typeof key !== 'string') throw new Error(`${line.op} is no operation on one key`)
  const [first = null, second = null] = args
  const known = line.return !== null
  const text = (yes: string, no: string) => (result === true ? yes : no)
  const entry = (operation: Operation, answer: string): HistoryEntry => {
    return { client, key, operation, call, return: line.return, result: known ? answer : null }
  }
  switch (line.op) {
    case 'get':
      return entry({ op: 'get' }, result === null ? 'absent' : JSON.stringify(result))
    case 'set':
      return entry({ op: 'set', value: first }, 'ok')
    case 'create':
      return entry({ op: 'create', value: first }, text('ok', 'exists'))
    case 'delete':
      return entry({ op: 'delete' }, text('deleted', 'nothing'))
    case 'compareAndSet':
      return entry({ op: 'compareAndSet', expected: first, value: second }, text('ok', 'mismatch'))
    case 'increment':
      return entry({ op: 'increment', by: Number(first) }, JSON.stringify(result))
    case 'add':
      return entry({ op: 'add', by: Number(first) }, 'ok')
    default:
      throw new Error(`there is no operation ${line.op}`)
  }
}

/** First without what nobody saw, which is quick; only a 'yes' is final there, for an unseen write may explain a mismatch. */
function judge(entries: readonly HistoryEntry[]): Verdict {
  return judgeKey(withoutUnseen(entries)) === 'yes' ? 'yes' : judgeKey(entries)
}

/**
 * Leaves out writes of unknown outcome whose value nobody ever saw: a history that is linearizable without them is
 * linearizable. Values tell their writer: increments stay within the thousand of the write that they build on.
 */
function withoutUnseen(entries: readonly HistoryEntry[]): readonly HistoryEntry[] {
  const seen = new Set<number>()
  const see = (value: unknown) => {
    if (typeof value === 'number') seen.add(Math.floor(value / 1_000))
  }
  for (const { result, return: returned, operation } of entries) {
    if (returned !== null && result !== null && result !== 'absent') see(Number(result))
    if (operation.op === 'compareAndSet') see(operation.expected)
  }
  return entries.filter(({ return: returned, operation }) => {
    if (returned !== null) return true
    if (operation.op === 'get') return false
    if (operation.op === 'set' || operation.op === 'create' || operation.op === 'compareAndSet') {
      return seen.has(Math.floor(Number(operation.value) / 1_000))
    }
    return true
  })
}

/** Configurations looked at before the judge gives up. */
const budgetMax = 20_000

/**
 * Depth first over "which operation took effect next": one may be next if it was called before every other open one
 * returned. States seen with the same set of done operations are not searched twice.
 */
export function judgeKey(entries: readonly HistoryEntry[]): Verdict {
  const operations = [...entries].sort((a, b) => a.call - b.call)
  const count = operations.length
  const done = new Uint8Array(count)
  const seen = new Set<string>()
  interface Frame {
    readonly state: string
    candidates: number[]
    position: number
    taken: number
  }
  let openKnown = operations.filter((entry) => entry.return !== null).length

  const candidatesNow = (): number[] => {
    let firstReturn = Number.POSITIVE_INFINITY
    for (let at = 0; at < count; at++) {
      const entry = operations[at] as HistoryEntry
      if (entry.call > firstReturn) break
      if (done[at] === 0 && entry.return !== null && entry.return < firstReturn) firstReturn = entry.return
    }
    const found: number[] = []
    for (let at = 0; at < count; at++) {
      const entry = operations[at] as HistoryEntry
      if (entry.call > firstReturn) break
      if (done[at] === 0) found.push(at)
    }
    // those whose result is known first: the unknown ones are rarely needed
    return found.sort(
      (a, b) => Number(operations[a]?.return === null) - Number(operations[b]?.return === null) || a - b,
    )
  }

  const frames: Frame[] = [{ state: 'absent', candidates: candidatesNow(), position: 0, taken: -1 }]
  while (openKnown > 0) {
    const frame = frames.at(-1)
    if (frame === undefined) return 'no'
    if (seen.size > budgetMax) return 'undecided'
    if (frame.taken >= 0) {
      done[frame.taken] = 0
      if (operations[frame.taken]?.return !== null) openKnown++
      frame.taken = -1
    }
    const at = frame.candidates[frame.position++]
    if (at === undefined) {
      frames.pop()
      continue
    }
    const entry = operations[at] as HistoryEntry
    const next = applyOperation(frame.state, entry.operation)
    if (entry.return !== null && entry.result !== next.result) continue
    done[at] = 1
    const memo = `${next.state}|${done.join('')}`
    if (seen.has(memo)) {
      done[at] = 0
      continue
    }
    seen.add(memo)
    frame.taken = at
    if (entry.return !== null) openKnown--
    frames.push({ state: next.state, candidates: candidatesNow(), position: 0, taken: -1 })
  }
  return 'yes'
}
