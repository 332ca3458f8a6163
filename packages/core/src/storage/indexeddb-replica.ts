// One replica's storage in its IndexedDB database: writes with the owner's number, reads in bulk, and what happens when the
// connection, the lock or the database goes away. Which slot it is was settled before (indexeddb.ts).
import { deleteDB, unwrap } from 'idb'
import { WepaxosError } from '../lib/errors.ts'
import {
  allStores,
  connect,
  type OwnerRecord,
  type Ownership,
  ownerKey,
  ownerRecordOf,
  type ReplicaDatabase,
  raiseOwner,
  stateStores,
} from './indexeddb-database.ts'
import {
  failed,
  isClosedConnection,
  isLostRecord,
  mayBeLostConnection,
  type StorageFailure,
  storageFailure,
} from './indexeddb-failure.ts'
import { readAll, readWhatCanBeRead } from './indexeddb-read.ts'
import type { ReplicaSlots, SlotLock } from './indexeddb-slots.ts'
import type { Storage, StorageContents, StorageSpace, StoredCheckpoint, StoredInstance, WriteBatch } from './storage.ts'

export interface ReplicaSettings {
  readonly durability: 'strict' | 'relaxed'
  readonly blockedMs: number
  readonly frozenMs: number
}

/** While a browser is closing connections, it ends those that are opened in the same moment, too. */
const reopenPauseMs = 100

/**
 * Which database is opened: 'create' makes one where there is none; 'existing' and 'stateful' do not, and 'stateful' takes
 * none that is empty.
 */
export type Wished = 'create' | 'existing' | 'stateful'

/** One replica's database, and the lock that makes it ours. */
export class IndexedDbReplica implements Storage {
  readonly durability: 'strict' | 'relaxed'
  readonly takenOverAfterMs: number
  readonly slot: number
  readonly #settings: ReplicaSettings
  readonly #slots: ReplicaSlots
  readonly #lock: SlotLock
  /** Undefined while the connection is lost. */
  #database: ReplicaDatabase | undefined
  #reopening: Promise<ReplicaDatabase> | undefined
  /** A connection that was opened again, and on which nothing has worked yet: there is one reopening a loss. */
  #unproven: ReplicaDatabase | undefined
  /** What the owner record says while it is ours and no write is under way. */
  #owner: OwnerRecord = { number: Number.NaN, writes: 0 }
  #hasState = false
  /** Settles after the last write that was asked for; never rejects. */
  #written: Promise<void> = Promise.resolve()
  /** Set by the first failed write, and by a loss: from then on nothing is written. */
  #failure: WepaxosError | undefined
  #ending: Promise<void> | undefined
  #onLost: ((reason: Error) => void) | null = null
  /** A loss that nobody was told yet. */
  #untold: WepaxosError | undefined

  /** Opens the slot's database and becomes its owner; resolves to undefined where there is not what is wished. */
  static async open(
    slots: ReplicaSlots,
    lock: SlotLock,
    settings: ReplicaSettings,
    wished: Wished,
  ): Promise<IndexedDbReplica | undefined> {
    const replica = new IndexedDbReplica(slots, lock, settings)
    let taken: Ownership | undefined
    try {
      taken = await replica.#take(wished)
    } catch (error) {
      await replica.close()
      throw failed('could not be opened', lock.databaseName, error)
    }
    if (taken !== undefined) return replica
    await replica.close()
    return undefined
  }

  private constructor(slots: ReplicaSlots, lock: SlotLock, settings: ReplicaSettings) {
    this.durability = settings.durability
    this.takenOverAfterMs = settings.frozenMs
    this.slot = lock.slot
    this.#settings = settings
    this.#slots = slots
    this.#lock = lock
    lock.onStolen = () => this.#lose('taken-over', 'was taken over by another page')
    if (lock.stolen) lock.onStolen()
  }

  /** Whether something was stored when it was opened. */
  get hasState(): boolean {
    return this.#hasState
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
    let found: Awaited<ReturnType<typeof readAll>>
    try {
      found = await this.#connected((database) =>
        readAll(database).catch((error: unknown) => {
          if (!isLostRecord(error)) throw error
          return readWhatCanBeRead(database)
        }),
      )
      const refusal = this.#refusal(found.owner, false)
      if (refusal !== undefined) throw refusal
    } catch (error) {
      throw this.#noted(failed('could not be read', this.#lock.databaseName, error))
    }
    const { meta, instances, checkpoints } = found
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

