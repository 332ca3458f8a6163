import { expect, test } from 'vitest'
import type { Footprint } from './command.ts'
import {
  command,
  committed,
  id,
  observer,
  ordersOf,
  preaccepted,
  receive,
  replica,
  rowsBut,
  send,
  sync,
  tick,
  voter,
  write,
} from './fixtures.ts'
import type { ReadIndexOk } from './message.ts'
import { step } from './replica.ts'

const footprint: Footprint = [{ key: 1, mode: 'read' }]
const start = { kind: 'read', read: 7, footprint } as const

function answer(deps: readonly number[], read = 7): ReadIndexOk {
  return { type: 'ReadIndexOk', read, deps }
}

test.each([3, 5])(
  '[RD1] of %i voters n - f answers, the own one among them, make the read come after their maximum, in every order',
  (n) => {
    const slow = n === 3 ? 2 : 3
    const mark = (row: number) => rowsBut(n, null).map((index) => (index === row ? 9 : 0))
    for (const order of ordersOf(rowsBut(n, 1))) {
      const state = replica(n, 1, { instances: [preaccepted(id(1, 9), write(1), mark(9))] })
      expect(step(state, start, 0)).toEqual([send(rowsBut(n, 1), { type: 'ReadIndex', read: 7, footprint })])
      const heard = [1]
      for (const row of order) {
        const effects = step(state, receive(row, answer(mark(row))), 0)
        heard.push(row)
        const deps = rowsBut(n, null).map((index) => (heard.includes(index) ? 9 : 0))
        expect(effects).toEqual(heard.length === slow ? [{ kind: 'readable', read: 7, deps }] : [])
      }
    }
  },
)

test('[RD1] a voter that is alone reads after what it knows itself', () => {
  const state = replica(1, 0, { instances: [preaccepted(id(0, 1), write(1), [0])] })
  expect(step(state, start, 0)).toEqual([{ kind: 'readable', read: 7, deps: [1] }])
})

test('[RD1] an observer asks all voters and does not count itself', () => {
  const state = replica(3, null, { instances: [committed(id(2, 1), 0, write(1), [0, 0, 0])] })
  expect(step(state, start, 0)).toEqual([send([0, 1, 2], { type: 'ReadIndex', read: 7, footprint })])
  expect(step(state, receive(0, answer([1, 0, 0])), 0)).toEqual([])
  expect(step(state, receive(1, answer([0, 2, 0])), 0)).toEqual([{ kind: 'readable', read: 7, deps: [1, 2, 0] }])
})

test('[RD1] a voter that answers twice counts once, and answers to no read, or another, change nothing', () => {
  const state = replica(5, 1)
  step(state, start, 0)
  expect(step(state, receive(2, answer([0, 0, 1, 0, 0])), 0)).toEqual([])
  expect(step(state, receive(2, answer([0, 0, 1, 0, 0])), 0)).toEqual([])
  expect(step(state, receive(3, answer([0, 0, 0, 1, 0], 8)), 0)).toEqual([])
  const readable = { kind: 'readable', read: 7, deps: [0, 0, 1, 2, 0] } as const
  expect(step(state, receive(3, answer([0, 0, 0, 2, 0])), 0)).toEqual([readable])
  expect(step(state, receive(4, answer([0, 0, 0, 0, 1])), 0)).toEqual([])
})

test('[RD1] a voter answers with what conflicts with the read, in whatever phase, and writes nothing for it', () => {
  const state = replica(3, 1, {
    instances: [
      preaccepted(id(0, 2), write(1), [0, 0, 0]),
      committed(id(1, 3), 0, command('add', 1), [0, 0, 0]),
      preaccepted(id(2, 4), command('read', 1), [0, 0, 0]),
      preaccepted(id(2, 5), write(2), [0, 0, 0]),
    ],
  })
  expect(step(state, receive(0, { type: 'ReadIndex', read: 3, footprint }), 0)).toEqual([
    send([0], answer([2, 3, 0], 3)),
  ])
  expect(step(state, receive(observer, { type: 'ReadIndex', read: 4, footprint: 'everything' }), 0)).toEqual([
    { kind: 'send', to: [observer], message: answer([2, 3, 5], 4) },
  ])
})

test('[RD1] voters that did not answer are asked again, if they can be reached', () => {
  const state = replica(5, 1)
  step(state, start, 0)
  step(state, receive(2, answer([0, 0, 0, 0, 0])), 0)
  step(state, { kind: 'disconnected', peer: voter(3) }, 0)
  expect(step(state, tick, 999)).toEqual([])
  expect(step(state, tick, 1_000)).toEqual([send([0, 4], { type: 'ReadIndex', read: 7, footprint })])
  expect(step(state, tick, 1_999)).toEqual([])
})

test('[DU1] an answer that names a seq whose reservation is not durable waits until it is', () => {
  const state = replica(3, 1)
  step(state, { kind: 'propose', command: write(1) }, 0)
  const asked = receive(0, { type: 'ReadIndex', read: 7, footprint } as const)
  expect(step(state, asked, 0)).toEqual([send([0], answer([0, 1, 0]))])
  // the block is used up faster than the disk reserves the next one
  while (state.nextSeq - 1 <= state.durableSeq) step(state, { kind: 'propose', command: write(1) }, 0)
  const named = state.nextSeq - 1
  expect(step(state, asked, 0)).toEqual([sync, send([0], answer([0, named, 0]))])
  step(state, { kind: 'reserved', upTo: state.reservedSeq }, 0)
  expect(step(state, asked, 0)).toEqual([send([0], answer([0, named, 0]))])
})
