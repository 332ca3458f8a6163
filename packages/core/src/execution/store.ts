// The state that a machine's commands work on: an ordered map from keys to values, each with a version. The store keeps
// what was executed; an overlay keeps what a replica expects on top of it. Both undo a command that was refused. When
// commands run, and in which order, is the executor's business.
import { Reader, utf8Length, Writer } from '../codec/bytes.ts'
import { describe, inspectValue, readValue, ValueTooLarge, withOwnBytes, writeValue } from '../codec/value.ts'
import { assert } from '../lib/assert.ts'
import { WepaxosError } from '../lib/errors.ts'
import { keyBytesMax, valueBytesMax } from '../lib/limits.ts'
import type { Value } from '../lib/value.ts'
import type { Entry, ReadTransaction, WriteTransaction } from './machine.ts'

/** A transaction whose writes since `begin` can be taken back. Begins do not nest. */
export interface AtomicTransaction extends WriteTransaction {
  begin(): void
  /** Keeps the writes since `begin`. */
  commit(): void
  /** Takes the writes since `begin` back: values, versions and revision are what they were. */
  rollback(): void
}

/** An entry as it is kept. Nobody can freeze bytes, so entries with bytes in them are handed out as copies. */
interface Kept {
  readonly entry: Entry
  readonly hasBytes: boolean
}

const snapshotFormat = 1
/** Lists that are remembered until a key with their prefix is written, so that an unchanged list keeps its identity. */
const listsKept = 16

/** Throws InvalidArgument unless `key` is non-empty, well-formed text of at most `keyBytesMax` bytes of UTF-8. */
export function checkKey(key: unknown): string {
  if (typeof key !== 'string') {
    throw new WepaxosError('InvalidArgument', `a key is text, not ${describe(key)}`)
  }
  if (key === '') throw new WepaxosError('InvalidArgument', 'a key is not empty')
  const size = utf8Length(key)
  if (size === undefined) {
    throw new WepaxosError('InvalidArgument', `a key is well-formed text, not half a surrogate pair: ${describe(key)}`)
  }
  if (size > keyBytesMax) throw new ValueTooLarge('a key', keyBytesMax)
  return key
}

/** The executed state. Reading and writing one key is O(1); a list costs its length and the keys added since the last. */
export class Store implements AtomicTransaction {
  readonly #kept = new Map<string, Kept>()
  readonly #index = new KeyIndex()
  readonly #lists = new Map<string, readonly Entry[]>()
  readonly #undo = new UndoLog()
  #revision = 0

  /** Changes with every write that changes something, and only then. Means nothing to other replicas. */
  get revision(): number {
    return this.#revision
  }

  get size(): number {
    return this.#kept.size
  }

  get(key: string): Value | undefined {
    const kept = this.#kept.get(key)
    return kept === undefined ? undefined : handOut(kept).value
  }

  has(key: string): boolean {
    return this.#kept.has(key)
  }

  version(key: string): number {
    return this.#kept.get(key)?.entry.version ?? 0
  }

