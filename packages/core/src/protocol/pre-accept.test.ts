import { describe, expect, test } from 'vitest'
import type { Command } from './command.ts'
import type { Effect } from './effect.ts'
import {
  accepted,
  acceptRound,
  command,
  committed,
  id,
  observer,
  ordersOf,
  persist,
  preaccepted,
  promised,
  receive,
  replica,
  rowsBut,
  send,
  sync,
  tick,
  toSelf,
  voter,
  write,
} from './fixtures.ts'
import type { Row } from './ids.ts'
import type { PreAcceptOk } from './message.ts'
import { step } from './replica.ts'
import type { ReplicaState } from './state.ts'

const own = id(0, 1)

/** Row 0 has proposed `cmd` as its first instance, with no conflict known. */
function proposed(n: number, cmd: Command): ReplicaState {
  const state = replica(n, 0)
  step(state, { kind: 'propose', command: cmd }, 0)
  return state
}

function ok(deps: readonly number[], at = own): PreAcceptOk {
  return { type: 'PreAcceptOk', id: at, deps }
}

function zeros(n: number): number[] {
  return new Array<number>(n).fill(0)
}

/** What the coordinator says when it commits on the fast path. */
function fastCommit(n: number, cmd: Command): Effect[] {
  const instance = committed(own, 0, cmd, zeros(n), { initCommand: cmd, initDeps: zeros(n) })
  return [
    persist(instance),
    send(rowsBut(n, 0), { type: 'ShortCommit', id: own, value: 'initial' }),
    { kind: 'committed', instance, path: 'fast' },
  ]
}

