import { expect, test } from 'vitest'
import { AssertionError } from '../lib/assert.ts'
import { createRandom } from '../lib/random.ts'
import { committed, id, preaccepted, promised, write } from './fixtures.ts'
import type { Instance } from './instance.ts'
import { InstanceLog } from './instance-log.ts'

const cmd = write(1)
const deps = [0, 0]

test('what was put comes back, in whatever order and however far apart the seqs are, and is counted once', () => {
  for (let seed = 1; seed <= 40; seed++) {
    const random = createRandom(seed)
    const log = new InstanceLog(2)
    const expected = new Map<string, Instance>()
    for (let left = 60; left > 0; left--) {
      // near, at the edge of a hole that is filled, and far beyond it
      const seq = 1 + random.pick([random.integer(40), 1_000 + random.integer(60), random.integer(5_000), 900_000])
      const instance = promised(id(random.integer(2), seq), 17 * (61 - left))
      log.put(instance)
      expected.set(`${instance.id.row}.${seq}`, instance)
    }
    expect(log.size, `seed ${seed}`).toBe(expected.size)
    for (const instance of expected.values()) expect(log.get(instance.id), `seed ${seed}`).toBe(instance)
    const inOrder = [...expected.values()].sort((a, b) => a.id.row - b.id.row || a.id.seq - b.id.seq)
    expect([...log.all()], `seed ${seed}`).toEqual(inOrder)
    for (const row of [0, 1]) {
      const seqs = inOrder.filter((one) => one.id.row === row).map((one) => one.id.seq)
      expect(log.knownUpTo[row], `seed ${seed}`).toBe(Math.max(0, ...seqs))
    }
  }
})

test('nothing is known of a row or a seq that nobody has', () => {
  const log = new InstanceLog(2)
  log.put(promised(id(1, 3), 17))
  for (const [row, seq] of [
    [0, 1],
    [1, 1],
    [1, 4],
    [1, 0],
    [1, -1],
    [2, 1],
  ] as const) {
    expect(log.at(row, seq), `${row}.${seq}`).toBeUndefined()
  }
})

test('the committed watermark passes what was committed before the gap below it closed, also where that was large', () => {
  const log = new InstanceLog(2)
  for (let seq = 2; seq <= 3_000; seq++) log.put(committed(id(0, 3_002 - seq), 0, cmd, deps))
  expect(log.committedUpTo).toEqual([0, 0])
  log.put(preaccepted(id(0, 1), cmd, deps))
  expect(log.committedUpTo).toEqual([0, 0])
  log.put(committed(id(0, 1), 0, cmd, deps))
  expect(log.committedUpTo).toEqual([3_000, 0])
})

test('a promise that goes down, and a second committed value, are impossible states', () => {
  const log = new InstanceLog(2)
  log.put(promised(id(0, 1), 17))
  expect(() => log.put(promised(id(0, 1), 16))).toThrow(AssertionError)
  log.put(committed(id(0, 2), 0, cmd, deps))
  expect(() => log.put(committed(id(0, 2), 0, write(1), deps))).toThrow(AssertionError)
  expect(() => log.put(promised(id(0, 2), 17))).toThrow(AssertionError)
})
