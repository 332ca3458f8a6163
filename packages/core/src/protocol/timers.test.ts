import { describe, expect, test } from 'vitest'
import { nop } from './command.ts'
import {
  accepted,
  barrier,
  id,
  observer,
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
  timeouts,
  toSelf,
  voter,
  write,
} from './fixtures.ts'
import type { Row } from './ids.ts'
import type { Heartbeat } from './message.ts'
import { step } from './replica.ts'
import { defaultTimeouts, type ReplicaState } from './state.ts'

const at = id(0, 1)
const cmd = write(1)
const heartbeat: Heartbeat = { type: 'Heartbeat', committedUpTo: [0, 0, 0], executed: 0 }

function zeros(n: number): number[] {
  return new Array<number>(n).fill(0)
}

/** The voter of `row` has pre-accepted what row 0 proposed. */
function informed(n: number, row: Row): ReplicaState {
  return replica(n, row, { instances: [preaccepted(at, cmd, zeros(n))] })
}

/** The voter of `row` begins to recover the instance that `informed` gave it, at the first ballot. */
function recovery(n: number, row: Row, command = cmd as typeof cmd | ReturnType<typeof barrier>, ballot = 16 + row) {
  const instance = { ...preaccepted(at, command, zeros(n)), promisedBallot: ballot }
  return [
    persist(instance),
    send(rowsBut(n, row), { type: 'Recover', id: at, ballot }),
    toSelf(row, {
      type: 'RecoverOk',
      id: at,
      ballot,
      known: { phase: 'preaccepted', command, deps: zeros(n), initDeps: zeros(n) },
    }),
  ]
}

