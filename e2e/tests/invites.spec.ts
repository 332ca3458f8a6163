// Links that do not fit: they open nothing, and the page says so.
import type { Page } from '@playwright/test'
import { demoUrl, gather, requireFacts, setAll } from '../support/room.ts'
import { expect, test } from '../support/test.ts'

/** All that this page's origin keeps in IndexedDB, bytes as text. */
function storedText(page: Page): Promise<string> {
  return page.evaluate(async () => {
    const databases = await indexedDB.databases()
    const texts: string[] = []
    for (const { name = '' } of databases) {
      const database = await new Promise<IDBDatabase>((resolve, reject) => {
        const request = indexedDB.open(name)
        request.onsuccess = () => resolve(request.result)
        request.onerror = () => reject(request.error)
      })
      for (const store of database.objectStoreNames) {
        const values = await new Promise<unknown[]>((resolve, reject) => {
          const request = database.transaction(store).objectStore(store).getAll()
          request.onsuccess = () => resolve(request.result)
          request.onerror = () => reject(request.error)
        })
        const decoder = new TextDecoder()
        texts.push(
          JSON.stringify(values, (_, part: unknown) => (ArrayBuffer.isView(part) ? decoder.decode(part) : part)),
        )
      }
      database.close()
    }
    return texts.join('\n')
  })
}

test('a tab that joins late with a wrong secret connects to nobody, sees nothing, and says why', async ({
  signaling,
  openTabs,
}) => {
  const pages = await openTabs(2)
  const link = await gather(pages, signaling.url)
  await setAll(pages[0], { 'secret-key': 'secret-value' })
  const invite = new URL(link).hash
  const first = invite.charAt(6)
  const wrong = `#v1.w.${first === 'A' ? 'B' : 'A'}${invite.slice(7)}`

  const [page] = await openTabs(1)
  await page.goto(demoUrl(signaling.url, wrong))
  await expect(page.getByTestId('screen')).toHaveAttribute('data-screen', 'nobody')
  await expect(page.getByTestId('screen-text')).toContainText('The invite may be mistyped')
  await expect(page.getByTestId('screen-peers')).toContainText('No other page is connected yet.')

  // The members go on meanwhile: none of it may reach the stranger.
  await setAll(pages[1], { 'secret-later': 'secret-value' })
  const seen = await page.evaluate(() => {
    const open = window.wepaxos
    return { status: open?.replica.status, peers: open?.room.peers, presence: open?.replica.presence.others }
  })
  expect(seen).toEqual({ status: { kind: 'joining', peers: 0 }, peers: [], presence: [] })
  await expect(page.locator('room-view')).toHaveCount(0)
  await expect(page.locator('body')).not.toContainText('secret-')
  expect(await storedText(page)).not.toContain('secret-')
  // Where the state is, the same look finds it.
  await expect.poll(() => storedText(pages[0])).toContain('secret-later')
  for (const member of pages) {
    const { voters, observers } = await requireFacts(member)
    expect([...voters, ...observers]).toHaveLength(2)
    expect(await member.evaluate(() => window.wepaxos?.room.peers.length)).toBe(1)
  }
})

test('an invite that lost a part of itself is refused, and the page says so', async ({ signaling, openTabs }) => {
  const [page] = await openTabs(1)
  for (const damaged of ['#v1.w.tooShort', '#v2.w.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA', '#hello']) {
    await page.goto('about:blank')
    await page.goto(demoUrl(signaling.url, damaged))
    await expect(page.getByTestId('screen')).toHaveAttribute('data-screen', 'failed')
    await expect(page.getByRole('alert')).toContainText('This invite link is not complete')
    expect(await page.evaluate(() => window.wepaxos)).toBeUndefined()
  }
})
