import { expect, test } from 'vitest'
import { defineMachine } from '../src/execution/define-machine.ts'
import type { AccessMode, WriteTransaction } from '../src/execution/machine.ts'
import { checkMachineContract } from './machine-contract.ts'

/** A machine of one command on one of two keys, declared with `mode`, that does what `change` says. */
function machineThat(mode: AccessMode, change: (tx: WriteTransaction, key: string, n: number) => number | null) {
  return defineMachine({
    name: 'suspect',
    version: 1,
    commands: {
      go: (tx, key: string, n: number) => ({ ok: true, value: change(tx, key, n) }),
    },
    queries: { get: (tx, key: string) => tx.get(key), size: (tx, _key: string) => tx.size },
    footprint: { go: (key) => [{ key, mode }] },
    queryFootprint: { get: (key) => [{ key, mode: 'read' }], size: () => [] },
  })
}

function check(machine: ReturnType<typeof machineThat>, query?: 'get' | 'size') {
  return checkMachineContract({
    machine,
    command: (random) => ({ name: 'go', args: [random.pick(['a', 'b']), random.integer(100)] }),
    query: query === undefined ? undefined : (random) => ({ name: query, args: [random.pick(['a', 'b'])] }),
    rounds: 50,
  })
}

function current(tx: WriteTransaction, key: string): number {
  return Number(tx.get(key) ?? 0)
}

test('passes a machine that keeps the contract, and says how much it tried', () => {
  const sums = machineThat('add', (tx, key, n) => {
    tx.set(key, current(tx, key) + n)
    return null
  })
  const report = check(sums, 'get')
  expect(report.unorderedPairs).toBe(50)
  expect(report.unrelatedQueries).toBeGreaterThan(5)
})

test('finds an add that does not commute in the state', () => {
  const last = machineThat('add', (tx, key, n) => {
    tx.set(key, n)
    return null
  })
  expect(() => check(last)).toThrow(/the state after go\("[ab]", \d+\) and go\(.* should be the same, and is not/)
})

test('finds an add that does not commute in its results', () => {
  const telling = machineThat('add', (tx, key, n) => {
    const sum = current(tx, key) + n
    tx.set(key, sum)
    return sum
  })
  expect(() => check(telling)).toThrow(/the first result of go/)
})

test('finds a command with a memory of its own', () => {
  let calls = 0
  const counting = machineThat('write', () => calls++)
  expect(() => check(counting)).toThrow(/the result of go.*, run twice, should be the same/)
})

test('finds a query that reads more than it declares', () => {
  const sets = machineThat('write', (tx, key, n) => {
    tx.set(key, n)
    return null
  })
  expect(() => check(sets, 'size')).toThrow(/the answer to size/)
})

test('does not pass when no two commands came up that need no order', () => {
  const machine = defineMachine({
    name: 'serial',
    version: 1,
    commands: { go: () => ({ ok: true, value: null }) },
    queries: {},
    footprint: { go: () => 'everything' },
  })
  expect(() => checkMachineContract({ machine, command: () => ({ name: 'go', args: [] }), rounds: 5 })).toThrow(
    /gave no two commands that need no order/,
  )
})
