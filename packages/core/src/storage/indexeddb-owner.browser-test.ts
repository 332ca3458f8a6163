// One writer of one log, ever: the owner number, the migration that brought it, and what a storage makes of a connection that
// it loses, of a database that others keep open, and of a browser that lets it store nothing.
import { deleteDB, openDB, unwrap } from 'idb'
import { describe, expect, test, vi } from 'vitest'
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
  rawDatabase,
  replace,
  scope,
  slotName,
} from './fixtures.ts'
import { indexedDbStorage } from './indexeddb.ts'
import type { OwnerRecord } from './indexeddb-database.ts'

async function ownerIn(name: string, slot = 0): Promise<OwnerRecord> {
  const database = await rawDatabase(name, slot)
  const owner: OwnerRecord = await database.get('owner', 'owner')
  database.close()
  return owner
}

async function putOwner(name: string, change: (owner: OwnerRecord) => OwnerRecord): Promise<void> {
  const database = await rawDatabase(name)
  await database.put('owner', change(await database.get('owner', 'owner')), 'owner')
  database.close()
}

const raised = (owner: OwnerRecord) => ({ ...owner, number: owner.number + 1 })

describe('the owner number', () => {
  test('each owner of a replica raises it by one, and each write counts', async () => {
    const name = freshName()
    const first = await openHere(name)
    await first.write(named('x'))
    await first.write(named('y'))
    const before = await ownerIn(name)
    await first.close()
    await openHere(name)
    expect(await ownerIn(name)).toEqual({ number: before.number + 1, writes: 2 })
  })

  test('a page that does not get the lock raises nothing', async () => {
    const name = freshName()
    await (await openHere(name)).write(named('x'))
    const before = await ownerIn(name)
    await openHere(name)
    expect(await ownerIn(name)).toEqual(before)
  })

  test('a database that was made anew does not go on with the numbers of the one before', async () => {
    const name = freshName()
    const first = await openHere(name)
    const before = await ownerIn(name)
    await first.erase()
    await openHere(name)
    expect(Math.abs((await ownerIn(name)).number - before.number)).toBeGreaterThan(1)
  })

  test('the late write of a former owner, who has heard nothing yet, is refused and leaves nothing', async () => {
    const name = freshName()
    const former = await openHere(name)
    await former.write(named('kept'))
    await putOwner(name, raised)
    const loss = lossOf(former)
    const late = { ...named('late'), checkpoints: [{ epoch: 1, bytes: Uint8Array.of(1) }], dropMeta: ['name'] }
    await expect(former.write(late)).rejects.toMatchObject({
      code: 'StorageFailed',
      details: { reason: 'taken-over', databaseName: slotName(name, 0) },
    })
    expect(await loss).toMatchObject({ code: 'StorageFailed', details: { reason: 'taken-over' } })
    await expect(former.write(named('later'))).rejects.toMatchObject({ details: { reason: 'taken-over' } })
    await former.close()
    const { meta, checkpoints } = await (await openHere(name)).read()
    expect([...meta.keys()]).toEqual(['name'])
    expect(new TextDecoder().decode(meta.get('name'))).toBe('kept')
    expect(checkpoints).toEqual([])
  })

  test('of the writes that a former owner has under way none comes after the first one of the next owner', async () => {
    const name = freshName()
    const former = await openHere(name)
    await former.write(named('former'))
    const frame = await openFrame()
    const writes = Array.from({ length: 30 }, (_, at) => former.write(named(`former ${at}`)))
    await navigator.locks.request(slotName(name, 0), { steal: true }, () => {})
    const next = await frame.module.indexedDbStorage({ name }).open(scope)
    await next.write(named('next'))
    const outcomes = await Promise.allSettled(writes)
    expect(await nameIn(next)).toBe('next')
    // Once one is refused, all that come after it are.
    const refusedFrom = outcomes.findIndex(({ status }) => status === 'rejected')
    if (refusedFrom >= 0) expect(outcomes.slice(refusedFrom).every(({ status }) => status === 'rejected')).toBe(true)
    await expect(former.write(named('late'))).rejects.toMatchObject({ details: { reason: 'taken-over' } })
  })

  test('reading what another page took over meanwhile fails, rather than show what nothing can be built on', async () => {
    const name = freshName()
    const former = await openHere(name)
    await former.write(named('x'))
    await putOwner(name, raised)
    await expect(former.read()).rejects.toMatchObject({ details: { reason: 'taken-over' } })
  })

  test('a former owner erases nothing', async () => {
    const name = freshName()
    const former = await openHere(name)
    await former.write(named('kept'))
    await putOwner(name, raised)
    await expect(former.erase()).rejects.toMatchObject({ details: { reason: 'taken-over' } })
    expect(await nameIn(await openHere(name))).toBe('kept')
  })
})

