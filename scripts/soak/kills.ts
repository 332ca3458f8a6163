// `npm run soak -- kills`: three browsers that share nothing, a stream of commands from each, and a kill -9 a round of a
// renderer, then one of a whole browser. Whoever was killed comes back with its profile.
import { createRandom } from '../../packages/core/src/lib/random.ts'
import { Profile } from './chromium.ts'
import { CommandStream, type Run } from './command-stream.ts'
import { expectSameState, ReplicaTab, waitFor } from './replica-tab.ts'
import { type ServedPages, servePages } from './serve-pages.ts'

const inFlight = 3
type Victim = 'renderer' | 'browser'

interface Peer {
  readonly name: string
  readonly profile: Profile
  tab: ReplicaTab
  run: Run
}

/** `rounds` kills of each kind. Returns counts; throws at a lost, repeated or contradictory command. */
export async function soakKills(rounds: number): Promise<Record<string, number>> {
  const seed = Math.floor(Math.random() * 1e9)
  console.error(`seed ${seed}`)
  const random = createRandom(seed)
  const pages = await servePages()
  const peers: Peer[] = []
  const figures = {
    seed,
    renderersKilled: 0,
    browsersKilled: 0,
    killedInTransaction: 0,
    killedWithCommandsInDoubt: 0,
    carriedOver: 0,
    keptReplica: 0,
    backMsMost: 0,
  }
  try {
    const stream = new CommandStream(seed)
    await gather(pages, peers, stream)
    for (let round = 0; round < 2 * rounds; round += 1) {
      const victim: Victim = round % 2 === 0 ? 'renderer' : 'browser'
      const peer = peers[random.integer(peers.length)]
      if (peer === undefined) throw new Error('there is no such peer')
      const others = peers.filter((one) => one !== peer)
      await new Promise((resolve) => setTimeout(resolve, 200 + random.integer(1_000)))
      await answersMore(peers, 3)
      const before = await peer.tab.facts()
      const underWay = await killPeer(peer, victim)
      figures[victim === 'renderer' ? 'renderersKilled' : 'browsersKilled'] += 1
      if (peer.tab.openTransactions > 0) figures.killedInTransaction += 1
      if (underWay > 0) figures.killedWithCommandsInDoubt += 1
      // Sometimes it is away for long enough that the others have to settle what it left.
      if (random.integer(3) === 0) await answersMore(others, 20)
      const since = performance.now()
      await reopen(pages, peer, await invitedBy(others))
      figures.backMsMost = Math.max(figures.backMsMost, Math.round(performance.now() - since))
      figures.carriedOver += await peer.tab.carriedOverDone()
      const after = await peer.tab.facts()
      if (after.id === before.id) figures.keptReplica += 1
      peer.run = stream.start(peer.tab, `${peer.name}${round}`, inFlight)
    }
    await answersMore(peers, 3)
    for (const { name, run } of peers) {
      const [error] = await run.stop()
      if (error !== undefined) throw new Error(`a command from ${name} failed`, { cause: error })
    }
    const { executed } = await expectSameState(peers.map(({ tab }) => tab))
    const [first] = peers
    if (first === undefined) throw new Error('there is no peer')
    const verdict = await stream.judge(first.tab)
    return { ...figures, ...verdict, executed }
  } finally {
    for (const { profile } of peers) await profile.remove()
    await pages.close()
  }
}

async function gather(pages: ServedPages, peers: Peer[], stream: CommandStream): Promise<void> {
  let hash = ''
  const profiles = await Promise.all([Profile.create(), Profile.create(), Profile.create()])
  const tabs: ReplicaTab[] = []
  try {
    for (const profile of profiles) {
      const tab = await ReplicaTab.open(await profile.newPage(), `${pages.url}replica.html${hash}`)
      hash = await tab.invite()
      tabs.push(tab)
    }
    for (const tab of tabs) {
      await waitFor('three voters', 60_000, async () => {
        const { status, voters, connected } = await tab.facts()
        return status === 'ready' && voters.length === 3 && connected === 2 ? true : undefined
      })
    }
  } catch (error) {
    for (const profile of profiles) await profile.remove()
    throw error
  }
  for (const [index, profile] of profiles.entries()) {
    const tab = tabs[index]
    const name = 'abc'[index] ?? ''
    if (tab !== undefined) peers.push({ name, profile, tab, run: stream.start(tab, name, inFlight) })
  }
}

async function invitedBy([one]: readonly Peer[]): Promise<string> {
  if (one === undefined) throw new Error('nobody is left to invite')
  return one.tab.invite()
}

/** Waits until each of them has so many more answers. A command that failed ends the waiting. */
async function answersMore(peers: readonly Peer[], count: number): Promise<void> {
  for (const { name, run } of peers) {
    const before = run.answered
    await waitFor(`${count} more answers for ${name}`, 60_000, async () =>
      run.answered >= before + count ? true : undefined,
    )
  }
}

/** How many commands of it were under way. */
async function killPeer(peer: Peer, victim: Victim): Promise<number> {
  if (victim === 'renderer') await peer.profile.killRenderers(peer.tab.page)
  else await peer.profile.killBrowser()
  await peer.run.stop()
  return peer.run.underWay
}

async function reopen(pages: ServedPages, peer: Peer, invite: string): Promise<void> {
  // What is left of the crashed tab, where its browser lives.
  await peer.tab.page.close()
  peer.tab = await ReplicaTab.open(await peer.profile.newPage(), `${pages.url}replica.html${invite}`)
  await peer.tab.ready()
}
