// Two tabs want the same thing at the same moment.
import type { Page } from '@playwright/test'
import { expectSameState, gather, requireFacts } from '../support/room.ts'
import { expect, test } from '../support/test.ts'

const rounds = 100

function claim(page: Page, expected: string, wanted: string) {
  return page.evaluate(
    async ({ expected, wanted }) => {
      const replica = window.wepaxos?.replica
      if (replica === undefined) throw new Error('this page has no open replica')
      return await replica.mutate.compareAndSet('prize', expected, wanted).done
    },
    { expected, wanted },
  )
}

async function race(left: Page, right: Page): Promise<void> {
  await left.evaluate(() => window.wepaxos?.replica.mutate.create('prize', 'nobody').done)

  let holder = 'nobody'
  const wins = { left: 0, right: 0 }
  for (let round = 1; round <= rounds; round += 1) {
    const [ofLeft, ofRight] = await Promise.all([
      claim(left, holder, `left ${round}`),
      claim(right, holder, `right ${round}`),
    ])
    expect([ofLeft.ok, ofRight.ok].filter(Boolean), `winners of round ${round}`).toHaveLength(1)
    const winner = ofLeft.ok ? 'left' : 'right'
    const loser = ofLeft.ok ? ofRight : ofLeft
    wins[winner] += 1
    holder = `${winner} ${round}`
    expect(ofLeft.ok ? ofLeft : ofRight).toEqual({ ok: true, value: round + 1 })
    expect(loser).toEqual({ ok: false, code: 'MISMATCH', value: holder, version: round + 1 })
  }
  test.info().annotations.push({ type: 'wins', description: `left ${wins.left}, right ${wins.right}` })
  const state = await expectSameState([left, right])
  expect(state.get('prize')).toMatchObject({ value: holder, version: rounds + 1 })
}

test('two tabs of three voters race compareAndSet for 100 rounds: one wins each, and both know who', async ({
  signaling,
  openTabs,
}) => {
  const pages = await openTabs(3)
  await gather(pages, signaling.url)
  await race(pages[0], pages[1])
  await expectSameState(pages)
})

test('a tab that votes and one that only observes race as equals', async ({ signaling, openTabs }) => {
  const [left, right] = await openTabs(2)
  await gather([left, right], signaling.url)
  const [{ id: voter, voters }, { observers }] = [await requireFacts(left), await requireFacts(right)]
  expect(voters).toEqual([voter])
  expect(observers).toHaveLength(1)
  await race(left, right)
})
