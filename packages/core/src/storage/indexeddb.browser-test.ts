// The IndexedDB storage in a real browser: the contract, who gets which replica (reloads, duplicated tabs, other pages), and
// what happens when the disk or another page takes something away. Owner numbers and lost connections, orphans, and figures
// have files of their own beside this one.
import { deleteDB, openDB } from 'idb'
import { describe, expect, test, vi } from 'vitest'
import { cdp } from 'vitest/browser'
import { describeStorageContract } from '../../testing/storage-contract.ts'
import type { WepaxosError } from '../lib/errors.ts'
import {
  cleanUps,
  closing,
  databaseNames,
  freshName,
  heldLocks,
  lossOf,
  named,
  nameIn,
  openFrame,
  openHere,
  openTab,
  scope,
  slotName,
} from './fixtures.ts'
import { indexedDbStorage } from './indexeddb.ts'

/**
 * Leaves this origin room for a megabyte only. Chromium goes on for half a minute with the room that it once saw, so all that
 * is stored is thrown away too: with it goes what Chromium remembers.
 */
async function nearlyFull(): Promise<void> {
  const { origin } = location
  await cdp().send('Storage.clearDataForOrigin', { origin, storageTypes: 'indexeddb' })
  await cdp().send('Storage.overrideQuotaForOrigin', { origin, quotaSize: 1_000_000 })
  cleanUps.push(() => cdp().send('Storage.overrideQuotaForOrigin', { origin }))
}

const refusedBytes = 2_000_000

describeStorageContract('IndexedDB', {
  provider: async () => indexedDbStorage({ name: freshName() }),
  durability: 'strict',
  nearlyFull: {
    async provider() {
      await nearlyFull()
      return indexedDbStorage({ name: freshName() })
    },
    refusedBytes,
  },
})

