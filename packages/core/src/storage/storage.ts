// The port to the disk: keeps the bytes that it is given, and says when they are durable. What the bytes mean is known to
// codec/ and runtime/. The contract suite in testing/storage-contract.ts says in tests what is said here in words.

/** Which replica's state is meant: a storage keeps one replica per open handle, and never gives one to two owners. */
export interface StorageScope {
  readonly room: string
  readonly partition: string
}

/** One instance of the log. `epoch` ≥ 1, `row` in 0…8, `seq` ≥ 1: together they are the key. */
export interface StoredInstance {
  readonly epoch: number
  readonly row: number
  readonly seq: number
  readonly bytes: Uint8Array
}

/** The state that an epoch starts from. */
export interface StoredCheckpoint {
  readonly epoch: number
  readonly bytes: Uint8Array
}

/** A named fact, such as who this replica is. */
export interface StoredMeta {
  readonly name: string
  readonly bytes: Uint8Array
}

/** What goes to disk together, all or nothing. Later entries for one key replace earlier ones, also within a batch. */
export interface WriteBatch {
  readonly meta: readonly StoredMeta[]
  readonly instances: readonly StoredInstance[]
  readonly checkpoints: readonly StoredCheckpoint[]
  /** Forget the instances and checkpoints of all epochs below this one (before the puts of this batch). */
  readonly dropEpochsBefore?: number
  /** Forget the facts of these names (before the puts of this batch). Names that are not there are no error. */
  readonly dropMeta?: readonly string[]
}

/** All that is kept for one replica. Instances in order of (epoch, row, seq), checkpoints in order of epoch. */
export interface StorageContents {
  readonly meta: ReadonlyMap<string, Uint8Array>
  readonly instances: readonly StoredInstance[]
  readonly checkpoints: readonly StoredCheckpoint[]
}

/** What the platform says about the place where things are kept; null where it does not tell. */
export interface StorageSpace {
  /** Whether it promised not to delete anything by itself when space runs short. */
  readonly persisted: boolean | null
  readonly usedBytes: number | null
  readonly quotaBytes: number | null
}

/** One replica's state, held by one owner until closed. */
export interface Storage {
  /** What a completed write survives: 'strict' the loss of power, 'relaxed' the end of the process, 'memory' nothing. */
  readonly durability: 'strict' | 'relaxed' | 'memory'
  /** After how long without a sign of life of this page another one may take the replica over. Absent: never. */
  readonly takenOverAfterMs?: number
  /** Everything that was written; called once, before the first write. */
  read(): Promise<StorageContents>
  /**
   * Resolves when the whole batch is as durable as `durability` says. Batches become durable in the order of the calls.
   * The storage may keep the given arrays; the caller does not change them. After one rejection (a `StorageFailed`
   * error) every later write rejects too: nothing may be built on a write that did not happen.
   */
  write(batch: WriteBatch): Promise<void>
  /** Called at most once, when the storage finds by itself that it can not go on (taken over, deleted, disk lost). */
  onLost: ((reason: Error) => void) | null
  /** What is known about the space. Absent where there is nothing to tell. Never rejects. */
  space?(): Promise<StorageSpace>
  /** Deletes all that is kept for this replica, and closes. */
  erase(): Promise<void>
  /** Waits for writes under way, gives up ownership. Idempotent. */
  close(): Promise<void>
}

/** What applications pass as `storage`. */
export interface StorageProvider {
  /**
   * Takes a replica of that scope which nobody owns: one with stored state where there is one, else a new, empty one.
   * Opening never waits for another owner.
   */
  open(scope: StorageScope): Promise<Storage>
  /**
   * Watches the stored replicas of the scope that others own. Whenever one loses its owner without having been erased (its
   * page died, or is frozen), one of the watchers gets it: `adopt` is called with it, and is its owner from then on. Called
   * for those that have no owner at the beginning, too. The returned function ends the watching; what was adopted stays.
   * Absent where owners do not share a disk.
   */
  watchOrphans?(scope: StorageScope, adopt: (orphan: Orphan) => void): () => void
}

/** A stored replica that lost its owner, in the hands of another. */
export interface Orphan {
  readonly storage: Storage
  /** Which of the scope's replicas it is: the same number whenever it is offered. */
  readonly slot: number
  /** Called when the page that owned it is back and asks for it. Who can, closes the storage soon: then that page gets it. */
  onWanted: (() => void) | null
}
