// An edge replica and two browsers, each with a disk of its own, are a room of three voters under a steady stream of
// commands. Both browsers are killed, then the edge replica again and again; at the end every answer that was given must be
// in the state, nothing in it twice, and the state the same at all three.
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type BrowserContext, chromium, type Page } from 'playwright'
import { build } from 'vite'
import { createRandom } from '../../packages/core/src/lib/random.ts'
import type {} from '../../packages/demo-app/src/session.ts'
import { EdgeProgram } from '../../packages/edge-replica/testing/edge-program.ts'
import { chromiumArguments } from '../chromium-arguments.ts'
import { type ServedDemo, servePages } from '../serve-demo.ts'
import { findBrowser } from '../setup.mjs'

const demoRoot = fileURLToPath(new URL('../../packages/demo-app', import.meta.url))

/** Streams of commands in each browser; each has one command under way at a time. */
const linesEach = 3
/** Keys that a line writes in turn: their versions count how often. */
const marks = 4
/** How long anything may take that has to happen. */
const patienceMs = 60_000

/** What was heard from one line in one life of its browser. */
interface Heard {
  /** Commands were numbered from 1; so many were answered. */
  answered: number
  /** What they made of the counter that all share, one after the other. */
  readonly shared: number[]
}

declare global {
  interface Window {
    /** The harness's end; resolves when it has been told. */
    heard?: (line: string, number: number, own: number, shared: number) => Promise<void>
    streams?: { going: boolean; ended: Promise<unknown> }
  }
}

/** Of one kill of the edge replica. */
interface KillTimes {
  /** From the kill until both browsers have answers to commands that were proposed after it. */
  readonly othersGoOnMs: number
  /** From the start of the program until it has its state from the disk. */
  readonly edgeOpensMs: number
  /** From there until it is connected to both browsers, and ready. */
  readonly edgeVotesMs: number
}

/** What each of the three replicas says about itself. */
interface Standing {
  readonly replica: string
  readonly status: string
  readonly voters: number
  readonly connected: number
  readonly executed: number
  readonly stateHash: string
}

/** Throws at the first thing that is wrong; returns figures. `rounds`: how often the edge replica is killed. */
export async function soakEdge(rounds: number): Promise<Record<string, number>> {
  const seed = Math.floor(Math.random() * 1e9)
  console.error(`edge: seed ${seed}`)
  const folder = await mkdtemp(join(tmpdir(), 'wepaxos-soak-edge-'))
  const pages = join(folder, 'pages')
  // A build of its own: another one may be served from the demo's folder at this moment.
  await build({ root: demoRoot, logLevel: 'warn', build: { outDir: pages, emptyOutDir: true } })
  const demo = await servePages(pages, 0)
  const soak = new EdgeSoak(folder, demo, seed)
  try {
    return await soak.run(rounds)
  } finally {
    await soak.end()
    await demo.close()
    await rm(folder, { recursive: true, force: true, maxRetries: 5 })
  }
}

class EdgeSoak {
  readonly #folder: string
  readonly #demo: ServedDemo
  readonly #seed: number
  readonly #dice: ReturnType<typeof createRandom>
  readonly #browsers: readonly [Browser, Browser]
  #edge: EdgeProgram | undefined
  #invite = ''

  constructor(folder: string, demo: ServedDemo, seed: number) {
    this.#folder = folder
    this.#demo = demo
    this.#seed = seed
    this.#dice = createRandom(seed)
    this.#browsers = [new Browser('ana', join(folder, 'ana')), new Browser('ben', join(folder, 'ben'))]
  }