describe('who gets which replica', () => {
  test('pages that open at the same moment get different replicas', async () => {
    const name = freshName()
    const frames = await Promise.all([openFrame(), openFrame(), openFrame()])
    const provider = indexedDbStorage({ name })
    const opened = [
      provider.open(scope),
      ...frames.map(({ module }) => module.indexedDbStorage({ name }).open(scope)),
      provider.open(scope),
    ]
    const storages = (await Promise.all(opened)).map(closing)
    expect(new Set((await heldLocks()).filter((lock) => lock?.startsWith(name))).size).toBe(storages.length)
    await Promise.all(storages.map((storage, at) => storage.write(named(`replica ${at}`))))
    expect(await Promise.all(storages.map(nameIn))).toEqual(storages.map((_, at) => `replica ${at}`))
  })

  test('the replica of a page that vanished without closing is there for the next one', async () => {
    const name = freshName()
    const frame = await openFrame()
    await (await frame.module.indexedDbStorage({ name }).open(scope)).write(named('orphan'))
    frame.remove()
    expect(await nameIn(await openHere(name))).toBe('orphan')
  })

  test('a reloaded tab gets its own replica back, although an older one is free', async () => {
    const name = freshName()
    const tab = await openTab()
    const here = await openHere(name)
    await here.write(named('here'))
    await (await (await tab.module()).indexedDbStorage({ name }).open(scope)).write(named('tab'))
    await here.close()
    await tab.reload()
    const again = closing(await (await tab.module()).indexedDbStorage({ name }).open(scope))
    expect(await nameIn(again)).toBe('tab')
    expect(await nameIn(await openHere(name))).toBe('here')
  })

  test('a reloaded tab that had two replicas of one scope gets both back, in the same order', async () => {
    const name = freshName()
    const tab = await openTab()
    const open = async () => (await tab.module()).indexedDbStorage({ name }).open(scope)
    await (await open()).write(named('first'))
    await (await open()).write(named('second'))
    await tab.reload()
    expect([await nameIn(closing(await open())), await nameIn(closing(await open()))]).toEqual(['first', 'second'])
  })

  test('[DU8] a page whose first replica was lost and erased waits after a reload for the one that took its place', async () => {
    const name = freshName()
    const before = await openFrame()
    const open = () => before.module.indexedDbStorage({ name }).open(scope)
    const lost = await open()
    await lost.write(named('lost'))
    await (await open()).write(named('in its place'))
    await lost.erase()
    const reopened = indexedDbStorage({ name }).open(scope)
    await vi.waitUntil(async () => {
      const { pending = [] } = await navigator.locks.query()
      return pending.some((lock) => lock.name === slotName(name, 1))
    })
    before.remove()
    expect(await nameIn(closing(await reopened))).toBe('in its place')
    expect(await databaseNames(name)).toEqual([slotName(name, 1)])
  })

  test('a page waits for the page that it replaces to free their replica, and makes no new one', async () => {
    const name = freshName()
    const before = await openFrame()
    await (await before.module.indexedDbStorage({ name }).open(scope)).write(named('own'))
    const reopened = indexedDbStorage({ name }).open(scope)
    await vi.waitUntil(async () => {
      const { pending = [] } = await navigator.locks.query()
      return pending.some((lock) => lock.name === slotName(name, 0))
    })
    before.remove()
    expect(await nameIn(closing(await reopened))).toBe('own')
    expect(await databaseNames(name)).toEqual([slotName(name, 0)])
  })

  test('a tab that starts with a copy of the session does not get the replica of the one that it was copied from', async () => {
    const name = freshName()
    const here = await openHere(name)
    await here.write(named('here'))
    const copy = await openTab()
    const there = closing(await (await copy.module()).indexedDbStorage({ name }).open(scope))
    expect(await nameIn(there)).toBe(undefined)
    await there.write(named('copy'))
    await here.write(named('still here'))
    expect(await nameIn(here)).toBe('still here')
  })

  test('a new replica takes the lowest number that is free', async () => {
    const name = freshName()
    const [first] = [await openHere(name), await openHere(name)]
    await first.erase()
    await openHere(name)
    expect(await databaseNames(name)).toEqual([slotName(name, 0), slotName(name, 1)])
  })

  test('choosing holds no lock but that of the chosen replica', async () => {
    const name = freshName()
    const [empty, kept] = [await openHere(name), await openHere(name)]
    await kept.write(named('kept'))
    await empty.close()
    await kept.close()
    await openHere(name)
    expect((await heldLocks()).filter((lock) => lock?.startsWith(name))).toEqual([slotName(name, 1)])
  })

  test('a browser that does not list its databases finds the same replicas, and no database is made by looking', async () => {
    const name = freshName()
    const [gone, kept] = [await openHere(name), await openHere(name)]
    await kept.write(named('kept'))
    await gone.erase()
    await kept.close()
    Object.defineProperty(indexedDB, 'databases', { value: undefined, configurable: true })
    const unhide = () => Reflect.deleteProperty(indexedDB, 'databases')
    cleanUps.push(unhide)
    expect(await nameIn(await openHere(name))).toBe('kept')
    expect(await nameIn(await openHere(name))).toBe(undefined)
    unhide()
    expect(await databaseNames(name)).toEqual([slotName(name, 0), slotName(name, 1)])
  })
})

