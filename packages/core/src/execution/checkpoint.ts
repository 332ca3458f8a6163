// The durable cut between two epochs, as bytes that are the same at every replica (docs/protocol.md, section 8): the next
// members, the state machine's snapshot, and the sessions that make proposals exactly-once.
import { Reader, UnknownVersionError, Writer } from '../codec/bytes.ts'
import { readHex, readMembership, readReplicaId, writeHex, writeMembership, writeReplicaId } from '../codec/parts.ts'
import { readValue, writeValue } from '../codec/value.ts'
import { sha256Hex } from '../lib/sha256.ts'
import type { Membership } from '../protocol/command.ts'
import type { Epoch, ReplicaId } from '../protocol/ids.ts'
import type { CommandResult } from './machine.ts'

const CHECKPOINT_VERSION = 2

/** What one replica's session did so far. */
export interface SessionRecord {
  /** The epoch at whose start the session was opened: a replica that was forgotten and came back has another session. */
  readonly openedIn: Epoch
  /** Numbers up to here are over: executed or given up, their results forgotten. */
  readonly trimmedTo: number
  /** Results by number, above trimmedTo. */
  readonly results: ReadonlyMap<number, CommandResult>
  /** Epochs in a row for which its replica has been no member. */
  readonly absentEpochs: number
}

export interface Checkpoint {
  /** Names the founding of the partition: 32 hex digits. */
  readonly cluster: string
  readonly machine: string
  readonly machineVersion: number
  /** The epoch that starts here. */
  readonly epoch: Epoch
  readonly members: Membership
  /** Commands executed since the founding. */
  readonly executed: number
  readonly sessions: ReadonlyMap<ReplicaId, SessionRecord>
  /** The state machine's canonical bytes. */
  readonly snapshot: Uint8Array
}

export function encodeCheckpoint(checkpoint: Checkpoint): Uint8Array {
  const writer = new Writer()
  writer.byte(CHECKPOINT_VERSION)
  writeHex(writer, checkpoint.cluster)
  writer.string(checkpoint.machine)
  writer.varint(checkpoint.machineVersion)
  writer.varint(checkpoint.epoch)
  writeMembership(writer, checkpoint.members)
  writer.varint(checkpoint.executed)
  writer.varint(checkpoint.sessions.size)
  for (const [id, session] of [...checkpoint.sessions].sort(([a], [b]) => (a < b ? -1 : 1))) {
    writeReplicaId(writer, id)
    writer.varint(session.openedIn)
    writer.varint(session.trimmedTo)
    writer.varint(session.absentEpochs)
    writer.varint(session.results.size)
    for (const [number, result] of [...session.results].sort(([a], [b]) => a - b)) {
      writer.varint(number)
      writeValue(writer, result)
    }
  }
  writer.bytes(checkpoint.snapshot)
  return writer.finish()
}

/** Throws DecodeError. */
export function decodeCheckpoint(bytes: Uint8Array): Checkpoint {
  const reader = new Reader(bytes)
  const version = reader.byte()
  if (version !== CHECKPOINT_VERSION) {
    throw new UnknownVersionError(`checkpoint version ${version} is not known here, only ${CHECKPOINT_VERSION}`, 0)
  }
  const cluster = readHex(reader, 16)
  const machine = reader.string()
  const machineVersion = reader.varint()
  const epoch = reader.varint()
  if (epoch === 0) reader.fail('epochs begin at 1')
  const members = readMembership(reader)
  const executed = reader.varint()
  const sessions = new Map<ReplicaId, SessionRecord>()
  for (let left = reader.varint(); left > 0; left--) {
    const id = readReplicaId(reader)
    const openedIn = reader.varint()
    const trimmedTo = reader.varint()
    const absentEpochs = reader.varint()
    const results = new Map<number, CommandResult>()
    for (let open = reader.varint(); open > 0; open--) {
      const number = reader.varint()
      results.set(number, readResult(reader))
    }
    sessions.set(id, { openedIn, trimmedTo, results, absentEpochs })
  }
  const snapshot = reader.bytes().slice()
  reader.end()
  return { cluster, machine, machineVersion, epoch, members, executed, sessions, snapshot }
}

function readResult(reader: Reader): CommandResult {
  const value = readValue(reader)
  if (value !== null && typeof value === 'object' && 'ok' in value) {
    const { ok } = value
    if (ok === true && 'value' in value) return value as CommandResult
    if (ok === false && 'code' in value && typeof value['code'] === 'string') return value as CommandResult
  }
  return reader.fail('a recorded result is neither a value nor a refusal')
}

/** Replicas compare this: equal states at equal cuts. */
export function checkpointHash(bytes: Uint8Array): string {
  return sha256Hex(bytes)
}
