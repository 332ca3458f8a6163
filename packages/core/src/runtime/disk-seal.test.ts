// [DU6] What the seal over a disk notices, and what it lets pass.
import { describe, expect, test } from 'vitest'
import type { DiskDamage } from '../../testing/disk-records.ts'
import { FaultyDisk } from '../../testing/faulty-disk.ts'
import { encodeIdentity } from '../codec/record.ts'
import { replicaId } from '../protocol/ids.ts'
import { memoryStorage } from '../storage/memory.ts'
import type { Storage, StorageContents, WriteBatch } from '../storage/storage.ts'
import { DiskSeal, sealName, unsealedName } from './disk-seal.ts'

const scope = { room: 'r', partition: 'p' }
const record = (value: number) =>
  encodeIdentity({ self: replicaId('a'.repeat(32)), cluster: String(value).padStart(32, '0') })

function batch(parts: Partial<WriteBatch>): WriteBatch {
  return { meta: [], instances: [], checkpoints: [], ...parts }
}

const instance = (seq: number, value: number, epoch = 1) => ({ epoch, row: 0, seq, bytes: record(value) })

/** Some life of a replica: puts, replacements, an epoch dropped, facts forgotten. */
async function live(storage: Storage): Promise<DiskSeal> {
  const seal = DiskSeal.of(await storage.read())
  const batches = [
    batch({
      meta: [
        { name: 'identity', bytes: record(1) },
        { name: 'outbox/1', bytes: record(2) },
      ],
      checkpoints: [{ epoch: 1, bytes: record(3) }],
    }),
    batch({ instances: [instance(1, 1), instance(2, 2), instance(3, 3)] }),
    batch({ instances: [instance(2, 20), instance(4, 4)], dropMeta: ['outbox/1', 'never there'] }),
    batch({ checkpoints: [{ epoch: 2, bytes: record(5) }], instances: [instance(1, 6, 2)] }),
    batch({ dropEpochsBefore: 2, instances: [instance(2, 7, 2), instance(2, 8, 2), instance(3, 9, 2)] }),
    batch({ instances: [instance(1, 10, 2)], meta: [{ name: 'identity', bytes: record(11) }] }),
  ]
  for (const one of batches) await storage.write(seal.sealed(one))
  return seal
}

async function contents(): Promise<StorageContents> {
  const storage = await memoryStorage().open(scope)
  await live(storage)
  return storage.read()
}

describe('[DU6] the seal of a disk', () => {
  test('fits what was written, over replacements, drops and epochs, and counts the writes', async () => {
    const disk = memoryStorage()
    const storage = await disk.open(scope)
    const seal = await live(storage)
    expect(seal.writes).toBe(6)
    expect(DiskSeal.of(await storage.read()).writes).toBe(6)
  })

  test('an empty disk is a new one', () => {
    expect(DiskSeal.of({ meta: new Map(), instances: [], checkpoints: [] }).writes).toBe(0)
  })

  test.each([
    ['a lost instance', (all: StorageContents) => ({ ...all, instances: all.instances.slice(1) })],
    ['a lost checkpoint', (all: StorageContents) => ({ ...all, checkpoints: [] })],
    ['a lost fact', (all: StorageContents) => ({ ...all, meta: without(all.meta, 'identity') })],
    ['a lost seal', (all: StorageContents) => ({ ...all, meta: without(all.meta, sealName) })],
    ['an older record', (all: StorageContents) => ({ ...all, instances: swapped(all, instance(1, 6, 2)) })],
    [
      'a record under another key',
      (all: StorageContents) => ({ ...all, instances: swapped(all, instance(9, 10, 2), 1) }),
    ],
    [
      'a fact that came back',
      (all: StorageContents) => ({ ...all, meta: new Map(all.meta).set('outbox/1', record(2)) }),
    ],
    [
      'two records that changed places',
      (all: StorageContents) => ({
        ...all,
        instances: swapped({ ...all, instances: swapped(all, instance(1, 8, 2)) }, instance(2, 10, 2)),
      }),
    ],
    [
      'a seal that can not be read',
      (all: StorageContents) => ({ ...all, meta: new Map(all.meta).set(sealName, Uint8Array.of(1, 2, 3, 4, 5, 6)) }),
    ],
  ])('%s is noticed', async (_what, change) => {
    const whole = await contents()
    expect(() => DiskSeal.of(whole)).not.toThrow()
    expect(() => DiskSeal.of(change(whole))).toThrow(expect.objectContaining({ code: 'DamagedStorage' }))
  })

  test.each<DiskDamage>([
    'an instance is lost',
    'several instances are lost',
    'a record is an older one',
    'all instances are lost',
    'all checkpoints are lost',
    'all meta are lost',
  ])('on a disk where %s it does not fit, whichever record it is', async (how) => {
    for (let seed = 1; seed <= 20; seed++) {
      const disk = new FaultyDisk({ seed })
      const storage = await disk.open(scope)
      await live(storage)
      await storage.close()
      disk.damage(0, how)
      const found = await (await disk.open(scope)).read()
      expect(() => DiskSeal.of(found), `seed ${seed}`).toThrow(expect.objectContaining({ code: 'DamagedStorage' }))
    }
  })

  test('a database from before there were seals is taken as it is, and sealed with the first write', async () => {
    const disk = memoryStorage()
    const storage = await disk.open(scope)
    await storage.write(batch({ meta: [{ name: 'identity', bytes: record(1) }], instances: [instance(1, 1)] }))
    await storage.write(batch({ meta: [{ name: unsealedName, bytes: Uint8Array.of(1) }] }))
    const seal = DiskSeal.of(await storage.read())
    await storage.write(seal.sealed(batch({ instances: [instance(2, 2)] })))
    const after = await storage.read()
    expect(after.meta.has(unsealedName)).toBe(false)
    expect(DiskSeal.of(after).writes).toBe(1)
    expect(() => DiskSeal.of({ ...after, instances: after.instances.slice(1) })).toThrow()
  })
})

function without(meta: ReadonlyMap<string, Uint8Array>, name: string): ReadonlyMap<string, Uint8Array> {
  return new Map([...meta].filter(([one]) => one !== name))
}

/** With this instance in the place of the one of its seq, or of seq `instead`. */
function swapped(all: StorageContents, by: StorageContents['instances'][number], instead = by.seq) {
  return all.instances.map((one) => (one.epoch === by.epoch && one.seq === instead ? by : one))
}
