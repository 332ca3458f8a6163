// The wire format: every message comes back as it went, its bytes are held by golden examples, and nothing that a peer may
// send does more harm than a DecodeError. Records on disk are tested in record.test.ts.
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { createRandom } from '../lib/random.ts'
import type { Command, Footprint, Proposal } from '../protocol/command.ts'
import type { ControlMessage } from '../protocol/control-message.ts'
import { type ReplicaId, replicaId } from '../protocol/ids.ts'
import type { Commit, Message, MessageType } from '../protocol/message.ts'
import { DecodeError, Reader, Writer } from './bytes.ts'
import {
  controlEpoch,
  readControlMessage,
  readFrameHead,
  readMessage,
  WIRE_VERSION,
  writeControlMessage,
  writeFrameHead,
  writeMessage,
} from './message.ts'

function id(digit: string): ReplicaId {
  return replicaId(digit.repeat(32))
}

const voters = [id('a'), id('b'), id('c')]
const stranger = id('7')

function encode(message: Message): Uint8Array {
  const writer = new Writer()
  writeMessage(writer, message, voters)
  return writer.finish()
}

function decode(bytes: Uint8Array): Message {
  const reader = new Reader(bytes)
  const message = readMessage(reader, voters)
  reader.end()
  return message
}

function encodeControl(message: ControlMessage): Uint8Array {
  const writer = new Writer()
  writeControlMessage(writer, message)
  return writer.finish()
}

function decodeControl(bytes: Uint8Array): ControlMessage {
  const reader = new Reader(bytes)
  const message = readControlMessage(reader)
  reader.end()
  return message
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex')
}

function fromHex(text: string): Uint8Array {
  return new Uint8Array(Buffer.from(text, 'hex'))
}

// --- golden examples ------------------------------------------------------------------------------------------------

const application: Command = {
  kind: 'application',
  proposals: [
    {
      session: id('b'),
      number: 300,
      ackedUpTo: 298,
      footprint: [
        { key: 5, mode: 'read' },
        { key: 2 ** 30 - 1, mode: 'add' },
      ],
      payload: fromHex('0102'),
    },
    { session: stranger, number: 1, ackedUpTo: 0, footprint: 'everything', payload: fromHex('') },
  ],
}
const barrier: Command = { kind: 'barrier', next: { voters: [id('a'), id('d')], observers: [id('b')] } }
const deps = [0, 200, 2 ** 40]

// Golden bytes change ⇒ WIRE_VERSION changes: replicas of both versions meet in one room.
const golden: { readonly [T in MessageType]: readonly [Extract<Message, { type: T }>, string] } = {
  PreAccept: [
    { type: 'PreAccept', id: { row: 1, seq: 300 }, command: application, deps },
    '01c1250301ac02020214000000feffffff020102ff777777777777777777777777777777770101ff0063c801808080808020',
  ],
  PreAcceptOk: [{ type: 'PreAcceptOk', id: { row: 8, seq: 1 }, deps }, '021863c801808080808020'],
  Accept: [
    { type: 'Accept', id: { row: 0, seq: 7 }, ballot: 0, command: { kind: 'nop' }, deps: [0, 0, 0] },
    '0370000003',
  ],
  AcceptOk: [{ type: 'AcceptOk', id: { row: 0, seq: 7 }, ballot: 33 }, '047021'],
  Commit: [
    { type: 'Commit', id: { row: 2, seq: 9 }, ballot: 18, command: barrier, deps },
    '059201120102aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaadddddddddddddddddddddddddddddddd01bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb63c801808080808020',
  ],
  ShortCommit: [{ type: 'ShortCommit', id: { row: 2, seq: 9 }, value: 'accepted' }, '11920101'],
  Recover: [{ type: 'Recover', id: { row: 0, seq: 7 }, ballot: 33 }, '067021'],
  RecoverOk: [
    {
      type: 'RecoverOk',
      id: { row: 0, seq: 7 },
      ballot: 33,
      known: { phase: 'preaccepted', command: { kind: 'nop' }, deps, initDeps: [1, 2, 3] },
    },
    '077021010063c80180808080802073010203',
  ],
  Validate: [
    { type: 'Validate', id: { row: 0, seq: 7 }, ballot: 33, command: { kind: 'nop' }, deps },
    '0870210063c801808080808020',
  ],
  ValidateOk: [
    {
      type: 'ValidateOk',
      id: { row: 0, seq: 7 },
      ballot: 33,
      invalidating: [
        { id: { row: 1, seq: 2 }, committed: true },
        { id: { row: 2, seq: 5 }, committed: false },
      ],
    },
    '0970210221015200',
  ],
  Waiting: [{ type: 'Waiting', id: { row: 0, seq: 7 }, supporters: 3 }, '0a7003'],
  Nack: [{ type: 'Nack', id: { row: 0, seq: 7 }, ballot: 33, promisedBallot: 50 }, '0b702132'],
  Heartbeat: [{ type: 'Heartbeat', committedUpTo: [1, 2, 300], executed: 303 }, '0c730102ac02af02'],
  Pull: [{ type: 'Pull', committedUpTo: [1, 2, 300] }, '0d730102ac02'],
  Pulled: [
    {
      type: 'Pulled',
      commits: [{ type: 'Commit', id: { row: 2, seq: 9 }, ballot: 0, command: { kind: 'nop' }, deps: [1, 0, 8] }],
      more: true,
    },
    '0e010192010000530108',
  ],
  ReadIndex: [{ type: 'ReadIndex', read: 4, footprint: [{ key: 5, mode: 'read' }] }, '0f040114000000'],
  ReadIndexOk: [{ type: 'ReadIndexOk', read: 4, deps }, '100463c801808080808020'],
}

