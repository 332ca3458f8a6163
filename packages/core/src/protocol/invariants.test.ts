// For each assertion of invariants.ts a state that it must not let pass, and states that all of them let pass.
import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import type { Footprint } from './command.ts'
import { nop } from './command.ts'
import { ConflictIndex } from './conflict-index.ts'
import type { Deps } from './deps.ts'
import {
  accepted,
  barrier,
  committed,
  id,
  preaccepted,
  promised,
  receive,
  recover,
  replica,
  stranger,
  touching,
  voter,
  write,
} from './fixtures.ts'
import { instanceKey } from './instance.ts'
import { InstanceLog } from './instance-log.ts'
import { checkInvariants } from './invariants.ts'
import type { RecoverOk } from './message.ts'
import { step } from './replica.ts'
import {
  type Accepting,
  type Attempt,
  learn,
  type PreAccepting,
  type Recovering,
  type ReplicaState,
  type Validating,
  type WaitingForOthers,
} from './state.ts'

const command = write(1)
const other = write(1)
const none = [0, 0, 0]
/** Of replica 1, and one that replica 0 coordinates. */
const theirs = id(1, 1)
const own = id(0, 1)
/** The first ballots of the rows above 0. */
const [ballotOf0, ballotOf1, laterBallotOf1] = [16, 17, 33]

/** Replica 0 of three, as it begins. */
function fresh(changes: Partial<ReplicaState> = {}): ReplicaState {
  return { ...replica(3, 0), ...changes }
}

function knowing(...instances: Parameters<typeof learn>[1][]): ReplicaState {
  const state = fresh()
  for (const instance of instances) learn(state, instance)
  return state
}

function attempting(state: ReplicaState, attempt: Attempt): ReplicaState {
  state.attempts.set(instanceKey(attempt.id), attempt)
  return state
}

const accepting: Accepting = {
  kind: 'accepting',
  id: theirs,
  ballot: ballotOf0,
  command,
  deps: none,
  acks: new Set([0]),
  sentAt: 0,
}
const recovering: Recovering = { kind: 'recovering', id: theirs, ballot: ballotOf0, answers: new Map(), sentAt: 0 }
const validating: Validating = {
  kind: 'validating',
  id: theirs,
  ballot: ballotOf0,
  command,
  deps: none,
  quorum: new Set([0, 2]),
  supporters: 1,
  answers: new Map(),
  startedAt: 0,
  sentAt: 0,
}
const waiting: WaitingForOthers = {
  kind: 'waiting',
  id: theirs,
  ballot: ballotOf0,
  command,
  deps: none,
  quorum: new Set([0, 2]),
  supporters: 1,
  invalidating: [id(2, 1)],
  sentAt: 0,
}

function preaccepting(changes: Partial<PreAccepting>): ReplicaState {
  const state = fresh({ nextSeq: 2 })
  learn(state, preaccepted(own, command, none))
  return attempting(state, {
    kind: 'preaccepting',
    id: own,
    ballot: 0,
    command,
    initDeps: none,
    answers: [undefined, undefined, undefined],
    refusals: new Set(),
    answered: 0,
    unchanged: 0,
    slowSince: undefined,
    sentAt: 0,
    ...changes,
  })
}

/** Recovering, with the promise that goes with it. */
function promisedAt(ballot: number): ReplicaState {
  return knowing(promised(theirs, ballot))
}

function nothingKnown(ballot: number): RecoverOk {
  return { type: 'RecoverOk', id: theirs, ballot, known: { phase: 'none' } }
}

/** A log that is wrong about itself. */
class WrongLog extends InstanceLog {
  readonly #wrong: { readonly size?: number; readonly known?: Deps; readonly committed?: Deps }

  constructor(wrong: { readonly size?: number; readonly known?: Deps; readonly committed?: Deps }) {
    super(3)
    this.#wrong = wrong
  }

  override get size(): number {
    return this.#wrong.size ?? super.size
  }

