// What is agreed on: commands, what they touch, and when two of them must be ordered. The protocol sees an application's
// command as a footprint and opaque bytes.
import { equalBytes } from '../lib/equal-bytes.ts'
import type { ReplicaId } from './ids.ts'

/** How a command touches a key. `read`/`read` and `add`/`add` commute; every other pair on one key must be ordered. */
export type AccessMode = 'read' | 'write' | 'add'

/**
 * `key` is a hash of the application's key (lib/hash.ts): two keys that share one are ordered without need, which costs
 * a little time and never safety.
 */
export interface KeyAccess {
  readonly key: number
  readonly mode: AccessMode
}

/** What a command touches: keys, or everything. */
export type Footprint = 'everything' | readonly KeyAccess[]

/** One application command as it was proposed, named for ever by (session, number): section 10, exactly once. */
export interface Proposal {
  /** The proposing replica. */
  readonly session: ReplicaId
  /** 1, 2, 3, … in its session; never used for another command. */
  readonly number: number
  /** The proposer needs no recorded result of its numbers up to here any more. */
  readonly ackedUpTo: number
  readonly footprint: Footprint
  readonly payload: Uint8Array
}

/** The members of an epoch. Voters are at most 9 and their order gives the rows; sessions belong to members. */
export interface Membership {
  readonly voters: readonly ReplicaId[]
  readonly observers: readonly ReplicaId[]
}

export interface NopCommand {
  readonly kind: 'nop'
}

/** One or more proposals that share an instance. */
export interface ApplicationCommand {
  readonly kind: 'application'
  readonly proposals: readonly Proposal[]
}

/** Ends the epoch; `next` are the members of the one that follows. */
export interface BarrierCommand {
  readonly kind: 'barrier'
  readonly next: Membership
}

export type Command = NopCommand | ApplicationCommand | BarrierCommand

export const nop: NopCommand = { kind: 'nop' }

export function commutes(a: AccessMode, b: AccessMode): boolean {
  return a === b && a !== 'write'
}

/** Whether two footprints share a key in modes that do not commute. */
export function footprintsConflict(a: Footprint, b: Footprint): boolean {
  if (a === 'everything' || b === 'everything') return true
  for (const one of a) {
    for (const other of b) if (one.key === other.key && !commutes(one.mode, other.mode)) return true
  }
  return false
}

/** Whether two committed commands must be executed in one order everywhere: a Nop never, a barrier always. */
export function commandsConflict(a: Command, b: Command): boolean {
  if (a.kind === 'nop' || b.kind === 'nop') return false
  if (a.kind === 'barrier' || b.kind === 'barrier') return true
  return a.proposals.some((one) => b.proposals.some((other) => footprintsConflict(one.footprint, other.footprint)))
}

function equalMembers(a: readonly ReplicaId[], b: readonly ReplicaId[]): boolean {
  return a.length === b.length && a.every((id, index) => id === b[index])
}

export function equalMembership(a: Membership, b: Membership): boolean {
  return equalMembers(a.voters, b.voters) && equalMembers(a.observers, b.observers)
}

/** Whether two values of one instance are the same command. */
export function equalCommands(a: Command, b: Command): boolean {
  if (a === b) return true
  if (a.kind === 'barrier' && b.kind === 'barrier') return equalMembership(a.next, b.next)
  if (a.kind === 'application' && b.kind === 'application') {
    return (
      a.proposals.length === b.proposals.length &&
      a.proposals.every((one, index) => {
        const other = b.proposals[index]
        return (
          other !== undefined &&
          one.session === other.session &&
          one.number === other.number &&
          equalBytes(one.payload, other.payload)
        )
      })
    )
  }
  return a.kind === b.kind && a.kind === 'nop'
}
