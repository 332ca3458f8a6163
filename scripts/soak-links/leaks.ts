// `npm run soak -- leaks`: links over real WebRTC are made and closed again and again in one page, of both kinds in turn.
// What is left of them is looked for from outside of the page: connections, timers, listeners and the heap.
import type { CDPSession, Page } from 'playwright'
import { Profile } from '../soak/chromium.ts'
import { waitFor } from '../soak/replica-tab.ts'
import { heldByBrowser } from './held-by-browser.ts'
import type { LinkKind } from './pages/leaks-page.ts'
import { serveLinkPages } from './serve-link-pages.ts'

const kinds: readonly LinkKind[] = ['simple-peer', 'plain']
/** When the first look is taken: by then whatever is made once has been made. */
const firstLookShare = 0.2
/** Bytes of the heap by which each connect and close may differ from none: what the browser keeps for its own statistics. */
const growthPerRoundMax = 512
/** The heap is never twice the same; this is not counted as growth. */
const growthSlack = 256 * 1_024
/** The browser counts closed connections, too, until they are collected, and refuses to make more than some hundreds. */
const collectEvery = 100
const settleMs = 30_000

interface Look {
  readonly openConnections: number
  readonly timers: number
  /** RTCPeerConnections and RTCDataChannels in the heap, after it was collected. Without those that only the browser holds. */
  readonly connectionsInHeap: number
  readonly connectionsHeldByBrowser: number
  readonly channelsInHeap: number
  readonly listeners: number
  readonly heapBytes: number
}

/** `rounds` connects and closes of each kind of link. Throws at anything that is left of them. */
export async function soakLeaks(rounds: number): Promise<Record<string, number>> {
  const pages = await serveLinkPages()
  const profile = await Profile.create()
  try {
    const page = await profile.newPage()
    await page.goto(`${pages.url}leaks.html`)
    await page.waitForFunction(() => window.leaks !== undefined)
    const session = await page.context().newCDPSession(page)
    await session.send('Performance.enable')
    const empty = await settledLook(page, session)
    let figures: Record<string, number> = {}
    for (const kind of kinds) figures = { ...figures, ...(await soakKind(kind, rounds, page, session, empty)) }
    return figures
  } finally {
    await profile.remove()
    await pages.close()
  }
}

async function soakKind(
  kind: LinkKind,
  rounds: number,
  page: Page,
  session: CDPSession,
  empty: Look,
): Promise<Record<string, number>> {
  const firstRounds = Math.max(1, Math.round(rounds * firstLookShare))
  await run(page, session, kind, firstRounds)
  const early = await settledLook(page, session, empty)
  await run(page, session, kind, rounds - firstRounds)
  const late = await settledLook(page, session, empty)
  const made = await page.evaluate(() => window.leaks?.made ?? 0)
  const grown = late.heapBytes - early.heapBytes
  const grownMax = growthSlack + growthPerRoundMax * (rounds - firstRounds)
  const problems = [
    ...leftOver(`after ${firstRounds} rounds`, early, empty),
    ...leftOver(`after ${rounds} rounds`, late, empty),
    ...(late.listeners > early.listeners ? [`${late.listeners - early.listeners} listeners more`] : []),
    ...(grown > grownMax ? [`the heap has grown by ${grown} bytes`] : []),
  ]
  if (problems.length > 0) throw new Error(`${kind}: ${problems.join(', ')}: ${JSON.stringify({ empty, early, late })}`)
  const name = kind === 'plain' ? 'plain' : 'simplePeer'
  return {
    [`${name}Links`]: rounds,
    [`${name}Left`]: late.openConnections + late.connectionsInHeap + late.channelsInHeap + late.timers,
    [`${name}HeldByBrowser`]: late.connectionsHeldByBrowser,
    [`${name}Listeners`]: late.listeners,
    [`${name}HeapBytesAt${firstRounds}`]: early.heapBytes,
    [`${name}HeapBytesAt${rounds}`]: late.heapBytes,
    connectionsMade: made,
  }
}

async function run(page: Page, session: CDPSession, kind: LinkKind, rounds: number): Promise<void> {
  for (let left = rounds; left > 0; left -= collectEvery) {
    await page.evaluate(
      async ({ kind, rounds }) => {
        if (window.leaks === undefined) throw new Error('this page makes no links')
        await window.leaks.run(kind, rounds)
      },
      { kind, rounds: Math.min(left, collectEvery) },
    )
    await session.send('HeapProfiler.collectGarbage')
  }
}

/** Timers of the last round may be on their way still: waits until nothing is left over, and looks again at the end. */
async function settledLook(page: Page, session: CDPSession, empty?: Look): Promise<Look> {
  if (empty !== undefined) {
    await waitFor('nothing is left over', settleMs, async () =>
      leftOver('', await lookAt(page, session), empty).length === 0 ? true : undefined,
    ).catch(() => undefined)
  }
  return await lookAt(page, session)
}

function leftOver(when: string, look: Look, empty: Look): readonly string[] {
  const counted = ['openConnections', 'timers', 'connectionsInHeap', 'channelsInHeap'] as const
  return counted.filter((name) => look[name] > empty[name]).map((name) => `${look[name]} ${name} ${when}`)
}

async function lookAt(page: Page, session: CDPSession): Promise<Look> {
  // Twice: what a first collection finalizes, a second one takes away.
  for (let times = 0; times < 2; times += 1) await session.send('HeapProfiler.collectGarbage')
  const connections = await countInHeap(session, 'RTCPeerConnection')
  const connectionsHeldByBrowser = connections === 0 ? 0 : await heldByBrowser(session, 'RTCPeerConnection')
  const connectionsInHeap = connections - connectionsHeldByBrowser
  const channelsInHeap = await countInHeap(session, 'RTCDataChannel')
  const { openConnections, timers } = await page.evaluate(() => ({
    openConnections: window.leaks?.open ?? -1,
    timers: window.leaks?.timers ?? -1,
  }))
  const { metrics } = await session.send('Performance.getMetrics')
  const metric = (name: string) => metrics.find((one) => one.name === name)?.value ?? Number.NaN
  const listeners = metric('JSEventListeners')
  const inHeap = { connectionsInHeap, connectionsHeldByBrowser, channelsInHeap }
  return { openConnections, timers, ...inHeap, listeners, heapBytes: metric('JSHeapUsedSize') }
}

/** How many objects have this class among their ancestors, the prototypes of subclasses not counted. */
async function countInHeap(session: CDPSession, name: string): Promise<number> {
  const objectGroup = 'look'
  const prototype = await session.send('Runtime.evaluate', {
    // The page has a subclass under this name.
    expression: `(function top(type) { const above = Object.getPrototypeOf(type); return above.name === ${JSON.stringify(name)} ? top(above) : type })(${name}).prototype`,
    objectGroup,
  })
  const { objectId: prototypeObjectId = '' } = prototype.result
  const { objects } = await session.send('Runtime.queryObjects', { prototypeObjectId, objectGroup })
  const counted = await session.send('Runtime.callFunctionOn', {
    objectId: objects.objectId ?? '',
    functionDeclaration: 'function () { return this.filter((one) => !Object.hasOwn(one, "constructor")).length }',
    returnByValue: true,
  })
  await session.send('Runtime.releaseObjectGroup', { objectGroup })
  return Number(counted.result.value)
}
