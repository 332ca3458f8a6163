// `npm run soak -- signaling-kills`: the signaling server is killed again and again under a room of three pages, with a
// newcomer at the door each time. No data channel may close, commands go on meanwhile, and the newcomer is in soon after the
// server's return.
import { LinkRoom, type LinkTab, patienceMs, spread } from './link-tab.ts'

export interface SignalingKillsOptions {
  /** From the server's return until the newcomer's first write is committed. Default: what is promised. */
  readonly joinWithinMs?: number
}

/** `rounds` kills. Throws at a channel that dropped, and at a newcomer that came in too late. */
export async function soakSignalingKills(
  rounds: number,
  { joinWithinMs = 5_000 }: SignalingKillsOptions = {},
): Promise<Record<string, number>> {
  const room = await LinkRoom.open()
  const joins: number[] = []
  const commandsMeanwhile: number[] = []
  try {
    const tabs = await room.gather(3)
    const before = await channelsOf(tabs)
    for (let round = 0; round < rounds; round += 1) {
      await room.signaling.kill()
      for (const tab of tabs) {
        await tab.page.waitForFunction(() => window.links?.facts().signaling === 'connecting', undefined, {
          timeout: patienceMs,
        })
      }
      const newcomer = await room.begin()
      for (const tab of tabs) commandsMeanwhile.push(await tab.command())
      expectSame(before, await channelsOf(tabs), `kill ${round + 1}, while the server is away`)
      await room.signaling.start()
      const returnedAt = performance.now()
      await newcomer.firstWrite()
      joins.push(performance.now() - returnedAt)
      await room.whole([...tabs, newcomer])
      expectKept(before, await channelsOf(tabs), `kill ${round + 1}, when the server was back`)
      await newcomer.close()
      await room.whole(tabs)
      expectSame(before, await channelsOf(tabs), `kill ${round + 1}, after the newcomer had gone`)
    }
  } finally {
    await room.close()
  }
  const late = joins.filter((ms) => ms > joinWithinMs)
  if (late.length > 0) throw new Error(`newcomers came in late after the server's return: ${late.map(Math.round)} ms`)
  return {
    kills: rounds,
    channelsDropped: 0,
    joined: joins.length,
    commandsMeanwhile: commandsMeanwhile.length,
    ...spread('joinAfterReturn', joins),
    ...spread('commandMeanwhile', commandsMeanwhile),
  }
}

type Channels = readonly (readonly number[])[]

async function channelsOf(tabs: readonly LinkTab[]): Promise<Channels> {
  return await Promise.all(tabs.map(async (tab) => (await tab.facts()).channels))
}

function expectKept(before: Channels, now: Channels, when: string): void {
  const lost = before.flatMap((channels, tab) => channels.filter((channel) => !now[tab]?.includes(channel)))
  if (lost.length > 0) throw new Error(`${when}: ${lost.length} ends of data channels have closed`)
}

function expectSame(before: Channels, now: Channels, when: string): void {
  expectKept(before, now, when)
  if (JSON.stringify(before) !== JSON.stringify(now)) {
    throw new Error(`${when}: there are others than the data channels from before: ${JSON.stringify([before, now])}`)
  }
}
