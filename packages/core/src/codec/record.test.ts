// The formats on disk: records come back as they were written, their bytes are held by golden examples, and damage is noticed.
// The wire has its own test in message.test.ts.
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { createRandom } from '../lib/random.ts'
import type { Command } from '../protocol/command.ts'
import { replicaId } from '../protocol/ids.ts'
import type { Instance } from '../protocol/instance.ts'
import { DecodeError } from './bytes.ts'
import {
  decodeIdentity,
  decodeInstance,
  decodeReplicaKey,
  decodeReservation,
  encodeIdentity,
  encodeInstance,
  encodeInstances,
  encodeReplicaKey,
  encodeReservation,
  RECORD_VERSION,
} from './record.ts'

const voters = ['a', 'b', 'c'].map((digit) => replicaId(digit.repeat(32)))

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex')
}

function fromHex(text: string): Uint8Array {
  return new Uint8Array(Buffer.from(text, 'hex'))
}

const nop: Command = { kind: 'nop' }
const command: Command = {
  kind: 'application',
  proposals: [
    {
      session: replicaId('b'.repeat(32)),
      number: 300,
      ackedUpTo: 298,
      footprint: [{ key: 5, mode: 'add' }],
      payload: fromHex('0102'),
    },
  ],
}
const identity = { self: replicaId('1f'.repeat(16)), cluster: '0123456789abcdef'.repeat(2) }
const key = Uint8Array.of(1, 2, 3, 250)
const reservation = { epoch: 3, seq: 256, sessionNumber: 70_000 }

const instances: Record<string, Instance> = {
  promised: { id: { row: 0, seq: 1 }, phase: 'none', promisedBallot: 17, initCommand: null, initDeps: null },
  validated: { id: { row: 0, seq: 1 }, phase: 'none', promisedBallot: 17, initCommand: command, initDeps: [0, 1, 2] },
  preaccepted: {
    id: { row: 1, seq: 300 },
    phase: 'preaccepted',
    promisedBallot: 0,
    acceptedBallot: 0,
    command,
    deps: [1, 299, 4],
    initCommand: command,
    initDeps: [0, 299, 4],
  },
  accepted: {
    id: { row: 2, seq: 5 },
    phase: 'accepted',
    promisedBallot: 33,
    acceptedBallot: 17,
    command: nop,
    deps: [0, 0, 0],
    initCommand: command,
    initDeps: [0, 0, 4],
  },
  committed: {
    id: { row: 2, seq: 5 },
    phase: 'committed',
    promisedBallot: 0,
    acceptedBallot: 0,
    command: { kind: 'barrier', next: { voters: voters.slice(1), observers: [] } },
    deps: [1, 2, 4],
    initCommand: null,
    initDeps: null,
  },
}

/** Golden bytes change ⇒ RECORD_VERSION changes: what an older version wrote is still on people's disks. */
const golden: Record<string, string> = {
  promised: '02100011248d59c9',
  validated: '021004110201ac02020116000000020102630102193694f9',
  preaccepted: '02c1250d00000201ac020201160000000201027301ab020463ab020432efb7e4',
  accepted: '025206211100030201ac02020116000000020102430400634db5',
  committed: '02520300000102bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbcccccccccccccccccccccccccccccccc0073010204055a64fb',
  identity: '021f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f0123456789abcdef0123456789abcdeff53deaaa',
  'replica key': '0204010203fa35d1922b',
  reservation: '02038002f0a204a2ca6c31',
}

interface Example {
  readonly name: string
  readonly bytes: Uint8Array
  readonly decode: (bytes: Uint8Array) => unknown
  readonly value: unknown
}

const examples: readonly Example[] = [
  ...Object.entries(instances).map(([name, value]) => ({
    name,
    bytes: encodeInstance(value, voters),
    decode: (bytes: Uint8Array) => decodeInstance(bytes, voters),
    value,
  })),
  { name: 'identity', bytes: encodeIdentity(identity), decode: decodeIdentity, value: identity },
  { name: 'replica key', bytes: encodeReplicaKey(key), decode: decodeReplicaKey, value: key },
  { name: 'reservation', bytes: encodeReservation(reservation), decode: decodeReservation, value: reservation },
]

