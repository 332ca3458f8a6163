// The records of one replica on the disk of faulty-disk.ts, each with the version before it, and the ways in which they are
// lost or changed without anybody having written. Owners and what happens to writes are not known here.
import { equalBytes } from '../src/lib/equal-bytes.ts'
import type { Random } from '../src/lib/random.ts'
import type {
  StorageContents,
  StoredCheckpoint,
  StoredInstance,
  StoredMeta,
  WriteBatch,
} from '../src/storage/storage.ts'

/** What `FaultyDisk.damage` can do to a replica: to one record, to several, to all of one kind, to everything. */
export type DiskDamage =
  | 'an instance is lost'
  | 'several instances are lost'
  | 'a bit is flipped'
  | 'a record is an older one'
  | 'all instances are lost'
  | 'all checkpoints are lost'
  | 'all meta are lost'
  | 'everything is lost'

/** All kinds of damage, for tests that try each. */
export const diskDamages: readonly DiskDamage[] = [
  'an instance is lost',
  'several instances are lost',
  'a bit is flipped',
  'a record is an older one',
  'all instances are lost',
  'all checkpoints are lost',
  'all meta are lost',
  'everything is lost',
]

type DiskRecord =
  | { readonly kind: 'meta'; readonly entry: StoredMeta }
  | { readonly kind: 'instance'; readonly entry: StoredInstance }
  | { readonly kind: 'checkpoint'; readonly entry: StoredCheckpoint }

interface Versions {
  readonly current: DiskRecord
  /** The bytes that this record replaced; undefined when it is the first one of its key. */
  readonly older: Uint8Array | undefined
}

/** What a record takes besides its bytes, for its key. */
const keyBytes = 32

export class DiskRecords {
  readonly #records: Map<string, Versions>

  constructor(records: ReadonlyMap<string, Versions> = new Map()) {
    this.#records = new Map(records)
  }

  copy(): DiskRecords {
    return new DiskRecords(this.#records)
  }

  get isEmpty(): boolean {
    return this.#records.size === 0
  }

  get byteLength(): number {
    let sum = 0
    for (const { current } of this.#records.values()) sum += keyBytes + current.entry.bytes.length
    return sum
  }

  contents(): StorageContents {
    const meta = new Map<string, Uint8Array>()
    const instances: StoredInstance[] = []
    const checkpoints: StoredCheckpoint[] = []
    for (const { current } of this.#records.values()) {
      if (current.kind === 'meta') meta.set(current.entry.name, current.entry.bytes)
      else if (current.kind === 'instance') instances.push(current.entry)
      else checkpoints.push(current.entry)
    }
    instances.sort((left, right) => left.epoch - right.epoch || left.row - right.row || left.seq - right.seq)
    checkpoints.sort((left, right) => left.epoch - right.epoch)
    return { meta, instances, checkpoints }
  }

  apply(batch: WriteBatch): void {
    const { dropEpochsBefore } = batch
    if (dropEpochsBefore !== undefined) {
      this.#drop(({ current }) => current.kind !== 'meta' && current.entry.epoch < dropEpochsBefore)
    }
    for (const name of batch.dropMeta ?? []) this.#records.delete(`meta ${name}`)
    for (const entry of batch.meta) this.#put({ kind: 'meta', entry })
    for (const entry of batch.checkpoints) this.#put({ kind: 'checkpoint', entry })
    for (const entry of batch.instances) this.#put({ kind: 'instance', entry })
  }

  /** Does the damage to records that `random` chooses, and says to which; undefined when there is nothing to do it to. */
  damage(how: DiskDamage, random: Random): string | undefined {
    switch (how) {
      case 'an instance is lost':
        return this.#loseInstances(1, random)
      case 'several instances are lost':
        return this.#loseInstances(2 + random.integer(4), random)
      case 'a bit is flipped':
        return this.#flipBit(random)
      case 'a record is an older one':
        return this.#ageRecord(random)
      case 'all instances are lost':
        return this.#loseAll(({ current }) => current.kind === 'instance')
      case 'all checkpoints are lost':
        return this.#loseAll(({ current }) => current.kind === 'checkpoint')
      case 'all meta are lost':
        return this.#loseAll(({ current }) => current.kind === 'meta')
      case 'everything is lost':
        return this.#loseAll(() => true)
    }
  }

  #put(record: DiskRecord): void {
    const key = keyOf(record)
    this.#records.set(key, { current: record, older: this.#records.get(key)?.current.entry.bytes })
  }

  #drop(which: (versions: Versions) => boolean): number {
    let dropped = 0
    for (const [key, versions] of this.#records) {
      if (!which(versions)) continue
      this.#records.delete(key)
      dropped += 1
    }
    return dropped
  }

  /** Fewer when there are not so many. */
  #loseInstances(count: number, random: Random): string | undefined {
    const instances = [...this.#records].filter(([, { current }]) => current.kind === 'instance').map(([key]) => key)
    const lost = random.shuffle(instances).slice(0, count)
    for (const key of lost) this.#records.delete(key)
    return lost.length === 0 ? undefined : `lost: ${lost.join(', ')}`
  }

  #loseAll(which: (versions: Versions) => boolean): string | undefined {
    const lost = this.#drop(which)
    return lost === 0 ? undefined : `lost: ${lost} records`
  }

  #flipBit(random: Random): string | undefined {
    const candidates = [...this.#records].filter(([, { current }]) => current.entry.bytes.length > 0)
    if (candidates.length === 0) return undefined
    const [key, { current, older }] = random.pick(candidates)
    const { bytes } = current.entry
    const at = random.integer(bytes.length)
    const bit = random.integer(8)
    const flipped = bytes.map((byte, index) => (index === at ? byte ^ (1 << bit) : byte))
    this.#records.set(key, { current: withBytes(current, flipped), older })
    return `${key}: bit ${bit} of byte ${at} is flipped`
  }

  #ageRecord(random: Random): string | undefined {
    const candidates = [...this.#records].flatMap(([key, { current, older }]) =>
      older === undefined || equalBytes(older, current.entry.bytes) ? [] : [{ key, current, older }],
    )
    if (candidates.length === 0) return undefined
    const { key, current, older } = random.pick(candidates)
    this.#records.set(key, { current: withBytes(current, older), older: undefined })
    return `${key} is what it was before its last write`
  }
}

function keyOf({ kind, entry }: DiskRecord): string {
  if (kind === 'meta') return `meta ${entry.name}`
  if (kind === 'checkpoint') return `checkpoint ${entry.epoch}`
  return `instance ${entry.epoch}/${entry.row}/${entry.seq}`
}

function withBytes(record: DiskRecord, bytes: Uint8Array): DiskRecord {
  if (record.kind === 'meta') return { kind: 'meta', entry: { ...record.entry, bytes } }
  if (record.kind === 'checkpoint') return { kind: 'checkpoint', entry: { ...record.entry, bytes } }
  return { kind: 'instance', entry: { ...record.entry, bytes } }
}
