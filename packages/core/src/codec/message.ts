// Frames on the wire. A frame is a version byte, an epoch, how far the sender's disk has come, and messages until its end. Messages of an epoch name its
// voters by row, so they can be read only with that epoch's voters at hand; frames of epoch 0 carry control messages.
// Decoding either gives the value or throws DecodeError; whether the sender may say it is for the protocol to check.
import type { ControlMessage, DiskHeard } from '../protocol/control-message.ts'
import type { Epoch, ReplicaId } from '../protocol/ids.ts'
import type { Commit, Invalidating, Message, MessageType, RecoverOk, ShortCommit } from '../protocol/message.ts'
import type { Reader, Writer } from './bytes.ts'
import {
  readCommand,
  readDeps,
  readFootprint,
  readHex,
  readId,
  readProposal,
  readReplicaId,
  writeCommand,
  writeDeps,
  writeFootprint,
  writeHex,
  writeId,
  writeProposal,
  writeReplicaId,
} from './parts.ts'

/** Changes with every change of the format: a golden test holds the bytes. */
export const WIRE_VERSION = 3

/** The epoch that marks a frame of control messages. */
export const controlEpoch: Epoch = 0

/** What stands before the messages of a frame. */
export interface FrameHead {
  /** Which epoch's messages follow. */
  readonly epoch: Epoch
  /** The sender's durable writes, all that the frame reports among them (docs/protocol.md, [DU6]). */
  readonly writes: number
}

export function writeFrameHead(writer: Writer, { epoch, writes }: FrameHead): void {
  writer.byte(WIRE_VERSION)
  writer.varint(epoch)
  writer.varint(writes)
}

export function readFrameHead(reader: Reader): FrameHead {
  const version = reader.byte()
  if (version !== WIRE_VERSION) reader.fail(`wire version ${version} is not spoken here, only ${WIRE_VERSION}`)
  const epoch = reader.varint()
  return { epoch, writes: reader.varint() }
}

const tags = {
  PreAccept: 1,
  PreAcceptOk: 2,
  Accept: 3,
  AcceptOk: 4,
  Commit: 5,
  Recover: 6,
  RecoverOk: 7,
  Validate: 8,
  ValidateOk: 9,
  Waiting: 10,
  Nack: 11,
  Heartbeat: 12,
  Pull: 13,
  Pulled: 14,
  ReadIndex: 15,
  ReadIndexOk: 16,
  ShortCommit: 17,
} as const satisfies Readonly<Record<MessageType, number>>

const committedValues = ['initial', 'accepted'] as const satisfies readonly ShortCommit['value'][]

const pulledMax = 4_096
const invalidatingMax = 65_536

export function writeMessage(writer: Writer, message: Message, voters: readonly ReplicaId[]): void {
  writer.byte(tags[message.type])
  switch (message.type) {
    case 'PreAccept':
      writeId(writer, message.id)
      writeCommand(writer, message.command, voters)
      writeDeps(writer, message.deps)
      return
    case 'PreAcceptOk':
      writeId(writer, message.id)
      writeDeps(writer, message.deps)
      return
    case 'ShortCommit':
      writeId(writer, message.id)
      writer.byte(message.value === 'initial' ? 0 : 1)
      return
    case 'Accept':
    case 'Validate':
      writeId(writer, message.id)
      writer.varint(message.ballot)
      writeCommand(writer, message.command, voters)
      writeDeps(writer, message.deps)
      return
    case 'Commit':
      writeCommit(writer, message, voters)
      return
    case 'AcceptOk':
    case 'Recover':
      writeId(writer, message.id)
      writer.varint(message.ballot)
      return
    case 'RecoverOk':
      writeId(writer, message.id)
      writer.varint(message.ballot)
      writeKnown(writer, message.known, voters)
      return
    case 'ValidateOk':
      writeId(writer, message.id)
      writer.varint(message.ballot)
      writer.varint(message.invalidating.length)
      for (const { id, committed } of message.invalidating) {
        writeId(writer, id)
        writer.byte(committed ? 1 : 0)
      }
      return
    case 'Waiting':
      writeId(writer, message.id)
      writer.varint(message.supporters)
      return
    case 'Nack':
      writeId(writer, message.id)
      writer.varint(message.ballot)
      writer.varint(message.promisedBallot)
      return
    case 'Heartbeat':
      writeDeps(writer, message.committedUpTo)
      writer.varint(message.executed)
      return
    case 'Pull':
      writeDeps(writer, message.committedUpTo)
      return
    case 'Pulled':
      writer.byte(message.more ? 1 : 0)
      writer.varint(message.commits.length)
      for (const commit of message.commits) writeCommit(writer, commit, voters)
      return
    case 'ReadIndex':
      writer.varint(message.read)
      writeFootprint(writer, message.footprint)
      return
    case 'ReadIndexOk':
      writer.varint(message.read)
      writeDeps(writer, message.deps)
      return
    default:
      message satisfies never
  }
}

