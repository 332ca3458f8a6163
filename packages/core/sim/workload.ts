// What the clients of a simulated cluster do: one of several kinds of load, drawn once a run.
import type { Random } from '../src/lib/random.ts'
import type { Value } from '../src/lib/value.ts'
import type { KvCheck, KvOperation } from '../src/state-machines/kv.ts'
import type { Command, Read } from './history.ts'

export const workloadNames = ['hot key', 'many keys', 'counters', 'transactions', 'mixed'] as const
export type WorkloadName = (typeof workloadNames)[number]

/** How often each is done, in relation to the others. */
interface Mix {
  readonly keys: number
  readonly ordered: number
  readonly add: number
  readonly transact: number
  readonly get: number
  readonly list: number
}

const mixes: Readonly<Record<WorkloadName, Mix>> = {
  'hot key': { keys: 1, ordered: 70, add: 0, transact: 0, get: 30, list: 0 },
  'many keys': { keys: 24, ordered: 75, add: 5, transact: 0, get: 17, list: 3 },
  counters: { keys: 3, ordered: 8, add: 65, transact: 0, get: 22, list: 5 },
  transactions: { keys: 5, ordered: 20, add: 5, transact: 50, get: 20, list: 5 },
  mixed: { keys: 6, ordered: 40, add: 20, transact: 15, get: 20, list: 5 },
}

/** Written values are multiples of this, and additions small: a value tells what it was made from. */
const valueStep = 1_000_000

export class Workload {
  readonly name: WorkloadName
  readonly #mix: Mix
  #values = 0

  constructor(name: WorkloadName) {
    this.name = name
    this.#mix = mixes[name]
  }

  /** `believed`: what some replica takes a key's value to be; often right. */
  next(dice: Random, believed: (key: string) => Value): Command | Read {
    const { ordered, add, transact, get, list } = this.#mix
    const roll = dice.next() * (ordered + add + transact + get + list)
    if (roll < ordered) return this.#ordered(dice, believed)
    if (roll < ordered + add) return { op: 'add', key: this.#key(dice), by: 1 + dice.integer(3) }
    if (roll < ordered + add + transact) return this.#transaction(dice, believed)
    return roll < ordered + add + transact + get ? { op: 'get', key: this.#key(dice) } : { op: 'list' }
  }

  #key(dice: Random): string {
    return `k${dice.integer(this.#mix.keys)}`
  }

  #value(): number {
    return valueStep * ++this.#values
  }

  #ordered(dice: Random, believed: (key: string) => Value): Command {
    const key = this.#key(dice)
    const roll = dice.next()
    if (roll < 0.3) return { op: 'set', key, value: this.#value() }
    if (roll < 0.55) return { op: 'increment', key, by: 1 + dice.integer(3) }
    if (roll < 0.85) return { op: 'compareAndSet', key, expected: believed(key) ?? 0, value: this.#value() }
    return roll < 0.93 ? { op: 'create', key, value: this.#value() } : { op: 'delete', key }
  }

  #transaction(dice: Random, believed: (key: string) => Value): Command {
    const keys = dice.shuffle(Array.from({ length: this.#mix.keys }, (_, index) => `k${index}`))
    const checks: KvCheck[] = []
    const operations: KvOperation[] = []
    for (const key of keys.slice(0, dice.integer(3))) {
      const value = believed(key)
      checks.push(value === null || dice.chance(0.3) ? { key, exists: value !== null } : { key, equals: value })
    }
    for (const key of keys.slice(1, 2 + dice.integer(2))) {
      if (dice.chance(0.5)) operations.push({ op: 'increment', key, by: 1 + dice.integer(3) })
      else operations.push(dice.chance(0.15) ? { op: 'delete', key } : { op: 'set', key, value: this.#value() })
    }
    return { op: 'transact', checks, operations }
  }
}
