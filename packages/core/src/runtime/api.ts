// The public face of a replica, as types: what openReplica takes and gives. docs/api.md explains it by task.
import type { CommandResult, Commands, MachineDefinition, Queries } from '../execution/machine.ts'
import type { WepaxosError } from '../lib/errors.ts'
import type { Value } from '../lib/value.ts'
import type { Epoch, ReplicaId } from '../protocol/ids.ts'
import type { StorageProvider, StorageSpace } from '../storage/storage.ts'
import type { Presence, Transport } from './transport.ts'

/** Where diagnostic lines go. `console` fits. */
export interface Logger {
  debug(message: string, facts?: Readonly<Record<string, unknown>>): void
  warn(message: string, facts?: Readonly<Record<string, unknown>>): void
}

export interface OpenReplicaOptions<C extends Commands, Q extends Queries> {
  /** Which state machine of the room: letters, digits, `.`, `_`, `-`, `/`; at most 64. */
  readonly partition: string
  readonly transport: Transport
  readonly storage: StorageProvider
  readonly machine: MachineDefinition<C, Q>
  /**
   * How a replica without stored state starts: `found` a new partition with itself as the only voter, or `join` the one
   * that the peers have. By default: found where the transport's room was made in this page, else join.
   */
  readonly start?: 'found' | 'join'
  /** `voter` (default): becomes a voter as soon as it has caught up, while there is room. `observer`: only follows. */
  readonly role?: 'voter' | 'observer'
  /**
   * `auto` (default): joiners get a seat while there is one, voters that are silent for `timeouts.silentMs` become
   * observers until they are back, and the number of voters is kept odd. `manual`: joiners observe, and `setRole` alone
   * gives and takes seats. All replicas of a partition should say the same.
   */
  readonly membership?: 'auto' | 'manual'
  /**
   * This replica is always there (a server's, not a page's): where one voter too many has to give up its seat, it keeps its
   * own. Default false.
   */
  readonly steady?: boolean
  /**
   * What holders of a reader's link may do: `follow` (default), or also `propose`. All replicas of a partition should say the
   * same.
   */
  readonly readers?: 'follow' | 'propose'
  /** Voters at most, 1 … 9; joiners beyond that observe. Default 7. */
  readonly votersMax?: number
  /** End the epoch in a checkpoint after so many executed commands. Default 10,000; 0 for never by itself. */
  readonly checkpointEvery?: number
  /** The same after so many bytes of executed commands. Default 16 MiB; 0 for never by itself. */
  readonly checkpointBytes?: number
  /** Instances of this replica under way at one time; what is proposed beyond that waits for a place. Default 32. */
  readonly instancesMax?: number
  /**
   * What happens to commands while too few voters can be reached. `queue` (default): they wait, in order, also over restarts
   * of the page, at most 10,000 of them and 64 MiB; then `Overloaded` is thrown. `reject`: `QuorumUnavailable` is thrown.
   */
  readonly offlineWrites?: 'queue' | 'reject'
  /**
   * What becomes of replicas of this browser whose page died. `host` (default): this page runs them beside its own until
   * their page is back, or else until they are out of the member list (after `timeouts.silentMs`). `ignore`: nothing.
   */
  readonly orphans?: 'host' | 'ignore'
  /** Waiting commands that share one instance at most; 1 gives each its own. Default 100. */
  readonly batchMax?: number
  readonly timeouts?: Partial<Timeouts>
  readonly logger?: Logger
  /** Aborting closes the replica. */
  readonly signal?: AbortSignal
}

/** All in milliseconds. */
export interface Timeouts {
  /** How long a coordinator waits for a fast quorum once it has a slow one. Default 30. */
  readonly fastPathMs: number
  /** Before an instance of a suspected coordinator is recovered (plus a step for each voter nearer to it). Default 300. */
  readonly recoveryMs: number
  /** Before an instance that blocks execution is recovered although its coordinator seems alive. Default 2,000. */
  readonly patienceMs: number
  /** Between heartbeats. Default 500. */
  readonly heartbeatMs: number
  /** Silence after which a connected replica is suspected. Default 4,000. */
  readonly suspectMs: number
  /** Before an unanswered message is sent again. Default 1,000. */
  readonly resendMs: number
  /** How long a voter may be silent before the others make it an observer (`membership: 'auto'`). Default 30,000. */
  readonly silentMs: number
}

