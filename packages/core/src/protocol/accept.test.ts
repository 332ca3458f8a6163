import { describe, expect, test } from 'vitest'
import { nop } from './command.ts'
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
  write,
} from './fixtures.ts'
import { step } from './replica.ts'
import type { ReplicaState } from './state.ts'

const at = id(0, 1)
const cmd = write(1)
const deps3 = [0, 2, 0]

describe('Accept', () => {
  test('[CO4] a voter that knows nothing of the instance accepts and answers once that is durable', () => {
    const state = replica(3, 1)
    expect(step(state, receive(0, { type: 'Accept', id: at, ballot: 0, command: cmd, deps: deps3 }), 0)).toEqual([
      persist(accepted(at, 0, cmd, deps3)),
      send([0], { type: 'AcceptOk', id: at, ballot: 0 }),
    ])
  })

  test('[CO4] the value is replaced, and what was first heard of the instance stays', () => {
    const state = replica(3, 1, { instances: [preaccepted(at, cmd, [0, 1, 0], [0, 0, 0])] })
    const message = { type: 'Accept', id: at, ballot: 18, command: nop, deps: [0, 0, 0] } as const
    expect(step(state, receive(2, message), 0)).toEqual([
      persist(accepted(at, 18, nop, [0, 0, 0], { initCommand: cmd, initDeps: [0, 0, 0] })),
      send([2], { type: 'AcceptOk', id: at, ballot: 18 }),
    ])
  })

  test('[CO4] a ballot equal to the promise is accepted, also a second time', () => {
    const state = replica(3, 1, { instances: [promised(at, 18)] })
    const message = { type: 'Accept', id: at, ballot: 18, command: cmd, deps: deps3 } as const
    const effects = [persist(accepted(at, 18, cmd, deps3)), send([2], { type: 'AcceptOk', id: at, ballot: 18 })]
    expect(step(state, receive(2, message), 0)).toEqual(effects)
    expect(step(state, receive(2, message), 0)).toEqual(effects)
  })

  test('[CO4] a higher ballot replaces what a lower one had accepted', () => {
    const state = replica(5, 1, { instances: [accepted(at, 18, cmd, [0, 2, 0, 0, 0])] })
    const message = { type: 'Accept', id: at, ballot: 35, command: nop, deps: [0, 0, 0, 0, 0] } as const
    expect(step(state, receive(3, message), 0)).toEqual([
      persist(accepted(at, 35, nop, [0, 0, 0, 0, 0])),
      send([3], { type: 'AcceptOk', id: at, ballot: 35 }),
    ])
  })

  test('[CO4] a ballot below the promise is refused with the promise', () => {
    for (const known of [promised(at, 18), accepted(at, 18, nop, [0, 0, 0])]) {
      const state = replica(3, 1, { instances: [known] })
      expect(step(state, receive(0, { type: 'Accept', id: at, ballot: 0, command: cmd, deps: deps3 }), 0)).toEqual([
        sync,
        send([0], { type: 'Nack', id: at, ballot: 0, promisedBallot: 18 }),
      ])
    }
  })

  test('[CO4] a coordinator that accepts the value of a recovery goes on no more with its own round', () => {
    const state = replica(3, 0)
    step(state, { kind: 'propose', command: cmd }, 0)
    step(state, receive(1, { type: 'Accept', id: at, ballot: 17, command: nop, deps: [0, 0, 0] }), 0)
    expect(step(state, receive(0, { type: 'PreAcceptOk', id: at, deps: [0, 0, 0] }), 0)).toEqual([])
    expect(step(state, receive(1, { type: 'PreAcceptOk', id: at, deps: [0, 0, 0] }), 0)).toEqual([])
  })
})

