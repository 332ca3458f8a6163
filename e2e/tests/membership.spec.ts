// Going for good, and only reloading.
import { expectMembers, expectSameState, gather, requireFacts, setAll } from '../support/room.ts'
import { expect, test } from '../support/test.ts'

test('a page that leaves is gone from the member lists of the others, which go on', async ({ signaling, openTabs }) => {
  const [a, b, c] = await openTabs(3)
  await gather([a, b, c], signaling.url)
  await setAll(c, { 'of the one who leaves': 1 })
  const { id: left } = await requireFacts(c)

  await c.getByTestId('leave').click()
  await c.getByTestId('leave-confirm').click()
  await expect(c.getByTestId('screen')).toHaveAttribute('data-screen', 'left')

  await expectMembers([a, b])
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

test('of two pages the one that votes may leave: the one that observed goes on alone', async ({
  signaling,
  openTabs,
}) => {
  const [a, b] = await openTabs(2)
  await gather([a, b], signaling.url)
  await expect(a.getByTestId('status-meaning')).toContainText('the only voter')
  await expect(b.getByTestId('status-meaning')).toContainText('no vote')
  await setAll(b, { 'through the voter': 1 })

  await a.getByTestId('leave').click()
  await a.getByTestId('leave-confirm').click()
  await expect(a.getByTestId('screen')).toHaveAttribute('data-screen', 'left')

  await expectMembers([b])
  await setAll(b, { 'by itself': 2 })
  const state = await expectSameState([b])
  expect([...state.keys()].sort()).toEqual(['by itself', 'through the voter'])
})

test('a page that is closed for long makes place, and has its vote back when it returns', async ({
  signaling,
  openTabs,
}) => {
  // Three machines, so that the one that comes back finds its own replica.
  const [[a], [b], [c]] = [await openTabs(1), await openTabs(1), await openTabs(1)]
  const link = await gather([a, b, c], signaling.url)
  const { id: closed } = await requireFacts(c)
  const { id: first } = await requireFacts(a)
  await setAll(c, { 'before it closed': 1 })
  const again = await c.context().newPage()
  await c.close()

  // Of three voters one is silent: the two that are left would be an even number, so one of them votes.
  await expect
    .poll(async () => (await requireFacts(a)).voters, { message: 'the silent voter makes place', timeout: 60_000 })
    .toEqual([first])
  expect((await requireFacts(a)).observers).toContain(closed)
  await setAll(b, { meanwhile: 2 })
  await expect(a.getByTestId('member').filter({ hasText: 'away' })).toHaveCount(1)

  await again.goto(link)
  await expectMembers([a, b, again])
  expect((await requireFacts(again)).id).toBe(closed)
  const state = await expectSameState([a, b, again])
  expect([...state.keys()].sort()).toEqual(['before it closed', 'meanwhile'])
})

test('a page that is reloaded is the same replica as before', async ({ signaling, profile }) => {
  const pages = await profile.open(3)
  await gather(pages, signaling.url)
  await setAll(pages[1], { kept: 'here' })
  const before = await Promise.all(pages.map(requireFacts))

  await pages[1].reload()
  await expectMembers(pages)
  await Promise.all([pages[0].reload(), pages[2].reload()])
  await expectMembers(pages)
  const after = await Promise.all(pages.map(requireFacts))
  expect(after.map(({ id }) => id)).toEqual(before.map(({ id }) => id))
  await setAll(pages[1], { more: 1 })
  const state = await expectSameState(pages)
  expect(state.get('kept')?.value).toBe('here')
})
