// A simulated disk for one process after another: writes take time, and a crash loses what was not durable — or keeps a
// write whose completion nobody heard of. While it is down it can come back older, or with wrong records. Every committed
// record that reaches it is shown to the agreement checker.
import { decodeDisksHeard, decodeIdentity, decodeInstance, decodeSeal } from '../src/codec/record.ts'
import { decodeCheckpoint } from '../src/execution/checkpoint.ts'
import { WepaxosError } from '../src/lib/errors.ts'
import type { Random } from '../src/lib/random.ts'
import type { ReplicaId } from '../src/protocol/ids.ts'
import { isCommitted } from '../src/protocol/instance.ts'
import { sealName } from '../src/runtime/disk-seal.ts'
import { disksHeardName, identityName } from '../src/runtime/write-queue.ts'
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

/** What one replica keeps. A disk holds several when one was put aside for another. */
interface Contents {
  readonly meta: Map<string, Uint8Array>
  readonly instances: Map<string, { epoch: number; row: number; seq: number; bytes: Uint8Array }>
  readonly checkpoints: Map<number, Uint8Array>
}

function copyOf({ meta, instances, checkpoints }: Contents): Contents {
  return { meta: new Map(meta), instances: new Map(instances), checkpoints: new Map(checkpoints) }
}

interface Area {
  contents: Contents
  owned: boolean
  /** As it was at some moments of its past, oldest first. */
  readonly images: Contents[]
}

function newArea(): Area {
  return { contents: { meta: new Map(), instances: new Map(), checkpoints: new Map() }, owned: false, images: [] }
}

/** Ways in which a disk comes back that is neither whole nor empty. */
export const damages = ['a record lost', 'records lost', 'a flipped bit', 'an older record', 'instances lost'] as const
export type Damage = (typeof damages)[number]

const imagesMax = 8
const imageChance = 0.02

interface QueuedWrite {
  readonly batch: WriteBatch
  readonly area: Area
  readonly life: number
  settle(error?: Error): void
}

export class SimulatedDisk implements StorageProvider {
  readonly #world: World
  readonly #random: Random
  readonly #faults: DiskFaults
  readonly #agreement: AgreementChecker
  readonly #name: string
  readonly #observer: DiskObserver | undefined
  #areas: Area[] = [newArea()]
  readonly #voters = new Map<number, readonly ReplicaId[]>()
  /** Of the process: what belongs to an earlier one writes nothing, and hears nothing. */
  #life = 0
  #queued: QueuedWrite[] = []
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
    const life = this.#life
    const free = this.#areas.filter(({ owned }) => !owned)
    let area = free.find(({ contents }) => contents.meta.size > 0) ?? free[0]
    if (area === undefined) {
      area = newArea()
      this.#areas.push(area)
    }
    area.owned = true
    return Promise.resolve(this.#storage(area, life))
  }