  async space(): Promise<StorageSpace> {
    // Absent in insecure contexts and, in part, in workers.
    const manager: Partial<StorageManager> | undefined = navigator.storage
    const [persisted, estimate] = await Promise.all([
      manager?.persisted?.().catch(() => null),
      manager?.estimate?.().catch(() => null),
    ])
    return {
      persisted: persisted ?? null,
      usedBytes: estimate?.usage ?? null,
      quotaBytes: estimate?.quota ?? null,
    }
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

  async #take(wished: Wished): Promise<Ownership | undefined> {
    const database = await this.#connect(wished === 'create')
    if (database === undefined) return undefined
    this.#database = database
    if (this.#failure !== undefined) throw this.#failure
    const { blockedMs } = this.#settings
    const taken = await raiseOwner(database, { blockedMs, evenEmpty: wished !== 'stateful' })
    if (taken === undefined) return undefined
    this.#owner = taken.owner
    this.#hasState = taken.hasState
    return taken
  }

  async #connect(create: boolean): Promise<ReplicaDatabase | undefined> {
    /** Only the connection in use tells of losses. */
    let mine: ReplicaDatabase | undefined
    mine = await connect(this.#lock.databaseName, {
      create,
      blockedMs: this.#settings.blockedMs,
      onVersionChange: (newVersion) => {
        if (newVersion === null) this.#lose('deleted', 'was deleted by another page or by the user')
        else this.#lose('upgraded', `is being upgraded to version ${newVersion} by another page`)
      },
      onTerminated: () => {
        if (mine === undefined || mine !== this.#database || this.#ending !== undefined) return
        this.#database = undefined
        // Not only when the next write comes: what is lost is to be known soon.
        if (this.#failure === undefined) this.#reopen().catch((error: unknown) => this.#noted(this.#lost(error)))
      },
    })
    return mine
  }

  /** Runs `work` on the connection; once more, on another one, where the connection was lost meanwhile. */
  async #connected<Result>(work: (database: ReplicaDatabase, repeated: boolean) => Promise<Result>): Promise<Result> {
    for (let repeated = false; ; repeated = true) {
      const database = this.#database ?? (await this.#reopen())
      try {
        const result = await work(database, repeated)
        if (this.#unproven === database) this.#unproven = undefined
        return result
      } catch (error) {
        if (!mayBeLostConnection(error)) throw error
        if (this.#failure !== undefined) throw this.#failure
        if (this.#unproven === database) throw isClosedConnection(error) ? this.#lostAgain(error) : error
        if (this.#database === database) this.#database = undefined
        database.close()
      }
    }
  }

  #reopen(): Promise<ReplicaDatabase> {
    this.#reopening ??= this.#openAgain().finally(() => {
      this.#reopening = undefined
    })
    return this.#reopening
  }

  /** Another connection to what must be the same database: still ours, and no older than we know it. */
  async #openAgain(): Promise<ReplicaDatabase> {
    if (this.#unproven !== undefined) throw this.#lostAgain()
    await new Promise((resolve) => setTimeout(resolve, reopenPauseMs))
    const database = await this.#connect(false).catch((error: unknown) => {
      throw this.#lost(error)
    })
    if (database === undefined) {
      throw this.#failureOf('terminated', 'is gone: the browser closed the connection and threw the data away')
    }
    try {
      const refusal = this.#refusal(await database.get('owner', ownerKey), true)
      if (refusal !== undefined) throw refusal
    } catch (error) {
      database.close()
      throw this.#lost(error)
    }
    this.#database = database
    this.#unproven = database
    return database
  }

  /**
   * Why nothing may be built on the database with that owner record, if so. A write that is repeated may find that it
   * happened already.
   */
  #refusal(value: unknown, repeated: boolean): WepaxosError | undefined {
    const found = ownerRecordOf(value)
    if (found === undefined) return this.#failureOf('terminated', 'came back empty')
    const { number, writes } = this.#owner
    if (found.number !== number) return this.#failureOf('taken-over', 'was taken over by another page')
    if (found.writes === writes || (repeated && found.writes === writes + 1)) return undefined
    return this.#failureOf('terminated', `came back with ${found.writes} writes instead of ${writes}`)
  }

  #failureOf(reason: StorageFailure, what: string, cause?: unknown): WepaxosError {
    return storageFailure(reason, this.#lock.databaseName, what, cause)
  }

  #lostAgain(cause?: unknown): WepaxosError {
    return this.#failureOf('terminated', 'was closed by the browser, and closed again when it had been reopened', cause)
  }

  /** However the reopening failed, the replica is lost to this page; `cause` says how. */
  #lost(error: unknown): WepaxosError {
    const reason = error instanceof WepaxosError ? error.details['reason'] : undefined
    if (error instanceof WepaxosError && (reason === 'taken-over' || reason === 'terminated')) return error
    return this.#failureOf('terminated', 'was closed by the browser, and can not be opened again', error)
  }

  /** The database or the lock is gone, and not by our own wish. */
  #lose(reason: StorageFailure, what: string): void {
    this.#noted(this.#failureOf(reason, what))
  }

  /** Remembers the first failure and, when it is a loss that no call asked for, tells it. Returns what it was given. */
  #noted(failure: WepaxosError): WepaxosError {
    if (this.#failure !== undefined) return failure
    this.#failure = failure
    const { reason } = failure.details
    const isLoss = reason === 'taken-over' || reason === 'terminated' || reason === 'deleted' || reason === 'upgraded'
    if (isLoss && this.#ending === undefined) {
      this.#untold = failure
      this.#tellLoss()
    }
    return failure
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
      await this.#transact((transaction) => putBatch(transaction, batch), this.durability)
    } catch (error) {
      throw this.#noted(failed('did not take a write', this.#lock.databaseName, error))
    }
  }

  /** One write transaction of the owner, or none. Puts are repeatable, so a repeated one need not know if it happened. */
  async #transact(puts: (transaction: IDBTransaction) => void, durability: 'strict' | 'relaxed'): Promise<void> {
    const after = { ...this.#owner, writes: this.#owner.writes + 1 }
    await this.#connected((database, repeated) =>
      transact(database, durability, (found, transaction) => {
        const refusal = this.#refusal(found, repeated)
        if (refusal !== undefined) throw refusal
        puts(transaction)
        transaction.objectStore('owner').put(after, ownerKey)
      }),
    )
    this.#owner = after
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
      if (what === 'erase') await this.#erase()
    } finally {
      await this.#reopening?.catch(() => {})
      this.#database?.close()
      await this.#lock.release()
    }
  }

  async #erase(): Promise<void> {
    const gone = this.#failure?.details['reason'] === 'deleted'
    if (this.#failure?.details['reason'] === 'taken-over') throw this.#failure
    if (!gone) {
      // Deleting asks for no owner number. So the owner empties the database first: what is deleted then is nobody's.
      try {
        await this.#transact((transaction) => {
          for (const name of stateStores) transaction.objectStore(name).clear()
        }, 'strict')
      } catch (error) {
        throw failed('was not erased', this.#lock.databaseName, error)
      }
      this.#database?.close()
      await this.#deleteDatabase()
    }
    this.#slots.forget(this.slot)
  }

  #deleteDatabase(): Promise<void> {
    const { databaseName } = this.#lock
    return new Promise((resolve, reject) => {
      const blocked = () =>
        reject(this.#failureOf('blocked', 'is held open by another page: it was emptied, and is deleted only later'))
      // A frozen page does not answer, and a browser that waits for its answer does not say that it is blocked.
      const timer = setTimeout(blocked, this.#settings.blockedMs)
      deleteDB(databaseName, { blocked })
        .then(resolve, (error) => reject(failed('was not deleted', databaseName, error)))
        .finally(() => clearTimeout(timer))
    })
  }

  #mustBeOpen(call: string): void {
    if (this.#ending !== undefined) throw closed(call)
  }
}