describe('migration from layout 1', () => {
  async function layout1(name: string, fill: boolean): Promise<void> {
    const database = await openDB(slotName(name, 0), 1, {
      upgrade(opened) {
        for (const store of ['meta', 'instances', 'checkpoints']) opened.createObjectStore(store)
      },
    })
    if (fill) {
      await database.put('meta', Uint8Array.of(1, 2), 'replica')
      await database.put('instances', Uint8Array.of(3), [1, 2, 3])
      await database.put('instances', Uint8Array.of(4), [1, 2, 10])
      await database.put('checkpoints', Uint8Array.of(5), 1)
    }
    database.close()
  }

  test('the records are kept, and marked as written before there were seals', async () => {
    const name = freshName()
    await layout1(name, true)
    const storage = await openHere(name)
    expect(await storage.read()).toEqual({
      meta: new Map([
        ['replica', Uint8Array.of(1, 2)],
        ['unsealed', Uint8Array.of(1)],
      ]),
      instances: [
        { epoch: 1, row: 2, seq: 3, bytes: Uint8Array.of(3) },
        { epoch: 1, row: 2, seq: 10, bytes: Uint8Array.of(4) },
      ],
      checkpoints: [{ epoch: 1, bytes: Uint8Array.of(5) }],
    })
    await storage.write({ ...named('after'), dropMeta: ['unsealed'] })
    await storage.close()
    const again = await (await openHere(name)).read()
    expect([...again.meta.keys()]).toEqual(['name', 'replica'])
    expect(again.instances).toHaveLength(2)
    expect((await rawDatabase(name)).version).toBe(2)
  })

  test('an empty database stays one without state', async () => {
    const name = freshName()
    await layout1(name, false)
    const storage = await openHere(name)
    expect((await storage.read()).meta).toEqual(new Map())
    expect(await databaseNames(name)).toEqual([slotName(name, 0)])
  })

  test('a migration that the browser breaks off leaves the records as they were, for the next try', async () => {
    const name = freshName()
    await layout1(name, true)
    const original = IDBDatabase.prototype.createObjectStore
    replace(IDBDatabase.prototype, 'createObjectStore', function (this: IDBDatabase, store: string) {
      const made = original.call(this, store)
      queueMicrotask(() => made.transaction.abort())
      return made
    })
    await expect(indexedDbStorage({ name }).open(scope)).rejects.toMatchObject({
      code: 'StorageFailed',
      details: { reason: 'disk' },
    })
    replace(IDBDatabase.prototype, 'createObjectStore', original)
    expect(await heldLocks()).not.toContain(slotName(name, 0))
    const { meta, instances } = await (await openHere(name)).read()
    expect([...meta.keys()]).toEqual(['replica', 'unsealed'])
    expect(instances).toHaveLength(2)
  })
})

/** The connections that are opened from here on. */
function connections(): IDBDatabase[] {
  const opened: IDBDatabase[] = []
  const original = indexedDB.open
  replace(indexedDB, 'open', (...call: Parameters<IDBFactory['open']>) => {
    const request = original.apply(indexedDB, call)
    request.addEventListener('success', () => opened.push(request.result))
    return request
  })
  return opened
}

/** What the page sees when the browser closes a connection. */
function lose(connection: IDBDatabase | undefined, told = true): void {
  connection?.close()
  if (told) connection?.dispatchEvent(new Event('close'))
}

/** Calls `spoil` with the next write transaction, before anything is asked of it. */
function atNextWrite(spoil: (transaction: IDBTransaction) => void): void {
  const original = IDBDatabase.prototype.transaction
  IDBDatabase.prototype.transaction = function (...call) {
    const transaction = original.apply(this, call)
    if (call[1] !== 'readwrite') return transaction
    IDBDatabase.prototype.transaction = original
    spoil(transaction)
    return transaction
  }
  cleanUps.push(() => {
    IDBDatabase.prototype.transaction = original
  })
}

