// What every replica executed, compared on the spot: each command finds and does the same wherever it is executed, so all
// conflicting commands have one order; and no replica executes a command twice.
import type { CommandResult } from '../src/execution/machine.ts'
import { Violation } from './agreement.ts'
import type { Execution, Sight } from './recorded-kv.ts'

/** One key's history as all replicas have it: what made each generation, and what was added in it. */
export interface KeyOrder {
  /** By generation; the first, 0, was made by nobody. */
  readonly makers: (number | undefined)[]
  /** Tags of the additions, by generation. */
  readonly adds: Set<number>[]
}

/** One life of a replica: from its start to its end or crash. */
export class LifeRecord {
  readonly replica: string
  readonly #executed = new Set<number>()

  constructor(replica: string) {
    this.replica = replica
  }

  /** False where it was executed in this life already. */
  note(tag: number): boolean {
    if (this.#executed.has(tag)) return false
    this.#executed.add(tag)
    return true
  }
}

export class ExecutionChecker {
  readonly #byTag = new Map<number, Execution>()
  readonly #keys = new Map<string, KeyOrder>()
  /** Executions at all replicas together. */
  count = 0

  executed(life: LifeRecord, execution: Execution): void {
    const { tag, touches, result } = execution
    this.count++
    if (!life.note(tag)) throw new Violation(`Exactly once: ${life.replica} executed command ${tag} twice`)
    const before = this.#byTag.get(tag)
    if (before !== undefined) {
      const difference = differs(before, execution)
      if (difference !== null) {
        throw new Violation(`Order: ${life.replica} executed command ${tag} otherwise than another: ${difference}`)
      }
      return
    }
    this.#byTag.set(tag, execution)
    for (const { before: found, change } of touches) {
      const order = this.#orderOf(found.key)
      if (change === 'adds') addsIn(order, found.generation).add(tag)
      if (change !== 'replaces') continue
      const other = order.makers[found.generation + 1]
      if (other !== undefined) {
        throw new Violation(
          `Order: ${life.replica} executed command ${tag} where another executed ${other}, on key ${found.key}`,
        )
      }
      order.makers[found.generation + 1] = tag
    }
    if (!result.ok && touches.some(({ change }) => change !== 'leaves')) {
      throw new Violation(`Atomicity: the refused command ${tag} changed something`)
    }
  }

  get executions(): ReadonlyMap<number, Execution> {
    return this.#byTag
  }

  get keys(): ReadonlyMap<string, KeyOrder> {
    return this.#keys
  }

  #orderOf(key: string): KeyOrder {
    let order = this.#keys.get(key)
    if (order === undefined) {
      order = { makers: [undefined], adds: [] }
      this.#keys.set(key, order)
    }
    return order
  }
}

export function addsIn(order: KeyOrder, generation: number): Set<number> {
  let adds = order.adds[generation]
  if (adds === undefined) {
    adds = new Set()
    order.adds[generation] = adds
  }
  return adds
}

/** What two executions of one command do not have in common, in words. */
function differs(a: Execution, b: Execution): string | null {
  if (!equalResults(a.result, b.result)) return `result ${JSON.stringify(b.result)} and ${JSON.stringify(a.result)}`
  for (const [at, { before, change }] of a.touches.entries()) {
    const other = b.touches[at]
    if (other === undefined || other.change !== change) return `another effect on ${before.key}`
    // additions commute: in which order they come is nobody's business
    const same = change === 'adds' ? before.generation === other.before.generation : equalSights(before, other.before)
    if (!same) return `found ${describe(other.before)} and ${describe(before)}`
  }
  return null
}

function equalResults(a: CommandResult, b: CommandResult): boolean {
  return a === b || JSON.stringify(a) === JSON.stringify(b)
}

function equalSights(a: Sight, b: Sight): boolean {
  return (
    a.key === b.key &&
    a.value === b.value &&
    a.generation === b.generation &&
    a.adds.length === b.adds.length &&
    a.adds.every((tag, at) => tag === b.adds[at])
  )
}

export function describe({ key, value, generation, adds }: Sight): string {
  return `${key} = ${JSON.stringify(value)} of generation ${generation} with ${adds.length} additions`
}
