// A page that dies without a word, as when its renderer crashes or its machine loses power: the other two go on.
import type { Page } from '@playwright/test'
import { expectSameState, gather, requireFacts } from '../support/room.ts'
import { expect, test } from '../support/test.ts'

/** The product's own (core's Timeouts): silence that makes a replica suspected, and the wait for one that seems alive. */
const suspectMs = 4_000
const patienceMs = 2_000

interface Answer {
  readonly value: number
  readonly fromMs: number
  readonly toMs: number
}

/** What a page did so far in its run of commands. */
interface Run {
  readonly own: readonly Answer[]
  readonly shared: readonly Answer[]
  readonly problems: readonly string[]
}

declare global {
  interface Window {
    run?: { going: boolean; readonly run: Run; readonly ended: Promise<unknown> }
  }
}

/** Keeps some increments of one shared key and one write of a key of its own under way, until told to stop. */
function startRun(page: Page, name: string, inFlight: number): Promise<void> {
  return page.evaluate(
    ({ name, inFlight }) => {
      const replica = window.wepaxos?.replica
      if (replica === undefined) throw new Error('this page has no open replica')
      const own: Answer[] = []
      const shared: Answer[] = []
      const problems: string[] = []
      const repeat = async (answers: Answer[], propose: (count: number) => Promise<number>): Promise<void> => {
        for (let count = 0; window.run?.going !== false; count += 1) {
          const fromMs = performance.now()
          try {
            const value = await propose(count)
            answers.push({ value, fromMs, toMs: performance.now() })
          } catch (error) {
            problems.push(String(error))
            return
          }
        }
      }
      const lines = [
        repeat(own, async (count) => {
          // A few keys of its own in turn, so that none waits for the one before.
          const result = await replica.mutate.set(`own/${name}/${count % 10}`, count).done
          return Number(result.value)
        }),
        ...Array.from({ length: inFlight }, () =>
          repeat(shared, async () => {
            const result = await replica.mutate.increment('shared').done
            if (!result.ok) throw new Error(`refused: ${result.code}`)
            return Number(result.value)
          }),
        ),
      ]
      window.run = { going: true, run: { own, shared, problems }, ended: Promise.all(lines) }
    },
    { name, inFlight },
  )
}

function soFar(page: Page): Promise<Run> {
  return page.evaluate(() => {
    if (window.run === undefined) throw new Error('this page runs nothing')
    return window.run.run
  })
}

async function stopRun(page: Page): Promise<Run> {
  await page.evaluate(() => {
    if (window.run !== undefined) window.run.going = false
    return window.run?.ended
  })
  return soFar(page)
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

function kill(page: Page): Promise<void> {
  const crashed = page.waitForEvent('crash')
  return page
    .context()
    .newCDPSession(page)
    .then(async (session) => {
      // Never answered: there is nobody left who could.
      session.send('Page.crash').catch(() => {})
      await crashed
    })
}

test('when one of three pages is killed in the middle of a run, the other two go on and settle what it left', async ({
  signaling,
  openTabs,
}) => {
  // Three machines: no page shares a process with another.
  const [[a], [b], [c]] = [await openTabs(1), await openTabs(1), await openTabs(1)]
  await gather([a, b, c], signaling.url)
  const { id: doomed } = await requireFacts(c)
  await Promise.all([startRun(a, 'a', 2), startRun(b, 'b', 2), startRun(c, 'c', 8)])
  await expect.poll(async () => (await soFar(c)).shared.length).toBeGreaterThan(50)

  await Promise.all([stopAnswering(a, doomed), stopAnswering(b, doomed)])
  const ofDoomed = await soFar(c)
  await kill(c)
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
