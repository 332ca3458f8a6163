// A disk in memory on which everything goes wrong that a test asks for: writes that fail, wait, or find no room; owners that
// die with writes under way; disks that come back older or damaged; replicas that lose their owner and are adopted. Without
// being asked it keeps the contract of the port (storage-contract.ts). Nothing here reads a clock, and all dice are seeded.
import { WepaxosError } from '../src/lib/errors.ts'
import { createRandom, type Random } from '../src/lib/random.ts'
import type {
  Orphan,
  Storage,
  StorageContents,
  StorageProvider,
  StorageScope,
  StorageSpace,
  WriteBatch,
} from '../src/storage/storage.ts'
import { type DiskDamage, DiskRecords } from './disk-records.ts'

export interface FaultyDiskOptions {
  /** Decides what is left to chance: which writes a crash leaves, which record is damaged, who adopts. Default 1. */
  readonly seed?: number
  /** What the storages say of themselves. Default 'strict'. */
  readonly durability?: Storage['durability']
  /** Runs what the disk does by itself: each completion of a write, each adoption. Default: a microtask each. */
  readonly later?: (task: () => void) => void
}

/** One replica's place on the disk, as tests see it. */
export interface DiskSlot {
  readonly slot: number
  readonly scope: StorageScope
  readonly owned: boolean
  readonly hasState: boolean
}

/** What a slot held at one moment. */
export class DiskImage {
  readonly #records: DiskRecords

  constructor(records: DiskRecords) {
    this.#records = records.copy()
  }

  records(): DiskRecords {
    return this.#records.copy()
  }
}

/**
 * One disk with any number of replicas, numbered in the order in which they were made, over all scopes: the first replica of
 * a fresh disk is slot 0. `slotOf(storage)` tells the number. `open` takes the lowest free slot of the scope that has state,
 * else the lowest free one, else a new one.
 */
export class FaultyDisk implements StorageProvider {
  readonly #durability: Storage['durability']
  readonly #later: (task: () => void) => void
  readonly #random: Random
  readonly #slots: Slot[] = []
  readonly #watchers = new Set<Watcher>()
  /** What the next write that is asked for fails with. */
  #nextFailure: Error | undefined
  #bytesMax = Number.POSITIVE_INFINITY
  /** How many writes may still complete before the disk holds them back. */
  #passes = Number.POSITIVE_INFINITY

  constructor(options: FaultyDiskOptions = {}) {
    this.#random = createRandom(options.seed ?? 1)
    this.#durability = options.durability ?? 'strict'
    this.#later = options.later ?? queueMicrotask
  }

  async open(scope: StorageScope): Promise<Storage> {
    const ofScope = this.#slots.filter((slot) => isSameScope(slot.scope, scope))
    const free = ofScope.filter((slot) => slot.owner === undefined)
    const slot = free.find((candidate) => !candidate.records.isEmpty) ?? free[0] ?? this.#newSlot(scope)
    return this.#take(slot)
  }