describe('a lost connection', () => {
  test('while nothing is written, is opened again by itself, and nobody is told', async () => {
    const name = freshName()
    const opened = connections()
    const storage = await openHere(name)
    const losses: Error[] = []
    storage.onLost = (reason) => losses.push(reason)
    await storage.write(named('before'))
    lose(opened[0])
    await vi.waitUntil(() => opened.length === 2)
    await storage.write({ ...named('after'), checkpoints: [{ epoch: 1, bytes: Uint8Array.of(1) }] })
    expect(await nameIn(storage)).toBe('after')
    expect(losses).toEqual([])
    expect((await ownerIn(name)).writes).toBe(2)
  })

  test('that the browser did not tell of, is noticed by the next write, which then happens', async () => {
    const name = freshName()
    const opened = connections()
    const storage = await openHere(name)
    await storage.write(named('before'))
    lose(opened[0], false)
    await Promise.all([storage.write(named('one')), storage.write(named('two'))])
    expect(await nameIn(storage)).toBe('two')
    expect(opened).toHaveLength(2)
    expect((await ownerIn(name)).writes).toBe(3)
  })

  test('can be lost again after it has worked again', async () => {
    const opened = connections()
    const storage = await openHere(freshName())
    for (let round = 0; round < 4; round += 1) {
      await storage.write(named(`round ${round}`))
      lose(opened.at(-1), round % 2 === 0)
    }
    expect(await nameIn(storage)).toBe('round 3')
    expect(opened).toHaveLength(5)
  })

  test.each([true, false])(
    'in the middle of a write: the write happens, once (the browser tells: %s)',
    async (told) => {
      const name = freshName()
      const opened = connections()
      const storage = await openHere(name)
      await storage.write(named('before'))
      atNextWrite((transaction) => {
        transaction.commit = () => {
          transaction.abort()
          lose(opened[0], told)
        }
      })
      await storage.write({ ...named('during'), instances: [{ epoch: 1, row: 0, seq: 1, bytes: Uint8Array.of(7) }] })
      await storage.write({ ...named('after'), dropMeta: ['x'] })
      expect((await ownerIn(name)).writes).toBe(3)
      expect((await storage.read()).instances).toEqual([{ epoch: 1, row: 0, seq: 1, bytes: Uint8Array.of(7) }])
    },
  )

  test('when a write had completed and its page had not heard of it: it counts once', async () => {
    const name = freshName()
    const opened = connections()
    const storage = await openHere(name)
    await storage.write(named('before'))
    atNextWrite((transaction) => {
      Object.defineProperty(transaction, 'oncomplete', { set: () => {} })
      transaction.addEventListener('complete', () => {
        lose(opened[0], false)
        transaction.dispatchEvent(new Event('abort'))
      })
    })
    await storage.write(named('during'))
    expect(opened).toHaveLength(2)
    expect(await ownerIn(name)).toMatchObject({ writes: 2 })
    await storage.write(named('after'))
    expect(await nameIn(storage)).toBe('after')
    expect(await ownerIn(name)).toMatchObject({ writes: 3 })
  })

  test('that is lost again before it has worked is told as terminated', async () => {
    const opened = connections()
    const storage = await openHere(freshName())
    await storage.write(named('before'))
    const loss = lossOf(storage)
    lose(opened[0])
    await vi.waitUntil(() => opened.length === 2)
    lose(opened[1])
    await expect(storage.write(named('late'))).rejects.toMatchObject({ details: { reason: 'terminated' } })
    expect(await loss).toMatchObject({ code: 'StorageFailed', details: { reason: 'terminated' } })
  })

  test('to a database that is gone is a lost disk: no empty one is made in its place', async () => {
    const name = freshName()
    const opened = connections()
    const storage = await openHere(name)
    await storage.write(named('before'))
    lose(opened[0], false)
    await deleteDB(slotName(name, 0))
    const loss = lossOf(storage)
    await expect(storage.write(named('late'))).rejects.toMatchObject({ details: { reason: 'terminated' } })
    expect(await loss).toMatchObject({ details: { reason: 'terminated' } })
    expect(await databaseNames(name)).toEqual([])
  })

  test.each([
    ['another owner', 'taken-over', raised],
    ['fewer writes', 'terminated', (owner: OwnerRecord) => ({ ...owner, writes: owner.writes - 1 })],
    ['more writes', 'terminated', (owner: OwnerRecord) => ({ ...owner, writes: owner.writes + 2 })],
  ])('to a database that comes back with %s is told as %s', async (_what, reason, change) => {
    const name = freshName()
    const opened = connections()
    const storage = await openHere(name)
    await storage.write(named('one'))
    await storage.write(named('two'))
    lose(opened[0], false)
    await putOwner(name, change)
    const loss = lossOf(storage)
    await expect(storage.write(named('late'))).rejects.toMatchObject({ code: 'StorageFailed', details: { reason } })
    expect(await loss).toMatchObject({ details: { reason } })
    const found: Uint8Array = await (await rawDatabase(name)).get('meta', 'name')
    expect(new TextDecoder().decode(found)).toBe('two')
  })

  test('a write that the browser aborts twice fails with its error, and nothing of it is there', async () => {
    const name = freshName()
    const storage = await openHere(name)
    await storage.write(named('before'))
    const original = IDBTransaction.prototype.commit
    IDBTransaction.prototype.commit = function () {
      this.abort()
    }
    cleanUps.push(() => {
      IDBTransaction.prototype.commit = original
    })
    await expect(storage.write(named('aborted'))).rejects.toMatchObject({
      code: 'StorageFailed',
      details: { reason: 'disk' },
      cause: { name: 'AbortError' },
    })
    IDBTransaction.prototype.commit = original
    await expect(storage.write(named('late'))).rejects.toMatchObject({ code: 'StorageFailed' })
    await storage.close()
    expect(await nameIn(await openHere(name))).toBe('before')
  })
})

