// What durability costs in a real browser: commits a second of a replica that keeps its log in IndexedDB, beside bare
// transactions of the same page in the same minute, and how long a replica with a long log takes to open.
import { type Report, rounded, type Table, whole } from '../packages/core/bench/report.ts'
import { Profile } from './soak/chromium.ts'
import { ReplicaTab, waitFor } from './soak/replica-tab.ts'
import { type ServedPages, servePages } from './soak/serve-pages.ts'

export interface DurableOptions {
  readonly rounds: number
  /** How long each rate is measured, each round. */
  readonly forMs: number
  /** Lengths of the logs that are opened, in instances. */
  readonly logs: readonly number[]
}

const durabilities = ['strict', 'relaxed'] as const
const inFlights = [1, 32] as const

interface Rate {
  readonly what: 'raw transactions' | 'commits, one voter' | 'commits, three voters'
  readonly durability: 'strict' | 'relaxed'
  readonly inFlight: number
  readonly perSecond: number
}

export async function benchDurable(options: DurableOptions): Promise<Report> {
  const pages = await servePages()
  try {
    return { facts: new Map(), tables: [await ratesTable(pages, options), await reopeningTable(pages, options)] }
  } finally {
    await pages.close()
  }
}

async function ratesTable(pages: ServedPages, { rounds, forMs }: DurableOptions): Promise<Table> {
  const rates: Rate[] = []
  const profile = await Profile.create()
  try {
    const raw = await profile.newPage()
    await raw.goto(`${pages.url}raw.html`)
    await raw.waitForFunction(() => window.rawPerSecond !== undefined)
    for (let round = 0; round < rounds; round += 1) {
      for (const durability of durabilities) {
        // Anew each round: a log does not grow over rounds, and what a round measures lies close together in time.
        const lone = await ReplicaTab.open(
          await profile.newPage(),
          loneUrl(pages, `${durability}&name=${durability}-${round}`),
        )
        const three = await openThree(pages, profile, durability)
        for (const inFlight of inFlights) {
          const perSecond = await raw.evaluate(
            async ([durability, inFlight, forMs]) => (await window.rawPerSecond?.(durability, inFlight, forMs)) ?? 0,
            [durability, inFlight, forMs] as const,
          )
          rates.push({ what: 'raw transactions', durability, inFlight, perSecond })
          for (const [what, [tab]] of [
            ['commits, one voter', [lone]],
            ['commits, three voters', three],
          ] as const) {
            if (tab === undefined) throw new Error('there is no tab')
            rates.push({ what, durability, inFlight, perSecond: await commitsPerSecond(tab, inFlight, forMs) })
          }
        }
        for (const { page } of [lone, ...three]) await page.close()
      }
    }
  } finally {
    await profile.remove()
  }
  const rows = (['raw transactions', 'commits, one voter', 'commits, three voters'] as const).map((what) => {
    const cells = durabilities.flatMap((durability) =>
      inFlights.map((inFlight) => {
        const found = rates.filter((one) => one.what === what && one.durability === durability)
        return medianOf(found.filter((one) => one.inFlight === inFlight).map(({ perSecond }) => perSecond))
      }),
    )
    return { what, cells }
  })
  const columns = durabilities.flatMap((durability) =>
    inFlights.map((inFlight) => `${durability}, ${inFlight} in flight`),
  )
  return {
    bench: 'durable',
    title: `Durable operations a second in Chromium: the median of ${rounds} rounds of ${forMs} ms each.`,
    columns: ['', ...columns],
    rows: rows.map(({ what, cells }) => [what, ...cells.map(whole)]),
    data: {
      rounds,
      forMs,
      perSecond: Object.fromEntries(
        rows.map(({ what, cells }) => [
          what,
          Object.fromEntries(cells.map((cell, at) => [columns[at], rounded(cell)])),
        ]),
      ),
    },
  }
}

async function reopeningTable(pages: ServedPages, { rounds, logs }: DurableOptions): Promise<Table> {
  const profile = await Profile.create()
  const medians: { readonly instances: number; readonly medianMs: number }[] = []
  try {
    for (const instances of logs) {
      // Filled relaxed, which is quicker; what is read back is the same.
      const url = loneUrl(pages, `relaxed&name=log-${instances}&checkpointEvery=0&batches=none`)
      const page = await profile.newPage()
      const filling = await ReplicaTab.open(page, url)
      await page.evaluate((count) => window.soak?.fill(count), instances)
      // That a command has its answer goes to the disk with what is written next: without it all of the last ones would be
      // proposed again at each opening.
      await filling.ask({ op: 'set', key: 'end', args: [true] })
      const { stateHash } = await filling.facts()
      const times: number[] = []
      for (let round = 0; round < rounds; round += 1) {
        const tab = await ReplicaTab.open(page, url, { timeoutMs: 300_000 })
        await tab.ready()
        await tab.carriedOverDone()
        const facts = await tab.facts()
        if (facts.stateHash !== stateHash) throw new Error('what was opened is not what was written')
        times.push(facts.openMs)
      }
      medians.push({ instances, medianMs: medianOf(times) })
      await page.close()
    }
  } finally {
    await profile.remove()
  }
  return {
    bench: 'reopening',
    title: `From the call of openReplica to its replica, one command an instance, no checkpoint; the median of ${rounds}.`,
    columns: ['instances in the log', 'ms'],
    rows: medians.map(({ instances, medianMs }) => [whole(instances), whole(medianMs)]),
    data: { rounds, medianMs: Object.fromEntries(medians.map((one) => [one.instances, rounded(one.medianMs)])) },
  }
}

function loneUrl(pages: ServedPages, query: string): string {
  return `${pages.url}replica.html?room=lone&durability=${query}`
}

/** Three tabs of one browser, each with a replica; all vote. */
async function openThree(pages: ServedPages, profile: Profile, durability: string): Promise<ReplicaTab[]> {
  const tabs: ReplicaTab[] = []
  let hash = ''
  for (let index = 0; index < 3; index += 1) {
    const tab = await ReplicaTab.open(
      await profile.newPage(),
      `${pages.url}replica.html?durability=${durability}${hash}`,
    )
    hash = await tab.invite()
    tabs.push(tab)
  }
  for (const tab of tabs) {
    await waitFor('three voters', 60_000, async () => {
      const { status, voters } = await tab.facts()
      return status === 'ready' && voters.length === 3 ? true : undefined
    })
  }
  return tabs
}

function commitsPerSecond(tab: ReplicaTab, inFlight: number, forMs: number): Promise<number> {
  return tab.page.evaluate(
    async ([inFlight, forMs]) => {
      if (window.soak === undefined) throw new Error('this page has no replica')
      return await window.soak.commitsPerSecond(inFlight, forMs)
    },
    [inFlight, forMs] as const,
  )
}

function medianOf(figures: readonly number[]): number {
  const sorted = figures.toSorted((left, right) => left - right)
  const upper = sorted[Math.floor(sorted.length / 2)] ?? Number.NaN
  const lower = sorted[Math.ceil(sorted.length / 2) - 1] ?? Number.NaN
  return (lower + upper) / 2
}