describe.each(examples)('a record: $name', ({ name, bytes, decode, value }) => {
  test('has the bytes that it always had, and comes back from them', () => {
    expect(hex(bytes)).toBe(golden[name])
    expect(decode(fromHex(golden[name] ?? ''))).toEqual(value)
  })

  test('is refused with any single bit flipped', () => {
    for (let bit = 0; bit < bytes.length * 8; bit++) {
      const damaged = bytes.slice()
      damaged[bit >> 3] = (damaged[bit >> 3] ?? 0) ^ (1 << (bit & 7))
      expect(() => decode(damaged), `bit ${bit}`).toThrow(DecodeError)
    }
  })

  test('is refused when cut short or continued', () => {
    for (let length = 0; length < bytes.length; length++) {
      expect(() => decode(bytes.subarray(0, length)), `the first ${length} bytes`).toThrow(DecodeError)
    }
    expect(() => decode(new Uint8Array([...bytes, 0]))).toThrow(DecodeError)
  })

  test('with an older or newer version is refused, although its checksum fits', () => {
    expect(bytes[0]).toBe(RECORD_VERSION)
    for (const version of [0, RECORD_VERSION + 1, 255]) {
      const other = bytes.slice()
      other[0] = version
      expect(() => decode(resealed(other))).toThrow(/record version/)
    }
  })
})

test('several records in one chunk are the same bytes as one by one', () => {
  const instances: Instance[] = [1, 2, 3].map((seq) => ({
    id: { row: 0, seq },
    phase: 'preaccepted',
    promisedBallot: 0,
    acceptedBallot: 0,
    command,
    deps: [seq - 1, 0, 0],
    initCommand: command,
    initDeps: [0, 0, 0],
  }))
  const together = encodeInstances(instances, voters)
  expect(together.map(hex)).toEqual(instances.map((instance) => hex(encodeInstance(instance, voters))))
  expect(encodeInstances([], voters)).toEqual([])
})

/** With the checksum that its bytes ask for: FNV-1a, little-endian. */
function resealed(record: Uint8Array): Uint8Array {
  const body = record.subarray(0, record.length - 4)
  const sum = body.reduce((hash, byte) => Math.imul(hash ^ byte, 0x01000193) >>> 0, 0x811c9dc5)
  const whole = new Uint8Array([...body, 0, 0, 0, 0])
  new DataView(whole.buffer).setUint32(body.length, sum, true)
  return whole
}

const count = fc.oneof(fc.nat(300), fc.integer({ min: 0, max: 2 ** 48 }))
const anyDeps = fc.array(count, { minLength: 1, maxLength: 9 })
const anyId = fc.record({ row: fc.nat(8), seq: fc.integer({ min: 1, max: 2 ** 49 - 1 }) })
const anyCommand = fc.constantFrom<Command>(nop, command, { kind: 'barrier', next: { voters, observers: [] } })
const anyInit = fc.oneof(
  fc.constant({ initCommand: null, initDeps: null }),
  fc.record({ initCommand: anyCommand, initDeps: anyDeps }),
)
const anyInstance: fc.Arbitrary<Instance> = fc.oneof(
  fc
    .tuple(fc.record({ id: anyId, phase: fc.constant('none' as const), promisedBallot: count }), anyInit)
    .map(([common, init]): Instance => ({ ...common, ...init })),
  fc
    .tuple(
      fc.record({
        id: anyId,
        phase: fc.constantFrom('preaccepted' as const, 'accepted' as const, 'committed' as const),
        promisedBallot: count,
        acceptedBallot: count,
        command: anyCommand,
        deps: anyDeps,
      }),
      anyInit,
    )
    .map(([known, init]): Instance => ({ ...known, ...init })),
)

describe('records', () => {
  test('of any instance come back as they were', () => {
    fc.assert(
      fc.property(anyInstance, (instance) => {
        expect(decodeInstance(encodeInstance(instance, voters), voters)).toEqual(instance)
      }),
      { seed: 3, numRuns: 300 },
    )
  })

  test('of any reservation come back as they were', () => {
    fc.assert(
      fc.property(fc.record({ epoch: count, seq: count, sessionNumber: count }), (any) => {
        expect(decodeReservation(encodeReservation(any))).toEqual(any)
      }),
      { seed: 4, numRuns: 100 },
    )
  })

  test('of one kind after another do not share bytes', () => {
    const first = encodeReservation(reservation)
    const before = hex(first)
    encodeIdentity(identity)
    expect(hex(first)).toBe(before)
  })

  test('of random bytes do nothing but throw DecodeError, even under a checksum that fits', () => {
    const random = createRandom(7)
    let refused = 0
    for (let round = 0; round < 20_000; round++) {
      const { bytes, decode } = random.pick(examples)
      const garbage = bytes.slice()
      for (let left = 1 + random.integer(4); left > 0; left--) {
        garbage[1 + random.integer(garbage.length - 1)] = random.integer(256)
      }
      try {
        decode(random.chance(0.8) ? resealed(garbage) : garbage)
      } catch (error) {
        if (!(error instanceof DecodeError)) expect.fail(`${hex(garbage)} threw ${error}`)
        refused++
      }
    }
    expect(refused).toBeGreaterThan(5_000)
  })
})
