// What the formats of messages, records and checkpoints have in common: ids, vectors, commands and what is in them.
import type { AccessMode, Command, Footprint, KeyAccess, Membership, Proposal } from '../protocol/command.ts'
import { nop } from '../protocol/command.ts'
import { type Deps, noDeps } from '../protocol/deps.ts'
import { type InstanceId, type ReplicaId, replicaId } from '../protocol/ids.ts'
import { votersMax } from '../protocol/quorum.ts'
import type { Reader, Writer } from './bytes.ts'

const hexDigits = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'))

/** Hex text as raw bytes, without a length. */
export function writeHex(writer: Writer, hex: string): void {
  for (let at = 0; at < hex.length; at += 2) writer.byte(Number.parseInt(hex.slice(at, at + 2), 16))
}

export function readHex(reader: Reader, bytes: number): string {
  let hex = ''
  for (const byte of reader.raw(bytes)) hex += hexDigits[byte]
  return hex
}

export function writeReplicaId(writer: Writer, id: ReplicaId): void {
  writeHex(writer, id)
}

export function readReplicaId(reader: Reader): ReplicaId {
  return replicaId(readHex(reader, 16))
}

/** The row in the low four bits. */
export function writeId(writer: Writer, { row, seq }: InstanceId): void {
  writer.varint(seq * 16 + row)
}

export function readId(reader: Reader): InstanceId {
  const packed = reader.varint()
  const row = packed % 16
  const seq = Math.floor(packed / 16)
  if (row >= votersMax || seq === 0) reader.fail(`${row}.${seq} names no instance`)
  return { row, seq }
}

/** The length in the low four bits of the head, above them a bit for each row that is not 0; then those rows. */
export function writeDeps(writer: Writer, deps: Deps): void {
  const { length } = deps
  let head = length
  for (let row = 0; row < length; row++) if (deps[row] !== 0) head |= 16 << row
  writer.varint(head)
  for (let row = 0; row < length; row++) {
    const seq = deps[row] ?? 0
    if (seq !== 0) writer.varint(seq)
  }
}

export function readDeps(reader: Reader): Deps {
  const head = reader.varint()
  const length = head % 16
  if (length === 0 || length > votersMax) reader.fail(`a vector has 1 to ${votersMax} entries, not ${length}`)
  if (head >= 16 << length) reader.fail(`a vector of ${length} entries has none in a later row`)
  const deps = noDeps(length)
  if (head === length) return deps
  for (let row = 0; row < length; row++) {
    if ((head & (16 << row)) === 0) continue
    const seq = reader.varint()
    if (seq === 0) reader.fail('an entry that is announced is not 0')
    deps[row] = seq
  }
  return deps
}

const modes: readonly AccessMode[] = ['read', 'write', 'add']
const modeTags: Readonly<Record<AccessMode, number>> = { read: 0, write: 1, add: 2 }
/** A footprint's length when it is everything. */
const everythingMark = 0xff
export const accessesMax = 254

export function writeFootprint(writer: Writer, footprint: Footprint): void {
  if (footprint === 'everything') {
    writer.byte(everythingMark)
    return
  }
  writer.byte(footprint.length)
  for (const { key, mode } of footprint) writer.uint32(key * 4 + modeTags[mode])
}

export function readFootprint(reader: Reader): Footprint {
  const length = reader.byte()
  if (length === everythingMark) return 'everything'
  const footprint: KeyAccess[] = []
  for (let index = 0; index < length; index++) {
    const packed = reader.uint32()
    const mode = modes[packed & 3]
    if (mode === undefined) return reader.fail('an access names no mode')
    footprint.push({ key: packed >>> 2, mode })
  }
  return footprint
}

/** A session that is no voter of the epoch is written in full after this. */
const sessionInFull = 0xff

export function writeProposal(writer: Writer, proposal: Proposal, voters: readonly ReplicaId[]): void {
  const row = voters.indexOf(proposal.session)
  if (row >= 0) {
    writer.byte(row)
  } else {
    writer.byte(sessionInFull)
    writeReplicaId(writer, proposal.session)
  }
  writer.varint(proposal.number)
  writer.varint(proposal.number - proposal.ackedUpTo)
  writeFootprint(writer, proposal.footprint)
  writer.bytes(proposal.payload)
}

export function readProposal(reader: Reader, voters: readonly ReplicaId[]): Proposal {
  const row = reader.byte()
  const session = row === sessionInFull ? readReplicaId(reader) : voters[row]
  if (session === undefined) return reader.fail(`there is no voter in row ${row}`)
  const number = reader.varint()
  const unacked = reader.varint()
  if (number === 0 || unacked === 0 || unacked > number)
    reader.fail(`${number} with ${unacked} open is no session number`)
  const footprint = readFootprint(reader)
  // a view: who reads a frame or a record owns its bytes, and nearly all of them are payloads that are kept anyway
  return { session, number, ackedUpTo: number - unacked, footprint, payload: reader.bytes() }
}

export const proposalsMax = 4_096
const observersMax = 1_024

export function writeMembership(writer: Writer, { voters, observers }: Membership): void {
  writer.varint(voters.length)
  for (const id of voters) writeReplicaId(writer, id)
  writer.varint(observers.length)
  for (const id of observers) writeReplicaId(writer, id)
}

/** Checks what protocol.md asks of member lists: 1 to 9 voters, nobody twice. */
export function readMembership(reader: Reader): Membership {
  const voters = readIds(reader, votersMax)
  const observers = readIds(reader, observersMax)
  if (voters.length === 0) reader.fail('a member list has at least one voter')
  if (new Set([...voters, ...observers]).size !== voters.length + observers.length)
    reader.fail('a member is listed twice')
  return { voters, observers }
}

function readIds(reader: Reader, max: number): ReplicaId[] {
  const count = reader.varint()
  if (count > max) reader.fail(`a member list of ${count} is longer than ${max}`)
  const ids: ReplicaId[] = []
  for (let index = 0; index < count; index++) ids.push(readReplicaId(reader))
  return ids
}

export function writeCommand(writer: Writer, command: Command, voters: readonly ReplicaId[]): void {
  switch (command.kind) {
    case 'nop':
      writer.varint(0)
      return
    case 'barrier':
      writer.varint(1)
      writeMembership(writer, command.next)
      return
    case 'application':
      writer.varint(command.proposals.length + 1)
      for (const proposal of command.proposals) writeProposal(writer, proposal, voters)
      return
    default:
      command satisfies never
  }
}

export function readCommand(reader: Reader, voters: readonly ReplicaId[]): Command {
  const head = reader.varint()
  if (head === 0) return nop
  if (head === 1) return { kind: 'barrier', next: readMembership(reader) }
  const count = head - 1
  if (count > proposalsMax) reader.fail(`${count} proposals in one command are more than ${proposalsMax}`)
  const proposals: Proposal[] = []
  for (let index = 0; index < count; index++) proposals.push(readProposal(reader, voters))
  return { kind: 'application', proposals }
}