  override get knownUpTo(): readonly number[] {
    return this.#wrong.known ?? super.knownUpTo
  }

  override get committedUpTo(): readonly number[] {
    return this.#wrong.committed ?? super.committedUpTo
  }
}

/** Tells who touches everything of nothing that touches a key. */
class KeysOnly extends ConflictIndex {
  override conflictsOfFootprint(footprint: Footprint): number[] {
    return footprint === 'everything' ? [...none] : super.conflictsOfFootprint(footprint)
  }
}

function inWideLog(): ReplicaState {
  const log = new InstanceLog(4)
  log.put(promised(id(3, 1), 0))
  return fresh({ log })
}

/** In the log, and nowhere else. */
function unindexed(...instances: Parameters<typeof learn>[1][]): ReplicaState {
  const state = fresh()
  for (const instance of instances) state.log.put(instance)
  return state
}

function keysOnly(): ReplicaState {
  const state = fresh({ index: new KeysOnly(3) })
  learn(state, preaccepted(theirs, command, none))
  return state
}

function withoutItsBarrier(): ReplicaState {
  const state = knowing(preaccepted(theirs, barrier(3), none))
  state.barriers.clear()
  return state
}

function withNoteOf(note: (state: ReplicaState, key: number) => void): ReplicaState {
  const state = knowing(committed(theirs, 0, command, none))
  note(state, instanceKey(theirs))
  return state
}

function withWaiting(supporters: number): ReplicaState {
  const state = fresh()
  state.waitings.set(instanceKey(theirs), supporters)
  return state
}

function reading(answers: number): ReplicaState {
  const state = fresh()
  const rows = Array.from({ length: answers }, (_, row): [number, Deps] => [row, none])
  state.reads.set(1, { footprint: [], answers: new Map(rows), sentAt: 0 })
  return state
}

function observing(): ReplicaState {
  const state = replica(3, null)
  learn(state, promised(theirs, ballotOf0))
  return attempting(state, recovering)
}

const misplaced = fresh()
misplaced.attempts.set(instanceKey(id(2, 1)), recovering)

