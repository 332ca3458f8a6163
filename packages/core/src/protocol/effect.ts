// What happens to a replica (Input) and what it wants (Effect). `step` in replica.ts is the only way from one to the other.
import type { Command, Footprint } from './command.ts'
import type { Deps } from './deps.ts'
import type { ReplicaId, Seq } from './ids.ts'
import type { CommittedInstance, Instance } from './instance.ts'
import type { Message } from './message.ts'

export type Input =
  /** Agree on a command. Only for a voter that is not wedged: see canPropose. */
  | { readonly kind: 'propose'; readonly command: Command }
  /** A message of this epoch from another replica, or from this one to itself. */
  | { readonly kind: 'receive'; readonly from: ReplicaId; readonly message: Message }
  | { readonly kind: 'connected'; readonly peer: ReplicaId }
  | { readonly kind: 'disconnected'; readonly peer: ReplicaId }
  /** Time has passed. */
  | { readonly kind: 'tick' }
  /**
   * Where execution stands: it waits until everything that `needs` stands for is committed here, and has executed so many
   * commands since the founding. Replaces what was said before.
   */
  | { readonly kind: 'execution'; readonly needs: Deps; readonly executed: number }
  /** The reservation of seqs up to here is durable. */
  | { readonly kind: 'reserved'; readonly upTo: Seq }
  /** Ask this replica for what it has committed: it is known to be ahead. */
  | { readonly kind: 'catchUp'; readonly from: ReplicaId }
  /** Start a linearizable read. */
  | { readonly kind: 'read'; readonly read: number; readonly footprint: Footprint }

/** Why a message was refused. Counted, never answered with anything but a Nack or a Commit. */
export type Refusal =
  | 'not-a-member'
  | 'not-the-coordinator'
  | 'not-the-ballots-owner'
  | 'wrong-vector-length'
  | 'unknown-row'
  | 'seq-too-far-ahead'
  | 'not-a-voter'

/**
 * The order of a step's effects is the contract: what follows `persist`, `reserve` or `sync` leaves only when everything
 * before it is durable; what stands before the first of them may leave at once.
 */
export type Effect =
  | { readonly kind: 'persist'; readonly instance: Instance }
  /**
   * Write it with the next batch, or before long: nothing waits for it. A quorum holds the value, so a crash before that
   * costs a little catching up.
   */
  | { readonly kind: 'keep'; readonly instance: Instance }
  /** Make durable that seqs up to here may have been used. */
  | { readonly kind: 'reserve'; readonly upTo: Seq }
  /** Nothing new to write, but what follows reports what was written in earlier steps. */
  | { readonly kind: 'sync' }
  | { readonly kind: 'send'; readonly to: readonly ReplicaId[]; readonly message: Message }
  /** Step this input as soon as everything before it is durable: a replica's answer to itself. */
  | { readonly kind: 'then'; readonly input: Input }
  /** Final: hand it to execution. `path` is set where this replica itself brought it to its end as coordinator. */
  | {
      readonly kind: 'committed'
      readonly instance: CommittedInstance
      readonly path: 'fast' | 'slow' | 'learned' | 'recovered'
    }
  /** A linearizable read may be served as soon as everything that `deps` stands for is executed here. */
  | { readonly kind: 'readable'; readonly read: number; readonly deps: Deps }
  | { readonly kind: 'refused'; readonly from: ReplicaId; readonly reason: Refusal; readonly message: Message }
