import { describe, expect, test } from 'vitest'
import { AssertionError } from '../lib/assert.ts'
import { nop } from './command.ts'
import {
  accepted,
  barrier,
  committed,
  id,
  persist,
  preaccepted,
  promised,
  receive,
  replica,
  send,
  toSelf,
  write,
} from './fixtures.ts'
import { canPropose } from './pre-accept.ts'
import { step } from './replica.ts'
import type { ReplicaState } from './state.ts'

const at = id(0, 1)
const end = barrier(3)
const zeros = [0, 0, 0]

function commit(state: ReplicaState, command: typeof end | typeof nop) {
  return step(state, receive(0, { type: 'Commit', id: at, ballot: 16, command, deps: zeros }), 0)
}

describe('who may propose', () => {
  test('[EP7] a voter that knows no barrier may', () => {
    expect(canPropose(replica(3, 1))).toBe(true)
    expect(canPropose(replica(3, 1, { instances: [preaccepted(at, write(1), zeros)] }))).toBe(true)
  })

  test('[CO1] an observer may not', () => {
    const state = replica(3, null)
    expect(canPropose(state)).toBe(false)
    expect(() => step(state, { kind: 'propose', command: write(1) }, 0)).toThrow(AssertionError)
  })

  test.each([
    ['pre-accepted', preaccepted(at, end, zeros)],
    ['accepted', accepted(at, 16, end, zeros)],
    ['committed but not executed', committed(at, 16, end, zeros)],
    ['validated', { ...promised(at, 17), initCommand: end, initDeps: zeros }],
  ])('[EP7] a voter that knows a barrier which is %s holds back what is new', (_, instance) => {
    const state = replica(3, 1, { instances: [instance] })
    expect(canPropose(state)).toBe(false)
    expect(() => step(state, { kind: 'propose', command: write(1) }, 0)).toThrow(AssertionError)
  })
})

describe('the wedge', () => {
  test('[EP7] begins with the PreAccept of a barrier, which depends on everything known', () => {
    const state = replica(3, 1, { instances: [preaccepted(id(2, 4), write(1), zeros)] })
    expect(step(state, receive(0, { type: 'PreAccept', id: at, command: end, deps: zeros }), 0)).toEqual([
      persist(preaccepted(at, end, [0, 0, 4], zeros)),
      send([0], { type: 'PreAcceptOk', id: at, deps: [0, 0, 4] }),
    ])
    expect(canPropose(state)).toBe(false)
  })

  test('[EP7] begins with the Accept or the Commit of a barrier', () => {
    const one = replica(3, 1)
    step(one, receive(0, { type: 'Accept', id: at, ballot: 0, command: end, deps: zeros }), 0)
    expect(canPropose(one)).toBe(false)
    const two = replica(3, 1)
    commit(two, end)
    expect(canPropose(two)).toBe(false)
  })

  test('[EP7] holds for the proposer of the barrier, too', () => {
    const state = replica(3, 1)
    expect(step(state, { kind: 'propose', command: end }, 0)).toEqual([
      send([0, 2], { type: 'PreAccept', id: id(1, 1), command: end, deps: zeros }),
      persist(preaccepted(id(1, 1), end, zeros)),
      toSelf(1, { type: 'PreAcceptOk', id: id(1, 1), deps: zeros }),
    ])
    expect(canPropose(state)).toBe(false)
  })

  test('[EP7] does not hold back the agreement on what others proposed', () => {
    const state = replica(3, 1, { instances: [preaccepted(at, end, zeros)] })
    const command = write(1)
    expect(step(state, receive(2, { type: 'PreAccept', id: id(2, 1), command, deps: zeros }), 0)).toEqual([
      persist(preaccepted(id(2, 1), command, [1, 0, 0], zeros)),
      send([2], { type: 'PreAcceptOk', id: id(2, 1), deps: [1, 0, 0] }),
    ])
  })

  test('[EP7] ends when the barrier is committed as Nop', () => {
    const state = replica(3, 1, { instances: [preaccepted(at, end, zeros)] })
    commit(state, nop)
    expect(canPropose(state)).toBe(true)
  })

  test('[EP7] does not end while Nop is only accepted', () => {
    const state = replica(3, 1, { instances: [preaccepted(at, end, zeros)] })
    step(state, receive(2, { type: 'Accept', id: at, ballot: 18, command: nop, deps: zeros }), 0)
    expect(canPropose(state)).toBe(false)
  })

  test('[EP7] does not end with the commit of the barrier: the epoch does, when it is executed', () => {
    const state = replica(3, 1, { instances: [preaccepted(at, end, zeros)] })
    commit(state, end)
    expect(canPropose(state)).toBe(false)
  })

  test('[EP7] ends only when all known barriers are Nop', () => {
    const state = replica(3, 1, { instances: [preaccepted(at, end, zeros), preaccepted(id(2, 1), end, zeros)] })
    commit(state, nop)
    expect(canPropose(state)).toBe(false)
    step(state, receive(2, { type: 'Commit', id: id(2, 1), ballot: 18, command: nop, deps: zeros }), 0)
    expect(canPropose(state)).toBe(true)
  })
})
