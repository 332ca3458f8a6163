// What a person can do to the store, as commands of the replica that the activity list follows. Also tells the others, by
// presence, which version this page made, so that whoever loses a race can be told who won.
import type { KvCommands, Mutators, Value } from '@wepaxos/core'
import type { Activity, Outcome } from './activity.ts'
import type { RoomPresence } from './room-presence.ts'
import type { StoreReplica } from './store.ts'
import { formatShort } from './values.ts'

type Result<K extends keyof KvCommands> = ReturnType<Mutators<KvCommands>[K]>['local']

export class StoreCommands {
  readonly #replica: StoreReplica
  readonly #activity: Activity
  readonly #presence: RoomPresence

  constructor(replica: StoreReplica, activity: Activity, presence: RoomPresence) {
    this.#replica = replica
    this.#activity = activity
    this.#presence = presence
  }

  set(key: string, value: Value): Promise<Outcome<Result<'set'>>> {
    return this.#activity.follow(
      `set ${key} = ${formatShort(value)}`,
      () => this.#replica.mutate.set(key, value),
      (result) => this.#wrote(key, result.value),
    )
  }

  create(key: string, value: Value): Promise<Outcome<Result<'create'>>> {
    return this.#activity.follow(
      `create ${key} = ${formatShort(value)}`,
      () => this.#replica.mutate.create(key, value),
      (result) =>
        result.ok
          ? this.#wrote(key, result.value)
          : `it exists: ${this.#winner(key, result.version)}${formatShort(result.value)}`,
    )
  }

  compareAndSet(key: string, expected: Value, value: Value): Promise<Outcome<Result<'compareAndSet'>>> {
    return this.#activity.follow(
      `compare and set ${key}: ${formatShort(expected, 24)} → ${formatShort(value)}`,
      () => this.#replica.mutate.compareAndSet(key, expected, value),
      (result) => {
        if (result.ok) return this.#wrote(key, result.value)
        if (result.version === 0) return 'it was deleted'
        return `${this.#winner(key, result.version)}${formatShort(result.value)} was first`
      },
    )
  }

  increment(key: string): Promise<Outcome<Result<'increment'>>> {
    return this.#activity.follow(
      `increment ${key}`,
      () => this.#replica.mutate.increment(key),
      (result) => (result.ok ? `now ${result.value}` : `${formatShort(result.value)} can not be counted up`),
    )
  }

  remove(key: string): Promise<Outcome<Result<'delete'>>> {
    return this.#activity.follow(
      `delete ${key}`,
      () => this.#replica.mutate.delete(key),
      (result) => (result.value ? 'gone' : 'there was nothing to delete'),
    )
  }

  /** Needs no words beyond "done". */
  #wrote(key: string, version: number): string {
    this.#presence.wrote(key, version)
    return ''
  }

  #winner(key: string, version: number): string {
    const name = this.#presence.writerOf(key, version)
    return name === undefined ? '' : `${name}’s `
  }
}
