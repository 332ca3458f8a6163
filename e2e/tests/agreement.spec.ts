// The main journey: three tabs make a room, change it all at once, show the same, and are closed and opened again.
import type { Page } from '@playwright/test'
import { expectMembers, expectSameState, foundRoom, gather, requireFacts, setAll } from '../support/room.ts'
import { expect, test } from '../support/test.ts'

const seats = 20
const ownKeys = 30
const increments = 30
const adds = 10
const sharedSets = 10

interface Answers {
  /** What the counter became by each increment of this page. */
  readonly counted: readonly number[]
  readonly seats: readonly { readonly seat: number; readonly won: boolean; readonly holder: string }[]
  /** The versions that the writes made. */
  readonly own: readonly number[]
  readonly shared: readonly { readonly key: string; readonly version: number }[]
  /** Promises that resolved with something unexpected, or were rejected. */
  readonly wrong: readonly string[]
}

/** Proposes everything without waiting in between, then waits for all answers. */
function runAll(page: Page, name: string): Promise<Answers> {
  return page.evaluate(
    async ({ name, seats, ownKeys, increments, adds, sharedSets }) => {
      const replica = window.wepaxos?.replica
      if (replica === undefined) throw new Error('this page has no open replica')
      const { mutate } = replica
      const wrong: string[] = []
      const counted: number[] = []
      const seatAnswers: { seat: number; won: boolean; holder: string }[] = []
      const own: number[] = []
      const shared: { key: string; version: number }[] = []
      const answers: Promise<void>[] = []
      const answer = <R>(what: string, done: Promise<R>, take: (result: R) => boolean) => {
        const unexpected = (result: unknown) => wrong.push(`${what}: ${JSON.stringify(result)}`)
        answers.push(
          done.then(
            (result) => void (take(result) || unexpected(result)),
            (error: unknown) => void unexpected(String(error)),
          ),
        )
      }
      for (let i = 0; i < Math.max(seats, ownKeys, increments, adds, sharedSets); i += 1) {
        if (i < seats) {
          answer(`create seat ${i}`, mutate.create(`seat/${i}`, name).done, (result) => {
            const holder = result.ok ? name : String(result.value)
            seatAnswers.push({ seat: i, won: result.ok, holder })
            return result.ok || result.code === 'EXISTS'
          })
        }
        if (i < increments) {
          answer(`increment ${i}`, mutate.increment('counter').done, (result) => {
            if (result.ok) counted.push(Number(result.value))
            return result.ok
          })
        }
        if (i < ownKeys) {
          answer(`set own ${i}`, mutate.set(`own/${name}/${i}`, `${name} ${i}`).done, (result) => {
            own.push(Number(result.value))
            return result.ok
          })
        }
        if (i < adds) answer(`add ${i}`, mutate.add('sum', i).done, (result) => result.ok)
        if (i < sharedSets) {
          const key = `shared/${i % 5}`
          answer(`set ${key}`, mutate.set(key, `${name} ${i}`).done, (result) => {
            shared.push({ key, version: Number(result.value) })
            return result.ok
          })
        }
      }
      await Promise.all(answers)
      return { counted, seats: seatAnswers, own, shared, wrong }
    },
    { name, seats, ownKeys, increments, adds, sharedSets },
  )
}

function oneTo(last: number): number[] {
  return Array.from({ length: last }, (_, index) => index + 1)
}

