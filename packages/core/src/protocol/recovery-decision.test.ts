import { describe, expect, test } from 'vitest'
import { nop } from './command.ts'
import type { Deps } from './deps.ts'
import { id, ordersOf, write } from './fixtures.ts'
import type { Row } from './ids.ts'
import type { RecoverOk } from './message.ts'
import { quorumsOf } from './quorum.ts'
import { decideRecovery, decideValidation } from './recovery-decision.ts'

type Known = RecoverOk['known']

const cmd = write(1)
const none: Known = { phase: 'none' }

function zeros(n: number): number[] {
  return new Array<number>(n).fill(0)
}

function supporter(deps: Deps): Known {
  return { phase: 'preaccepted', command: cmd, deps, initDeps: deps }
}

/** Pre-accepted with more deps than the coordinator's: was of no fast quorum. */
function changed(deps: Deps): Known {
  return { phase: 'preaccepted', command: cmd, deps: deps.map((mark) => mark + 1), initDeps: deps }
}

/** The decision of n voters about an instance of row 0, the same in every order of the answers. */
function decide(n: number, answers: readonly (readonly [Row, Known])[]) {
  const decisions = ordersOf(answers).map((order) => {
    const byRow = new Map(order.map(([row, known]): [Row, RecoverOk] => [row, recoverOk(known)]))
    return decideRecovery(byRow, 0, quorumsOf(n))
  })
  for (const decision of decisions) expect(decision).toEqual(decisions[0])
  return decisions[0]
}

function recoverOk(known: Known): RecoverOk {
  return { type: 'RecoverOk', id: id(0, 1), ballot: 17, known }
}

function acceptNop(n: number) {
  return { kind: 'accept', value: { command: nop, deps: zeros(n) } }
}

describe('after RecoverOk', () => {
  test('[RC3.1] a committed value goes before everything else that was answered', () => {
    const committed: Known = { phase: 'committed', acceptedBallot: 0, command: cmd, deps: [1, 0, 0, 0, 0] }
    const accepted: Known = { phase: 'accepted', acceptedBallot: 33, command: cmd, deps: [1, 0, 0, 0, 0] }
    expect(
      decide(5, [
        [0, none],
        [1, accepted],
        [2, committed],
      ]),
    ).toMatchObject({ kind: 'commit', value: { command: cmd, deps: [1, 0, 0, 0, 0] }, acceptedBallot: 0 })
  })

  test('[RC3.2] of accepted values the one of the highest accepted ballot is taken, before Nop and before validation', () => {
    const low: Known = { phase: 'accepted', acceptedBallot: 18, command: nop, deps: zeros(5) }
    const high: Known = { phase: 'accepted', acceptedBallot: 33, command: cmd, deps: [0, 4, 0, 0, 0] }
    expect(
      decide(5, [
        [0, low],
        [1, high],
        [2, supporter(zeros(5))],
        [3, supporter(zeros(5))],
      ]),
    ).toMatchObject({ kind: 'accept', value: { command: cmd, deps: [0, 4, 0, 0, 0] } })
  })

  test.each([3, 5, 7])(
    '[RC3.3] of %i voters: when the coordinator answered, all support in the world does not help',
    (n) => {
      const answers = Array.from({ length: n - quorumsOf(n).f }, (_, row) => [row, supporter(zeros(n))] as const)
      expect(decide(n, answers)).toEqual(acceptNop(n))
    },
  )

  test.each([3, 4, 5, 6, 7, 8, 9])(
    '[RC3.4] of %i voters: one supporter less than |Q| - e makes Nop, [RC3.5] as many ask for validation',
    (n) => {
      const { slow, e } = quorumsOf(n)
      for (const size of [slow, n - 1]) {
        const answersWith = (supporters: number) =>
          Array.from(
            { length: size },
            (_, index) => [index + 1, index < supporters ? supporter(zeros(n)) : none] as const,
          )
        const decideInOrder = (supporters: number) =>
          decideRecovery(
            new Map(answersWith(supporters).map(([row, known]) => [row, recoverOk(known)])),
            0,
            quorumsOf(n),
          )
        expect(decideInOrder(size - e - 1)).toEqual(acceptNop(n))
        for (let supporters = Math.max(1, size - e); supporters <= size; supporters++) {
          const value = { command: cmd, deps: zeros(n) }
          expect(decideInOrder(supporters)).toEqual({ kind: 'validate', value, supporters })
        }
      }
    },
  )

  test('[RC3.4] a voter that answered more deps than the coordinator had does not support the value', () => {
    expect(
      decide(5, [
        [1, changed(zeros(5))],
        [2, changed(zeros(5))],
        [3, none],
      ]),
    ).toEqual(acceptNop(5))
  })

  test('[RC3.5] the value to validate is that of a supporter, not of one that answered more deps', () => {
    expect(
      decide(5, [
        [1, changed([2, 0, 0, 0, 0])],
        [2, supporter([2, 0, 0, 0, 0])],
        [3, none],
      ]),
    ).toEqual({ kind: 'validate', value: { command: cmd, deps: [2, 0, 0, 0, 0] }, supporters: 1 })
  })

  test('[RC3.4] where no voter may fail, as with two, the silence of the coordinator is never enough to validate', () => {
    expect(quorumsOf(2)).toMatchObject({ slow: 2, e: 0 })
    expect(
      decide(2, [
        [0, none],
        [1, supporter(zeros(2))],
      ]),
    ).toEqual(acceptNop(2))
  })
})

describe('after ValidateOk', () => {
  const q5 = new Set([1, 2, 3])
  const five = quorumsOf(5)

  test('[RC5.1] nothing against it: the value is accepted, however few supported it', () => {
    expect(decideValidation([], q5, 1, five)).toBe('accept')
    expect(decideValidation([], q5, 3, five)).toBe('accept')
  })

  test('[RC5.2] something committed against it: Nop, however many supported it', () => {
    const invalidating = [
      { id: id(1, 1), committed: false },
      { id: id(2, 1), committed: true },
    ]
    expect(decideValidation(invalidating, q5, 1, five)).toBe('nop')
    expect(decideValidation(invalidating, q5, 3, five)).toBe('nop')
  })

  test('[RC5.2] a coordinator outside Q makes Nop at exactly |R| = |Q| - e', () => {
    const outside = [
      { id: id(1, 1), committed: false },
      { id: id(4, 1), committed: false },
    ]
    expect(decideValidation(outside, q5, 1, five)).toBe('nop')
    expect(decideValidation(outside, q5, 2, five)).toBe('wait')
    expect(decideValidation(outside, new Set([1, 2, 3, 4]), 2, five)).toBe('wait')
    expect(decideValidation([{ id: id(0, 2), committed: false }], new Set([1, 2, 3, 4]), 2, five)).toBe('nop')
    expect(decideValidation([{ id: id(0, 2), committed: false }], new Set([1, 2]), 1, quorumsOf(3))).toBe('nop')
  })

  test('[RC5.3] otherwise it waits for what speaks against it', () => {
    expect(decideValidation([{ id: id(3, 1), committed: false }], q5, 1, five)).toBe('wait')
    expect(decideValidation([{ id: id(0, 2), committed: false }], q5, 3, five)).toBe('wait')
    expect(decideValidation([{ id: id(2, 1), committed: false }], new Set([1, 2]), 1, quorumsOf(3))).toBe('wait')
  })
})
