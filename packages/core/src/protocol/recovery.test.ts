import { describe, expect, test } from 'vitest'
import { type Command, nop } from './command.ts'
import type { Deps } from './deps.ts'
import type { Effect } from './effect.ts'
import {
  accepted,
  acceptRound,
  committed,
  id,
  keep,
  ordersOf,
  persist,
  preaccepted,
  promised,
  receive,
  recover,
  replica,
  rowsBut,
  send,
  sync,
  tick,
  toSelf,
  voter,
  write,
} from './fixtures.ts'
import type { InstanceId, Row } from './ids.ts'
import type { Instance } from './instance.ts'
import type { Invalidating, RecoverOk, ValidateOk } from './message.ts'
import { step } from './replica.ts'
import type { ReplicaState } from './state.ts'

const at = id(0, 1)
const other = id(4, 1)
const cmd = write(1)
const zeros5 = [0, 0, 0, 0, 0]
const none: RecoverOk['known'] = { phase: 'none' }

function known(command: Command, deps: Deps, initDeps: Deps = deps): RecoverOk['known'] {
  return { phase: 'preaccepted', command, deps, initDeps }
}

function recoverOk(instance: InstanceId, ballot: number, what: RecoverOk['known']): RecoverOk {
  return { type: 'RecoverOk', id: instance, ballot, known: what }
}

function validateOk(invalidating: readonly Invalidating[], instance = at, ballot = 17): ValidateOk {
  return { type: 'ValidateOk', id: instance, ballot, invalidating }
}

/** Row 1 of 5 has pre-accepted `cmd` without deps, and recovers it at ballot 17. */
function recovering(instances: readonly Instance[] = [preaccepted(at, cmd, zeros5)]): ReplicaState {
  const state = replica(5, 1, { instances })
  recover(state, at)
  return state
}

const init = { initCommand: cmd, initDeps: zeros5 }
const ownPromise = { ...preaccepted(at, cmd, zeros5), promisedBallot: 17 }

function acceptValue(state: ReplicaState): Effect[] {
  return acceptRound(state, { id: at, ballot: 17, command: cmd, deps: zeros5 }, init)
}

function acceptNop(state: ReplicaState): Effect[] {
  return acceptRound(state, { id: at, ballot: 17, command: nop, deps: zeros5 }, init)
}

describe('starting', () => {
  test('[RC1] a recovery promises a ballot of its own, asks all other voters and answers itself once that is durable', () => {
    expect(recover(replica(3, 1), at)).toEqual([
      persist(promised(at, 17)),
      send([0, 2], { type: 'Recover', id: at, ballot: 17 }),
      toSelf(1, recoverOk(at, 17, none)),
    ])
    expect(recover(replica(5, 2, { instances: [preaccepted(at, cmd, [0, 0, 0, 7, 0], zeros5)] }), at)).toEqual([
      persist({ ...preaccepted(at, cmd, [0, 0, 0, 7, 0], zeros5), promisedBallot: 18 }),
      send([0, 1, 3, 4], { type: 'Recover', id: at, ballot: 18 }),
      toSelf(2, recoverOk(at, 18, known(cmd, [0, 0, 0, 7, 0], zeros5))),
    ])
  })

  test('[RC1] the ballot is above the one promised here, and the accepted ballot stays what it was', () => {
    const before = { ...accepted(at, 19, cmd, zeros5), promisedBallot: 36 }
    expect(recover(replica(5, 1, { instances: [before] }), at)).toEqual([
      persist({ ...before, promisedBallot: 49 }),
      send([0, 2, 3, 4], { type: 'Recover', id: at, ballot: 49 }),
      toSelf(1, recoverOk(at, 49, { phase: 'accepted', acceptedBallot: 19, command: cmd, deps: zeros5 })),
    ])
  })

  test('[RC1] the next ballot is above the one that a Nack reported', () => {
    const state = recovering()
    expect(step(state, receive(3, { type: 'Nack', id: at, ballot: 17, promisedBallot: 68 }), 0)).toEqual([])
    const next = { ...ownPromise, promisedBallot: 81 }
    expect(step(state, tick, state.now + 1_000)).toEqual([
      persist(next),
      send([0, 2, 3, 4], { type: 'Recover', id: at, ballot: 81 }),
      toSelf(1, recoverOk(at, 81, known(cmd, zeros5))),
    ])
  })
})

