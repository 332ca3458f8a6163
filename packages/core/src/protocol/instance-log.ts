// The instances of one epoch that a replica knows: the one mutable place of the protocol's values.
import { assert, must } from '../lib/assert.ts'
import { equalCommands } from './command.ts'
import { equalDeps, noDeps } from './deps.ts'
import { formatInstanceId, type InstanceId, type Row, type Seq } from './ids.ts'
import { type CommittedInstance, type Instance, isCommitted } from './instance.ts'

/** A row is a plain array as long as no hole in it is longer than this: nobody fills memory with holes. */
const holeMax = 1_024

/** The instances of one row. */
interface LogRow {
  /** By seq - 1; undefined where nothing is known. */
  readonly near: (Instance | undefined)[]
  /** By seq; what lies too far beyond the end of `near`. */
  readonly far: Map<Seq, Instance>
}

export class InstanceLog {
  readonly #rows: readonly LogRow[]
  readonly #committedUpTo: number[]
  readonly #knownUpTo: number[]
  #size = 0

  constructor(rows: number) {
    this.#rows = Array.from({ length: rows }, () => ({ near: [], far: new Map() }))
    this.#committedUpTo = noDeps(rows)
    this.#knownUpTo = noDeps(rows)
  }

  get(id: InstanceId): Instance | undefined {
    return this.at(id.row, id.seq)
  }

  at(row: Row, seq: Seq): Instance | undefined {
    const inRow = this.#rows[row]
    if (inRow === undefined || seq < 1) return undefined
    return seq <= inRow.near.length ? inRow.near[seq - 1] : inRow.far.get(seq)
  }

  get size(): number {
    return this.#size
  }

  /** For each row, the highest s such that all of 1 … s are committed here. */
  get committedUpTo(): readonly number[] {
    return this.#committedUpTo
  }

  /** For each row, the highest seq of which anything is known here. */
  get knownUpTo(): readonly number[] {
    return this.#knownUpTo
  }

  /** Replaces what is known of the instance, and gives what was. What is committed never changes; promises never go down. */
  put(instance: Instance): Instance | undefined {
    const { row, seq } = instance.id
    const before = this.at(row, seq)
    if (before === undefined) this.#size++
    else {
      if (instance.promisedBallot < before.promisedBallot) {
        assert(false, `promise for ${formatInstanceId(instance.id)} went down`)
      }
      if (isCommitted(before) && !sameValue(before, instance)) {
        assert(false, `two values were committed for ${formatInstanceId(instance.id)}`)
      }
    }
    this.#set(row, seq, instance)
    if (seq > (this.#knownUpTo[row] ?? 0)) this.#knownUpTo[row] = seq
    if (instance.phase === 'committed' && seq === (this.#committedUpTo[row] ?? 0) + 1) {
      let upTo = seq
      while (isCommitted(this.at(row, upTo + 1))) upTo++
      this.#committedUpTo[row] = upTo
    }
    return before
  }

  /** In order of (row, seq). */
  *all(): Generator<Instance> {
    for (const { near, far } of this.#rows) {
      for (const instance of near) if (instance !== undefined) yield instance
      for (const seq of [...far.keys()].sort((a, b) => a - b)) yield must(far.get(seq), 'the map has its keys')
    }
  }

  #set(row: Row, seq: Seq, instance: Instance): void {
    const { near, far } = must(this.#rows[row], 'a row of the epoch')
    if (seq <= near.length) near[seq - 1] = instance
    else if (seq > near.length + holeMax) far.set(seq, instance)
    else {
      while (near.length < seq - 1) near.push(take(far, near.length + 1))
      near.push(instance)
      far.delete(seq)
      while (far.has(near.length + 1)) near.push(take(far, near.length + 1))
    }
  }
}

function take(far: Map<Seq, Instance>, seq: Seq): Instance | undefined {
  if (far.size === 0) return undefined
  const instance = far.get(seq)
  far.delete(seq)
  return instance
}

function sameValue(committed: CommittedInstance, instance: Instance): boolean {
  return (
    instance.phase === 'committed' &&
    equalCommands(committed.command, instance.command) &&
    equalDeps(committed.deps, instance.deps)
  )
}