  #storage(area: Area, life: number): Storage {
    let failed = false
    let open = true
    const isAlive = () => open && life === this.#life
    const close = () => {
      if (isAlive()) area.owned = false
      open = false
      return Promise.resolve()
    }
    return {
      durability: 'strict',
      onLost: null,
      read: () => Promise.resolve(contentsOf(area)),
      write: (batch) =>
        new Promise((resolve, reject) => {
          if (!isAlive()) return
          if (failed) {
            reject(new WepaxosError('StorageFailed', 'an earlier write failed'))
            return
          }
          this.#observer?.onWrite(this.#name, 'begins')
          if (!isAlive()) return
          const settle = (error?: Error) => {
            if (error === undefined) resolve()
            else {
              failed = true
              reject(error)
            }
          }
          this.#queued.push({ batch, area, life, settle })
          this.#next()
        }),
      erase: () => {
        if (isAlive()) {
          this.erased = true
          const { contents, images } = newArea()
          area.contents = contents
          area.images.splice(0, area.images.length, ...images)
        }
        return close()
      },
      close,
    }
  }

  /** The epoch whose start is durable here; 0 for none. */
  get newestEpoch(): number {
    let newest = 0
    for (const { contents } of this.#areas) {
      for (const epoch of contents.checkpoints.keys()) newest = Math.max(newest, epoch)
    }
    return newest
  }

  /** What is durable in the first place, whoever owns it. */
  peek(): Promise<StorageContents> {
    const [first] = this.#areas
    if (first === undefined) throw new Error('a disk has an area')
    return Promise.resolve(contentsOf(first))
  }

  /** The process died: writes that were on the way are lost, or were just durable. */
  crash(): void {
    this.#life++
    const [first] = this.#queued
    if (first !== undefined && this.#busy && this.#random.chance(0.3)) this.#apply(first)
    this.#queued = []
    this.#busy = false
    for (const area of this.#areas) area.owned = false
  }

  /** How many writes of `replica` somebody remembers who opens this disk. */
  remembersOf(replica: ReplicaId): number {
    return Math.max(
      0,
      ...this.#areas.map(({ contents }) => {
        const heard = contents.meta.get(disksHeardName)
        const disks = heard === undefined ? [] : decodeDisksHeard(heard)
        return Math.max(0, ...disks.filter((disk) => disk.replica === replica).map(({ writes }) => writes))
      }),
    )
  }

  /**
   * While the process is down: its replica's disk comes back as it was, the newest image with fewer writes than these. None
   * from when it was the only voter: such a one goes on by itself before it meets anybody ([DU7], what is not promised).
   */
  comeBackOlder(replica: ReplicaId, writes: number): boolean {
    const area = this.#areaOf(replica)
    const image = area?.images.findLast((one) => writesOf(one) < writes)
    if (area === undefined || image === undefined || votersOf(image) < 2) return false
    area.contents = copyOf(image)
    return true
  }

  /** While the process is down: its replica's disk comes back damaged. False where it holds nothing to damage so. */
  damage(replica: ReplicaId, how: Damage): boolean {
    const area = this.#areaOf(replica)
    if (area === undefined) return false
    const { instances } = area.contents
    const keys = [...instances.keys()]
    if (keys.length < 3) return false
    const key = this.#random.pick(keys)
    const stored = instances.get(key)
    if (stored === undefined) return false
    switch (how) {
      case 'a record lost':
        instances.delete(key)
        return true
      case 'records lost':
        for (const one of keys) if (this.#random.chance(0.3) || one === key) instances.delete(one)
        return true
      case 'instances lost':
        instances.clear()
        return true
      case 'a flipped bit': {
        const bytes = stored.bytes.slice()
        const at = this.#random.integer(bytes.length)
        bytes[at] = (bytes[at] ?? 0) ^ (1 << this.#random.integer(8))
        instances.set(key, { ...stored, bytes })
        return true
      }
      case 'an older record': {
        const older = area.images.flatMap((image) => {
          const before = image.instances.get(key)
          return before === undefined || sameBytes(before.bytes, stored.bytes) ? [] : [before]
        })
        const [before] = older
        if (before === undefined) return false
        instances.set(key, before)
        return true
      }
    }
  }

  #areaOf(replica: ReplicaId): Area | undefined {
    return this.#areas.find(({ contents }) => {
      const identity = contents.meta.get(identityName)
      return identity !== undefined && decodeIdentity(identity).self === replica
    })
  }

  #next(): void {
    const [first] = this.#queued
    if (first === undefined || this.#busy) return
    this.#busy = true
    const longest = this.#world.now < this.slowUntil ? this.slowMs : this.#faults.writeMaxMs
    this.#world.at(this.#random.next() * longest, () => {
      if (first.life !== this.#life) return
      this.#observer?.onWrite(this.#name, 'is not durable yet')
      if (first.life !== this.#life) return
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
      this.#apply(first)
      this.#observer?.onWrite(this.#name, 'is durable, untold')
      if (first.life !== this.#life) return
      first.settle()
      this.#observer?.onWrite(this.#name, 'is durable, told')
      if (first.life === this.#life) this.#next()
    })
  }

  #apply({ batch, area }: QueuedWrite): void {
    const { contents, images } = area
    if (this.#random.chance(imageChance)) {
      images.push(copyOf(contents))
      if (images.length > imagesMax) images.shift()
    }
    const { dropEpochsBefore } = batch
    if (dropEpochsBefore !== undefined) {
      for (const [key, stored] of contents.instances) {
        if (stored.epoch < dropEpochsBefore) contents.instances.delete(key)
      }
      for (const epoch of contents.checkpoints.keys()) {
        if (epoch < dropEpochsBefore) contents.checkpoints.delete(epoch)
      }
    }
    for (const name of batch.dropMeta ?? []) contents.meta.delete(name)
    for (const { name, bytes } of batch.meta) contents.meta.set(name, bytes)
    for (const { epoch, bytes } of batch.checkpoints) {
      contents.checkpoints.set(epoch, bytes)
      this.#voters.set(epoch, decodeCheckpoint(bytes).members.voters)
      this.#agreement.checkpoint(epoch, bytes, this.#name)
    }
    for (const stored of batch.instances) {
      const { epoch, row, seq, bytes } = stored
      contents.instances.set(`${epoch}/${row}/${seq}`, stored)
      const voters = this.#voters.get(epoch)
      if (voters === undefined) throw new Error(`${this.#name} wrote an instance of epoch ${epoch} without its start`)
      const instance = decodeInstance(bytes, voters)
      if (isCommitted(instance)) this.#agreement.committed(epoch, instance, this.#name)
    }
  }
}

function writesOf({ meta }: Contents): number {
  const bytes = meta.get(sealName)
  return bytes === undefined ? 0 : decodeSeal(bytes).writes
}

/** In the member list that it would go on with; 0 where it has none. */
function votersOf({ checkpoints }: Contents): number {
  const newest = checkpoints.get(Math.max(0, ...checkpoints.keys()))
  return newest === undefined ? 0 : decodeCheckpoint(newest).members.voters.length
}

function sameBytes(one: Uint8Array, other: Uint8Array): boolean {
  return one.length === other.length && one.every((byte, at) => byte === other[at])
}

function contentsOf({ contents }: Area): StorageContents {
  const instances = [...contents.instances.values()].sort((a, b) => a.epoch - b.epoch || a.row - b.row || a.seq - b.seq)
  const checkpoints = [...contents.checkpoints].sort(([a], [b]) => a - b).map(([epoch, bytes]) => ({ epoch, bytes }))
  return { meta: new Map(contents.meta), instances, checkpoints }
}