const badStates: readonly (readonly [assertion: string, state: ReplicaState])[] = [
  ['[CO3] quorums follow from the number of voters', fresh({ quorums: { n: 3, f: 1, e: 1, slow: 2, fast: 3 } })],
  ['[CO7] the row is its own', fresh({ row: 1 })],
  ['[CO1] the others are all voters but itself', fresh({ otherVoters: [voter(1)] })],
  ['[CO6] followers are connected, and no voters', fresh({ followers: [stranger] })],
  ['[CO6] all others that can be reached hear commits', fresh({ learners: [voter(1)] })],
  ['[CO7] what execution needs has a number a row', fresh({ needs: [0] })],
  ['[CO7] who only observes attempts nothing', observing()],
  ['[DU1] the next seq is above all own ones that are known', knowing(preaccepted(own, command, none))],
  ['[DU1] used seqs are reserved', fresh({ nextSeq: 5, reservedSeq: 3, durableSeq: 3 })],
  ['[DU1] only what was reserved is durably reserved', fresh({ reservedSeq: 32, durableSeq: 64 })],
  ['[DU3] seqs from before a restart are not used again', fresh({ restartSeq: 1 })],
  [
    '[DU3] what is proposed depends on all seqs from before a restart',
    fresh({ restartSeq: 3, nextSeq: 4, reservedSeq: 3, durableSeq: 3 }),
  ],
  ['[CO7] an instance is in a row of the epoch', inWideLog()],
  ['[CU1] the log knows how much it holds', fresh({ log: new WrongLog({ size: 1 }) })],
  ['[CU2] the log knows how far it goes', fresh({ log: new WrongLog({ known: [0, 1, 0] }) })],
  [
    '[CU1] all of row 1 is committed up to 0, no less and no more',
    fresh({ log: new WrongLog({ committed: [0, 1, 0] }) }),
  ],
  [
    '[RC4] first command and first deps come together',
    knowing({ ...preaccepted(theirs, command, none), initDeps: null }),
  ],
  ['[CO7] first deps have a number a row', knowing({ ...preaccepted(theirs, command, none), initDeps: [0] })],
  ['[CO2] nobody proposes a Nop', knowing({ ...promised(theirs, 0), initCommand: nop, initDeps: none })],
  ['[CO7] deps have a number a row', knowing({ ...preaccepted(theirs, command, none), deps: [0] })],
  [
    '[RC2] a vote is not above the promise',
    knowing({ ...accepted(theirs, ballotOf0, command, none), acceptedBallot: ballotOf1 }),
  ],
  [
    '[RC2] a pre-accept is a vote at ballot 0',
    knowing({ ...preaccepted(theirs, command, none), promisedBallot: ballotOf1, acceptedBallot: ballotOf1 }),
  ],
  ['[CO2] deps hold the first deps', knowing(preaccepted(theirs, command, none, [0, 0, 1]))],
  ['[CO2] it is the first command', knowing({ ...preaccepted(theirs, command, none), initCommand: other })],
  [
    '[CO4] an instance has its command or a Nop',
    knowing(accepted(theirs, ballotOf1, command, none, { initCommand: other, initDeps: none })),
  ],
  ['[CF2] a Nop or barrier conflicts with everything', unindexed(accepted(theirs, ballotOf1, nop, none))],
  [
    '[CF1] what touches everything conflicts with everything',
    unindexed(preaccepted(theirs, touching('everything'), none)),
  ],
  ['[CF1] who writes a key hears who touches it', unindexed(preaccepted(theirs, command, none))],
  ['[CF1] a barrier hears of everything', keysOnly()],
  ['[EP7] a barrier that is not decided otherwise is in the way', withoutItsBarrier()],
  [
    '[EP7] what was decided to be no barrier is not in the way',
    withNoteOf((state, key) => {
      state.barriers.add(key)
    }),
  ],
  ['[CO7] an attempt stands under its own instance', misplaced],
  [
    '[CO6] nothing is attempted for what is committed',
    attempting(knowing(committed(theirs, ballotOf0, command, none)), recovering),
  ],
  ['[CO7] an attempt has a ballot of its own', attempting(promisedAt(ballotOf1), { ...recovering, ballot: ballotOf1 })],
  ['[RC1] an attempt is recorded', attempting(fresh(), recovering)],
  ['[CO4] a proposer has promised its own ballot', attempting(promisedAt(0), accepting)],
  [
    '[CO5] a quorum commits',
    attempting(knowing(accepted(theirs, ballotOf0, command, none)), { ...accepting, acks: new Set([0, 2]) }),
  ],
  [
    '[CO4] one ballot carries one value',
    attempting(knowing(accepted(theirs, ballotOf0, command, none)), { ...accepting, deps: [0, 0, 1] }),
  ],
  ['[RC1] an attempt that a promise forbids is over', attempting(promisedAt(laterBallotOf1), recovering)],
  [
    '[RC4] what is accepted is not validated',
    attempting(knowing(accepted(theirs, ballotOf0, command, none)), validating),
  ],
  [
    '[CO1] a coordinator proposes at ballot 0',
    (() => {
      const state = preaccepting({})
      const attempt = state.attempts.get(instanceKey(own))
      if (attempt !== undefined) Object.assign<Attempt, object>(attempt, { ballot: ballotOf0 })
      learn(state, { ...preaccepted(own, command, none), promisedBallot: ballotOf0 })
      return state
    })(),
  ],
  ['[CO3] answers are counted', preaccepting({ answered: 1 })],
  [
    '[CO3] unchanged answers are counted',
    preaccepting({ answers: [undefined, [0, 0, 1], undefined], answered: 1, unchanged: 1 }),
  ],
  ['[CO3] a fast quorum commits', preaccepting({ answers: [none, none, undefined], answered: 2, unchanged: 2 })],
  [
    '[RC1] ballot 0 recovers nothing',
    attempting(
      (() => {
        const state = fresh({ nextSeq: 2 })
        learn(state, promised(own, 0))
        return state
      })(),
      { ...recovering, id: own, ballot: 0 },
    ),
  ],
  [
    '[RC3] a quorum decides',
    attempting(promisedAt(ballotOf0), {
      ...recovering,
      answers: new Map([
        [0, nothingKnown(ballotOf0)],
        [2, nothingKnown(ballotOf0)],
      ]),
    }),
  ],
  [
    '[RC4] a slow quorum validates',
    attempting(promisedAt(ballotOf0), { ...validating, quorum: new Set([0]), supporters: 0 }),
  ],
  ['[RC3.4] fewer supporters are a Nop', attempting(promisedAt(ballotOf0), { ...validating, supporters: 0 })],
  [
    '[RC5] all of the quorum decide',
    attempting(promisedAt(ballotOf0), {
      ...validating,
      answers: new Map([
        [0, []],
        [2, []],
      ]),
    }),
  ],
  ['[RC4] a slow quorum validates', attempting(promisedAt(ballotOf0), { ...waiting, quorum: new Set([0]) })],
  [
    '[RC5.3] it waits for something that is not decided',
    attempting(knowing(promised(theirs, ballotOf0), committed(id(2, 1), 0, other, none)), waiting),
  ],
  ['[RC5.3] it hears its own Waiting', attempting(promisedAt(ballotOf0), waiting)],
  [
    '[RC5.3] what is committed does not wait',
    withNoteOf((state, key) => {
      state.waitings.set(key, 1)
    }),
  ],
  ['[RC5.3] supporters are voters', withWaiting(4)],
  [
    '[RC1] what is committed needs no ballot',
    withNoteOf((state, key) => {
      state.ballotsSeen.set(key, ballotOf1)
    }),
  ],
  [
    '[RC0] what is committed is not watched',
    withNoteOf((state, key) => {
      state.watches.set(key, { at: 0, tries: 0, suspected: false })
    }),
  ],
  ['[RD1] a quorum answers a read', reading(2)],
]

