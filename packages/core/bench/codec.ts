// What encoding and decoding a message costs, ours beside lib0's encoding and JSON writing the same fields.
import { createDecoder, readUint8, readVarUint, readVarUint8Array } from 'lib0/decoding'
import { createEncoder, toUint8Array, writeUint8, writeVarUint, writeVarUint8Array } from 'lib0/encoding'
import { Reader, Writer } from '../src/codec/bytes.ts'
import { readMessage, writeMessage } from '../src/codec/message.ts'
import { replicaIdFromBytes } from '../src/protocol/ids.ts'
import type { PreAccept } from '../src/protocol/message.ts'

const voters = [1, 2, 3].map((byte) => replicaIdFromBytes(new Uint8Array(16).fill(byte)))
const payload = Uint8Array.from({ length: 48 }, (_, index) => index)
const [session] = voters
if (session === undefined) throw new Error('there are three voters')

const footprint = [{ key: 123_456_789, mode: 'write' as const }]
const command = {
  kind: 'application' as const,
  proposals: [{ session, number: 70_001, ackedUpTo: 70_000, footprint, payload }],
}
const message: PreAccept = { type: 'PreAccept', id: { row: 0, seq: 7_001 }, command, deps: [7_000, 6_990, 6_995] }

const writer = new Writer()

function ours(): Uint8Array {
  writer.reset()
  writeMessage(writer, message, voters)
  return writer.finish()
}

function lib0(): Uint8Array {
  const encoder = createEncoder()
  writeUint8(encoder, 1)
  writeVarUint(encoder, message.id.seq * 16 + message.id.row)
  writeVarUint(encoder, command.proposals.length + 1)
  for (const proposal of command.proposals) {
    writeUint8(encoder, 0)
    writeVarUint(encoder, proposal.number)
    writeVarUint(encoder, proposal.number - proposal.ackedUpTo)
    writeUint8(encoder, proposal.footprint.length)
    for (const { key } of proposal.footprint) writeVarUint(encoder, key * 4 + 1)
    writeVarUint8Array(encoder, proposal.payload)
  }
  writeUint8(encoder, message.deps.length)
  for (const seq of message.deps) writeVarUint(encoder, seq)
  return toUint8Array(encoder)
}

function readLib0(bytes: Uint8Array): number {
  const decoder = createDecoder(bytes)
  let sum = readUint8(decoder) + readVarUint(decoder)
  for (let left = readVarUint(decoder) - 1; left > 0; left--) {
    sum += readUint8(decoder) + readVarUint(decoder) + readVarUint(decoder)
    for (let accesses = readUint8(decoder); accesses > 0; accesses--) sum += readVarUint(decoder)
    sum += readVarUint8Array(decoder).slice().length
  }
  for (let left = readUint8(decoder); left > 0; left--) sum += readVarUint(decoder)
  return sum
}

const text = new TextEncoder()
const json = () => text.encode(JSON.stringify({ ...message, payload: [...payload] }))
const readJson = (bytes: Uint8Array) => JSON.parse(new TextDecoder().decode(bytes)) as unknown

export interface CodecFigure {
  readonly encodeNs: number
  readonly decodeNs: number
  readonly bytes: number
}

export function nsPerCall(action: () => unknown, calls: number): number {
  let kept: unknown
  const before = process.cpuUsage()
  for (let index = 0; index < calls; index++) kept = action()
  const { user, system } = process.cpuUsage(before)
  if (kept === undefined) throw new Error('nothing was done')
  return ((user + system) * 1_000) / calls
}

/** One round: each contender once. The first round warms up. */
export function runCodec(calls: number): Readonly<Record<string, CodecFigure>> {
  const figure = (encode: () => Uint8Array, decode: (bytes: Uint8Array) => unknown): CodecFigure => {
    const bytes = encode()
    return { encodeNs: nsPerCall(encode, calls), decodeNs: nsPerCall(() => decode(bytes), calls), bytes: bytes.length }
  }
  return {
    'PreAccept, ours': figure(ours, (bytes) => readMessage(new Reader(bytes), voters)),
    'PreAccept, lib0': figure(lib0, readLib0),
    'PreAccept, JSON': figure(json, readJson),
  }
}
