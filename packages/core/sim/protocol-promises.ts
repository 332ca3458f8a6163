// What a cluster of protocol replicas promises about everything that was ever committed or executed in an epoch, checked
// the moment it happens: Validity, Agreement, Visibility, one order for conflicting commands, a barrier after all that it
// depends on. Remembers over crashes.
import { type Command, commandsConflict, equalCommands } from '../src/protocol/command.ts'
import { dependsOn, equalDeps } from '../src/protocol/deps.ts'
import { formatInstanceId, type InstanceId, type Row } from '../src/protocol/ids.ts'
import { type CommittedInstance, type InstanceKey, instanceKey } from '../src/protocol/instance.ts'

export type PromiseName = 'Validity' | 'Agreement' | 'Visibility' | 'Order' | 'Cut' | 'Invariant' | 'Liveness'

/** One of the promises does not hold. */
export class BrokenPromise extends Error {
  readonly promise: PromiseName

  constructor(promise: PromiseName, message: string) {
    super(`${promise}: ${message}`)
    this.name = 'BrokenPromise'
    this.promise = promise
  }
}

export class ProtocolPromises {
  readonly #proposed: Map<InstanceKey, readonly Command[]>
  readonly #decided: Map<InstanceKey, CommittedInstance>
  /** For each executed instance, the conflicting ones that its first executor had executed before it. */
  readonly #before: Map<InstanceKey, ReadonlySet<InstanceKey>>

  constructor(copyOf?: ProtocolPromises) {
    this.#proposed = new Map(copyOf?.proposed)
    this.#decided = new Map(copyOf?.decided)
    this.#before = new Map(copyOf?.before)
  }

  /** What was proposed for an instance: more than one only where nobody can have heard of the earlier ones. */
  get proposed(): ReadonlyMap<InstanceKey, readonly Command[]> {
    return this.#proposed
  }

  /** Every instance that was ever committed anywhere. */
  get decided(): ReadonlyMap<InstanceKey, CommittedInstance> {
    return this.#decided
  }

  get before(): ReadonlyMap<InstanceKey, ReadonlySet<InstanceKey>> {
    return this.#before
  }

  notePropose(id: InstanceId, command: Command): void {
    const key = instanceKey(id)
    this.#proposed.set(key, [...(this.#proposed.get(key) ?? []), command])
  }

  noteCommit(by: Row, instance: CommittedInstance): void {
    const key = instanceKey(instance.id)
    const first = this.#decided.get(key)
    if (first !== undefined) {
      if (!equalCommands(first.command, instance.command) || !equalDeps(first.deps, instance.deps)) {
        throw new BrokenPromise(
          'Agreement',
          `${by} committed ${describe(instance)}, and before it was ${describe(first)}`,
        )
      }
      return
    }
    if (instance.command.kind !== 'nop') {
      const proposed = this.#proposed.get(key) ?? []
      if (!proposed.some((command) => equalCommands(command, instance.command))) {
        throw new BrokenPromise('Validity', `${by} committed ${describe(instance)}, which was not proposed`)
      }
    }
    for (const other of this.#decided.values()) {
      if (
        commandsConflict(other.command, instance.command) &&
        !dependsOn(other.deps, instance.id) &&
        !dependsOn(instance.deps, other.id)
      ) {
        throw new BrokenPromise('Visibility', `${describe(other)} and ${describe(instance)} do not see each other`)
      }
    }
    this.#decided.set(key, instance)
  }

  /** The conflicting commands that were executed before a command are the same at every replica and in each of its lives. */
  noteExecution(by: Row, instance: CommittedInstance, before: readonly CommittedInstance[]): void {
    const key = instanceKey(instance.id)
    if (instance.command.kind === 'barrier') this.#checkCut(by, instance, before)
    const conflicting = before.filter((other) => commandsConflict(other.command, instance.command))
    const first = this.#before.get(key)
    if (first === undefined) {
      this.#before.set(key, new Set(conflicting.map((other) => instanceKey(other.id))))
      return
    }
    if (first.size !== conflicting.length || conflicting.some((other) => !first.has(instanceKey(other.id)))) {
      const here = conflicting.map((other) => formatInstanceId(other.id)).join(' ')
      throw new BrokenPromise(
        'Order',
        `${by} executed ${formatInstanceId(instance.id)} after ${here || 'nothing'} of what conflicts, another replica otherwise`,
      )
    }
  }

  /** [EX3] Nothing that a barrier depends on is void: the cut is the barrier's closure. */
  #checkCut(by: Row, barrier: CommittedInstance, before: readonly CommittedInstance[]): void {
    const executed = new Set(before.map(({ id }) => instanceKey(id)))
    for (const [key, { id, command }] of this.#decided) {
      if (command.kind !== 'application' || !dependsOn(barrier.deps, id) || executed.has(key)) continue
      throw new BrokenPromise(
        'Cut',
        `${by} executed the barrier ${formatInstanceId(barrier.id)} before ${formatInstanceId(id)}, which it depends on`,
      )
    }
  }
}

function describe({ id, command, deps }: CommittedInstance): string {
  return `${formatInstanceId(id)} as ${command.kind} [${deps.join(' ')}]`
}
