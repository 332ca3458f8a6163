// `npm run soak -- orphans`: three tabs of one browser are a room of three voters, and two of them are killed. The third hosts
// their replicas and commits again. A tab that is opened meanwhile gets a replica that died, or a new one; none is in two pages.
import type { Page } from 'playwright'
import { createRandom } from '../../packages/core/src/lib/random.ts'
import { kill, Profile } from './chromium.ts'
import type { PageFacts } from './pages/replica-page.ts'
import { expectSameState, ReplicaTab, steadyMs, waitFor } from './replica-tab.ts'
import { type ServedPages, servePages } from './serve-pages.ts'

/** From the kill to the answer of a new command, in the middle of all rounds. */
const commitsAgainMs = 2_000
const before = 20

interface Voter {
  readonly tab: ReplicaTab
  readonly renderer: number
}

/** Returns counts and times in milliseconds; throws where anything was lost, or a replica had two owners. */
export async function soakOrphans(rounds: number): Promise<Record<string, number>> {
  const { times, ...figures } = await killTwoOfThree(rounds)
  const medianMs = times[Math.floor(times.length / 2)] ?? Number.POSITIVE_INFINITY
  if (medianMs >= commitsAgainMs)
    throw new Error(`the third tab commits again after ${medianMs} ms (median of ${times})`)
  return { ...figures, medianMs, mostMs: times.at(-1) ?? Number.NaN }
}

export interface OrphanFigures {
  readonly seed: number
  readonly killed: number
  readonly reopenedAsBefore: number
  readonly reopenedAsNew: number
  /** From the kill to the answer, ascending, in whole milliseconds. */
  readonly times: readonly number[]
}

/** The same without a judgement over the times. */
export async function killTwoOfThree(rounds: number): Promise<OrphanFigures> {
  const seed = Math.floor(Math.random() * 1e9)
  console.error(`seed ${seed}`)
  const random = createRandom(seed)
  const pages = await servePages()
  const profile = await Profile.create()
  const times: number[] = []
  let [killed, reopenedAsBefore, reopenedAsNew] = [0, 0, 0]
  try {
    for (let round = 0; round < rounds; round += 1) {
      const voters = random.shuffle(await gather(pages, profile))
      const [survivor, ...doomed] = voters
      if (survivor === undefined) throw new Error('nobody is left')
      for (let count = 0; count < before; count += 1) await increment(survivor.tab)
      const lost = await Promise.all(doomed.map(async ({ tab }) => (await tab.facts()).id))
      const crashed = doomed.map(({ tab }) => tab.page.waitForEvent('crash'))
      const since = steadyMs()
      for (const { renderer } of doomed) kill(renderer)
      killed += doomed.length
      // In half of the rounds a tab is opened at once, else when the third has taken both in.
      const early = random.chance(0.5) ? reopen(pages, profile, survivor.tab) : undefined
      // Awaited below; what else fails first is what counts.
      early?.catch(() => {})
      const answer = await survivor.tab.ask({ op: 'increment', key: 'count', args: [1] })
      times.push(Math.round(answer.return - since))
      await Promise.all(crashed)
      if (Number(answer.result) !== before + 1) throw new Error(`${before} answered increments, then ${answer.result}`)
      const reopened = await (early ?? reopen(pages, profile, survivor.tab))
      await mustHaveOneOwnerEach(survivor.tab, reopened)
      const { id } = await reopened.facts()
      if (lost.includes(id)) reopenedAsBefore += 1
      else reopenedAsNew += 1
      await increment(reopened)
      await expectSameState([survivor.tab, reopened])
      const [count] = await reopened.entries('count')
      if (count?.[1] !== before + 2)
        throw new Error(`${before + 2} increments were answered, and ${count?.[1]} are there`)
      await mustHaveOneOwnerEach(survivor.tab, reopened)
      for (const { page } of [survivor.tab, reopened, ...doomed.map(({ tab }) => tab)]) await page.close()
    }
    return { seed, killed, reopenedAsBefore, reopenedAsNew, times: times.toSorted((left, right) => left - right) }
  } finally {
    await profile.remove()
    await pages.close()
  }
}

async function gather(pages: ServedPages, profile: Profile): Promise<Voter[]> {
  const voters: Voter[] = []
  let hash = ''
  for (let index = 0; index < 3; index += 1) {
    const { page, renderer } = await profile.newPageWithRenderer()
    const tab = await ReplicaTab.open(page, `${pages.url}replica.html${hash}`)
    hash = await tab.invite()
    voters.push({ tab, renderer })
  }
  for (const { tab } of voters) {
    await waitFor('three voters', 60_000, async () => {
      const { status, voters, connected } = await tab.facts()
      return status === 'ready' && voters.length === 3 && connected === 2 ? true : undefined
    })
  }
  return voters
}

async function increment(tab: ReplicaTab): Promise<void> {
  await tab.ask({ op: 'increment', key: 'count', args: [1] })
}

async function reopen(pages: ServedPages, profile: Profile, host: ReplicaTab): Promise<ReplicaTab> {
  const page: Page = await profile.newPage()
  const tab = await ReplicaTab.open(page, `${pages.url}replica.html${await host.invite()}`)
  await tab.ready()
  return tab
}

/** Looked at from the one, the other, and the one again: what the first had both times, the second did not have between. */
async function mustHaveOneOwnerEach(first: ReplicaTab, second: ReplicaTab): Promise<void> {
  const earlier = attached(await first.facts())
  const between = attached(await second.facts())
  const later = attached(await first.facts())
  const twice = between.filter((id) => earlier.includes(id) && later.includes(id))
  if (twice.length > 0) throw new Error(`in two pages at once: ${twice.join(', ')}`)
}

function attached({ id, hosted }: PageFacts): readonly string[] {
  return [id, ...hosted]
}
