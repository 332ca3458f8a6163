// Going for good, and only reloading.
import { expectSameState, expectVoters, gather, requireFacts, setAll } from '../support/room.ts'
import { expect, test } from '../support/test.ts'

test('a page that leaves is gone from the member lists of the others, which go on', async ({ signaling, openTabs }) => {
  const [a, b, c] = await openTabs(3)
  await gather([a, b, c], signaling.url)
  await setAll(c, { 'of the one who leaves': 1 })
  const { id: left } = await requireFacts(c)

  await c.getByTestId('leave').click()
  await c.getByTestId('leave-confirm').click()
  await expect(c.getByTestId('screen')).toHaveAttribute('data-screen', 'left')

  await expectVoters([a, b])
  for (const page of [a, b]) {
    await expect(page.getByTestId('member')).toHaveCount(2)
    expect(
      await page.getByTestId('member').evaluateAll((rows) => rows.map((row) => row.dataset['replica'])),
    ).not.toContain(left)
  }
  await setAll(a, { later: 2 })
  const state = await expectSameState([a, b])
  expect([...state.keys()].sort()).toEqual(['later', 'of the one who leaves'])
})

test('a page that is reloaded is the same replica as before', async ({ signaling, profile }) => {
  const pages = await profile.open(3)
  await gather(pages, signaling.url)
  await setAll(pages[1], { kept: 'here' })
  const before = await Promise.all(pages.map(requireFacts))

  await pages[1].reload()
  await expectVoters(pages)
  await Promise.all([pages[0].reload(), pages[2].reload()])
  await expectVoters(pages)
  const after = await Promise.all(pages.map(requireFacts))
  expect(after.map(({ id }) => id)).toEqual(before.map(({ id }) => id))
  await setAll(pages[1], { more: 1 })
  const state = await expectSameState(pages)
  expect(state.get('kept')?.value).toBe('here')
})