describe('when a recovery is due', () => {
  test.each([
    [3, 1],
    [3, 2],
    [5, 1],
    [5, 2],
    [5, 3],
    [5, 4],
  ])(
    '[RC0] of %i voters, that of row %i recovers what lost row 0 left after one recovery timeout for each step of distance',
    (n, row) => {
      const state = informed(n, row)
      step(state, { kind: 'disconnected', peer: voter(0) }, 0)
      expect(step(state, tick, 0)).toEqual([])
      expect(step(state, tick, 300 * row - 1)).toEqual([])
      expect(step(state, tick, 300 * row + 150)).toEqual(recovery(n, row))
    },
  )

  test('[RC0] a coordinator that was refused for a recovery whose voter is gone recovers its own instance', () => {
    const state = replica(3, 0)
    step(state, { kind: 'propose', command: cmd }, 0)
    step(state, receive(0, { type: 'PreAcceptOk', id: at, deps: zeros(3) }), 0)
    const nack = { type: 'Nack', id: at, ballot: 0, promisedBallot: 18 } as const
    expect(step(state, receive(1, nack), 0)).toEqual([])
    // the recoverer may still come to an end, or answer
    expect(step(state, tick, 10)).toEqual([])
    step(state, { kind: 'disconnected', peer: voter(2) }, 20)
    const said = [30, 1_000, 2_000].flatMap((now) => step(state, tick, now))
    expect(said).toContainEqual(send([1, 2], { type: 'Recover', id: at, ballot: 32 }))
  })

  test('[RC0] distance goes around the member order', () => {
    const state = replica(3, 0, { instances: [preaccepted(id(2, 1), cmd, [0, 0, 0])] })
    step(state, { kind: 'disconnected', peer: voter(2) }, 0)
    step(state, tick, 0)
    expect(step(state, tick, 299)).toEqual([])
    expect(step(state, tick, 450)).toHaveLength(3)
  })

  test('[RC0] what a healthy coordinator has in hand is left to it', () => {
    const state = informed(3, 1)
    for (let now = 1_000; now <= 20_000; now += 1_000) {
      step(state, receive(0, heartbeat), now)
      step(state, receive(2, heartbeat), now)
      expect(step(state, tick, now)).toEqual([])
    }
  })

  test('[RC0] what execution waits for is recovered after the longer patience, though its coordinator is healthy', () => {
    const state = informed(3, 1)
    step(state, { kind: 'execution', needs: [1, 0, 0], executed: 0 }, 0)
    expect(step(state, tick, 0)).toEqual([])
    expect(step(state, tick, 1_999)).toEqual([])
    expect(step(state, tick, 2_150)).toEqual(recovery(3, 1))
  })

  test('[RC0] the longer patience ends when the coordinator comes to be suspected', () => {
    const state = informed(3, 1)
    step(state, { kind: 'execution', needs: [1, 0, 0], executed: 0 }, 0)
    step(state, tick, 0)
    step(state, { kind: 'disconnected', peer: voter(0) }, 100)
    expect(step(state, tick, 100)).toEqual([])
    expect(step(state, tick, 399)).toEqual([])
    expect(step(state, tick, 550)).toEqual(recovery(3, 1))
  })

  test('[RC0] what execution waits for is recovered though nothing is known of it', () => {
    const state = replica(3, 1)
    step(state, { kind: 'disconnected', peer: voter(0) }, 0)
    step(state, { kind: 'execution', needs: [2, 0, 0], executed: 0 }, 0)
    step(state, tick, 0)
    const expected = [1, 2].flatMap((seq) => [
      persist(promised(id(0, seq), 17)),
      send([0, 2], { type: 'Recover', id: id(0, seq), ballot: 17 }),
      toSelf(1, { type: 'RecoverOk', id: id(0, seq), ballot: 17, known: { phase: 'none' } }),
    ])
    expect(step(state, tick, 450)).toEqual(expected)
  })

  test('[RC0] a coordinator that is connected but silent is suspected after the time for that', () => {
    const state = informed(3, 1)
    for (let now = 500; now <= 4_000; now += 500) {
      step(state, receive(2, heartbeat), now)
      expect(step(state, tick, now)).toEqual([])
    }
    expect(step(state, tick, 4_001)).toEqual([])
    expect(step(state, tick, 4_300)).toEqual([])
    expect(step(state, tick, 4_451)).toEqual(recovery(3, 1))
  })

  test('[RC0] a coordinator that is heard again in time is not suspected', () => {
    const state = informed(3, 1)
    for (let now = 500; now <= 12_000; now += 500) {
      step(state, receive(2, heartbeat), now)
      if (now % 3_500 === 0) step(state, receive(0, heartbeat), now)
      expect(step(state, tick, now)).toEqual([])
    }
  })

  test('[RC0] a clock that stood still does not make everyone else suspected', () => {
    const state = informed(3, 1)
    // one is heard already, so that there is a quorum to recover with; the coordinator has had no time to be heard
    for (let now = 60_000; now <= 64_000; now += 500) {
      step(state, receive(2, heartbeat), now)
      expect(step(state, tick, now)).toEqual([])
    }
    // silence that was watched counts
    step(state, receive(2, heartbeat), 64_001)
    expect(step(state, tick, 64_001)).toEqual([])
    expect(step(state, tick, 64_451)).toEqual(recovery(3, 1))
  })

  test('[RC0] nothing is recovered while no slow quorum can be reached', () => {
    const state = informed(3, 1)
    step(state, { kind: 'disconnected', peer: voter(0) }, 0)
    step(state, { kind: 'disconnected', peer: voter(2) }, 0)
    for (let now = 0; now <= 4_000; now += 1_000) expect(step(state, tick, now)).toEqual([])
  })

  test('[RC0] a barrier in doubt holds up everyone: it is recovered though nobody is suspected', () => {
    const end = barrier(3)
    const state = replica(3, 1, { instances: [preaccepted(at, end, [0, 0, 0])] })
    expect(step(state, tick, 1_999)).toEqual([])
    expect(step(state, tick, 2_150)).toEqual(recovery(3, 1, end))
  })

  test('[RC0] what a replica may have had in hand before a restart, it recovers itself as soon as it reaches a quorum', () => {
    const instances = [preaccepted(at, cmd, [0, 0, 0])]
    const state = replica(3, 0, { instances, reservedSeq: 2, restarted: true, connected: [] })
    expect(step(state, { kind: 'connected', peer: voter(1) }, 0)).toEqual([])
    expect(step(state, tick, 0)).toEqual([
      ...recovery(3, 0),
      persist(promised(id(0, 2), 16)),
      send([1, 2], { type: 'Recover', id: id(0, 2), ballot: 16 }),
      toSelf(0, { type: 'RecoverOk', id: id(0, 2), ballot: 16, known: { phase: 'none' } }),
      send([1], heartbeat),
    ])
  })

  test('[RC0] an observer recovers nothing', () => {
    const state = replica(3, null, { instances: [preaccepted(at, cmd, [0, 0, 0])] })
    step(state, { kind: 'disconnected', peer: voter(0) }, 0)
    step(state, { kind: 'execution', needs: [1, 0, 0], executed: 0 }, 0)
    for (let now = 0; now <= 6_000; now += 1_000) expect(step(state, tick, now)).toEqual([])
  })

  test('[RC0] each refusal doubles the time to the next try, within its jitter', () => {
    const state = informed(3, 1)
    recover(state, at)
    let ballot = 17
    for (const backOff of [600, 1_200, 2_400]) {
      const refusedAt = state.now
      expect(step(state, receive(2, { type: 'Nack', id: at, ballot, promisedBallot: ballot + 1 }), refusedAt)).toEqual(
        [],
      )
      step(state, tick, refusedAt)
      expect(step(state, tick, refusedAt + backOff / 2 - 1)).toEqual([])
      ballot += 16
      expect(step(state, tick, refusedAt + 1.5 * backOff)).toEqual(recovery(3, 1, cmd, ballot))
    }
  })
})

