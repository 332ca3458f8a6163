// A tab with the page of pages/replica-page.ts, as the harness sees it: what it says of itself, commands with the times of
// their beginning and end on a clock that all browsers of this machine share, and how many write transactions are open.
import type { CDPSession, Page } from 'playwright'
import type { Asked, PageFacts, Plain } from './pages/replica-page.ts'

/** The steady clock of the machine, in milliseconds. Chromium's own times are on it, too. */
export function steadyMs(): number {
  return Number(process.hrtime.bigint()) / 1e6
}

/** Pages see their clock in steps of a tenth of a millisecond, a little shaken: nothing ended later than this after it. */
export const clockStepMs = 0.2

export interface TimedAnswer {
  readonly result: Plain
  /** Steady milliseconds: begun not before, ended not after. */
  readonly call: number
  readonly return: number
}

export interface OpenOptions {
  /** Milliseconds until the replica has to be open. */
  readonly timeoutMs?: number
  /** Before the page is loaded, when its session with the browser is there. */
  readonly prepare?: (session: CDPSession) => Promise<unknown>
}

export class ReplicaTab {
  readonly page: Page
  /** Steady milliseconds of the page's `performance.now() === 0`. */
  readonly originMs: number
  readonly session: CDPSession
  readonly #marks: { open: number }

  /** Loads the page, and resolves when its replica is open. */
  static async open(page: Page, url: string, options: OpenOptions = {}): Promise<ReplicaTab> {
    const session = await page.context().newCDPSession(page)
    const marks = { open: 0 }
    session.on('Runtime.bindingCalled', ({ payload }) => {
      marks.open = Number(payload)
    })
    await session.send('Runtime.enable')
    await session.send('Runtime.addBinding', { name: 'soakMark' })
    await session.send('Performance.enable')
    await options.prepare?.(session)
    await page.goto(url)
    const opened = await page.waitForFunction(
      () => (window.soak === undefined ? window.soakFailure : 'open'),
      undefined,
      { timeout: options.timeoutMs ?? 60_000 },
    )
    const outcome = await opened.jsonValue()
    if (outcome !== 'open') throw new Error(`the page has no replica: ${outcome}`)
    const { metrics } = await session.send('Performance.getMetrics')
    const seconds = metrics.find(({ name }) => name === 'NavigationStart')?.value ?? 0
    if (!(seconds > 0)) throw new Error('the browser does not tell when the page began')
    const tab = new ReplicaTab(page, session, seconds * 1_000, marks)
    await tab.#checkClock()
    return tab
  }

  private constructor(page: Page, session: CDPSession, originMs: number, marks: { open: number }) {
    this.page = page
    this.session = session
    this.originMs = originMs
    this.#marks = marks
  }

  /** As far as the page got to tell. */
  get openTransactions(): number {
    return this.#marks.open
  }

  facts(): Promise<PageFacts> {
    return this.page.evaluate(() => {
      if (window.soak === undefined) throw new Error('this page has no replica')
      return window.soak.facts()
    })
  }

  invite(): Promise<string> {
    return this.page.evaluate(() => window.soak?.invite ?? '')
  }

  entries(prefix: string): Promise<readonly (readonly [string, Plain])[]> {
    return this.page.evaluate((prefix) => window.soak?.entries(prefix) ?? [], prefix)
  }

  /** How many commands of the life before there were; resolves when each has its result. */
  async carriedOverDone(): Promise<number> {
    return await this.page.evaluate(() => window.soak?.carriedOverDone() ?? 0)
  }

  async ask(asked: Asked): Promise<TimedAnswer> {
    const { result, fromMs, toMs } = await this.page.evaluate((asked) => {
      if (window.soak === undefined) throw new Error('this page has no replica')
      return window.soak.ask(asked)
    }, asked)
    return { result, call: this.originMs + fromMs - clockStepMs, return: this.originMs + toMs + clockStepMs }
  }

  /** Resolves when this page's replica can commit. */
  async ready(): Promise<void> {
    await this.page.waitForFunction(() => window.soak?.facts().status === 'ready', undefined, { timeout: 60_000 })
  }

  /** A reading of the page's clock lies between two of ours, or no time of this page can be compared with another's. */
  async #checkClock(): Promise<void> {
    const before = steadyMs()
    const now = this.originMs + (await this.page.evaluate(() => performance.now()))
    const after = steadyMs()
    if (now < before - 1 || now > after + 1) {
      throw new Error(`the page's clock says ${now}, which is not between ${before} and ${after}`)
    }
  }
}

/** Polls until `look` gives something else than undefined. */
export async function waitFor<T>(what: string, timeoutMs: number, look: () => Promise<T | undefined>): Promise<T> {
  const end = steadyMs() + timeoutMs
  for (;;) {
    const found = await look()
    if (found !== undefined) return found
    if (steadyMs() > end) throw new Error(`${what}: not within ${timeoutMs} ms`)
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

/** Waits until all replicas executed the same, nothing is pending, and their hashes are equal. Gives the common facts. */
export async function expectSameState(tabs: readonly ReplicaTab[], timeoutMs = 60_000): Promise<PageFacts> {
  let last: readonly PageFacts[] = []
  try {
    return await waitFor('all replicas stand at the same point', timeoutMs, async () => {
      last = await Promise.all(tabs.map((tab) => tab.facts()))
      const [first] = last
      const same = last.every((facts) => facts.executed === first?.executed && facts.pending === 0)
      if (first === undefined || !same) return undefined
      if (last.some(({ stateHash }) => stateHash !== first.stateHash)) {
        throw new Error(`replicas diverged: ${JSON.stringify(last)}`)
      }
      return first
    })
  } catch (error) {
    throw new Error(`${error instanceof Error ? error.message : error}: ${JSON.stringify(last)}`, { cause: error })
  }
}