describe('propose', () => {
  test('[CO1] a proposal takes the next seq and goes to all other voters with the conflicts known here', () => {
    const other = write(1)
    const state = replica(3, 1, { instances: [preaccepted(id(0, 4), other, [0, 0, 0])] })
    const first = write(1)
    expect(step(state, { kind: 'propose', command: first }, 0)).toEqual([
      send([0, 2], { type: 'PreAccept', id: id(1, 1), command: first, deps: [4, 0, 0] }),
      persist(preaccepted(id(1, 1), first, [4, 0, 0])),
      toSelf(1, ok([4, 0, 0], id(1, 1))),
    ])
    const second = write(1)
    expect(step(state, { kind: 'propose', command: second }, 0)).toEqual([
      send([0, 2], { type: 'PreAccept', id: id(1, 2), command: second, deps: [4, 1, 0] }),
      persist(preaccepted(id(1, 2), second, [4, 1, 0])),
      toSelf(1, ok([4, 1, 0], id(1, 2))),
    ])
  })

  test('[CO1] a command that commutes with all that is known has no deps', () => {
    const state = replica(3, 1, { instances: [preaccepted(id(0, 4), command('add', 1), [0, 0, 0])] })
    const cmd = command('add', 1)
    expect(step(state, { kind: 'propose', command: cmd }, 0)).toEqual([
      send([0, 2], { type: 'PreAccept', id: id(1, 1), command: cmd, deps: [0, 0, 0] }),
      persist(preaccepted(id(1, 1), cmd, [0, 0, 0])),
      toSelf(1, ok([0, 0, 0], id(1, 1))),
    ])
  })

  test('[CO3] the only voter commits at once, by one durable record', () => {
    const state = replica(1, 0)
    const cmd = write(1)
    const instance = committed(own, 0, cmd, [0], { initCommand: cmd, initDeps: [0] })
    expect(step(state, { kind: 'propose', command: cmd }, 0)).toEqual([
      persist(instance),
      { kind: 'committed', instance, path: 'fast' },
    ])
    const second = write(1)
    const next = committed(id(0, 2), 0, second, [1], { initCommand: second, initDeps: [1] })
    expect(step(state, { kind: 'propose', command: second }, 0)).toEqual([
      persist(next),
      { kind: 'committed', instance: next, path: 'fast' },
    ])
  })

  test('[CO8] the only voter tells who follows the commit, once it is durable', () => {
    const state = replica(1, 0)
    step(state, { kind: 'connected', peer: observer }, 0)
    const cmd = write(1)
    const instance = committed(own, 0, cmd, [0], { initCommand: cmd, initDeps: [0] })
    expect(step(state, { kind: 'propose', command: cmd }, 0)).toEqual([
      persist(instance),
      { kind: 'send', to: [observer], message: { type: 'Commit', id: own, ballot: 0, command: cmd, deps: [0] } },
      { kind: 'committed', instance, path: 'fast' },
    ])
  })

  test('[DU1] the only voter reserves ahead too', () => {
    const state = replica(1, 0, { reservedSeq: 0 })
    const effects = step(state, { kind: 'propose', command: write(1) }, 0)
    expect(effects.map(({ kind }) => kind)).toEqual(['persist', 'committed', 'reserve', 'then'])
    expect(effects[2]).toEqual({ kind: 'reserve', upTo: 33 })
  })

  test('[DU1] the PreAccept of a seq whose reservation is not durable leaves only after the reservation', () => {
    const state = replica(3, 0, { reservedSeq: 0 })
    const cmd = write(1)
    expect(step(state, { kind: 'propose', command: cmd }, 0)).toEqual([
      persist(preaccepted(own, cmd, [0, 0, 0])),
      { kind: 'reserve', upTo: 33 },
      { kind: 'then', input: { kind: 'reserved', upTo: 33 } },
      send([1, 2], { type: 'PreAccept', id: own, command: cmd, deps: [0, 0, 0] }),
      toSelf(0, ok([0, 0, 0])),
    ])
    expect(step(state, { kind: 'reserved', upTo: 33 }, 0)).toEqual([])
    const next = write(2)
    expect(step(state, { kind: 'propose', command: next }, 0)).toEqual([
      send([1, 2], { type: 'PreAccept', id: id(0, 2), command: next, deps: [0, 0, 0] }),
      persist(preaccepted(id(0, 2), next, [0, 0, 0])),
      toSelf(0, ok([0, 0, 0], id(0, 2))),
    ])
  })

  test('[DU1] the next block of seqs is reserved when half of one is left, without holding up the PreAccept', () => {
    const state = replica(3, 0, { reservedSeq: 32 })
    for (let seq = 1; seq <= 16; seq++) {
      const kinds = step(state, { kind: 'propose', command: write(seq) }, 0).map((effect) => effect.kind)
      expect(kinds, `seq ${seq}`).toEqual(['send', 'persist', 'then'])
    }
    const cmd = write(17)
    expect(step(state, { kind: 'propose', command: cmd }, 0)).toEqual([
      send([1, 2], { type: 'PreAccept', id: id(0, 17), command: cmd, deps: [0, 0, 0] }),
      persist(preaccepted(id(0, 17), cmd, [0, 0, 0])),
      { kind: 'reserve', upTo: 64 },
      { kind: 'then', input: { kind: 'reserved', upTo: 64 } },
      toSelf(0, ok([0, 0, 0], id(0, 17))),
    ])
  })

  test('[DU2] the coordinator counts itself only once its own record is durable, however many others answered', () => {
    const cmd = write(1)
    const state = proposed(3, cmd)
    expect(step(state, receive(1, ok([0, 0, 0])), 0)).toEqual([])
    expect(step(state, receive(2, ok([0, 0, 0])), 0)).toEqual([])
    expect(step(state, receive(0, ok([0, 0, 0])), 0)).toEqual(fastCommit(3, cmd))
  })

  test('[DU3] after a restart no reserved seq is used again, and what is new depends on all of them', () => {
    const state = replica(3, 0, { reservedSeq: 32, restarted: true })
    const cmd = command('add', 1)
    expect(step(state, { kind: 'propose', command: cmd }, 0)).toEqual([
      persist(preaccepted(id(0, 33), cmd, [32, 0, 0])),
      { kind: 'reserve', upTo: 65 },
      { kind: 'then', input: { kind: 'reserved', upTo: 65 } },
      send([1, 2], { type: 'PreAccept', id: id(0, 33), command: cmd, deps: [32, 0, 0] }),
      toSelf(0, ok([32, 0, 0], id(0, 33))),
    ])
  })
})