describe('saying it again', () => {
  test('[CO3] PreAccept goes again to those that did not answer and can be reached', () => {
    const state = replica(5, 0)
    step(state, { kind: 'propose', command: cmd }, 0)
    step(state, receive(1, { type: 'PreAcceptOk', id: at, deps: zeros(5) }), 0)
    step(state, { kind: 'disconnected', peer: voter(3) }, 0)
    const message = { type: 'PreAccept', id: at, command: cmd, deps: zeros(5) } as const
    expect(step(state, tick, 999)).toEqual([])
    expect(step(state, tick, 1_000)).toEqual([sync, send([2, 4], message)])
    expect(step(state, tick, 1_999)).toEqual([])
    expect(step(state, tick, 2_000)).toEqual([sync, send([2, 4], message)])
    // [RC0] a healthy coordinator repeats its messages after a reconnect
    expect(step(state, { kind: 'connected', peer: voter(3) }, 2_001)).toEqual([sync, send([3], message)])
    expect(step(state, { kind: 'connected', peer: voter(1) }, 2_001)).toEqual([])
  })

  test('[CO5] Accept goes again, with the one value of its ballot, to those that did not answer', () => {
    const state = replica(3, 1)
    recover(state, at)
    for (const row of [1, 2]) {
      step(state, receive(row, { type: 'RecoverOk', id: at, ballot: 17, known: { phase: 'none' } }), 0)
    }
    expect(state.log.get(at)).toEqual(accepted(at, 17, nop, [0, 0, 0]))
    step(state, receive(1, { type: 'AcceptOk', id: at, ballot: 17 }), 0)
    const message = { type: 'Accept', id: at, ballot: 17, command: nop, deps: [0, 0, 0] } as const
    expect(step(state, tick, state.now + 1_000)).toEqual([sync, send([2], message)])
    expect(step(state, { kind: 'connected', peer: voter(0) }, state.now)).toEqual([sync, send([0], message)])
  })

  test('[RC1] Recover goes again to those that did not answer and can be reached, at the same ballot', () => {
    const state = informed(5, 1)
    recover(state, at)
    step(state, receive(2, { type: 'RecoverOk', id: at, ballot: 17, known: { phase: 'none' } }), 0)
    expect(step(state, tick, state.now + 999)).toEqual([])
    const message = { type: 'Recover', id: at, ballot: 17 } as const
    expect(step(state, tick, state.now + 1)).toEqual([sync, send([3, 4], message)])
    expect(step(state, { kind: 'connected', peer: voter(0) }, state.now)).toEqual([sync, send([0], message)])
  })

  test('[RC4] Validate goes again to those of Q that did not answer', () => {
    const state = informed(5, 1)
    recover(state, at)
    const known = { phase: 'preaccepted', command: cmd, deps: zeros(5), initDeps: zeros(5) } as const
    for (const row of [1, 2, 3]) step(state, receive(row, { type: 'RecoverOk', id: at, ballot: 17, known }), 0)
    step(state, receive(2, { type: 'ValidateOk', id: at, ballot: 17, invalidating: [] }), 0)
    expect(step(state, tick, state.now + 1_000)).toEqual([
      sync,
      send([3], { type: 'Validate', id: at, ballot: 17, command: cmd, deps: zeros(5) }),
    ])
    expect(step(state, { kind: 'connected', peer: voter(4) }, state.now)).toEqual([])
  })
})

describe('heartbeats', () => {
  test('[CU1] all that are connected hear at each interval what is committed and executed here', () => {
    const state = replica(3, 1, { timeouts: { ...timeouts, heartbeatMs: defaultTimeouts.heartbeatMs } })
    step(state, { kind: 'disconnected', peer: voter(2) }, 0)
    step(state, receive(0, { type: 'Commit', id: at, ballot: 0, command: cmd, deps: [0, 0, 0] }), 0)
    step(state, { kind: 'execution', needs: [0, 0, 0], executed: 12 }, 0)
    const message = { type: 'Heartbeat', committedUpTo: [1, 0, 0], executed: 12 } as const
    expect(step(state, tick, 499)).toEqual([])
    expect(step(state, tick, 500)).toEqual([send([0], message)])
    expect(step(state, tick, 999)).toEqual([])
    expect(step(state, tick, 1_000)).toEqual([send([0], message)])
    // who connects hears it at the next tick
    expect(step(state, { kind: 'connected', peer: observer }, 1_001)).toEqual([])
    expect(step(state, tick, 1_001)).toEqual([{ kind: 'send', to: [voter(0), observer], message }])
  })

  test('[CU1] where nobody is connected nothing is said', () => {
    const state = replica(3, 1, { timeouts: defaultTimeouts, connected: [] })
    expect(step(state, tick, 5_000)).toEqual([])
  })

  test('[CU1] a pull that is not answered in time makes room for another', () => {
    const state = replica(3, 1, { timeouts: defaultTimeouts })
    step(state, { kind: 'catchUp', from: voter(0) }, 0)
    step(state, tick, 1_000)
    expect(step(state, { kind: 'catchUp', from: voter(2) }, 1_000)).toEqual([])
    step(state, tick, 1_500)
    expect(step(state, { kind: 'catchUp', from: voter(2) }, 1_500)).toEqual([
      send([2], { type: 'Pull', committedUpTo: [0, 0, 0] }),
    ])
  })
})
