// A simulated disk for one process after another: writes take time, and a crash loses what was not durable — or keeps a
// write whose completion nobody heard of. Every committed record that reaches it is shown to the agreement checker.
import { decodeInstance } from '../src/codec/record.ts'
import { decodeCheckpoint } from '../src/execution/checkpoint.ts'
import { WepaxosError } from '../src/lib/errors.ts'
import type { Random } from '../src/lib/random.ts'
import type { ReplicaId } from '../src/protocol/ids.ts'
import { isCommitted } from '../src/protocol/instance.ts'
import type { Storage, StorageContents, StorageProvider, WriteBatch } from '../src/storage/storage.ts'
import type { AgreementChecker } from './agreement.ts'
import type { World } from './world.ts'

/** What goes wrong on all disks. */
export interface DiskFaults {
  writeMaxMs: number
  /** Probability that a write fails and the replica has to stop. */
  failure: number
}

/** Where a batch stands: the process may die at each of these points. */
export type WritePoint = 'begins' | 'is not durable yet' | 'is durable, untold' | 'is durable, told'

/** Who looks on, and may break off at each point. */
export interface DiskObserver {
  onWrite(process: string, point: WritePoint): void
}

interface Contents {
  readonly meta: Map<string, Uint8Array>
  readonly instances: Map<string, { epoch: number; row: number; seq: number; bytes: Uint8Array }>
  readonly checkpoints: Map<number, Uint8Array>
}

function nothing(): Contents {
  return { meta: new Map(), instances: new Map(), checkpoints: new Map() }
}

export class SimulatedDisk implements StorageProvider {
  readonly #world: World
  readonly #random: Random
  readonly #faults: DiskFaults
  readonly #agreement: AgreementChecker
  readonly #name: string
  readonly #observer: DiskObserver | undefined
  #contents = nothing()
  readonly #voters = new Map<number, readonly ReplicaId[]>()
  #owner = 0
  #queued: { readonly batch: WriteBatch; readonly owner: number; settle(error?: Error): void }[] = []
  #busy = false
  erased = false
  /** Until then writes take up to `slowMs`, whatever `writeMaxMs` says. */
  slowUntil = 0
  slowMs = 0
  /** Until then there is no room: every write fails. */
  fullUntil = 0
  failures = { error: 0, quota: 0 }

  constructor(world: World, faults: DiskFaults, agreement: AgreementChecker, name: string, observer?: DiskObserver) {
    this.#world = world
    this.#random = world.random.fork()
    this.#faults = faults
    this.#agreement = agreement
    this.#name = name
    this.#observer = observer
  }

  open(): Promise<Storage> {
    const owner = ++this.#owner
    let failed = false
    return Promise.resolve({
      durability: 'strict',
      onLost: null,
      read: () => Promise.resolve(this.#read()),
      write: (batch) =>
        new Promise((resolve, reject) => {
          if (owner !== this.#owner) return // a dead process writes nothing, and hears nothing
          if (failed) {
            reject(new WepaxosError('StorageFailed', 'an earlier write failed'))
            return
          }
          this.#observer?.onWrite(this.#name, 'begins')
          if (owner !== this.#owner) return
          this.#queued.push({
            batch,
            owner,
            settle: (error) => {
              if (error === undefined) resolve()
              else {
                failed = true
                reject(error)
              }
            },
          })
          this.#next()
        }),
      erase: () => {
        if (owner === this.#owner) {
          this.erased = true
          this.#contents = nothing()
        }
        return Promise.resolve()
      },
      close: () => Promise.resolve(),
    })
  }

  /** The epoch whose start is durable here; 0 for none. */
  get newestEpoch(): number {
    let newest = 0
    for (const epoch of this.#contents.checkpoints.keys()) newest = Math.max(newest, epoch)
    return newest
  }

  /** The process died: writes that were on the way are lost, or were just durable. */
  crash(): void {
    this.#owner++
    const [first] = this.#queued
    if (first !== undefined && this.#busy && this.#random.chance(0.3)) this.#apply(first.batch)
    this.#queued = []
    this.#busy = false
  }

  #next(): void {
    const [first] = this.#queued
    if (first === undefined || this.#busy) return
    this.#busy = true
    const longest = this.#world.now < this.slowUntil ? this.slowMs : this.#faults.writeMaxMs
    this.#world.at(this.#random.next() * longest, () => {
      if (first.owner !== this.#owner) return
      this.#observer?.onWrite(this.#name, 'is not durable yet')
      if (first.owner !== this.#owner) return
      this.#busy = false
      this.#queued.shift()
      const full = this.#world.now < this.fullUntil
      if (this.#random.chance(this.#faults.failure) || full) {
        this.failures[full ? 'quota' : 'error']++
        this.#queued = []
        const why = full ? 'simulated: no room left (QuotaExceededError)' : 'simulated write error'
        first.settle(new WepaxosError('StorageFailed', why))
        return
      }
      this.#apply(first.batch)
      this.#observer?.onWrite(this.#name, 'is durable, untold')
      if (first.owner !== this.#owner) return
      first.settle()
      this.#observer?.onWrite(this.#name, 'is durable, told')
      if (first.owner === this.#owner) this.#next()
    })
  }

  #apply(batch: WriteBatch): void {
    const { dropEpochsBefore } = batch
    if (dropEpochsBefore !== undefined) {
      for (const [key, stored] of this.#contents.instances) {
        if (stored.epoch < dropEpochsBefore) this.#contents.instances.delete(key)
      }
      for (const epoch of this.#contents.checkpoints.keys()) {
        if (epoch < dropEpochsBefore) this.#contents.checkpoints.delete(epoch)
      }
    }
    for (const { name, bytes } of batch.meta) this.#contents.meta.set(name, bytes)
    for (const { epoch, bytes } of batch.checkpoints) {
      this.#contents.checkpoints.set(epoch, bytes)
      this.#voters.set(epoch, decodeCheckpoint(bytes).members.voters)
      this.#agreement.checkpoint(epoch, bytes, this.#name)
    }
    for (const stored of batch.instances) {
      const { epoch, row, seq, bytes } = stored
      this.#contents.instances.set(`${epoch}/${row}/${seq}`, stored)
      const voters = this.#voters.get(epoch)
      if (voters === undefined) throw new Error(`${this.#name} wrote an instance of epoch ${epoch} without its start`)
      const instance = decodeInstance(bytes, voters)
      if (isCommitted(instance)) this.#agreement.committed(epoch, instance, this.#name)
    }
  }

  #read(): StorageContents {
    const instances = [...this.#contents.instances.values()].sort(
      (a, b) => a.epoch - b.epoch || a.row - b.row || a.seq - b.seq,
    )
    const checkpoints = [...this.#contents.checkpoints]
      .sort(([a], [b]) => a - b)
      .map(([epoch, bytes]) => ({ epoch, bytes }))
    return { meta: new Map(this.#contents.meta), instances, checkpoints }
  }
}