/** How long to wait, and what ends the waiting before. */
export interface WaitOptions {
  readonly timeoutMs?: number
  readonly signal?: AbortSignal
}

/** What a replica can do right now. */
export type Status =
  /**
   * No state yet. `peers`: how many replicas of this partition can be reached; with 0 there is nobody to join. `lost`: why
   * it begins anew, where its disk was lost or came back older; it has a new id then.
   */
  | { readonly kind: 'joining'; readonly peers: number; readonly lost?: WepaxosError }
  | { readonly kind: 'ready' }
  /** It follows, by a reader's link: what it proposes is refused with `ReadOnly`. */
  | { readonly kind: 'read-only' }
  /** Too few voters can be reached: proposals wait. Local reads go on. */
  | {
      readonly kind: 'no-quorum'
      readonly reachable: number
      readonly needed: number
      readonly members: number
      readonly missing: readonly ReplicaId[]
    }
  /** It left, or was removed by the others; it keeps its last state for reading. */
  | { readonly kind: 'removed' }
  | { readonly kind: 'closed' }
  /** It stopped rather than guess. What was acknowledged is on disk. */
  | { readonly kind: 'failed'; readonly error: WepaxosError }

export interface Member {
  readonly id: ReplicaId
  readonly role: 'voter' | 'observer'
  readonly self: boolean
  readonly connected: boolean
}

/** One proposed command and its fate. */
export interface Handle<R> {
  /** Names the command for ever: `<replica id>:<number>`. */
  readonly key: string
  /** The result on the optimistic view at the time of the call: a forecast. */
  readonly local: R
  /** Resolves when the command is agreed on, before it is executed. Rejects as `done` does. */
  readonly committed: Promise<void>
  /** The result of the execution: linearizable, the same everywhere. Rejects with a WepaxosError. */
  readonly done: Promise<R>
  readonly state: 'pending' | 'committed' | 'done' | 'failed'
}

export interface ProposeOptions {
  /** Stop waiting (the command itself goes on): `done` rejects with OutcomeUnknown. */
  readonly signal?: AbortSignal
  /** The same after so many milliseconds. */
  readonly timeoutMs?: number
}

export type Mutators<C extends Commands> = {
  readonly [K in keyof C]: C[K] extends (tx: never, ...args: infer A) => infer R
    ? (...args: A) => Handle<R extends CommandResult ? R : never>
    : never
}

/** The queries of the machine, bound to one state. */
export type View<Q extends Queries> = {
  readonly [K in keyof Q]: Q[K] extends (tx: never, ...args: infer A) => infer R ? (...args: A) => R : never
}

/** The queries of the machine, each a linearizable read. */
export type Reads<Q extends Queries> = {
  readonly [K in keyof Q]: Q[K] extends (tx: never, ...args: infer A) => infer R ? (...args: A) => Promise<R> : never
}

export interface SubscribeOptions<T> {
  /** Default: optimistic, that is executed commands plus this replica's own pending ones. */
  readonly view?: 'optimistic' | 'committed'
  /** When two selected values count as the same and the listener is not called. Default Object.is. */
  readonly equal?: (a: T, b: T) => boolean
  readonly signal?: AbortSignal
}

export interface ReplicaStats {
  readonly epoch: Epoch
  /** Commands executed since the founding, the same at every replica that stands at the same point. */
  readonly executed: number
  /**
   * SHA-256 over the canonical state, hex. Equal states have equal hashes. Computed when it is first looked at, linear in the
   * state: look at it at once, for it is the hash of the state of that moment.
   */
  readonly stateHash: string
  readonly voters: number
  readonly slowQuorum: number
  readonly fastQuorum: number
  /** Own commands by the path on which they were committed, since opening. */
  readonly fastPath: number
  readonly slowPath: number
  /** Recoveries that this replica started, since opening. */
  readonly recoveries: number
  /** Own commands proposed and not yet executed. */
  readonly pending: number
  /** Replicas of this browser whose page died, and which run in this page for the time being. */
  readonly hosted: readonly ReplicaId[]
  readonly storage: StorageStats
  /** Messages and frames that were not acceptable, by reason, since opening. */
  readonly refused: Readonly<Record<string, number>>
}