/**
 * One transaction, in which `write` sees the owner record before it puts anything; what it throws takes all back. Resolves
 * on the transaction's completion, not on its requests' successes: the quota is checked only after those. The browser's own
 * objects are used, for idb would make a promise of each put.
 */
function transact(
  database: ReplicaDatabase,
  durability: 'strict' | 'relaxed',
  write: (owner: unknown, transaction: IDBTransaction) => void,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const transaction = unwrap(database).transaction(allStores, 'readwrite', { durability })
    let thrown: unknown
    let requestError: DOMException | null = null
    transaction.oncomplete = () => resolve()
    transaction.onerror = (event) => {
      requestError ??= (event.target as IDBRequest).error
    }
    transaction.onabort = () =>
      reject(thrown ?? transaction.error ?? requestError ?? new DOMException('the browser aborted it', 'AbortError'))
    const asked: IDBRequest<unknown> = transaction.objectStore('owner').get(ownerKey)
    asked.onsuccess = () => {
      try {
        write(asked.result, transaction)
        transaction.commit()
      } catch (error) {
        thrown = error
        transaction.abort()
      }
    }
  })
}

function putBatch(transaction: IDBTransaction, batch: WriteBatch): void {
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
}

/** A view of a larger buffer would take the whole buffer to disk: that is how browsers clone it. */
function alone(bytes: Uint8Array): Uint8Array {
  return bytes.byteLength === bytes.buffer.byteLength ? bytes : bytes.slice()
}

function closed(call: string): WepaxosError {
  return new WepaxosError('Closed', `${call}() came after close(): this storage has no replica any more`)
}
