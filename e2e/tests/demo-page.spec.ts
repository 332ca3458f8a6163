// What a person does with the page, by its own controls; and pictures of it for people to look at.
import type { Page } from '@playwright/test'
import { expectSameState, gather } from '../support/room.ts'
import { expect, test } from '../support/test.ts'

test('what one person adds, counts up and deletes, the others see; a picture is taken in light and dark', async ({
  signaling,
  openTabs,
}) => {
  const [a, b, c] = await openTabs(3)
  await gather([a, b, c], signaling.url)
  await expect(a.getByTestId('peer')).toHaveCount(2)

  for (const [key, value] of [
    ['visitors', '41'],
    ['greeting', 'good morning'],
    ['settings', '{"volume": 3, "muted": false}'],
    ['old', 'true'],
  ] as const) {
    await a.getByTestId('new-key').fill(key)
    await a.getByTestId('new-value').fill(value)
    await a.getByTestId('new-submit').click()
    await expect(b.getByTestId(`row-${key}`)).toBeVisible()
  }
  await b.getByTestId('row-visitors').getByTestId('increment').click()
  await expect(c.getByTestId('row-visitors').getByTestId('value')).toHaveText('42')
  await c.getByTestId('row-old').getByTestId('delete').click()
  await expect(a.getByTestId('row-old')).toHaveCount(0)

  // Somebody else adds a key that exists: told so, with what is there.
  await b.getByTestId('new-key').fill('visitors')
  await b.getByTestId('new-value').fill('0')
  await b.getByTestId('new-submit').click()
  await expect(b.getByTestId('new-taken')).toContainText('42')

  await c.getByTestId('row-greeting').getByTestId('edit').click()
  await expect(a.getByTestId('row-greeting').getByTestId('editor-badge')).toBeVisible()
  expect((await expectSameState([a, b])).get('visitors')?.value).toBe(42)

  for (const colorScheme of ['light', 'dark'] as const) {
    for (const [name, page] of [
      ['first', a],
      ['editing', c],
    ] as const) {
      await page.bringToFront()
      await page.emulateMedia({ colorScheme })
      await takePicture(page, `${name}-${colorScheme}`)
    }
  }
})

test('of two pages each says which one votes and which one observes, and what leaving would mean', async ({
  signaling,
  openTabs,
}) => {
  const [voter, observer] = await openTabs(2)
  await gather([voter, observer], signaling.url)
  for (const page of [voter, observer]) {
    await expect(page.getByTestId('voters')).toHaveText('1')
    await expect(page.getByTestId('observers')).toHaveText('1')
    await expect(page.getByTestId('quorum')).toContainText('1 of 1 reachable, 1 needed')
  }
  await expect(voter.getByTestId('status-meaning')).toContainText('one other page keeps a copy')
  await expect(observer.getByTestId('status-meaning')).toContainText('when a third one comes')
  await expect(observer.getByTestId('member').filter({ hasText: 'you, observer' })).toHaveCount(1)

  await observer.getByTestId('new-key').fill('greeting')
  await observer.getByTestId('new-value').fill('from the observer')
  await observer.getByTestId('new-submit').click()
  await expect(voter.getByTestId('row-greeting')).toBeVisible()
  for (const [name, page] of [
    ['voter', voter],
    ['observer', observer],
  ] as const) {
    await page.bringToFront()
    await takePicture(page, `two-pages-${name}`)
    await page.getByTestId('leave').click()
    await expect(page.getByTestId('leave-confirm')).toBeEnabled()
    await takePicture(page, `two-pages-${name}-leaving`)
    await page.keyboard.press('Escape')
  }
})

async function takePicture(page: Page, name: string): Promise<void> {
  const path = test.info().outputPath(`${name}.png`)
  await page.screenshot({ path, fullPage: true, animations: 'disabled' })
  test.info().attachments.push({ name, path, contentType: 'image/png' })
}
