// All that a replica of one epoch remembers besides its log, and what it is in the middle of. Handlers are functions over
// this; Replica (replica.ts) owns it. The end of an epoch ends its ReplicaState.
import { assert } from '../lib/assert.ts'
import type { Ballot } from './ballot.ts'
import { type Command, type Footprint, type Membership, nop } from './command.ts'
import { ConflictIndex } from './conflict-index.ts'
import { type Deps, noDeps } from './deps.ts'
import type { Epoch, InstanceId, ReplicaId, Row, Seq } from './ids.ts'
import { type Instance, type InstanceKey, instanceKey } from './instance.ts'
import { InstanceLog } from './instance-log.ts'
import type { Invalidating, RecoverOk } from './message.ts'
import { type Quorums, quorumsOf } from './quorum.ts'

/** Milliseconds. What each is for stands in runtime/api.ts, `Timeouts`. */
export interface ProtocolTimeouts {
  readonly fastPathMs: number
  readonly recoveryMs: number
  readonly patienceMs: number
  readonly heartbeatMs: number
  readonly suspectMs: number
  readonly resendMs: number
}

export const defaultTimeouts: ProtocolTimeouts = {
  fastPathMs: 30,
  recoveryMs: 300,
  patienceMs: 2_000,
  heartbeatMs: 500,
  suspectMs: 4_000,
  resendMs: 1_000,
}

/** A member list as an epoch uses it. */
export interface EpochConfig {
  readonly epoch: Epoch
  readonly members: Membership
}

/** Waiting for PreAcceptOk at ballot 0: only the coordinator does. */
export interface PreAccepting {
  readonly kind: 'preaccepting'
  readonly id: InstanceId
  readonly ballot: 0
  readonly command: Command
  readonly initDeps: Deps
  /** By row; undefined where no answer came yet. */
  readonly answers: (Deps | undefined)[]
  /** Rows that refused: their promise belongs to a recovery. */
  readonly refusals: Set<Row>
  answered: number
  /** Answers that are exactly initDeps. */
  unchanged: number
  /** When a slow quorum had answered; the fast-path timeout runs from here. */
  slowSince: number | undefined
  sentAt: number
}

/** Waiting for AcceptOk. The value of a ballot never changes. */
export interface Accepting {
  readonly kind: 'accepting'
  readonly id: InstanceId
  readonly ballot: Ballot
  readonly command: Command
  readonly deps: Deps
  readonly acks: Set<Row>
  sentAt: number
}

/** Waiting for RecoverOk. */
export interface Recovering {
  readonly kind: 'recovering'
  readonly id: InstanceId
  readonly ballot: Ballot
  readonly answers: Map<Row, RecoverOk>
  sentAt: number
}

/** Waiting for ValidateOk from exactly the voters that answered. */
export interface Validating {
  readonly kind: 'validating'
  readonly id: InstanceId
  readonly ballot: Ballot
  readonly command: Command
  readonly deps: Deps
  /** The rows of Q. */
  readonly quorum: ReadonlySet<Row>
  /** |R| */
  readonly supporters: number
  readonly answers: Map<Row, readonly Invalidating[]>
  startedAt: number
  sentAt: number
}

/** Rule 5.5.3: the instances that speak against the value have to be decided first. */
export interface WaitingForOthers {
  readonly kind: 'waiting'
  readonly id: InstanceId
  readonly ballot: Ballot
  readonly command: Command
  readonly deps: Deps
  readonly quorum: ReadonlySet<Row>
  readonly supporters: number
  readonly invalidating: readonly InstanceId[]
  sentAt: number
}

/** What this replica is trying to bring to an end for one instance; one attempt an instance at a time. */
export type Attempt = PreAccepting | Accepting | Recovering | Validating | WaitingForOthers

/** An uncommitted instance that this replica may have to recover. */
export interface Watch {
  /** When to start the next recovery. */
  at: number
  /** Recoveries started so far: the back-off grows with them. */
  tries: number
  /** Whether `at` was set while the coordinator was suspected. */
  suspected: boolean
}

export interface ReplicaState {
  readonly self: ReplicaId
  readonly config: EpochConfig
  readonly timeouts: ProtocolTimeouts
  /** This replica's row, or null where it only observes. */
  readonly row: Row | null
  readonly quorums: Quorums
  readonly rows: ReadonlyMap<ReplicaId, Row>
  /** The voters but this replica. */
  readonly otherVoters: readonly ReplicaId[]
  readonly log: InstanceLog
  readonly index: ConflictIndex
  /** Unfinished attempts of this replica as coordinator or recoverer. */
  readonly attempts: Map<InstanceKey, Attempt>
  /** Instances that were seen to need recovery, and when it is due. */
  readonly watches: Map<InstanceKey, Watch>
  /** Known barriers that are neither executed nor Nop: while there is one, nothing new is proposed (the wedge). */
  readonly barriers: Set<InstanceKey>
  /** The highest |R| that a Waiting for the instance said. */
  readonly waitings: Map<InstanceKey, number>
  /** The highest ballot seen for an instance in a Nack. */
  readonly ballotsSeen: Map<InstanceKey, Ballot>
  /** Linearizable reads under way: answers by row. */
  readonly reads: Map<number, PendingRead>
  /** Replicas of the partition that can be reached, members or not. */
  readonly connected: Set<ReplicaId>
  /** Connected replicas that are no voters: they are told commits. Kept beside `connected`. */
  followers: readonly ReplicaId[]
  /** otherVoters and followers. */
  learners: readonly ReplicaId[]
  /** When a message of the replica last came. */
  readonly heardAt: Map<ReplicaId, number>
  now: number
  tickedAt: number
  /** The next seq of this replica's row. */
  nextSeq: Seq
  /** Seqs up to here have been asked to be reserved … */
  reservedSeq: Seq
  /** … and up to here are known to be reserved durably. */
  durableSeq: Seq
  /** Seqs of the own row that were reserved before the last restart: whatever is unknown among them may be in flight. */
  readonly restartSeq: Seq
  /** What execution waits for. */
  needs: Deps
  heartbeatAt: number
  /** Commands executed since the founding, as the runtime last said. */
  executed: number
  /** A pull that is not answered yet, and what it asks for more than. */
  pull: { readonly from: ReplicaId; readonly sentAt: number; readonly after: Deps } | null
  /** What the last heartbeat round said that others have committed: what is still missing at the next one is pulled. */
  readonly lagSeen: Map<ReplicaId, Deps>
}

