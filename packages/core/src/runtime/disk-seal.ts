// [DU6] What this replica knows of its own disk: how many writes it has seen, and a digest of all that should be there. Both go
// to disk in every transaction, so that a disk which lost or kept the wrong records is noticed when it is opened, and one
// that came back whole but older is noticed by those who heard the number.
import { checksum, DecodeError } from '../codec/bytes.ts'
import { decodeSeal, encodeSeal } from '../codec/record.ts'
import { WepaxosError } from '../lib/errors.ts'
import type { Epoch } from '../protocol/ids.ts'
import { instanceKey } from '../protocol/instance.ts'
import type { StorageContents, StoredCheckpoint, StoredInstance, StoredMeta, WriteBatch } from '../storage/storage.ts'

export const sealName = 'seal'
/** Stands in a database that was migrated from a layout without seals, until the first write. */
export const unsealedName = 'unsealed'

/** The digests of one epoch's records, so that they can be taken away when a record is replaced or the epoch dropped. */
interface EpochDigests {
  checkpoint: number | null
  readonly instances: Map<number, number>
  sum: number
}

export class DiskSeal {
  #writes = 0
  readonly #meta = new Map<string, number>()
  #metaSum = 0
  readonly #epochs = new Map<Epoch, EpochDigests>()
  #unsealed = false

  /** Of a disk as it was read. Throws DamagedStorage where it is not what the last write left. */
  static of(contents: StorageContents): DiskSeal {
    const seal = new DiskSeal()
    for (const [name, bytes] of contents.meta) if (name !== sealName) seal.#putMeta({ name, bytes })
    for (const checkpoint of contents.checkpoints) seal.#putCheckpoint(checkpoint)
    for (const instance of contents.instances) seal.#putInstance(instance)
    const found = contents.meta.get(sealName)
    if (found === undefined) {
      seal.#unsealed = contents.meta.has(unsealedName)
      if (seal.#records() > 0 && !seal.#unsealed) throw damaged('the disk holds records, and no seal over them')
      return seal
    }
    let expected: ReturnType<typeof decodeSeal>
    try {
      expected = decodeSeal(found)
    } catch (error) {
      if (!(error instanceof DecodeError)) throw error
      throw damaged('the seal of the disk can not be read', error)
    }
    const records = seal.#records()
    if (records !== expected.records || seal.#digest() !== expected.digest) {
      throw damaged(`the disk does not hold what was written last: ${records} records instead of ${expected.records}`)
    }
    seal.#writes = expected.writes
    return seal
  }

  /** Writes so far, the ones that are under way included. */
  get writes(): number {
    return this.#writes
  }

  /** The batch with the seal over what will be there after it. Batches are written in the order of these calls. */
  sealed(batch: WriteBatch): WriteBatch {
    this.#writes++
    let dropMeta = batch.dropMeta ?? []
    if (this.#unsealed) {
      this.#unsealed = false
      dropMeta = [...dropMeta, unsealedName]
    }
    for (const name of dropMeta) this.#dropMeta(name)
    if (batch.dropEpochsBefore !== undefined) {
      for (const epoch of this.#epochs.keys()) if (epoch < batch.dropEpochsBefore) this.#epochs.delete(epoch)
    }
    for (const entry of batch.meta) this.#putMeta(entry)
    for (const checkpoint of batch.checkpoints) this.#putCheckpoint(checkpoint)
    for (const instance of batch.instances) this.#putInstance(instance)
    const bytes = encodeSeal({ writes: this.#writes, records: this.#records(), digest: this.#digest() })
    return {
      ...batch,
      meta: [...batch.meta, { name: sealName, bytes }],
      ...(dropMeta.length > 0 ? { dropMeta } : {}),
    }
  }

  #records(): number {
    let records = this.#meta.size
    for (const { checkpoint, instances } of this.#epochs.values()) {
      records += instances.size + (checkpoint === null ? 0 : 1)
    }
    return records
  }

  #digest(): number {
    let sum = this.#metaSum
    for (const epoch of this.#epochs.values()) sum = (sum + epoch.sum) >>> 0
    return sum
  }

  #putMeta({ name, bytes }: StoredMeta): void {
    let digest = trailer(bytes)
    for (let at = 0; at < name.length; at++) digest = mix(digest, name.charCodeAt(at))
    this.#metaSum = (this.#metaSum - (this.#meta.get(name) ?? 0) + digest) >>> 0
    this.#meta.set(name, digest)
  }

  #dropMeta(name: string): void {
    this.#metaSum = (this.#metaSum - (this.#meta.get(name) ?? 0)) >>> 0
    this.#meta.delete(name)
  }

  #putCheckpoint({ epoch, bytes }: StoredCheckpoint): void {
    const digests = this.#epoch(epoch)
    const digest = mix(mix(checksum(bytes, 0, bytes.length), epoch), bytes.length)
    digests.sum = (digests.sum - (digests.checkpoint ?? 0) + digest) >>> 0
    digests.checkpoint = digest
  }

  #putInstance({ epoch, row, seq, bytes }: StoredInstance): void {
    const digests = this.#epoch(epoch)
    const key = instanceKey({ row, seq })
    const digest = mix(mix(mix(trailer(bytes), epoch), row), seq)
    digests.sum = (digests.sum - (digests.instances.get(key) ?? 0) + digest) >>> 0
    digests.instances.set(key, digest)
  }

  #epoch(epoch: Epoch): EpochDigests {
    let digests = this.#epochs.get(epoch)
    if (digests === undefined) {
      digests = { checkpoint: null, instances: new Map(), sum: 0 }
      this.#epochs.set(epoch, digests)
    }
    return digests
  }
}

/** Records close with a checksum of their own: it stands for them. Whoever decodes a record checks it. */
function trailer(bytes: Uint8Array): number {
  const at = bytes.length - 4
  if (at < 0) return mix(bytes.length, 1)
  return (
    ((bytes[at] ?? 0) | ((bytes[at + 1] ?? 0) << 8) | ((bytes[at + 2] ?? 0) << 16) | ((bytes[at + 3] ?? 0) << 24)) >>> 0
  )
}

/** Numbers above 2^32 count with their low bits only: that is enough against an accident. */
function mix(hash: number, value: number): number {
  let mixed = Math.imul(hash ^ (value | 0), 0x85ebca6b)
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35)
  return (mixed ^ (mixed >>> 16)) >>> 0
}

export function damaged(what: string, cause?: unknown): WepaxosError {
  return new WepaxosError('DamagedStorage', what, { reason: 'damaged' }, cause)
}
