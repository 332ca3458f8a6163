import { describe, expect, test } from 'vitest'
import { nop } from './command.ts'
import type { Refusal } from './effect.ts'
import {
  accepted,
  committed,
  id,
  observer,
  persist,
  preaccepted,
  promised,
  receive,
  replica,
  send,
  stranger,
  voter,
  write,
} from './fixtures.ts'
import type { ReplicaId, Row } from './ids.ts'
import type { InstanceMessage, Message } from './message.ts'
import { step } from './replica.ts'
import type { ReplicaState } from './state.ts'

const at = id(0, 1)
const cmd = write(1)
const deps = [0, 0, 0]

/** The message is refused, for this reason, and leaves nothing behind. */
function expectRefused(state: ReplicaState, from: Row | ReplicaId, message: Message, reason: Refusal): void {
  const sender = typeof from === 'number' ? voter(from) : from
  const size = state.log.size
  expect(step(state, receive(from, message), 0)).toEqual([{ kind: 'refused', from: sender, reason, message }])
  expect(state.log.size).toBe(size)
}

const instanceMessages: readonly InstanceMessage[] = [
  { type: 'PreAccept', id: at, command: cmd, deps },
  { type: 'PreAcceptOk', id: at, deps },
  { type: 'Accept', id: at, ballot: 0, command: cmd, deps },
  { type: 'AcceptOk', id: at, ballot: 0 },
  { type: 'Commit', id: at, ballot: 0, command: cmd, deps },
  { type: 'ShortCommit', id: at, value: 'initial' },
  { type: 'Recover', id: at, ballot: 16 },
  { type: 'RecoverOk', id: at, ballot: 17, known: { phase: 'none' } },
  { type: 'Validate', id: at, ballot: 16, command: cmd, deps },
  { type: 'ValidateOk', id: at, ballot: 17, invalidating: [] },
  { type: 'Waiting', id: at, supporters: 3 },
  { type: 'Nack', id: at, ballot: 17, promisedBallot: 18 },
]

describe('not-a-member', () => {
  test.each(instanceMessages.map((message) => [message.type, message] as const))(
    '[EP5] %s counts only from voters of the epoch',
    (_, message) => {
      expectRefused(replica(3, 1), stranger, message, 'not-a-member')
      expectRefused(replica(3, 1), observer, message, 'not-a-member')
    },
  )

  test('[EP5] an answer to a read counts only from voters of the epoch', () => {
    expectRefused(replica(3, 1), observer, { type: 'ReadIndexOk', read: 1, deps }, 'not-a-member')
  })

  test('[CO7] what was pulled counts from others only where this replica asked for it', () => {
    const message: Message = { type: 'Pulled', commits: [], more: false }
    const state = replica(3, 1)
    expectRefused(state, stranger, message, 'not-a-member')
    step(state, { kind: 'catchUp', from: stranger }, 0)
    expect(step(state, receive(stranger, message), 0)).toEqual([])
    expectRefused(state, stranger, message, 'not-a-member')
  })
})

describe('not-a-voter', () => {
  test.each(
    instanceMessages.filter(({ type }) => type !== 'Commit').map((message) => [message.type, message] as const),
  )('[CO7] an observer takes no part: %s', (_, message) => {
    expectRefused(replica(3, null), 0, message, 'not-a-voter')
  })

  test('[CO7] an observer is not asked for conflicts', () => {
    expectRefused(replica(3, null), 0, { type: 'ReadIndex', read: 1, footprint: [] }, 'not-a-voter')
  })
})

describe('not-the-coordinator', () => {
  test('[CO7] PreAccept counts only from the coordinator of its instance', () => {
    expectRefused(replica(3, 1), 2, { type: 'PreAccept', id: at, command: cmd, deps }, 'not-the-coordinator')
  })
})

describe('not-the-ballots-owner', () => {
  test.each([0, 16, 17, 33])(
    '[CO7] Accept, Recover and Validate at ballot %i do not count from the voter of row 2',
    (ballot) => {
      const messages: readonly Message[] = [
        { type: 'Accept', id: at, ballot, command: cmd, deps },
        { type: 'Validate', id: at, ballot, command: cmd, deps },
        { type: 'Recover', id: at, ballot },
      ]
      for (const message of messages) expectRefused(replica(3, 1), 2, message, 'not-the-ballots-owner')
    },
  )

  test('[CO7] ballot 0 is no ballot to recover at, not even for the coordinator', () => {
    expectRefused(replica(3, 1), 0, { type: 'Recover', id: at, ballot: 0 }, 'not-the-ballots-owner')
  })

  test('[CO7] ballot 0 is no ballot to validate at, not even for the coordinator', () => {
    const message: Message = { type: 'Validate', id: at, ballot: 0, command: cmd, deps }
    expectRefused(replica(3, 1), 0, message, 'not-the-ballots-owner')
    const known = replica(3, 1, { instances: [preaccepted(at, cmd, deps)] })
    expectRefused(known, 0, message, 'not-the-ballots-owner')
  })
})