describe('AcceptOk', () => {
  /** Row 0 of n voters is in the accept round of its own command at ballot 0, with these deps. */
  function accepting(n: number, deps: readonly number[]): ReplicaState {
    const state = replica(n, 0)
    step(state, { kind: 'propose', command: cmd }, 0)
    const effects = rowsBut(n, null).flatMap((row) =>
      step(state, receive(row, { type: 'PreAcceptOk', id: at, deps: row === 0 ? deps.map(() => 0) : deps }), 0),
    )
    const init = { initCommand: cmd, initDeps: deps.map(() => 0) }
    expect(effects).toEqual(acceptRound(state, { id: at, ballot: 0, command: cmd, deps }, init))
    return state
  }

  test.each([3, 5, 7])(
    '[CO5] a coordinator of %i voters commits when n - f of them accepted, itself counted like any other',
    (n) => {
      const deps = new Array<number>(n).fill(0).map((_, row) => (row === 1 ? 9 : 0))
      const slow = { 3: 2, 5: 3, 7: 4 }[n] ?? 0
      const instance = committed(at, 0, cmd, deps, { initCommand: cmd, initDeps: deps.map(() => 0) })
      const commit = [
        send(rowsBut(n, 0), { type: 'ShortCommit', id: at, value: 'accepted' }),
        { kind: 'committed', instance, path: 'slow' },
        keep(instance),
      ]
      for (const order of n === 7 ? [rowsBut(7, null), rowsBut(7, null).reverse()] : ordersOf(rowsBut(n, null))) {
        const state = accepting(n, deps)
        order.forEach((row, index) => {
          const effects = step(state, receive(row, { type: 'AcceptOk', id: at, ballot: 0 }), 0)
          expect(effects, `order ${order}, answer ${index + 1}`).toEqual(index + 1 === slow ? commit : [])
        })
      }
    },
  )

  test('[CO5] a voter that answers twice counts once', () => {
    const state = accepting(5, [0, 1, 0, 0, 0])
    for (const row of [1, 1, 2, 2, 1]) {
      expect(step(state, receive(row, { type: 'AcceptOk', id: at, ballot: 0 }), 0)).toEqual([])
    }
  })

  test('[CO5] an answer for another ballot than the current is dropped', () => {
    const state = replica(3, 1)
    recover(state, at)
    step(state, receive(1, { type: 'RecoverOk', id: at, ballot: 17, known: { phase: 'none' } }), 0)
    step(state, receive(2, { type: 'RecoverOk', id: at, ballot: 17, known: { phase: 'none' } }), 0)
    expect(step(state, receive(1, { type: 'AcceptOk', id: at, ballot: 17 }), 0)).toEqual([])
    expect(step(state, receive(2, { type: 'AcceptOk', id: at, ballot: 0 }), 0)).toEqual([])
    expect(step(state, receive(2, { type: 'AcceptOk', id: at, ballot: 33 }), 0)).toEqual([])
    const instance = committed(at, 17, nop, [0, 0, 0])
    expect(step(state, receive(2, { type: 'AcceptOk', id: at, ballot: 17 }), 0)).toEqual([
      send([0, 2], { type: 'Commit', id: at, ballot: 17, command: nop, deps: [0, 0, 0] }),
      { kind: 'committed', instance, path: 'recovered' },
      keep(instance),
    ])
  })

  test('[CO5] a refused accept round is given up', () => {
    const state = accepting(3, [0, 1, 0])
    expect(step(state, receive(1, { type: 'Nack', id: at, ballot: 0, promisedBallot: 17 }), 0)).toEqual([])
    expect(step(state, receive(0, { type: 'AcceptOk', id: at, ballot: 0 }), 0)).toEqual([])
    expect(step(state, receive(2, { type: 'AcceptOk', id: at, ballot: 0 }), 0)).toEqual([])
  })

  test('[CO5] a Nack for another attempt than the current is dropped', () => {
    const state = accepting(3, [0, 1, 0])
    expect(step(state, receive(1, { type: 'Nack', id: at, ballot: 16, promisedBallot: 17 }), 0)).toEqual([])
    step(state, receive(0, { type: 'AcceptOk', id: at, ballot: 0 }), 0)
    const kinds = step(state, receive(2, { type: 'AcceptOk', id: at, ballot: 0 }), 0).map((effect) => effect.kind)
    expect(kinds).toEqual(['send', 'committed', 'keep'])
  })
})
