// Small rounds of `npm run soak -- orphans` and `npm run soak -- take-over`: what becomes of the replicas of tabs that die,
// freeze or are stopped, in a browser of which other tabs live on.
import { killTwoOfThree } from '../../scripts/soak/orphans.ts'
import { type Fate, soakTakeOver } from '../../scripts/soak/take-over.ts'
import { expect, test } from '../support/test.ts'

test('when two of three tabs are killed, the third commits again by itself, and a tab that is opened finds one owner for each replica', async () => {
  test.setTimeout(300_000)
  // How soon is judged by the soak, on a machine with nothing else to do.
  const { killed, reopenedAsBefore, reopenedAsNew, times } = await killTwoOfThree(2)
  expect({ killed, reopened: reopenedAsBefore + reopenedAsNew, committedAgain: times.length }).toEqual({
    killed: 4,
    reopened: 2,
    committedAgain: 2,
  })
})

for (const fate of ['killed', 'frozen', 'stopped', 'stalled'] satisfies Fate[]) {
  test(`an owner of a log that is ${fate} while it writes is taken over, and nothing that it writes late is kept`, async () => {
    test.setTimeout(300_000)
    // Judges each taking, and that some were taken over before they woke up.
    const figures = await soakTakeOver(3, [fate])
    expect(figures[fate]).toBeGreaterThanOrEqual(3)
    expect(figures['completedWrites']).toBeGreaterThan(0)
    if (fate !== 'killed') expect(figures['lateWritesRefused']).toBeGreaterThan(0)
  })
}
