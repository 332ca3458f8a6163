// Whether a history of operations on a key-value store is linearizable: a search in the manner of Wing and Gong with the
// memo of Lowe, key by key. An operation whose outcome is unknown may have taken effect at any time after its call, or never.
import type { Value } from '../src/lib/value.ts'

export type Operation =
  | { readonly op: 'set'; readonly value: Value }
  | { readonly op: 'get' }
  | { readonly op: 'increment'; readonly by: number }
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
  /** The command's key in the system; null for reads, which are no commands. */
  name: string | null
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
    case 'increment': {
      const before = state === 'absent' ? 0 : Number(JSON.parse(state))
      const after = String(before + operation.by)
      return { state: after, result: after }
    }
    case 'compareAndSet':
      return state === JSON.stringify(operation.expected)
        ? { state: JSON.stringify(operation.value), result: 'ok' }
        : { state, result: 'mismatch' }
  }
}

export type Verdict = 'yes' | 'no' | 'undecided'

/**
 * For each key, whether its operations can be put in one order. `witness` is an order of command names that may be one: if
 * it explains the history, that settles it at once; if not, all orders are searched.
 */
export function judgeHistory(
  history: readonly HistoryEntry[],
  witness: readonly string[] = [],
): ReadonlyMap<string, Verdict> {
  const place = new Map(witness.map((name, at) => [name, at]))
  const byKey = new Map<string, HistoryEntry[]>()
  for (const entry of history) {
    const list = byKey.get(entry.key)
    if (list === undefined) byKey.set(entry.key, [entry])
    else list.push(entry)
  }
  return new Map([...byKey].map(([key, entries]) => [key, explains(entries, place) ? 'yes' : judge(entries)]))
}

/**
 * Whether the commands of one key, in the order of their places, give every result that was answered, and keep the order of
 * what did not overlap; reads are fitted in between.
 */
export function explains(entries: readonly HistoryEntry[], place: ReadonlyMap<string, number>): boolean {
  const commands = entries
    .filter((entry) => entry.name !== null && place.has(entry.name))
    .sort((a, b) => (place.get(a.name ?? '') ?? 0) - (place.get(b.name ?? '') ?? 0))
  // what was answered took effect
  const missing = entries.some((entry) => entry.return !== null && entry.name !== null && !place.has(entry.name))
  if (missing) return false
  /** The state after each command; the first is the state before all. */
  const states = ['absent']
  let latestCall = Number.NEGATIVE_INFINITY
  for (const { operation, call, return: returned, result } of commands) {
    // one that comes later in the order may not have returned before an earlier one was called
    if (returned !== null && returned < latestCall) return false
    latestCall = Math.max(latestCall, call)
    const next = applyOperation(states.at(-1) ?? 'absent', operation)
    if (returned !== null && result !== next.result) return false
    states.push(next.state)
  }
  return fitReads(entries, commands, states)
}

/** Reads, in the order of their returns, each at the first place that real time allows and that shows what it saw. */
function fitReads(
  entries: readonly HistoryEntry[],
  commands: readonly HistoryEntry[],
  states: readonly string[],
): boolean {
  const reads = entries.filter((entry) => entry.name === null && entry.return !== null)
  const placed: { readonly at: number; readonly read: HistoryEntry }[] = []
  for (const read of reads.sort((a, b) => a.call - b.call)) {
    let first = 0
    let last = commands.length
    for (const [at, command] of commands.entries()) {
      if (command.return !== null && command.return < read.call) first = Math.max(first, at + 1)
      if (read.return !== null && command.call > read.return) last = Math.min(last, at)
    }
    for (const earlier of placed) {
      if (earlier.read.return !== null && earlier.read.return < read.call) first = Math.max(first, earlier.at)
    }
    const at = states.findIndex((state, index) => index >= first && index <= last && state === read.result)
    if (at < 0) return false
    placed.push({ at, read })
  }
  return true
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
    return operation.op === 'increment' || seen.has(Math.floor(Number(operation.value) / 1_000))
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