describe('what is on the disk', () => {
  test.each(['strict', 'relaxed'] as const)('writes are %s when that was asked for', async (durability) => {
    const asked: unknown[] = []
    const original = IDBDatabase.prototype.transaction
    IDBDatabase.prototype.transaction = function (...call) {
      if (call[1] === 'readwrite') asked.push(call[2]?.durability)
      return original.apply(this, call)
    }
    cleanUps.push(() => {
      IDBDatabase.prototype.transaction = original
    })
    const storage = closing(await indexedDbStorage({ name: freshName(), durability }).open(scope))
    await storage.write(named('x'))
    expect(storage.durability).toBe(durability)
    // The owner number is raised strictly, whatever was asked for.
    expect(asked).toEqual(['strict', durability])
  })

  test('of a view into a large buffer the buffer does not go to disk', async () => {
    const name = freshName()
    const storage = await openHere(name)
    const view = new Uint8Array(1_000_000).subarray(10, 12)
    await storage.write({ meta: [], instances: [{ epoch: 1, row: 0, seq: 1, bytes: view }], checkpoints: [] })
    const database = await openDB(slotName(name, 0))
    cleanUps.push(() => database.close())
    const stored: Uint8Array = await database.get('instances', [1, 0, 1])
    expect(stored.buffer.byteLength).toBe(2)
  })

  test('an erased replica leaves no database', async () => {
    const name = freshName()
    const storage = await openHere(name)
    await storage.write(named('x'))
    expect(await databaseNames(name)).toEqual([slotName(name, 0)])
    await storage.erase()
    expect(await databaseNames(name)).toEqual([])
  })

  test('a record that is not bytes makes reading fail with DamagedStorage', async () => {
    const name = freshName()
    const storage = await openHere(name)
    const database = await openDB(slotName(name, 0))
    cleanUps.push(() => database.close())
    await database.put('instances', { not: 'bytes' }, [1, 0, 1])
    await expect(storage.read()).rejects.toMatchObject({ code: 'DamagedStorage', details: { key: [1, 0, 1] } })
  })

  test('where the browser has lost one record, the others are read: what is missing is for the seal to find', async () => {
    const storage = await openHere(freshName())
    const bytes = Uint8Array.of(1)
    const checkpoints = [1, 2].map((epoch) => ({ epoch, bytes }))
    await storage.write({ ...named('x'), checkpoints, instances: [{ epoch: 2, row: 0, seq: 1, bytes }] })
    // What Chromium says of a large value whose own file is gone.
    const { get, getAll } = IDBObjectStore.prototype
    cleanUps.push(() => Object.assign(IDBObjectStore.prototype, { get, getAll }))
    const lost = () => {
      throw new DOMException('Data lost due to missing file.', 'NotReadableError')
    }
    IDBObjectStore.prototype.getAll = function (...call) {
      return this.name === 'checkpoints' ? lost() : getAll.apply(this, call)
    }
    IDBObjectStore.prototype.get = function (key) {
      return this.name === 'checkpoints' && key === 2 ? lost() : get.call(this, key)
    }
    const found = await storage.read()
    expect([...found.meta.keys()]).toEqual(['name'])
    expect(found.instances).toEqual([{ epoch: 2, row: 0, seq: 1, bytes }])
    expect(found.checkpoints).toEqual([{ epoch: 1, bytes }])
  })

  test('a database of a newer version is not touched: StorageFailed says so, and the lock is free again', async () => {
    const name = freshName()
    const newer = await openDB(slotName(name, 0), 99, { upgrade: (database) => void database.createObjectStore('new') })
    newer.close()
    await expect(indexedDbStorage({ name }).open(scope)).rejects.toMatchObject({
      code: 'StorageFailed',
      message: expect.stringContaining('newer version'),
      details: { reason: 'newer-version', databaseName: slotName(name, 0) },
      cause: { name: 'VersionError' },
    })
    expect(await heldLocks()).not.toContain(slotName(name, 0))
  })
})

