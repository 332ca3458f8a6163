// Much on disk: reading a long log back, with figures beside the ways that were not taken, and whether dropping epochs gives
// space back.
import { unwrap } from 'idb'
import { expect, test } from 'vitest'
import { closing, freshName, openHere, rawDatabase, replace, scope } from './fixtures.ts'
import { indexedDbStorage } from './indexeddb.ts'
import type { Storage, StoredInstance } from './storage.ts'

const rows = 5

/** About as long as the record of a small command. */
function record(epoch: number, at: number): StoredInstance {
  const bytes = new Uint8Array(120).fill(at)
  new DataView(bytes.buffer).setUint32(0, at)
  return { epoch, row: at % rows, seq: 1 + Math.floor(at / rows), bytes }
}

async function fill(storage: Storage, epoch: number, count: number): Promise<void> {
  for (let from = 0; from < count; from += 10_000) {
    const length = Math.min(10_000, count - from)
    const instances = Array.from({ length }, (_, at) => record(epoch, from + at))
    await storage.write({ meta: [], instances, checkpoints: [] })
  }
}

async function msOf(work: () => Promise<number>): Promise<string> {
  const before = performance.now()
  const count = await work()
  return `${count} in ${Math.round(performance.now() - before)} ms`
}

/** Not in every browser yet, and not in the compiler's library. */
interface WithRecords {
  getAllRecords?(): IDBRequest<readonly { readonly key: unknown; readonly value: unknown }[]>
}

function done<Result>(request: IDBRequest<Result>): Promise<Result> {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result)
    request.onerror = () => reject(request.error)
  })
}

test('100,000 instances come back, each with its bytes', { timeout: 300_000 }, async () => {
  const name = freshName()
  const writer = await openHere(name)
  await fill(writer, 1, 100_000)
  await writer.close()
  const storage = closing(await indexedDbStorage({ name }).open(scope))
  let instances: readonly StoredInstance[] = []
  const figures = new Map<string, string>()
  figures.set(
    'read()',
    await msOf(async () => {
      instances = (await storage.read()).instances
      return instances.length
    }),
  )
  expect(instances).toHaveLength(100_000)
  const wrong = instances.filter(({ row, seq, bytes }) => {
    const at = (seq - 1) * rows + row
    return bytes.length !== 120 || new DataView(bytes.buffer).getUint32(0) !== at || bytes[119] !== at % 256
  })
  expect(wrong).toEqual([])

  const database = unwrap(await rawDatabase(name))
  const store = (): IDBObjectStore & WithRecords => database.transaction('instances').objectStore('instances')
  figures.set(
    'keys and values, one go each',
    await msOf(async () => {
      const found = store()
      const [, values] = await Promise.all([done(found.getAllKeys()), done(found.getAll())])
      return values.length
    }),
  )
  figures.set(
    'keys and values, a range for each row, side by side',
    await msOf(async () => {
      const found = store()
      const ranges = Array.from({ length: rows }, (_, row) => IDBKeyRange.bound([1, row], [1, row + 1], false, true))
      const keys = Promise.all(ranges.map((range) => done(found.getAllKeys(range))))
      const values = await Promise.all(ranges.map((range) => done(found.getAll(range))))
      await keys
      return values.flat().length
    }),
  )
  const records = store().getAllRecords?.()
  if (records !== undefined) {
    figures.set(
      'getAllRecords',
      await msOf(async () => (await done(records)).filter(({ key, value }) => key !== undefined && value).length),
    )
  }
  console.info([...figures].map(([what, figure]) => `${what}: ${figure}`).join('\n'))
})

test('what dropEpochsBefore drops is gone from the disk, and the rest is there', { timeout: 120_000 }, async () => {
  const storage = await openHere(freshName())
  await fill(storage, 1, 20_000)
  await fill(storage, 2, 100)
  const before = await storage.space?.()
  await storage.write({
    meta: [],
    instances: [],
    checkpoints: [{ epoch: 2, bytes: Uint8Array.of(1) }],
    dropEpochsBefore: 2,
  })
  const after = await storage.space?.()
  // The browser compacts when it likes: what it estimates is told and not judged.
  console.info(`estimated usage: ${before?.usedBytes} bytes before the drop, ${after?.usedBytes} after it`)
  const { instances } = await storage.read()
  expect(new Set(instances.map(({ epoch }) => epoch))).toEqual(new Set([2]))
  expect(instances).toHaveLength(100)
})

test('an erased log gives its space back', { timeout: 120_000 }, async () => {
  const name = freshName()
  const storage = await openHere(name)
  await storage.write({ meta: [], instances: [], checkpoints: [{ epoch: 1, bytes: new Uint8Array(5_000_000) }] })
  const filled = (await storage.space?.())?.usedBytes ?? 0
  await storage.erase()
  await expect
    .poll(async () => (await navigator.storage.estimate()).usage ?? 0, { timeout: 60_000 })
    .toBeLessThan(filled)
})

test('what is known about the space is what the browser says of it', async () => {
  const storage = await openHere(freshName())
  const { quota } = await navigator.storage.estimate()
  expect(await storage.space?.()).toEqual({
    persisted: await navigator.storage.persisted(),
    usedBytes: expect.any(Number),
    quotaBytes: quota,
  })
})

test('where the browser does not tell about the space, nothing is known and nothing fails', async () => {
  const storage = await openHere(freshName())
  replace(navigator.storage, 'estimate', () => Promise.reject(new TypeError('not here')))
  replace(navigator.storage, 'persisted', undefined)
  expect(await storage.space?.()).toEqual({ persisted: null, usedBytes: null, quotaBytes: null })
})

test('the first open asks the browser to keep the data, and does not wait for the answer', async () => {
  let asked = 0
  replace(navigator.storage, 'persist', () => {
    asked += 1
    return new Promise(() => {})
  })
  const provider = indexedDbStorage({ name: freshName() })
  closing(await provider.open(scope))
  closing(await provider.open(scope))
  expect(asked).toBe(1)
})

test('with persist: false it does not ask', async () => {
  let asked = 0
  replace(navigator.storage, 'persist', async () => {
    asked += 1
    return true
  })
  closing(await indexedDbStorage({ name: freshName(), persist: false }).open(scope))
  expect(asked).toBe(0)
})
