// The storage of browsers: one IndexedDB database per replica, with the log, the checkpoints and the identity together, so
// that losing one is losing all. Which replica a page gets is settled here with the locks of indexeddb-slots.ts. What the
// bytes mean, and which writes ride together, is not known here.
import { type DBSchema, deleteDB, type IDBPDatabase, openDB, unwrap } from 'idb'
import { WepaxosError } from '../lib/errors.ts'
import { ReplicaSlots, type SlotLock } from './indexeddb-slots.ts'
import type {
  Storage,
  StorageContents,
  StorageProvider,
  StorageScope,
  StoredCheckpoint,
  StoredInstance,
  WriteBatch,
} from './storage.ts'

export interface IndexedDbStorageOptions {
  /** 'strict' (the default): a completed write survives the loss of power. 'relaxed': it survives the page and the browser. */
  readonly durability?: 'strict' | 'relaxed'
  /** What the databases' names begin with, for applications that share an origin. Default: 'wepaxos'. */
  readonly name?: string
}

/**
 * Keeps replicas in this origin's IndexedDB. A reloaded tab gets its own replica back, another tab one that nobody owns, or
 * a new one. `open` rejects with `NotSupported` where IndexedDB or Web Locks are missing (outside browsers, or on a page
 * that is not a secure context), with `StorageFailed` when the disk does not answer or a newer version wrote on it, and
 * with `StorageInUse` when all slots are taken. `details.reason` of a `StorageFailed` error is a `StorageFailure`.
 */
export function indexedDbStorage(options: IndexedDbStorageOptions = {}): StorageProvider {
  const { durability = 'strict', name = 'wepaxos' } = options
  if (durability !== 'strict' && durability !== 'relaxed') {
    throw new WepaxosError('InvalidArgument', `durability is 'strict' or 'relaxed', not ${JSON.stringify(durability)}`)
  }
  return {
    async open(scope: StorageScope): Promise<Storage> {
      mustBeSupported()
      const slots = new ReplicaSlots(name, scope)
      const storage = await takeReplica(slots, durability)
      slots.remember(storage.slot)
      return storage
    },
  }
}

/** Why a storage can not go on, in `details.reason` of its `StorageFailed` errors. */
export type StorageFailure =
  | 'quota'
  | 'newer-version'
  | 'deleted'
  | 'upgraded'
  | 'terminated'
  | 'taken-over'
  | 'blocked'
  | 'disk'

/** The layout of the database. A change of the stores, or of what their keys mean, raises it and migrates in `upgrade`. */
const schemaVersion = 1

interface Schema extends DBSchema {
  meta: { key: string; value: Uint8Array }
  instances: { key: [epoch: number, row: number, seq: number]; value: Uint8Array }
  checkpoints: { key: number; value: Uint8Array }
}

const storeNames = ['meta', 'instances', 'checkpoints'] as const

/** For how long a reloaded page waits for the page that it replaces: the browser frees its lock only a moment later. */
const reloadWaitMs = 1_000

/** More replicas than this in one profile are a fault of the program, not tabs. */
const slotsMax = 1_000

/** Where the browser does not list its databases, this many names are tried. */
const probedSlots = 16

function mustBeSupported(): void {
  const missing =
    typeof indexedDB === 'undefined'
      ? 'IndexedDB'
      : typeof navigator === 'undefined' || navigator.locks === undefined
        ? 'Web Locks'
        : undefined
  if (missing === undefined) return
  const insecure = globalThis.isSecureContext === false
  const hint = insecure ? ': this page is not a secure context, serve it over https or from localhost' : ''
  throw new WepaxosError('NotSupported', `indexedDbStorage needs ${missing}, which is missing here${hint}`, {
    missing,
    insecure,
  })
}

/**
 * The replica that this tab had, else the free one with the lowest number that has state, else the lowest number that is
 * free. Locks are asked for, never waited for, but for the one which a reload is about to free.
 */
