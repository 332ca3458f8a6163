// The judges themselves: histories that must pass, and histories that must not.
import { describe, expect, it } from 'vitest'
import { replicaId } from '../src/protocol/ids.ts'
import type { CommittedInstance } from '../src/protocol/instance.ts'
import { AgreementChecker } from './agreement.ts'
import { type HistoryEntry, judgeHistory, type Operation } from './linearizability.ts'

function entry(call: number, returned: number | null, operation: Operation, result: string | null): HistoryEntry {
  return { client: 'c', key: 'k', operation, call, return: returned, result }
}

const set = (value: number): Operation => ({ op: 'set', value })
const get: Operation = { op: 'get' }
const increment: Operation = { op: 'increment', by: 1 }

function verdict(...history: HistoryEntry[]) {
  return judgeHistory(history).get('k')
}

describe('judgeHistory', () => {
  it('lets a read see one of two overlapping writes', () => {
    const writes = [entry(0, 10, set(1_000), 'ok'), entry(5, 15, set(2_000), 'ok')]
    expect(verdict(...writes, entry(20, 21, get, '1000'))).toBe('yes')
    expect(verdict(...writes, entry(20, 21, get, '2000'))).toBe('yes')
  })

  it('refuses a read of what was overwritten before it began', () => {
    expect(verdict(entry(0, 1, set(1_000), 'ok'), entry(2, 3, set(2_000), 'ok'), entry(4, 5, get, '1000'))).toBe('no')
  })

  it('refuses a lost update: two increments with one result', () => {
    expect(verdict(entry(0, 5, increment, '1'), entry(1, 6, increment, '1'))).toBe('no')
  })

  it('refuses two reads that see two writes in two orders', () => {
    const writes = [entry(0, 9, set(1_000), 'ok'), entry(0, 9, set(2_000), 'ok')]
    expect(verdict(...writes, entry(1, 2, get, '1000'), entry(3, 4, get, '2000'), entry(5, 6, get, '1000'))).toBe('no')
  })

  it('lets a write of unknown outcome take effect late, or never', () => {
    const unknown = entry(0, null, set(1_000), null)
    expect(verdict(unknown, entry(1, 2, get, 'absent'), entry(3, 4, get, '1000'))).toBe('yes')
    expect(verdict(unknown, entry(1, 2, get, 'absent'))).toBe('yes')
    expect(verdict(unknown, entry(1, 2, get, '1000'), entry(3, 4, get, 'absent'))).toBe('no')
  })

  it('an unseen write of unknown outcome may explain a mismatch', () => {
    const swap: Operation = { op: 'compareAndSet', expected: 1_000, value: 3_000 }
    const answered = [entry(0, 1, set(1_000), 'ok'), entry(4, 5, swap, 'mismatch')]
    expect(verdict(...answered)).toBe('no')
    expect(verdict(...answered, entry(2, null, set(2_000), null))).toBe('yes')
  })
})

describe('AgreementChecker', () => {
  const session = replicaId('a'.repeat(32))
  const write = (row: number, seq: number, deps: number[], byte = 1): CommittedInstance => ({
    id: { row, seq },
    phase: 'committed',
    promisedBallot: 0,
    acceptedBallot: 0,
    command: {
      kind: 'application',
      proposals: [
        { session, number: seq, ackedUpTo: 0, footprint: [{ key: 1, mode: 'write' }], payload: Uint8Array.of(byte) },
      ],
    },
    deps,
    initCommand: null,
    initDeps: null,
  })

  it('finds two values of one instance', () => {
    const checker = new AgreementChecker()
    checker.committed(1, write(0, 1, [0, 0]), 'a')
    checker.committed(1, write(0, 1, [0, 0]), 'b')
    expect(() => checker.committed(1, write(0, 1, [0, 0], 2), 'b')).toThrow('Agreement')
    expect(() => checker.committed(1, write(0, 1, [0, 1]), 'b')).toThrow('Agreement')
  })

  it('finds two conflicting commands that do not see each other', () => {
    const checker = new AgreementChecker()
    checker.committed(1, write(0, 1, [0, 0]), 'a')
    checker.committed(1, write(1, 1, [1, 0]), 'a')
    checker.checkVisibility()
    checker.committed(1, write(1, 2, [0, 1]), 'a')
    expect(() => checker.checkVisibility()).toThrow('Visibility')
  })

  it('finds two checkpoints of one epoch that differ', () => {
    const checker = new AgreementChecker()
    checker.checkpoint(2, Uint8Array.of(1), 'a')
    expect(() => checker.checkpoint(2, Uint8Array.of(2), 'b')).toThrow('Divergence')
  })
})
