import { expect, test } from 'vitest'
import { AssertionError } from '../lib/assert.ts'
import { nop } from './command.ts'
import type { Effect } from './effect.ts'
import {
  accepted,
  committed,
  id,
  keep,
  preaccepted,
  promised,
  receive,
  recover,
  replica,
  send,
  sync,
  write,
} from './fixtures.ts'
import type { CommittedInstance, Instance } from './instance.ts'
import type { Commit, Message } from './message.ts'
import { step } from './replica.ts'

const at = id(0, 1)
const cmd = write(1)
const deps = [0, 2, 0]
const commit: Commit = { type: 'Commit', id: at, ballot: 0, command: cmd, deps }

function learned(instance: CommittedInstance): Effect[] {
  return [{ kind: 'committed', instance, path: 'learned' }, keep(instance)]
}

test('[CO6] a Commit is taken by a voter that knows nothing of the instance', () => {
  expect(step(replica(3, 1), receive(0, commit), 0)).toEqual(learned(committed(at, 0, cmd, deps)))
})

test.each<[string, Instance]>([
  ['nothing', promised(at, 34)],
  ['a pre-accepted value', { ...preaccepted(at, cmd, [0, 0, 0]), promisedBallot: 34 }],
  ['another accepted value', accepted(at, 34, nop, [0, 0, 0])],
])('[CO6] a Commit is taken whatever was promised, over %s', (_, known) => {
  const { initCommand, initDeps } = known
  const state = replica(3, 1, { instances: [known] })
  const instance = { ...committed(at, 0, cmd, deps), promisedBallot: 34, initCommand, initDeps }
  expect(step(state, receive(0, commit), 0)).toEqual(learned(instance))
})

test('[CO6] any voter may say the Commit, not only the owner of its ballot', () => {
  const state = replica(3, 1)
  const message = { ...commit, ballot: 16 }
  expect(step(state, receive(2, message), 0)).toEqual(learned(committed(at, 16, cmd, deps)))
})

test('[CO6] an observer takes a Commit', () => {
  expect(step(replica(3, null), receive(2, commit), 0)).toEqual(learned(committed(at, 0, cmd, deps)))
})

test('[CO6] a repeated Commit changes nothing, at whatever ballot', () => {
  const state = replica(3, 1, { instances: [committed(at, 0, cmd, deps)] })
  expect(step(state, receive(0, commit), 0)).toEqual([])
  expect(step(state, receive(2, { ...commit, ballot: 18 }), 0)).toEqual([])
})

test.each<[string, Commit]>([
  ['command', { ...commit, command: nop }],
  ['deps', { ...commit, deps: [0, 3, 0] }],
])('[CO6] two values committed for one instance stop the replica: another %s', (_, other) => {
  const state = replica(3, 1, { instances: [committed(at, 0, cmd, deps)] })
  expect(() => step(state, receive(2, other), 0)).toThrow(AssertionError)
})

test.each<[string, Message]>([
  ['PreAccept', { type: 'PreAccept', id: at, command: cmd, deps: [0, 0, 0] }],
  ['Accept', { type: 'Accept', id: at, ballot: 0, command: cmd, deps }],
  ['Accept at a higher ballot', { type: 'Accept', id: at, ballot: 32, command: nop, deps: [0, 0, 0] }],
  ['Recover', { type: 'Recover', id: at, ballot: 32 }],
  ['Validate', { type: 'Validate', id: at, ballot: 32, command: cmd, deps: [0, 0, 0] }],
])('[CO6] a replica that committed answers %s with the Commit, and only once that is durable', (_, message) => {
  const state = replica(3, 1, { instances: [committed(at, 17, cmd, deps)] })
  expect(step(state, receive(0, message), 0)).toEqual([sync, send([0], { ...commit, ballot: 17 })])
})

test('[CO6] a Commit ends the own attempt: answers to it change nothing any more', () => {
  const state = replica(3, 0)
  step(state, { kind: 'propose', command: cmd }, 0)
  const init = { initCommand: cmd, initDeps: [0, 0, 0] }
  const message: Commit = { ...commit, ballot: 17, command: nop, deps: [0, 0, 0] }
  expect(step(state, receive(1, message), 0)).toEqual(learned(committed(at, 17, nop, [0, 0, 0], init)))
  expect(step(state, receive(0, { type: 'PreAcceptOk', id: at, deps: [0, 0, 0] }), 0)).toEqual([])
  expect(step(state, receive(2, { type: 'PreAcceptOk', id: at, deps: [0, 0, 0] }), 0)).toEqual([])
})

test('[CO6] a Commit ends the own recovery', () => {
  const state = replica(3, 1)
  recover(state, at)
  expect(step(state, receive(2, commit), 0)).toEqual(learned({ ...committed(at, 0, cmd, deps), promisedBallot: 17 }))
  expect(step(state, receive(1, { type: 'RecoverOk', id: at, ballot: 17, known: { phase: 'none' } }), 0)).toEqual([])
  expect(step(state, receive(2, { type: 'RecoverOk', id: at, ballot: 17, known: { phase: 'none' } }), 0)).toEqual([])
})
