// Exactly once: what sessions record, give out again and forget, and that replicas which executed commuting commands in
// different orders still hold the same bytes. The order itself is the executor's; the bytes are checkpoint.ts's.
import { describe, expect, test } from 'vitest'
import { DecodeError } from '../codec/bytes.ts'
import { WepaxosError } from '../lib/errors.ts'
import type { Membership, Proposal } from '../protocol/command.ts'
import { type ReplicaId, replicaId } from '../protocol/ids.ts'
import { Application } from './application.ts'
import { checkpointHash } from './checkpoint.ts'
import { bindMachine, defineMachine } from './define-machine.ts'

const definition = defineMachine({
  name: 'counters',
  version: 3,
  commands: {
    add: (tx, counter: string, amount: number) => {
      const sum = Number(tx.get(counter) ?? 0) + amount
      tx.set(counter, sum)
      return { ok: true, value: null }
    },
    take: (tx, counter: string) => {
      const sum = Number(tx.get(counter) ?? 0)
      if (sum === 0) return { ok: false, code: 'EMPTY' }
      tx.set(counter, sum - 1)
      return { ok: true, value: sum - 1 }
    },
  },
  queries: {},
  footprint: {
    add: (counter) => [{ key: counter, mode: 'write' }],
    take: (counter) => [{ key: counter, mode: 'write' }],
  },
  init: (tx) => tx.set('tokens', 2),
})
const machine = bindMachine(definition)

const ann = replicaId('a'.repeat(32))
const bob = replicaId('b'.repeat(32))
const cluster = '0123456789abcdef'.repeat(2)
const both: Membership = { voters: [ann, bob], observers: [] }

function found(): Application {
  return Application.found(machine, cluster, ann)
}

function proposal(
  session: ReplicaId,
  number: number,
  ackedUpTo: number,
  name: string,
  ...args: (string | number)[]
): Proposal {
  return { session, number, ackedUpTo, footprint: 'everything', payload: machine.encodeCommand(name, args) }
}

const take = (number: number, ackedUpTo = 0, session = ann) => proposal(session, number, ackedUpTo, 'take', 'tokens')

describe('a session', () => {
  test('[SE1] executes a number once: a duplicate gives the recorded result and changes nothing', () => {
    const application = found()
    expect(application.execute(take(1))).toEqual({ ok: true, value: 1 })
    const hash = application.stateHash()
    expect(application.execute(take(1))).toEqual({ ok: true, value: 1 })
    expect(application.stateHash()).toBe(hash)
    expect(application.executed).toBe(1)
    expect(application.execute(take(2))).toEqual({ ok: true, value: 0 })
    expect(application.executed).toBe(2)
  })

  test('records a refusal too: the duplicate is refused alike, although it would succeed now', () => {
    const application = found()
    application.execute(take(1))
    application.execute(take(2))
    expect(application.execute(take(3))).toEqual({ ok: false, code: 'EMPTY' })
    application.execute(proposal(ann, 4, 0, 'add', 'tokens', 5))
    expect(application.execute(take(3))).toEqual({ ok: false, code: 'EMPTY' })
    expect(application.store.get('tokens')).toBe(5)
  })

  test('takes its numbers in any order, for they may be agreed on in any order', () => {
    const application = found()
    expect(application.execute(take(2))).toEqual({ ok: true, value: 1 })
    expect(application.wasExecuted(ann, 1)).toBe(false)
    expect(application.execute(take(1))).toEqual({ ok: true, value: 0 })
    expect(application.wasExecuted(ann, 1)).toBe(true)
  })

  test('does not share its numbers with another session', () => {
    const application = found()
    application.endEpoch(2, both)
    expect(application.execute(take(1))).toEqual({ ok: true, value: 1 })
    expect(application.execute(take(1, 0, bob))).toEqual({ ok: true, value: 0 })
  })

  test('[SE2] keeps acknowledged results until a barrier, and only then forgets them', () => {
    const application = found()
    application.execute(take(1))
    application.execute(take(2, 1))
    expect(application.execute(take(1))).toEqual({ ok: true, value: 1 })
    expect(application.recordedResult(ann, 1)).toEqual({ ok: true, value: 1 })
    application.endEpoch(2, both)
    expect(application.recordedResult(ann, 1)).toBeUndefined()
    expect(application.wasExecuted(ann, 1)).toBe(true)
    expect(application.execute(take(1))).toBeUndefined()
    expect(application.execute(take(2, 1))).toEqual({ ok: true, value: 0 })
    expect(application.store.get('tokens')).toBe(0)
  })

  test('never executes a number that was acknowledged without ever having been executed', () => {
    const application = found()
    application.execute(take(2, 1))
    application.endEpoch(2, both)
    expect(application.execute(take(1))).toBeUndefined()
    expect(application.store.get('tokens')).toBe(1)
  })

  test('[SE3] of a replica that is no member is refused as expired, and nothing is executed', () => {
    const application = found()
    expect(application.sessionOpenedIn(bob)).toBeUndefined()
    expect(application.execute(take(1, 0, bob))).toEqual({ ok: false, code: 'SESSION_EXPIRED' })
    expect(application.executed).toBe(0)
    expect(application.store.get('tokens')).toBe(2)
  })

  test('outlives the membership of its replica by eight barriers, and ends with the ninth', () => {
    const application = found()
    application.endEpoch(2, both)
    application.execute(take(1, 0, bob))
    let epoch = 3
    for (let barriers = 1; barriers <= 8; barriers++) application.endEpoch(epoch++, { voters: [ann], observers: [] })
    expect(application.execute(take(1, 0, bob))).toEqual({ ok: true, value: 1 })
    application.endEpoch(epoch, { voters: [ann], observers: [] })
    expect(application.execute(take(1, 0, bob))).toEqual({ ok: false, code: 'SESSION_EXPIRED' })
    expect(application.store.get('tokens')).toBe(1)
  })

  test('of a replica that comes back in time goes on, and its absence is counted from the start again', () => {
    const application = found()
    application.endEpoch(2, both)
    application.execute(take(1, 0, bob))
    let epoch = 3
    for (let round = 1; round <= 2; round++) {
      for (let barriers = 1; barriers <= 8; barriers++) application.endEpoch(epoch++, { voters: [ann], observers: [] })
      application.endEpoch(epoch++, { voters: [ann], observers: [bob] })
    }
    expect(application.execute(take(1, 0, bob))).toEqual({ ok: true, value: 1 })
  })
})

