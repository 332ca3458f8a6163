// How long a command takes from the call to its executed result in a real page, beside round trips that the same pages make
// without replicas: over a bare data channel, a link of the transport, a room. What is compared is measured in turns, a few
// round trips of each, so that what the machine does besides meets all of it alike.
import { fileURLToPath } from 'node:url'
import { type Browser, chromium, type Page } from 'playwright'
import { build, defaultClientConditions } from 'vite'
import { type Report, rounded, type Table, twoPlaces } from '../packages/core/bench/report.ts'
import type { EchoRun } from './bench-page/echoes.ts'
import type { BenchPage, CommandTimes } from './bench-page/main.ts'
import { chromiumArguments } from './chromium-arguments.ts'
import { servePages } from './serve-demo.ts'
import { findBrowser } from './setup.mjs'

declare global {
  interface Window {
    bench?: BenchPage
  }
}

/** Pages with a replica each, all voters. */
interface BenchPages {
  readonly pages: readonly Page[]
  close(): Promise<void>
}

const pageRoot = fileURLToPath(new URL('./bench-page', import.meta.url))
/** Bytes of an echo: about what a command of the benchmark takes. */
const echoBytes = 100
/** Commands in flight at a time, in the run that asks for throughput. */
const manyInFlight = 128

/** Builds and serves the page, and opens a browser; `use` gets a way to open so many pages with a query. */
async function withBenchPages(
  use: (open: (count: number, query: string) => Promise<BenchPages>) => Promise<void>,
): Promise<void> {
  const conditions = ['wepaxos:source', ...defaultClientConditions]
  await build({ root: pageRoot, resolve: { conditions }, build: { target: 'es2022' }, logLevel: 'warn' })
  const served = await servePages(`${pageRoot}/dist`, 0, true)
  const browser = await chromium.launch({
    executablePath: findBrowser() ?? '',
    args: [
      ...chromiumArguments,
      // nobody looks at the pages, and all of them count
      '--disable-background-timer-throttling',
      '--disable-renderer-backgrounding',
      '--disable-backgrounding-occluded-windows',
    ],
  })
  try {
    await use((count, query) => openPages(browser, count, `${served.url}${query}`))
  } finally {
    await browser.close()
    await served.close()
  }
}

async function openPages(browser: Browser, count: number, url: string): Promise<BenchPages> {
  const context = await browser.newContext()
  const first = await context.newPage()
  await first.goto(url)
  await first.waitForFunction(() => window.wepaxos?.replica.status.kind === 'ready' && location.hash !== '')
  const pages = [first]
  while (pages.length < count) {
    const page = await context.newPage()
    await page.goto(first.url())
    pages.push(page)
  }
  await first.waitForFunction(
    (count) => window.wepaxos?.replica.members.filter((one) => one.connected).length === count,
    count,
  )
  await first.evaluate(() => window.bench?.allVote())
  for (const page of pages) {
    await page.waitForFunction((others) => window.bench?.echoesReady(others) === true, count - 1)
  }
  return { pages, close: () => context.close() }
}

/** Calls in the page; a run is data, so that it can be handed over. */
function call<K extends 'echo' | 'commands'>(
  page: Page,
  name: K,
  run: Parameters<BenchPage[K]>[0],
): Promise<Awaited<ReturnType<BenchPage[K]>>> {
  const text = `window.bench.${name}(${JSON.stringify(run)})`
  return page.evaluate<Awaited<ReturnType<BenchPage[K]>>>(text)
}

interface Row {
  readonly what: string
  /** Whether there was a pause after each. */
  readonly paced: boolean
  readonly p50: number
  readonly p95: number
  readonly perSecond: number
  readonly frames?: number
  readonly bytes?: number
}

/** What is measured in turns; one turn gives a few samples. */
interface Contender {
  readonly what: string
  readonly paced?: boolean
  turn(): Promise<{ times: readonly number[]; elapsedMs: number; carried?: CommandTimes['carried'] }>
}

function rowOf({ what, paced = false }: Contender, turns: readonly Awaited<ReturnType<Contender['turn']>>[]): Row {
  const sorted = turns.flatMap(({ times }) => times).toSorted((a, b) => a - b)
  const at = (part: number) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? Number.NaN
  const count = sorted.length
  // the median of the turns: one that the machine held up must not stand for all
  const speeds = turns.map(({ times, elapsedMs }) => (times.length / elapsedMs) * 1_000).toSorted((a, b) => a - b)
  const row = {
    what,
    paced,
    p50: at(0.5),
    p95: at(0.95),
    perSecond: speeds[Math.floor(speeds.length / 2)] ?? Number.NaN,
  }
  const carried = turns.flatMap((turn) => turn.carried ?? [])
  if (carried.length === 0) return row
  const sum = (of: 'frames' | 'bytes') => carried.reduce((all, one) => all + one[of], 0) / count
  return { ...row, frames: sum('frames'), bytes: sum('bytes') }
}

async function inTurns(contenders: readonly Contender[], turns: number): Promise<Row[]> {
  const results = contenders.map(() => [] as Awaited<ReturnType<Contender['turn']>>[])
  for (let number = -warmTurns; number < turns; number++) {
    for (const [index, { turn }] of contenders.entries()) {
      const result = await turn()
      if (number >= 0) results[index]?.push(result)
    }
  }
  return contenders.map((contender, index) => rowOf(contender, results[index] ?? []))
}

const perTurn = 25
/** Turns before those that are measured: until then the browser interprets what it compiles later. */
const warmTurns = 20
/** Between two, where they are paced: as from one user, whose pages have time to rest in between. */
const pauseMs = 10
const command = 'command'
const pacedCommand = `${command}, one every ${pauseMs} ms`

