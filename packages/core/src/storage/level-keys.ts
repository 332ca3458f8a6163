// The layout of a replica's LevelDB: what its keys are made of. LevelDB orders keys by their bytes, so numbers are written
// with their highest byte first and at full length: the order of the bytes is the order of the numbers.

/**
 * The layout that this version writes and reads. A change of what keys or values mean raises it, and migrates what an older
 * version wrote when the replica is opened.
 */
export const layoutVersion = 1

/** The first byte of each key says what it is the key of. */
const family = { layout: 0, meta: 1, checkpoint: 2, instance: 3 } as const

/** What a key of the database stands for. */
export type LevelKey =
  | { readonly kind: 'layout' }
  | { readonly kind: 'meta'; readonly name: string }
  | { readonly kind: 'checkpoint'; readonly epoch: number }
  | { readonly kind: 'instance'; readonly epoch: number; readonly row: number; readonly seq: number }

/** Sorts before all other keys. */
export const layoutKey = Uint8Array.of(family.layout)

export function metaKey(name: string): Uint8Array {
  const text = new TextEncoder().encode(name)
  const key = new Uint8Array(1 + text.length)
  key[0] = family.meta
  key.set(text, 1)
  return key
}

const checkpointKeyBytes = 9

export function checkpointKey(epoch: number): Uint8Array {
  const key = new Uint8Array(checkpointKeyBytes)
  const view = new DataView(key.buffer)
  view.setUint8(0, family.checkpoint)
  setWhole(view, 1, epoch)
  return key
}

const instanceKeyBytes = 18

export function instanceKey(epoch: number, row: number, seq: number): Uint8Array {
  const key = new Uint8Array(instanceKeyBytes)
  const view = new DataView(key.buffer)
  view.setUint8(0, family.instance)
  setWhole(view, 1, epoch)
  view.setUint8(9, row)
  setWhole(view, 10, seq)
  return key
}

/** From the first to behind the last key. */
export interface KeyRange {
  readonly gte: Uint8Array
  readonly lt: Uint8Array
}

/** Where all that `dropEpochsBefore` forgets has its keys. */
export function rangesBefore(epoch: number): readonly KeyRange[] {
  return [
    { gte: checkpointKey(0), lt: checkpointKey(epoch) },
    { gte: instanceKey(0, 0, 0), lt: instanceKey(epoch, 0, 0) },
  ]
}

/** Where all keys are. */
export const allKeys: KeyRange = { gte: layoutKey, lt: Uint8Array.of(family.instance + 1) }

/** Undefined for a key that no version up to this one writes. */
export function decodeKey(key: Uint8Array): LevelKey | undefined {
  const view = new DataView(key.buffer, key.byteOffset, key.byteLength)
  switch (key[0]) {
    case family.layout:
      return key.length === layoutKey.length ? { kind: 'layout' } : undefined
    case family.meta:
      return { kind: 'meta', name: new TextDecoder('utf-8', { ignoreBOM: true }).decode(key.subarray(1)) }
    case family.checkpoint: {
      if (key.length !== checkpointKeyBytes) return undefined
      const epoch = getWhole(view, 1)
      return Number.isSafeInteger(epoch) ? { kind: 'checkpoint', epoch } : undefined
    }
    case family.instance: {
      if (key.length !== instanceKeyBytes) return undefined
      const epoch = getWhole(view, 1)
      const seq = getWhole(view, 10)
      if (!Number.isSafeInteger(epoch) || !Number.isSafeInteger(seq)) return undefined
      return { kind: 'instance', epoch, row: view.getUint8(9), seq }
    }
    default:
      return undefined
  }
}

// Whole numbers up to 2^53 in eight bytes, without the bigints that DataView has for that: a log has very many of them.

const halfway = 2 ** 32

function setWhole(view: DataView, at: number, value: number): void {
  view.setUint32(at, Math.floor(value / halfway))
  view.setUint32(at + 4, value % halfway)
}

function getWhole(view: DataView, at: number): number {
  return view.getUint32(at) * halfway + view.getUint32(at + 4)
}