describe('what is taken away', () => {
  test('a full disk is told as quota, with the browser’s error as the cause', async () => {
    await nearlyFull()
    const storage = await openHere(freshName())
    const large = { ...named('x'), checkpoints: [{ epoch: 1, bytes: new Uint8Array(refusedBytes) }] }
    await expect(storage.write(large)).rejects.toMatchObject({
      code: 'StorageFailed',
      details: { reason: 'quota' },
      cause: { name: 'QuotaExceededError' },
    })
    await expect(storage.write(named('y'))).rejects.toMatchObject({
      code: 'StorageFailed',
      details: { reason: 'quota' },
    })
  })

  test('a batch that the browser can not store fails as a whole, and so does a good one asked for behind it', async () => {
    const name = freshName()
    const storage = await openHere(name)
    const notBytes = { byteLength: 0, buffer: { byteLength: 0 }, method: () => {} } as unknown as Uint8Array
    const bad = storage.write({ ...named('bad'), checkpoints: [{ epoch: 1, bytes: notBytes }] })
    const behind = storage.write(named('behind'))
    await expect(bad).rejects.toMatchObject({ code: 'StorageFailed', cause: { name: 'DataCloneError' } })
    await expect(behind).rejects.toMatchObject({ code: 'StorageFailed', cause: { code: 'StorageFailed' } })
    await storage.close()
    expect(await nameIn(await openHere(name))).toBe(undefined)
  })

  test('when the database is deleted, the write under way completes, the loss is told once, and later writes fail', async () => {
    const name = freshName()
    const storage = await openHere(name)
    const losses: Error[] = []
    storage.onLost = (reason) => losses.push(reason)
    const underWay = storage.write(named('x'))
    await deleteDB(slotName(name, 0))
    await underWay
    expect(losses).toMatchObject([{ code: 'StorageFailed', details: { reason: 'deleted' } }])
    await expect(storage.write(named('y'))).rejects.toMatchObject({
      code: 'StorageFailed',
      details: { reason: 'deleted' },
    })
    await expect(storage.read()).rejects.toMatchObject({ code: 'StorageFailed' })
    await storage.close()
    expect(losses).toHaveLength(1)
    expect(await heldLocks()).not.toContain(slotName(name, 0))
  })

  test('a loss that came before onLost was set is told when it is set', async () => {
    const name = freshName()
    const storage = await openHere(name)
    await deleteDB(slotName(name, 0))
    expect(await lossOf(storage)).toMatchObject({ details: { reason: 'deleted' } })
  })

  test('a newer version of the program in another page is not held up: the older one lets go and says why', async () => {
    const name = freshName()
    const storage = await openHere(name)
    const loss = lossOf(storage)
    const newer = await openDB(slotName(name, 0), 3)
    newer.close()
    expect(await loss).toMatchObject({ code: 'StorageFailed', details: { reason: 'upgraded' } })
  })

  test('when the browser throws the data away, the loss is told and writes fail', async () => {
    const name = freshName()
    const storage = await openHere(name)
    await storage.write(named('x'))
    const loss = lossOf(storage)
    await cdp().send('Storage.clearDataForOrigin', { origin: location.origin, storageTypes: 'indexeddb' })
    const reason = (await loss) as WepaxosError
    expect(reason).toMatchObject({ code: 'StorageFailed', details: { reason: 'terminated' } })
    await expect(storage.write(named('y'))).rejects.toMatchObject({ code: 'StorageFailed', cause: reason })
  })

  test('when the lock is stolen, the former owner is told and writes nothing more', async () => {
    const name = freshName()
    const storage = await openHere(name)
    await storage.write(named('former'))
    const loss = lossOf(storage)
    await navigator.locks.request(slotName(name, 0), { steal: true }, () => {})
    expect(await loss).toMatchObject({ code: 'StorageFailed', details: { reason: 'taken-over' } })
    await expect(storage.write(named('late'))).rejects.toMatchObject({ details: { reason: 'taken-over' } })
    await storage.close()
    expect(await nameIn(await openHere(name))).toBe('former')
  })

  test('erasing while another page holds the database open fails with StorageFailed, and frees the replica', async () => {
    const name = freshName()
    const storage = await openHere(name)
    const other = await openDB(slotName(name, 0))
    cleanUps.push(() => other.close())
    await expect(storage.erase()).rejects.toMatchObject({ code: 'StorageFailed', details: { reason: 'blocked' } })
    await storage.close()
    expect(await heldLocks()).not.toContain(slotName(name, 0))
  })

  test('erasing while a frozen page holds it open fails too: that page does not answer, so the browser never says blocked', async () => {
    const name = freshName()
    const storage = await indexedDbStorage({ name, blockedMs: 50 }).open(scope)
    const { deleteDatabase } = indexedDB
    const silent = (databaseName: string) => {
      const request = Reflect.apply(deleteDatabase, indexedDB, [databaseName])
      const listen = request.addEventListener.bind(request)
      request.addEventListener = (type: string, ...rest: [EventListener]) => {
        if (type !== 'blocked') listen(type, ...rest)
      }
      return request
    }
    const other = await openDB(slotName(name, 0))
    cleanUps.push(() => other.close())
    Object.defineProperty(indexedDB, 'deleteDatabase', { value: silent, configurable: true })
    cleanUps.push(() => Reflect.deleteProperty(indexedDB, 'deleteDatabase'))
    await expect(storage.erase()).rejects.toMatchObject({ code: 'StorageFailed', details: { reason: 'blocked' } })
    await storage.close()
    expect(await heldLocks()).not.toContain(slotName(name, 0))
  })

  test('a page without Web Locks gets NotSupported', async () => {
    Object.defineProperty(navigator, 'locks', { value: undefined, configurable: true })
    cleanUps.push(() => Reflect.deleteProperty(navigator, 'locks'))
    await expect(indexedDbStorage({ name: freshName() }).open(scope)).rejects.toMatchObject({
      code: 'NotSupported',
      details: { missing: 'Web Locks' },
    })
  })
})
