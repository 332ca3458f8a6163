import { describe, expect, test } from 'vitest'
import { type Command, nop } from './command.ts'
import {
  accepted,
  barrier,
  command,
  committed,
  id,
  persist,
  preaccepted,
  promised,
  receive,
  replica,
  send,
  sync,
  write,
} from './fixtures.ts'
import type { Instance } from './instance.ts'
import type { Invalidating, Validate } from './message.ts'
import { step } from './replica.ts'

const at = id(0, 2)
const other = id(1, 1)
const cmd = write(1)
const deps = [1, 0, 0]
const validate: Validate = { type: 'Validate', id: at, ballot: 17, command: cmd, deps }

/** What a voter that promised and knows `others` finds against the value. */
function invalidating(others: readonly Instance[], message: Validate = validate): readonly Invalidating[] {
  const state = replica(3, 2, { instances: [promised(at, 17), ...others] })
  const effects = step(state, receive(1, message), 0)
  const last = effects.at(-1)
  const found = last?.kind === 'send' && last.message.type === 'ValidateOk' ? last.message.invalidating : []
  expect(effects).toEqual([
    persist({ ...promised(at, 17), initCommand: message.command, initDeps: message.deps }),
    send([1], { type: 'ValidateOk', id: at, ballot: 17, invalidating: found }),
  ])
  return found
}

const against = (committed: boolean, at = other): Invalidating => ({ id: at, committed })

describe('which instances speak against a value', () => {
  test('[RC4] nothing known: none', () => {
    expect(invalidating([])).toEqual([])
  })

  test('[RC4] one that is committed, conflicts and does not have it in its deps', () => {
    expect(invalidating([committed(other, 0, write(1), [1, 0, 0])])).toEqual([against(true)])
  })

  test('[RC4] none that is committed and has it in its deps', () => {
    expect(invalidating([committed(other, 0, write(1), [2, 0, 0])])).toEqual([])
  })

  test('[RC4] none that is committed as Nop, whatever it was at first', () => {
    const init = { initCommand: write(1), initDeps: [0, 0, 0] }
    expect(invalidating([committed(other, 16, nop, [0, 0, 0], init)])).toEqual([])
  })

  test('[RC4] a committed one counts by its final deps, not by those that it had at first', () => {
    const final = write(1)
    const without = committed(other, 0, final, [1, 0, 0], { initCommand: final, initDeps: [2, 0, 0] })
    expect(invalidating([without])).toEqual([against(true)])
    const having = committed(other, 0, final, [2, 0, 0], { initCommand: final, initDeps: [1, 0, 0] })
    expect(invalidating([having])).toEqual([])
  })

  test('[RC4] one that is not committed, conflicts and did not have it in its first deps, whatever it has now', () => {
    expect(invalidating([preaccepted(other, write(1), [1, 0, 0])])).toEqual([against(false)])
    expect(invalidating([preaccepted(other, write(1), [2, 0, 0], [1, 0, 0])])).toEqual([against(false)])
    expect(invalidating([preaccepted(other, write(1), [2, 0, 0])])).toEqual([])
  })

  test('[RC4] one that is accepted counts by what it was at first: also where the accepted value is Nop', () => {
    const init = { initCommand: write(1), initDeps: [0, 0, 0] }
    expect(invalidating([accepted(other, 16, nop, [0, 0, 0], init)])).toEqual([against(false)])
    const harmless = { initCommand: write(1), initDeps: [2, 0, 0] }
    expect(invalidating([accepted(other, 16, write(1), [0, 0, 0], harmless)])).toEqual([])
  })

  test('[RC4] none of which only an accepted value is known, and not what it was at first', () => {
    expect(invalidating([accepted(other, 16, write(1), [0, 0, 0])])).toEqual([])
  })

  test('[RC4] one that was only validated so far', () => {
    const validated: Instance = { ...promised(other, 16), initCommand: write(1), initDeps: [0, 0, 0] }
    expect(invalidating([validated])).toEqual([against(false)])
  })

  test('[RC4] none that is in the deps of the value', () => {
    const own = [committed(id(0, 1), 0, write(1), [0, 0, 0]), preaccepted(id(1, 2), write(1), [0, 0, 0])]
    expect(invalidating(own, { ...validate, deps: [1, 2, 0] })).toEqual([])
    expect(invalidating(own, { ...validate, deps: [1, 1, 0] })).toEqual([against(false, id(1, 2))])
  })

  test.each<[string, Command, Command, boolean]>([
    ['writes of one key', write(1), write(1), true],
    ['writes of two keys', write(1), write(2), false],
    ['two adds', command('add', 1), command('add', 1), false],
    ['two reads', command('read', 1), command('read', 1), false],
    ['a read and an add', command('read', 1), command('add', 1), true],
    ['a read and a write', command('read', 1), write(1), true],
    ['a barrier and a read', barrier(3), command('read', 1), true],
    ['a read and a barrier', command('read', 1), barrier(3), true],
  ])('[RC4] only one that conflicts: %s', (_, one, two, conflict) => {
    const message = { ...validate, command: two }
    expect(invalidating([preaccepted(other, one, [0, 0, 0])], message)).toEqual(conflict ? [against(false)] : [])
    expect(invalidating([committed(other, 0, one, [0, 0, 0])], message)).toEqual(conflict ? [against(true)] : [])
  })

  test('[RC4] a later instance of the same row that does not depend on it, and never the instance itself', () => {
    const instances = [preaccepted(id(0, 3), write(1), [1, 0, 0]), preaccepted(id(2, 1), write(1), [2, 0, 0])]
    expect(invalidating(instances)).toEqual([against(false, id(0, 3))])
  })

  test('[RC4] all of them are named, by row and seq', () => {
    const instances = [
      preaccepted(id(2, 1), write(1), [0, 0, 0]),
      committed(id(1, 2), 0, write(1), [0, 0, 0]),
      preaccepted(id(1, 1), write(1), [0, 0, 0]),
    ]
    expect(invalidating(instances)).toEqual([against(false), against(true, id(1, 2)), against(false, id(2, 1))])
  })
})

