// A small round of `npm run soak -- kills`: kill -9 for renderers and whole browsers in the middle of a stream of commands.
import { soakKills } from '../../scripts/soak/kills.ts'
import { expect, test } from '../support/test.ts'

test('of three browsers, renderers and whole browsers are killed in mid-stream: nothing is lost, nothing happens twice', async () => {
  test.setTimeout(300_000)
  // Each look at what was promised throws by itself; here is that there was something to look at.
  const figures = await soakKills(2)
  expect(figures).toMatchObject({ renderersKilled: 2, browsersKilled: 2, keptReplica: 4, lost: 0, executedTwice: 0 })
  expect(figures['answered']).toBeGreaterThan(50)
  expect(figures['keysLinearizable']).toBeGreaterThan(0)
})
