// `npm run soak -- take-over`: one log in one browser, and an owner of it that dies, freezes, is stopped by the system or is
// lost in thought, while it writes as fast as it can. Another page takes the log over; whoever wakes up again writes late.
// No write of a former owner may come after its successor has looked, and every completed write is in what that one found.
import type { Page } from 'playwright'
import { createRandom } from '../../packages/core/src/lib/random.ts'
import { kill, Profile } from './chromium.ts'
import type { OwnerState, Taken, Written } from './pages/storage-page.ts'
import { waitFor } from './replica-tab.ts'
import { type ServedPages, servePages } from './serve-pages.ts'

const frozenMs = 400
const stallMs = 3_000
/** How long an owner sleeps at most. One that fell asleep in a transaction is taken over when it woke up. */
const asleepMs = 4_000
/** For how long a taking that was under way when its owner woke up may go on. */
const wakingMs = 15_000

/** What happens to an owner. */
const fates = ['killed', 'frozen', 'stopped', 'stalled'] as const
export type Fate = (typeof fates)[number]

interface Writer {
  readonly page: Page
  readonly renderer: number
}

/** Hears all owners, and judges each taking. */
class Ledger {
  takings = 0
  writes = 0
  readonly #completed = new Map<number, number>()
  /** What the successor found of each generation. */
  readonly #found = new Map<number, number>()
  readonly #ownerOf = new Map<number, string>()
  /** A page can not be asked to throw: this is thrown by whoever waits. */
  failure: Error | undefined

