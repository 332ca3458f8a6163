// The disk of one process in a story: every write takes the same time, a crash loses what was not written yet, writes can be
// held up, and the contents can be kept aside and put back later, as an old backup would be. Shows every committed record
// that reaches it to the agreement checker.

import type { AgreementChecker } from '../sim/agreement.ts'
import type { World } from '../sim/world.ts'
import { decodeInstance } from '../src/codec/record.ts'
import { decodeCheckpoint } from '../src/execution/checkpoint.ts'
import { must } from '../src/lib/assert.ts'
import type { Epoch, ReplicaId } from '../src/protocol/ids.ts'
import { isCommitted } from '../src/protocol/instance.ts'
import type {
  Storage,
  StorageContents,
  StorageProvider,
  StoredCheckpoint,
  StoredInstance,
  WriteBatch,
} from '../src/storage/storage.ts'

const writeMs = 1

interface Contents {
  readonly meta: Map<string, Uint8Array>
  readonly instances: Map<string, StoredInstance>
  readonly checkpoints: Map<Epoch, StoredCheckpoint>
}

interface Waiting {
  readonly batch: WriteBatch
  readonly owner: number
  readonly done: () => void
}

export class StoryDisk implements StorageProvider {
  readonly #world: World
  readonly #agreement: AgreementChecker
  readonly #voters: Map<Epoch, readonly ReplicaId[]>
  readonly #name: string
  #contents: Contents = { meta: new Map(), instances: new Map(), checkpoints: new Map() }
  #kept: Contents | null = null
  #owner = 0
  #waiting: Waiting[] = []
  #held = false
  erased = false

  /** `voters` is shared by all disks: by epoch, from the checkpoints that were written. */
  constructor(world: World, agreement: AgreementChecker, voters: Map<Epoch, readonly ReplicaId[]>, name: string) {
    this.#world = world
    this.#agreement = agreement
    this.#voters = voters
    this.#name = name
  }

  open(): Promise<Storage> {
    const owner = ++this.#owner
    return Promise.resolve({
      durability: 'strict',
      onLost: null,
      read: () => Promise.resolve(this.#read()),
      write: (batch) =>
        new Promise((done) => {
          this.#waiting.push({ batch, owner, done })
          this.#world.at(writeMs, () => this.#writeNext())
        }),
      erase: () => {
        this.#contents = { meta: new Map(), instances: new Map(), checkpoints: new Map() }
        this.erased = true
        return Promise.resolve()
      },
      close: () => Promise.resolve(),
    })
  }

  /** No write ends until `resume`. */
  hold(): void {
    this.#held = true
  }

  resume(): void {
    this.#held = false
    for (const _ of this.#waiting) this.#world.at(writeMs, () => this.#writeNext())
  }

  /** The process died: what was on the way is lost. */
  crash(): void {
    this.#owner++
    this.#waiting = []
  }

  keepAside(): void {
    const { meta, instances, checkpoints } = this.#contents
    this.#kept = { meta: new Map(meta), instances: new Map(instances), checkpoints: new Map(checkpoints) }
  }

  putBack(): void {
    this.#contents = must(this.#kept, 'something was kept aside')
  }

  /** The epochs of which it holds instances. */
  get epochs(): readonly Epoch[] {
    return [...new Set([...this.#contents.instances.values()].map(({ epoch }) => epoch))].sort((a, b) => a - b)
  }

  get startsHeld(): readonly Epoch[] {
    return [...this.#contents.checkpoints.keys()].sort((a, b) => a - b)
  }

  #writeNext(): void {
    if (this.#held) return
    const next = this.#waiting.shift()
    if (next === undefined || next.owner !== this.#owner) return
    this.#apply(next.batch)
    next.done()
  }

  #apply({ dropEpochsBefore = 0, meta, instances, checkpoints }: WriteBatch): void {
    const contents = this.#contents
    for (const [key, { epoch }] of contents.instances) if (epoch < dropEpochsBefore) contents.instances.delete(key)
    for (const epoch of contents.checkpoints.keys()) if (epoch < dropEpochsBefore) contents.checkpoints.delete(epoch)
    for (const { name, bytes } of meta) contents.meta.set(name, bytes)
    for (const checkpoint of checkpoints) {
      contents.checkpoints.set(checkpoint.epoch, checkpoint)
      this.#voters.set(checkpoint.epoch, decodeCheckpoint(checkpoint.bytes).members.voters)
      this.#agreement.checkpoint(checkpoint.epoch, checkpoint.bytes, this.#name)
    }
    for (const stored of instances) {
      const { epoch, row, seq, bytes } = stored
      contents.instances.set(`${epoch}/${row}/${seq}`, stored)
      const instance = decodeInstance(bytes, must(this.#voters.get(epoch), 'the start of an epoch is written first'))
      if (isCommitted(instance)) this.#agreement.committed(epoch, instance, this.#name)
    }
  }

  #read(): StorageContents {
    const { meta, instances, checkpoints } = this.#contents
    return {
      meta: new Map(meta),
      instances: [...instances.values()].sort((a, b) => a.epoch - b.epoch || a.row - b.row || a.seq - b.seq),
      checkpoints: [...checkpoints.values()].sort((a, b) => a.epoch - b.epoch),
    }
  }
}
