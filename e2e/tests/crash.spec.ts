// Pages that die without a word, as when a renderer or a browser crashes: whoever is left goes on, and what was answered is
// there.
import type { Page } from '@playwright/test'
import { expectMembers, expectSameState, gather, requireFacts, setAll } from '../support/room.ts'
import { type Answer, soFar, startRun, stopRun } from '../support/run.ts'
import { expect, test } from '../support/test.ts'

/** The product's own (core's Timeouts): silence that makes a replica suspected, and the wait for one that seems alive. */
const suspectMs = 4_000
const patienceMs = 2_000
/** Far more than all else that is under way in the moment. */
const longBytes = 300_000

declare global {
  interface Window {
    receivedBytes?: () => Promise<number>
  }
}

/** From now on this page's replica answers the other one no more: what that one begins stays in doubt. */
function stopAnswering(page: Page, replica: string): Promise<void> {
  return page.evaluate((replica) => {
    const room = window.wepaxos?.room
    const peer = room?.peers.find(({ replicas }) => replicas.some((attached) => attached.replica === replica))
    if (room === undefined || peer === undefined) throw new Error('the other page is not connected')
    room.faults.set(peer.id, { dropProbability: 1 })
  }, replica)
}

/** Lets the test ask how much this page received over all its connections, to the moment. */
async function countReceived(page: Page): Promise<void> {
  await page.addInitScript(() => {
    const connections: RTCPeerConnection[] = []
    window.RTCPeerConnection = class extends RTCPeerConnection {
      constructor(configuration?: RTCConfiguration) {
        super(configuration)
        connections.push(this)
      }
    }
    window.receivedBytes = async () => {
      let sum = 0
      for (const connection of connections) {
        for (const report of (await connection.getStats()).values()) {
          if (report.type === 'data-channel') sum += Number(report.bytesReceived)
        }
      }
      return sum
    }
  })
}

function receivedBytes(page: Page): Promise<number> {
  return page.evaluate(() => window.receivedBytes?.() ?? 0)
}

/** The others can not miss it: many bytes on the wire, one increment more in the state. */
function proposeAtLength(page: Page): Promise<void> {
  return page.evaluate((length) => {
    window.wepaxos?.replica.mutate.transact(
      [],
      [
        { op: 'increment', key: 'shared' },
        { op: 'set', key: 'long', value: 'x'.repeat(length) },
        { op: 'delete', key: 'long' },
      ],
    )
  }, longBytes)
}

function longestWait(answers: readonly Answer[]): Answer {
  return answers.reduce((longest, answer) => (tookMs(answer) > tookMs(longest) ? answer : longest))
}

function longestMs(answers: readonly Answer[]): number {
  return Math.round(tookMs(longestWait(answers)))
}

function tookMs({ fromMs, toMs }: Answer): number {
  return toMs - fromMs
}

function doneWithin(answers: readonly Answer[], wait: Answer): number {
  return answers.filter(({ fromMs, toMs }) => fromMs > wait.fromMs && toMs < wait.toMs).length
}

/** The renderer, or the whole browser: no event fires in the page any more. */
async function kill(page: Page, what: 'Page.crash' | 'Browser.crash'): Promise<void> {
  const gone = what === 'Page.crash' ? page.waitForEvent('crash') : page.context().waitForEvent('close')
  const session = await page.context().newCDPSession(page)
  // Never answered: there is nobody left who could.
  session.send(what).catch(() => {})
  await gone
}

