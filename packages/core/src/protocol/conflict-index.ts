// For every key, the highest instances of each row that touch it: what conflicts(c) is read from. Entries only ever go
// up, so a command that later became a Nop still counts: a superset of the conflicts is safe (docs/protocol.md, section 3).
import type { AccessMode, Command, Footprint } from './command.ts'
import { noDeps } from './deps.ts'
import type { InstanceId } from './ids.ts'

function raise(watermarks: number[], id: InstanceId): void {
  if (id.seq > (watermarks[id.row] ?? 0)) watermarks[id.row] = id.seq
}

/** The watermarks of all keys in one mode: one flat array, so that a key costs neither an object nor an array. */
class KeyWatermarks {
  readonly #rows: number
  /** Where in #marks the key's watermarks begin, one a row. */
  readonly #offsets = new Map<number, number>()
  #marks: Float64Array
  #used = 0

  constructor(rows: number) {
    this.#rows = rows
    this.#marks = new Float64Array(64 * rows)
  }

  raise(key: number, { row, seq }: InstanceId): void {
    let offset = this.#offsets.get(key)
    if (offset === undefined) {
      offset = this.#used
      this.#used += this.#rows
      if (this.#used > this.#marks.length) this.#grow()
      this.#offsets.set(key, offset)
    }
    if (seq > (this.#marks[offset + row] ?? 0)) this.#marks[offset + row] = seq
  }

  has(key: number): boolean {
    return this.#offsets.has(key)
  }

  mergeInto(target: number[], key: number): void {
    if (this.#used === 0) return
    const offset = this.#offsets.get(key)
    if (offset === undefined) return
    for (let row = 0; row < target.length; row++) {
      const mark = this.#marks[offset + row] ?? 0
      if (mark > (target[row] ?? 0)) target[row] = mark
    }
  }

  #grow(): void {
    const marks = new Float64Array(this.#marks.length * 2)
    marks.set(this.#marks)
    this.#marks = marks
  }
}

export class ConflictIndex {
  /** Instances of any command. */
  readonly #any: number[]
  /** Instances that conflict with every command: barriers, Nops, commands that touch everything. */
  readonly #everything: number[]
  readonly #keys: Readonly<Record<AccessMode, KeyWatermarks>>

  constructor(rows: number) {
    this.#any = noDeps(rows)
    this.#everything = noDeps(rows)
    this.#keys = { read: new KeyWatermarks(rows), write: new KeyWatermarks(rows), add: new KeyWatermarks(rows) }
  }

  add(id: InstanceId, command: Command): void {
    raise(this.#any, id)
    if (command.kind !== 'application') {
      // [CF2] a Nop, while ordering, conflicts with every command
      raise(this.#everything, id)
      return
    }
    for (const { footprint } of command.proposals) {
      if (footprint === 'everything') raise(this.#everything, id)
      else for (const { key, mode } of footprint) this.#keys[mode].raise(key, id)
    }
  }

  /** Everything known up to each row's highest instance that conflicts with `command`. A new array. */
  conflicts(command: Command): number[] {
    if (command.kind !== 'application') return this.#any.slice()
    const deps = this.#everything.slice()
    for (const proposal of command.proposals) this.#mergeFootprint(deps, proposal.footprint)
    return deps
  }

  /** The same for a read that is no command: section 11. */
  conflictsOfFootprint(footprint: Footprint): number[] {
    const deps = this.#everything.slice()
    this.#mergeFootprint(deps, footprint)
    return deps
  }

  /** Whether commands of this epoch touch the key that conflict with a read and not with each other. */
  hasCommuting(key: number): boolean {
    return this.#keys.add.has(key)
  }

  #mergeFootprint(deps: number[], footprint: Footprint): void {
    if (footprint === 'everything') {
      for (let row = 0; row < deps.length; row++) deps[row] = Math.max(deps[row] ?? 0, this.#any[row] ?? 0)
      return
    }
    for (const { key, mode } of footprint) {
      this.#keys.write.mergeInto(deps, key)
      if (mode !== 'read') this.#keys.read.mergeInto(deps, key)
      if (mode !== 'add') this.#keys.add.mergeInto(deps, key)
    }
  }
}
