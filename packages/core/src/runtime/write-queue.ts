// Group commit: what is to be made durable gathers in one batch while the batch before it is being written, and what has to
// wait for it is called when it is durable, in order (docs/protocol.md, section 6).
import { encodeInstances, encodeReservation, type Reservation } from '../codec/record.ts'
import { must } from '../lib/assert.ts'
import type { Epoch, ReplicaId } from '../protocol/ids.ts'
import { type Instance, type InstanceKey, instanceKey } from '../protocol/instance.ts'
import type { Storage, StoredCheckpoint, StoredInstance, StoredMeta, WriteBatch } from '../storage/storage.ts'
import type { DiskSeal } from './disk-seal.ts'

export const identityName = 'identity'
/** The key that proves this replica's id to its peers, where the transport gave it one: written with the identity. */
export const replicaKeyName = 'replica-key'
export const reservationName = 'reservation'
export const disksHeardName = 'disks-heard'
/** [DU7] The runs of this replica, as far as its disk knows them. */
export const runsName = 'runs'
/** [OR1] Given back while it was leaving: its page wants its place again. */
export const returnsName = 'returns'
/** [DU8] This disk was found to have come back older: it is opened no more. */
export const lostName = 'lost'
/** Each command that is kept has a record of its own, named by its number. */
export const outboxPrefix = 'outbox/'

export function outboxName(number: number): string {
  return `${outboxPrefix}${number}`
}

/** The instances of one epoch in a batch; a later state of an instance replaces an earlier one. */
interface EpochPart {
  readonly voters: readonly ReplicaId[]
  readonly instances: Map<InstanceKey, Instance>
}

interface Gathering {
  readonly epochs: Map<Epoch, EpochPart>
  readonly meta: Map<string, Uint8Array>
  readonly dropMeta: Set<string>
  readonly checkpoints: StoredCheckpoint[]
  dropEpochsBefore: Epoch
  readonly afterwards: (() => void)[]
  empty: boolean
  /** Whether somebody waits for it; else it may wait for company. */
  urgent: boolean
}

function nothing(): Gathering {
  return {
    epochs: new Map(),
    meta: new Map(),
    dropMeta: new Set(),
    checkpoints: [],
    dropEpochsBefore: 0,
    afterwards: [],
    empty: true,
    urgent: false,
  }
}

export class WriteQueue {
  readonly #storage: Storage
  /** Called after each batch with what waited for it, to be called in order. */
  readonly #onWritten: (waiting: readonly (() => void)[]) => void
  readonly #onFailed: (reason: unknown) => void
  readonly #seal: DiskSeal
  /** [DU6] */
  #durableWrites: number
  #gathering = nothing()
  #inFlight: Gathering | null = null
  /** Settles with the batch in flight; never rejects. */
  #landed: Promise<void> = Promise.resolve()
  #stopped = false
  #idleWaiters: (() => void)[] = []

  constructor(
    storage: Storage,
    seal: DiskSeal,
    onWritten: (waiting: readonly (() => void)[]) => void,
    onFailed: (reason: unknown) => void,
  ) {
    this.#storage = storage
    this.#seal = seal
    this.#durableWrites = seal.writes
    this.#onWritten = onWritten
    this.#onFailed = onFailed
  }

  /** `lazily`: it is written with what comes next, at the latest by `flush(true)`. */
  putInstance(epoch: Epoch, voters: readonly ReplicaId[], instance: Instance, lazily = false): void {
    let part = this.#gathering.epochs.get(epoch)
    if (part === undefined) {
      part = { voters, instances: new Map() }
      this.#gathering.epochs.set(epoch, part)
    }
    part.instances.set(instanceKey(instance.id), instance)
    this.#gathering.empty = false
    if (!lazily) this.#gathering.urgent = true
  }

  putReservation(reservation: Reservation): void {
    this.putMeta(reservationName, encodeReservation(reservation))
  }

  putMeta(name: string, bytes: Uint8Array, lazily = false): void {
    this.#gathering.meta.set(name, bytes)
    this.#gathering.dropMeta.delete(name)
    this.#gathering.empty = false
    if (!lazily) this.#gathering.urgent = true
  }

  /** With what comes next. */
  dropMeta(name: string): void {
    this.#gathering.meta.delete(name)
    this.#gathering.dropMeta.add(name)
    this.#gathering.empty = false
  }

  putCheckpoint(epoch: Epoch, bytes: Uint8Array): void {
    this.#gathering.checkpoints.push({ epoch, bytes })
    this.#gathering.empty = false
    this.#gathering.urgent = true
  }