  get generation(): number {
    return Math.max(0, ...this.#ownerOf.keys())
  }

  taken({ token, generation, found }: Taken): void {
    this.takings += 1
    const before = this.#ownerOf.get(generation)
    if (before !== undefined) return this.#fail(`generation ${generation} has two owners, ${before} and ${token}`)
    this.#ownerOf.set(generation, token)
    for (const [name, count] of Object.entries(found)) {
      const writer = Number(name)
      if (writer < generation - 2)
        return this.#fail(`generation ${writer} wrote after ${writer + 2} had dropped its writes`)
      const known = this.#found.get(writer)
      if (known !== undefined && known !== count) {
        return this.#fail(`generation ${writer} had ${known} writes when it was taken over, and has ${count} now`)
      }
      this.#found.set(writer, count)
    }
    const last = generation - 1
    const completed = this.#completed.get(last) ?? 0
    const there = this.#found.get(last) ?? 0
    if (completed > there) this.#fail(`generation ${last} completed ${completed} writes, and ${there} were found`)
  }

  written({ token, generation, count }: Written): void {
    this.writes += 1
    this.#completed.set(generation, Math.max(count, this.#completed.get(generation) ?? 0))
    if (this.#ownerOf.get(generation) !== token)
      this.#fail(`${token} wrote as generation ${generation} and is not its owner`)
    const found = this.#found.get(generation)
    if (found !== undefined && count > found) {
      this.#fail(`generation ${generation} completed write ${count} after its successor had found ${found}`)
    }
  }

  #fail(message: string): void {
    this.failure ??= new Error(message)
  }
}

/** `rounds` takings. Returns counts; throws at a write that must not be there, or one that is missing. */
export async function soakTakeOver(rounds: number, only: readonly Fate[] = fates): Promise<Record<string, number>> {
  const seed = Math.floor(Math.random() * 1e9)
  console.error(`seed ${seed}`)
  const random = createRandom(seed)
  const pages = await servePages()
  const profile = await Profile.create({ asForPeople: true })
  const ledger = new Ledger()
  const figures: Record<string, number> = { seed, lateWritesRefused: 0 }
  try {
    const writers: Writer[] = []
    for (let index = 0; index < 3; index += 1) writers.push(await openWriter(pages, profile, ledger))
    await writers[0]?.page.evaluate(() => window.soakStorage?.open())
    let taken = 0
    for (let attempt = 0; taken < rounds; attempt += 1) {
      if (attempt > 3 * rounds) throw new Error(`${taken} takings in ${attempt} attempts: ${JSON.stringify(figures)}`)
      const fate = only[attempt % only.length] ?? 'killed'
      const owner = await ownerAmong(writers, ledger)
      const others = writers.filter((one) => one !== owner)
      await new Promise((resolve) => setTimeout(resolve, random.integer(300)))
      const before = await stateOf(owner)
      const generation = ledger.generation
      // A page in the background looks at its clock once a second: it would take many times longer to find an owner silent.
      await random.pick(others).page.bringToFront()
      const wake = await suffer(owner, fate)
      figures[fate] = (figures[fate] ?? 0) + 1
      const asleep = wake !== undefined && (await isTaken(ledger, generation, asleepMs))
      if (asleep) figures[`${fate}TakenAsleep`] = (figures[`${fate}TakenAsleep`] ?? 0) + 1
      if (wake === undefined) await takenAfter(ledger, generation, fate)
      // It writes late while its successor writes.
      await new Promise((resolve) => setTimeout(resolve, random.integer(200)))
      if (wake === undefined) {
        writers[writers.indexOf(owner)] = await openWriter(pages, profile, ledger)
        await owner.page.close()
      } else {
        await wake()
        // One that could not be taken over while it slept may own it still when it wakes up.
        if (!asleep && !(await isTaken(ledger, generation, wakingMs))) {
          if (ledger.failure !== undefined) throw ledger.failure
          continue
        }
        await waitFor(`the ${fate} owner knows that it is none`, 60_000, async () => {
          const { generation, refused } = await stateOf(owner)
          for (const reason of Object.keys(refused)) {
            if (reason !== 'taken-over') throw new Error(`a former owner's write was answered with: ${reason}`)
          }
          return generation !== before.generation ? true : undefined
        })
        figures['lateWritesRefused'] =
          (figures['lateWritesRefused'] ?? 0) +
          ((await stateOf(owner)).refused['taken-over'] ?? 0) -
          (before.refused['taken-over'] ?? 0)
      }
      if (ledger.failure !== undefined) throw ledger.failure
      taken += 1
    }
    for (const fate of only) {
      if (fate !== 'killed' && (figures[fate] ?? 0) > 0 && figures[`${fate}TakenAsleep`] === undefined) {
        throw new Error(`no owner that was ${fate} was taken over before it woke up: ${JSON.stringify(figures)}`)
      }
    }
    // One more looks at what the last two generations wrote.
    const last = await ownerAmong(writers, ledger)
    const generation = ledger.generation
    await suffer(last, 'killed')
    await takenAfter(ledger, generation, 'killed')
    if (ledger.failure !== undefined) throw ledger.failure
    return { ...figures, takings: ledger.takings, completedWrites: ledger.writes }
  } finally {
    await profile.remove()
    await pages.close()
  }
}

async function openWriter(pages: ServedPages, profile: Profile, ledger: Ledger): Promise<Writer> {
  const { page, renderer } = await profile.newPageWithRenderer()
  const session = await page.context().newCDPSession(page)
  session.on('Runtime.bindingCalled', ({ name, payload }) => {
    if (name === 'soakTaken') ledger.taken(JSON.parse(payload) as Taken)
    if (name === 'soakWritten') ledger.written(JSON.parse(payload) as Written)
  })
  await session.send('Runtime.enable')
  for (const name of ['soakTaken', 'soakWritten']) await session.send('Runtime.addBinding', { name })
  await page.goto(`${pages.url}storage.html?frozenMs=${frozenMs}`)
  await page.waitForFunction(() => window.soakStorage !== undefined)
  return { page, renderer }
}

async function stateOf({ page }: Writer): Promise<OwnerState> {
  return await page.evaluate(() => {
    if (window.soakStorage === undefined) throw new Error('this page is no writer')
    return window.soakStorage.state()
  })
}

function ownerAmong(writers: readonly Writer[], ledger: Ledger): Promise<Writer> {
  return waitFor('one of the pages owns the log', 60_000, async () => {
    for (const writer of writers) {
      const { generation } = await stateOf(writer)
      if (generation > 0 && generation === ledger.generation) return writer
    }
    return undefined
  })
}

async function isTaken(ledger: Ledger, generation: number, withinMs: number): Promise<boolean> {
  const end = performance.now() + withinMs
  while (performance.now() < end && ledger.generation === generation && ledger.failure === undefined) {
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  return ledger.generation > generation
}

async function takenAfter(ledger: Ledger, generation: number, fate: Fate): Promise<void> {
  await waitFor(`the ${fate} owner is taken over`, 60_000, async () => {
    if (ledger.failure !== undefined) throw ledger.failure
    return ledger.generation > generation ? true : undefined
  })
}

/** What wakes it up again, where it can be. */
async function suffer({ page, renderer }: Writer, fate: Fate): Promise<(() => Promise<void>) | undefined> {
  switch (fate) {
    case 'killed': {
      const gone = page.waitForEvent('crash')
      kill(renderer)
      await gone
      return undefined
    }
    case 'frozen': {
      // Only a hidden tab is frozen.
      await page.waitForFunction(() => document.visibilityState === 'hidden', undefined, { polling: 50 })
      const session = await page.context().newCDPSession(page)
      await page.evaluate(() => {
        document.addEventListener('freeze', () => document.documentElement.setAttribute('frozen', ''), { once: true })
      })
      await session.send('Page.setWebLifecycleState', { state: 'frozen' })
      await waitFor('the page is frozen', 10_000, async () =>
        (await page.evaluate(() => document.documentElement.hasAttribute('frozen'))) ? true : undefined,
      )
      return async () => {
        await session.send('Page.setWebLifecycleState', { state: 'active' })
        await page.evaluate(() => document.documentElement.removeAttribute('frozen'))
        await session.detach()
      }
    }
    case 'stopped':
      process.kill(renderer, 'SIGSTOP')
      return async () => void process.kill(renderer, 'SIGCONT')
    case 'stalled':
      await page.evaluate((ms) => void setTimeout(() => window.soakStorage?.stall(ms)), stallMs)
      return async () => {}
  }
}