test('three tabs execute 300 commands of all at once alike, and find everything again after being closed', async ({
  signaling,
  profile,
}) => {
  const pages = await profile.open(3)
  const link = await gather(pages, signaling.url)

  const before = await expectSameState(pages)
  expect(before.size).toBe(0)

  const [a, b, c] = await Promise.all([runAll(pages[0], 'a'), runAll(pages[1], 'b'), runAll(pages[2], 'c')])
  const all = [a, b, c]

  const state = await test.step('every promise was answered, and rightly', async () => {
    expect(all.flatMap(({ wrong }) => wrong)).toEqual([])
    expect(all.flatMap((answers) => answers.counted).sort((x, y) => x - y)).toEqual(oneTo(3 * increments))
    expect(all.flatMap(({ own }) => own)).toEqual(Array.from({ length: 3 * ownKeys }, () => 1))
    const state = await expectSameState(pages)
    for (let seat = 0; seat < seats; seat += 1) {
      const answers = all.flatMap((answers) => answers.seats.filter((answer) => answer.seat === seat))
      expect(answers).toHaveLength(3)
      expect(answers.filter(({ won }) => won)).toHaveLength(1)
      // Who lost was told the name that stands there.
      expect(new Set(answers.map(({ holder }) => holder))).toEqual(new Set([state.get(`seat/${seat}`)?.value]))
    }
    for (let index = 0; index < 5; index += 1) {
      const key = `shared/${index}`
      const versions = all
        .flatMap(({ shared }) => shared.filter((answer) => answer.key === key))
        .map(({ version }) => version)
      expect(versions.sort((x, y) => x - y)).toEqual(oneTo((3 * sharedSets) / 5))
    }
    return state
  })

  await test.step('the state is what the commands make', () => {
    expect(state.size).toBe(3 * ownKeys + seats + 1 + 1 + 5)
    expect(state.get('counter')?.value).toBe(3 * increments)
    expect(state.get('sum')?.value).toBe((3 * adds * (adds - 1)) / 2)
    for (const name of ['a', 'b', 'c']) {
      for (let i = 0; i < ownKeys; i += 1) expect(state.get(`own/${name}/${i}`)?.value).toBe(`${name} ${i}`)
    }
  })

  const facts = await test.step('some of it went the slow path; what meets nobody goes the fast one', async () => {
    const atOnce = await Promise.all(pages.map(requireFacts))
    const slow = atOnce.reduce((sum, { slowPath }) => sum + slowPath, 0)
    const fast = atOnce.reduce((sum, { fastPath }) => sum + fastPath, 0)
    test.info().annotations.push({ type: 'paths of 300 at once', description: `${fast} fast, ${slow} slow` })
    expect(slow).toBeGreaterThan(0)
    await setAll(pages[0], { 'own/a/0': 'a 0', 'own/a/1': 'a 1', 'own/a/2': 'a 2' })
    const facts = await Promise.all(pages.map(requireFacts))
    expect((facts[0]?.fastPath ?? 0) - (atOnce[0]?.fastPath ?? 0)).toBeGreaterThan(0)
    return facts
  })
  const kept = await expectSameState(pages)

  await test.step('closed and opened again, each tab is one of the same replicas and nothing is missing', async () => {
    await profile.close()
    const reopened = await profile.open(3)
    await Promise.all(reopened.map((page) => page.goto(link)))
    await expectMembers(reopened)
    const resumed = await Promise.all(reopened.map(requireFacts))
    expect(resumed.map(({ id }) => id).sort()).toEqual(facts.map(({ id }) => id).sort())
    const after = await expectSameState(reopened)
    expect(after).toEqual(kept)

    await Promise.all(reopened.map((page, index) => setAll(page, { [`again/${index}`]: index })))
    const withNew = await expectSameState(reopened)
    expect(withNew.size).toBe(state.size + 3)
    for (const index of [0, 1, 2]) expect(withNew.get(`again/${index}`)?.value).toBe(index)
  })
})

test('two rooms that are made at the same server do not know of each other', async ({ signaling, openTabs }) => {
  const pages = await openTabs(2)
  const links = await Promise.all(pages.map((page) => foundRoom(page, signaling.url)))
  expect(links[0]).not.toBe(links[1])
  await setAll(pages[0], { mine: 1 })
  await expectMembers([pages[0]])
  await expectMembers([pages[1]])
  expect((await expectSameState([pages[1]])).size).toBe(0)
})
