// What the journeys do with the demo's pages: open them in a room, ask their replicas, compare what they show. Pages are
// asked through `window.wepaxos`, which the demo keeps there for this.
import { expect, type Page } from '@playwright/test'
import type { Entry, Status } from '../../packages/core/src/index.ts'
import type {} from '../../packages/demo-app/src/session.ts'

/** All that one replica says about itself, in one moment. */
export interface Facts {
  readonly id: string
  readonly status: Status['kind']
  readonly voters: readonly string[]
  readonly observers: readonly string[]
  /** Members that this page is connected to. */
  readonly connected: readonly string[]
  readonly executed: number
  readonly stateHash: string
  readonly pending: number
  readonly fastPath: number
  readonly slowPath: number
  readonly recoveries: number
}

export interface Shown {
  readonly key: string
  readonly value: string
}

/** The demo's address, told where to find signaling. Without an invite: founds a room. */
export function demoUrl(signalingUrl: string, invite = ''): string {
  const base = process.env['DEMO_URL']
  if (base === undefined) throw new Error('DEMO_URL is set by the global setup')
  const url = new URL(base)
  url.searchParams.set('signaling', signalingUrl)
  url.hash = invite
  return url.href
}

/** Opens a page without an invite, and gives the link that the address bar shows when the room is made. */
export async function foundRoom(page: Page, signalingUrl: string): Promise<string> {
  await page.goto(demoUrl(signalingUrl))
  await expect(page).toHaveURL(/#v1\.w\.[\w-]{43}$/)
  return page.url()
}

/** Undefined while the page has no open replica. */
export function factsOf(page: Page): Promise<Facts | undefined> {
  return page.evaluate(() => {
    const replica = window.wepaxos?.replica
    if (replica === undefined || replica.status.kind === 'joining') return undefined
    const { executed, stateHash, pending, fastPath, slowPath, recoveries } = replica.stats()
    const withRole = (role: string) => replica.members.filter((member) => member.role === role).map(({ id }) => id)
    return {
      id: replica.id,
      status: replica.status.kind,
      voters: withRole('voter').sort(),
      observers: withRole('observer').sort(),
      connected: replica.members.filter((member) => member.connected && !member.self).map(({ id }) => id),
      executed,
      stateHash,
      pending,
      fastPath,
      slowPath,
      recoveries,
    }
  })
}

export async function requireFacts(page: Page): Promise<Facts> {
  const facts = await factsOf(page)
  if (facts === undefined) throw new Error('this page has no open replica')
  return facts
}

/** Of so many members that all want to vote: the largest odd number that is not above it. */
function votersOf(members: number): number {
  return members % 2 === 1 ? members : members - 1
}

/**
 * Waits until all these pages, and nobody else, are members, ready, and connected to each other, and as many of them vote
 * as an odd number allows. All have to name the same voters.
 */
export async function expectMembers(pages: readonly Page[]): Promise<void> {
  const voters = votersOf(pages.length)
  const expected = { status: 'ready', voters, observers: pages.length - voters, connected: pages.length - 1 }
  for (const [index, page] of pages.entries()) {
    await expect
      .poll(
        async () => {
          const facts = await factsOf(page)
          if (facts === undefined) return undefined
          const { status, voters, observers, connected } = facts
          return { status, voters: voters.length, observers: observers.length, connected: connected.length }
        },
        { message: `page ${index + 1} is one of ${pages.length} connected members` },
      )
      .toEqual(expected)
  }
  const all = await Promise.all(pages.map(requireFacts))
  const ids = all.map(({ id }) => id).sort()
  for (const { voters, observers } of all) {
    expect([...voters, ...observers].sort()).toEqual(ids)
    expect(voters).toEqual(all[0]?.voters)
  }
}

/** Founds a room in the first page and joins with the others. */
export async function gather(pages: readonly [Page, ...Page[]], signalingUrl: string): Promise<string> {
  const [first, ...others] = pages
  const link = await foundRoom(first, signalingUrl)
  await Promise.all(others.map((page) => page.goto(link)))
  await expectMembers(pages)
  return link
}

export function committedEntries(page: Page): Promise<readonly Entry[]> {
  return page.evaluate(() => window.wepaxos?.replica.view.committed.list() ?? [])
}

/** The rows of the table on the page. */
export function shownRows(page: Page): Promise<readonly Shown[]> {
  return page.locator('store-row').evaluateAll((rows) =>
    rows.map((row) => ({
      key: row.shadowRoot?.querySelector('[data-testid="key"]')?.textContent ?? '',
      value: row.shadowRoot?.querySelector('[data-testid="value"]')?.textContent ?? '',
    })),
  )
}

/**
 * Waits until all pages stand at the same point with nothing of their own pending, then compares everything: hashes, the
 * committed view, and what the table and the status panel show. Gives the common state.
 */
export async function expectSameState(pages: readonly [Page, ...Page[]]): Promise<ReadonlyMap<string, Entry>> {
  await expect
    .poll(
      async () => {
        const all = await Promise.all(pages.map(requireFacts))
        return {
          points: new Set(all.map(({ executed }) => executed)).size,
          hashes: new Set(all.map(({ stateHash }) => stateHash)).size,
          pending: Math.max(...all.map(({ pending }) => pending)),
        }
      },
      { message: 'all replicas executed the same and have the same hash' },
    )
    .toEqual({ points: 1, hashes: 1, pending: 0 })
  const entries = await committedEntries(pages[0])
  const { stateHash } = await requireFacts(pages[0])
  for (const page of pages) {
    expect(await committedEntries(page)).toEqual(entries)
    await expect
      .poll(() => shownRows(page))
      .toEqual(entries.map(({ key, value }) => ({ key, value: JSON.stringify(value) })))
    await expect(page.getByTestId('state-hash')).toHaveAttribute('data-hash', stateHash)
  }
  return new Map(entries.map((entry) => [entry.key, entry]))
}

/** Sets keys one after the other, and resolves when all are answered. */
export async function setAll(page: Page, entries: Readonly<Record<string, string | number>>): Promise<void> {
  await page.evaluate(async (given) => {
    const replica = window.wepaxos?.replica
    if (replica === undefined) throw new Error('this page has no open replica')
    for (const [key, value] of Object.entries(given)) await replica.mutate.set(key, value).done
  }, entries)
}
