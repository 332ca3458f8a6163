// `npm run soak -- reconnect`: what a page of three may go through, and how long it takes until commands flow again. For each
// case: from the moment when the cause is over, or from which the page is back, until a command of that page is committed.
import type { CDPSession, Page } from 'playwright'
import { waitFor } from '../soak/replica-tab.ts'
import { LinkRoom, type LinkTab, patienceMs, spread } from './link-tab.ts'

const lossProbability = 0.5
const commandsUnderLoss = 5

interface Stage {
  readonly room: LinkRoom
  /** The one to which it happens; the first two are its peers. */
  readonly tab: LinkTab
  readonly others: readonly LinkTab[]
  /** A tab in the same window as `tab`: whichever is in front hides the other one. */
  readonly cover: Page
}

type Times = Readonly<Record<string, number>>

const cases = {
  /** The page is reloaded: until its first write is committed. */
  async reload({ tab }) {
    await tab.page.reload()
    return { reload: await tab.firstWrite() }
  },

  /** Frozen in the background until the others have given its links up, then thawed and brought to the front. */
  async sleep({ tab, others, cover }) {
    const session = await tab.page.context().newCDPSession(tab.page)
    await cover.bringToFront()
    await freeze(tab.page, session)
    for (const other of others) await expectPeers(other, others.length - 1)
    const commandOfOthers = await commandsOf(others)
    await session.send('Page.setWebLifecycleState', { state: 'active' })
    await session.detach()
    const wokenAt = performance.now()
    await tab.page.bringToFront()
    await tab.command()
    return { sleep: performance.now() - wokenAt, sleepOthers: commandOfOthers }
  },

  /** The signaling server is killed and started again: links do not notice; until every page is in its room again. */
  async signalingRestart({ room, tab, others }) {
    const tabs = [...others, tab]
    await room.signaling.kill()
    for (const one of tabs) {
      await one.page.waitForFunction(() => window.links?.facts().signaling === 'connecting', undefined, {
        timeout: patienceMs,
        polling: 20,
      })
    }
    const command = await tab.command()
    await room.signaling.start()
    const startedAt = performance.now()
    for (const one of tabs) {
      await one.page.waitForFunction(() => window.links?.facts().signaling === 'open', undefined, {
        timeout: patienceMs,
        polling: 20,
      })
    }
    return { signalingRestart: command, signalingBack: performance.now() - startedAt }
  },

  /** Nothing of what its replica says is heard, though it hears all: until its command is committed once that is over. */
  async oneWayCut({ tab, others }) {
    await tab.fault({ dropProbability: 1 })
    const flowing = tab.command()
    const commandOfOthers = await commandsOf(others)
    await tab.fault(null)
    const healedAt = performance.now()
    await flowing
    return { oneWayCut: performance.now() - healedAt, oneWayCutOthers: commandOfOthers }
  },

  /** Not even its signs of life are heard any more, until the others have given its links up. */
  async oneWaySilence({ tab, others }) {
    await tab.mute(true)
    for (const other of others) await expectPeers(other, others.length - 1)
    const commandOfOthers = await commandsOf(others)
    await tab.mute(false)
    const healedAt = performance.now()
    await tab.command()
    return { oneWaySilence: performance.now() - healedAt, oneWaySilenceOthers: commandOfOthers }
  },

  /** Every second frame of every replica is lost, in all directions: commands one after the other meanwhile, and after it. */
  async loss({ tab, others }) {
    for (const one of [...others, tab]) await one.fault({ dropProbability: lossProbability })
    const under: number[] = []
    while (under.length < commandsUnderLoss) under.push(await tab.command())
    for (const one of [...others, tab]) await one.fault(null)
    return {
      lossMost: Math.max(...under),
      loss: under.reduce((a, b) => a + b, 0) / under.length,
      afterLoss: await tab.command(),
    }
  },
} satisfies Readonly<Record<string, (stage: Stage) => Promise<Times>>>

export type ReconnectCase = keyof typeof cases
const allCases = Object.keys(cases) as readonly ReconnectCase[]

/** `rounds` of each case. Throws when commands do not flow again within a minute; returns figures. */
export async function soakReconnect(
  rounds: number,
  only: readonly ReconnectCase[] = allCases,
): Promise<Record<string, number>> {
  const room = await LinkRoom.open()
  const times = new Map<string, number[]>()
  try {
    const page = await room.profile.newPage()
    const cover = await room.profile.newPage()
    const [tab, ...others] = await room.gather(3, [page])
    const stage: Stage = { room, tab, others, cover }
    await page.bringToFront()
    for (let round = 0; round < rounds; round += 1) {
      for (const name of only) {
        const measured = await cases[name](stage).catch((error: unknown) => {
          throw new Error(`${name}, round ${round + 1}`, { cause: error })
        })
        for (const [figure, ms] of Object.entries(measured)) times.set(figure, [...(times.get(figure) ?? []), ms])
        await room.whole([tab, ...others])
      }
    }
  } finally {
    await room.close()
  }
  const figures: Record<string, number> = { cases: only.length }
  for (const [name, all] of times) Object.assign(figures, spread(name, all))
  return figures
}

/** The longest of one command from each of them. */
async function commandsOf(tabs: readonly LinkTab[]): Promise<number> {
  return Math.max(...(await Promise.all(tabs.map((tab) => tab.command()))))
}

async function expectPeers(tab: LinkTab, count: number): Promise<void> {
  await waitFor(`a page has ${count} peers`, patienceMs, async () =>
    (await tab.facts()).openPeers === count ? true : undefined,
  )
}

async function freeze(page: Page, session: CDPSession): Promise<void> {
  // Only a hidden tab is frozen.
  await page.waitForFunction(() => document.visibilityState === 'hidden', undefined, {
    polling: 50,
    timeout: patienceMs,
  })
  await page.evaluate(() => {
    document.addEventListener('freeze', () => document.documentElement.setAttribute('frozen', ''), { once: true })
  })
  await session.send('Page.setWebLifecycleState', { state: 'frozen' })
  await waitFor('the page is frozen', patienceMs, async () =>
    (await page.evaluate(() => document.documentElement.hasAttribute('frozen'))) ? true : undefined,
  )
  await page.evaluate(() => document.documentElement.removeAttribute('frozen'))
}