describe('PreAccept', () => {
  test('[CO2] a voter records the command, adds its own conflicts to the deps and answers once that is durable', () => {
    const state = replica(3, 1, { instances: [preaccepted(id(2, 7), write(1), [0, 0, 0])] })
    const cmd = write(1)
    expect(step(state, receive(0, { type: 'PreAccept', id: id(0, 3), command: cmd, deps: [2, 1, 5] }), 0)).toEqual([
      persist(preaccepted(id(0, 3), cmd, [2, 1, 7], [2, 1, 5])),
      send([0], ok([2, 1, 7], id(0, 3))),
    ])
  })

  test('[CO2] what is committed or executed here stays in the deps of what comes after', () => {
    const state = replica(3, 1, { instances: [committed(id(2, 1), 0, write(1), [0, 0, 0])] })
    const cmd = write(1)
    expect(step(state, receive(0, { type: 'PreAccept', id: own, command: cmd, deps: [0, 0, 0] }), 0)).toEqual([
      persist(preaccepted(own, cmd, [0, 0, 1], [0, 0, 0])),
      send([0], ok([0, 0, 1])),
    ])
  })

  test('[CO2] a repeated PreAccept gets the stored answer, though more conflicts are known by then', () => {
    const state = replica(3, 1)
    const message = { type: 'PreAccept', id: own, command: write(1), deps: [0, 0, 0] } as const
    step(state, receive(0, message), 0)
    step(state, receive(2, { type: 'PreAccept', id: id(2, 1), command: write(1), deps: [0, 0, 0] }), 0)
    expect(step(state, receive(0, message), 0)).toEqual([sync, send([0], ok([0, 0, 0]))])
  })

  test('[CO2] a voter that promised a recovery answers with the promise', () => {
    const cmd = write(1)
    for (const known of [promised(own, 18), { ...preaccepted(own, cmd, [0, 0, 0]), promisedBallot: 18 }]) {
      const state = replica(3, 1, { instances: [known] })
      expect(step(state, receive(0, { type: 'PreAccept', id: own, command: cmd, deps: [0, 0, 0] }), 0)).toEqual([
        sync,
        send([0], { type: 'Nack', id: own, ballot: 0, promisedBallot: 18 }),
      ])
    }
  })

  test('[CO2] a voter that accepted at ballot 0 says nothing to a late PreAccept', () => {
    const cmd = write(1)
    const state = replica(3, 1, { instances: [accepted(own, 0, cmd, [0, 0, 0])] })
    expect(step(state, receive(0, { type: 'PreAccept', id: own, command: cmd, deps: [0, 0, 0] }), 0)).toEqual([])
  })
})

