// A small round of `npm run soak -- quota`: a browser that runs out of space while commands are under way.
import { soakQuota } from '../../scripts/soak/quota.ts'
import { expect, test } from '../support/test.ts'

test('a replica whose browser gives it no more space stops and says so, the others go on, and it comes back with all it had', async () => {
  test.setTimeout(300_000)
  const figures = await soakQuota(1)
  expect(figures).toMatchObject({ exhausted: 1, lost: 0, executedTwice: 0 })
  expect(figures['answeredBefore']).toBeGreaterThan(0)
  expect(figures['answeredByOthersMeanwhile']).toBeGreaterThanOrEqual(40)
})
