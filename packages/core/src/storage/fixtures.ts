// What the browser tests of the IndexedDB storage share: names of their own, and other pages. Iframes and windows are the
// other pages: each has its own copy of the module, its own locks, channels and connections.
import { type IDBPDatabase, openDB } from 'idb'
import { afterEach, vi } from 'vitest'
import { indexedDbStorage } from './indexeddb.ts'
import type { Storage, WriteBatch } from './storage.ts'

type IndexedDbModule = typeof import('./indexeddb.ts')

const moduleUrl = new URL('./indexeddb.ts', import.meta.url).href
/** Any document of this origin will do: what counts is that it loads by itself, and again on a reload. */
const pageUrl = moduleUrl

export const scope = { room: 'room', partition: 'p' }
export const slotName = (name: string, slot: number) => `${name}/room/p/${slot}`

let names = 0
/** Databases, locks and remembered slots of one test are no other test's. */
export function freshName(): string {
  names += 1
  return `test-${Date.now()}-${names}`
}

export const cleanUps: (() => unknown)[] = []
afterEach(async () => {
  while (cleanUps.length > 0) await cleanUps.pop()?.()
})

export function closing(storage: Storage): Storage {
  cleanUps.push(() => storage.close())
  return storage
}

export async function openHere(name: string): Promise<Storage> {
  return closing(await indexedDbStorage({ name }).open(scope))
}

/** Until the test is over, the browser's own object has this instead. */
export function replace(target: object, property: string, value: unknown): void {
  const own = Object.getOwnPropertyDescriptor(target, property)
  Object.defineProperty(target, property, { value, configurable: true, writable: true })
  cleanUps.push(() => {
    if (own === undefined) Reflect.deleteProperty(target, property)
    else Object.defineProperty(target, property, own)
  })
}

/** Runs code as a script of that page, so that what it makes is that page's. */
function runIn(page: Window, code: string): unknown {
  return (page as unknown as { eval(code: string): unknown }).eval(code)
}

async function moduleIn(page: Window): Promise<IndexedDbModule> {
  return runIn(page, `import(${JSON.stringify(moduleUrl)})`) as Promise<IndexedDbModule>
}

export interface Frame {
  readonly window: Window
  readonly module: IndexedDbModule
  run(code: string): void
  /** Ends that page as a crash does: its lock is free, and nothing is closed. */
  remove(): void
}

/** A page inside this tab: it shares the tab's sessionStorage, as the page before a reload does. */
export async function openFrame(): Promise<Frame> {
  const frame = document.createElement('iframe')
  document.body.append(frame)
  cleanUps.push(() => frame.remove())
  const { contentWindow } = frame
  if (contentWindow === null) throw new Error('the frame has no window')
  return {
    window: contentWindow,
    module: await moduleIn(contentWindow),
    run: (code) => void runIn(contentWindow, code),
    remove: () => frame.remove(),
  }
}

/** Another tab, which starts with a copy of this one's sessionStorage. */
export async function openTab(): Promise<{
  module(): Promise<IndexedDbModule>
  reload(): Promise<void>
  close(): void
}> {
  const tab = window.open(pageUrl)
  if (tab === null) throw new Error('the browser opened no window')
  cleanUps.push(() => tab.close())
  const loaded = () => vi.waitUntil(() => tab.location.href === pageUrl && tab.document.readyState === 'complete')
  await loaded()
  return {
    module: () => moduleIn(tab),
    async reload() {
      const before = tab.document
      tab.location.reload()
      await vi.waitUntil(() => tab.document !== before)
      await loaded()
    },
    close: () => tab.close(),
  }
}

export function named(name: string): WriteBatch {
  return { meta: [{ name: 'name', bytes: new TextEncoder().encode(name) }], instances: [], checkpoints: [] }
}

export async function nameIn(storage: Storage): Promise<string | undefined> {
  const name = (await storage.read()).meta.get('name')
  return name === undefined ? undefined : new TextDecoder().decode(name)
}

export async function heldLocks(): Promise<(string | undefined)[]> {
  return ((await navigator.locks.query()).held ?? []).map((lock) => lock.name)
}

export async function databaseNames(name: string): Promise<(string | undefined)[]> {
  const all = await indexedDB.databases()
  return all.map((database) => database.name).filter((found) => found?.startsWith(`${name}/`))
}

/** Resolves with what `onLost` is called with. */
export function lossOf(storage: Storage): Promise<Error> {
  return new Promise((resolve) => {
    storage.onLost = resolve
  })
}

/** The database as others than the storage see it. */
export async function rawDatabase(name: string, slot = 0): Promise<IDBPDatabase> {
  const database = await openDB(slotName(name, slot))
  cleanUps.push(() => database.close())
  return database
}
