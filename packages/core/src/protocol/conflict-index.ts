// For every key, the highest instances of each row that touch it: what conflicts(c) is read from. Entries only ever go
// up, so a command that later became a Nop still counts: a superset of the conflicts is safe (docs/protocol.md, section 3).
import type { AccessMode, Command, Footprint } from './command.ts'
import { noDeps } from './deps.ts'
import type { InstanceId } from './ids.ts'

/** Watermarks of one key by mode; absent while no command of that mode was seen. */
interface KeyWatermarks {
  read: number[] | undefined
  write: number[] | undefined
  add: number[] | undefined
}

function raise(watermarks: number[], id: InstanceId): void {
  if (id.seq > (watermarks[id.row] ?? 0)) watermarks[id.row] = id.seq
}

function mergeInto(target: number[], source: readonly number[] | undefined): void {
  if (source === undefined) return
  for (let row = 0; row < target.length; row++) {
    const mark = source[row] ?? 0
    if (mark > (target[row] ?? 0)) target[row] = mark
  }
}

export class ConflictIndex {
  readonly #rows: number
  /** Instances of any command. */
  readonly #any: number[]
  /** Instances that conflict with every command: barriers, Nops, commands that touch everything. */
  readonly #everything: number[]
  readonly #keys = new Map<number, KeyWatermarks>()

  constructor(rows: number) {
    this.#rows = rows
    this.#any = noDeps(rows)
    this.#everything = noDeps(rows)
  }

  add(id: InstanceId, command: Command): void {
    raise(this.#any, id)
    if (command.kind !== 'application') {
      // [CF2] a Nop, while ordering, conflicts with every command
      raise(this.#everything, id)
      return
    }
    for (const proposal of command.proposals) this.#addFootprint(id, proposal.footprint)
  }

  #addFootprint(id: InstanceId, footprint: Footprint): void {
    if (footprint === 'everything') {
      raise(this.#everything, id)
      return
    }
    for (const { key, mode } of footprint) {
      let entry = this.#keys.get(key)
      if (entry === undefined) {
        entry = { read: undefined, write: undefined, add: undefined }
        this.#keys.set(key, entry)
      }
      let watermarks = entry[mode]
      if (watermarks === undefined) {
        watermarks = noDeps(this.#rows)
        entry[mode] = watermarks
      }
      raise(watermarks, id)
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

  #mergeFootprint(deps: number[], footprint: Footprint): void {
    if (footprint === 'everything') {
      mergeInto(deps, this.#any)
      return
    }
    for (const { key, mode } of footprint) {
      const entry = this.#keys.get(key)
      if (entry !== undefined) this.#mergeMode(deps, entry, mode)
    }
  }

  #mergeMode(deps: number[], entry: KeyWatermarks, mode: AccessMode): void {
    mergeInto(deps, entry.write)
    if (mode !== 'read') mergeInto(deps, entry.read)
    if (mode !== 'add') mergeInto(deps, entry.add)
  }
}