export function readMessage(reader: Reader, voters: readonly ReplicaId[]): Message {
  const tag = reader.byte()
  switch (tag) {
    case tags.PreAccept: {
      const id = readId(reader)
      const command = readCommand(reader, voters)
      return { type: 'PreAccept', id, command, deps: readDeps(reader) }
    }
    case tags.PreAcceptOk: {
      const id = readId(reader)
      return { type: 'PreAcceptOk', id, deps: readDeps(reader) }
    }
    case tags.ShortCommit: {
      const id = readId(reader)
      const which = reader.byte()
      const value = committedValues[which]
      if (value === undefined) return reader.fail(`there is no committed value ${which}`)
      return { type: 'ShortCommit', id, value }
    }
    case tags.Accept: {
      const id = readId(reader)
      const ballot = reader.varint()
      const command = readCommand(reader, voters)
      return { type: 'Accept', id, ballot, command, deps: readDeps(reader) }
    }
    case tags.Validate: {
      const id = readId(reader)
      const ballot = reader.varint()
      const command = readCommand(reader, voters)
      return { type: 'Validate', id, ballot, command, deps: readDeps(reader) }
    }
    case tags.Commit:
      return readCommit(reader, voters)
    case tags.AcceptOk: {
      const id = readId(reader)
      return { type: 'AcceptOk', id, ballot: reader.varint() }
    }
    case tags.Recover: {
      const id = readId(reader)
      return { type: 'Recover', id, ballot: reader.varint() }
    }
    case tags.RecoverOk: {
      const id = readId(reader)
      const ballot = reader.varint()
      return { type: 'RecoverOk', id, ballot, known: readKnown(reader, voters) }
    }
    case tags.ValidateOk: {
      const id = readId(reader)
      const ballot = reader.varint()
      const count = readCount(reader, invalidatingMax)
      const invalidating: Invalidating[] = []
      for (let index = 0; index < count; index++) {
        const other = readId(reader)
        invalidating.push({ id: other, committed: readFlag(reader) })
      }
      return { type: 'ValidateOk', id, ballot, invalidating }
    }
    case tags.Waiting: {
      const id = readId(reader)
      return { type: 'Waiting', id, supporters: reader.varint() }
    }
    case tags.Nack: {
      const id = readId(reader)
      const ballot = reader.varint()
      return { type: 'Nack', id, ballot, promisedBallot: reader.varint() }
    }
    case tags.Heartbeat: {
      const committedUpTo = readDeps(reader)
      return { type: 'Heartbeat', committedUpTo, executed: reader.varint() }
    }
    case tags.Pull:
      return { type: 'Pull', committedUpTo: readDeps(reader) }
    case tags.Pulled: {
      const more = readFlag(reader)
      const count = readCount(reader, pulledMax)
      const commits: Commit[] = []
      for (let index = 0; index < count; index++) commits.push(readCommit(reader, voters))
      return { type: 'Pulled', commits, more }
    }
    case tags.ReadIndex: {
      const read = reader.varint()
      return { type: 'ReadIndex', read, footprint: readFootprint(reader) }
    }
    case tags.ReadIndexOk: {
      const read = reader.varint()
      return { type: 'ReadIndexOk', read, deps: readDeps(reader) }
    }
    default:
      return reader.fail(`there is no message type ${tag}`)
  }
}

function writeCommit(writer: Writer, { id, ballot, command, deps }: Commit, voters: readonly ReplicaId[]): void {
  writeId(writer, id)
  writer.varint(ballot)
  writeCommand(writer, command, voters)
  writeDeps(writer, deps)
}

function readCommit(reader: Reader, voters: readonly ReplicaId[]): Commit {
  const id = readId(reader)
  const ballot = reader.varint()
  const command = readCommand(reader, voters)
  return { type: 'Commit', id, ballot, command, deps: readDeps(reader) }
}

const phases = ['none', 'preaccepted', 'accepted', 'committed'] as const

function writeKnown(writer: Writer, known: RecoverOk['known'], voters: readonly ReplicaId[]): void {
  writer.byte(phases.indexOf(known.phase))
  if (known.phase === 'none') return
  writeCommand(writer, known.command, voters)
  writeDeps(writer, known.deps)
  if (known.phase === 'preaccepted') writeDeps(writer, known.initDeps)
  else writer.varint(known.acceptedBallot)
}

function readKnown(reader: Reader, voters: readonly ReplicaId[]): RecoverOk['known'] {
  const tag = reader.byte()
  const phase = phases[tag]
  if (phase === undefined) return reader.fail(`there is no phase ${tag}`)
  if (phase === 'none') return { phase }
  const command = readCommand(reader, voters)
  const deps = readDeps(reader)
  if (phase === 'preaccepted') return { phase, command, deps, initDeps: readDeps(reader) }
  return { phase, acceptedBallot: reader.varint(), command, deps }
}