describe('a bad state is seen', () => {
  test.each(badStates)('%s', (assertion, state) => {
    expect(() => checkInvariants(state)).toThrow(assertion)
  })

  test('for every assertion there is one', () => {
    const source = readFileSync(new URL('./invariants.ts', import.meta.url), 'utf8')
    const assertions = [...source.matchAll(/['`](\[[A-Z]{2}\d[^'`]*)['`]/g)].map(([, text = '']) =>
      text.replace('$' + '{row}', '1').replace('$' + '{upTo}', '0'),
    )
    expect(assertions.length).toBeGreaterThan(50)
    const tried = new Set(badStates.map(([assertion]) => assertion))
    expect(assertions.filter((assertion) => !tried.has(assertion))).toEqual([])
  })
})

describe('a good state passes', () => {
  test.each([1, 2, 3, 5, 7, 9])('as it begins, with %i voters', (n) => {
    expect(() => checkInvariants(replica(n, n - 1))).not.toThrow()
  })

  test('an observer', () => {
    expect(() => checkInvariants(replica(3, null))).not.toThrow()
  })

  test('with a proposal, a recovery and a read under way, and after a restart', () => {
    const state = replica(3, 0)
    step(state, { kind: 'propose', command }, 0)
    step(state, receive(1, { type: 'PreAccept', id: theirs, command: other, deps: none }), 0)
    recover(state, theirs)
    step(state, { kind: 'read', read: 1, footprint: [] }, state.now)
    expect([...state.attempts.values()].map(({ kind }) => kind)).toEqual(['preaccepting', 'recovering'])
    expect(() => checkInvariants(state)).not.toThrow()
    const again = replica(3, 0, { instances: [...state.log.all()], restarted: true })
    expect(() => checkInvariants(again)).not.toThrow()
  })
})
