// The instances of one epoch that a replica knows: the one mutable place of the protocol's values.
import { assert } from '../lib/assert.ts'
import { equalCommands } from './command.ts'
import { equalDeps } from './deps.ts'
import { formatInstanceId, type InstanceId, type Row, type Seq } from './ids.ts'
import { type Instance, type InstanceKey, instanceKey, isCommitted } from './instance.ts'

export class InstanceLog {
  readonly #instances = new Map<InstanceKey, Instance>()
  readonly #committedUpTo: number[]
  readonly #knownUpTo: number[]

  constructor(rows: number) {
    this.#committedUpTo = new Array<number>(rows).fill(0)
    this.#knownUpTo = new Array<number>(rows).fill(0)
  }

  get(id: InstanceId): Instance | undefined {
    return this.#instances.get(instanceKey(id))
  }

  at(row: Row, seq: Seq): Instance | undefined {
    return this.#instances.get(seq * 16 + row)
  }

  get size(): number {
    return this.#instances.size
  }

  /** For each row, the highest s such that all of 1 … s are committed here. */
  get committedUpTo(): readonly number[] {
    return this.#committedUpTo
  }

  /** For each row, the highest seq of which anything is known here. */
  get knownUpTo(): readonly number[] {
    return this.#knownUpTo
  }

  /** Replaces what is known of the instance. What is committed never changes; promises never go down. */
  put(instance: Instance): void {
    const { id } = instance
    const key = instanceKey(id)
    const before = this.#instances.get(key)
    if (before !== undefined) {
      assert(instance.promisedBallot >= before.promisedBallot, `promise for ${formatInstanceId(id)} went down`)
      if (before.phase === 'committed') {
        assert(
          instance.phase === 'committed' &&
            equalCommands(before.command, instance.command) &&
            equalDeps(before.deps, instance.deps),
          `two values were committed for ${formatInstanceId(id)}`,
        )
      }
    }
    this.#instances.set(key, instance)
    const { row, seq } = id
    if (seq > (this.#knownUpTo[row] ?? 0)) this.#knownUpTo[row] = seq
    if (instance.phase === 'committed' && seq === (this.#committedUpTo[row] ?? 0) + 1) {
      let upTo = seq
      while (isCommitted(this.#instances.get((upTo + 1) * 16 + row))) upTo++
      this.#committedUpTo[row] = upTo
    }
  }

  all(): IterableIterator<Instance> {
    return this.#instances.values()
  }
}