describe('Recover', () => {
  test('[RC2] a voter that knows nothing promises, and says so once that is durable', () => {
    expect(step(replica(3, 2), receive(1, { type: 'Recover', id: at, ballot: 17 }), 0)).toEqual([
      persist(promised(at, 17)),
      send([1], recoverOk(at, 17, none)),
    ])
  })

  test('[RC2] a voter reports what it pre-accepted, with the deps that it first heard', () => {
    const before = preaccepted(at, cmd, [0, 0, 5], [0, 0, 0])
    expect(
      step(replica(3, 2, { instances: [before] }), receive(1, { type: 'Recover', id: at, ballot: 17 }), 0),
    ).toEqual([
      persist({ ...before, promisedBallot: 17 }),
      send([1], recoverOk(at, 17, known(cmd, [0, 0, 5], [0, 0, 0]))),
    ])
  })

  test('[RC2] a voter reports the ballot in which it accepted, which a promise leaves untouched', () => {
    const before = accepted(at, 18, cmd, [0, 0, 5])
    expect(
      step(replica(3, 2, { instances: [before] }), receive(1, { type: 'Recover', id: at, ballot: 33 }), 0),
    ).toEqual([
      persist({ ...before, promisedBallot: 33 }),
      send([1], recoverOk(at, 33, { phase: 'accepted', acceptedBallot: 18, command: cmd, deps: [0, 0, 5] })),
    ])
  })

  test('[RC2] a repeat from the same recoverer is answered again without a new write', () => {
    const state = replica(3, 2, { instances: [preaccepted(at, cmd, [0, 0, 0])] })
    step(state, receive(1, { type: 'Recover', id: at, ballot: 17 }), 0)
    expect(step(state, receive(1, { type: 'Recover', id: at, ballot: 17 }), 0)).toEqual([
      sync,
      send([1], recoverOk(at, 17, known(cmd, [0, 0, 0]))),
    ])
  })

  test('[RC2] a ballot below the promise is refused with the promise', () => {
    const state = replica(3, 2, { instances: [promised(at, 18)] })
    expect(step(state, receive(1, { type: 'Recover', id: at, ballot: 17 }), 0)).toEqual([
      sync,
      send([1], { type: 'Nack', id: at, ballot: 17, promisedBallot: 18 }),
    ])
  })

  test('[RC2] a promise to another ends the own recovery: its answers are dropped', () => {
    const state = recovering()
    step(state, receive(3, { type: 'Recover', id: at, ballot: 19 }), 0)
    for (const row of [1, 2, 4]) expect(step(state, receive(row, recoverOk(at, 17, none)), 0)).toEqual([])
  })
})

