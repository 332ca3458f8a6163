// Who the next members are, from who the members are and what was asked for. That a barrier carries it out is tested elsewhere.
import { describe, expect, test } from 'vitest'
import type { Membership } from '../protocol/command.ts'
import type { Role } from '../protocol/control-message.ts'
import { type ReplicaId, replicaId } from '../protocol/ids.ts'
import { nextMembership } from './membership.ts'

const ids = Object.fromEntries([...'0123456789abcdef'].map((digit) => [digit, replicaId(digit.repeat(32))]))

function list(digits: string): ReplicaId[] {
  return [...digits].map((digit) => ids[digit] as ReplicaId)
}

function members(voters: string, observers = ''): Membership {
  return { voters: list(voters), observers: list(observers) }
}

function next(now: Membership, wanted: Record<string, Role>, votersMax = 9, successor?: string): Membership | null {
  const requests = new Map(Object.entries(wanted).map(([digit, role]) => [ids[digit] as ReplicaId, role]))
  return nextMembership(now, requests, votersMax, successor === undefined ? undefined : ids[successor])
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
    const one = next(members('e'), { a: 'voter', b: 'voter', c: 'voter' }, 3)
    expect(next(members('e'), { c: 'voter', b: 'voter', a: 'voter' }, 3)).toEqual(one)
    expect(one).toEqual(members('eab', 'c'))
  })

  test('let go who asks for it, voter or observer', () => {
    expect(next(members('abc', 'de'), { b: 'none', d: 'none' })).toEqual(members('ac', 'e'))
  })

  test('make an observer of a voter and a voter of an observer', () => {
    expect(next(members('ab', 'c'), { b: 'observer', c: 'voter' })).toEqual(members('ac', 'b'))
  })

  test('never have more voters than asked for, nor more than nine: the rest observe', () => {
    expect(next(members('ab'), { c: 'voter', d: 'voter' }, 3)).toEqual(members('abc', 'd'))
    expect(next(members('01234567'), { 8: 'voter', 9: 'voter' }, 99)).toEqual(members('012345678', '9'))
  })

  test('give a place that became free to who asked for it', () => {
    expect(next(members('abc', 'd'), { a: 'none', d: 'voter' }, 3)).toEqual(members('bcd'))
  })

  test('always have a voter: a successor takes the place of the last, and without one the last stays', () => {
    expect(next(members('a', 'b'), { a: 'none' })).toBeNull()
    expect(next(members('a', 'bc'), { a: 'none' }, 9, 'b')).toEqual(members('b', 'c'))
    expect(next(members('a', 'b'), { a: 'observer' }, 9, 'b')).toEqual(members('b', 'a'))
  })

  test('are named once each', () => {
    const result = next(members('ab', 'cd'), { a: 'observer', c: 'voter', d: 'observer', e: 'voter' }, 2)
    const all = [...(result?.voters ?? []), ...(result?.observers ?? [])]
    expect(new Set(all).size).toBe(all.length)
    expect(result).toEqual(members('bc', 'dae'))
  })
})
