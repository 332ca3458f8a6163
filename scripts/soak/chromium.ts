// Chromium under the harness: profiles on the disk, the processes that a browser consists of, and ending them as a crash or
// the out-of-memory killer does. What runs in the pages is not known here.
import { spawn } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type BrowserContext, type CDPSession, chromium, type Page } from 'playwright'
import { chromiumArguments } from '../chromium-arguments.ts'
import { findBrowser } from '../setup.mjs'

const soakArguments = [
  ...chromiumArguments,
  // A renderer that waits for a page to come would be taken for one of ours.
  '--disable-features=SpareRendererForSitePerProcess',
]

const startTimeoutMs = 120_000

interface ProcessInfo {
  readonly type: string
  readonly id: number
}

export interface ProfileOptions {
  /** What the browser's environment has besides this process's. */
  readonly environment?: (folder: string) => Readonly<Record<string, string>>
  /**
   * Lets the browser be what it is for people: tabs in the background are hidden, and may be frozen. (Playwright tells every
   * tab that it is in front.)
   */
  readonly asForPeople?: boolean
}

/** A browser with a profile of its own; killed and started again, it has what the disk has. */
export class Profile {
  readonly folder: string
  readonly #environment: Readonly<Record<string, string>>
  readonly #asForPeople: boolean
  #context: BrowserContext | undefined
  #browserSession: CDPSession | undefined

  /** In a new folder. */
  static async create(options: ProfileOptions = {}): Promise<Profile> {
    const folder = await mkdtemp(join(tmpdir(), 'wepaxos-soak-'))
    return new Profile(folder, options)
  }

  private constructor(folder: string, options: ProfileOptions) {
    this.folder = folder
    this.#environment = { ...presentEnvironment(), ...options.environment?.(folder) }
    this.#asForPeople = options.asForPeople ?? false
  }

  /** A new tab; starts the browser if it does not run. */
  async newPage(): Promise<Page> {
    const context = await this.#open()
    return context.newPage()
  }

  /** A new tab, and the process that renders it. */
  async newPageWithRenderer(): Promise<{ readonly page: Page; readonly renderer: number }> {
    const before = new Set(await this.#processes('renderer'))
    const page = await this.newPage()
    const [renderer, ...others] = (await this.#processes('renderer')).filter((id) => !before.has(id))
    if (renderer === undefined || others.length > 0) {
      throw new Error(`a new tab has a renderer of its own, but ${renderer === undefined ? 'none' : 'several'} came`)
    }
    return { page, renderer }
  }

  /** SIGKILL for every renderer. Resolves when the browser has noticed that this page's is gone. */
  async killRenderers(page: Page): Promise<void> {
    const gone = page.waitForEvent('crash')
    for (const id of await this.#processes('renderer')) kill(id)
    await gone
  }

  /** SIGKILL for the browser process and every process that belongs to it. */
  async killBrowser(): Promise<void> {
    const context = await this.#open()
    const processes = await this.#processes()
    const gone = context.waitForEvent('close')
    for (const id of processes) kill(id)
    await gone
    this.#context = undefined
    this.#browserSession = undefined
  }

  async close(): Promise<void> {
    if (this.#context !== undefined && this.#asForPeople) await this.killBrowser()
    await this.#context?.close()
    this.#context = undefined
    this.#browserSession = undefined
  }

  /** Closes, and deletes the folder. */
  async remove(): Promise<void> {
    await this.close()
    await rm(this.folder, { recursive: true, force: true, maxRetries: 5 })
  }

  async #open(): Promise<BrowserContext> {
    this.#context ??= this.#asForPeople
      ? await startForPeople(this.folder, this.#environment)
      : await chromium.launchPersistentContext(this.folder, {
          headless: true,
          // Several browsers that start at once on a small machine take their time.
          timeout: startTimeoutMs,
          args: soakArguments,
          env: this.#environment,
          ...executable(),
        })
    return this.#context
  }

  /** The browser's process first. */
  async #processes(type?: string): Promise<number[]> {
    const context = await this.#open()
    const browser = context.browser()
    if (browser === null) throw new Error('Playwright gives no browser for a persistent context')
    this.#browserSession ??= await browser.newBrowserCDPSession()
    const { processInfo } = (await this.#browserSession.send('SystemInfo.getProcessInfo')) as {
      readonly processInfo: readonly ProcessInfo[]
    }
    return processInfo.filter((one) => type === undefined || one.type === type).map(({ id }) => id)
  }
}

async function startForPeople(folder: string, env: Record<string, string>): Promise<BrowserContext> {
  const { executablePath = chromium.executablePath() } = executable()
  const arguments_ = ['--headless', `--user-data-dir=${folder}`, '--remote-debugging-port=0', ...soakArguments]
  const started = spawn(executablePath, [...arguments_, 'about:blank'], { env, stdio: ['ignore', 'ignore', 'pipe'] })
  const endpoint = await new Promise<string>((resolve, reject) => {
    let said = ''
    started.once('error', reject)
    started.once('exit', (code) => reject(new Error(`Chromium ended with ${code}: ${said}`)))
    started.stderr.on('data', (text: Buffer) => {
      if (said.length < 10_000) said += text
      const [, url] = /DevTools listening on (ws:\S+)/.exec(said) ?? []
      if (url !== undefined) resolve(url)
    })
  })
  const browser = await chromium.connectOverCDP(endpoint, { noDefaults: true, timeout: startTimeoutMs })
  const [context] = browser.contexts()
  if (context === undefined) throw new Error('the browser has no context')
  return context
}

function executable(): { readonly executablePath?: string } {
  const executablePath = findBrowser()
  return executablePath === undefined ? {} : { executablePath }
}

function presentEnvironment(): Record<string, string> {
  const present = Object.entries(process.env).filter((entry): entry is [string, string] => entry[1] !== undefined)
  return Object.fromEntries(present)
}

/** Whoever ended by itself meanwhile is dead, too. */
export function kill(id: number): void {
  try {
    process.kill(id, 'SIGKILL')
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ESRCH')) throw error
  }
}
