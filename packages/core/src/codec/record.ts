// What is kept on disk: an instance as a replica knows it, and the facts about the replica itself. Each record opens with
// its format's version and closes with a checksum: a record that does not decode is a lost disk, never a guess.

import type { Command, Footprint } from '../protocol/command.ts'
import type { DiskHeard } from '../protocol/control-message.ts'
import { equalDeps } from '../protocol/deps.ts'
import type { Epoch, ReplicaId, Seq } from '../protocol/ids.ts'
import type { Instance } from '../protocol/instance.ts'
import { checksum, Reader, UnknownVersionError, Writer } from './bytes.ts'
import { readDisksHeard, writeDisksHeard } from './message.ts'
import {
  readCommand,
  readDeps,
  readFootprint,
  readHex,
  readId,
  readReplicaId,
  writeCommand,
  writeDeps,
  writeFootprint,
  writeHex,
  writeId,
  writeReplicaId,
} from './parts.ts'

export const RECORD_VERSION = 2

function seal(writer: Writer): Uint8Array {
  writer.uint32(writer.checksum())
  return writer.finish()
}

function open(bytes: Uint8Array): Reader {
  const reader = new Reader(bytes)
  if (bytes.length < 5) reader.fail('a record has at least 5 bytes')
  const length = bytes.length - 4
  let sum = 0
  for (let at = 3; at >= 0; at--) sum = sum * 256 + (bytes[length + at] ?? 0)
  if (sum !== checksum(bytes, 0, length)) reader.fail('the checksum of a record is off')
  const body = new Reader(bytes.subarray(0, length))
  const version = body.byte()
  if (version !== RECORD_VERSION) {
    throw new UnknownVersionError(`record version ${version} is not known here, only ${RECORD_VERSION}`, 0)
  }
  return body
}

const writer = new Writer()

function begin(): Writer {
  writer.reset()
  writer.byte(RECORD_VERSION)
  return writer
}

const phases = ['none', 'preaccepted', 'accepted', 'committed'] as const
const phaseTags = { none: 0, preaccepted: 1, accepted: 2, committed: 3 } as const

/**
 * The records of several instances, in order: views of one chunk of bytes, for a large allocation each would cost more
 * than the encoding.
 */
export function encodeInstances(instances: Iterable<Instance>, voters: readonly ReplicaId[]): Uint8Array[] {
  writer.reset()
  const ends: number[] = []
  for (const instance of instances) {
    const start = writer.length
    writer.byte(RECORD_VERSION)
    writeInstance(writer, instance, voters)
    writer.uint32(writer.checksum(start))
    ends.push(writer.length)
  }
  const chunk = writer.finish()
  return ends.map((end, index) => chunk.subarray(ends[index - 1] ?? 0, end))
}

export function encodeInstance(instance: Instance, voters: readonly ReplicaId[]): Uint8Array {
  const out = begin()
  writeInstance(out, instance, voters)
  return seal(out)
}

function writeInstance(out: Writer, instance: Instance, voters: readonly ReplicaId[]): void {
  writeId(out, instance.id)
  const { initCommand, initDeps } = instance
  const initKnown = initCommand !== null && initDeps !== null
  // the first command is nearly always the command, and often the deps are the first ones: written once then
  const sameCommand = instance.phase !== 'none' && instance.command === initCommand
  const sameDeps = instance.phase !== 'none' && initDeps !== null && equalDeps(instance.deps, initDeps)
  out.byte(phaseTags[instance.phase] | (initKnown ? 4 : 0) | (sameCommand ? 8 : 0) | (sameDeps ? 16 : 0))
  out.varint(instance.promisedBallot)
  if (instance.phase !== 'none') {
    out.varint(instance.acceptedBallot)
    writeCommand(out, instance.command, voters)
    writeDeps(out, instance.deps)
  }
  if (initKnown) {
    if (!sameCommand) writeCommand(out, initCommand, voters)
    if (!sameDeps) writeDeps(out, initDeps)
  }
}

