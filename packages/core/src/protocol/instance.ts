// One instance as one replica knows it: an immutable value, replaced as a whole by each step.
import type { Ballot } from './ballot.ts'
import type { Command } from './command.ts'
import type { Deps } from './deps.ts'
import type { InstanceId } from './ids.ts'

export type Phase = 'none' | 'preaccepted' | 'accepted' | 'committed'

interface Common {
  readonly id: InstanceId
  /** The highest ballot promised. A lower one is refused. */
  readonly promisedBallot: Ballot
  /** The command and deps as first heard (PreAccept) or validated; Accept does not change them. Recovery decides by them. */
  readonly initCommand: Command | null
  readonly initDeps: Deps | null
}

/** Only promised for, or validated, so far. */
export interface UnknownInstance extends Common {
  readonly phase: 'none'
}

/** With a value. */
export interface KnownInstance extends Common {
  readonly phase: 'preaccepted' | 'accepted' | 'committed'
  /** The ballot in which the value was last accepted or committed; 0 while preaccepted. */
  readonly acceptedBallot: Ballot
  readonly command: Command
  readonly deps: Deps
}

export type Instance = UnknownInstance | KnownInstance

/** A committed instance: the value is final. */
export type CommittedInstance = KnownInstance & { readonly phase: 'committed' }

export function isCommitted(instance: Instance | undefined): instance is CommittedInstance {
  return instance?.phase === 'committed'
}

/** (seq, row) as one number, for maps. */
export type InstanceKey = number

export function instanceKey(id: InstanceId): InstanceKey {
  return id.seq * 16 + id.row
}

export function instanceIdOf(key: InstanceKey): InstanceId {
  return { row: key % 16, seq: Math.floor(key / 16) }
}
