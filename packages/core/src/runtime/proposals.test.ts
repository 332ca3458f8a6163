// A replica's own session: numbers, the queue of what is to be proposed, acknowledgements, and that every caller hears its
// command's fate once. How proposals are agreed on is tested elsewhere.
import { describe, expect, test } from 'vitest'
import { WepaxosError } from '../lib/errors.ts'
import { replicaId } from '../protocol/ids.ts'
import { numberBlock, type PendingProposal, Proposals, pendingMax } from './proposals.ts'

const session = replicaId('a'.repeat(32))
const noBytes = new Uint8Array()
const done = { ok: true, value: null } as const

function start(usedUpTo = 0, reserve = true) {
  const proposals = new Proposals(session, usedUpTo, () => undefined)
  if (reserve) proposals.reservationDurable(proposals.reservationDue() ?? 0)
  const heard: string[] = []
  const create = (): PendingProposal => {
    const name = String(usedUpTo + ++made)
    return proposals.create('everything', noBytes, {
      committed: () => heard.push(`${name} committed`),
      done: (result) => heard.push(`${name} done ${result.ok}`),
      failed: (error) => heard.push(`${name} failed ${error.code}`),
    })
  }
  let made = 0
  return { proposals, heard, create }
}

/** All that may be proposed now. */
function drain(proposals: Proposals): number[] {
  const numbers: number[] = []
  for (let [next] = proposals.take(1, 1_000); next !== undefined; [next] = proposals.take(1, 1_000))
    numbers.push(next.number)
  return numbers
}

describe('numbers', () => {
  test('go 1, 2, 3 …, and after a restart start above all that may have been used', () => {
    const fresh = start()
    expect([fresh.create(), fresh.create()].map(({ number }) => number)).toEqual([1, 2])
    const restarted = start(256)
    expect(restarted.create().number).toBe(257)
  })

  test('are not proposed before their reservation is durable', () => {
    const { proposals, create } = start(0, false)
    create()
    expect(drain(proposals)).toEqual([])
    const upTo = proposals.reservationDue()
    expect(upTo).toBeGreaterThanOrEqual(numberBlock)
    expect(proposals.reservedNumber).toBe(upTo)
    expect(drain(proposals)).toEqual([])
    expect(proposals.hasQueued).toBe(true)
    proposals.reservationDurable(1)
    create()
    expect(drain(proposals)).toEqual([1])
    proposals.reservationDurable(upTo ?? 0)
    expect(drain(proposals)).toEqual([2])
    expect(proposals.hasQueued).toBe(false)
  })

  test('are reserved again before they run out, and not at every command', () => {
    const { proposals, create } = start()
    const reserved = proposals.reservedNumber
    let reservations = 0
    for (let made = 0; made < 4 * numberBlock; made++) {
      create()
      if (proposals.reservationDue() !== null) reservations++
    }
    expect(proposals.reservedNumber).toBeGreaterThan(4 * numberBlock)
    expect(reserved).toBeLessThan(proposals.reservedNumber)
    expect(reservations).toBeLessThanOrEqual(9)
  })

  test('never become less durable', () => {
    const { proposals, create } = start()
    proposals.reservationDurable(0)
    create()
    expect(drain(proposals)).toEqual([1])
  })
})

describe('the queue', () => {
  test('gives each proposal once, in the order in which they were made', () => {
    const { proposals, create } = start()
    for (let made = 0; made < 3; made++) create()
    expect(drain(proposals)).toEqual([1, 2, 3])
    expect(drain(proposals)).toEqual([])
    expect(proposals.size).toBe(3)
  })

  test('takes one again under its old number, once however often it is told', () => {
    const { proposals, create } = start()
    create()
    create()
    proposals.again(1)
    expect(drain(proposals)).toEqual([1, 2])
    proposals.again(1)
    proposals.again(1)
    proposals.again(99)
    expect(drain(proposals)).toEqual([1])
  })

  test('takes all again in their first order, whatever was queued', () => {
    const { proposals, create } = start()
    for (let made = 0; made < 3; made++) create()
    drain(proposals)
    proposals.again(3)
    proposals.allAgain()
    proposals.again(1)
    expect(drain(proposals)).toEqual([1, 2, 3])
  })

  test('leaves out what was settled while it waited', () => {
    const { proposals, create } = start()
    for (let made = 0; made < 3; made++) create()
    proposals.settle(1, done)
    proposals.settle(3, done)
    expect(drain(proposals)).toEqual([2])
    expect(proposals.hasQueued).toBe(false)
    proposals.again(1)
    expect(drain(proposals)).toEqual([])
  })
})

describe('acknowledgement', () => {
  test('covers the numbers below the first that is still open, and none above', () => {
    const { proposals, create } = start(10)
    const [first, second, third] = [create(), create(), create()]
    expect(proposals.toProposal(first)).toEqual({
      session,
      number: 11,
      ackedUpTo: 10,
      footprint: 'everything',
      payload: noBytes,
    })
    proposals.settle(second.number, done)
    expect(proposals.toProposal(third).ackedUpTo).toBe(10)
    proposals.settle(first.number, done)
    expect(proposals.toProposal(third).ackedUpTo).toBe(12)
  })
})

describe('fates', () => {
  test('each caller hears of commit and result once, in this order, even when the result comes first', () => {
    const { proposals, heard, create } = start()
    create()
    create()
    proposals.markCommitted(1)
    proposals.markCommitted(1)
    proposals.settle(1, done)
    proposals.settle(1, { ok: false, code: 'LATE' })
    proposals.settle(2, { ok: false, code: 'TAKEN' })
    proposals.markCommitted(2)
    expect(heard).toEqual(['1 committed', '1 done true', '2 committed', '2 done false'])
    expect(proposals.size).toBe(0)
  })

  test('failing all fails each open one once, and nothing is left to propose', () => {
    const { proposals, heard, create } = start()
    for (let made = 0; made < 3; made++) create()
    proposals.settle(2, done)
    heard.length = 0
    proposals.failAll(
      (number) => new WepaxosError(number === 1 ? 'Closed' : 'OutcomeUnknown', 'the replica was closed'),
    )
    proposals.settle(1, done)
    proposals.failAll(() => new WepaxosError('Closed', 'again'))
    expect(heard).toEqual(['1 failed Closed', '3 failed OutcomeUnknown'])
    expect([proposals.size, proposals.hasQueued, drain(proposals)]).toEqual([0, false, []])
  })

  test('a caller that proposes again from within its result finds the queue as it should be', () => {
    const proposals = new Proposals(session, 0, () => undefined)
    proposals.reservationDurable(proposals.reservationDue() ?? 0)
    const silent = { committed: () => undefined, done: () => undefined, failed: () => undefined }
    proposals.create('everything', noBytes, {
      ...silent,
      done: () => proposals.create('everything', noBytes, silent),
    })
    drain(proposals)
    proposals.settle(1, done)
    expect(drain(proposals)).toEqual([2])
  })

  test('too many open ones are refused with Overloaded, and a settled one makes room', () => {
    const { proposals, create } = start()
    for (let made = 0; made < pendingMax; made++) create()
    expect(create).toThrow(expect.objectContaining({ code: 'Overloaded' }))
    proposals.settle(5, done)
    expect(create().number).toBe(pendingMax + 1)
  })
})
