// What is kept on disk: an instance as a replica knows it, and the facts about the replica itself. Each record opens with
// its format's version and closes with a checksum: a record that does not decode is a lost disk, never a guess.

import type { Command } from '../protocol/command.ts'
import type { Epoch, ReplicaId, Seq } from '../protocol/ids.ts'
import type { Instance } from '../protocol/instance.ts'
import { Reader, Writer } from './bytes.ts'
import {
  readCommand,
  readDeps,
  readHex,
  readId,
  readReplicaId,
  writeCommand,
  writeDeps,
  writeHex,
  writeId,
  writeReplicaId,
} from './parts.ts'

export const RECORD_VERSION = 1

/** FNV-1a over the bytes: notices damage, not malice. */
function checksum(bytes: Uint8Array, length: number): number {
  let hash = 0x811c9dc5
  for (let at = 0; at < length; at++) hash = Math.imul(hash ^ (bytes[at] ?? 0), 0x01000193)
  return hash >>> 0
}

function seal(writer: Writer): Uint8Array {
  const body = writer.finish()
  const sum = checksum(body, body.length)
  for (let shift = 0; shift < 32; shift += 8) writer.byte((sum >>> shift) & 0xff)
  return writer.finish()
}

function open(bytes: Uint8Array): Reader {
  const reader = new Reader(bytes)
  if (bytes.length < 5) reader.fail('a record has at least 5 bytes')
  const length = bytes.length - 4
  let sum = 0
  for (let at = 3; at >= 0; at--) sum = sum * 256 + (bytes[length + at] ?? 0)
  if (sum !== checksum(bytes, length)) reader.fail('the checksum of a record is off')
  const body = new Reader(bytes.subarray(0, length))
  const version = body.byte()
  if (version !== RECORD_VERSION) body.fail(`record version ${version} is not known here, only ${RECORD_VERSION}`)
  return body
}

const writer = new Writer()

function begin(): Writer {
  writer.reset()
  writer.byte(RECORD_VERSION)
  return writer
}

const phases = ['none', 'preaccepted', 'accepted', 'committed'] as const

export function encodeInstance(instance: Instance, voters: readonly ReplicaId[]): Uint8Array {
  const out = begin()
  writeId(out, instance.id)
  const { initCommand, initDeps } = instance
  const initKnown = initCommand !== null && initDeps !== null
  // the first command is nearly always the command: written once then
  const same = instance.phase !== 'none' && instance.command === initCommand
  out.byte(phases.indexOf(instance.phase) | (initKnown ? 4 : 0) | (same ? 8 : 0))
  out.varint(instance.promisedBallot)
  if (instance.phase !== 'none') {
    out.varint(instance.acceptedBallot)
    writeCommand(out, instance.command, voters)
    writeDeps(out, instance.deps)
  }
  if (initKnown) {
    if (!same) writeCommand(out, initCommand, voters)
    writeDeps(out, initDeps)
  }
  return seal(out)
}

/** Throws DecodeError. */
export function decodeInstance(bytes: Uint8Array, voters: readonly ReplicaId[]): Instance {
  const reader = open(bytes)
  const id = readId(reader)
  const flags = reader.byte()
  const phase = phases[flags & 3] ?? 'none'
  if (flags > 15) reader.fail('an instance record has unknown flags')
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
    initDeps = readDeps(reader)
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