test('when one of three pages is killed in the middle of a run, the other two go on and settle what it left', async ({
  signaling,
  openTabs,
}) => {
  // Three machines: no page shares a process with another.
  const [[a], [b], [c]] = [await openTabs(1), await openTabs(1), await openTabs(1)]
  await Promise.all([countReceived(a), countReceived(b)])
  await gather([a, b, c], signaling.url)
  const { id: doomed } = await requireFacts(c)
  await Promise.all([startRun(a, 'a', 2), startRun(b, 'b', 2), startRun(c, 'c', 8)])
  await expect.poll(async () => (await soFar(c)).shared.length).toBeGreaterThan(50)

  await Promise.all([stopAnswering(a, doomed), stopAnswering(b, doomed)])
  const receivedBefore = [await receivedBytes(a), await receivedBytes(b)] as const
  await proposeAtLength(c)
  await expect.poll(() => receivedBytes(a), { intervals: [20] }).toBeGreaterThan(receivedBefore[0] + longBytes)
  await expect.poll(() => receivedBytes(b), { intervals: [20] }).toBeGreaterThan(receivedBefore[1] + longBytes)
  const ofDoomed = await soFar(c)
  await kill(c, 'Page.crash')
  const [aAtCrash, bAtCrash] = await Promise.all([soFar(a), soFar(b)])

  await test.step('both go on, with keys of their own and with the shared one', async () => {
    for (const [page, before] of [
      [a, aAtCrash],
      [b, bAtCrash],
    ] as const) {
      await expect.poll(async () => (await soFar(page)).own.length).toBeGreaterThan(before.own.length + 30)
      await expect.poll(async () => (await soFar(page)).shared.length).toBeGreaterThan(before.shared.length + 30)
    }
  })
  const [ofA, ofB] = await Promise.all([stopRun(a), stopRun(b)])
  const recoveries = (await requireFacts(a)).recoveries + (await requireFacts(b)).recoveries
  const [waitOfA, waitOfB] = [longestWait(ofA.shared), longestWait(ofB.shared)]
  const meanwhile = [doneWithin(ofA.own, waitOfA), doneWithin(ofB.own, waitOfB)]
  const [ownMs, sharedMs] = [longestMs([...ofA.own, ...ofB.own]), longestMs([waitOfA, waitOfB])]
  test.info().annotations.push({
    type: 'longest waits',
    description: `shared key ${sharedMs} ms, own keys ${ownMs} ms; meanwhile ${meanwhile.join(' and ')} own; ${recoveries} recoveries`,
  })

  await test.step('what the dead page left in doubt was recovered, and nothing failed', () => {
    expect([...ofA.problems, ...ofB.problems, ...ofDoomed.problems]).toEqual([])
    expect(recoveries).toBeGreaterThan(0)
  })

  await test.step('only commands that conflict with it had to wait', () => {
    // While the shared key waited for the recovery, each page's own keys went on: an order, whatever the machine's load.
    expect(Math.min(...meanwhile)).toBeGreaterThanOrEqual(5)
    expect(sharedMs).toBeLessThan(2 * (suspectMs + patienceMs))
    expect(ownMs).toBeLessThan(suspectMs + patienceMs)
  })

  await test.step('each increment counted once, those that the dead page was told included', async () => {
    const state = await expectSameState([a, b])
    const told = [ofA, ofB, ofDoomed].flatMap(({ shared }) => shared.map(({ value }) => value))
    expect(new Set(told).size).toBe(told.length)
    const counted = Number(state.get('shared')?.value)
    expect(Math.max(...told)).toBeLessThanOrEqual(counted)
    // What was counted and told to nobody is what the dead page had under way.
    expect(counted - told.length).toBeGreaterThanOrEqual(0)
  })
})

test('when the whole browser dies in the middle of a run, no acknowledged write is missing afterwards', async ({
  signaling,
  profile,
}) => {
  const names = ['a', 'b', 'c'] as const
  const pages = await profile.open(3)
  const link = await gather(pages, signaling.url)
  const before = await Promise.all(pages.map(requireFacts))
  await Promise.all(pages.map((page, index) => startRun(page, names[index] ?? '', 2)))
  for (const page of pages) await expect.poll(async () => (await soFar(page)).own.length).toBeGreaterThan(20)
  const told = await Promise.all(pages.map(soFar))
  await kill(pages[0], 'Browser.crash')
  await profile.close()

  const reopened = await profile.open(3)
  await Promise.all(reopened.map((page) => page.goto(link)))
  await expectMembers(reopened)
  const after = await Promise.all(reopened.map(requireFacts))
  expect(after.map(({ id }) => id).sort()).toEqual(before.map(({ id }) => id).sort())
  const state = await expectSameState(reopened)
  expect(state.get('shared')?.value).toBeGreaterThanOrEqual(
    Math.max(...told.flatMap(({ shared }) => shared.map(toValue))),
  )
  for (const [index, { own }] of told.entries()) {
    // The n-th write of ten keys in turn: the version that it made is there, or a later one.
    for (const [count, answer] of own.entries()) {
      const entry = state.get(`own/${names[index]}/${count % 10}`)
      expect(entry?.version).toBeGreaterThanOrEqual(answer.value)
      if (entry?.version === answer.value) expect(entry.value).toBe(count)
    }
  }
  await setAll(reopened[0], { 'after all': 1 })
  expect((await expectSameState(reopened)).get('after all')?.value).toBe(1)
})

function toValue({ value }: Answer): number {
  return value
}