// Golden bytes change ⇒ WIRE_VERSION changes.
const goldenControl: {
  readonly [T in ControlMessage['type']]: readonly [Extract<ControlMessage, { type: T }>, string]
} = {
  Hello: [
    {
      type: 'Hello',
      cluster: '0123456789abcdef0123456789abcdef',
      machine: 'kv',
      machineVersion: 2,
      epoch: 5,
      checkpointHash: '5a'.repeat(32),
      heard: true,
      steady: false,
      run: 300,
      writesAtOpen: 17,
      disksHeard: [{ replica: stranger, run: 5, writes: 300 }],
    },
    '00010123456789abcdef0123456789abcdef026b760205015a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a0100ac0211017777777777777777777777777777777705ac02',
  ],
  EpochEnded: [{ type: 'EpochEnded', epoch: 5 }, '0105'],
  Retired: [{ type: 'Retired', replica: stranger }, '0677777777777777777777777777777777'],
  FetchCheckpoint: [{ type: 'FetchCheckpoint', epoch: 5, offset: 49_152 }, '0205808003'],
  CheckpointChunk: [
    {
      type: 'CheckpointChunk',
      epoch: 5,
      offset: 49_152,
      totalBytes: 49_155,
      hash: 'c3'.repeat(32),
      bytes: fromHex('ff0001'),
    },
    '0305808003838003c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c303ff0001',
  ],
  MembershipRequest: [{ type: 'MembershipRequest', wanted: 'voter' }, '0402'],
  Forward: [
    {
      type: 'Forward',
      proposal: {
        session: stranger,
        number: 9,
        ackedUpTo: 8,
        footprint: [{ key: 1, mode: 'write' }],
        payload: fromHex('2a'),
      },
    },
    '05ff7777777777777777777777777777777709010105000000012a',
  ],
}

const goldenList = Object.entries(golden).map(([type, [message, bytes]]) => ({
  type,
  message: message as Message,
  bytes,
}))
const goldenControlList = Object.entries(goldenControl).map(([type, [message, bytes]]) => ({
  type,
  message: message as ControlMessage,
  bytes,
}))

describe('golden bytes', () => {
  test.each(goldenList)('a $type has the bytes that it always had', ({ message, bytes }) => {
    expect(hex(encode(message))).toBe(bytes)
    expect(decode(fromHex(bytes))).toEqual(message)
  })

  test.each(goldenControlList)('a $type has the bytes that it always had', ({ message, bytes }) => {
    expect(hex(encodeControl(message))).toBe(bytes)
    expect(decodeControl(fromHex(bytes))).toEqual(message)
  })

  test('a frame opens with the version, the epoch and how far the disk of its sender has come', () => {
    const writer = new Writer()
    writeFrameHead(writer, { epoch: 300, writes: 129 })
    expect(hex(writer.finish())).toBe('03ac028101')
    expect(readFrameHead(new Reader(fromHex('03ac028101')))).toEqual({ epoch: 300, writes: 129 })
    expect(readFrameHead(new Reader(fromHex('030000')))).toEqual({ epoch: controlEpoch, writes: 0 })
  })
})