  /**
   * A watcher is not given what it adopted and closed by itself, until another had it. The disk knows no pages: who closes
   * its own replica, and does not want it back at once, ends its watching first.
   */
  watchOrphans(scope: StorageScope, adopt: (orphan: Orphan) => void): () => void {
    const watcher: Watcher = { scope, adopt }
    this.#watchers.add(watcher)
    for (const slot of this.#slots) if (isSameScope(slot.scope, scope)) this.#offerLater(slot)
    return () => {
      this.#watchers.delete(watcher)
    }
  }

  /** Every replica's place that was ever made, the erased ones included. */
  get slots(): readonly DiskSlot[] {
    return this.#slots.map(({ number, scope, owner, records }) => ({
      slot: number,
      scope,
      owned: owner !== undefined,
      hasState: !records.isEmpty,
    }))
  }

  /** The slot that this handle was given, also when it does not own it any more. */
  slotOf(storage: Storage): number {
    if (!(storage instanceof FaultyStorage)) throw new Error('this storage is not of a FaultyDisk')
    return storage.slot.number
  }

  /** Whether this handle still owns its slot. */
  isOwned(storage: Storage): boolean {
    return storage instanceof FaultyStorage && storage.slot.owner === storage
  }

  /** What is durable in the slot, whoever owns it. */
  contentsOf(slot: number): StorageContents {
    return this.#slot(slot).records.contents()
  }

  /** What all replicas take. */
  get usedBytes(): number {
    return this.#slots.reduce((sum, { records }) => sum + records.byteLength, 0)
  }

  /** The next write that is asked for, of whatever replica, fails with this error when its turn comes. */
  failNext(error: Error = new WepaxosError('StorageFailed', 'the disk failed', { reason: 'disk' })): void {
    this.#nextFailure = error
  }

  /** From now on only `roomBytes` more fit: writes that need more fail, with reason 'quota', until `free` is called. */
  fill(roomBytes = 0): void {
    this.#bytesMax = this.usedBytes + roomBytes
  }

  /** There is room again. */
  free(): void {
    this.#bytesMax = Number.POSITIVE_INFINITY
  }

  /** From now on writes stay under way, but for the next `letThrough` ones, until `resume` is called. */
  hold(letThrough = 0): void {
    this.#passes = letThrough
    this.#pumpAll()
  }

  /** The writes that were held back complete, and the later ones as usual. */
  resume(): void {
    this.hold(Number.POSITIVE_INFINITY)
  }

  /**
   * The owner's process dies without a word. Of its writes under way the first ones may just have become durable, as many as
   * the seed says, and are counted in the result; the rest is lost. From then on the handle does nothing, and none of its
   * promises settles.
   */
  crashOwner(slot: number): number {
    const place = this.#slot(slot)
    const { owner } = place
    if (owner === undefined) throw new Error(`slot ${slot} has no owner that could crash`)
    const durable = owner.die(this.#random)
    this.#release(place)
    return durable
  }

  /**
   * The owner loses the slot while it lives, as a frozen page does that another took over from: its writes under way and all
   * later ones fail, and it is told by `onLost`.
   */
  takeAway(
    slot: number,
    reason = new WepaxosError('StorageFailed', 'another took the replica over', { reason: 'taken-over' }),
  ): void {
    const place = this.#slot(slot)
    const { owner } = place
    if (owner === undefined) throw new Error(`slot ${slot} has no owner to take it from`)
    owner.lose(reason)
    this.#release(place)
  }

  /** What the slot holds now, for `restore`. */
  keep(slot: number): DiskImage {
    return new DiskImage(this.#slot(slot).records)
  }

  /** The slot's disk comes back as it was when the image was kept, or is a copy of another's. Nobody is told. */
  restore(slot: number, image: DiskImage): void {
    const place = this.#slot(slot)
    place.records = image.records()
    this.#offerLater(place)
  }

  /** Does the damage, and says to what. Throws when the slot holds nothing of the kind. Nobody is told. */
  damage(slot: number, how: DiskDamage): string {
    const done = this.#slot(slot).records.damage(how, this.#random)
    if (done === undefined) throw new Error(`slot ${slot} holds nothing to which this can happen: ${how}`)
    return done
  }

  /**
   * Plays the page that owned the slot and is back: whoever adopted it is asked for it by `onWanted`, also when that is set
   * only later. Resolves with the storage when the slot is free, which never comes when the adopter keeps it.
   */
  want(slot: number): Promise<Storage> {
    const place = this.#slot(slot)
    return new Promise((resolve) => {
      place.wants.push(resolve)
      place.orphan?.want()
      this.#offerLater(place)
    })
  }

  /** The disk as its storages see it. */
  #platter(): Platter {
    return {
      durability: this.#durability,
      later: this.#later,
      takeFailure: () => {
        const failure = this.#nextFailure
        this.#nextFailure = undefined
        return failure
      },
      isHeld: () => this.#passes <= 0,
      pass: () => {
        if (this.#passes <= 0) return false
        this.#passes -= 1
        return true
      },
      store: (slot, batch) => this.#store(slot, batch),
      space: () => ({
        persisted: true,
        usedBytes: this.usedBytes,
        quotaBytes: this.#bytesMax === Number.POSITIVE_INFINITY ? null : this.#bytesMax,
      }),
      release: (slot) => this.#release(slot),
    }
  }

  #store(slot: Slot, batch: WriteBatch): void {
    if (this.#bytesMax === Number.POSITIVE_INFINITY) {
      slot.records.apply(batch)
      return
    }
    const next = slot.records.copy()
    next.apply(batch)
    const more = next.byteLength - slot.records.byteLength
    // What makes things smaller fits on any disk.
    if (more > 0 && this.usedBytes + more > this.#bytesMax) {
      throw new WepaxosError('StorageFailed', 'the disk is full', { reason: 'quota' })
    }
    slot.records = next
  }

  #release(slot: Slot): void {
    slot.owner = undefined
    slot.orphan = undefined
    this.#offerLater(slot)
  }

  #slot(number: number): Slot {
    const slot = this.#slots[number]
    if (slot === undefined) throw new Error(`this disk has no slot ${number}`)
    return slot
  }

  #newSlot(scope: StorageScope): Slot {
    const slot = new Slot(this.#slots.length, scope)
    this.#slots.push(slot)
    return slot
  }

  #take(slot: Slot, by?: Watcher): FaultyStorage {
    const storage = new FaultyStorage(this.#platter(), slot, by)
    slot.owner = storage
    slot.closedBy = undefined
    return storage
  }

  #pumpAll(): void {
    for (const { owner } of this.#slots) owner?.pump()
  }

  #offerLater(slot: Slot): void {
    if (slot.owner === undefined) this.#later(() => this.#offer(slot))
  }

  #offer(slot: Slot): void {
    if (slot.owner !== undefined) return
    const wanted = slot.wants.shift()
    if (wanted !== undefined) {
      wanted(this.#take(slot))
      return
    }
    if (slot.records.isEmpty) return
    const watchers = [...this.#watchers].filter(
      (watcher) => isSameScope(watcher.scope, slot.scope) && watcher !== slot.closedBy,
    )
    if (watchers.length === 0) return
    const watcher = this.#random.pick(watchers)
    const orphan = new FaultyOrphan(this.#take(slot, watcher), this.#later)
    slot.orphan = orphan
    watcher.adopt(orphan)
  }
}

