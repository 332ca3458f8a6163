// The test function of all journeys: each gets a signaling server of its own and profiles, browsers that remember.
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type BrowserContext, test as base, chromium, type Page } from '@playwright/test'
import { findBrowser } from '../../scripts/setup.mjs'
import { Signaling } from './signaling.ts'

const chromiumArguments = [
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--no-first-run',
  '--disable-quic',
  // Chromium's sandbox refuses to start under root.
  ...(process.getuid?.() === 0 ? ['--no-sandbox'] : []),
]

/** One browser profile on the disk: what its pages store outlives them. */
export class Profile {
  readonly #folder: string
  #context: BrowserContext | undefined

  constructor(folder: string) {
    this.#folder = folder
  }

  /** Starts a browser with this profile if none runs, and opens so many new tabs in it. */
  async open(count: 1): Promise<[Page]>
  async open(count: 2): Promise<[Page, Page]>
  async open(count: 3): Promise<[Page, Page, Page]>
  async open(count: number): Promise<Page[]> {
    this.#context ??= await this.#start()
    const context = this.#context
    const pages: Page[] = []
    for (let opened = 0; opened < count; opened += 1) pages.push(await context.newPage())
    return pages
  }

  /** Ends the browser with all its pages; what they stored stays. */
  async close(): Promise<void> {
    await this.#context?.close()
    this.#context = undefined
  }

  #start(): Promise<BrowserContext> {
    const executablePath = findBrowser()
    return chromium.launchPersistentContext(this.#folder, {
      headless: true,
      args: chromiumArguments,
      viewport: { width: 1280, height: 900 },
      ...(executablePath === undefined ? {} : { executablePath }),
    })
  }
}

interface Fixtures {
  readonly signaling: Signaling
  /** Makes one more profile: as if on another machine. */
  readonly newProfile: () => Promise<Profile>
  readonly profile: Profile
}

export const test = base.extend<Fixtures>({
  // biome-ignore lint/correctness/noEmptyPattern: Playwright reads the names of the fixtures from the pattern.
  signaling: async ({}, use) => {
    const signaling = new Signaling()
    await signaling.start()
    await use(signaling)
    await signaling.stop()
  },
  // biome-ignore lint/correctness/noEmptyPattern: see above.
  newProfile: async ({}, use) => {
    const folders: string[] = []
    const profiles: Profile[] = []
    await use(async () => {
      const folder = await mkdtemp(join(tmpdir(), 'wepaxos-e2e-'))
      const profile = new Profile(folder)
      folders.push(folder)
      profiles.push(profile)
      return profile
    })
    await Promise.all(profiles.map((profile) => profile.close()))
    await Promise.all(folders.map((folder) => rm(folder, { recursive: true, force: true, maxRetries: 5 })))
  },
  profile: async ({ newProfile }, use) => {
    await use(await newProfile())
  },
})

export { expect } from '@playwright/test'
