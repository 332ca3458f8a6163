// The storage of always-on replicas in Node: one LevelDB per replica, with the log, the checkpoints and the identity
// together, so that losing one is losing all. Which replica a process gets is settled here with the folders of
// level-slots.ts; the keys are those of level-keys.ts. What the bytes mean, and which writes ride together, is not known here.
import { statfs } from 'node:fs/promises'
import { join } from 'node:path'
import type { ClassicLevel } from 'classic-level'
import { WepaxosError } from '../lib/errors.ts'
import {
  allKeys,
  checkpointKey,
  decodeKey,
  instanceKey,
  type KeyRange,
  layoutKey,
  layoutVersion,
  metaKey,
  rangesBefore,
} from './level-keys.ts'
import {
  bytesIn,
  deleteFolder,
  identityOf,
  LevelSlots,
  makeFolder,
  retireFolder,
  type SlotClaim,
  stateOf,
} from './level-slots.ts'
import type {
  Storage,
  StorageContents,
  StorageProvider,
  StorageScope,
  StorageSpace,
  StoredCheckpoint,
  StoredInstance,
  WriteBatch,
} from './storage.ts'

export interface LevelStorageOptions {
  /** Where the replicas are kept; made when it is missing. On a disk of this machine: not on a network's. */
  readonly directory: string
  /**
   * 'strict' (the default): a completed write survives the loss of power: each is followed by an fsync. 'relaxed': it survives
   * the end of the process; the loss of power can take the last ones, and the replica then is one whose disk came back older.
   */
  readonly durability?: 'strict' | 'relaxed'
}

/**
 * Keeps replicas in LevelDB databases under `directory`, through the package classic-level, which the application installs.
 * Several processes may use one directory: each open takes a replica that nobody has. In one process only one thread may.
 * `open` rejects with `NotSupported` where classic-level is missing, with `StorageFailed` when the disk does not answer or a
 * newer version wrote on it, and with `StorageInUse` when all slots are taken. A database that is not whole is a replica, too,
 * whose `read` rejects with `DamagedStorage`: who has it owns it, and can erase it. `details.reason` of a `StorageFailed` error
 * is a `LevelFailure`, `details.directory` the database's.
 */
export function levelStorage(options: LevelStorageOptions): StorageProvider {
  const { directory, durability = 'strict' } = options
  if (typeof directory !== 'string' || directory === '') {
    throw new WepaxosError('InvalidArgument', `directory is a path, not ${JSON.stringify(directory)}`)
  }
  if (durability !== 'strict' && durability !== 'relaxed') {
    throw new WepaxosError('InvalidArgument', `durability is 'strict' or 'relaxed', not ${JSON.stringify(durability)}`)
  }
  return {
    async open(scope: StorageScope): Promise<Storage> {
      const level = await loadLevel()
      try {
        return await takeReplica(await LevelSlots.of(directory, scope), level, durability)
      } catch (error) {
        throw await failed('could not be searched for replicas', directory, error)
      }
    },
  }
}

/** Why a storage can not go on, in `details.reason` of its `StorageFailed` errors. */
export type LevelFailure = 'quota' | 'newer-version' | 'disk'

type Level = typeof ClassicLevel
type Database = ClassicLevel<Uint8Array, Uint8Array>

/** More replicas than this under one directory are a fault of the program. */
const slotsMax = 1_000

/** How much is read at once: large enough that a log of 100,000 instances takes a few calls only. */
const readEntriesMax = 10_000
const readBytesMax = 4 * 1_048_576

/** Loaded late: whoever only imports this module needs neither the package nor its native part. */
async function loadLevel(): Promise<Level> {
  try {
    return (await import('classic-level')).ClassicLevel
  } catch (error) {
    const absent = error instanceof Error && 'code' in error && error.code === 'ERR_MODULE_NOT_FOUND'
    const hint = absent
      ? 'which is not installed: add it to the application (npm install classic-level)'
      : `which can not be loaded on this platform (${process.platform} ${process.arch})`
    throw new WepaxosError(
      'NotSupported',
      `levelStorage needs the package classic-level, ${hint}`,
      {
        missing: 'classic-level',
      },
      error,
    )
  }
}

/**
 * The free replica with the lowest number that has state, else the lowest number that is free. Locks are asked for, never
 * waited for.
 */