/** What is known about the place where this replica is kept; looked up now and then. */
export interface StorageStats extends StorageSpace {
  /** What an answered command survives: 'strict' the loss of power, 'relaxed' the end of the process, 'memory' nothing. */
  readonly durability: 'strict' | 'relaxed' | 'memory'
  /** Writes of this replica that are durable, over all its life. */
  readonly writes: number
}

export interface CheckpointInfo {
  /** The epoch that starts from this checkpoint. */
  readonly epoch: Epoch
  readonly executed: number
  readonly snapshotBytes: number
  /** SHA-256 of the checkpoint, hex; the same at every replica. */
  readonly hash: string
}

export interface ReplicaEvents {
  status: CustomEvent<Status>
  members: CustomEvent<readonly Member[]>
  checkpoint: CustomEvent<CheckpointInfo>
}

export interface Replica<C extends Commands, Q extends Queries> extends AsyncDisposable {
  readonly id: ReplicaId
  readonly partition: string
  /** Propose a command. Wrong arguments throw InvalidArgument at once; a refusal by the machine is a result. */
  readonly mutate: Mutators<C>
  /** The same with options. */
  mutateWith(options: ProposeOptions): Mutators<C>
  /** Linearizable: sees every command that was answered anywhere before the call. */
  readonly read: Reads<Q>
  /** At once, from what is here. Throws Closed only after an erase; keeps answering after close. */
  readonly view: { readonly optimistic: View<Q>; readonly committed: View<Q> }
  readonly status: Status
  readonly members: readonly Member[]
  readonly presence: Presence
  /**
   * The commands that were proposed before this opening and had no result then, in order, whoever waited for them is gone:
   * each gets its result now, or is proposed again, and takes effect once. They keep their keys. (With a reader's link those
   * without a result end as OutcomeUnknown, and are carried over again by the voter's. What another page hosted
   * meanwhile, see `orphans`, was answered there: `outcome(key)` tells.)
   */
  readonly carriedOver: readonly Handle<CommandResult>[]
  /** Calls `listener` now and after each change of the selected value; the returned function ends that. */
  subscribe<T>(selector: (view: View<Q>) => T, listener: (value: T) => void, options?: SubscribeOptions<T>): () => void
  /** The state that every command before `key`'s answer left: what became of a command, or undefined if unknown here. */
  outcome(key: string): Value | undefined
  /** Resolves when so many voters can be reached and this replica holds the state. Rejects with Timeout or Aborted. */
  ready(options?: WaitOptions & { readonly members?: 'quorum' | 'all' }): Promise<void>
  stats(): ReplicaStats
  /** Ends the epoch: state saved, log dropped, at every replica. */
  checkpoint(): Promise<CheckpointInfo>
  /**
   * Makes a replica a voter or an observer, or takes it out of the member list (`none`, also where it can not be reached).
   * Resolves when the member list says so. Rejects with InvalidArgument, NotSupported (this replica does not vote),
   * LastMember, Timeout (after 10,000 ms by default), Aborted. With `membership: 'auto'` a reachable replica that wants a
   * vote gets it back; who was taken out does not ask again until it is opened again.
   */
  setRole(id: string, role: 'voter' | 'observer' | 'none', options?: WaitOptions): Promise<void>
  /** Goodbye for ever: out of the member list by a barrier, then the stored state is erased and the replica closed. */
  leave(options?: { readonly timeoutMs?: number }): Promise<void>
  /** Stops; the stored state stays and is taken up by the next open. Idempotent. */
  close(): Promise<void>
  addEventListener<K extends keyof ReplicaEvents>(
    type: K,
    listener: (event: ReplicaEvents[K]) => void,
    options?: { readonly signal?: AbortSignal; readonly once?: boolean },
  ): void
  removeEventListener<K extends keyof ReplicaEvents>(type: K, listener: (event: ReplicaEvents[K]) => void): void
}
