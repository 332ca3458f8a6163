// The signaling server only introduces: who is connected goes on without it.
import { expectMembers, expectSameState, factsOf, gather, setAll } from '../support/room.ts'
import { expect, test } from '../support/test.ts'

test('commands go on while the signaling server is away, and a fourth page joins when it is back', async ({
  signaling,
  openTabs,
}) => {
  const pages = await openTabs(3)
  const link = await gather(pages, signaling.url)

  await signaling.stop()
  for (const page of pages) {
    await page.waitForFunction(() => window.wepaxos?.room.signaling !== 'open')
    await expect(page.getByTestId('banner-signaling')).toBeVisible()
  }
  await Promise.all(
    pages.map((page, index) => setAll(page, { [`without/${index}`]: index, shared: index, [`more/${index}`]: 'x' })),
  )
  const state = await expectSameState(pages)
  expect(state.size).toBe(7)

  const [fourth] = await openTabs(1)
  await fourth.goto(link)
  await expect(fourth.getByTestId('screen-signaling')).toBeVisible()
  expect(await factsOf(fourth)).toBeUndefined()

  await signaling.start()
  await expectMembers([...pages, fourth])
  for (const page of pages) await expect(page.getByTestId('banner-signaling')).toBeHidden()
  await setAll(fourth, { fourth: 4 })
  const after = await expectSameState([...pages, fourth])
  expect(after.size).toBe(8)
})
