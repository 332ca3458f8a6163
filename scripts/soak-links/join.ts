// `npm run soak -- join`: one newcomer after the other opens the invite of a room of two. How long it takes from there until
// its first write is committed.
import { LinkRoom, spread } from './link-tab.ts'

/** `rounds` newcomers, each in a browser context of its own that has never seen the page. */
export async function soakJoin(rounds: number): Promise<Record<string, number>> {
  const room = await LinkRoom.open()
  const joins: number[] = []
  try {
    const tabs = await room.gather(2)
    for (let round = 0; round < rounds; round += 1) {
      const newcomer = await room.begin()
      joins.push(await newcomer.firstWrite())
      await newcomer.close()
      await room.whole(tabs)
    }
  } finally {
    await room.close()
  }
  return { joined: joins.length, ...spread('join', joins) }
}
