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
  readonly area: Area
  readonly life: number
  readonly done: () => void
}

/** What one replica keeps; a second one begins when the first was put aside. */
interface Area {
  contents: Contents
  owned: boolean
}

function newContents(): Contents {
  return { meta: new Map(), instances: new Map(), checkpoints: new Map() }
}

export class StoryDisk implements StorageProvider {
  readonly #world: World
  readonly #agreement: AgreementChecker
  readonly #voters: Map<Epoch, readonly ReplicaId[]>
  readonly #name: string
  readonly #areas: Area[] = [{ contents: newContents(), owned: false }]
  #kept: Contents | null = null
  #life = 0
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
    const life = this.#life
    const free = this.#areas.filter(({ owned }) => !owned)
    let area = free.find(({ contents }) => contents.meta.size > 0) ?? free[0]
    if (area === undefined) {
      area = { contents: newContents(), owned: false }
      this.#areas.push(area)
    }
    const own = area
    own.owned = true
    const close = () => {
      if (life === this.#life) own.owned = false
      return Promise.resolve()
    }
    return Promise.resolve({
      durability: 'strict',
      onLost: null,
      read: () => Promise.resolve(read(own.contents)),
      write: (batch) =>
        new Promise((done) => {
          this.#waiting.push({ batch, area: own, life, done })
          this.#world.at(writeMs, () => this.#writeNext())
        }),
      erase: () => {
        own.contents = newContents()
        this.erased = true
        return close()
      },
      close,
    })
  }

  get #contents(): Contents {
    return must(this.#areas[0], 'a disk has an area').contents
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
    this.#life++
    this.#waiting = []
    for (const area of this.#areas) area.owned = false
  }

  keepAside(): void {
    const { meta, instances, checkpoints } = this.#contents
    this.#kept = { meta: new Map(meta), instances: new Map(instances), checkpoints: new Map(checkpoints) }
  }

  putBack(): void {
    must(this.#areas[0], 'a disk has an area').contents = must(this.#kept, 'something was kept aside')
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
    if (next === undefined || next.life !== this.#life) return
    this.#apply(next)
    next.done()
  }

  #apply({ area: { contents }, batch }: Waiting): void {
    const { dropEpochsBefore = 0, dropMeta = [], meta, instances, checkpoints } = batch
    for (const name of dropMeta) contents.meta.delete(name)
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
}

function read({ meta, instances, checkpoints }: Contents): StorageContents {
  return {
    meta: new Map(meta),
    instances: [...instances.values()].sort((a, b) => a.epoch - b.epoch || a.row - b.row || a.seq - b.seq),
    checkpoints: [...checkpoints.values()].sort((a, b) => a.epoch - b.epoch),
  }
}