describe('a database that others keep', () => {
  test('in an older layout: open does not hang, says blocked, and leaves nothing open when it is free later', async () => {
    const name = freshName()
    const older = await openDB(slotName(name, 0), 1, {
      upgrade(opened) {
        for (const store of ['meta', 'instances', 'checkpoints']) opened.createObjectStore(store)
      },
    })
    await older.put('meta', Uint8Array.of(1), 'x')
    await expect(indexedDbStorage({ name, blockedMs: 50 }).open(scope)).rejects.toMatchObject({
      code: 'StorageFailed',
      details: { reason: 'blocked', databaseName: slotName(name, 0) },
    })
    // Nor does the next one, which stands behind what was given up.
    await expect(indexedDbStorage({ name, blockedMs: 50 }).open(scope)).rejects.toMatchObject({
      details: { reason: 'blocked' },
    })
    expect(await heldLocks()).not.toContain(slotName(name, 0))
    older.close()
    // Behind what was given up. It stays open, as an older page would, and can be upgraded by the next one.
    const again = await openDB(slotName(name, 0), 1)
    expect(again.version).toBe(1)
    again.close()
    expect([...(await (await openHere(name)).read()).meta.keys()]).toEqual(['unsealed', 'x'])
  })

  test('is passed over where another one with state is free', async () => {
    const name = freshName()
    const storage = await openHere(name)
    const second = await openHere(name)
    await second.write(named('second'))
    await second.close()
    await storage.close()
    sessionStorage.clear()
    const older = unwrap(await rawDatabase(name))
    const stuck = older.transaction('meta', 'readwrite')
    let over = false
    const goOn = () => {
      if (!over) stuck.objectStore('meta').get('x').onsuccess = goOn
    }
    goOn()
    cleanUps.push(() => {
      over = true
    })
    expect(await nameIn(await indexedDbStorage({ name, blockedMs: 50 }).open(scope))).toBe('second')
  })

  test('under a transaction that never ends: open does not hang, and says blocked', async () => {
    const name = freshName()
    await (await openHere(name)).close()
    const database = unwrap(await rawDatabase(name))
    const stuck = database.transaction('meta', 'readwrite')
    let over = false
    const goOn = () => {
      if (!over) stuck.objectStore('meta').get('x').onsuccess = goOn
    }
    goOn()
    const end = () => {
      over = true
    }
    cleanUps.push(end)
    await expect(indexedDbStorage({ name, blockedMs: 50 }).open(scope)).rejects.toMatchObject({
      details: { reason: 'blocked' },
    })
    expect(await heldLocks()).not.toContain(slotName(name, 0))
    end()
    await (await openHere(name)).write(named('free again'))
  })
})

describe('a browser that lets the page store nothing', () => {
  test('by throwing at once: denied, and the lock is free', async () => {
    const name = freshName()
    replace(indexedDB, 'open', () => {
      throw new DOMException('The operation is insecure.', 'SecurityError')
    })
    await expect(indexedDbStorage({ name }).open(scope)).rejects.toMatchObject({
      code: 'StorageFailed',
      details: { reason: 'denied' },
      cause: { name: 'SecurityError' },
    })
    expect(await heldLocks()).not.toContain(slotName(name, 0))
  })

  test.each(['InvalidStateError', 'UnknownError', 'SecurityError'])('by a %s later: denied', async (errorName) => {
    const name = freshName()
    // A request that fails by itself, with the error of such a browser.
    const newer = await openDB(`${name}/newer`, 9)
    newer.close()
    const original = indexedDB.open
    replace(indexedDB, 'open', () => {
      const request = original.call(indexedDB, `${name}/newer`, 1)
      Object.defineProperty(request, 'error', { value: new DOMException('A mutation is not allowed', errorName) })
      return request
    })
    await expect(indexedDbStorage({ name }).open(scope)).rejects.toMatchObject({
      code: 'StorageFailed',
      details: { reason: 'denied' },
      cause: { name: errorName },
    })
    expect(await heldLocks()).not.toContain(slotName(name, 0))
  })
})

test('a storage that is closed leaves neither lock nor connection', async () => {
  const name = freshName()
  const storage = closing(await indexedDbStorage({ name }).open(scope))
  await storage.write(named('x'))
  await storage.close()
  expect(await heldLocks()).not.toContain(slotName(name, 0))
  await deleteDB(slotName(name, 0), {
    blocked: () => {
      throw new Error('a connection is open')
    },
  })
})
