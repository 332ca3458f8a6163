// The names of things that replicas agree on: replicas, epochs, rows, instances, ballots.
import type { Brand } from '../lib/brand.ts'
import { WepaxosError } from '../lib/errors.ts'

/** One participant of one partition, for the life of its disk: 128 bits as 32 lower-case hex digits. */
export type ReplicaId = Brand<string, 'ReplicaId'>

/** A stretch of the history with one member list: 1, 2, 3, … */
export type Epoch = number

/** A voter's place in its epoch's member list, and so the row of the instances that it coordinates: 0 … 8. */
export type Row = number

/** A slot's number within its row: 1, 2, 3, … without gaps. */
export type Seq = number

/** One slot for one command, within an epoch that the context says. `row` is its coordinator. */
export interface InstanceId {
  readonly row: Row
  readonly seq: Seq
}

const replicaIdPattern = /^[0-9a-f]{32}$/

/** Checks and brands a replica id. Throws InvalidArgument. */
export function replicaId(text: string): ReplicaId {
  if (!replicaIdPattern.test(text)) {
    throw new WepaxosError('InvalidArgument', `a replica id is 32 lower-case hex digits, not ${JSON.stringify(text)}`)
  }
  return text as ReplicaId
}

/** The id that 16 random (or derived) bytes stand for. */
export function replicaIdFromBytes(bytes: Uint8Array): ReplicaId {
  return replicaId(Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join(''))
}

export function formatInstanceId(id: InstanceId): string {
  return `${id.row}.${id.seq}`
}