  async run(rounds: number): Promise<Record<string, number>> {
    const [ana, ben] = this.#browsers
    await ana.open(this.#demo.url)
    await until('the room is founded', () => Promise.resolve(/#v1\.w\.[\w-]{43}$/.test(ana.url)))
    const link = ana.url
    this.#invite = new URL(link).hash
    this.#startEdge()
    await ben.open(link)
    const { replica } = await this.#allAreVoters()
    await Promise.all(this.#browsers.map((browser) => browser.startStreams()))
    await this.#moreAnswers()

    const browsersBackMs = await this.#killBothBrowsers(link)
    const times: KillTimes[] = []
    for (let round = 0; round < rounds; round += 1) {
      await this.#moreAnswers()
      times.push(await this.#killEdge(replica))
    }
    await this.#moreAnswers()
    await Promise.all(this.#browsers.map((browser) => browser.stopStreams()))
    await this.#sameState()
    const figures = await this.#judge()
    return {
      seed: this.#seed,
      edgeKills: rounds,
      browserKills: 2,
      ...figures,
      carriedOver: ana.carriedOver + ben.carriedOver,
      ...spread('othersGoOnMs', times),
      ...spread('edgeOpensMs', times),
      ...spread('edgeVotesMs', times),
      browsersAnswerAgainMs: Math.round(browsersBackMs),
    }
  }

  async end(): Promise<void> {
    await Promise.all([...this.#browsers.map((browser) => browser.kill()), this.#edge?.stop('SIGKILL')])
  }

  #startEdge(): void {
    const flags = ['--data', join(this.#folder, 'edge'), '--http', '127.0.0.1:0', '--log-level', 'debug']
    const signaling = new URL('/signal', this.#demo.url)
    signaling.protocol = 'ws:'
    this.#edge = new EdgeProgram(flags, {
      WEPAXOS_EDGE_INVITE: this.#invite,
      WEPAXOS_EDGE_SIGNALING: signaling.href,
    })
  }

  /** A random number of answers from each browser, so that what comes next comes at a random moment of the stream. */
  async #moreAnswers(): Promise<void> {
    await Promise.all(
      this.#browsers.map(async (browser) => {
        const enough = browser.answers + 20 + this.#dice.integer(80)
        await until(`${browser.name} has more answers`, () => Promise.resolve(browser.answers >= enough))
      }),
    )
  }

  /** The edge replica is alone then, for a while also dead; the room lives on with the browsers that are opened again. */
  async #killBothBrowsers(link: string): Promise<number> {
    await Promise.all(this.#browsers.map((browser) => browser.kill()))
    await until('the edge replica notices that it is alone', async () => {
      const { status } = await this.#askEdge()
      return status === 'no-quorum'
    })
    const alone = await this.#askEdge()
    await this.#edge?.stop('SIGKILL')
    this.#startEdge()
    await until('the edge replica is back', async () => (await this.#askEdge()).status === 'no-quorum')
    const again = await this.#askEdge()
    if (again.replica !== alone.replica) throw new Error(`${alone.replica} came back as ${again.replica}`)
    if (again.executed < alone.executed) {
      throw new Error(`it had executed ${alone.executed} commands, and has ${again.executed} after a restart`)
    }
    const startedAt = performance.now()
    const before = this.#browsers.map(({ answers }) => answers)
    await Promise.all(
      this.#browsers.map(async (browser) => {
        await browser.open(link)
        await browser.startStreams()
      }),
    )
    await until('both browsers have answers again', () =>
      Promise.resolve(this.#browsers.every(({ answers }, index) => answers > (before[index] ?? 0))),
    )
    const backMs = performance.now() - startedAt
    await this.#allAreVoters()
    return backMs
  }

  async #killEdge(replica: string): Promise<KillTimes> {
    const killedAt = performance.now()
    await this.#edge?.stop('SIGKILL')
    const before = this.#browsers.map(({ answers }) => answers)
    await until('the browsers go on without it', () =>
      Promise.resolve(this.#browsers.every(({ answers }, index) => answers > (before[index] ?? 0) + linesEach)),
    )
    const startedAt = performance.now()
    this.#startEdge()
    await this.#edge?.record(({ event }) => event === 'opened')
    const openedAt = performance.now()
    const standing = await this.#allAreVoters()
    if (standing.replica !== replica) throw new Error(`${replica} came back as ${standing.replica}`)
    return {
      othersGoOnMs: startedAt - killedAt,
      edgeOpensMs: openedAt - startedAt,
      edgeVotesMs: performance.now() - openedAt,
    }
  }

  async #standings(): Promise<readonly Standing[]> {
    return [await this.#askEdge(), ...(await Promise.all(this.#browsers.map((browser) => browser.standing())))]
  }

  /** Resolves with the edge replica's standing. */
  async #allAreVoters(): Promise<Standing> {
    await until('all three vote and see each other', async () => {
      const standings = await this.#standings()
      return standings.every((one) => one.status === 'ready' && one.voters === 3 && one.connected === 2)
    })
    return this.#askEdge()
  }

  async #sameState(): Promise<void> {
    await until('all three stand at the same point with the same state', async () => {
      const standings = await this.#standings()
      const points = new Set(standings.map(({ executed, stateHash }) => `${executed} ${stateHash}`))
      return points.size === 1
    })
  }

  async #askEdge(): Promise<Standing> {
    const edge = this.#edge
    if (edge === undefined) throw new Error('the edge replica was not started')
    const partition = await edge.partition()
    if (partition === undefined) return { ...nobody }
    const { replica, status, members, stats } = partition
    return {
      replica,
      status,
      voters: members.filter(({ role }) => role === 'voter').length,
      connected: members.filter(({ id, connected }) => connected && id !== replica).length,
      executed: stats.executed,
      stateHash: stats.stateHash,
    }
  }

  /** The state that all three agree on, against what was heard. */
  async #judge(): Promise<Record<string, number>> {
    const [ana, ben] = this.#browsers
    const state = new Map((await ana.entries()).map((entry) => [entry.key, entry]))
    const heard = new Map([...ana.heard, ...ben.heard])
    let answered = 0
    let executedUnheard = 0
    const sharedAnswers: number[] = []
    for (const [line, { answered: count, shared }] of heard) {
      const executed = Number(state.get(`line/${line}`)?.value ?? 0)
      answered += count
      sharedAnswers.push(...shared)
      // One more than was heard may have been under way when its browser died.
      if (executed < count) throw new Error(`${line}: ${count} commands were answered, ${executed} are in the state`)
      if (executed > count + 1) throw new Error(`${line}: ${count} commands were answered, ${executed} were executed`)
      executedUnheard += executed - count
      for (let mark = 0; mark < marks; mark += 1) {
        // Of the numbers 1 … executed, those that write this key.
        const writes = Math.floor((executed - mark + marks) / marks) - (mark === 0 ? 1 : 0)
        const entry = state.get(`mark/${line}/${mark}`)
        const version = entry?.version ?? 0
        if (version !== writes) throw new Error(`${line}: mark ${mark} was written ${version} times, not ${writes}`)
        const last = (writes - (mark === 0 ? 0 : 1)) * marks + mark
        if (writes > 0 && entry?.value !== last) {
          throw new Error(`${line}: mark ${mark} holds ${String(entry?.value)}, not ${last}`)
        }
      }
    }
    if (new Set(sharedAnswers).size !== sharedAnswers.length) {
      throw new Error('two commands were told that they brought the shared counter to the same number')
    }
    const shared = Number(state.get('shared')?.value ?? 0)
    if (shared !== answered + executedUnheard) {
      throw new Error(
        `the shared counter stands at ${shared}; its commands are ${answered} and ${executedUnheard} unheard`,
      )
    }
    return { answered, executedUnheard, lost: 0, twice: 0 }
  }
}

const nobody: Standing = { replica: '', status: 'starting', voters: 0, connected: 0, executed: 0, stateHash: '' }

/** A Chromium with a profile on the disk, one page of the demo in it, and what was heard from that page. */
class Browser {
  readonly name: string
  readonly heard = new Map<string, Heard>()
  /** Proposals of a life before that got their result in a later one. */
  carriedOver = 0
  readonly #profile: string
  #context: BrowserContext | undefined
  #page: Page | undefined
  #closed: Promise<void> = Promise.resolve()
  #life = 0
  #problem: string | undefined

  constructor(name: string, profile: string) {
    this.name = name
    this.#profile = profile
  }

  get url(): string {
    return this.#page?.url() ?? ''
  }

  get answers(): number {
    if (this.#problem !== undefined) throw new Error(this.#problem)
    return [...this.heard.values()].reduce((sum, { answered }) => sum + answered, 0)
  }

  get #open(): Page {
    if (this.#page === undefined) throw new Error(`${this.name} has no page`)
    return this.#page
  }

  async open(link: string): Promise<void> {
    const executablePath = findBrowser()
    this.#context = await chromium.launchPersistentContext(this.#profile, {
      headless: true,
      args: [...chromiumArguments],
      ...(executablePath === undefined ? {} : { executablePath }),
    })
    const context = this.#context
    this.#closed = new Promise((resolve) => context.once('close', () => resolve()))
    this.#life += 1
    const page = context.pages()[0] ?? (await context.newPage())
    this.#page = page
    await page.exposeFunction('heard', (line: string, number: number, own: number, shared: number) => {
      const heard = this.heard.get(line)
      if (heard === undefined) throw new Error(`${line} is no line`)
      heard.answered += 1
      heard.shared.push(shared)
      if (number === heard.answered && own === number) return
      this.#problem ??= `${line}: the answer to command ${number}, the ${heard.answered}th heard, says ${own}`
    })
    await page.goto(link)
    await page.waitForFunction(() => window.wepaxos !== undefined, undefined, { timeout: patienceMs })
    this.carriedOver += await page.evaluate(async () => {
      const carried = window.wepaxos?.replica.carriedOver ?? []
      await Promise.all(carried.map(({ done }) => done))
      return carried.length
    })
  }

  /** Each line goes on with its next command when the harness has heard of the one before. */
  async startStreams(): Promise<void> {
    const lines = Array.from({ length: linesEach }, (_, index) => `${this.name}/${this.#life}/${index}`)
    for (const line of lines) this.heard.set(line, { answered: 0, shared: [] })
    await this.#open.evaluate(
      async ({ lines, marks }) => {
        const replica = window.wepaxos?.replica
        if (replica === undefined) throw new Error('this page has no open replica')
        await replica.ready({ timeoutMs: 60_000 })
        const streams = { going: true, ended: Promise.resolve<unknown>(undefined) }
        window.streams = streams
        // No function in here has a name: tsx would mark it by a helper that pages do not have.
        const ends = lines.map(async (line) => {
          for (let number = 1; streams.going; number += 1) {
            const result = await replica.mutate.transact(
              [],
              [
                { op: 'increment', key: 'shared' },
                { op: 'increment', key: `line/${line}` },
                { op: 'set', key: `mark/${line}/${number % marks}`, value: number },
              ],
            ).done
            if (!result.ok) throw new Error(`${line}: refused: ${result.code}`)
            const [shared, own] = result.value
            await window.heard?.(line, number, Number(own), Number(shared))
          }
        })
        streams.ended = Promise.all(ends)
      },
      { lines, marks },
    )
  }