export interface PendingRead {
  readonly footprint: Footprint
  readonly answers: Map<Row, Deps>
  sentAt: number
}

/** How many seqs are reserved ahead at a time. */
export const seqBlock = 32

export function createReplicaState(options: {
  readonly self: ReplicaId
  readonly config: EpochConfig
  readonly timeouts: ProtocolTimeouts
  readonly now: number
  /** Seqs of the own row that may have been used: from disk; a fresh epoch's first block is reserved with its start. */
  readonly reservedSeq: Seq
  /** Of those, how many are known to be reserved durably. */
  readonly durableSeq: Seq
  /** From disk; empty for a fresh epoch. */
  readonly instances: readonly Instance[]
  /** True after a restart in mid-epoch: seqs up to reservedSeq are not used again. */
  readonly restarted: boolean
}): ReplicaState {
  const { self, config, now } = options
  const { voters } = config.members
  const quorums = quorumsOf(voters.length)
  const rows = new Map(voters.map((id, row) => [id, row]))
  assert(rows.size === voters.length, 'voters are unique')
  const row = rows.get(self) ?? null
  const otherVoters = voters.filter((id) => id !== self)
  const state: ReplicaState = {
    self,
    config,
    timeouts: options.timeouts,
    row,
    quorums,
    rows,
    otherVoters,
    log: new InstanceLog(voters.length),
    index: new ConflictIndex(voters.length),
    attempts: new Map(),
    watches: new Map(),
    barriers: new Set(),
    waitings: new Map(),
    ballotsSeen: new Map(),
    reads: new Map(),
    connected: new Set(),
    followers: [],
    learners: otherVoters,
    heardAt: new Map(),
    now,
    tickedAt: now,
    nextSeq: options.restarted ? options.reservedSeq + 1 : 1,
    reservedSeq: options.reservedSeq,
    durableSeq: options.durableSeq,
    restartSeq: options.restarted && row !== null ? options.reservedSeq : 0,
    needs: noDeps(voters.length),
    heartbeatAt: now,
    executed: 0,
    pull: null,
    lagSeen: new Map(),
  }
  for (const instance of options.instances) learn(state, instance)
  // [DU3] a coordinator that restarted may have sent what it does not remember: everything it proposes from now on
  // depends on all seqs that it had reserved, so that its own row stays ordered
  if (state.restartSeq > 0 && row !== null) state.index.add({ row, seq: state.restartSeq }, nop)
  return state
}

/** Records `instance` in the log, and its commands in the indexes. */
export function learn(state: ReplicaState, instance: Instance): void {
  const before = state.log.put(instance)
  const { id, initCommand } = instance
  const key = instanceKey(id)
  const command = instance.phase === 'none' ? null : instance.command
  // the index never forgets: what was in it before is not added again
  const initBefore = before?.initCommand ?? null
  if (initCommand !== null && initCommand !== initBefore) state.index.add(id, initCommand)
  if (command !== null && command !== initCommand && command !== initBefore) state.index.add(id, command)
  // until it is committed as something else, what was once heard as a barrier may be one
  if (command?.kind === 'barrier') state.barriers.add(key)
  else if (instance.phase === 'committed') state.barriers.delete(key)
  else if (initCommand?.kind === 'barrier') state.barriers.add(key)
  if (instance.phase === 'committed') {
    state.watches.delete(key)
    state.waitings.delete(key)
    state.ballotsSeen.delete(key)
  }
}

export function setConnected(state: ReplicaState, peer: ReplicaId, connected: boolean): void {
  if (connected) {
    state.connected.add(peer)
    state.heardAt.set(peer, state.now)
  } else {
    state.connected.delete(peer)
    state.lagSeen.delete(peer)
    if (state.pull?.from === peer) state.pull = null
  }
  state.followers = [...state.connected].filter((id) => !state.rows.has(id)).sort()
  state.learners = state.followers.length === 0 ? state.otherVoters : [...state.otherVoters, ...state.followers]
}

/** Whether nothing can be expected from the voter of `row` for now. */
export function isSuspected(state: ReplicaState, row: Row): boolean {
  if (row === state.row) return false
  const id = state.config.members.voters[row]
  if (id === undefined || !state.connected.has(id)) return true
  return state.now - (state.heardAt.get(id) ?? 0) > state.timeouts.suspectMs
}

/** Voters that can be reached, this replica counted. */
export function reachableVoters(state: ReplicaState): number {
  let count = 0
  for (let row = 0; row < state.quorums.n; row++) if (!isSuspected(state, row)) count++
  return count
}

/** [EP7] While a barrier is known and undecided nothing new is proposed, so that its closure is finite. */
export function isWedged(state: ReplicaState): boolean {
  return state.barriers.size > 0
}