interface Platter {
  readonly durability: Storage['durability']
  later(task: () => void): void
  /** What the write that is asked for now fails with. */
  takeFailure(): Error | undefined
  isHeld(): boolean
  /** Whether a write may complete now; it counts against what is let through. */
  pass(): boolean
  /** Throws, and changes nothing, where the batch does not fit. */
  store(slot: Slot, batch: WriteBatch): void
  space(): StorageSpace
  /** The slot has no owner any more. */
  release(slot: Slot): void
}

interface Watcher {
  readonly scope: StorageScope
  readonly adopt: (orphan: Orphan) => void
}

class Slot {
  readonly number: number
  readonly scope: StorageScope
  records = new DiskRecords()
  owner: FaultyStorage | undefined
  /** How the present owner got it, where it was adopted. */
  orphan: FaultyOrphan | undefined
  /** The watcher that adopted it last and closed it. */
  closedBy: Watcher | undefined
  readonly wants: ((storage: Storage) => void)[] = []

  constructor(number: number, scope: StorageScope) {
    this.number = number
    this.scope = scope
  }
}

class FaultyOrphan implements Orphan {
  readonly storage: FaultyStorage
  readonly #later: (task: () => void) => void
  #isWanted = false
  #onWanted: (() => void) | null = null

  constructor(storage: FaultyStorage, later: (task: () => void) => void) {
    this.storage = storage
    this.#later = later
  }

  get slot(): number {
    return this.storage.slot.number
  }

  get onWanted(): (() => void) | null {
    return this.#onWanted
  }

  set onWanted(listener: (() => void) | null) {
    this.#onWanted = listener
    if (this.#isWanted) this.want()
  }

  want(): void {
    this.#isWanted = true
    this.#later(() => {
      if (this.storage.isOwner) this.#onWanted?.()
    })
  }
}

interface PendingWrite {
  readonly batch: WriteBatch
  readonly failure: Error | undefined
  readonly resolve: () => void
  readonly reject: (error: Error) => void
}

class FaultyStorage implements Storage {
  readonly durability: Storage['durability']
  readonly slot: Slot
  readonly #disk: Platter
  /** Who adopted it, where it was adopted. */
  readonly #adopter: Watcher | undefined
  #pending: PendingWrite[] = []
  #isCompleting = false
  /** Settles after the last write that was asked for; never rejects. */
  #written: Promise<void> = Promise.resolve()
  #failure: Error | undefined
  #ending: Promise<void> | undefined
  #isDead = false
  #onLost: ((reason: Error) => void) | null = null
  /** A loss that nobody was told yet. */
  #untold: Error | undefined

  constructor(disk: Platter, slot: Slot, adopter: Watcher | undefined) {
    this.durability = disk.durability
    this.slot = slot
    this.#disk = disk
    this.#adopter = adopter
  }

  get isOwner(): boolean {
    return this.slot.owner === this
  }

