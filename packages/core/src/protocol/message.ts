// What replicas of one epoch say to each other about instances, and the few words beside. The envelope (partition, epoch,
// sender) is not here: codec/ writes it, the runtime checks it.
import type { Ballot } from './ballot.ts'
import type { Command, Footprint } from './command.ts'
import type { Deps } from './deps.ts'
import type { InstanceId } from './ids.ts'

export interface PreAccept {
  readonly type: 'PreAccept'
  readonly id: InstanceId
  readonly command: Command
  readonly deps: Deps
}

export interface PreAcceptOk {
  readonly type: 'PreAcceptOk'
  readonly id: InstanceId
  readonly deps: Deps
}

export interface Accept {
  readonly type: 'Accept'
  readonly id: InstanceId
  readonly ballot: Ballot
  readonly command: Command
  readonly deps: Deps
}

export interface AcceptOk {
  readonly type: 'AcceptOk'
  readonly id: InstanceId
  readonly ballot: Ballot
}

export interface Commit {
  readonly type: 'Commit'
  readonly id: InstanceId
  readonly ballot: Ballot
  readonly command: Command
  readonly deps: Deps
}

/**
 * The Commit of an instance that its coordinator decided at ballot 0, for a voter that holds the value already: the command
 * and deps as they were first heard (`initial`, the fast path), or as they were accepted at ballot 0 (`accepted`).
 */
export interface ShortCommit {
  readonly type: 'ShortCommit'
  readonly id: InstanceId
  readonly value: 'initial' | 'accepted'
}

export interface Recover {
  readonly type: 'Recover'
  readonly id: InstanceId
  readonly ballot: Ballot
}

/** What the sender knew of the instance when it promised `ballot`. */
export interface RecoverOk {
  readonly type: 'RecoverOk'
  readonly id: InstanceId
  readonly ballot: Ballot
  readonly known:
    | { readonly phase: 'none' }
    | {
        readonly phase: 'preaccepted'
        readonly command: Command
        readonly deps: Deps
        readonly initDeps: Deps
      }
    | {
        readonly phase: 'accepted' | 'committed'
        readonly acceptedBallot: Ballot
        readonly command: Command
        readonly deps: Deps
      }
}

export interface Validate {
  readonly type: 'Validate'
  readonly id: InstanceId
  readonly ballot: Ballot
  readonly command: Command
  readonly deps: Deps
}

/** An instance that speaks against the value under validation (docs/protocol.md, section 5, rule 4). */
export interface Invalidating {
  readonly id: InstanceId
  readonly committed: boolean
}

export interface ValidateOk {
  readonly type: 'ValidateOk'
  readonly id: InstanceId
  readonly ballot: Ballot
  readonly invalidating: readonly Invalidating[]
}

/** The recovery of `id` waits for others; `supporters` is |R|. */
export interface Waiting {
  readonly type: 'Waiting'
  readonly id: InstanceId
  readonly supporters: number
}

/** The sender's promise forbids the attempt `ballot`. */
export interface Nack {
  readonly type: 'Nack'
  readonly id: InstanceId
  readonly ballot: Ballot
  readonly promisedBallot: Ballot
}

export interface Heartbeat {
  readonly type: 'Heartbeat'
  /** For each row, all instances up to here are committed at the sender. */
  readonly committedUpTo: Deps
  /** Commands executed since the founding. */
  readonly executed: number
}

/** Asks for committed instances above these watermarks. */
export interface Pull {
  readonly type: 'Pull'
  readonly committedUpTo: Deps
}

export interface Pulled {
  readonly type: 'Pulled'
  readonly commits: readonly Commit[]
  /** There is more to pull. */
  readonly more: boolean
}

/** Asks for conflicts(footprint): section 11. */
export interface ReadIndex {
  readonly type: 'ReadIndex'
  /** Named by the reader. */
  readonly read: number
  readonly footprint: Footprint
}

export interface ReadIndexOk {
  readonly type: 'ReadIndexOk'
  readonly read: number
  readonly deps: Deps
}

/** Words about instances: only voters of the epoch exchange them. */
export type InstanceMessage =
  | PreAccept
  | PreAcceptOk
  | Accept
  | AcceptOk
  | Commit
  | ShortCommit
  | Recover
  | RecoverOk
  | Validate
  | ValidateOk
  | Waiting
  | Nack

export type Message = InstanceMessage | Heartbeat | Pull | Pulled | ReadIndex | ReadIndexOk

export type MessageType = Message['type']