describe('wrong-vector-length', () => {
  const short = [0, 0]
  const long = [0, 0, 0, 0]
  const withVector = (vector: readonly number[]): readonly Message[] => [
    { type: 'PreAccept', id: at, command: cmd, deps: vector },
    { type: 'PreAcceptOk', id: at, deps: vector },
    { type: 'Accept', id: at, ballot: 0, command: cmd, deps: vector },
    { type: 'Commit', id: at, ballot: 0, command: cmd, deps: vector },
    { type: 'Validate', id: at, ballot: 16, command: cmd, deps: vector },
    {
      type: 'RecoverOk',
      id: at,
      ballot: 17,
      known: { phase: 'preaccepted', command: cmd, deps: vector, initDeps: deps },
    },
    { type: 'RecoverOk', id: at, ballot: 17, known: { phase: 'preaccepted', command: cmd, deps, initDeps: vector } },
    {
      type: 'RecoverOk',
      id: at,
      ballot: 17,
      known: { phase: 'accepted', acceptedBallot: 0, command: cmd, deps: vector },
    },
    { type: 'Heartbeat', committedUpTo: vector, executed: 0 },
    { type: 'Pull', committedUpTo: vector },
    { type: 'Pulled', commits: [{ type: 'Commit', id: at, ballot: 0, command: cmd, deps: vector }], more: false },
    { type: 'ReadIndexOk', read: 1, deps: vector },
  ]

  test.each([...withVector(short), ...withVector(long)].map((message) => [message.type, message] as const))(
    '[CO7] %s with another number of entries than the epoch has voters',
    (_, message) => {
      expectRefused(replica(3, 1), 0, message, 'wrong-vector-length')
    },
  )
})

describe('unknown-row and seq-too-far-ahead', () => {
  const about = (instance: { row: number; seq: number }): readonly Message[] => [
    ...instanceMessages.filter(({ type }) => type !== 'PreAccept').map((message) => ({ ...message, id: instance })),
    { type: 'ValidateOk', id: at, ballot: 17, invalidating: [{ id: instance, committed: true }] },
    { type: 'Pulled', commits: [{ type: 'Commit', id: instance, ballot: 0, command: cmd, deps }], more: false },
  ]

  test.each(about(id(3, 1)).map((message) => [message.type, message] as const))(
    '[CO7] %s about a row that the epoch does not have',
    (_, message) => {
      expectRefused(replica(3, 1), 0, message, 'unknown-row')
    },
  )

  test.each(about(id(0, 1_000_006)).map((message) => [message.type, message] as const))(
    '[CO7] %s about a seq more than a million above what is known of its row',
    (_, message) => {
      const state = replica(3, 1, { instances: [promised(id(0, 5), 16)] })
      expectRefused(state, 0, message, 'seq-too-far-ahead')
    },
  )

  test('[CO7] a seq a million above what is known is taken', () => {
    const state = replica(3, 1, { instances: [promised(id(0, 5), 16)] })
    const far = id(0, 1_000_005)
    expect(step(state, receive(0, { type: 'PreAccept', id: far, command: cmd, deps }), 0)).toEqual([
      persist(preaccepted(far, cmd, deps)),
      send([0], { type: 'PreAcceptOk', id: far, deps }),
    ])
    expectRefused(state, 0, { type: 'PreAccept', id: id(0, 2_000_006), command: cmd, deps }, 'seq-too-far-ahead')
  })
})

describe('answers follow the record', () => {
  const known = {
    nothing: undefined,
    promise: promised(at, 32),
    preaccepted: preaccepted(at, cmd, deps),
    accepted: accepted(at, 0, cmd, deps),
    committed: committed(at, 0, cmd, deps),
  }

  test.each(Object.entries(known))(
    '[DU4] with %s on record, every answer about an instance stands after a persist or a sync',
    (_, instance) => {
      const instances = instance === undefined ? [] : [instance]
      const asked: readonly Message[] = [
        { type: 'PreAccept', id: at, command: cmd, deps },
        { type: 'Accept', id: at, ballot: 16, command: nop, deps },
        { type: 'Recover', id: at, ballot: 16 },
        { type: 'Validate', id: at, ballot: 32, command: cmd, deps },
        { type: 'Pull', committedUpTo: deps },
      ]
      let answers = 0
      for (const message of asked) {
        const kinds = step(replica(3, 1, { instances }), receive(0, message), 0).map((effect) => effect.kind)
        if (kinds.length === 0) continue
        answers++
        expect(kinds.at(-1)).toBe('send')
        expect(kinds.slice(0, -1), `answer to ${message.type}`).toEqual([expect.stringMatching(/^(persist|sync)$/)])
      }
      expect(answers).toBeGreaterThan(2)
    },
  )
})

test('the clock of a replica does not go back, whatever its inputs say', () => {
  const state = replica(3, 1)
  step(state, { kind: 'tick' }, 900)
  step(state, { kind: 'tick' }, 100)
  expect(state.now).toBe(900)
})
