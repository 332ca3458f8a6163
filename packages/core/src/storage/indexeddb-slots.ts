// Which of a browser profile's replicas a page takes: slots numbered 0, 1, 2, …, each with one database, each owned under a
// Web Lock of the database's name. Here are the names, the locks and what a tab remembers over a reload; the databases
// themselves are in indexeddb-database.ts, the choice among them in indexeddb.ts.
import { WepaxosError } from '../lib/errors.ts'
import { isTaken, SlotChannel, sayTaken } from './indexeddb-channel.ts'
import type { StorageScope } from './storage.ts'

/**
 * Locks that this page holds, or held when they were stolen and has not let go since. Web Locks tell that a lock is held, not
 * that it is held by the one who asks.
 */
const heldByThisPage = new Set<SlotLock>()

/** How a lock is asked for: only if it is free, in the queue until the signal aborts, or by force. */
export type Asking = 'if free' | 'by force' | AbortSignal

/** The right to use one slot, until released. Whoever has it answers the pages that ask whether it is awake. */
export class SlotLock {
  readonly slot: number
  readonly databaseName: string
  /** Called when another page took the lock by force. */
  onStolen: (() => void) | null = null
  /** Called when a page says that the slot is its own; tells whether that page may have it soon. */
  onWanted: (() => boolean) | null = null
  /** Whether this page only keeps the slot for one that is gone, and would give it to another. */
  isSpare: () => boolean = () => false
  /** Resolves when this page has the lock no more, whatever the reason. */
  readonly ended: Promise<void>
  readonly #letGo: () => void
  readonly #channel: SlotChannel
  #stolen = false
  /** A frozen page still gets messages, and can do nothing else: its disk and its timers stand still. */
  #frozen = false

  constructor(slot: number, databaseName: string, letGo: () => void, ended: Promise<void>) {
    this.slot = slot
    this.databaseName = databaseName
    this.#letGo = letGo
    this.#channel = new SlotChannel(databaseName, (said) => {
      if (this.#frozen) return
      if (said === 'ping') this.#channel.say('pong')
      else if (said === 'whose?') this.#channel.say(this.isSpare() ? 'spare' : 'own')
      else if (said === 'want' && this.onWanted?.() === true) this.#channel.say('closing')
    })
    heldByThisPage.add(this)
    const over = new AbortController()
    // Workers have no document, and are frozen with their page.
    const page: EventTarget | undefined = globalThis.document
    const becomes = (frozen: boolean) => () => {
      this.#frozen = frozen
    }
    page?.addEventListener('freeze', becomes(true), { signal: over.signal })
    page?.addEventListener('resume', becomes(false), { signal: over.signal })
    const end = () => {
      over.abort()
      this.#channel.close()
    }
    this.ended = ended.then(end, () => {
      end()
      this.#stolen = true
      this.onStolen?.()
    })
  }

  get stolen(): boolean {
    return this.#stolen
  }

  /** Resolves when the next owner can have the lock. */
  async release(): Promise<void> {
    this.onStolen = null
    this.#letGo()
    await this.ended
    heldByThisPage.delete(this)
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
    const databaseName = this.databaseName(slot)
    for (const lock of heldByThisPage) if (lock.databaseName === databaseName) return true
    return false
  }

  /** The slots among `slots` that some page holds. */
  async held(slots: Iterable<number>): Promise<number[]> {
    const { held = [] } = await navigator.locks.query()
    const names = new Set(held.map(({ name }) => name))
    return [...slots].filter((slot) => names.has(this.databaseName(slot)))
  }

  /** The slot's lock; undefined when it is not free, or the signal aborted before it was. */
  lock(slot: number, asking: Asking): Promise<SlotLock | undefined> {
    const databaseName = this.databaseName(slot)
    return new Promise((resolve, reject) => {
      let held = false
      const options: LockOptions =
        asking === 'if free' ? { ifAvailable: true } : asking === 'by force' ? { steal: true } : { signal: asking }
      const ended: Promise<void> = navigator.locks.request(databaseName, options, (lock) => {
        if (lock === null) {
          resolve(undefined)
          return undefined
        }
        held = true
        return new Promise<void>((letGo) => resolve(new SlotLock(slot, databaseName, letGo, ended)))
      })
      ended.catch((error: unknown) => {
        if (held) return // Stolen: the SlotLock tells.
        if (asking instanceof AbortSignal && asking.aborted) resolve(undefined)
        else reject(new WepaxosError('NotSupported', 'this page may not use Web Locks', { databaseName }, error))
      })
    })
  }

  /** Those of the held slots whose owners only keep them for pages that are gone. Who does not answer in time keeps its own. */
  async spare(held: Iterable<number>, withinMs: number): Promise<number[]> {
    const spare: number[] = []
    const asked = [...held].filter((slot) => !this.isHeldByThisPage(slot))
    await Promise.all(
      asked.map(
        (slot) =>
          new Promise<void>((resolve) => {
            const end = () => {
              clearTimeout(timer)
              channel.close()
              resolve()
            }
            const channel = new SlotChannel(this.databaseName(slot), (said) => {
              if (said === 'spare') spare.push(slot)
              if (said === 'spare' || said === 'own') end()
            })
            const timer = setTimeout(end, withinMs)
            channel.say('whose?')
          }),
      ),
    )
    return spare.sort((left, right) => left - right)
  }

  /**
   * Runs `action` while no other page does the same for the slot; resolves to undefined, without running it, where one
   * does. For taking a lock by force: of two that do, the second would take it from the first.
   */
  async alone<Result>(slot: number, action: () => Promise<Result>): Promise<Result | undefined> {
    // No database has such a name: those end in a slash and a number.
    const name = `${this.databaseName(slot)}!take-over`
    return navigator.locks.request(name, { ifAvailable: true }, (lock) => (lock === null ? undefined : action()))
  }

  /** Tells the watchers of the scope that this page has the slot now. */
  sayTaken(slot: number): void {
    sayTaken(this.#prefix, slot)
  }

  /** Calls `listener` when a page (this one, too) took a slot; ends with the returned function. */
  onTaken(listener: (slot: number) => void): () => void {
    const channel = new BroadcastChannel(this.#prefix)
    channel.onmessage = ({ data }: MessageEvent<unknown>) => {
      if (isTaken(data)) listener(data.taken)
    }
    return () => channel.close()
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

  /** Of a page that has another one, taken when the first was lost, say, that one is remembered. */
  forget(slot: number): void {
    if (this.remembered() !== slot) return
    const next = this.#own().find((own) => own !== slot)
    writeSession(this.#prefix, next === undefined ? null : String(next))
  }

  /** The slots of this scope that this page has for itself, in the order in which it took them. */
  #own(): number[] {
    return [...heldByThisPage]
      .filter((lock) => lock.databaseName === this.databaseName(lock.slot) && !lock.stolen && !lock.isSpare())
      .map((lock) => lock.slot)
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
