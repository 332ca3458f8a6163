// The test function of all journeys: each gets a signaling server of its own, and tabs in a browser that all share or
// in one whose profile stays on the disk.
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  type Browser,
  type BrowserContext,
  test as base,
  chromium,
  type LaunchOptions,
  type Page,
} from '@playwright/test'
import { chromiumArguments } from '../../scripts/chromium-arguments.ts'
import { findBrowser } from '../../scripts/setup.mjs'
import { Signaling } from './signaling.ts'

const contextOptions = { viewport: { width: 1_280, height: 900 } } as const

/** So many new tabs of one context. */
type OpenTabs = {
  (count: 1): Promise<[Page]>
  (count: 2): Promise<[Page, Page]>
  (count: 3): Promise<[Page, Page, Page]>
}

/** A browser profile on the disk: what its pages store outlives the browser. */
export class Profile {
  readonly #folder: string
  #context: BrowserContext | undefined

  constructor(folder: string) {
    this.#folder = folder
  }

  /** Starts a browser with this profile if none runs. */
  readonly open = (async (count: number) => {
    this.#context ??= await chromium.launchPersistentContext(this.#folder, { ...launchOptions(), ...contextOptions })
    return await openTabs(this.#context, count)
  }) as OpenTabs

  /** Ends the browser with all its pages; what they stored stays. */
  async close(): Promise<void> {
    await this.#context?.close()
    this.#context = undefined
  }
}

function launchOptions(): LaunchOptions {
  const executablePath = findBrowser()
  return { headless: true, args: [...chromiumArguments], ...(executablePath === undefined ? {} : { executablePath }) }
}

async function openTabs(context: BrowserContext, count: number): Promise<Page[]> {
  const pages: Page[] = []
  for (let opened = 0; opened < count; opened += 1) pages.push(await context.newPage())
  return pages
}

interface Fixtures {
  readonly signaling: Signaling
  /** A profile that can be closed and opened again. */
  readonly profile: Profile
  /** Opens tabs that share their storage, in a context that the test's end erases. Each call: as if on another machine. */
  readonly openTabs: OpenTabs
}

interface WorkerFixtures {
  readonly sharedBrowser: Browser
}

export const test = base.extend<Fixtures, WorkerFixtures>({
  sharedBrowser: [
    // biome-ignore lint/correctness/noEmptyPattern: Playwright reads the names of the fixtures from the pattern.
    async ({}, use) => {
      const browser = await chromium.launch(launchOptions())
      await use(browser)
      await browser.close()
    },
    { scope: 'worker' },
  ],
  // biome-ignore lint/correctness/noEmptyPattern: see above.
  signaling: async ({}, use) => {
    const signaling = new Signaling()
    await signaling.start()
    await use(signaling)
    await signaling.stop()
  },
  // biome-ignore lint/correctness/noEmptyPattern: see above.
  profile: async ({}, use) => {
    const folder = await mkdtemp(join(tmpdir(), 'wepaxos-e2e-'))
    const profile = new Profile(folder)
    await use(profile)
    await profile.close()
    await rm(folder, { recursive: true, force: true, maxRetries: 5 })
  },
  openTabs: async ({ sharedBrowser }, use) => {
    const contexts: BrowserContext[] = []
    await use((async (count: number) => {
      const context = await sharedBrowser.newContext(contextOptions)
      contexts.push(context)
      return await openTabs(context, count)
    }) as OpenTabs)
    await Promise.all(contexts.map((context) => context.close()))
  },
})

export { expect } from '@playwright/test'
