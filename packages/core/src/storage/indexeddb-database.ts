// The database of one replica as IndexedDB sees it: its layout with the migrations, the opening of a connection, and the owner
// record, which each page that takes the replica raises. Whose turn it is to own is settled elsewhere.
import { type DBSchema, type IDBPDatabase, type IDBPTransaction, openDB, type StoreNames, unwrap } from 'idb'
import { openingFailed, storageFailure } from './indexeddb-failure.ts'

/**
 * The layout. A change of the stores, or of what their keys mean, raises it and migrates in `migrate`.
 * 1: meta, instances, checkpoints. 2: owner; and the meta record `unsealed` where records of layout 1 are.
 */
const schemaVersion = 2

export interface ReplicaSchema extends DBSchema {
  meta: { key: string; value: Uint8Array }
  instances: { key: [epoch: number, row: number, seq: number]; value: Uint8Array }
  checkpoints: { key: number; value: Uint8Array }
  owner: { key: string; value: OwnerRecord }
}

export type ReplicaDatabase = IDBPDatabase<ReplicaSchema>

/** The stores that make up the replica's state. */
export const stateStores = ['meta', 'instances', 'checkpoints'] as const
export const allStores = [...stateStores, 'owner'] as const
/** The one key of the store `owner`. */
export const ownerKey = 'owner'

/** Who may write. It is read and written in each write transaction. */
export interface OwnerRecord {
  /** Raised by one by each page that takes the replica. A page whose number it is not any more writes nothing. */
  readonly number: number
  /** Writes so far: tells after a lost connection whether the last one happened. */
  readonly writes: number
}

export function ownerRecordOf(value: unknown): OwnerRecord | undefined {
  if (typeof value !== 'object' || value === null || !('number' in value) || !('writes' in value)) return undefined
  const { number, writes } = value
  return typeof number === 'number' && typeof writes === 'number' ? { number, writes } : undefined
}

export interface ConnectionOptions {
  /** Whether to make the database where there is none. */
  readonly create: boolean
  /** How long to wait for pages that keep an older layout open. */
  readonly blockedMs: number
  /** Another page wants to delete (null) or upgrade the database. The connection is closed already. */
  readonly onVersionChange: (newVersion: number | null) => void
  /** The browser closed the connection. */
  readonly onTerminated: () => void
}

/** An opening of which nothing is heard gets so many times the time of one that is known to be blocked: disks can be slow. */
const unheardOf = 4

/** Resolves to undefined where there is no database and none is to be made. */
export function connect(databaseName: string, options: ConnectionOptions): Promise<ReplicaDatabase | undefined> {
  return new Promise((resolve, reject) => {
    let absent = false
    let gaveUp = false
    function giveUp(): void {
      gaveUp = true
      const what = 'is kept open in an older layout by another page: close the other tabs of this site'
      reject(storageFailure('blocked', databaseName, what))
    }
    // Behind an opening that was given up and is still pending, the browser does not even say that one is blocked.
    let timer = setTimeout(giveUp, unheardOf * options.blockedMs)
    // Async, for it may also throw at once.
    const open = async () =>
      openDB<ReplicaSchema>(databaseName, schemaVersion, {
        upgrade(database, oldVersion, _newVersion, transaction) {
          // How it ends is told by openDB itself; unheard, the same error would be reported a second time.
          transaction.done.catch(() => {})
          absent = oldVersion === 0 && !options.create
          // Aborting the transaction that would make a database leaves none, and one that would change it leaves it as it was.
          if (absent || gaveUp) transaction.abort()
          else migrate(database, oldVersion, transaction)
        },
        blocked() {
          clearTimeout(timer)
          timer = setTimeout(giveUp, options.blockedMs)
        },
        blocking(_currentVersion, newVersion, event) {
          // The other page waits until this connection is closed; writes under way still complete.
          ;(event.target as IDBDatabase).close()
          options.onVersionChange(newVersion)
        },
        terminated: options.onTerminated,
      })
    open().then(
      (database) => {
        clearTimeout(timer)
        if (gaveUp) database.close()
        else resolve(database)
      },
      (error: unknown) => {
        clearTimeout(timer)
        if (absent) resolve(undefined)
        else reject(openingFailed(databaseName, error))
      },
    )
  })
}

type Upgrade = IDBPTransaction<ReplicaSchema, StoreNames<ReplicaSchema>[], 'versionchange'>

function migrate(database: ReplicaDatabase, oldVersion: number, transaction: Upgrade): void {
  if (oldVersion < 1) for (const name of stateStores) database.createObjectStore(name)
  if (oldVersion < 2) {
    database.createObjectStore('owner')
    if (oldVersion === 1) markUnsealed(unwrap(transaction))
  }
}

/** Records of layout 1 were written before there were seals over them: whoever reads them has to know. */
function markUnsealed(transaction: IDBTransaction): void {
  for (const name of stateStores) {
    const counted = transaction.objectStore(name).count()
    counted.onsuccess = () => {
      if (counted.result > 0) transaction.objectStore('meta').put(Uint8Array.of(1), 'unsealed')
    }
  }
}

export interface Ownership {
  readonly owner: OwnerRecord
  readonly hasState: boolean
}

/**
 * Makes the caller the owner, who holds the Web Lock: from here on no write of an earlier owner comes through. Undefined
 * where nothing is stored and `evenEmpty` is false; then nothing was changed. Durable whatever the writes are: an owner
 * number that a power cut took back would let an earlier owner write.
 */
export function raiseOwner(
  database: ReplicaDatabase,
  { blockedMs, evenEmpty }: { readonly blockedMs: number; readonly evenEmpty: boolean },
): Promise<Ownership | undefined> {
  return new Promise((resolve, reject) => {
    const transaction = unwrap(database).transaction(allStores, 'readwrite', { durability: 'strict' })
    let taken: Ownership | undefined
    let tooLate = false
    // A frozen owner may sit on a transaction of its own. Once the first request is answered, nobody is in front any more.
    const timer = setTimeout(() => {
      tooLate = true
      transaction.abort()
    }, blockedMs)
    const firstKeys = stateStores.map((name) => transaction.objectStore(name).getAllKeys(null, 1))
    const asked: IDBRequest<unknown> = transaction.objectStore('owner').get(ownerKey)
    asked.onsuccess = () => {
      clearTimeout(timer)
      const hasState = firstKeys.some((keys) => keys.result.length > 0)
      if (!hasState && !evenEmpty) return
      const before = ownerRecordOf(asked.result) ?? { number: firstNumber(), writes: 0 }
      const owner = { number: before.number + 1, writes: before.writes }
      transaction.objectStore('owner').put(owner, ownerKey)
      taken = { owner, hasState }
    }
    transaction.oncomplete = () => resolve(taken)
    transaction.onabort = () => {
      clearTimeout(timer)
      const blocked = () => storageFailure('blocked', database.name, 'is being written by a page that does not go on')
      reject(tooLate ? blocked() : (transaction.error ?? new DOMException('aborted', 'AbortError')))
    }
  })
}

/** Drawn, so that the owner of a database that was deleted is no owner of the one that was made in its place. */
function firstNumber(): number {
  const [drawn = 0] = crypto.getRandomValues(new Uint32Array(1))
  return drawn
}
