import { expect, test } from 'vitest'
import { nop } from './command.ts'
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
  voter,
  write,
} from './fixtures.ts'
import type { Instance } from './instance.ts'
import type { ShortCommit } from './message.ts'
import { step } from './replica.ts'

const at = id(0, 1)
const cmd = write(1)
const initDeps = [0, 2, 0]
const deps = [0, 3, 1]
const init = { initCommand: cmd, initDeps }
const initial: ShortCommit = { type: 'ShortCommit', id: at, value: 'initial' }
const acceptedValue: ShortCommit = { type: 'ShortCommit', id: at, value: 'accepted' }

test('[CO8] after the fast path the value is the command and deps that were pre-accepted, not the deps answered', () => {
  const state = replica(3, 1, { instances: [preaccepted(at, cmd, deps, initDeps)] })
  const instance = committed(at, 0, cmd, initDeps, init)
  expect(step(state, receive(0, initial), 0)).toEqual([
    { kind: 'committed', instance, path: 'learned' },
    keep(instance),
  ])
  expect(state.log.get(at)).toEqual(instance)
})

test('[CO8] after the slow path the value is the one that was accepted at ballot 0', () => {
  const state = replica(3, 1, { instances: [accepted(at, 0, cmd, deps, init)] })
  const instance = committed(at, 0, cmd, deps, init)
  expect(step(state, receive(0, acceptedValue), 0)).toEqual([
    { kind: 'committed', instance, path: 'learned' },
    keep(instance),
  ])
})

test.each<[string, Instance]>([
  ['promised and validated', { ...promised(at, 17), ...init }],
  ['pre-accepted, promised and validated', { ...preaccepted(at, cmd, deps, initDeps), promisedBallot: 17 }],
  ['accepted at a higher ballot', accepted(at, 17, cmd, initDeps, init)],
])('[CO8] the pre-accepted value is taken whatever was promised since: %s', (_, known) => {
  const state = replica(3, 1, { instances: [known] })
  const instance = { ...committed(at, 0, cmd, initDeps, init), promisedBallot: 17 }
  expect(step(state, receive(0, initial), 0)).toEqual([
    { kind: 'committed', instance, path: 'learned' },
    keep(instance),
  ])
})

test.each<[string, Instance | null, ShortCommit]>([
  ['nothing is known', null, initial],
  ['a ballot was promised before the PreAccept came', promised(at, 17), initial],
  ['a Nop was accepted in a recovery', accepted(at, 17, nop, [0, 0, 0]), initial],
  ['nothing is known of an accepted value', null, acceptedValue],
  ['the value is only pre-accepted', preaccepted(at, cmd, deps, initDeps), acceptedValue],
  ['the value was accepted at another ballot', accepted(at, 17, cmd, deps, init), acceptedValue],
])('[CO8] what is not held is pulled from the coordinator: %s', (_, known, message) => {
  const state = replica(3, 1, { instances: known === null ? [] : [known] })
  expect(step(state, receive(0, message), 0)).toEqual([send([0], { type: 'Pull', committedUpTo: [0, 0, 0] })])
  expect(state.log.get(at)).toEqual(known ?? undefined)
})

test('[CO8] while a pull is under way no second one is sent', () => {
  const state = replica(3, 1)
  step(state, receive(0, initial), 0)
  expect(step(state, receive(0, { ...initial, id: id(0, 2) }), 0)).toEqual([])
})

test('[CO8] the coordinator answers the pull with the whole Commit', () => {
  const instance = committed(at, 0, cmd, initDeps, init)
  const state = replica(3, 0, { instances: [instance] })
  expect(step(state, receive(1, { type: 'Pull', committedUpTo: [0, 0, 0] }), 0)).toEqual([
    sync,
    send([1], {
      type: 'Pulled',
      commits: [{ type: 'Commit', id: at, ballot: 0, command: cmd, deps: initDeps }],
      more: false,
    }),
  ])
})

test('[CO8] a repeat changes nothing', () => {
  const state = replica(3, 1, { instances: [committed(at, 0, cmd, initDeps, init)] })
  expect(step(state, receive(0, initial), 0)).toEqual([])
  expect(step(state, receive(0, acceptedValue), 0)).toEqual([])
})

test('[CO8] it ends the own recovery of the instance', () => {
  const state = replica(3, 1, { instances: [preaccepted(at, cmd, initDeps)] })
  recover(state, at)
  step(state, receive(0, initial), 0)
  expect(state.attempts.size).toBe(0)
  expect(step(state, receive(2, { type: 'RecoverOk', id: at, ballot: 17, known: { phase: 'none' } }), 0)).toEqual([])
})

test('[CO8] only the coordinator may say it: another voter has not decided at ballot 0', () => {
  const state = replica(3, 1, { instances: [preaccepted(at, cmd, initDeps)] })
  expect(step(state, receive(2, initial), 0)).toEqual([
    { kind: 'refused', from: voter(2), reason: 'not-the-coordinator', message: initial },
  ])
})