describe('the fast path', () => {
  test.each([3, 5])(
    '[CO3] the coordinator of %i commits on the fast path when n - e voters, itself among them, answered exactly initDeps, in every order',
    (n) => {
      const fast = n === 3 ? 2 : 3
      for (const order of ordersOf(rowsBut(n, null))) {
        const cmd = write(1)
        const state = proposed(n, cmd)
        const due = Math.max(fast, order.indexOf(0) + 1)
        order.forEach((row, index) => {
          const effects = step(state, receive(row, ok(zeros(n))), 0)
          expect(effects, `order ${order}, answer ${index + 1}`).toEqual(index + 1 === due ? fastCommit(n, cmd) : [])
        })
      }
    },
  )

  test('[CO3] of 7 voters a slow quorum of 4 that answered exactly initDeps is not enough for the fast path, a fifth is', () => {
    const cmd = write(1)
    const state = proposed(7, cmd)
    for (const row of [0, 1, 2, 3]) expect(step(state, receive(row, ok(zeros(7))), 0)).toEqual([])
    expect(step(state, receive(4, ok(zeros(7))), 0)).toEqual(fastCommit(7, cmd))
  })

  test('[CO3] an answer that differs does not spoil the fast path while n - e others can answer initDeps', () => {
    const cmd = write(1)
    const state = proposed(5, cmd)
    expect(step(state, receive(0, ok(zeros(5))), 0)).toEqual([])
    expect(step(state, receive(1, ok([0, 3, 0, 0, 0])), 0)).toEqual([])
    expect(step(state, receive(2, ok([0, 3, 0, 0, 0])), 0)).toEqual([])
    expect(step(state, receive(3, ok(zeros(5))), 0)).toEqual([])
    expect(step(state, receive(4, ok(zeros(5))), 0)).toEqual(fastCommit(5, cmd))
  })

  test('[CO3] a voter that answers twice counts once', () => {
    const cmd = write(1)
    const state = proposed(5, cmd)
    step(state, receive(0, ok(zeros(5))), 0)
    expect(step(state, receive(1, ok(zeros(5))), 0)).toEqual([])
    expect(step(state, receive(1, ok(zeros(5))), 0)).toEqual([])
    expect(step(state, receive(2, ok(zeros(5))), 0)).toEqual(fastCommit(5, cmd))
  })

  test('[CO8] voters hear of the commit in short, observers that are connected in full', () => {
    const cmd = write(1)
    const state = proposed(3, cmd)
    step(state, { kind: 'connected', peer: observer }, 0)
    step(state, receive(0, ok(zeros(3))), 0)
    const instance = committed(own, 0, cmd, zeros(3), { initCommand: cmd, initDeps: zeros(3) })
    expect(step(state, receive(1, ok(zeros(3))), 0)).toEqual([
      persist(instance),
      send([1, 2], { type: 'ShortCommit', id: own, value: 'initial' }),
      {
        kind: 'send',
        to: [observer],
        message: { type: 'Commit', id: own, ballot: 0, command: cmd, deps: zeros(3) },
      },
      { kind: 'committed', instance, path: 'fast' },
    ])
  })

  test('[CO3] an answer for an instance that nothing is attempted for changes nothing', () => {
    expect(step(replica(3, 0), receive(1, ok([0, 0, 0])), 0)).toEqual([])
  })
})