/** Commands from the first page; what is compared with them goes the same ways. */
async function measure({ pages: [first, second, third] }: BenchPages, samples: number): Promise<Row[]> {
  if (first === undefined || second === undefined) throw new Error('there are too few pages')
  const turns = Math.ceil(samples / perTurn)
  const echo = (what: string, run: Partial<EchoRun>, page = first): Contender => ({
    what,
    turn: () =>
      call(page, 'echo', { way: 'channel', pattern: 'one', count: perTurn, inFlight: 1, bytes: echoBytes, ...run }),
  })
  const pacedEcho = (what: string, run: Partial<EchoRun>): Contender => ({
    ...echo(`${what}, one every ${pauseMs} ms`, { ...run, pauseMs }),
    paced: true,
  })
  const oneAtATime = { count: perTurn, inFlight: 1, keys: 10, byPath: false }
  let fast = 0
  let slow = 0
  const commands: Contender = {
    what: command,
    turn: async () => {
      const run = await call(first, 'commands', oneAtATime)
      fast += run.fast
      slow += run.slow
      return run
    },
  }
  const contenders = [
    echo('echo, bare data channel', {}),
    echo('echo, link', { way: 'link' }),
    echo('echo, room', { way: 'room' }),
    commands,
    pacedEcho('echo, bare data channel', {}),
    {
      what: pacedCommand,
      paced: true,
      turn: () => call(first, 'commands', { ...oneAtATime, pauseMs }),
    },
  ]
  if (third !== undefined) {
    contenders.push(
      echo('a quorum of echoes, bare data channels', { pattern: 'quorum' }),
      echo('a quorum of echoes and notes, bare data channels', { pattern: 'quorum and notes' }),
      pacedEcho('a quorum of echoes, bare data channels', { pattern: 'quorum' }),
      echo('a quorum of echoes, room', { way: 'room', pattern: 'quorum' }),
      {
        what: 'echo, bare data channel, while the third page proposes',
        turn: async () => {
          const busy = call(third, 'commands', { ...oneAtATime, keys: 3 })
          const run = await echo('', {}).turn()
          await busy
          return run
        },
      },
    )
  }
  const rows = await inTurns(contenders, turns)
  const contended: Contender = {
    what: 'command on the slow path, until it is committed',
    turn: async () => {
      const run = { count: perTurn, inFlight: 1, keys: 1, byPath: true }
      const [mine] = await Promise.all([call(first, 'commands', run), call(second, 'commands', run)])
      return { times: mine.slowTimes, elapsedMs: mine.elapsedMs }
    },
  }
  const contendedEchoes: Contender = {
    what: 'two rounds of echoes and notes, bare data channels, of two pages at a time',
    turn: async () => {
      const run = { pattern: 'two rounds and notes' } as const
      const [mine] = await Promise.all([echo('', run).turn(), echo('', run, second).turn()])
      return mine
    },
  }
  const many: Contender = {
    what: `commands, ${manyInFlight} in flight`,
    turn: () => call(first, 'commands', { count: 2_000, inFlight: manyInFlight, keys: 1_000, byPath: false }),
  }
  const manyEchoes = echo(`echoes, bare data channel, ${manyInFlight} in flight`, {
    count: 2_000,
    inFlight: manyInFlight,
  })
  rows.push(...(await inTurns([contended, contendedEchoes], Math.max(2, Math.ceil(turns / 2)))))
  rows.push(...(await inTurns([many, manyEchoes], Math.max(3, Math.ceil(turns / 4)))))
  return rows.map((row) => (row.what === command ? { ...row, what: `${command} (${fast} fast, ${slow} slow)` } : row))
}

/** `samples` of each figure; a browser of its own pages for each table. */
export async function measureLatency(samples: number): Promise<Report> {
  const tables: Table[] = []
  await withBenchPages(async (open) => {
    for (const [count, title, query] of [
      [2, 'two pages in one Chromium, links of simple-peer, log in memory', '?storage=memory'],
      [3, 'three pages in one Chromium, links of simple-peer, log in memory', '?storage=memory'],
      [3, 'three pages in one Chromium, links of plain RTCPeerConnections, log in memory', '?storage=memory&links=rtc'],
      [3, 'three pages in one Chromium, links of simple-peer, IndexedDB strict', ''],
    ] as const) {
      const pages = await open(count, query)
      const rows = await measure(pages, samples)
      await pages.close()
      tables.push(tableOf(title, samples, rows))
    }
  })
  return { facts: new Map(), tables }
}

function tableOf(title: string, samples: number, rows: readonly Row[]): Table {
  const rawOf = (row: Row) => rows.find(({ paced }) => paced === row.paced)?.p50 ?? Number.NaN
  const number = (figure: number | undefined) =>
    figure === undefined || figure === 0 || Number.isNaN(figure) ? '' : twoPlaces(figure)
  return {
    bench: 'latency',
    title: `From the call to the executed result; ${title}; all vote; ${samples} samples.`,
    columns: ['', 'p50 ms', 'of the bare echo', 'p95 ms', 'a second', 'frames each', 'bytes each'],
    rows: rows.map((row) => [
      row.what,
      number(row.p50),
      number(row.p50 / rawOf(row)),
      number(row.p95),
      row.paced ? '' : number(row.perSecond),
      number(row.frames),
      number(row.bytes),
    ]),
    data: {
      title,
      samples,
      rows: rows.map((row) => ({
        ...row,
        p50: rounded(row.p50),
        p95: rounded(row.p95),
        perSecond: rounded(row.perSecond),
      })),
    },
  }
}