describe('RecoverOk', () => {
  test('[RC3] less than n - f answers decide nothing, nor do answers for another ballot', () => {
    const state = recovering()
    expect(step(state, receive(1, recoverOk(at, 17, known(cmd, zeros5))), 0)).toEqual([])
    expect(step(state, receive(2, recoverOk(at, 17, none)), 0)).toEqual([])
    expect(step(state, receive(2, recoverOk(at, 17, none)), 0)).toEqual([])
    expect(step(state, receive(3, recoverOk(at, 33, none)), 0)).toEqual([])
    expect(step(state, receive(3, recoverOk(at, 0, none)), 0)).toEqual([])
  })

  test('[RC3.1] a committed value is taken at once and told to all', () => {
    const state = recovering()
    const what = { phase: 'committed', acceptedBallot: 16, command: cmd, deps: [0, 3, 0, 0, 0] } as const
    const instance = { ...committed(at, 16, cmd, [0, 3, 0, 0, 0], init), promisedBallot: 17 }
    expect(step(state, receive(4, recoverOk(at, 17, what)), 0)).toEqual([
      send([0, 2, 3, 4], { type: 'Commit', id: at, ballot: 16, command: cmd, deps: [0, 3, 0, 0, 0] }),
      { kind: 'committed', instance, path: 'recovered' },
      keep(instance),
    ])
  })

  test('[RC3.2] the value of the highest accepted ballot is accepted at the new one, in every order of answers', () => {
    const low = { phase: 'accepted', acceptedBallot: 0, command: cmd, deps: [0, 9, 0, 0, 0] } as const
    const high = { phase: 'accepted', acceptedBallot: 16, command: nop, deps: zeros5 } as const
    const answers: [Row, RecoverOk['known']][] = [
      [1, known(cmd, zeros5)],
      [3, low],
      [4, high],
    ]
    for (const order of ordersOf(answers)) {
      const state = recovering()
      const effects = order.map(([row, what]) => step(state, receive(row, recoverOk(at, 17, what)), 0))
      expect(effects).toEqual([[], [], acceptNop(state)])
    }
  })

  test('[RC3.2] an accepted value goes before what the coordinator answers', () => {
    const state = recovering([])
    const deps = [0, 9, 0, 0, 0]
    step(state, receive(0, recoverOk(at, 17, known(cmd, zeros5))), 0)
    step(state, receive(2, recoverOk(at, 17, { phase: 'accepted', acceptedBallot: 0, command: cmd, deps })), 0)
    expect(step(state, receive(1, recoverOk(at, 17, none)), 0)).toEqual(
      acceptRound(state, { id: at, ballot: 17, command: cmd, deps }),
    )
  })

  test.each([3, 5])(
    '[RC3.3] of %i voters: with the coordinator among those that answered, the instance becomes Nop, in every order',
    (n) => {
      const zeros = new Array<number>(n).fill(0)
      const what = known(cmd, zeros)
      const quorum = n === 3 ? [0, 1] : [0, 1, 2]
      for (const order of ordersOf(quorum)) {
        const state = replica(n, 1, { instances: [preaccepted(at, cmd, zeros)] })
        recover(state, at)
        const effects = order.flatMap((row) => step(state, receive(row, recoverOk(at, 17, what)), 0))
        const value = { id: at, ballot: 17, command: nop, deps: zeros }
        expect(effects).toEqual(acceptRound(state, value, { initCommand: cmd, initDeps: zeros }))
      }
    },
  )

  test('[RC3.4] with less than |Q| - e that may have been of a fast quorum, the instance becomes Nop', () => {
    const state = recovering([preaccepted(at, cmd, [0, 1, 0, 0, 0], zeros5)])
    step(state, receive(1, recoverOk(at, 17, known(cmd, [0, 1, 0, 0, 0], zeros5))), 0)
    step(state, receive(2, recoverOk(at, 17, none)), 0)
    expect(step(state, receive(3, recoverOk(at, 17, known(cmd, [0, 0, 0, 1, 0], zeros5))), 0)).toEqual(acceptNop(state))
  })

  test('[RC3.4] an instance of which nobody that answered knows anything becomes Nop', () => {
    const state = recovering([])
    for (const row of [1, 2]) step(state, receive(row, recoverOk(at, 17, none)), 0)
    expect(step(state, receive(4, recoverOk(at, 17, none)), 0)).toEqual(
      acceptRound(state, { id: at, ballot: 17, command: nop, deps: zeros5 }),
    )
  })

  test('[RC3.5] with |Q| - e of them, its value is validated by exactly those that answered', () => {
    const state = recovering()
    step(state, receive(1, recoverOk(at, 17, known(cmd, zeros5))), 0)
    step(state, receive(2, recoverOk(at, 17, none)), 0)
    expect(step(state, receive(4, recoverOk(at, 17, known(cmd, [0, 0, 0, 0, 1], zeros5))), 0)).toEqual([
      persist(ownPromise),
      send([2, 4], { type: 'Validate', id: at, ballot: 17, command: cmd, deps: zeros5 }),
      toSelf(1, validateOk([])),
    ])
  })

  test('[RC3.5] a recoverer that is not among those that answered is not asked to validate', () => {
    const state = recovering()
    for (const row of [2, 3]) step(state, receive(row, recoverOk(at, 17, known(cmd, zeros5))), 0)
    expect(step(state, receive(4, recoverOk(at, 17, known(cmd, zeros5))), 0)).toEqual([
      send([2, 3, 4], { type: 'Validate', id: at, ballot: 17, command: cmd, deps: zeros5 }),
    ])
  })

  test('[RC3.5] of 3 voters one supporter besides a voter that knows nothing is enough to validate', () => {
    const state = replica(3, 1)
    recover(state, at)
    step(state, receive(1, recoverOk(at, 17, none)), 0)
    expect(step(state, receive(2, recoverOk(at, 17, known(cmd, [0, 0, 0]))), 0)).toEqual([
      persist({ ...promised(at, 17), initCommand: cmd, initDeps: [0, 0, 0] }),
      send([2], { type: 'Validate', id: at, ballot: 17, command: cmd, deps: [0, 0, 0] }),
      toSelf(1, validateOk([])),
    ])
  })
})

