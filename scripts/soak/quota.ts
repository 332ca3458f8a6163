// `npm run soak -- quota`: three browsers, and one of them runs out of space in the middle of a stream of commands. Its replica
// stops with the typed error, the others go on; when there is space again it is opened again, and nothing is missing.
import type { CDPSession } from 'playwright'
import { Profile } from './chromium.ts'
import { CommandStream, type Run } from './command-stream.ts'
import { expectSameState, ReplicaTab, waitFor } from './replica-tab.ts'
import { type ServedPages, servePages } from './serve-pages.ts'

const inFlight = 3
/** What is left of the quota when the page is loaded: some hundred commands. */
const spareBytes = 200_000

interface Peer {
  readonly profile: Profile
  tab: ReplicaTab
  run: Run
}

/** Returns counts; throws where a replica stopped otherwise than it should, or anything was lost or done twice. */
export async function soakQuota(rounds: number): Promise<Record<string, number>> {
  const seed = Math.floor(Math.random() * 1e9)
  console.error(`seed ${seed}`)
  const pages = await servePages()
  const profiles: Profile[] = []
  try {
    for (let index = 0; index < 3; index += 1) profiles.push(await Profile.create())
    const stream = new CommandStream(seed)
    const peers = await gather(pages, profiles, stream)
    const figures = { seed, exhausted: 0, answeredBefore: 0, answeredByOthersMeanwhile: 0, carriedOver: 0 }
    for (let round = 0; round < rounds; round += 1) {
      const peer = peers[round % peers.length]
      if (peer === undefined) throw new Error('there is no such peer')
      const others = peers.filter((one) => one !== peer)
      const { id } = await peer.tab.facts()
      await stopWithoutError(peer)
      await peer.tab.page.close()
      peer.tab = await open(pages, peer.profile, others, limitQuota)
      peer.run = stream.start(peer.tab, `full${round}`, inFlight)
      const tightened = setInterval(() => void keepTight(peer.tab.session, pages.url).catch(() => {}), 1_000)
      await waitFor('the replica stops', 120_000, async () => {
        const { status, failure } = await peer.tab.facts()
        if (status !== 'failed') return undefined
        if (failure?.code !== 'StorageFailed' || failure.reason !== 'quota') {
          throw new Error(`it stopped for another reason: ${JSON.stringify(failure)}`)
        }
        return true
      }).finally(() => clearInterval(tightened))
      figures.exhausted += 1
      await mustBeFull(peer.tab)
      // Each of its lines ends with the command that it could not keep.
      const errors = await peer.run.stop()
      if (errors.length !== inFlight) throw new Error(`${inFlight} commands fail with the disk, not ${errors.length}`)
      figures.answeredBefore += peer.run.answered
      const before = others.map(({ run }) => run.answered)
      for (const [index, { run }] of others.entries()) {
        const from = before[index] ?? 0
        await waitFor('the others go on', 60_000, async () => (run.answered >= from + 20 ? true : undefined))
        figures.answeredByOthersMeanwhile += run.answered - from
      }
      // With the tab's session its override goes, and there is space again.
      await peer.tab.page.close()
      peer.tab = await open(pages, peer.profile, others)
      figures.carriedOver += await peer.tab.carriedOverDone()
      if ((await peer.tab.facts()).id !== id) throw new Error('it came back as another replica')
      peer.run = stream.start(peer.tab, `free${round}`, inFlight)
      const { run } = peer
      await waitFor('it goes on', 60_000, async () => (run.answered >= 20 ? true : undefined))
    }
    for (const peer of peers) await stopWithoutError(peer)
    await expectSameState(peers.map(({ tab }) => tab))
    const [first] = peers
    if (first === undefined) throw new Error('there is no peer')
    return { ...figures, ...(await stream.judge(first.tab)) }
  } finally {
    for (const profile of profiles) await profile.remove()
    await pages.close()
  }
}

async function gather(pages: ServedPages, profiles: readonly Profile[], stream: CommandStream): Promise<Peer[]> {
  const peers: Peer[] = []
  let hash = ''
  for (const [index, profile] of profiles.entries()) {
    const tab = await ReplicaTab.open(await profile.newPage(), `${pages.url}replica.html${hash}`)
    hash = await tab.invite()
    peers.push({ profile, tab, run: stream.start(tab, `peer${index}`, 0) })
  }
  for (const peer of peers) {
    await waitFor('three voters', 60_000, async () => {
      const { status, voters } = await peer.tab.facts()
      return status === 'ready' && voters.length === 3 ? true : undefined
    })
  }
  for (const [index, peer] of peers.entries()) peer.run = stream.start(peer.tab, `peer${index}`, inFlight)
  return peers
}

async function stopWithoutError({ run }: Peer): Promise<void> {
  const [error] = await run.stop()
  if (error !== undefined) throw new Error('a command failed', { cause: error })
}

async function open(
  pages: ServedPages,
  profile: Profile,
  [host]: readonly Peer[],
  limit?: (session: CDPSession, origin: string) => Promise<void>,
): Promise<ReplicaTab> {
  if (host === undefined) throw new Error('nobody is left to invite')
  const url = `${pages.url}replica.html${await host.tab.invite()}`
  const prepare = limit === undefined ? {} : { prepare: (session: CDPSession) => limit(session, pages.url) }
  const tab = await ReplicaTab.open(await profile.newPage(), url, prepare)
  await tab.ready()
  return tab
}

/**
 * A little above what is used now. Before the page is loaded: once it writes, the browser takes the space that it last saw
 * for half a minute more.
 */
async function limitQuota(session: CDPSession, origin: string): Promise<void> {
  const { usage } = await session.send('Storage.getUsageAndQuota', { origin })
  const quotaSize = usage + spareBytes
  await session.send('Storage.overrideQuotaForOrigin', { origin, quotaSize })
  const { overrideActive, quota } = await session.send('Storage.getUsageAndQuota', { origin })
  if (!overrideActive || quota !== quotaSize) throw new Error('the browser did not take the quota')
}

/** The browser tidies its files up now and then, and uses far less than before: the quota follows, or it would not be reached. */
async function keepTight(session: CDPSession, origin: string): Promise<void> {
  const { usage, quota } = await session.send('Storage.getUsageAndQuota', { origin })
  if (quota - usage > 2 * spareBytes) await limitQuota(session, origin)
}

/** That the space is used up is the browser's own word, too. (`estimate()` in a page hides an override.) */
async function mustBeFull({ session, page }: ReplicaTab): Promise<void> {
  const { origin } = new URL(page.url())
  const { usage, quota, overrideActive } = await session.send('Storage.getUsageAndQuota', { origin })
  if (!overrideActive || usage < quota - spareBytes / 2) {
    throw new Error(`the quota is not used up: ${usage} of ${quota} bytes, override ${overrideActive}`)
  }
}
