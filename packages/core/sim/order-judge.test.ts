// The judges of executions and of their order: runs that must pass, and runs that must not.
import { describe, expect, it } from 'vitest'
import { ExecutionChecker, LifeRecord } from './executions.ts'
import type { Call, Command } from './history.ts'
import { judgeOrder } from './order-judge.ts'
import type { Change, Execution, Sight } from './recorded-kv.ts'

function sight(value: number | null, generation: number, adds: readonly number[] = [], key = 'k'): Sight {
  return { key, value, generation, adds }
}

function execution(tag: number, before: Sight, change: Change = 'replaces'): Execution {
  return { tag, touches: [{ before, change }], result: { ok: true, value: tag } }
}

function command(tag: number, call: number, returned: number | null, what: Command): Call {
  return { kind: 'command', client: 'c', tag, command: what, call, return: returned, result: true }
}

function set(tag: number, call: number, returned: number | null, value: number, key = 'k'): Call {
  return command(tag, call, returned, { op: 'set', key, value })
}

function add(tag: number, call: number, returned: number | null): Call {
  return command(tag, call, returned, { op: 'add', key: 'k', by: 1 })
}

function get(call: number, returned: number, ...sights: Sight[]): Call {
  return { kind: 'read', client: 'c', read: { op: 'get', key: 'k' }, call, return: returned, sights }
}

function executed(...executions: Execution[]): ExecutionChecker {
  const checker = new ExecutionChecker()
  const life = new LifeRecord('a')
  for (const one of executions) checker.executed(life, one)
  return checker
}

describe('ExecutionChecker', () => {
  it('lets every replica execute every command once, and commuting ones in any order', () => {
    const checker = executed(execution(1, sight(null, 0), 'adds'), execution(2, sight(1, 0, [1]), 'adds'))
    const other = new LifeRecord('b')
    checker.executed(other, execution(2, sight(null, 0), 'adds'))
    checker.executed(other, execution(1, sight(1, 0, [2]), 'adds'))
    expect(checker.count).toBe(4)
  })

  it('finds a command that a replica executes twice', () => {
    expect(() => executed(execution(1, sight(null, 0)), execution(1, sight(1, 1)))).toThrow('Exactly once')
  })

  it('finds two conflicting commands that two replicas execute in two orders', () => {
    const checker = executed(execution(1, sight(null, 0)), execution(2, sight(1, 1)))
    expect(() => checker.executed(new LifeRecord('b'), execution(2, sight(null, 0)))).toThrow('Order')
    expect(() => checker.executed(new LifeRecord('c'), execution(3, sight(null, 0)))).toThrow('Order')
  })

  it('finds a result that differs between two replicas', () => {
    const checker = executed(execution(1, sight(null, 0)))
    const otherwise = { ...execution(1, sight(null, 0)), result: { ok: true, value: 7 } as const }
    expect(() => checker.executed(new LifeRecord('b'), otherwise)).toThrow('Order')
  })

  it('finds a refused command that changed something', () => {
    const refused = { ...execution(1, sight(null, 0)), result: { ok: false, code: 'EXISTS' } as const }
    expect(() => executed(refused)).toThrow('Atomicity')
  })
})

describe('judgeOrder', () => {
  const two = () => executed(execution(1, sight(null, 0)), execution(2, sight(10, 1)))

  it('accepts the order in which things happened, with reads between and unknown outcomes', () => {
    const calls = [set(1, 0, 1, 10), set(2, 2, null, 20), get(2, 3, sight(10, 1)), get(4, 5, sight(20, 2))]
    expect(() => judgeOrder(calls, two())).not.toThrow()
  })

  it('refuses an order against real time', () => {
    expect(() => judgeOrder([set(1, 5, 6, 10), set(2, 2, 3, 20)], two())).toThrow('Linearizability')
  })

  it('refuses a stale read', () => {
    const calls = [set(1, 0, 1, 10), set(2, 2, 3, 20), get(4, 5, sight(10, 1))]
    expect(() => judgeOrder(calls, two())).toThrow('Linearizability')
  })

  it('refuses a read that a later one takes back', () => {
    const calls = [set(1, 0, 1, 10), set(2, 2, null, 20), get(3, 4, sight(20, 2)), get(5, 6, sight(10, 1))]
    expect(() => judgeOrder(calls, two())).toThrow('Linearizability')
  })

  it('refuses an answered command that nobody executed, and an executed one that nobody called', () => {
    expect(() => judgeOrder([set(1, 0, 1, 10), set(2, 2, 3, 20)], executed(execution(1, sight(null, 0))))).toThrow(
      'Lost',
    )
    expect(() => judgeOrder([set(1, 0, 1, 10)], two())).toThrow('Invention')
  })

  it('refuses a value that the model does not give, and an answer that it does not give', () => {
    const wrong = executed(execution(1, sight(null, 0)), execution(2, sight(11, 1)))
    expect(() => judgeOrder([set(1, 0, 1, 10), set(2, 2, 3, 20)], wrong)).toThrow('Value')
    const created = command(2, 2, 3, { op: 'create', key: 'k', value: 20 })
    expect(() => judgeOrder([set(1, 0, 1, 10), created], two())).toThrow('Result')
  })

  it('refuses two reads that each see one of two additions and not the other', () => {
    const both = executed(execution(1, sight(null, 0), 'adds'), execution(2, sight(null, 0), 'adds'))
    const calls = [add(1, 0, 9), add(2, 0, 9)]
    const one = get(1, 8, sight(1, 0, [1]))
    expect(() => judgeOrder([...calls, one], both)).not.toThrow()
    expect(() => judgeOrder([...calls, one, get(1, 8, sight(1, 0, [2]))], both)).toThrow('Linearizability')
  })

  it('refuses a read of two keys that shows the later of two commands and misses the earlier', () => {
    const both = executed(execution(1, sight(null, 0)), execution(2, sight(null, 0, [], 'l')))
    const calls = [set(1, 0, 1, 10), set(2, 2, 3, 20, 'l')]
    const half = get(0, 9, sight(null, 0), sight(20, 1, [], 'l'))
    expect(() => judgeOrder([...calls, half], both)).toThrow('Linearizability')
  })
})