  dropEpochsBefore(epoch: Epoch): void {
    this.#gathering.dropEpochsBefore = Math.max(this.#gathering.dropEpochsBefore, epoch)
    this.#gathering.empty = false
  }

  /** Writes of this replica that are durable, over all its runs. */
  get durableWrites(): number {
    return this.#durableWrites
  }

  /** Whether there is something to write anyhow, that something else may ride with. */
  get isGathering(): boolean {
    return !this.#gathering.empty
  }

  /** Whether everything that was put is durable. */
  get idle(): boolean {
    return this.#gathering.empty && this.#inFlight === null
  }

  /** Calls `action` as soon as everything that was put so far is durable: at once, or after the batch that holds the last of it. */
  after(action: () => void): void {
    if (!this.#gathering.empty) {
      this.#gathering.afterwards.push(action)
      this.#gathering.urgent = true
    } else if (this.#inFlight !== null) this.#inFlight.afterwards.push(action)
    else action()
  }

  /** Starts to write what has gathered, unless a batch is under way; what nobody waits for only if `everything`. */
  flush(everything = false): void {
    if (this.#stopped || this.#inFlight !== null || this.#gathering.empty) return
    if (!this.#gathering.urgent && !everything) return
    const batch = this.#gathering
    this.#inFlight = batch
    this.#gathering = nothing()
    const sealed = this.#seal.sealed(toWriteBatch(batch))
    const { writes } = this.#seal
    this.#landed = this.#storage.write(sealed).then(
      () => {
        this.#durableWrites = writes
        this.#written(batch)
      },
      (reason: unknown) => this.#failed(reason),
    )
  }

  #written(batch: Gathering): void {
    if (this.#stopped) {
      this.#wakeIdle()
      return
    }
    this.#inFlight = null
    this.#onWritten(batch.afterwards)
    if (this.idle) this.#wakeIdle()
  }

  #failed(reason: unknown): void {
    const stopped = this.#stopped
    this.stop()
    this.#wakeIdle()
    if (!stopped) this.#onFailed(reason)
  }

  /** The last write: all that has gathered by now, behind what is under way. Nothing is called, and nothing comes after it. */
  async finish(): Promise<void> {
    const rest = this.#gathering
    const isOver = this.#stopped
    this.#stopped = true
    this.#gathering = nothing()
    await this.#landed
    if (!isOver && !rest.empty) await this.#storage.write(this.#seal.sealed(toWriteBatch(rest)))
  }

  /** Behind what was under way when it was stopped, alone. */
  async writeLast(name: string, bytes: Uint8Array): Promise<void> {
    await this.#landed
    await this.#storage.write(this.#seal.sealed({ meta: [{ name, bytes }], instances: [], checkpoints: [] }))
  }

  /** Nothing is written or called from now on: what has not been written is as if it had never been. */
  stop(): void {
    this.#stopped = true
    this.#gathering = nothing()
    if (this.#inFlight === null) this.#wakeIdle()
  }

  /** Resolves when nothing is being written. */
  whenIdle(): Promise<void> {
    if (this.idle || (this.#stopped && this.#inFlight === null)) return Promise.resolve()
    return new Promise((resolve) => this.#idleWaiters.push(resolve))
  }

  #wakeIdle(): void {
    this.#inFlight = this.#stopped ? null : this.#inFlight
    const waiters = this.#idleWaiters
    this.#idleWaiters = []
    for (const wake of waiters) wake()
  }
}

function toWriteBatch(batch: Gathering): WriteBatch {
  const instances: StoredInstance[] = []
  for (const [epoch, { voters, instances: byKey }] of batch.epochs) {
    if (epoch < batch.dropEpochsBefore) continue
    const records = encodeInstances(byKey.values(), voters)
    let at = 0
    for (const { id } of byKey.values()) {
      const bytes = must(records[at++], 'a record for each instance')
      instances.push({ epoch, row: id.row, seq: id.seq, bytes })
    }
  }
  const meta: StoredMeta[] = [...batch.meta].map(([name, bytes]) => ({ name, bytes }))
  const checkpoints = batch.checkpoints.filter(({ epoch }) => epoch >= batch.dropEpochsBefore)
  const puts = { meta, instances, checkpoints, ...(batch.dropMeta.size > 0 ? { dropMeta: [...batch.dropMeta] } : {}) }
  return batch.dropEpochsBefore > 0 ? { ...puts, dropEpochsBefore: batch.dropEpochsBefore } : puts
}
