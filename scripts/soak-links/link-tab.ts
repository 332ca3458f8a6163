// A tab with the page of pages/links-page.ts, as the harness sees it, and rooms of several such tabs. Each tab has a browser
// context of its own, as if it were on another machine: none of them takes another one's replica over.
import type { Browser, BrowserContext, Page } from 'playwright'
import { Profile } from '../soak/chromium.ts'
import { waitFor } from '../soak/replica-tab.ts'
import type { ServedPages } from '../soak/serve-pages.ts'
import type { LinkFacts } from './pages/links-page.ts'
import { serveLinkPages } from './serve-link-pages.ts'
import { SignalingProcess } from './signaling-process.ts'

/** How long anything may take that has to happen. */
export const patienceMs = 60_000

export class LinkTab {
  readonly page: Page
  readonly #context: BrowserContext

  constructor(page: Page) {
    this.page = page
    this.#context = page.context()
  }

  /** Resolves when its first write is committed: so many milliseconds after the page was opened. */
  async firstWrite(): Promise<number> {
    const outcome = await this.page.waitForFunction(
      () => window.links?.firstWriteMs ?? window.linksFailure,
      undefined,
      { timeout: patienceMs, polling: 20 },
    )
    const value = await outcome.jsonValue()
    if (typeof value !== 'number') throw new Error(`the page has no replica: ${value}`)
    return value
  }

  facts(): Promise<LinkFacts> {
    return this.page.evaluate(() => {
      if (window.links === undefined) throw new Error(`this page is not open: ${window.linksFailure}`)
      return window.links.facts()
    })
  }

  /** One command of this page: how long it took. */
  command(): Promise<number> {
    return this.page.evaluate(async () => {
      if (window.links === undefined) throw new Error(`this page is not open: ${window.linksFailure}`)
      return await window.links.command()
    })
  }

  fault(fault: { readonly dropProbability: number } | null): Promise<void> {
    return this.page.evaluate((fault) => window.links?.fault(fault), fault)
  }

  mute(isMuted: boolean): Promise<void> {
    return this.page.evaluate((isMuted) => window.links?.mute(isMuted), isMuted)
  }

  /** As people close a tab, with all that its browser had stored. */
  async close(): Promise<void> {
    await this.page.close({ runBeforeUnload: false })
    await this.#context.close()
  }
}

export class LinkRoom {
  readonly signaling: SignalingProcess
  readonly profile: Profile
  readonly #pages: ServedPages
  readonly #browser: Browser
  #invite = ''

  static async open(): Promise<LinkRoom> {
    const opened: { remove(): Promise<void> }[] = []
    try {
      const pages = await serveLinkPages()
      opened.push({ remove: () => pages.close() })
      const signaling = await SignalingProcess.start()
      opened.push({ remove: () => signaling.close() })
      // Tabs in the background are hidden then, as they are for people: only those can be frozen.
      const profile = await Profile.create({ asForPeople: true })
      opened.push(profile)
      const browser = (await profile.newPage()).context().browser()
      if (browser === null) throw new Error('the browser does not show itself')
      return new LinkRoom(pages, signaling, profile, browser)
    } catch (error) {
      for (const one of opened) await one.remove()
      throw error
    }
  }

  private constructor(pages: ServedPages, signaling: SignalingProcess, profile: Profile, browser: Browser) {
    this.#pages = pages
    this.signaling = signaling
    this.profile = profile
    this.#browser = browser
  }

  /** Begins to open a tab; the first one founds the room. In `page`, or in a context of its own. */
  async begin(page?: Page): Promise<LinkTab> {
    const url = `${this.#pages.url}links.html?signaling=${encodeURIComponent(this.signaling.url)}${this.#invite}`
    const tab = new LinkTab(page ?? (await (await this.#browser.newContext()).newPage()))
    await tab.page.goto(url)
    return tab
  }

  /** So many tabs, all of them voters and connected; those of `pages` first. */
  async gather(count: number, pages: readonly Page[] = []): Promise<readonly [LinkTab, ...LinkTab[]]> {
    const first = await this.begin(pages[0])
    await first.firstWrite()
    this.#invite = await first.page.evaluate(() => window.links?.invite ?? '')
    const tabs: [LinkTab, ...LinkTab[]] = [first]
    while (tabs.length < count) tabs.push(await this.begin(pages[tabs.length]))
    await this.whole(tabs)
    return tabs
  }

  /** Waits until these tabs, and nobody else, are connected: each with each, and all with signaling. */
  async whole(tabs: readonly LinkTab[]): Promise<void> {
    for (const tab of tabs) {
      await tab.firstWrite()
      let last: LinkFacts | undefined
      await waitFor('the room is whole', patienceMs, async () => {
        last = await tab.facts()
        const { signaling, openPeers, connected, status } = last
        const others = tabs.length - 1
        const isWhole = openPeers === others && connected === others && status === 'ready'
        return isWhole && signaling === 'open' ? true : undefined
      }).catch((error: unknown) => {
        throw new Error(`the room is not whole: ${JSON.stringify(last)}`, { cause: error })
      })
    }
  }

  async close(): Promise<void> {
    await this.profile.remove()
    await this.signaling.close()
    await this.#pages.close()
  }
}

/** The median, the 95th percentile and the largest, in whole milliseconds, as figures of that name. */
export function spread(name: string, times: readonly number[]): Record<string, number> {
  const sorted = times.map(Math.round).sort((a, b) => a - b)
  const at = (share: number) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN
  return { [`${name}MsMedian`]: at(0.5), [`${name}MsP95`]: at(0.95), [`${name}MsMost`]: at(1) }
}