/** Throws DecodeError. */
export function decodeInstance(bytes: Uint8Array, voters: readonly ReplicaId[]): Instance {
  const reader = open(bytes)
  const id = readId(reader)
  const flags = reader.byte()
  const phase = phases[flags & 3] ?? 'none'
  if (flags > 31) reader.fail('an instance record has unknown flags')
  const promisedBallot = reader.varint()
  let value: { acceptedBallot: number; command: Command; deps: readonly number[] } | undefined
  if (phase !== 'none') {
    const acceptedBallot = reader.varint()
    const command = readCommand(reader, voters)
    value = { acceptedBallot, command, deps: readDeps(reader) }
  }
  let initCommand: Command | null = null
  let initDeps: readonly number[] | null = null
  if ((flags & 4) !== 0) {
    if ((flags & 8) !== 0) initCommand = value?.command ?? reader.fail('a record repeats a command that it lacks')
    else initCommand = readCommand(reader, voters)
    if ((flags & 16) !== 0) initDeps = value?.deps ?? reader.fail('a record repeats deps that it lacks')
    else initDeps = readDeps(reader)
  }
  reader.end()
  if (phase === 'none') return { id, phase, promisedBallot, initCommand, initDeps }
  if (value === undefined) return reader.fail('a record lacks its value')
  return { id, phase, promisedBallot, initCommand, initDeps, ...value }
}

/** Who this replica is: written once, with the first state. */
export interface Identity {
  readonly self: ReplicaId
  /** Names the founding of the partition: 32 hex digits. */
  readonly cluster: string
}

export function encodeIdentity({ self, cluster }: Identity): Uint8Array {
  const out = begin()
  writeReplicaId(out, self)
  writeHex(out, cluster)
  return seal(out)
}

export function decodeIdentity(bytes: Uint8Array): Identity {
  const reader = open(bytes)
  const self = readReplicaId(reader)
  const cluster = readHex(reader, 16)
  reader.end()
  return { self, cluster }
}

/** Numbers that may have been used, so that none is used twice after a crash. */
export interface Reservation {
  readonly epoch: Epoch
  /** Seqs of the own row in this epoch. */
  readonly seq: Seq
  /** Numbers of the own session, for ever. */
  readonly sessionNumber: number
}

export function encodeReservation({ epoch, seq, sessionNumber }: Reservation): Uint8Array {
  const out = begin()
  out.varint(epoch)
  out.varint(seq)
  out.varint(sessionNumber)
  return seal(out)
}

export function decodeReservation(bytes: Uint8Array): Reservation {
  const reader = open(bytes)
  const reservation = { epoch: reader.varint(), seq: reader.varint(), sessionNumber: reader.varint() }
  reader.end()
  return reservation
}

/** What every write leaves behind, in the same transaction: how many there were, and what should be there after this one. */
export interface Seal {
  /** Writes since this replica's first, over all its runs. */
  readonly writes: number
  /** Records that are stored, the seal itself left out … */
  readonly records: number
  /** … and the sum of their digests, modulo 2^32. */
  readonly digest: number
}

export function encodeSeal({ writes, records, digest }: Seal): Uint8Array {
  const out = begin()
  out.varint(writes)
  out.varint(records)
  out.varint(digest)
  return seal(out)
}

export function decodeSeal(bytes: Uint8Array): Seal {
  const reader = open(bytes)
  const value = { writes: reader.varint(), records: reader.varint(), digest: reader.varint() }
  reader.end()
  return value
}

export function encodeDisksHeard(disks: readonly DiskHeard[]): Uint8Array {
  const out = begin()
  writeDisksHeard(out, disks)
  return seal(out)
}

export function decodeDisksHeard(bytes: Uint8Array): DiskHeard[] {
  const reader = open(bytes)
  const disks = readDisksHeard(reader)
  reader.end()
  return disks
}

/** The key that a transport gave a new replica. What is in it is the transport's business. */
export function encodeReplicaKey(key: Uint8Array): Uint8Array {
  const out = begin()
  out.bytes(key)
  return seal(out)
}

/** Throws DecodeError. */
export function decodeReplicaKey(bytes: Uint8Array): Uint8Array {
  const reader = open(bytes)
  const key = reader.bytes().slice()
  reader.end()
  return key
}

/** A command of this replica's own session that has no result yet, kept so that a restart can propose it again. */
export interface OutboxEntry {
  readonly number: number
  /** The epoch in which the session was opened that the number belongs to; 0 before it had one. */
  readonly openedIn: Epoch
  readonly footprint: Footprint
  readonly payload: Uint8Array
}

export function encodeOutboxEntry({ number, openedIn, footprint, payload }: OutboxEntry): Uint8Array {
  const out = begin()
  out.varint(number)
  out.varint(openedIn)
  writeFootprint(out, footprint)
  out.bytes(payload)
  return seal(out)
}

export function decodeOutboxEntry(bytes: Uint8Array): OutboxEntry {
  const reader = open(bytes)
  const number = reader.varint()
  const openedIn = reader.varint()
  const footprint = readFootprint(reader)
  const payload = reader.bytes().slice()
  reader.end()
  return { number, openedIn, footprint, payload }
}
