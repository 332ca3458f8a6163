// The bytes of a checkpoint: equal states have equal bytes, they come back as they went, and damaged ones are refused.
import { describe, expect, test } from 'vitest'
import { DecodeError } from '../codec/bytes.ts'
import { createRandom } from '../lib/random.ts'
import { replicaId } from '../protocol/ids.ts'
import {
  type Checkpoint,
  checkpointHash,
  decodeCheckpoint,
  encodeCheckpoint,
  type SessionRecord,
} from './checkpoint.ts'

const ann = replicaId('a'.repeat(32))
const bob = replicaId('b'.repeat(32))

const annRecord: SessionRecord = {
  openedIn: 2,
  trimmedTo: 4,
  absentEpochs: 0,
  results: new Map([
    [5, { ok: true, value: { sum: 7 } }],
    [300, { ok: false, code: 'TAKEN', by: 'bob' }],
  ]),
}
const bobRecord: SessionRecord = { openedIn: 1, trimmedTo: 0, absentEpochs: 2, results: new Map() }

const example: Checkpoint = {
  cluster: '0123456789abcdef'.repeat(2),
  machine: 'kv',
  machineVersion: 2,
  epoch: 3,
  members: { voters: [ann], observers: [] },
  executed: 305,
  sessions: new Map([
    [ann, annRecord],
    [bob, bobRecord],
  ]),
  snapshot: new Uint8Array([1, 2, 3]),
}

describe('a checkpoint', () => {
  test('comes back as it was', () => {
    expect(decodeCheckpoint(encodeCheckpoint(example))).toEqual(example)
  })

  test('has the same bytes in whatever order its sessions and results came to be', () => {
    const results = new Map([...annRecord.results].reverse())
    const sessions = new Map([
      [bob, bobRecord],
      [ann, { ...annRecord, results }],
    ])
    expect(encodeCheckpoint({ ...example, sessions })).toEqual(encodeCheckpoint(example))
  })

  test.each<[string, Partial<Checkpoint>]>([
    ['cluster', { cluster: 'f'.repeat(32) }],
    ['machine', { machine: 'kw' }],
    ['version', { machineVersion: 3 }],
    ['epoch', { epoch: 4 }],
    ['members', { members: { voters: [bob], observers: [] } }],
    ['count of commands', { executed: 306 }],
    ['sessions', { sessions: new Map([[ann, annRecord]]) }],
    ['snapshot', { snapshot: new Uint8Array([1, 2, 4]) }],
  ])('has another hash with another %s', (_, change) => {
    const hash = checkpointHash(encodeCheckpoint(example))
    expect(hash).toMatch(/^[0-9a-f]{64}$/)
    expect(checkpointHash(encodeCheckpoint({ ...example, ...change }))).not.toBe(hash)
  })

  test('keeps its snapshot when the bytes that it was read from are used again', () => {
    const bytes = encodeCheckpoint(example)
    const { snapshot } = decodeCheckpoint(bytes)
    bytes.fill(0)
    expect(snapshot).toEqual(new Uint8Array([1, 2, 3]))
  })

  test('is refused when it is cut short, continued, or of another version', () => {
    const bytes = encodeCheckpoint(example)
    for (let length = 0; length < bytes.length; length++) {
      expect(() => decodeCheckpoint(bytes.subarray(0, length)), `the first ${length} bytes`).toThrow(DecodeError)
    }
    expect(() => decodeCheckpoint(new Uint8Array([...bytes, 0]))).toThrow(DecodeError)
    const other = bytes.slice()
    other[0] = 9
    expect(() => decodeCheckpoint(other)).toThrow(/version 9/)
  })

  test('is refused with epoch 0, and with a result that is none', () => {
    expect(() => decodeCheckpoint(encodeCheckpoint({ ...example, epoch: 0 }))).toThrow(/epochs begin at 1/)
    const results = new Map([[5, { ok: true } as never]])
    const sessions = new Map([[ann, { ...annRecord, results }]])
    expect(() => decodeCheckpoint(encodeCheckpoint({ ...example, sessions }))).toThrow(/neither a value nor a refusal/)
  })

  test('with random damage is refused with nothing but a DecodeError, or is another checkpoint', () => {
    const random = createRandom(11)
    const whole = encodeCheckpoint(example)
    for (let round = 0; round < 3_000; round++) {
      const bytes = whole.slice()
      for (let left = 1 + random.integer(3); left > 0; left--) bytes[random.integer(bytes.length)] = random.integer(256)
      try {
        decodeCheckpoint(bytes)
      } catch (error) {
        if (!(error instanceof DecodeError)) expect.fail(`${Buffer.from(bytes).toString('hex')} threw ${error}`)
      }
    }
  })
})