async function takeReplica(slots: ReplicaSlots, durability: 'strict' | 'relaxed'): Promise<IndexedDbReplica> {
  /** A free slot with a database and nothing in it: the place for a new replica, when no other is found. */
  let spare: IndexedDbReplica | undefined
  const taken = new Set<number>()
  try {
    const stored = (await slots.stored()) ?? Array.from({ length: probedSlots }, (_, slot) => slot)
    const remembered = slots.remembered()
    const ownFirst = stored.filter((slot) => slot === remembered).concat(stored.filter((slot) => slot !== remembered))
    for (const slot of ownFirst) {
      const mayBeReload = slot === remembered && !slots.isHeldByThisPage(slot)
      const lock = await slots.lock(slot, mayBeReload ? reloadWaitMs : 0)
      if (lock === undefined) {
        taken.add(slot)
        continue
      }
      const replica = await IndexedDbReplica.open(slots, lock, durability, 'existing')
      if (replica?.hasState) {
        await spare?.close()
        return replica
      }
      if (spare === undefined || (replica !== undefined && replica.slot < spare.slot)) {
        await spare?.close()
        spare = replica
      } else {
        await replica?.close()
      }
    }
    for (let slot = 0; slot < slotsMax; slot += 1) {
      if (slot === spare?.slot) return spare
      if (taken.has(slot)) continue
      const lock = await slots.lock(slot, 0)
      if (lock === undefined) continue
      const replica = await IndexedDbReplica.open(slots, lock, durability, 'create')
      if (replica === undefined) continue // Only 'existing' finds none.
      await spare?.close()
      return replica
    }
  } catch (error) {
    await spare?.close()
    throw error
  }
  throw new WepaxosError('StorageInUse', `all ${slotsMax} replicas of this partition are in use by other tabs`, {
    slotsMax,
  })
}

/** One replica's database, and the lock that makes it ours. */
class IndexedDbReplica implements Storage {
  readonly durability: 'strict' | 'relaxed'
  readonly slot: number
  /** Whether something was stored when it was opened. */
  readonly hasState: boolean
  readonly #slots: ReplicaSlots
  readonly #lock: SlotLock
  readonly #database: IDBPDatabase<Schema>
  /** Settles after the last write that was asked for; never rejects. */
  #written: Promise<void> = Promise.resolve()
  /** Set by the first failed write, and by a loss: from then on nothing is written. */
  #failure: WepaxosError | undefined
  #ending: Promise<void> | undefined
  #onLost: ((reason: Error) => void) | null = null
  /** A loss that nobody was told yet. */
  #untold: WepaxosError | undefined

  /**
   * Opens the database of the slot; the lock is released when that fails. 'existing' makes no database and resolves to
   * undefined where there is none.
   */
  static async open(
    slots: ReplicaSlots,
    lock: SlotLock,
    durability: 'strict' | 'relaxed',
    which: 'create' | 'existing',
  ): Promise<IndexedDbReplica | undefined> {
    let replica: IndexedDbReplica | undefined
    let absent = false
    let database: IDBPDatabase<Schema> | undefined
    try {
      database = await openDB<Schema>(lock.databaseName, schemaVersion, {
        upgrade(opened, oldVersion, _newVersion, transaction) {
          // How it ends is told by openDB itself; unheard, the same error would be reported a second time.
          transaction.done.catch(() => {})
          if (oldVersion === 0 && which === 'existing') {
            absent = true
            // Aborting the transaction that would make a database leaves none.
            transaction.abort()
            return
          }
          for (const name of storeNames) opened.createObjectStore(name)
        },
        blocking(_currentVersion, newVersion, event) {
          // The other connection waits until this one is closed; writes under way still complete.
          ;(event.target as IDBDatabase).close()
          if (newVersion === null) replica?.lose('deleted', 'was deleted by another page or by the user')
          else replica?.lose('upgraded', `is being upgraded to version ${newVersion} by another page`)
        },
        terminated() {
          replica?.lose('terminated', 'was closed by the browser: its data was cleared, or the disk failed')
        },
      })
      replica = new IndexedDbReplica(slots, lock, database, durability, await holdsState(database))
      return replica
    } catch (error) {
      database?.close()
      await lock.release()
      if (absent) return undefined
      throw failed('could not be opened', lock.databaseName, error)
    }
  }