async function takeReplica(slots: LevelSlots, level: Level, durability: 'strict' | 'relaxed'): Promise<Owned> {
  /** A free slot with nothing in it: the place for a new replica, when no other is found. */
  let spare: Owned | undefined
  const taken = new Set<number>()
  try {
    for (const slot of await slots.stored()) {
      const found = await LevelReplica.open(slots.claim(slot), level, durability, 'existing')
      if (found === 'taken') taken.add(slot)
      else if (found === 'absent') continue
      else if (found.hasState) {
        await spare?.close()
        return found
      } else if (spare === undefined) spare = found
      else await found.close()
    }
    for (let slot = 0; slot < slotsMax; slot += 1) {
      if (slot === spare?.slot) return spare
      if (taken.has(slot)) continue
      const made = await LevelReplica.open(slots.claim(slot), level, durability, 'create')
      if (made === 'taken' || made === 'absent') continue
      await spare?.close()
      return made
    }
  } catch (error) {
    await spare?.close()
    throw error
  }
  throw new WepaxosError('StorageInUse', `all ${slotsMax} replicas of this partition are in use`, { slotsMax })
}

type Owned = LevelReplica | DamagedReplica

/** One replica's database, whose lock makes it ours. */
class LevelReplica implements Storage {
  readonly durability: 'strict' | 'relaxed'
  readonly slot: number
  /** Whether something was stored when it was opened. */
  readonly hasState: boolean
  /** Never called: LevelDB tells of a lost disk by the write that fails. */
  onLost: ((reason: Error) => void) | null = null
  readonly #claim: SlotClaim
  readonly #database: Database
  /** Whether the database says already by which layout it is written. */
  #hasLayout: boolean
  /** Settles after the last write that was asked for; never rejects. */
  #written: Promise<void> = Promise.resolve()
  /** Set by the first failed write: from then on nothing is written. */
  #failure: WepaxosError | undefined
  #ending: Promise<void> | undefined
  /** Settles when the space of what was dropped is given back; never rejects. */
  #compacted: Promise<void> = Promise.resolve()
  /** What is to be given back when the compaction under way is done: all below this epoch. */
  #compactNext: number | undefined

  /**
   * Opens the database of the claimed slot; the claim is released when that fails. 'taken' when somebody else has it.
   * 'existing' makes no database: 'absent' where there is none. A database that is not whole is owned by another lock.
   */
  static async open(
    claim: SlotClaim | undefined,
    level: Level,
    durability: 'strict' | 'relaxed',
    which: 'create' | 'existing',
  ): Promise<Owned | 'taken' | 'absent'> {
    if (claim === undefined) return 'taken'
    const { directory } = claim
    let replica: Owned | undefined
    let identity: string | undefined
    try {
      if (which === 'create') await makeFolder(claim)
      identity = await identityOf(claim)
      const state = await stateOf(claim)
      if (state === 'with half a database') throw damaged(directory, 'the file CURRENT is missing')
      if (state === 'absent' || (which === 'existing' && state === 'without a database')) return 'absent'
      const database: Database = new level(directory, { keyEncoding: 'view', valueEncoding: 'view' })
      try {
        await database.open({ createIfMissing: state === 'without a database' })
      } catch (error) {
        if (codeOf(error) === 'LEVEL_LOCKED' || (await identityOf(claim)) !== identity) return 'taken'
        if (/no such file/i.test(messageOf(error))) throw damaged(directory, messageOf(error), error)
        throw error
      }
      try {
        if ((await identityOf(claim)) !== identity) return 'taken'
        replica = new LevelReplica(claim, database, durability, await contentsAtOpening(database, directory))
        return replica
      } finally {
        if (replica === undefined) await database.close()
      }
    } catch (error) {
      const failure = await failed('could not be opened', directory, error)
      if (failure.code !== 'DamagedStorage') throw failure
      const owned = await DamagedReplica.own(claim, level, durability, failure, identity)
      if (owned !== 'taken') replica = owned
      return owned
    } finally {
      if (replica === undefined) claim.release()
    }
  }

  private constructor(
    claim: SlotClaim,
    database: Database,
    durability: 'strict' | 'relaxed',
    contents: { readonly hasLayout: boolean; readonly hasState: boolean },
  ) {
    this.durability = durability
    this.slot = claim.slot
    this.hasState = contents.hasState
    this.#hasLayout = contents.hasLayout
    this.#claim = claim
    this.#database = database
  }

