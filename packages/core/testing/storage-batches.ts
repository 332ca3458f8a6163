// What the storage contract writes and how it compares what is read: batches with only some parts, replicas with names, and
// random batches of which any beginning can be recognised.
import type { Random } from '../src/lib/random.ts'
import { sha256Hex } from '../src/lib/sha256.ts'
import type { Storage, StorageContents, StorageScope, WriteBatch } from '../src/storage/storage.ts'

/** The scope that is meant where it does not matter which. */
export const contractScope: StorageScope = { room: 'contract', partition: 'a' }

/** A batch with only the given parts. */
export function write(parts: Partial<WriteBatch>): WriteBatch {
  return { meta: [], instances: [], checkpoints: [], ...parts }
}

/** A batch that makes a replica recognisable. */
export function named(name: string): WriteBatch {
  return write({ meta: [{ name: 'name', bytes: new TextEncoder().encode(name) }] })
}

export async function nameIn(storage: Storage): Promise<string | undefined> {
  const name = (await storage.read()).meta.get('name')
  return name === undefined ? undefined : new TextDecoder().decode(name)
}

export function bytes(...values: readonly number[]): Uint8Array {
  return Uint8Array.from(values)
}

const countName = 'count'

/** `length` batches that put, replace and forget; each says in a meta record which one of which life it is. */
export function lifeOfWrites(life: number, length: number, random: Random): WriteBatch[] {
  return Array.from({ length }, (_, at) => {
    const number = at + 1
    const instances = Array.from({ length: random.integer(6) }, () => ({
      epoch: life + random.integer(3),
      row: random.integer(3),
      seq: 1 + random.integer(30),
      bytes: randomBytes(random),
    }))
    const checkpoints = random.chance(0.2) ? [{ epoch: life + random.integer(3), bytes: randomBytes(random) }] : []
    const drops = {
      ...(random.chance(0.1) ? { dropEpochsBefore: life + random.integer(3) } : {}),
      ...(random.chance(0.2) ? { dropMeta: [`m${random.integer(3)}`] } : {}),
    }
    const meta = [
      { name: countName, bytes: bytes(life, number >> 8, number & 0xff) },
      { name: `m${random.integer(3)}`, bytes: randomBytes(random) },
    ]
    return { meta, instances, checkpoints, ...drops }
  })
}

/** How many of the batches of that life are in the contents, going by what the last one of them says. */
export function writesOfLifeIn(contents: StorageContents, life: number): number {
  const [ofLife, high = 0, low = 0] = contents.meta.get(countName) ?? []
  return ofLife === life ? high * 256 + low : 0
}

/** The contents in short, for comparing: with all keys, in the order in which they came, and hashes of the bytes. */
export function summaryOf({ meta, instances, checkpoints }: StorageContents): string[] {
  return [
    ...[...meta].map(([name, value]) => `meta ${name}: ${short(value)}`).sort(),
    ...instances.map(({ epoch, row, seq, bytes }) => `instance ${epoch}/${row}/${seq}: ${short(bytes)}`),
    ...checkpoints.map(({ epoch, bytes }) => `checkpoint ${epoch}: ${short(bytes)}`),
  ]
}

/** Small ones mostly, now and then one that no disk writes at once. */
function randomBytes(random: Random): Uint8Array {
  const length = random.chance(0.1) ? 20_000 + random.integer(60_000) : random.integer(200)
  return new Uint8Array(length).fill(random.integer(256))
}

function short(bytes: Uint8Array): string {
  return `${bytes.length} bytes ${sha256Hex(bytes).slice(0, 16)}`
}