  private constructor(
    slots: ReplicaSlots,
    lock: SlotLock,
    database: IDBPDatabase<Schema>,
    durability: 'strict' | 'relaxed',
    hasState: boolean,
  ) {
    this.durability = durability
    this.slot = lock.slot
    this.hasState = hasState
    this.#slots = slots
    this.#lock = lock
    this.#database = database
    lock.onStolen = () => this.lose('taken-over', 'was taken over by another page')
  }

  get onLost(): ((reason: Error) => void) | null {
    return this.#onLost
  }

  set onLost(listener: ((reason: Error) => void) | null) {
    this.#onLost = listener
    if (this.#untold !== undefined) queueMicrotask(() => this.#tellLoss())
  }

  async read(): Promise<StorageContents> {
    this.#mustBeOpen('read')
    if (this.#failure !== undefined) throw this.#failure
    const { meta, instances, checkpoints } = await this.#readAll()
    return {
      meta: new Map(meta.keys.map((name, index) => [name, this.#bytes(meta.values[index], name)])),
      instances: instances.keys.map(
        ([epoch, row, seq], index): StoredInstance => ({
          epoch,
          row,
          seq,
          bytes: this.#bytes(instances.values[index], [epoch, row, seq]),
        }),
      ),
      checkpoints: checkpoints.keys.map(
        (epoch, index): StoredCheckpoint => ({ epoch, bytes: this.#bytes(checkpoints.values[index], epoch) }),
      ),
    }
  }

  write(batch: WriteBatch): Promise<void> {
    if (this.#ending !== undefined) return Promise.reject(closed('write'))
    // One transaction at a time: a browser may commit the next one although this one fails.
    const written = this.#written.then(() => this.#writeNext(batch))
    this.#written = written.catch(() => {})
    return written
  }

  erase(): Promise<void> {
    if (this.#ending !== undefined) return Promise.reject(closed('erase'))
    const erased = this.#end('erase')
    this.#ending = erased.catch(() => {})
    return erased
  }

  close(): Promise<void> {
    this.#ending ??= this.#end('keep')
    return this.#ending
  }

  /** The database or the lock is gone, and not by our own wish. */
  lose(reason: StorageFailure, what: string): void {
    if (this.#failure !== undefined || this.#ending !== undefined) return
    const { databaseName } = this.#lock
    this.#failure = new WepaxosError('StorageFailed', `the database ${databaseName} ${what}`, { reason, databaseName })
    this.#untold = this.#failure
    this.#tellLoss()
  }

  #tellLoss(): void {
    if (this.#onLost === null || this.#untold === undefined) return
    const reason = this.#untold
    this.#untold = undefined
    this.#onLost(reason)
  }

  async #writeNext(batch: WriteBatch): Promise<void> {
    if (this.#failure !== undefined) {
      const { details } = this.#failure
      throw new WepaxosError('StorageFailed', 'nothing is written after a failure', details, this.#failure)
    }
    try {
      await this.#transact(batch)
    } catch (error) {
      const failure = failed('did not take a write', this.#lock.databaseName, error)
      this.#failure ??= failure
      throw failure
    }
  }

  /**
   * One transaction. Resolves on its completion, not on its requests' successes: the quota is checked only after those. The
   * browser's own objects are used, for idb would make a promise of each put.
   */
  #transact(batch: WriteBatch): Promise<void> {
    return new Promise((resolve, reject) => {
      const { durability } = this
      const transaction = unwrap(this.#database).transaction(storeNames, 'readwrite', { durability })
      let requestError: DOMException | null = null
      transaction.oncomplete = () => resolve()
      transaction.onerror = (event) => {
        requestError ??= (event.target as IDBRequest).error
      }
      transaction.onabort = () => reject(transaction.error ?? requestError ?? new DOMException('aborted', 'AbortError'))
      try {
        const meta = transaction.objectStore('meta')
        const instances = transaction.objectStore('instances')
        const checkpoints = transaction.objectStore('checkpoints')
        if (batch.dropEpochsBefore !== undefined) {
          // [epoch] sorts before every [epoch, row, seq].
          instances.delete(IDBKeyRange.upperBound([batch.dropEpochsBefore], true))
          checkpoints.delete(IDBKeyRange.upperBound(batch.dropEpochsBefore, true))
        }
        for (const name of batch.dropMeta ?? []) meta.delete(name)
        for (const { name, bytes } of batch.meta) meta.put(alone(bytes), name)
        for (const { epoch, bytes } of batch.checkpoints) checkpoints.put(alone(bytes), epoch)
        for (const { epoch, row, seq, bytes } of batch.instances) instances.put(alone(bytes), [epoch, row, seq])
        transaction.commit()
      } catch (error) {
        reject(error)
        transaction.abort()
      }
    })
  }

  async #readAll() {
    try {
      const transaction = this.#database.transaction(storeNames)
      const meta = transaction.objectStore('meta')
      const instances = transaction.objectStore('instances')
      const checkpoints = transaction.objectStore('checkpoints')
      const [metaKeys, metaValues, instanceKeys, instanceValues, checkpointKeys, checkpointValues] = await Promise.all([
        meta.getAllKeys(),
        meta.getAll(),
        instances.getAllKeys(),
        instances.getAll(),
        checkpoints.getAllKeys(),
        checkpoints.getAll(),
        transaction.done,
      ])
      return {
        meta: { keys: metaKeys, values: metaValues },
        instances: { keys: instanceKeys, values: instanceValues },
        checkpoints: { keys: checkpointKeys, values: checkpointValues },
      }
    } catch (error) {
      throw failed('could not be read', this.#lock.databaseName, error)
    }
  }

  #bytes(value: unknown, key: unknown): Uint8Array {
    if (value instanceof Uint8Array) return value
    const { databaseName } = this.#lock
    throw new WepaxosError('DamagedStorage', `the database ${databaseName} holds something else than bytes`, {
      databaseName,
      key,
    })
  }

  async #end(what: 'keep' | 'erase'): Promise<void> {
    try {
      await this.#written
      this.#database.close()
      if (what === 'erase') {
        await this.#deleteDatabase()
        this.#slots.forget(this.slot)
      }
    } finally {
      await this.#lock.release()
    }
  }

  #deleteDatabase(): Promise<void> {
    const { databaseName } = this.#lock
    return new Promise((resolve, reject) => {
      const blocked = () => {
        const message = `the database ${databaseName} is held open by another page, and is deleted only later`
        reject(new WepaxosError('StorageFailed', message, { reason: 'blocked', databaseName }))
      }
      deleteDB(databaseName, { blocked }).then(resolve, (error) =>
        reject(failed('was not deleted', databaseName, error)),
      )
    })
  }

  #mustBeOpen(call: string): void {
    if (this.#ending !== undefined) throw closed(call)
  }
}

async function holdsState(database: IDBPDatabase<Schema>): Promise<boolean> {
  const transaction = database.transaction(storeNames)
  const firstKeys = storeNames.map((name) => transaction.objectStore(name).getAllKeys(null, 1))
  const [found] = await Promise.all([Promise.all(firstKeys), transaction.done])
  return found.some((keys) => keys.length > 0)
}

/** A view of a larger buffer would take the whole buffer to disk: that is how browsers clone it. */
function alone(bytes: Uint8Array): Uint8Array {
  return bytes.byteLength === bytes.buffer.byteLength ? bytes : bytes.slice()
}

function closed(call: string): WepaxosError {
  return new WepaxosError('Closed', `${call}() came after close(): this storage has no replica any more`)
}

/** `error` as the error that callers see, with what is known about its cause in `details.reason`. */
function failed(what: string, databaseName: string, error: unknown): WepaxosError {
  if (error instanceof WepaxosError) return error
  const reason = failureOf(error)
  const hint: Partial<Record<StorageFailure, string>> = {
    quota: ': the browser gives this site no more space',
    'newer-version': `: a newer version of wepaxos wrote it, and this one knows the layout ${schemaVersion} only`,
  }
  const message = `the database ${databaseName} ${what}${hint[reason] ?? ''}`
  return new WepaxosError('StorageFailed', message, { reason, databaseName }, error)
}

function failureOf(error: unknown): StorageFailure {
  const name = error instanceof Error ? error.name : ''
  if (name === 'QuotaExceededError') return 'quota'
  if (name === 'VersionError') return 'newer-version'
  return 'disk'
}