  async read(): Promise<StorageContents> {
    this.#mustBeOpen('read')
    if (this.#failure !== undefined) throw this.#failure
    const { directory } = this.#claim
    const meta = new Map<string, Uint8Array>()
    const instances: StoredInstance[] = []
    const checkpoints: StoredCheckpoint[] = []
    try {
      for await (const entries of this.#entries()) {
        for (const [encoded, bytes] of entries) {
          const key = decodeKey(encoded)
          if (key === undefined) throw damaged(directory, 'it holds a key that is none of ours')
          if (key.kind === 'meta') meta.set(key.name, plain(bytes))
          else if (key.kind === 'checkpoint') checkpoints.push({ epoch: key.epoch, bytes: plain(bytes) })
          else if (key.kind === 'instance') {
            instances.push({ epoch: key.epoch, row: key.row, seq: key.seq, bytes: plain(bytes) })
          }
        }
      }
    } catch (error) {
      throw await failed('could not be read', directory, error)
    }
    return { meta, instances, checkpoints }
  }

  write(batch: WriteBatch): Promise<void> {
    if (this.#ending !== undefined) return Promise.reject(closed('write'))
    // One at a time: LevelDB would go on with the next one although this one fails.
    const written = this.#written.then(() => this.#writeNext(batch))
    this.#written = written.catch(() => {})
    return written
  }

  async space(): Promise<StorageSpace> {
    try {
      const usedBytes = await bytesIn(this.#claim)
      const { bavail, bsize } = await statfs(this.#claim.directory)
      return { persisted: true, usedBytes, quotaBytes: usedBytes + bavail * bsize }
    } catch {
      return { persisted: true, usedBytes: null, quotaBytes: null }
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

  async #writeNext(batch: WriteBatch): Promise<void> {
    if (this.#failure !== undefined) {
      const { details } = this.#failure
      throw new WepaxosError('StorageFailed', 'nothing is written after a failure', details, this.#failure)
    }
    const { dropEpochsBefore } = batch
    try {
      const operations = await this.#operationsOf(batch)
      if (operations.length === 0) return
      if (!this.#hasLayout) operations.push(put(layoutKey, Uint8Array.of(layoutVersion)))
      await this.#database.batch(operations, { sync: this.durability === 'strict' })
      this.#hasLayout = true
    } catch (error) {
      const failure = await failed('did not take a write', this.#claim.directory, error)
      this.#failure ??= failure
      throw failure
    }
    if (dropEpochsBefore !== undefined) this.#compactLater(dropEpochsBefore)
  }

  /** What the batch does, in its order: LevelDB does them one after the other, and all or none. */
  async #operationsOf(batch: WriteBatch): Promise<Operation[]> {
    const operations: Operation[] = []
    if (batch.dropEpochsBefore !== undefined) {
      for (const range of rangesBefore(batch.dropEpochsBefore)) {
        for await (const keys of this.#keys(range)) for (const key of keys) operations.push({ type: 'del', key })
      }
    }
    for (const name of batch.dropMeta ?? []) operations.push({ type: 'del', key: metaKey(name) })
    for (const { name, bytes } of batch.meta) operations.push(put(metaKey(name), bytes))
    for (const { epoch, bytes } of batch.checkpoints) operations.push(put(checkpointKey(epoch), bytes))
    for (const { epoch, row, seq, bytes } of batch.instances) operations.push(put(instanceKey(epoch, row, seq), bytes))
    return operations
  }

  /** A deleted record takes its space until its part of the database is compacted. No write waits for that. */
  #compactLater(epoch: number): void {
    if (this.#compactNext !== undefined) {
      this.#compactNext = Math.max(this.#compactNext, epoch)
      return
    }
    this.#compactNext = epoch
    this.#compacted = this.#compacted.then(async () => {
      const before = this.#compactNext
      this.#compactNext = undefined
      if (before === undefined) return
      for (const { gte, lt } of rangesBefore(before)) {
        // What fails here fails the next write, too: that is where it is told.
        await this.#database.compactRange(gte, lt, { keyEncoding: 'view' }).catch(() => {})
      }
    })
  }

  async *#entries() {
    const iterator = this.#database.iterator({ highWaterMarkBytes: readBytesMax })
    try {
      for (;;) {
        const entries = await iterator.nextv(readEntriesMax)
        if (entries.length === 0) return
        yield entries
      }
    } finally {
      await iterator.close()
    }
  }

  async *#keys(range: KeyRange) {
    const iterator = this.#database.keys({ ...range, highWaterMarkBytes: readBytesMax })
    try {
      for (;;) {
        const keys = await iterator.nextv(readEntriesMax)
        if (keys.length === 0) return
        yield keys
      }
    } finally {
      await iterator.close()
    }
  }

  async #end(what: 'keep' | 'erase'): Promise<void> {
    const { directory } = this.#claim
    try {
      await this.#written
      await this.#compacted
      if (what === 'erase') await this.#erase()
      else await this.#database.close()
    } catch (error) {
      throw await failed(what === 'erase' ? 'was not deleted' : 'was not closed', directory, error)
    } finally {
      this.#claim.release()
    }
  }

  /**
   * The folder gets another name while the lock is still held: so nobody opens what is being deleted, and a process that
   * dies meanwhile leaves all or nothing.
   */
  async #erase(): Promise<void> {
    let retired: string | undefined
    try {
      await this.#quieten()
      retired = await retireFolder(this.#claim).catch(() => undefined)
    } finally {
      await this.#database.close()
    }
    // Where open files keep a folder from being renamed, it is done now.
    retired ??= await retireFolder(this.#claim)
    await deleteFolder(retired)
  }

  /**
   * Empties the database and compacts it, so that LevelDB has nothing left to do by itself: it would do that by the folder's
   * name, under which another process may have a new replica by then.
   */
  async #quieten(): Promise<void> {
    // After a failure LevelDB does nothing by itself any more.
    if (this.#failure !== undefined) return
    try {
      const operations: Operation[] = []
      for await (const keys of this.#keys(allKeys)) for (const key of keys) operations.push({ type: 'del', key })
      await this.#database.batch(operations)
      await this.#database.compactRange(allKeys.gte, allKeys.lt, { keyEncoding: 'view' })
    } catch (error) {
      // A disk that takes no more must not keep anybody from erasing.
      this.#failure ??= await failed('did not take a write', this.#claim.directory, error)
    }
  }

  #mustBeOpen(call: string): void {
    if (this.#ending !== undefined) throw closed(call)
  }
}

/**
 * [DU8] A database that can not be opened, in the hands of one owner until it is erased. LevelDB lets go of the lock when it
 * opens nothing, so the owner has that of another database, inside the folder: nobody is to erase what another has made there.
 */
class DamagedReplica implements Storage {
  readonly durability: 'strict' | 'relaxed'
  readonly slot: number
  readonly hasState = true
  onLost: ((reason: Error) => void) | null = null
  readonly #claim: SlotClaim
  readonly #lock: Database
  readonly #damage: WepaxosError
  #ending: Promise<void> | undefined

  /** `identity`: of the folder that was found damaged. The claim stays the caller's where it is 'taken', or this throws. */
  static async own(
    claim: SlotClaim,
    level: Level,
    durability: 'strict' | 'relaxed',
    damage: WepaxosError,
    identity: string | undefined,
  ): Promise<DamagedReplica | 'taken'> {
    const { directory } = claim
    const lock: Database = new level(join(directory, 'damaged'), { keyEncoding: 'view', valueEncoding: 'view' })
    try {
      await lock.open()
    } catch (error) {
      if (codeOf(error) === 'LEVEL_LOCKED') return 'taken'
      throw await failed('is damaged, and can not be put aside', directory, error)
    }
    if ((await identityOf(claim)) === identity) return new DamagedReplica(claim, lock, durability, damage)
    await lock.close()
    return 'taken'
  }

  private constructor(claim: SlotClaim, lock: Database, durability: 'strict' | 'relaxed', damage: WepaxosError) {
    this.durability = durability
    this.slot = claim.slot
    this.#claim = claim
    this.#lock = lock
    this.#damage = damage
  }

  read(): Promise<StorageContents> {
    return Promise.reject(this.#ending === undefined ? this.#damage : closed('read'))
  }

  write(): Promise<void> {
    return Promise.reject(this.#ending === undefined ? this.#damage : closed('write'))
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

  async #end(what: 'keep' | 'erase'): Promise<void> {
    try {
      let retired: string | undefined
      if (what === 'erase') retired = await retireFolder(this.#claim).catch(() => undefined)
      await this.#lock.close()
      if (what === 'keep') return
      // Where open files keep a folder from being renamed, it is done now.
      retired ??= await retireFolder(this.#claim)
      await deleteFolder(retired)
    } catch (error) {
      const { directory } = this.#claim
      throw await failed(what === 'erase' ? 'was not deleted' : 'was not closed', directory, error)
    } finally {
      this.#claim.release()
    }
  }
}

type Operation =
  | { readonly type: 'put'; readonly key: Uint8Array; readonly value: Uint8Array }
  | { readonly type: 'del'; readonly key: Uint8Array }

function put(key: Uint8Array, value: Uint8Array): Operation {
  return { type: 'put', key, value }
}

/** The layout's key sorts first, and every write had it with it. */
async function contentsAtOpening(
  database: Database,
  directory: string,
): Promise<{ readonly hasLayout: boolean; readonly hasState: boolean }> {
  const [first, second] = await database.iterator({ limit: 2 }).all()
  if (first === undefined) return { hasLayout: false, hasState: false }
  const [key, value] = first
  if (decodeKey(key)?.kind !== 'layout') throw damaged(directory, 'it does not say by which layout it is written')
  const [version = 0] = value
  if (version > layoutVersion) {
    const hint = `a newer version of wepaxos wrote it, and this one knows the layout ${layoutVersion} only`
    throw storageFailed('newer-version', `the database ${directory} could not be opened: ${hint}`, directory)
  }
  if (value.length !== 1 || version < 1) throw damaged(directory, 'the layout by which it is written does not exist')
  return { hasLayout: true, hasState: second !== undefined }
}

/** LevelDB gives Buffers, whose methods differ from those of the class that the port names. */
function plain(bytes: Uint8Array): Uint8Array {
  return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

function closed(call: string): WepaxosError {
  return new WepaxosError('Closed', `${call}() came after close(): this storage has no replica any more`)
}

function damaged(directory: string, what: string, cause?: unknown): WepaxosError {
  const details = { reason: 'damaged', directory }
  return new WepaxosError('DamagedStorage', `the database ${directory} is damaged: ${what}`, details, cause)
}

function storageFailed(reason: LevelFailure, message: string, directory: string, cause?: unknown): WepaxosError {
  return new WepaxosError('StorageFailed', message, { reason, directory }, cause)
}

/** `error` as the error that callers see, with what is known about its cause in `details.reason`. */
async function failed(what: string, directory: string, error: unknown): Promise<WepaxosError> {
  if (error instanceof WepaxosError) return error
  if (codeOf(error) === 'LEVEL_CORRUPTION') return damaged(directory, messageOf(error), error)
  if (await isOutOfSpace(directory, error)) {
    return storageFailed('quota', `the database ${directory} ${what}: there is no more space for it`, directory, error)
  }
  return storageFailed('disk', `the database ${directory} ${what}: ${messageOf(error)}`, directory, error)
}

/** LevelDB says what the system said, in its words; where those are not known, the disk itself is asked. */
async function isOutOfSpace(directory: string, error: unknown): Promise<boolean> {
  const code = codeOf(error)
  if (code === 'ENOSPC' || code === 'EDQUOT' || code === 'EFBIG') return true
  if (code !== 'LEVEL_IO_ERROR') return false
  if (/no space left|quota exceeded|file too large|not enough space/i.test(messageOf(error))) return true
  try {
    return (await statfs(directory)).bavail === 0
  } catch {
    return false
  }
}

/** The package wraps what went wrong at opening into an error that says only that. */
function innermost(error: unknown): unknown {
  return error instanceof Error &&
    'code' in error &&
    error.code === 'LEVEL_DATABASE_NOT_OPEN' &&
    error.cause !== undefined
    ? error.cause
    : error
}

function codeOf(error: unknown): unknown {
  const inner = innermost(error)
  return inner instanceof Error && 'code' in inner ? inner.code : undefined
}

function messageOf(error: unknown): string {
  const inner = innermost(error)
  return inner instanceof Error ? inner.message : String(inner)
}