  async stopStreams(): Promise<void> {
    await this.#open.evaluate(async () => {
      if (window.streams === undefined) throw new Error('nothing runs in this page')
      window.streams.going = false
      await window.streams.ended
    })
  }

  standing(): Promise<Standing> {
    return this.#open.evaluate(() => {
      const replica = window.wepaxos?.replica
      if (replica === undefined) throw new Error('this page has no open replica')
      const { executed, stateHash } = replica.stats()
      return {
        replica: replica.id,
        status: replica.status.kind,
        voters: replica.members.filter(({ role }) => role === 'voter').length,
        connected: replica.members.filter(({ self, connected }) => connected && !self).length,
        executed,
        stateHash,
      }
    })
  }

  entries(): Promise<readonly { readonly key: string; readonly value: unknown; readonly version: number }[]> {
    return this.#open.evaluate(() => window.wepaxos?.replica.view.committed.list() ?? [])
  }

  /** SIGKILL for all processes of this browser; its profile stays as it is on the disk. */
  async kill(): Promise<void> {
    const context = this.#context
    if (context === undefined) return
    this.#context = undefined
    this.#page = undefined
    for (const id of await processesOf(this.#profile)) process.kill(id, 'SIGKILL')
    await this.#closed
    await until('its processes are gone', async () => (await processesOf(this.#profile)).length === 0)
  }
}

/** Processes whose command line names this profile, which no other browser has. */
async function processesOf(profile: string): Promise<readonly number[]> {
  const found: number[] = []
  for (const name of await readdir('/proc')) {
    if (!/^[0-9]+$/.test(name)) continue
    // It may be gone by now.
    const commandLine = await readFile(`/proc/${name}/cmdline`, 'utf8').catch(() => '')
    if (commandLine.split('\0').includes(`--user-data-dir=${profile}`)) found.push(Number(name))
  }
  return found
}

/** The median and the largest. */
function spread(name: keyof KillTimes, times: readonly KillTimes[]): Record<string, number> {
  const sorted = times.map((one) => Math.round(one[name])).sort((a, b) => a - b)
  return { [`${name}Median`]: sorted[Math.floor((sorted.length - 1) / 2)] ?? 0, [`${name}Max`]: sorted.at(-1) ?? 0 }
}

async function until(what: string, holds: () => Promise<boolean>): Promise<void> {
  const endsAt = performance.now() + patienceMs
  while (!(await holds())) {
    if (performance.now() > endsAt) throw new Error(`not after ${patienceMs} ms: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}