describe('the slow path', () => {
  /** The accept round of the own command with `deps`. */
  function slow(state: ReplicaState, cmd: Command, deps: readonly number[]): Effect[] {
    const init = { initCommand: cmd, initDeps: zeros(deps.length) }
    return acceptRound(state, { id: own, ballot: 0, command: cmd, deps }, init)
  }

  /** Voter r knows of conflicting instances up to r.r. */
  function differing(n: number, row: Row): number[] {
    return zeros(n).map((_, index) => (index === row ? row : 0))
  }

  test.each([3, 5])(
    '[CO3] the coordinator of %i takes the union of the answers to the accept round once the fast path is out of reach, in every order',
    (n) => {
      const fast = n === 3 ? 2 : 3
      for (const order of ordersOf(rowsBut(n, null))) {
        const cmd = write(1)
        const state = proposed(n, cmd)
        const union = zeros(n)
        let changed = 0
        let done = false
        for (const row of order) {
          const deps = differing(n, row)
          union[row] = Math.max(union[row] ?? 0, row)
          if (row !== 0) changed++
          const effects = step(state, receive(row, ok(deps)), 0)
          const outOfReach = n - changed < fast
          expect(effects, `order ${order}, answer of ${row}`).toEqual(
            outOfReach && !done ? slow(state, cmd, union.slice()) : [],
          )
          done ||= outOfReach
        }
        expect(done).toBe(true)
      }
    },
  )

  test('[CO3] answers that are only the same as each other do not make a fast path', () => {
    const cmd = write(1)
    const state = proposed(3, cmd)
    expect(step(state, receive(0, ok([0, 0, 0])), 0)).toEqual([])
    expect(step(state, receive(1, ok([0, 0, 2])), 0)).toEqual([])
    expect(step(state, receive(2, ok([0, 0, 2])), 0)).toEqual(slow(state, cmd, [0, 0, 2]))
  })

  test('[CO3] of 7 voters the fast path is given up when the third answer differs', () => {
    const cmd = write(1)
    const state = proposed(7, cmd)
    for (const row of [0, 1, 2, 3]) expect(step(state, receive(row, ok(zeros(7))), 0)).toEqual([])
    expect(step(state, receive(4, ok(differing(7, 4))), 0)).toEqual([])
    expect(step(state, receive(5, ok(differing(7, 5))), 0)).toEqual([])
    expect(step(state, receive(6, ok(differing(7, 6))), 0)).toEqual(slow(state, cmd, [0, 0, 0, 0, 4, 5, 6]))
  })

  test('[CO3] the fast path is awaited for the fast-path timeout after a slow quorum answered, and no longer', () => {
    const cmd = write(1)
    const state = proposed(7, cmd)
    for (const row of [0, 1, 2]) expect(step(state, receive(row, ok(zeros(7))), 10)).toEqual([])
    expect(step(state, tick, 100)).toEqual([])
    expect(step(state, receive(3, ok(differing(7, 3))), 200)).toEqual([])
    expect(step(state, tick, 229)).toEqual([])
    expect(step(state, tick, 230)).toEqual(slow(state, cmd, differing(7, 3)))
  })

  test('[CO3] without a slow quorum of answers no timeout starts the accept round', () => {
    const state = proposed(5, write(1))
    step(state, receive(0, ok(zeros(5))), 0)
    step(state, receive(1, ok(differing(5, 1))), 0)
    expect(step(state, tick, 999)).toEqual([])
  })

  test('[CO3] a voter that is lost is not waited for', () => {
    const cmd = write(1)
    const state = proposed(3, cmd)
    step(state, receive(0, ok([0, 0, 0])), 0)
    expect(step(state, receive(1, ok([0, 1, 0])), 0)).toEqual([])
    expect(step(state, { kind: 'disconnected', peer: voter(2) }, 0)).toEqual(slow(state, cmd, [0, 1, 0]))
  })

  test('[CO3] a voter that refused is not waited for', () => {
    const cmd = write(1)
    const state = proposed(3, cmd)
    step(state, receive(0, ok([0, 0, 0])), 0)
    step(state, receive(1, ok([0, 1, 0])), 0)
    const nack = receive(2, { type: 'Nack', id: own, ballot: 0, promisedBallot: 18 })
    expect(step(state, nack, 1)).toEqual(slow(state, cmd, [0, 1, 0]))
  })

  test('[CO3] a coordinator that so many refused that no slow quorum is left leaves the instance to the recovery', () => {
    const state = proposed(3, write(1))
    const nack = { type: 'Nack', id: own, ballot: 0, promisedBallot: 18 } as const
    expect(step(state, receive(1, nack), 0)).toEqual([])
    expect(step(state, receive(2, nack), 0)).toEqual([])
    expect(step(state, receive(0, ok([0, 0, 0])), 0)).toEqual([])
    expect(step(state, receive(1, ok([0, 0, 0])), 0)).toEqual([])
  })

  test('[CO3] a coordinator that promised a recovery commits no more on the fast path', () => {
    const state = proposed(3, write(1))
    step(state, receive(1, { type: 'Recover', id: own, ballot: 17 }), 0)
    expect(step(state, receive(0, ok([0, 0, 0])), 0)).toEqual([])
    expect(step(state, receive(2, ok([0, 0, 0])), 0)).toEqual([])
  })
})