function readFlag(reader: Reader): boolean {
  const flag = reader.byte()
  if (flag > 1) reader.fail(`a flag is 0 or 1, not ${flag}`)
  return flag === 1
}

function readCount(reader: Reader, max: number): number {
  const count = reader.varint()
  if (count > max) reader.fail(`a list of ${count} is longer than ${max}`)
  return count
}

// --- control messages ---------------------------------------------------------------------------------------------------

const controlTypes = [
  'Hello',
  'EpochEnded',
  'FetchCheckpoint',
  'CheckpointChunk',
  'MembershipRequest',
  'Forward',
  'Retired',
] as const satisfies readonly ControlMessage['type'][]

/** Members of a list of disks at most: more than an epoch has, observers included. */
const disksHeardMax = 512

export function writeDisksHeard(writer: Writer, disks: readonly DiskHeard[]): void {
  writer.varint(disks.length)
  for (const { replica, run, writes } of disks) {
    writeReplicaId(writer, replica)
    writer.varint(run)
    writer.varint(writes)
  }
}

export function readDisksHeard(reader: Reader): DiskHeard[] {
  const disks: DiskHeard[] = []
  for (let left = readCount(reader, disksHeardMax); left > 0; left--) {
    disks.push({ replica: readReplicaId(reader), run: reader.varint(), writes: reader.varint() })
  }
  return disks
}

const wantedRoles = ['none', 'observer', 'voter'] as const

export function writeControlMessage(writer: Writer, message: ControlMessage): void {
  writer.byte(controlTypes.indexOf(message.type))
  switch (message.type) {
    case 'Hello':
      writer.byte(message.cluster === null ? 0 : 1)
      if (message.cluster !== null) writeHex(writer, message.cluster)
      writer.string(message.machine)
      writer.varint(message.machineVersion)
      writer.varint(message.epoch)
      writer.byte(message.checkpointHash === null ? 0 : 1)
      if (message.checkpointHash !== null) writeHex(writer, message.checkpointHash)
      writer.byte(message.heard ? 1 : 0)
      writer.byte(message.steady ? 1 : 0)
      writer.varint(message.run)
      writer.varint(message.writesAtOpen)
      writeDisksHeard(writer, message.disksHeard)
      return
    case 'EpochEnded':
      writer.varint(message.epoch)
      return
    case 'FetchCheckpoint':
      writer.varint(message.epoch)
      writer.varint(message.offset)
      return
    case 'CheckpointChunk':
      writer.varint(message.epoch)
      writer.varint(message.offset)
      writer.varint(message.totalBytes)
      writeHex(writer, message.hash)
      writer.bytes(message.bytes)
      return
    case 'MembershipRequest':
      writer.byte(wantedRoles.indexOf(message.wanted))
      return
    case 'Forward':
      writeProposal(writer, message.proposal, [])
      return
    case 'Retired':
      writeReplicaId(writer, message.replica)
      return
    default:
      message satisfies never
  }
}

export function readControlMessage(reader: Reader): ControlMessage {
  const tag = reader.byte()
  const type = controlTypes[tag]
  switch (type) {
    case 'Hello': {
      const cluster = readFlag(reader) ? readHex(reader, 16) : null
      const machine = reader.string()
      const machineVersion = reader.varint()
      const epoch = reader.varint()
      const checkpointHash = readFlag(reader) ? readHex(reader, 32) : null
      const heard = readFlag(reader)
      const steady = readFlag(reader)
      const run = reader.varint()
      const writesAtOpen = reader.varint()
      const disksHeard = readDisksHeard(reader)
      return {
        type,
        cluster,
        machine,
        machineVersion,
        epoch,
        checkpointHash,
        heard,
        steady,
        run,
        writesAtOpen,
        disksHeard,
      }
    }
    case 'EpochEnded':
      return { type, epoch: reader.varint() }
    case 'FetchCheckpoint': {
      const epoch = reader.varint()
      return { type, epoch, offset: reader.varint() }
    }
    case 'CheckpointChunk': {
      const epoch = reader.varint()
      const offset = reader.varint()
      const totalBytes = reader.varint()
      const hash = readHex(reader, 32)
      return { type, epoch, offset, totalBytes, hash, bytes: reader.bytes() }
    }
    case 'MembershipRequest': {
      const role = reader.byte()
      const wanted = wantedRoles[role]
      if (wanted === undefined) return reader.fail(`there is no role ${role}`)
      return { type, wanted }
    }
    case 'Forward':
      return { type, proposal: readProposal(reader, []) }
    case 'Retired':
      return { type, replica: readReplicaId(reader) }
    case undefined:
      return reader.fail(`there is no control message type ${tag}`)
    default:
      return type satisfies never
  }
}
