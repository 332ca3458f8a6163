// All that belongs to one epoch at one replica and goes with it: the protocol's state, the executor, what was proposed here.
import type { Application } from '../execution/application.ts'
import type { Executor } from '../execution/executor.ts'
import type { Membership, Proposal } from '../protocol/command.ts'
import type { Role } from '../protocol/control-message.ts'
import type { ReplicaId, Seq } from '../protocol/ids.ts'
import type { ReplicaState } from '../protocol/state.ts'
import type { ServableCheckpoint } from './checkpoint-transfer.ts'

export interface EpochRun {
  readonly protocol: ReplicaState
  readonly executor: Executor
  readonly application: Application
  readonly members: Membership
  readonly role: Role
  readonly start: ServableCheckpoint
  /** Whether the epoch's start is durable here: before that nothing is said in its name. */
  durable: boolean
  /** Voters that are known to hold the start of this epoch (or of a later one). */
  readonly holders: Set<ReplicaId>
  established: boolean
  /** What this replica itself proposed in the epoch and is not committed yet, by seq. */
  readonly own: Map<Seq, readonly Proposal[]>
  /** Own instances that are not executed yet: the pipe, which holds `instancesMax` of them. */
  readonly pipe: Set<Seq>
  /** Commands of others that this replica proposed for them, as `session/number`. */
  readonly forwarded: Set<string>
  /** The seq of a barrier of this replica that is under way. */
  barrierSeq: Seq | null
  /** Commands executed in this epoch, and the bytes of their payloads: how long the log has become. */
  executedInEpoch: number
  executedBytes: number
}

export function createEpochRun(
  parts: Pick<EpochRun, 'protocol' | 'executor' | 'application' | 'members' | 'role' | 'start' | 'durable'>,
): EpochRun {
  return {
    ...parts,
    holders: new Set(),
    established: false,
    own: new Map(),
    pipe: new Set(),
    forwarded: new Set(),
    barrierSeq: null,
    executedInEpoch: 0,
    executedBytes: 0,
  }
}
