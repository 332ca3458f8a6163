// What every storage promises, as a vitest suite: each sentence of the port (src/storage/storage.ts) has a test here. A
// storage's own test file calls this once, and adds what is special to it. Crashes and orphans have files of their own.
import { afterEach, describe, expect, test } from 'vitest'
import type { Storage, StorageContents, StorageProvider, StorageScope, WriteBatch } from '../src/storage/storage.ts'
import { bytes, contractScope, named, nameIn, write } from './storage-batches.ts'
import { type CrashableDisk, describeCrashes } from './storage-contract-crashes.ts'
import { describeOrphans, type SharedDisk } from './storage-contract-orphans.ts'

export interface StorageContractOptions {
  /** A provider on whose disk nothing is stored for the scopes that begin with the room `contract`. Called once a test. */
  readonly provider: () => Promise<StorageProvider>
  /** What the opened storages must say of themselves. */
  readonly durability: Storage['durability']
  /**
   * A provider as above, over a disk that is nearly full: it takes small batches, and refuses one with a record of
   * `refusedBytes` (with reason 'quota'). With this or with `faults.failing` the tests about failed writes are run.
   */
  readonly nearlyFull?: {
    readonly provider: () => Promise<StorageProvider>
    readonly refusedBytes: number
    /** Makes so much room on the disk of the last provider that the refused record fits. */
    readonly makeRoom?: () => Promise<void>
  }
  /** What can be done to the disk. Each way that is given is tested; the others are left out. */
  readonly faults?: StorageFaults
  /** Pages that share a disk, for storages that have `watchOrphans`. Called once a test. */
  readonly orphans?: () => Promise<SharedDisk>
}

/** How a storage's author breaks things. Every function gives a fresh disk, as `provider` does. */
export interface StorageFaults {
  /** A disk that refuses a write when told to. */
  readonly failing?: () => Promise<FailingDisk>
  /** A disk whose owners can be killed. */
  readonly crash?: () => Promise<CrashableDisk>
  /** How many owners die one after the other in each test about crashes. Default 4. */
  readonly lives?: number
}

export interface FailingDisk {
  readonly provider: StorageProvider
  /** The next write that is asked for fails; those that are under way do not. */
  failNext(): void
}

/** A disk, and how a write to it is made that fails. */
interface RefusingDisk {
  readonly provider: StorageProvider
  /** A batch with these parts that fails when it is written next. */
  refused(parts?: Partial<WriteBatch>): WriteBatch
}

/**
 * Runs the suite against one kind of storage. Call it at the top of a vitest file. `provider` and `durability` are enough to
 * begin with; what the disk can be asked for beyond that (too little room, failing writes, owners that die, pages that adopt)
 * is tested as far as `options` says how it is brought about. `FaultyDisk` can do all of it, and its test is an example.
 */