// --- round trips ----------------------------------------------------------------------------------------------------

const count = fc.oneof(fc.nat(300), fc.integer({ min: 0, max: 2 ** 48 }))
const anyId = fc.record({
  row: fc.nat(8),
  seq: fc.oneof(fc.integer({ min: 1, max: 300 }), fc.integer({ min: 1, max: 2 ** 49 - 1 })),
})
const anyDeps = fc.array(count, { minLength: 1, maxLength: 9 })
const anyReplica = fc.uint8Array({ minLength: 16, maxLength: 16 }).map((bytes) => replicaId(hex(bytes)))
const anyFootprint: fc.Arbitrary<Footprint> = fc.oneof(
  fc.constant<Footprint>('everything'),
  fc.array(fc.record({ key: fc.nat(2 ** 30 - 1), mode: fc.constantFrom('read', 'write', 'add') }), { maxLength: 5 }),
  fc.constant<Footprint>(Array.from({ length: 254 }, (_, key) => ({ key, mode: 'write' as const }))),
)
const anyProposal: fc.Arbitrary<Proposal> = fc
  .record({
    session: fc.oneof(fc.constantFrom(...voters), anyReplica),
    ackedUpTo: count,
    open: fc.integer({ min: 1, max: 20_000 }),
    footprint: anyFootprint,
    payload: fc.uint8Array({ maxLength: 20 }),
  })
  .map(({ session, ackedUpTo, open, footprint, payload }) => ({
    session,
    number: ackedUpTo + open,
    ackedUpTo,
    footprint,
    payload,
  }))
const anyCommand: fc.Arbitrary<Command> = fc.oneof(
  fc.constant<Command>({ kind: 'nop' }),
  fc.record({
    kind: fc.constant('application' as const),
    proposals: fc.array(anyProposal, { minLength: 1, maxLength: 3 }),
  }),
  fc
    .uniqueArray(anyReplica, { minLength: 1, maxLength: 12 })
    .map((ids): Command => ({ kind: 'barrier', next: { voters: ids.slice(0, 9), observers: ids.slice(9) } })),
)

function typed<T extends string>(type: T): fc.Arbitrary<T> {
  return fc.constant(type)
}

const commit: fc.Arbitrary<Commit> = fc.record({
  type: typed('Commit'),
  id: anyId,
  ballot: count,
  command: anyCommand,
  deps: anyDeps,
})

const messages: { readonly [T in MessageType]: fc.Arbitrary<Extract<Message, { type: T }>> } = {
  PreAccept: fc.record({ type: typed('PreAccept'), id: anyId, command: anyCommand, deps: anyDeps }),
  PreAcceptOk: fc.record({ type: typed('PreAcceptOk'), id: anyId, deps: anyDeps }),
  Accept: fc.record({ type: typed('Accept'), id: anyId, ballot: count, command: anyCommand, deps: anyDeps }),
  AcceptOk: fc.record({ type: typed('AcceptOk'), id: anyId, ballot: count }),
  Commit: commit,
  ShortCommit: fc.record({
    type: typed('ShortCommit'),
    id: anyId,
    value: fc.constantFrom('initial', 'accepted'),
  }),
  Recover: fc.record({ type: typed('Recover'), id: anyId, ballot: count }),
  RecoverOk: fc.record({
    type: typed('RecoverOk'),
    id: anyId,
    ballot: count,
    known: fc.oneof(
      fc.record({ phase: typed('none') }),
      fc.record({ phase: typed('preaccepted'), command: anyCommand, deps: anyDeps, initDeps: anyDeps }),
      fc.record({
        phase: fc.constantFrom('accepted' as const, 'committed' as const),
        acceptedBallot: count,
        command: anyCommand,
        deps: anyDeps,
      }),
    ),
  }),
  Validate: fc.record({ type: typed('Validate'), id: anyId, ballot: count, command: anyCommand, deps: anyDeps }),
  ValidateOk: fc.record({
    type: typed('ValidateOk'),
    id: anyId,
    ballot: count,
    invalidating: fc.array(fc.record({ id: anyId, committed: fc.boolean() }), { maxLength: 4 }),
  }),
  Waiting: fc.record({ type: typed('Waiting'), id: anyId, supporters: count }),
  Nack: fc.record({ type: typed('Nack'), id: anyId, ballot: count, promisedBallot: count }),
  Heartbeat: fc.record({ type: typed('Heartbeat'), committedUpTo: anyDeps, executed: count }),
  Pull: fc.record({ type: typed('Pull'), committedUpTo: anyDeps }),
  Pulled: fc.record({ type: typed('Pulled'), commits: fc.array(commit, { maxLength: 3 }), more: fc.boolean() }),
  ReadIndex: fc.record({ type: typed('ReadIndex'), read: count, footprint: anyFootprint }),
  ReadIndexOk: fc.record({ type: typed('ReadIndexOk'), read: count, deps: anyDeps }),
}