describe('equal states', () => {
  test('commuting commands in different orders, acknowledging each other, then a duplicate: the same checkpoint', () => {
    const first = proposal(ann, 1, 0, 'add', 'x', 1)
    const second = proposal(ann, 2, 1, 'add', 'y', 1)
    const one = found()
    const other = found()
    // the acknowledgement reaches `other` before what it acknowledges, and the duplicate comes after both
    const results = [one.execute(first), one.execute(second), one.execute(first)]
    const otherResults = [other.execute(second), other.execute(first), other.execute(first)]
    expect(results).toEqual(otherResults)
    expect(checkpointHash(other.endEpoch(2, both))).toBe(checkpointHash(one.endEpoch(2, both)))
  })

  test('come out of a checkpoint: what is restored goes on like what wrote it', () => {
    const one = found()
    one.execute(take(1))
    const bytes = one.endEpoch(2, both)
    const { application: other, checkpoint } = Application.restore(machine, bytes)
    expect(checkpoint.members).toEqual(both)
    expect(checkpoint.epoch).toBe(2)
    expect(other.executed).toBe(1)
    expect(other.stateHash()).toBe(one.stateHash())
    for (const application of [one, other]) {
      expect(application.execute(take(1))).toEqual({ ok: true, value: 1 })
      expect(application.execute(take(2, 1))).toEqual({ ok: true, value: 0 })
    }
    expect(checkpointHash(other.endEpoch(3, both))).toBe(checkpointHash(one.endEpoch(3, both)))
  })

  test('the founding is a checkpoint as well, with what init wrote', () => {
    const members = { voters: [ann], observers: [] }
    const { application } = Application.restore(machine, found().firstCheckpoint(members))
    expect(application.store.get('tokens')).toBe(2)
    expect(application.sessionOpenedIn(ann)).toBe(1)
  })

  test('are refused to another machine and another version of it', () => {
    const bytes = found().firstCheckpoint(both)
    for (const change of [{ name: 'other' }, { version: 4 }]) {
      const another = bindMachine(defineMachine({ ...definition, ...change }))
      const restore = () => Application.restore(another, bytes)
      expect(restore).toThrow(WepaxosError)
      expect(restore).toThrow(/belongs to machine counters version 3/)
    }
    expect(() => Application.restore(machine, bytes.subarray(1))).toThrow(DecodeError)
  })
})
