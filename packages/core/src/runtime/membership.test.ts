// Who the next members are, from who the members are, what was asked for and who is silent. That a barrier carries it out is
// tested elsewhere.
import { describe, expect, test } from 'vitest'
import type { Membership } from '../protocol/command.ts'
import type { Role } from '../protocol/control-message.ts'
import { type ReplicaId, replicaId, replicaIdFromBytes } from '../protocol/ids.ts'
import { nextMembership, observersMax } from './membership.ts'

const ids = Object.fromEntries([...'0123456789abcdef'].map((digit) => [digit, replicaId(digit.repeat(32))]))

function list(digits: string): ReplicaId[] {
  return [...digits].map((digit) => ids[digit] as ReplicaId)
}

function members(voters: string, observers = ''): Membership {
  return { voters: list(voters), observers: list(observers) }
}

interface Wishes {
  readonly votersMax?: number
  readonly silent?: string
  readonly reachable?: string
  readonly steady?: string
  readonly preferOdd?: boolean
}

function next(now: Membership, wanted: Record<string, Role>, wishes: Wishes = {}): Membership | null {
  return nextMembership(now, {
    wanted: new Map(Object.entries(wanted).map(([digit, role]) => [ids[digit] as ReplicaId, role])),
    silent: new Set(list(wishes.silent ?? '')),
    reachable: new Set(list(wishes.reachable ?? '0123456789abcdef')),
    steady: new Set(list(wishes.steady ?? '')),
    votersMax: wishes.votersMax ?? 9,
    preferOdd: wishes.preferOdd ?? false,
  })
}

describe('the next members', () => {
  test('are the present ones, so there is no change, while nobody asks or all ask for what they are', () => {
    expect(next(members('ab', 'c'), {})).toBeNull()
    expect(next(members('ab', 'c'), { a: 'voter', c: 'observer', d: 'none' })).toBeNull()
  })

  test('take in who asks, after those that are there', () => {
    expect(next(members('b'), { a: 'voter', c: 'observer' })).toEqual(members('ba', 'c'))
  })

  test('come out the same in whatever order the requests came', () => {
    const one = next(members('e'), { a: 'voter', b: 'voter', c: 'voter' }, { votersMax: 3 })
    expect(next(members('e'), { c: 'voter', b: 'voter', a: 'voter' }, { votersMax: 3 })).toEqual(one)
    expect(one).toEqual(members('eab', 'c'))
  })

  test('let go who asks for it, voter or observer', () => {
    expect(next(members('abc', 'de'), { b: 'none', d: 'none' })).toEqual(members('ac', 'e'))
  })

  test('make an observer of a voter and a voter of an observer', () => {
    expect(next(members('ab', 'c'), { b: 'observer', c: 'voter' })).toEqual(members('ac', 'b'))
  })

  test('never have more voters than asked for, nor more than nine: the rest observe', () => {
    expect(next(members('ab'), { c: 'voter', d: 'voter' }, { votersMax: 3 })).toEqual(members('abc', 'd'))
    expect(next(members('01234567'), { 8: 'voter', 9: 'voter' }, { votersMax: 99 })).toEqual(members('012345678', '9'))
  })

  test('give a place that became free to who asked for it', () => {
    expect(next(members('abc', 'd'), { a: 'none', d: 'voter' }, { votersMax: 3 })).toEqual(members('bcd'))
  })

  test('always have a voter: a reachable observer takes the place of the last, and without one the last stays', () => {
    expect(next(members('a', 'b'), { a: 'none' }, { reachable: 'a' })).toBeNull()
    expect(next(members('a', 'bc'), { a: 'none' }, { reachable: 'c' })).toEqual(members('c', 'b'))
    expect(next(members('a', 'b'), { a: 'observer' }, { reachable: 'b' })).toEqual(members('b', 'a'))
  })

  test('are named once each', () => {
    const wanted = { a: 'observer', c: 'voter', d: 'observer', e: 'voter' } as const
    const result = next(members('ab', 'cd'), wanted, { votersMax: 2 })
    const all = [...(result?.voters ?? []), ...(result?.observers ?? [])]
    expect(new Set(all).size).toBe(all.length)
    expect(result).toEqual(members('bc', 'dae'))
  })
})

describe('silent voters', () => {
  test('become observers, so that they can come back', () => {
    expect(next(members('abc'), {}, { silent: 'b' })).toEqual(members('ac', 'b'))
  })

  test('make place for who asks', () => {
    expect(next(members('abc', 'd'), { d: 'voter' }, { silent: 'b', votersMax: 3 })).toEqual(members('acd', 'b'))
  })

  test('do not get a seat by an old request', () => {
    expect(next(members('abc'), { b: 'voter' }, { silent: 'b' })).toEqual(members('ac', 'b'))
  })
})

describe('where odd numbers of voters are preferred', () => {
  const preferOdd = true

  test('a second replica observes, and a third brings both in', () => {
    expect(next(members('a'), { b: 'voter' }, { preferOdd })).toEqual(members('a', 'b'))
    expect(next(members('a', 'b'), { b: 'voter' }, { preferOdd })).toBeNull()
    expect(next(members('a', 'b'), { b: 'voter', c: 'voter' }, { preferOdd })).toEqual(members('abc'))
  })

  test('of two that stay when the third is silent, the longer-standing one decides alone', () => {
    expect(next(members('abc'), {}, { silent: 'a', preferOdd })).toEqual(members('b', 'ac'))
  })

  test('the seat that is given up is that of a voter that is away, before that of the last', () => {
    expect(next(members('abc'), { c: 'none' }, { reachable: 'bc', preferOdd })).toEqual(members('b', 'a'))
    expect(next(members('abcde'), {}, { silent: 'e', reachable: 'acd', preferOdd })).toEqual(members('acd', 'eb'))
  })

  test('who leaves takes another with it out of the vote, never the last', () => {
    expect(next(members('abcde'), { b: 'none' }, { preferOdd })).toEqual(members('acd', 'e'))
    expect(next(members('abc'), { a: 'none', b: 'none' }, { preferOdd })).toEqual(members('c'))
  })
})

test('[MB2] one voter too many: one that is away gives up its seat, else the last that is not always there, else the last', () => {
  const wishes = { preferOdd: true, silent: 'a' }
  expect(next(members('abcd'), {}, { preferOdd: true, reachable: 'acd', steady: 'b' })).toEqual(members('acd', 'b'))
  expect(next(members('abe'), {}, { ...wishes, steady: 'e' })).toEqual(members('e', 'ab'))
  expect(next(members('abc'), {}, wishes)).toEqual(members('b', 'ac'))
  expect(next(members('abcd'), {}, { preferOdd: true, steady: 'abcd' })).toEqual(members('abc', 'd'))
})

test('too many observers: those that can not be reached go first, the longest-standing among them', () => {
  const many = Array.from({ length: observersMax + 2 }, (_, index) =>
    replicaIdFromBytes(
      Uint8Array.from({ length: 16 }, (_, at) => (at < 14 ? 0 : at === 14 ? index >> 8 : index & 0xff)),
    ),
  )
  const reachable = new Set(many.slice(0, 3))
  const now = { voters: list('a'), observers: many }
  const after = nextMembership(now, {
    wanted: new Map(),
    silent: new Set(),
    reachable,
    steady: new Set(),
    votersMax: 7,
    preferOdd: true,
  })
  expect(after?.observers).toEqual([...many.slice(0, 3), ...many.slice(5)])
})