  list(prefix: string): readonly Entry[] {
    const known = this.#lists.get(prefix)
    if (known !== undefined) return known
    const keys = this.#index.sorted(this.#kept)
    const entries: Entry[] = []
    let hasBytes = false
    for (let at = lowerBound(keys, prefix); at < keys.length; at++) {
      const key = keys[at] as string
      if (!key.startsWith(prefix)) break
      const kept = this.#kept.get(key)
      assert(kept !== undefined, 'the index holds the keys of the map')
      hasBytes ||= kept.hasBytes
      entries.push(handOut(kept))
    }
    Object.freeze(entries)
    if (!hasBytes) {
      if (this.#lists.size === listsKept) this.#lists.delete(this.#lists.keys().next().value ?? '')
      this.#lists.set(prefix, entries)
    }
    return entries
  }

  set(key: string, value: Value): void {
    const before = this.#kept.get(key)
    this.#write(key, before, keep(key, value, before?.entry.version ?? 0, before === undefined))
  }

  delete(key: string): boolean {
    const before = this.#kept.get(key)
    if (before === undefined) return false
    this.#write(key, before, undefined)
    return true
  }

  begin(): void {
    this.#undo.begin(this.#revision)
  }

  commit(): void {
    this.#undo.end()
  }

  rollback(): void {
    for (const { key, before } of this.#undo.newestFirst()) this.#put(key, this.#kept.get(key), before)
    this.#revision = this.#undo.end()
  }

  /** Canonical: equal states give equal bytes. Format, count, then (key, version, value) by ascending key. */
  snapshot(): Uint8Array<ArrayBuffer> {
    const writer = new Writer()
    writer.byte(snapshotFormat)
    writer.varint(this.#kept.size)
    for (const key of this.#index.sorted(this.#kept)) {
      const kept = this.#kept.get(key)
      assert(kept !== undefined, 'the index holds the keys of the map')
      writer.string(key)
      writer.varint(kept.entry.version)
      writeValue(writer, kept.entry.value)
    }
    return writer.finish()
  }

  /** The store that `snapshot` was taken of. Throws DecodeError for anything that `snapshot` would not have written. */
  static restore(snapshot: Uint8Array): Store {
    const reader = new Reader(snapshot)
    const format = reader.byte()
    if (format !== snapshotFormat) reader.fail(`a snapshot has format ${snapshotFormat}, not ${format}`)
    const store = new Store()
    const count = reader.varint()
    let previous = ''
    for (let index = 0; index < count; index++) {
      const key = reader.string()
      // The empty key, which none may have, is not above the empty text that stands before the first.
      if (key <= previous) reader.fail('the keys of a snapshot are not in ascending order')
      previous = key
      const version = reader.varint()
      if (version === 0) reader.fail('an entry of a snapshot has version 0')
      store.#kept.set(key, restoreEntry(reader, key, version))
    }
    reader.end()
    return store
  }

  #write(key: string, before: Kept | undefined, after: Kept | undefined): void {
    this.#undo.note(key, before)
    this.#put(key, before, after)
    this.#revision++
  }

  #put(key: string, before: Kept | undefined, after: Kept | undefined): void {
    if (after === undefined) this.#kept.delete(key)
    else this.#kept.set(key, after)
    if (before === undefined && after !== undefined) this.#index.added(key)
    else if (before !== undefined && after === undefined) this.#index.removed(key)
    if (this.#lists.size === 0) return
    for (const prefix of this.#lists.keys()) if (key.startsWith(prefix)) this.#lists.delete(prefix)
  }
}

/**
 * A state with changes on top of another that stays as it is: the optimistic view. What is below must not change while an
 * overlay has changes, for they hold versions and existence as they were: discard, and run the commands again.
 */
export class Overlay implements AtomicTransaction {
  readonly #below: ReadTransaction
  /** What is different: entries that were written, and keys that were deleted although they exist below. */
  readonly #changes = new Map<string, Kept | 'deleted'>()
  readonly #undo = new UndoLog<Kept | 'deleted'>()
  /** Keys here less keys below. */
  #surplus = 0

  constructor(below: ReadTransaction) {
    this.#below = below
  }

  get size(): number {
    return this.#below.size + this.#surplus
  }

  get(key: string): Value | undefined {
    const change = this.#changes.get(key)
    if (change === undefined) return this.#below.get(key)
    return change === 'deleted' ? undefined : handOut(change).value
  }

  has(key: string): boolean {
    const change = this.#changes.get(key)
    return change === undefined ? this.#below.has(key) : change !== 'deleted'
  }

  version(key: string): number {
    const change = this.#changes.get(key)
    if (change === undefined) return this.#below.version(key)
    return change === 'deleted' ? 0 : change.entry.version
  }

  list(prefix: string): readonly Entry[] {
    const below = this.#below.list(prefix)
    const changed: string[] = []
    for (const key of this.#changes.keys()) if (key.startsWith(prefix)) changed.push(key)
    if (changed.length === 0) return below
    changed.sort()
    const entries: Entry[] = []
    let at = 0
    for (const key of changed) {
      for (let entry = below[at]; entry !== undefined && entry.key <= key; entry = below[++at]) {
        if (entry.key < key) entries.push(entry)
      }
      const change = this.#changes.get(key)
      if (change !== undefined && change !== 'deleted') entries.push(handOut(change))
    }
    for (; at < below.length; at++) entries.push(below[at] as Entry)
    return Object.freeze(entries)
  }

  set(key: string, value: Value): void {
    const version = this.version(key)
    this.#write(key, keep(key, value, version, version === 0))
  }

  delete(key: string): boolean {
    if (!this.has(key)) return false
    this.#write(key, this.#below.has(key) ? 'deleted' : undefined)
    return true
  }

  begin(): void {
    this.#undo.begin(this.#surplus)
  }

  commit(): void {
    this.#undo.end()
  }

  rollback(): void {
    for (const { key, before } of this.#undo.newestFirst()) this.#put(key, before)
    this.#surplus = this.#undo.end()
  }

  /** Forgets all changes: reads give what is below again. */
  discard(): void {
    this.#changes.clear()
    this.#surplus = 0
  }

  #write(key: string, after: Kept | 'deleted' | undefined): void {
    const had = this.has(key)
    this.#undo.note(key, this.#changes.get(key))
    this.#put(key, after)
    this.#surplus += Number(this.has(key)) - Number(had)
  }

  #put(key: string, after: Kept | 'deleted' | undefined): void {
    if (after === undefined) this.#changes.delete(key)
    else this.#changes.set(key, after)
  }
}

/** Checks what is to be kept and makes the entry. A key that is there already was checked when it came. */
function keep(key: string, value: unknown, versionBefore: number, isNew: boolean): Kept {
  if (isNew) checkKey(key)
  const checked = inspectValue(value, { bytesMax: valueBytesMax, name: 'a value of the store' })
  const entry = Object.freeze({ key, value: checked.value, version: versionBefore + 1 })
  return { entry, hasBytes: checked.hasBytes }
}

function restoreEntry(reader: Reader, key: string, version: number): Kept {
  const start = reader.offset
  const value = readValue(reader)
  if (reader.offset - start > valueBytesMax) reader.fail(`a value is larger than ${valueBytesMax} bytes`)
  if ((utf8Length(key) ?? 0) > keyBytesMax) reader.fail(`a key is larger than ${keyBytesMax} bytes`)
  return { entry: Object.freeze({ key, value, version }), hasBytes: withOwnBytes(value) !== value }
}

function handOut(kept: Kept): Entry {
  if (!kept.hasBytes) return kept.entry
  const { key, value, version } = kept.entry
  return Object.freeze({ key, value: withOwnBytes(value), version })
}

/** What the keys that were written since `begin` held before, and one number that goes with them. */
class UndoLog<T = Kept> {
  readonly #steps: { readonly key: string; readonly before: T | undefined }[] = []
  #open = false
  #number = 0

  begin(number: number): void {
    assert(!this.#open, 'a transaction ends before the next begins')
    this.#open = true
    this.#number = number
  }

  note(key: string, before: T | undefined): void {
    if (this.#open) this.#steps.push({ key, before })
  }

  newestFirst(): readonly { readonly key: string; readonly before: T | undefined }[] {
    return this.#steps.reverse()
  }

  /** Forgets the steps, and gives the number back. */
  end(): number {
    assert(this.#open, 'a transaction begins before it ends')
    this.#open = false
    if (this.#steps.length > 0) this.#steps.length = 0
    return this.#number
  }
}

/** Up to so many new keys, putting each in its place is cheaper than one pass over all. */
const insertionsMax = 8

/**
 * The keys in order, brought up to date only when somebody asks: nothing is kept before the first list; after that a
 * list costs a binary search and a move of memory for a few changed keys, or one merge for many.
 */
class KeyIndex {
  #keys: string[] | undefined
  /** Keys that came (true) or went (false) since `#keys` was up to date. */
  readonly #pending = new Map<string, boolean>()

  added(key: string): void {
    this.#change(key, true)
  }

  removed(key: string): void {
    this.#change(key, false)
  }

  sorted(current: ReadonlyMap<string, unknown>): readonly string[] {
    if (this.#keys === undefined) this.#keys = [...current.keys()].sort()
    else if (this.#pending.size <= insertionsMax) this.#insert(this.#keys)
    else this.#keys = this.#merge(this.#keys)
    this.#pending.clear()
    return this.#keys
  }

  #change(key: string, present: boolean): void {
    if (this.#keys === undefined) return
    // One change and its opposite: the index has it right already.
    if (!this.#pending.delete(key)) this.#pending.set(key, present)
  }

  #insert(keys: string[]): void {
    for (const [key, present] of this.#pending) {
      const at = lowerBound(keys, key)
      if (present) keys.splice(at, 0, key)
      else keys.splice(at, 1)
    }
  }

  #merge(keys: readonly string[]): string[] {
    const came: string[] = []
    for (const [key, present] of this.#pending) if (present) came.push(key)
    came.sort()
    const merged: string[] = []
    let next = 0
    for (const key of keys) {
      for (let other = came[next]; other !== undefined && other < key; other = came[++next]) merged.push(other)
      if (!this.#pending.has(key)) merged.push(key)
    }
    for (; next < came.length; next++) merged.push(came[next] as string)
    return merged
  }
}

/** Where the first key stands that is not below `key`. */
function lowerBound(keys: readonly string[], key: string): number {
  let low = 0
  let high = keys.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if ((keys[middle] as string) < key) low = middle + 1
    else high = middle
  }
  return low
}
