// Which of a browser profile's replicas a page takes: slots numbered 0, 1, 2, …, each with one database, each owned under a
// Web Lock of the database's name. Here are the names, the locks and what a tab remembers over a reload; the databases
// themselves, and the choice among them, are in indexeddb.ts.
import { WepaxosError } from '../lib/errors.ts'
import type { StorageScope } from './storage.ts'

/** Locks that this page holds. Web Locks tell that a lock is held, not that it is held by the one who asks. */
const heldByThisPage = new Set<string>()

/** The right to use one slot, until released. */
export class SlotLock {
  readonly slot: number
  readonly databaseName: string
  /** Called when another page took the lock by force. */
  onStolen: (() => void) | null = null
  readonly #letGo: () => void
  readonly #ended: Promise<void>

  constructor(slot: number, databaseName: string, letGo: () => void, ended: Promise<void>) {
    this.slot = slot
    this.databaseName = databaseName
    this.#letGo = letGo
    this.#ended = ended
    heldByThisPage.add(databaseName)
  }

  /** Resolves when the next owner can have the lock. */
  async release(): Promise<void> {
    this.onStolen = null
    this.#letGo()
    await this.#ended.catch(() => {})
    heldByThisPage.delete(this.databaseName)
  }
}

/** The slots of one scope, as this page sees them. */
export class ReplicaSlots {
  readonly #prefix: string

  constructor(name: string, scope: StorageScope) {
    this.#prefix = [name, scope.room, scope.partition].map(encodeName).join('/')
  }

  databaseName(slot: number): string {
    return `${this.#prefix}/${slot}`
  }

  /** The slots that have a database, lowest first; undefined where the browser does not tell. */
  async stored(): Promise<number[] | undefined> {
    if (typeof indexedDB.databases !== 'function') return undefined
    let databases: IDBDatabaseInfo[]
    try {
      databases = await indexedDB.databases()
    } catch {
      return undefined
    }
    const slots: number[] = []
    for (const { name = '' } of databases) {
      const slot = Number(name.slice(name.lastIndexOf('/') + 1))
      if (Number.isSafeInteger(slot) && slot >= 0 && name === this.databaseName(slot)) slots.push(slot)
    }
    return slots.sort((left, right) => left - right)
  }

  isHeldByThisPage(slot: number): boolean {
    return heldByThisPage.has(this.databaseName(slot))
  }

  /** Takes the slot's lock; undefined when somebody else holds it, after having waited for at most `waitMs`. */
  lock(slot: number, waitMs: number): Promise<SlotLock | undefined> {
    const databaseName = this.databaseName(slot)
    return new Promise((resolve, reject) => {
      let held: SlotLock | undefined
      const options: LockOptions = waitMs > 0 ? { signal: AbortSignal.timeout(waitMs) } : { ifAvailable: true }
      const ended: Promise<void> = navigator.locks.request(databaseName, options, (lock) => {
        if (lock === null) {
          resolve(undefined)
          return undefined
        }
        return new Promise<void>((letGo) => {
          held = new SlotLock(slot, databaseName, letGo, ended)
          resolve(held)
        })
      })
      ended.catch((error: unknown) => {
        if (held !== undefined) held.onStolen?.()
        else if (error instanceof DOMException && error.name === 'TimeoutError') resolve(undefined)
        else reject(new WepaxosError('NotSupported', 'this page may not use Web Locks', { databaseName }, error))
      })
    })
  }

  /**
   * The slot that this tab used last, kept in sessionStorage, which a reload keeps too. A duplicated tab and a window that
   * this page opened start with a copy: it is a wish, and the lock decides.
   */
  remembered(): number | undefined {
    const text = readSession(this.#prefix)
    return text !== null && /^\d{1,9}$/.test(text) ? Number(text) : undefined
  }

  /** A page that opens one scope twice keeps the first slot in mind: that is the one it asks for first after a reload. */
  remember(slot: number): void {
    const before = this.remembered()
    if (before !== undefined && before !== slot && this.isHeldByThisPage(before)) return
    writeSession(this.#prefix, String(slot))
  }

  forget(slot: number): void {
    if (this.remembered() === slot) writeSession(this.#prefix, null)
  }
}

/** So that a slash in a room's name can not make two scopes one. */
function encodeName(part: string): string {
  try {
    return encodeURIComponent(part)
  } catch (error) {
    const given = JSON.stringify(part)
    throw new WepaxosError(
      'InvalidArgument',
      `a name of a storage must be well-formed Unicode, not ${given}`,
      {},
      error,
    )
  }
}

// Workers have no sessionStorage, and pages that may not store throw on touching it: then nothing is remembered.

function readSession(key: string): string | null {
  try {
    return sessionStorage.getItem(key)
  } catch {
    return null
  }
}

function writeSession(key: string, value: string | null): void {
  try {
    if (value === null) sessionStorage.removeItem(key)
    else sessionStorage.setItem(key, value)
  } catch {
    // See above.
  }
}
