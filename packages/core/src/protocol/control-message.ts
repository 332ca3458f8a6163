// What replicas say to each other outside of any epoch: who they are, how to get the state, requests to those that vote.
import type { Proposal } from './command.ts'
import type { Epoch, ReplicaId } from './ids.ts'

/** The first word on every new connection. Nothing else of a peer counts before its Hello was found to fit. */
export interface Hello {
  readonly type: 'Hello'
  /** Names the founding of the partition (32 hex digits); null while the sender has no state yet. */
  readonly cluster: string | null
  readonly machine: string
  readonly machineVersion: number
  /** The epoch that the sender is in; 0 without state. */
  readonly epoch: Epoch
  /** SHA-256 of the checkpoint that the epoch starts from, hex; null without state. Two that differ have diverged. */
  readonly checkpointHash: string | null
  /** Whether the sender has the receiver's Hello; if not, the receiver says it again. */
  readonly heard: boolean
  /** Whether the sender is meant to be always there: such voters keep their seats before others. */
  readonly steady: boolean
  /** The sender's present run: a random number, another one each time that its disk is opened. */
  readonly run: number
  /** How many writes its disk held when that run began. Fewer than were heard from it: the disk came back older. */
  readonly writesAtOpen: number
  /** What the sender heard of the disks of others, the receiver's among them. */
  readonly disksHeard: readonly DiskHeard[]
}

/** How far a replica's disk is known to have come: it said so itself, or somebody who heard it. */
export interface DiskHeard {
  readonly replica: ReplicaId
  /** The run in which it said so … */
  readonly run: number
  /** … and the writes that were durable by then, counted over all runs. */
  readonly writes: number
}

/** Answer to a message of an epoch that is over here: ask for the checkpoint of this one. */
export interface EpochEnded {
  readonly type: 'EpochEnded'
  readonly epoch: Epoch
}

/** Asks for the sender's newest checkpoint, from a byte offset on. `epoch` is the one whose chunks are there already, or 0. */
export interface FetchCheckpoint {
  readonly type: 'FetchCheckpoint'
  readonly epoch: Epoch
  readonly offset: number
}

export interface CheckpointChunk {
  readonly type: 'CheckpointChunk'
  readonly epoch: Epoch
  readonly offset: number
  readonly totalBytes: number
  /** SHA-256 of the whole checkpoint, hex. */
  readonly hash: string
  readonly bytes: Uint8Array
}

/** The sender asks to be made a member, or to be let go. Repeated until the member list says so. */
export interface MembershipRequest {
  readonly type: 'MembershipRequest'
  readonly wanted: 'voter' | 'observer' | 'none'
}

/** A proposal of a replica that does not vote, for a voter to propose. */
export interface Forward {
  readonly type: 'Forward'
  readonly proposal: Proposal
}

/** The disk of `replica` is lost, its owner goes on as the sender: it can be taken out of the member list. */
export interface Retired {
  readonly type: 'Retired'
  readonly replica: ReplicaId
}

export type ControlMessage =
  | Hello
  | EpochEnded
  | FetchCheckpoint
  | CheckpointChunk
  | MembershipRequest
  | Forward
  | Retired

/** What an executed barrier says that a replica is from now on. */
export type Role = 'voter' | 'observer' | 'none'

export function roleOf(id: ReplicaId, voters: readonly ReplicaId[], observers: readonly ReplicaId[]): Role {
  if (voters.includes(id)) return 'voter'
  return observers.includes(id) ? 'observer' : 'none'
}
