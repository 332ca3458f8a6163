// Every bench once at its smallest, for what it checks besides measuring: each command answered once, one state everywhere.
import { describe, expect, test } from 'vitest'
import { bindMachine } from '../src/execution/define-machine.ts'
import { kv } from '../src/state-machines/kv.ts'
import { runMessages } from './codec-bench.ts'
import { contenders } from './core-bench.ts'
import { chain, component, runGraph } from './executor-bench.ts'
import { baseLoad, commandsOf, type Load, runLoad, type Subject } from './load.ts'
import { quartiles } from './measure.ts'
import { runRecovery } from './recovery-bench.ts'

const smallLoad: Load = { ...baseLoad, commands: 60, inFlight: 8, keys: 12 }
/** No figures here: they would say something about the machine only. */
const noCpu = () => () => 1

async function run(name: string, load: Load) {
  const subject = await contenders[name]?.(load)
  if (subject === undefined) throw new Error(`there is no contender ${name}`)
  const figure = await runLoad(subject, load, noCpu)
  await subject.close()
  return figure
}

test.each(Object.keys(contenders))('%s answers every command once and ends in one state everywhere', async (name) => {
  const { traffic } = await run(name, smallLoad)
  // two peers hear of each command, whose value alone has thirty bytes
  expect(traffic.bytes).toBeGreaterThan(60 * 2 * 30)
})

test.each([
  ['one key that all replicas write', { conflictPercent: 100 }],
  ['batches', { inFlight: 30, batchMax: 10 }],
  ['large commands', { commandBytes: 1_024 }],
  ['one proposer', { proposers: 'first' as const }],
  ['one replica', { replicas: 1 }],
  ['five replicas', { replicas: 5 }],
])('the core and the public API do so with %s', async (_, change) => {
  await run('core', { ...smallLoad, ...change })
  await run('api', { ...smallLoad, ...change })
})

test('full pipes make batches: fewer bytes a command than alone', async () => {
  const load = { ...smallLoad, inFlight: 30 }
  const alone = await run('core', load)
  const batched = await run('core', { ...load, batchMax: 10 })
  expect(batched.traffic.bytes).toBeLessThan(alone.traffic.bytes)
})

test.each([48, 1_024])('a command of %i bytes has so many once encoded', (commandBytes) => {
  const { keys, values } = commandsOf({ ...baseLoad, commandBytes })
  const machine = bindMachine(kv())
  const lengths = new Set(keys.map((key, at) => machine.prepareCommand('set', [key, values[at]]).bytes.length))
  expect([...lengths]).toEqual([commandBytes])
})

test('without conflicts no key is written by two replicas, with a hundred percent all write one', () => {
  const owners = new Map<string, Set<number>>()
  for (const [number, key] of commandsOf(baseLoad).keys.entries()) {
    owners.set(key, (owners.get(key) ?? new Set()).add(number % baseLoad.replicas))
  }
  expect([...owners.values()].every((replicas) => replicas.size === 1)).toBe(true)
  expect(new Set(commandsOf({ ...baseLoad, conflictPercent: 100 }).keys).size).toBe(1)
})

describe('the driver refuses', () => {
  const subject = (change: Partial<Subject>): Subject => {
    let executed = 0
    return {
      set: (_at, _key, _value, answered) => {
        executed++
        queueMicrotask(answered)
      },
      states: () => ['a', 'a'],
      executed: () => [executed, executed],
      takeTraffic: () => ({ frames: 0, bytes: 0 }),
      close: async () => {},
      ...change,
    }
  }

  test('nobody who plays fair', async () => {
    await expect(runLoad(subject({}), smallLoad, noCpu)).resolves.toBeDefined()
  })

  test('an answer that comes twice', async () => {
    let executed = 0
    const twice = subject({
      set: (_at, _key, _value, answered) => {
        executed++
        queueMicrotask(() => {
          answered()
          answered()
        })
      },
      executed: () => [Math.max(executed, smallLoad.commands)],
    })
    await expect(runLoad(twice, smallLoad, noCpu)).rejects.toThrow(/was answered [02] times/)
  })

  test('replicas that end in different states', async () => {
    await expect(runLoad(subject({ states: () => ['a', 'b'] }), smallLoad, noCpu)).rejects.toThrow('different states')
  })
})

test('a chain and a component are executed once each, the chain in its order', async () => {
  for (const [graph, ordered] of [
    [chain(300), true],
    [component(300), false],
  ] as const) {
    const figure = await runGraph(graph, ordered)
    expect(figure.nsPerEdge).toBeGreaterThan(0)
    expect(figure.slices).toBeGreaterThan(0)
    expect(figure.longestOwnMs).toBeLessThanOrEqual(figure.longestSliceMs)
  }
})

test('what a lost coordinator had in flight is finished by the others', async () => {
  const { executed } = await runRecovery(20)
  expect(executed).toBeGreaterThan(0)
})

test('every message is measured, with the bytes that come back as they were', () => {
  const figures = runMessages(10)
  expect(Object.keys(figures)).toContain('ShortCommit')
  expect(Object.values(figures).every(({ bytes }) => bytes > 1)).toBe(true)
})

test('quartiles lie between their neighbours', () => {
  expect(quartiles([4, 1, 3, 2])).toEqual({ low: 1.75, median: 2.5, high: 3.25 })
})