/** The value is being validated by Q = {1, 2, 3}, of which the rows of `supporters` are R. */
function validating(supporters: readonly Row[], instances?: readonly Instance[]): ReplicaState {
  const state = recovering(instances)
  for (const row of [1, 2, 3]) {
    step(state, receive(row, recoverOk(at, 17, supporters.includes(row) ? known(cmd, zeros5) : none)), 0)
  }
  return state
}

describe('ValidateOk', () => {
  test('[RC5] exactly Q has to answer, for this ballot', () => {
    const state = validating([1, 2])
    expect(step(state, receive(1, validateOk([])), 0)).toEqual([])
    expect(step(state, receive(2, validateOk([])), 0)).toEqual([])
    expect(step(state, receive(2, validateOk([])), 0)).toEqual([])
    expect(step(state, receive(4, validateOk([])), 0)).toEqual([])
    expect(step(state, receive(0, validateOk([])), 0)).toEqual([])
    expect(step(state, receive(3, validateOk([], at, 33)), 0)).toEqual([])
    expect(step(state, receive(3, validateOk([])), 0)).toEqual(acceptValue(state))
  })

  test('[RC5] a further RecoverOk does not change Q', () => {
    const state = validating([1, 2])
    expect(step(state, receive(4, recoverOk(at, 17, none)), 0)).toEqual([])
    expect(step(state, receive(0, recoverOk(at, 17, none)), 0)).toEqual([])
  })

  test('[RC5] when one of Q falls silent, the recovery starts over with a higher ballot', () => {
    const state = validating([1, 2])
    step(state, { kind: 'disconnected', peer: voter(3) }, 0)
    expect(step(state, tick, state.now + 301)).toEqual([])
    expect(step(state, tick, state.now + 900)).toEqual([
      persist({ ...ownPromise, promisedBallot: 33 }),
      send([0, 2, 3, 4], { type: 'Recover', id: at, ballot: 33 }),
      toSelf(1, recoverOk(at, 33, known(cmd, zeros5))),
    ])
  })

  test('[RC5.1] with nothing against it the value is accepted, in every order of answers', () => {
    for (const order of ordersOf([1, 2, 3])) {
      const state = validating([1, 2])
      const effects = order.map((row) => step(state, receive(row, validateOk([])), 0))
      expect(effects).toEqual([[], [], acceptValue(state)])
    }
  })

  test('[RC5.2] with something committed against it the instance becomes Nop, in every order of answers', () => {
    for (const order of ordersOf([1, 2, 3])) {
      const state = validating([1, 2, 3])
      const effects = order.map((row) =>
        step(state, receive(row, validateOk(row === 3 ? [] : [{ id: other, committed: row === 2 }])), 0),
      )
      expect(effects).toEqual([[], [], acceptNop(state)])
    }
  })

  test('[RC5.2] with |R| = |Q| - e and the coordinator of something against it outside Q, the instance becomes Nop', () => {
    const state = validating([1])
    step(state, receive(1, validateOk([])), 0)
    step(state, receive(2, validateOk([{ id: other, committed: false }])), 0)
    expect(step(state, receive(3, validateOk([])), 0)).toEqual(acceptNop(state))
  })
})

/** The recovery waits for `against`; `supporters` as for `validating`. */
function waiting(against: readonly InstanceId[], supporters: readonly Row[] = [1, 2]): ReplicaState {
  const state = validating(supporters)
  step(state, receive(1, validateOk([])), 0)
  step(state, receive(2, validateOk([])), 0)
  step(state, receive(3, validateOk(against.map((one) => ({ id: one, committed: false })))), 0)
  return state
}

function learn(state: ReplicaState, instance: InstanceId, command: Command, deps: Deps): Effect[] {
  return step(state, receive(2, { type: 'Commit', id: instance, ballot: 0, command, deps }), 0)
}

