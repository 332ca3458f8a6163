// What each message costs to encode and to decode, and how many bytes it takes: three voters, numbers as they are after
// some thousand commands, 48 bytes of payload.
import { Reader, Writer } from '../src/codec/bytes.ts'
import { readMessage, writeMessage } from '../src/codec/message.ts'
import { replicaIdFromBytes } from '../src/protocol/ids.ts'
import type { Message, MessageType } from '../src/protocol/message.ts'
import { type CodecFigure, nsPerCall, runCodec } from './codec.ts'
import { quartiles } from './measure.ts'
import { type Report, whole } from './report.ts'

const voters = [1, 2, 3].map((byte) => replicaIdFromBytes(new Uint8Array(16).fill(byte)))
const [session] = voters
if (session === undefined) throw new Error('there are three voters')

const id = { row: 0, seq: 7_001 }
const ballot = 33
const deps = [7_000, 6_990, 6_995]
const footprint = [{ key: 123_456_789, mode: 'write' as const }]
const payload = Uint8Array.from({ length: 48 }, (_, index) => index)
const command = {
  kind: 'application' as const,
  proposals: [{ session, number: 70_001, ackedUpTo: 70_000, footprint, payload }],
}
const commit = { type: 'Commit' as const, id, ballot: 0, command, deps }

type MessageOf = { readonly [Type in MessageType]: Extract<Message, { readonly type: Type }> }

/** One of each: a new message does not compile until it stands here. */
const messages: MessageOf = {
  PreAccept: { type: 'PreAccept', id, command, deps },
  PreAcceptOk: { type: 'PreAcceptOk', id, deps },
  Accept: { type: 'Accept', id, ballot, command, deps },
  AcceptOk: { type: 'AcceptOk', id, ballot },
  Commit: commit,
  ShortCommit: { type: 'ShortCommit', id, value: 'initial' },
  Recover: { type: 'Recover', id, ballot },
  RecoverOk: { type: 'RecoverOk', id, ballot, known: { phase: 'preaccepted', command, deps, initDeps: deps } },
  Validate: { type: 'Validate', id, ballot, command, deps },
  ValidateOk: { type: 'ValidateOk', id, ballot, invalidating: [{ id: { row: 1, seq: 6_991 }, committed: false }] },
  Waiting: { type: 'Waiting', id, supporters: 2 },
  Nack: { type: 'Nack', id, ballot, promisedBallot: 50 },
  Heartbeat: { type: 'Heartbeat', committedUpTo: deps, executed: 20_985 },
  Pull: { type: 'Pull', committedUpTo: deps },
  Pulled: { type: 'Pulled', commits: [commit, commit], more: false },
  ReadIndex: { type: 'ReadIndex', read: 12, footprint },
  ReadIndexOk: { type: 'ReadIndexOk', read: 12, deps },
}

const writer = new Writer()

/** Checks on the way that decoding gives what was encoded. */
function runMessage(message: Message, calls: number): CodecFigure {
  const encode = () => {
    writer.reset()
    writeMessage(writer, message, voters)
    return writer.length
  }
  encode()
  const bytes = writer.finish()
  const again = readMessage(new Reader(bytes), voters)
  writer.reset()
  writeMessage(writer, again, voters)
  if (writer.finish().some((byte, at) => byte !== bytes[at])) throw new Error(`${message.type} came back as another`)
  const encodeNs = nsPerCall(encode, calls)
  const decodeNs = nsPerCall(() => readMessage(new Reader(bytes), voters), calls)
  return { encodeNs, decodeNs, bytes: bytes.length }
}

export function runMessages(calls: number): Readonly<Record<string, CodecFigure>> {
  return Object.fromEntries(Object.values(messages).map((message) => [message.type, runMessage(message, calls)]))
}

export async function benchCodec(rounds: number, calls: number): Promise<Report> {
  const run = () => ({ ...runCodec(calls), ...runMessages(calls) })
  run() // warm up
  const figures = Array.from({ length: rounds }, run)
  const median = (name: string, field: keyof CodecFigure) =>
    Math.round(quartiles(figures.map((round) => round[name]?.[field] ?? Number.NaN)).median)
  const rows = Object.keys(figures[0] ?? {}).map((name) => ({
    name,
    encodeNs: median(name, 'encodeNs'),
    decodeNs: median(name, 'decodeNs'),
    bytes: median(name, 'bytes'),
  }))
  return {
    facts: new Map(),
    tables: [
      {
        bench: 'codec',
        title:
          'Encoding and decoding. First a PreAccept in three ways, a copy of the bytes included; then each message into ' +
          `a chunk, as it is done. Medians of ${rounds} rounds of ${whole(calls)}.`,
        columns: ['message', 'encode ns', 'decode ns', 'bytes'],
        rows: rows.map((one) => [one.name, whole(one.encodeNs), whole(one.decodeNs), whole(one.bytes)]),
        data: { rounds, calls, rows },
      },
    ],
  }
}
