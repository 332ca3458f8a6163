import { type Member, replicaId, WepaxosError } from '@wepaxos/core'
import { expect, test } from 'vitest'
import {
  adviseLeaving,
  adviseWithoutQuorum,
  describeError,
  describeKept,
  describeStartFailure,
  describeStatus,
  formatDuration,
} from './plain-words.ts'

const ids = ['1', '2', '3'].map((digit) => replicaId(digit.repeat(32)))
const nameOf = (id: string): string => `name-${id[0]}`

function members(voters: number, role: Member['role'] = 'voter'): readonly Member[] {
  return ids
    .slice(0, voters)
    .map((id, index) => ({ id, role: index === 0 ? role : 'voter', self: index === 0, connected: true }))
}

test('ready says how many voters agree and how many may be away', () => {
  const meaning = (voters: number, slowQuorum: number): string =>
    describeStatus({ kind: 'ready' }, { members: members(voters), slowQuorum }).meaning
  expect(meaning(1, 1)).toContain('only voter')
  expect(meaning(2, 2)).toContain('Both are needed')
  expect(meaning(3, 2)).toBe('Each change is agreed on by 2 of 3 voters. One may be away and it goes on.')
})

test('an observer is told that it has no vote, and what would bring one', () => {
  const meaning = (count: number): string =>
    describeStatus({ kind: 'ready' }, { members: members(count, 'observer'), slowQuorum: 1 }).meaning
  expect(meaning(3)).toContain('no vote')
  expect(meaning(2)).toContain('when a third one comes')
})

test('the only voter is told how many keep a copy', () => {
  const meaning = (observers: number): string => {
    const all = ids.slice(0, 1 + observers).map((id, index) => {
      return { id, role: index === 0 ? 'voter' : 'observer', self: index === 0, connected: true } as const
    })
    return describeStatus({ kind: 'ready' }, { members: all, slowQuorum: 1 }).meaning
  }
  expect(meaning(0)).toContain('no other page has a copy')
  expect(meaning(1)).toContain('one other page keeps a copy')
  expect(meaning(2)).toContain('2 other pages keep copies')
})

test('without a quorum the missing voters are named', () => {
  const status = { kind: 'no-quorum', reachable: 1, needed: 2, members: 3, missing: ids.slice(1) } as const
  const words = describeStatus(status, { members: members(3), slowQuorum: 2 })
  expect(words.meaning).toContain('1 of 3 voters can be reached, and 2 are needed')
  const alone = { ...status, reachable: 0, needed: 1, members: 1, missing: ids.slice(2) }
  expect(describeStatus(alone, { members: members(2, 'observer'), slowQuorum: 1 }).meaning).toContain(
    'The only voter can not be reached',
  )
  const advice = adviseWithoutQuorum(status, nameOf)
  expect(advice).toContain('Missing: name-2 and name-3.')
  expect(advice).toContain('as soon as one of them is back')
  expect(adviseWithoutQuorum({ ...status, members: 2, missing: ids.slice(2) }, nameOf)).toContain(
    'as soon as it is back',
  )
})

test('leaving is advised against when it would take the quorum from the others, and impossible for the last member', () => {
  const three = members(3)
  expect(adviseLeaving(three).kind).toBe('go')
  // Of two that stay one votes and one observes, so one that is here is enough.
  const withConnected = (connected: number) =>
    adviseLeaving(three.map((member, index) => ({ ...member, connected: index <= connected })))
  expect(withConnected(1).kind).toBe('go')
  expect(withConnected(0).kind).toBe('would-stop-the-others')
  expect(adviseLeaving(members(1)).kind).toBe('last')
  const four = [...three, { id: replicaId('4'.repeat(32)), role: 'voter', self: false, connected: false }] as const
  expect(adviseLeaving(four).kind).toBe('go')
  const fourAway = four.map((member, index) => ({ ...member, connected: index < 2 }))
  expect(adviseLeaving(fourAway)).toMatchObject({
    kind: 'would-stop-the-others',
    text: expect.stringContaining('2 of them'),
  })
  const observer = members(3, 'observer').map((member, index) => ({ ...member, connected: index < 2 }))
  expect(adviseLeaving(observer).kind).toBe('go')
})

test('a stopped replica says why', () => {
  const status = { kind: 'failed', error: new WepaxosError('StorageFailed', 'the disk is full') } as const
  expect(describeStatus(status, { members: [], slowQuorum: 1 }).meaning).toBe('the disk is full')
})

test('errors of any kind become text', () => {
  expect(describeError(new Error('plain'))).toBe('plain')
  expect(describeError('text')).toBe('text')
  expect(describeStartFailure(new WepaxosError('InvalidInvite', '…')).title).toContain('not complete')
  expect(describeStartFailure(undefined).title).toContain('could not be opened')
})

test('durations are shown with two or three digits', () => {
  expect([0.42, 12.6, 1234].map(formatDuration)).toEqual(['0.4 ms', '13 ms', '1.2 s'])
})

test('says how durable an answer is, and how much is kept', () => {
  const space = { persisted: null, usedBytes: null, quotaBytes: null, writes: 3 }
  expect(describeKept({ ...space, durability: 'strict' })).toBe('safe from power cuts')
  expect(describeKept({ ...space, durability: 'relaxed', persisted: true, usedBytes: 2_621_440 })).toBe(
    'safe from crashes, promised to stay, 2.5 MiB',
  )
  expect(describeKept({ ...space, durability: 'memory', persisted: false })).toBe('in memory only')
})

test('a reader link shows everything and changes nothing', () => {
  expect(describeStatus({ kind: 'read-only' }, { members: members(3), slowQuorum: 2 }).label).toBe('Following')
})