const anyHex = (bytes: number) => fc.uint8Array({ minLength: bytes, maxLength: bytes }).map(hex)

const controlMessages: { readonly [T in ControlMessage['type']]: fc.Arbitrary<Extract<ControlMessage, { type: T }>> } =
  {
    Hello: fc.record({
      type: typed('Hello'),
      cluster: fc.option(anyHex(16)),
      machine: fc.string({ unit: 'grapheme', maxLength: 60 }),
      machineVersion: count,
      epoch: count,
      checkpointHash: fc.option(anyHex(32)),
      heard: fc.boolean(),
      steady: fc.boolean(),
      run: count,
      writesAtOpen: count,
      disksHeard: fc.array(fc.record({ replica: anyReplica, run: count, writes: count }), { maxLength: 4 }),
    }),
    EpochEnded: fc.record({ type: typed('EpochEnded'), epoch: count }),
    Retired: fc.record({ type: typed('Retired'), replica: anyReplica }),
    FetchCheckpoint: fc.record({ type: typed('FetchCheckpoint'), epoch: count, offset: count }),
    CheckpointChunk: fc.record({
      type: typed('CheckpointChunk'),
      epoch: count,
      offset: count,
      totalBytes: count,
      hash: anyHex(32),
      bytes: fc.uint8Array({ maxLength: 300 }),
    }),
    MembershipRequest: fc.record({
      type: typed('MembershipRequest'),
      wanted: fc.constantFrom('voter', 'observer', 'none'),
    }),
    Forward: fc.record({ type: typed('Forward'), proposal: anyProposal }),
  }

describe('round trips', () => {
  test.each(Object.entries<fc.Arbitrary<Message>>(messages))('any %s comes back as it went', (_, arbitrary) => {
    fc.assert(
      fc.property(arbitrary, (message) => {
        expect(decode(encode(message))).toEqual(message)
      }),
      { numRuns: 60, seed: 1 },
    )
  })

  test.each(Object.entries<fc.Arbitrary<ControlMessage>>(controlMessages))(
    'any %s comes back as it went',
    (_, arbitrary) => {
      fc.assert(
        fc.property(arbitrary, (message) => {
          expect(decodeControl(encodeControl(message))).toEqual(message)
        }),
        { numRuns: 60, seed: 2 },
      )
    },
  )

  test('messages follow each other in a frame without anything between them', () => {
    const writer = new Writer()
    writeFrameHead(writer, { epoch: 3, writes: 4 })
    for (const { message } of goldenList) writeMessage(writer, message, voters)
    const reader = new Reader(writer.finish())
    expect(readFrameHead(reader)).toEqual({ epoch: 3, writes: 4 })
    for (const { message } of goldenList) expect(readMessage(reader, voters)).toEqual(message)
    reader.end()
  })

  test("a command's payload is a view of its frame, which belongs to who reads it: nothing is copied", () => {
    const frame = encode(golden.PreAccept[0])
    const message = decode(frame)
    const payload =
      message.type === 'PreAccept' && message.command.kind === 'application' && message.command.proposals[0]?.payload
    expect(payload && payload.buffer === frame.buffer).toBe(true)
    expect(message).toEqual(golden.PreAccept[0])
  })
})

