// A storage that lives as long as its provider: for tests, for the simulator's and the bench's replicas, and for applications
// that want none. What was written is found again by the next owner of the same provider, so a restart can be played.
import { WepaxosError } from '../lib/errors.ts'
import type {
  Storage,
  StorageContents,
  StorageProvider,
  StorageScope,
  StoredCheckpoint,
  StoredInstance,
  WriteBatch,
} from './storage.ts'

/** Storages that keep everything in this process's memory, one set of replicas a provider. */
export function memoryStorage(): StorageProvider {
  const slotsOfScope = new Map<string, MemorySlot[]>()
  return {
    async open(scope: StorageScope): Promise<Storage> {
      const key = JSON.stringify([scope.room, scope.partition])
      let slots = slotsOfScope.get(key)
      if (slots === undefined) {
        slots = []
        slotsOfScope.set(key, slots)
      }
      const free = slots.filter((slot) => !slot.owned)
      let slot = free.find((candidate) => candidate.hasState) ?? free[0]
      if (slot === undefined) {
        slot = new MemorySlot()
        slots.push(slot)
      }
      slot.owned = true
      return new MemoryReplicaStorage(slot)
    },
  }
}

/** The instances of one epoch: by row, then by seq. Nested, for a joined key would cost a string for each write. */
type EpochInstances = Map<number, Map<number, StoredInstance>>

/** What one replica wrote, whoever owns it now. */
class MemorySlot {
  owned = false
  readonly #meta = new Map<string, Uint8Array>()
  readonly #instances = new Map<number, EpochInstances>()
  readonly #checkpoints = new Map<number, StoredCheckpoint>()

  get hasState(): boolean {
    return this.#meta.size > 0 || this.#instances.size > 0 || this.#checkpoints.size > 0
  }

  contents(): StorageContents {
    const instances: StoredInstance[] = []
    for (const [, rows] of ascending(this.#instances)) {
      for (const [, seqs] of ascending(rows)) {
        for (const [, instance] of ascending(seqs)) instances.push(instance)
      }
    }
    return {
      meta: new Map(this.#meta),
      instances,
      checkpoints: ascending(this.#checkpoints).map(([, checkpoint]) => checkpoint),
    }
  }

  apply(batch: WriteBatch): void {
    if (batch.dropEpochsBefore !== undefined) this.#dropEpochsBefore(batch.dropEpochsBefore)
    for (const name of batch.dropMeta ?? []) this.#meta.delete(name)
    for (const { name, bytes } of batch.meta) this.#meta.set(name, bytes)
    for (const checkpoint of batch.checkpoints) this.#checkpoints.set(checkpoint.epoch, checkpoint)
    for (const instance of batch.instances) this.#seqsOf(instance.epoch, instance.row).set(instance.seq, instance)
  }

  clear(): void {
    this.#meta.clear()
    this.#instances.clear()
    this.#checkpoints.clear()
  }

  #dropEpochsBefore(epoch: number): void {
    for (const held of this.#instances.keys()) if (held < epoch) this.#instances.delete(held)
    for (const held of this.#checkpoints.keys()) if (held < epoch) this.#checkpoints.delete(held)
  }

  #seqsOf(epoch: number, row: number): Map<number, StoredInstance> {
    let rows = this.#instances.get(epoch)
    if (rows === undefined) {
      rows = new Map()
      this.#instances.set(epoch, rows)
    }
    let seqs = rows.get(row)
    if (seqs === undefined) {
      seqs = new Map()
      rows.set(row, seqs)
    }
    return seqs
  }
}

function ascending<Entry>(map: ReadonlyMap<number, Entry>): [number, Entry][] {
  return [...map].sort(([left], [right]) => left - right)
}

const resolved: Promise<void> = Promise.resolve()

class MemoryReplicaStorage implements Storage {
  readonly durability = 'memory'
  /** Never called: memory is lost with the process only. */
  onLost: ((reason: Error) => void) | null = null
  readonly #slot: MemorySlot
  #open = true

  constructor(slot: MemorySlot) {
    this.#slot = slot
  }

  async read(): Promise<StorageContents> {
    this.#mustBeOpen('read')
    return this.#slot.contents()
  }

  write(batch: WriteBatch): Promise<void> {
    try {
      this.#mustBeOpen('write')
    } catch (error) {
      return Promise.reject(error)
    }
    this.#slot.apply(batch)
    return resolved
  }

  async erase(): Promise<void> {
    this.#mustBeOpen('erase')
    this.#slot.clear()
    await this.close()
  }

  async close(): Promise<void> {
    if (!this.#open) return
    this.#open = false
    this.#slot.owned = false
  }

  #mustBeOpen(call: string): void {
    if (!this.#open)
      throw new WepaxosError('Closed', `${call}() came after close(): this storage has no replica any more`)
  }
}