describe('Validate', () => {
  test('[RC4] replaces the first command and deps; phase and deps stay', () => {
    const before = { ...preaccepted(at, cmd, [1, 0, 4], [0, 0, 4]), promisedBallot: 17 }
    const state = replica(3, 2, { instances: [before] })
    expect(step(state, receive(1, validate), 0)).toEqual([
      persist({ ...before, initCommand: cmd, initDeps: deps }),
      send([1], { type: 'ValidateOk', id: at, ballot: 17, invalidating: [] }),
    ])
  })

  test('[RC4] a repeated Validate is answered from what is known by then', () => {
    const state = replica(3, 2, { instances: [promised(at, 17)] })
    step(state, receive(1, validate), 0)
    step(state, receive(1, { type: 'PreAccept', id: other, command: write(1), deps: [1, 0, 0] }), 0)
    expect(step(state, receive(1, validate), 0)).toEqual([
      persist({ ...promised(at, 17), initCommand: cmd, initDeps: deps }),
      send([1], { type: 'ValidateOk', id: at, ballot: 17, invalidating: [against(false)] }),
    ])
  })

  test('[RC4] can not undo an Accept', () => {
    const state = replica(3, 2, { instances: [accepted(at, 17, cmd, deps)] })
    expect(step(state, receive(1, validate), 0)).toEqual([])
  })

  test('[RC4] a ballot that was not promised, because a higher one was, is refused', () => {
    const state = replica(3, 2, { instances: [promised(at, 32)] })
    expect(step(state, receive(1, validate), 0)).toEqual([
      sync,
      send([1], { type: 'Nack', id: at, ballot: 17, promisedBallot: 32 }),
    ])
  })

  test('[RC4] a ballot that was never promised is not answered', () => {
    expect(step(replica(3, 2), receive(1, validate), 0)).toEqual([])
    expect(step(replica(3, 2, { instances: [promised(at, 16)] }), receive(1, validate), 0)).toEqual([])
    expect(step(replica(3, 2, { instances: [preaccepted(at, cmd, deps)] }), receive(1, validate), 0)).toEqual([])
  })
})