  get onLost(): ((reason: Error) => void) | null {
    return this.#onLost
  }

  set onLost(listener: ((reason: Error) => void) | null) {
    this.#onLost = listener
    this.#tellLoss()
  }

  read(): Promise<StorageContents> {
    if (this.#isDead) return never()
    if (this.#ending !== undefined) return Promise.reject(closed('read'))
    if (!this.isOwner) return Promise.reject(this.#refusal())
    return Promise.resolve(this.slot.records.contents())
  }

  write(batch: WriteBatch): Promise<void> {
    if (this.#isDead) return never()
    if (this.#ending !== undefined) return Promise.reject(closed('write'))
    const written = new Promise<void>((resolve, reject) => {
      this.#pending.push({ batch, failure: this.#disk.takeFailure(), resolve, reject })
    })
    this.#written = written.catch(() => {})
    this.pump()
    return written
  }

  space(): Promise<StorageSpace> {
    return this.#isDead ? never() : Promise.resolve(this.#disk.space())
  }

  erase(): Promise<void> {
    if (this.#isDead) return never()
    if (this.#ending !== undefined) return Promise.reject(closed('erase'))
    this.#ending = this.#end('erase')
    return this.#ending
  }

  close(): Promise<void> {
    if (this.#isDead) return never()
    this.#ending ??= this.#end('keep')
    return this.#ending
  }

  /** Sees to the first write that is under way; the next one follows it. */
  pump(): void {
    if (this.#isCompleting || this.#pending.length === 0 || this.#disk.isHeld()) return
    this.#isCompleting = true
    this.#disk.later(() => {
      this.#isCompleting = false
      // Others may have used up what the disk lets through, and the owner may be dead: then nothing is pending.
      const first = this.#pending[0]
      if (first === undefined || !this.#disk.pass()) return
      this.#pending.shift()
      this.#complete(first)
      this.pump()
    })
  }

  /** The process is gone. Tells how many of the writes under way became durable nevertheless. */
  die(random: Random): number {
    const underWay = this.#pending
    this.#pending = []
    this.#isDead = true
    const chosen = random.integer(underWay.length + 1)
    let durable = 0
    for (const pending of underWay.slice(0, chosen)) {
      if (!this.#store(pending)) break
      durable += 1
    }
    return durable
  }

  lose(reason: Error): void {
    this.#failure ??= reason
    const underWay = this.#pending
    this.#pending = []
    for (const { reject } of underWay) reject(this.#refusal())
    if (this.#ending !== undefined) return
    this.#untold = reason
    this.#tellLoss()
  }

  #complete(pending: PendingWrite): void {
    if (this.#failure !== undefined) {
      pending.reject(this.#refusal())
      return
    }
    if (this.#store(pending)) pending.resolve()
    else pending.reject(this.#failure ?? this.#refusal())
  }

  /** Whether the batch is durable; if not, nothing follows it. */
  #store({ batch, failure }: PendingWrite): boolean {
    if (this.#failure !== undefined) return false
    try {
      if (failure !== undefined) throw failure
      this.#disk.store(this.slot, batch)
      return true
    } catch (error) {
      this.#failure = error instanceof Error ? error : new Error(String(error))
      return false
    }
  }

  /** What is said of everything that comes after the first failure. */
  #refusal(): WepaxosError {
    const cause = this.#failure
    const details = cause instanceof WepaxosError ? cause.details : {}
    return new WepaxosError('StorageFailed', 'nothing is written after a failure', details, cause)
  }

  #tellLoss(): void {
    if (this.#onLost === null || this.#untold === undefined) return
    this.#disk.later(() => {
      const reason = this.#untold
      if (reason === undefined || this.#onLost === null) return
      this.#untold = undefined
      this.#onLost(reason)
    })
  }

  async #end(what: 'keep' | 'erase'): Promise<void> {
    // For ever, when the process dies meanwhile.
    await this.#written
    if (this.#isDead) return never()
    if (!this.isOwner) return
    if (what === 'erase') this.slot.records = new DiskRecords()
    this.slot.closedBy = this.#adopter
    this.#disk.release(this.slot)
  }
}

function never<Value>(): Promise<Value> {
  return new Promise(() => {})
}

function closed(call: string): WepaxosError {
  return new WepaxosError('Closed', `${call}() came after close(): this storage has no replica any more`)
}

function isSameScope(left: StorageScope, right: StorageScope): boolean {
  return left.room === right.room && left.partition === right.partition
}