describe('what is refused', () => {
  test.each(goldenList)('every truncation of a $type', ({ bytes }) => {
    const whole = fromHex(bytes)
    for (let length = 0; length < whole.length; length++) {
      expect(() => decode(whole.subarray(0, length)), `the first ${length} bytes`).toThrow(DecodeError)
    }
  })

  test.each(goldenControlList)('every truncation of a $type', ({ bytes }) => {
    const whole = fromHex(bytes)
    for (let length = 0; length < whole.length; length++) {
      expect(() => decodeControl(whole.subarray(0, length)), `the first ${length} bytes`).toThrow(DecodeError)
    }
  })

  test('a frame of another version', () => {
    for (let version = 0; version < 256; version++) {
      if (version === WIRE_VERSION) continue
      expect(() => readFrameHead(new Reader(new Uint8Array([version, 1])))).toThrow(DecodeError)
    }
  })

  test('a type that does not exist', () => {
    const rest = new Uint8Array(64).fill(1)
    for (const tag of [0, goldenList.length + 1, 127, 255]) {
      expect(() => decode(new Uint8Array([tag, ...rest]))).toThrow(/there is no message type/)
    }
    for (const tag of [goldenControlList.length, 127, 255]) {
      expect(() => decodeControl(new Uint8Array([tag, ...rest]))).toThrow(/there is no control message type/)
    }
  })

  test.each([
    ['a row above 8', '041900', /names no instance/],
    ['seq 0', '040100', /names no instance/],
    ['a vector without entries', '021100', /1 to 9 entries/],
    ['a vector of ten', `02110a${'00'.repeat(10)}`, /1 to 9 entries/],
    ['a vector of two with an entry in a third row', '02114207', /none in a later row/],
    ['an entry of 0 in a vector that announces it', '02111200', /not 0/],
    ['a committed value that does not exist', '111102', /no committed value 2/],
    ['a phase that does not exist', '07110004', /no phase 4/],
    ['a flag of 2', '0e0200', /0 or 1/],
    ['a session in a row without a voter', '01110203', /no voter in row 3/],
    ['a session number of 0', '011102020000', /no session number/],
    ['more open numbers than there are', '011102020102', /no session number/],
    ['an access of a mode that does not exist', '0f000103000000', /names no mode/],
    ['a member list without voters', '0111010000', /at least one voter/],
    ['a member that is listed twice', `01110101${'aa'.repeat(16)}01${'aa'.repeat(16)}`, /listed twice/],
    ['4,097 proposals in one command', `01118220${'00'.repeat(99)}`, /4097 proposals/],
    ['4,097 commits in one answer', `0e008120${'00'.repeat(99)}`, /longer than 4096/],
  ])('%s', (_, bytes, why) => {
    expect(() => decode(fromHex(bytes))).toThrow(DecodeError)
    expect(() => decode(fromHex(bytes))).toThrow(why)
  })

  test('random bytes do nothing but throw DecodeError, or are a message', () => {
    const random = createRandom(20_000)
    const samples = goldenList.map(({ bytes }) => fromHex(bytes))
    const controlSamples = goldenControlList.map(({ bytes }) => fromHex(bytes))
    let refused = 0
    for (let frame = 0; frame < 20_000; frame++) {
      const control = random.chance(0.3)
      let bytes: Uint8Array
      if (random.chance(0.5)) {
        bytes = Uint8Array.from({ length: random.integer(80) }, () => random.integer(256))
        if (bytes.length > 0) bytes[0] = random.integer(19)
      } else {
        bytes = random.pick(control ? controlSamples : samples).slice()
        for (let left = 1 + random.integer(3); left > 0; left--)
          bytes[random.integer(bytes.length)] = random.integer(256)
      }
      try {
        if (control) decodeControl(bytes)
        else decode(bytes)
      } catch (error) {
        if (!(error instanceof DecodeError)) expect.fail(`${hex(bytes)} threw ${error}`)
        refused++
      }
    }
    expect(refused).toBeGreaterThan(10_000)
  })
})