export function describeStorageContract(name: string, options: StorageContractOptions): void {
  const { nearlyFull, faults = {}, orphans } = options
  const { failing, crash, lives = 4 } = faults
  const refusing: [how: string, makeDisk: () => Promise<RefusingDisk>][] = []
  if (nearlyFull !== undefined) {
    const large = { epoch: 1, row: 0, seq: 9, bytes: new Uint8Array(nearlyFull.refusedBytes) }
    const refused = (parts: Partial<WriteBatch> = {}) => write({ ...parts, instances: [large] })
    refusing.push(['because the disk is full', async () => ({ provider: await nearlyFull.provider(), refused })])
  }
  if (failing !== undefined) {
    refusing.push([
      'because the disk fails',
      async () => {
        const { provider, failNext } = await failing()
        const refused = (parts: Partial<WriteBatch> = {}) => {
          failNext()
          return write({ ...parts, instances: [{ epoch: 1, row: 0, seq: 9, bytes: bytes(9) }] })
        }
        return { provider, refused }
      },
    ])
  }

  describe(`storage contract: ${name}`, () => {
    const cleanUps: (() => Promise<void>)[] = []

    afterEach(async () => {
      while (cleanUps.length > 0) await cleanUps.pop()?.()
    })

    /** One disk, whose storages are closed when the test is over. */
    async function disk(
      makeProvider = options.provider,
    ): Promise<{ open(scope?: Partial<StorageScope>): Promise<Storage> }> {
      const provider = await makeProvider()
      return {
        async open(scope = {}) {
          const storage = await provider.open({ ...contractScope, ...scope })
          cleanUps.push(() => storage.close())
          return storage
        },
      }
    }

    describe('reading back', () => {
      test('a new replica is empty', async () => {
        const { open } = await disk()
        expect(await (await open()).read()).toEqual(contents({}))
      })

      test('a storage says how durable its writes are', async () => {
        const { open } = await disk()
        expect((await open()).durability).toBe(options.durability)
      })

      test('the next owner finds everything that was written', async () => {
        const { open } = await disk()
        const batch = {
          meta: [{ name: 'replica', bytes: bytes(7) }],
          instances: [{ epoch: 1, row: 2, seq: 3, bytes: bytes(8, 9) }],
          checkpoints: [{ epoch: 1, bytes: bytes(10) }],
        }
        const first = await open()
        await first.write(write(batch))
        await first.close()
        expect(await (await open()).read()).toEqual(contents(batch))
      })

      test('instances come in order of epoch, then row, then seq, by number', async () => {
        const { open } = await disk()
        const ordered = [
          [1, 0, 2],
          [1, 0, 10],
          [1, 8, 1],
          [2, 0, 1],
          [9, 3, 1],
          [10, 0, 9],
          [10, 0, 100],
          [10, 1, 3],
        ] as const
        const shuffled = [5, 2, 7, 0, 3, 6, 1, 4].flatMap((at) => ordered[at] ?? [])
        const storage = await open()
        for (let at = 0; at < shuffled.length; at += 3) {
          const [epoch = 0, row = 0, seq = 0] = shuffled.slice(at, at + 3)
          await storage.write(write({ instances: [{ epoch, row, seq, bytes: bytes(seq) }] }))
        }
        await storage.close()
        const { instances } = await (await open()).read()
        expect(instances.map(({ epoch, row, seq }) => [epoch, row, seq])).toEqual(ordered)
        expect(instances.map((instance) => [...instance.bytes])).toEqual(ordered.map(([, , seq]) => [seq]))
      })

      test('checkpoints come in order of epoch, by number', async () => {
        const { open } = await disk()
        const storage = await open()
        for (const epoch of [10, 9, 100, 1])
          await storage.write(write({ checkpoints: [{ epoch, bytes: bytes(epoch) }] }))
        await storage.close()
        const { checkpoints } = await (await open()).read()
        expect(checkpoints.map((checkpoint) => checkpoint.epoch)).toEqual([1, 9, 10, 100])
      })

      test('what was read does not change when something is written', async () => {
        const { open } = await disk()
        const storage = await open()
        const before = await storage.read()
        await storage.write(
          write({ meta: [{ name: 'later', bytes: bytes(1) }], checkpoints: [{ epoch: 1, bytes: bytes(2) }] }),
        )
        expect(before).toEqual(contents({}))
      })
    })

    describe('what can be stored', () => {
      test('no bytes are stored as no bytes', async () => {
        const { open } = await disk()
        const batch = {
          meta: [{ name: '', bytes: bytes() }],
          instances: [{ epoch: 1, row: 0, seq: 1, bytes: bytes() }],
          checkpoints: [{ epoch: 1, bytes: bytes() }],
        }
        const storage = await open()
        await storage.write(write(batch))
        await storage.close()
        expect(await (await open()).read()).toEqual(contents(batch))
      })

      test('a megabyte comes back byte for byte', async () => {
        const { open } = await disk()
        const large = new Uint8Array(1_048_576)
        for (let at = 0; at < large.length; at += 1) large[at] = (at * 31 + (at >> 8)) & 0xff
        const storage = await open()
        await storage.write(
          write({ instances: [{ epoch: 1, row: 0, seq: 1, bytes: large }], checkpoints: [{ epoch: 1, bytes: large }] }),
        )
        await storage.close()
        const { instances, checkpoints } = await (await open()).read()
        expect(sameBytes(instances[0]?.bytes, large)).toBe(true)
        expect(sameBytes(checkpoints[0]?.bytes, large)).toBe(true)
      })

      test('of a view only the bytes that it shows are stored', async () => {
        const { open } = await disk()
        const view = bytes(1, 2, 3, 4, 5).subarray(1, 3)
        const storage = await open()
        await storage.write(write({ instances: [{ epoch: 1, row: 0, seq: 1, bytes: view }] }))
        await storage.close()
        const { instances } = await (await open()).read()
        expect(instances.map((instance) => [...instance.bytes])).toEqual([[2, 3]])
      })

      test('the largest epochs and seqs keep their value and their order', async () => {
        const { open } = await disk()
        const large = Number.MAX_SAFE_INTEGER
        const storage = await open()
        await storage.write(
          write({
            instances: [
              { epoch: large, row: 8, seq: large, bytes: bytes(3) },
              { epoch: large, row: 8, seq: large - 1, bytes: bytes(2) },
              { epoch: 2 ** 32, row: 8, seq: 2 ** 32, bytes: bytes(1) },
            ],
            checkpoints: [{ epoch: large, bytes: bytes(4) }],
          }),
        )
        await storage.close()
        const { instances, checkpoints } = await (await open()).read()
        expect(instances.map(({ epoch, seq }) => [epoch, seq])).toEqual([
          [2 ** 32, 2 ** 32],
          [large, large - 1],
          [large, large],
        ])
        expect(checkpoints.map((checkpoint) => checkpoint.epoch)).toEqual([large])
      })

      test('names that mean something to the language are names like others', async () => {
        const { open } = await disk()
        const names = ['__proto__', 'constructor', 'a/b', 'ä€😀']
        const storage = await open()
        await storage.write(write({ meta: names.map((name, at) => ({ name, bytes: bytes(at) })) }))
        await storage.close()
        const { meta } = await (await open()).read()
        expect(new Map([...meta].map(([name, value]) => [name, [...value]]))).toEqual(
          new Map(names.map((name, at) => [name, [at]])),
        )
      })
    })

    describe('batches', () => {
      test('a batch with nothing in it is written and changes nothing', async () => {
        const { open } = await disk()
        const storage = await open()
        await storage.write(write({}))
        await storage.close()
        expect(await (await open()).read()).toEqual(contents({}))
      })

      test('a later batch replaces what an earlier one wrote under the same key, and nothing else', async () => {
        const { open } = await disk()
        const storage = await open()
        await storage.write(
          write({
            meta: [
              { name: 'x', bytes: bytes(1) },
              { name: 'y', bytes: bytes(1) },
            ],
            instances: [
              { epoch: 1, row: 0, seq: 1, bytes: bytes(1, 1, 1) },
              { epoch: 1, row: 1, seq: 1, bytes: bytes(1) },
            ],
            checkpoints: [{ epoch: 1, bytes: bytes(1) }],
          }),
        )
        await storage.write(
          write({
            meta: [{ name: 'x', bytes: bytes(2) }],
            instances: [{ epoch: 1, row: 0, seq: 1, bytes: bytes(2) }],
            checkpoints: [{ epoch: 1, bytes: bytes(2) }],
          }),
        )
        await storage.close()
        expect(await (await open()).read()).toEqual(
          contents({
            meta: [
              { name: 'x', bytes: bytes(2) },
              { name: 'y', bytes: bytes(1) },
            ],
            instances: [
              { epoch: 1, row: 0, seq: 1, bytes: bytes(2) },
              { epoch: 1, row: 1, seq: 1, bytes: bytes(1) },
            ],
            checkpoints: [{ epoch: 1, bytes: bytes(2) }],
          }),
        )
      })

      test('within a batch the last entry for a key wins', async () => {
        const { open } = await disk()
        const storage = await open()
        const twice = [bytes(1), bytes(2)]
        await storage.write(
          write({
            meta: twice.map((value) => ({ name: 'x', bytes: value })),
            instances: twice.map((value) => ({ epoch: 1, row: 0, seq: 1, bytes: value })),
            checkpoints: twice.map((value) => ({ epoch: 1, bytes: value })),
          }),
        )
        await storage.close()
        expect(await (await open()).read()).toEqual(
          contents({
            meta: [{ name: 'x', bytes: bytes(2) }],
            instances: [{ epoch: 1, row: 0, seq: 1, bytes: bytes(2) }],
            checkpoints: [{ epoch: 1, bytes: bytes(2) }],
          }),
        )
      })

      test('dropEpochsBefore forgets the instances and checkpoints of earlier epochs, and keeps that epoch and all meta', async () => {
        const { open } = await disk()
        const storage = await open()
        const epochs = [1, 2, 3, 10]
        await storage.write(
          write({
            meta: [{ name: 'x', bytes: bytes(1) }],
            instances: epochs.flatMap((epoch) => [0, 8].map((row) => ({ epoch, row, seq: 5, bytes: bytes(epoch) }))),
            checkpoints: epochs.map((epoch) => ({ epoch, bytes: bytes(epoch) })),
          }),
        )
        await storage.write(write({ dropEpochsBefore: 3 }))
        await storage.close()
        const { meta, instances, checkpoints } = await (await open()).read()
        expect(instances.map(({ epoch, row }) => [epoch, row])).toEqual([
          [3, 0],
          [3, 8],
          [10, 0],
          [10, 8],
        ])
        expect(checkpoints.map((checkpoint) => checkpoint.epoch)).toEqual([3, 10])
        expect([...meta.keys()]).toEqual(['x'])
      })

      test('dropEpochsBefore comes before the puts of its own batch', async () => {
        const { open } = await disk()
        const storage = await open()
        await storage.write(write({ instances: [{ epoch: 1, row: 0, seq: 1, bytes: bytes(1) }] }))
        const batch = {
          instances: [{ epoch: 1, row: 0, seq: 2, bytes: bytes(2) }],
          checkpoints: [{ epoch: 1, bytes: bytes(3) }],
        }
        await storage.write(write({ ...batch, dropEpochsBefore: 5 }))
        await storage.close()
        expect(await (await open()).read()).toEqual(contents(batch))
      })

      test('dropMeta forgets the facts of these names and no other, and does not mind names that are not there', async () => {
        const { open } = await disk()
        const storage = await open()
        const names = ['a', 'ab', 'b', '']
        await storage.write(
          write({
            meta: names.map((name) => ({ name, bytes: bytes(1) })),
            instances: [{ epoch: 1, row: 0, seq: 1, bytes: bytes(1) }],
          }),
        )
        await storage.write(write({ dropMeta: ['a', '', 'never written'] }))
        await storage.close()
        const { meta, instances } = await (await open()).read()
        expect([...meta.keys()].sort()).toEqual(['ab', 'b'])
        expect(instances).toHaveLength(1)
      })

      test('dropMeta comes before the puts of its own batch', async () => {
        const { open } = await disk()
        const storage = await open()
        await storage.write(write({ meta: [{ name: 'x', bytes: bytes(1) }] }))
        await storage.write(write({ dropMeta: ['x', 'y'], meta: [{ name: 'y', bytes: bytes(2) }] }))
        await storage.write(write({ dropMeta: ['y'], meta: [{ name: 'y', bytes: bytes(3) }] }))
        await storage.close()
        const { meta } = await (await open()).read()
        expect([...meta]).toEqual([['y', bytes(3)]])
      })

      test('a replica whose last record is forgotten is a new one to the next owner', async () => {
        const { open } = await disk()
        const first = await open()
        const second = await open()
        await first.write(named('forgotten'))
        await second.write(named('kept'))
        await first.write(write({ dropMeta: ['name'] }))
        await first.close()
        await second.close()
        expect(await nameIn(await open())).toBe('kept')
        expect(await (await open()).read()).toEqual(contents({}))
      })

      test('what many mixed batches leave is what they say, one after the other', async () => {
        const { open } = await disk()
        const random = smallRandom(20_26)
        const model = {
          meta: new Map<string, number>(),
          log: new Map<string, number>(),
          cut: new Map<number, number>(),
        }
        const storage = await open()
        const writes: Promise<void>[] = []
        for (let round = 0; round < 60; round += 1) {
          const meta = [{ name: `m${random(3)}`, bytes: bytes(round) }]
          const instances = Array.from({ length: random(6) }, () => ({
            epoch: 1 + random(4) + (round >> 4),
            row: random(3),
            seq: 1 + random(20),
            bytes: bytes(round, random(256)),
          }))
          const checkpoints = random(4) === 0 ? [{ epoch: 1 + random(6), bytes: bytes(round) }] : []
          const dropEpochsBefore = random(8) === 0 ? 1 + random(5) : undefined
          const dropMeta = random(4) === 0 ? [`m${random(3)}`] : []
          for (const name of dropMeta) model.meta.delete(name)
          if (dropEpochsBefore !== undefined) {
            for (const key of model.log.keys()) if (Number(key.split('.')[0]) < dropEpochsBefore) model.log.delete(key)
            for (const epoch of model.cut.keys()) if (epoch < dropEpochsBefore) model.cut.delete(epoch)
          }
          for (const entry of meta) model.meta.set(entry.name, round)
          for (const { epoch, row, seq, bytes } of instances) model.log.set(`${epoch}.${row}.${seq}`, bytes[1] ?? -1)
          for (const { epoch } of checkpoints) model.cut.set(epoch, round)
          const drop = dropEpochsBefore === undefined ? {} : { dropEpochsBefore }
          writes.push(storage.write(write({ meta, instances, checkpoints, dropMeta, ...drop })))
        }
        await Promise.all(writes)
        await storage.close()
        const found = await (await open()).read()
        expect(new Map([...found.meta].map(([name, value]) => [name, value[0]]))).toEqual(model.meta)
        expect(
          new Map(found.instances.map(({ epoch, row, seq, bytes }) => [`${epoch}.${row}.${seq}`, bytes[1]])),
        ).toEqual(model.log)
        expect(new Map(found.checkpoints.map(({ epoch, bytes }) => [epoch, bytes[0]]))).toEqual(model.cut)
      })
    })

    describe('order', () => {
      test('writes that are under way together become durable in the order of the calls', async () => {
        const { open } = await disk()
        const storage = await open()
        const done: number[] = []
        const calls = Array.from({ length: 20 }, (_, at) => at)
        await Promise.all(
          calls.map(async (at) => {
            // Large and small ones in turn: a short write may not overtake a long one.
            const size = at % 2 === 0 ? 60_000 : 1
            await storage.write(
              write({
                meta: [{ name: 'last', bytes: bytes(at) }],
                instances: [{ epoch: 1, row: 0, seq: at + 1, bytes: new Uint8Array(size) }],
              }),
            )
            done.push(at)
          }),
        )
        await storage.close()
        expect(done).toEqual(calls)
        const { meta, instances } = await (await open()).read()
        expect(meta.get('last')).toEqual(bytes(19))
        expect(instances).toHaveLength(20)
      })
    })

    test('space tells numbers where the platform does, also when the storage is closed', async () => {
      const { open } = await disk()
      const storage = await open()
      await storage.write(named('kept'))
      const spaces = [await storage.space?.()]
      await storage.close()
      spaces.push(await storage.space?.())
      for (const space of spaces) {
        if (space === undefined) continue
        expect(space.usedBytes ?? 0).toBeGreaterThanOrEqual(0)
        expect(space.quotaBytes ?? Number.POSITIVE_INFINITY).toBeGreaterThanOrEqual(space.usedBytes ?? 0)
      }
    })

    describe('ownership', () => {
      test('two owners of one scope have two replicas, each with its own contents', async () => {
        const { open } = await disk()
        const [left, right] = await Promise.all([open(), open()])
        await Promise.all([left.write(named('left')), right.write(named('right'))])
        await Promise.all([left.close(), right.close()])
        const names = [await nameIn(await open()), await nameIn(await open())]
        expect(names.sort()).toEqual(['left', 'right'])
      })

      test('opening does not wait until another owner closes', async () => {
        const { open } = await disk()
        const held = await open()
        await held.write(named('held'))
        expect(await nameIn(await open())).toBe(undefined)
      })

      test('each of several replicas is found again, once', async () => {
        const { open } = await disk()
        const first = [await open(), await open(), await open()]
        for (const [at, storage] of first.entries()) await storage.write(named(`replica ${at}`))
        for (const storage of first) await storage.close()
        const again = [await open(), await open(), await open()]
        const names = await Promise.all(again.map(nameIn))
        expect(names.sort()).toEqual(['replica 0', 'replica 1', 'replica 2'])
        expect(await nameIn(await open())).toBe(undefined)
      })

      test.each(['first', 'second'])(
        'a replica with state is taken before an empty one (state in the %s)',
        async (place) => {
          const { open } = await disk()
          const first = await open()
          const second = await open()
          await (place === 'first' ? first : second).write(named('kept'))
          await first.close()
          await second.close()
          const again = await open()
          expect(await nameIn(again)).toBe('kept')
          expect(await nameIn(await open())).toBe(undefined)
        },
      )

      test('a replica that was opened and never written to is a new one to the next owner', async () => {
        const { open } = await disk()
        await (await open()).close()
        const again = await open()
        expect(await again.read()).toEqual(contents({}))
        await again.write(named('second owner'))
        await again.close()
        expect(await nameIn(await open())).toBe('second owner')
      })

      test.each([
        ['another room', { room: 'contract', partition: 'a' }, { room: 'contract 2', partition: 'a' }],
        ['another partition', { room: 'contract', partition: 'a' }, { room: 'contract', partition: 'b' }],
        ['a slash elsewhere', { room: 'contract/x', partition: 'y' }, { room: 'contract', partition: 'x/y' }],
        [
          'a partition that looks like a slot',
          { room: 'contract', partition: 'a' },
          { room: 'contract', partition: 'a/0' },
        ],
      ])('scopes are apart: %s', async (_what, one, other) => {
        const { open } = await disk()
        const storage = await open(one)
        await storage.write(named('one'))
        await storage.close()
        const stranger = await open(other)
        expect(await stranger.read()).toEqual(contents({}))
        await stranger.write(named('other'))
        expect(await nameIn(await open(one))).toBe('one')
      })
    })

    describe('closing', () => {
      test('close waits for the writes that were asked for', async () => {
        const { open } = await disk()
        const storage = await open()
        let written = 0
        const writes = [1, 2, 3].map(async (seq) => {
          await storage.write(write({ instances: [{ epoch: 1, row: 0, seq, bytes: new Uint8Array(50_000) }] }))
          written += 1
        })
        await storage.close()
        await Promise.all(writes)
        expect(written).toBe(3)
        expect((await (await open()).read()).instances).toHaveLength(3)
      })

      test('close may be called again, also while it is under way', async () => {
        const { open } = await disk()
        const storage = await open()
        await storage.write(named('kept'))
        await Promise.all([storage.close(), storage.close()])
        await storage.close()
        const next = await open()
        await storage.close()
        expect(await nameIn(next)).toBe('kept')
        expect(await nameIn(await open())).toBe(undefined)
      })

      test('a closed storage refuses everything with Closed, and changes nothing', async () => {
        const { open } = await disk()
        const storage = await open()
        await storage.write(named('kept'))
        await storage.close()
        await expect(storage.write(named('too late'))).rejects.toMatchObject({ code: 'Closed' })
        await expect(storage.read()).rejects.toMatchObject({ code: 'Closed' })
        await expect(storage.erase()).rejects.toMatchObject({ code: 'Closed' })
        expect(await nameIn(await open())).toBe('kept')
      })

      test('closing is no loss', async () => {
        const { open } = await disk()
        const storage = await open()
        const losses: Error[] = []
        storage.onLost = (reason) => losses.push(reason)
        await storage.write(named('kept'))
        await storage.close()
        await open()
        expect(losses).toEqual([])
      })
    })

    describe('erasing', () => {
      test('an erased replica is not found again, and its sibling is', async () => {
        const { open } = await disk()
        const erased = await open()
        const sibling = await open()
        await erased.write(named('erased'))
        await sibling.write(named('sibling'))
        await erased.erase()
        await sibling.close()
        const names = [await nameIn(await open()), await nameIn(await open())]
        expect(names).toEqual(['sibling', undefined])
      })

      test('erasing takes the writes under way with it', async () => {
        const { open } = await disk()
        const storage = await open()
        const written = storage.write(named('erased'))
        await storage.erase()
        await written
        expect(await (await open()).read()).toEqual(contents({}))
      })

      test('erasing closes', async () => {
        const { open } = await disk()
        const storage = await open()
        const losses: Error[] = []
        storage.onLost = (reason) => losses.push(reason)
        await storage.erase()
        await expect(storage.write(named('too late'))).rejects.toMatchObject({ code: 'Closed' })
        await storage.close()
        expect(losses).toEqual([])
        const next = await open()
        await next.write(named('next'))
        await next.close()
        expect(await nameIn(await open())).toBe('next')
      })
    })

    describe.each(refusing)('a write that fails %s', (_how, makeDisk) => {
      async function refusingDisk() {
        const { provider, refused } = await makeDisk()
        return { ...(await disk(async () => provider)), refused }
      }

      test('rejects with StorageFailed and leaves nothing of its batch behind', async () => {
        const { open, refused } = await refusingDisk()
        const storage = await open()
        const before = {
          meta: [
            { name: 'x', bytes: bytes(1) },
            { name: 'y', bytes: bytes(1) },
          ],
          instances: [{ epoch: 1, row: 0, seq: 1, bytes: bytes(1) }],
        }
        await storage.write(write(before))
        const batch = refused({
          meta: [{ name: 'x', bytes: bytes(2) }],
          checkpoints: [{ epoch: 2, bytes: bytes(2) }],
          dropEpochsBefore: 2,
          dropMeta: ['y'],
        })
        const written = storage.write(batch)
        await expect(written).rejects.toMatchObject({ name: 'WepaxosError', code: 'StorageFailed' })
        await expect(written).rejects.toMatchObject({ details: { reason: expect.any(String) } })
        await storage.close()
        expect(await (await open()).read()).toEqual(contents(before))
      })

      test('takes with it the writes that were asked for behind it', async () => {
        const { open, refused } = await refusingDisk()
        const storage = await open()
        const writes = [storage.write(named('before'))]
        for (const batch of [refused(), named('behind'), named('last')]) writes.push(storage.write(batch))
        const outcomes = await Promise.allSettled(writes)
        expect(outcomes.map((outcome) => outcome.status)).toEqual(['fulfilled', 'rejected', 'rejected', 'rejected'])
        await storage.close()
        expect(await nameIn(await open())).toBe('before')
      })

      test('is the last word of its owner, and the next owner goes on from the last good write', async () => {
        const { open, refused } = await refusingDisk()
        const storage = await open()
        await storage.write(named('good'))
        await expect(storage.write(refused())).rejects.toMatchObject({ code: 'StorageFailed' })
        await expect(storage.write(named('late'))).rejects.toMatchObject({ code: 'StorageFailed' })
        await storage.close()
        const next = await open()
        expect(await nameIn(next)).toBe('good')
        await next.write(named('better'))
        await next.close()
        expect(await nameIn(await open())).toBe('better')
      })

      test('does not keep its owner from erasing', async () => {
        const { open, refused } = await refusingDisk()
        const storage = await open()
        await storage.write(named('good'))
        await expect(storage.write(refused())).rejects.toMatchObject({ code: 'StorageFailed' })
        await storage.erase()
        expect(await (await open()).read()).toEqual(contents({}))
      })
    })

    describe.runIf(nearlyFull !== undefined)('a full disk', () => {
      const tooLarge = (): WriteBatch =>
        write({ instances: [{ epoch: 1, row: 0, seq: 9, bytes: new Uint8Array(nearlyFull?.refusedBytes ?? 0) }] })

      test("is told as StorageFailed with reason 'quota', also by the writes behind it", async () => {
        const { open } = await disk(nearlyFull?.provider)
        const storage = await open()
        const quota = { code: 'StorageFailed', details: { reason: 'quota' } }
        await expect(storage.write(tooLarge())).rejects.toMatchObject(quota)
        await expect(storage.write(named('behind'))).rejects.toMatchObject(quota)
      })

      test.runIf(nearlyFull?.makeRoom !== undefined)(
        'takes the refused batch from the next owner when there is room again, and has lost nothing',
        async () => {
          const { open } = await disk(nearlyFull?.provider)
          const storage = await open()
          await storage.write(named('kept'))
          await expect(storage.write(tooLarge())).rejects.toMatchObject({ code: 'StorageFailed' })
          await storage.close()
          await nearlyFull?.makeRoom?.()
          const next = await open()
          await next.write(tooLarge())
          await next.close()
          const last = await open()
          expect(await nameIn(last)).toBe('kept')
          expect((await last.read()).instances[0]?.bytes).toHaveLength(nearlyFull?.refusedBytes ?? 0)
        },
      )
    })

    if (crash !== undefined) describeCrashes(crash, lives)
    if (orphans !== undefined) describeOrphans(orphans)
  })
}

/** What must be read back when exactly the given entries are stored, which are in order. */
function contents(parts: Partial<Omit<WriteBatch, 'dropEpochsBefore' | 'dropMeta'>>): StorageContents {
  return {
    meta: new Map((parts.meta ?? []).map(({ name, bytes }) => [name, bytes])),
    instances: parts.instances ?? [],
    checkpoints: parts.checkpoints ?? [],
  }
}

/** `toEqual` on a megabyte takes seconds. */
function sameBytes(left: Uint8Array | undefined, right: Uint8Array): boolean {
  return left !== undefined && left.length === right.length && left.every((value, at) => value === right[at])
}

/** Whole numbers from 0 below the given bound, the same ones for the same seed. */
function smallRandom(seed: number): (bound: number) => number {
  let state = seed
  return (bound) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return Math.floor((state / 2 ** 32) * bound)
  }
}