describe('waiting for others', () => {
  test('[RC5.3] else all voters are told, and what speaks against the value is recovered first', () => {
    const state = validating([1, 2])
    step(state, receive(1, validateOk([])), 0)
    step(state, receive(2, validateOk([{ id: id(3, 2), committed: false }])), 0)
    const last = validateOk([
      { id: other, committed: false },
      { id: id(3, 2), committed: false },
    ])
    expect(step(state, receive(3, last), 0)).toEqual([
      send([0, 2, 3, 4], { type: 'Waiting', id: at, supporters: 2 }),
      persist(promised(other, 17)),
      send([0, 2, 3, 4], { type: 'Recover', id: other, ballot: 17 }),
      toSelf(1, recoverOk(other, 17, none)),
      persist(promised(id(3, 2), 17)),
      send([0, 2, 3, 4], { type: 'Recover', id: id(3, 2), ballot: 17 }),
      toSelf(1, recoverOk(id(3, 2), 17, none)),
    ])
  })

  test('[RC5.3] with |R| = |Q| - e it is waited, too, where the coordinator of what speaks against it is in Q', () => {
    const state = validating([1])
    step(state, receive(1, validateOk([])), 0)
    step(state, receive(2, validateOk([])), 0)
    expect(step(state, receive(3, validateOk([{ id: id(3, 1), committed: false }])), 0)).toEqual([
      send([0, 2, 3, 4], { type: 'Waiting', id: at, supporters: 1 }),
      persist(promised(id(3, 1), 17)),
      send([0, 2, 3, 4], { type: 'Recover', id: id(3, 1), ballot: 17 }),
      toSelf(1, recoverOk(id(3, 1), 17, none)),
    ])
  })

  test('[RC5.3] when one of them is committed, conflicting and without the instance in its deps, it becomes Nop', () => {
    const state = waiting([other, id(3, 2)])
    const effects = learn(state, other, write(1), zeros5)
    expect(effects.slice(2)).toEqual(acceptNop(state))
    expect(effects.slice(0, 2).map((effect) => effect.kind)).toEqual(['committed', 'keep'])
  })

  test('[RC5.3] when all of them are committed, each Nop or with the instance in its deps, the value is accepted', () => {
    const state = waiting([other, id(3, 2)])
    expect(learn(state, other, nop, zeros5)).toHaveLength(2)
    const effects = learn(state, id(3, 2), write(1), [1, 0, 0, 0, 0])
    expect(effects.slice(2)).toEqual(acceptValue(state))
    expect(effects.slice(0, 2).map((effect) => effect.kind)).toEqual(['committed', 'keep'])
  })

  test('[RC5.3] one of them that waits itself with more than n - f - e supporters makes the instance Nop', () => {
    const state = waiting([other])
    expect(step(state, receive(2, { type: 'Waiting', id: other, supporters: 1 }), 0)).toEqual([])
    expect(step(state, receive(2, { type: 'Waiting', id: id(4, 2), supporters: 3 }), 0)).toEqual([])
    expect(step(state, receive(2, { type: 'Waiting', id: other, supporters: 2 }), 0)).toEqual(acceptNop(state))
  })

  test('[RC5.3] a Waiting that came before the own wait began counts as well', () => {
    const state = validating([1, 2])
    expect(step(state, receive(4, { type: 'Waiting', id: other, supporters: 2 }), 0)).toEqual([])
    step(state, receive(1, validateOk([])), 0)
    step(state, receive(2, validateOk([])), 0)
    expect(step(state, receive(3, validateOk([{ id: other, committed: false }])), 0)).toEqual([
      send([0, 2, 3, 4], { type: 'Waiting', id: at, supporters: 2 }),
      persist(promised(other, 17)),
      send([0, 2, 3, 4], { type: 'Recover', id: other, ballot: 17 }),
      toSelf(1, recoverOk(other, 17, none)),
      ...acceptNop(state),
    ])
  })

  test('[RC5.3] a replica that waits in two recoveries hears its own Waiting in the step that sends it', () => {
    // 0.1 waits for 3.1 with one supporter; then 3.1, recovered by Q = {1, 2, 4}, waits for 0.1 with two
    const cmd2 = write(1)
    const second = id(3, 1)
    const state = waiting([second], [1])
    for (const row of [2, 4]) step(state, receive(row, recoverOk(second, 17, known(cmd2, zeros5))), 0)
    step(state, receive(1, recoverOk(second, 17, none)), 0)
    step(state, receive(1, validateOk([{ id: at, committed: false }], second)), 0)
    step(state, receive(2, validateOk([], second)), 0)
    expect(step(state, receive(4, validateOk([], second)), 0)).toEqual([
      send([0, 2, 3, 4], { type: 'Waiting', id: second, supporters: 2 }),
      ...acceptNop(state),
    ])
  })

  test('[RC5.3] a late answer from outside Q that says committed ends the wait with the commit', () => {
    const state = waiting([other])
    const deps = [0, 0, 0, 0, 1]
    const instance = { ...committed(at, 16, cmd, deps, init), promisedBallot: 17 }
    const what = { phase: 'committed', acceptedBallot: 16, command: cmd, deps } as const
    expect(step(state, receive(4, recoverOk(at, 17, what)), 0)).toEqual([
      send([0, 2, 3, 4], { type: 'Commit', id: at, ballot: 16, command: cmd, deps }),
      { kind: 'committed', instance, path: 'recovered' },
      keep(instance),
    ])
  })

  test('[RC5.3] a late answer from outside Q that says accepted ends the wait with that value', () => {
    const state = waiting([other])
    const deps = [0, 0, 0, 0, 1]
    const what = { phase: 'accepted', acceptedBallot: 0, command: cmd, deps } as const
    expect(step(state, receive(4, recoverOk(at, 17, what)), 0)).toEqual(
      acceptRound(state, { id: at, ballot: 17, command: cmd, deps }, init),
    )
  })

  test('[RC5.3] a late answer of the coordinator ends the wait with Nop', () => {
    const state = waiting([other])
    expect(step(state, receive(0, recoverOk(at, 17, known(cmd, zeros5))), 0)).toEqual(acceptNop(state))
  })

  test('[RC5.3] late answers that say nothing new, or for another ballot, or from Q, leave it waiting', () => {
    const state = waiting([other])
    const what = { phase: 'accepted', acceptedBallot: 0, command: cmd, deps: zeros5 } as const
    expect(step(state, receive(4, recoverOk(at, 17, known(cmd, zeros5))), 0)).toEqual([])
    expect(step(state, receive(4, recoverOk(at, 33, what)), 0)).toEqual([])
    expect(step(state, receive(3, recoverOk(at, 17, what)), 0)).toEqual([])
  })

  test('[RC5.3] Waiting is repeated, and so is Recover to those outside Q that can be reached', () => {
    const state = waiting([id(3, 1)])
    // the second recovery has all its answers but one outstanding: only the first one is looked at here
    learn(state, id(3, 2), nop, zeros5)
    const effects = step(state, tick, state.now + 1_000)
    expect(effects.slice(0, 3)).toEqual([
      sync,
      send([4], { type: 'Recover', id: at, ballot: 17 }),
      send([0, 2, 3, 4], { type: 'Waiting', id: at, supporters: 2 }),
    ])
  })

  test('[RC5.3] a higher ballot of another ends the wait', () => {
    const state = waiting([other])
    step(state, receive(3, { type: 'Recover', id: at, ballot: 19 }), 0)
    expect(learn(state, other, nop, zeros5)).toHaveLength(2)
  })
})

test('[RC5.1] a recovery of 3 voters from its start to the commit', () => {
  const state = replica(3, 1, { instances: [preaccepted(at, cmd, [0, 0, 0])] })
  const first = { initCommand: cmd, initDeps: [0, 0, 0] }
  recover(state, at)
  step(state, receive(1, recoverOk(at, 17, known(cmd, [0, 0, 0]))), 0)
  step(state, receive(2, recoverOk(at, 17, known(cmd, [0, 0, 0]))), 0)
  step(state, receive(1, validateOk([])), 0)
  expect(step(state, receive(2, validateOk([])), 0)).toEqual(
    acceptRound(state, { id: at, ballot: 17, command: cmd, deps: [0, 0, 0] }, first),
  )
  const instance = committed(at, 17, cmd, [0, 0, 0], first)
  step(state, receive(1, { type: 'AcceptOk', id: at, ballot: 17 }), 0)
  expect(step(state, receive(2, { type: 'AcceptOk', id: at, ballot: 17 }), 0)).toEqual([
    send(rowsBut(3, 1), { type: 'Commit', id: at, ballot: 17, command: cmd, deps: [0, 0, 0] }),
    { kind: 'committed', instance, path: 'recovered' },
    keep(instance),
  ])
})
