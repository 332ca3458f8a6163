// A run of commands that goes on in a page until it is stopped or dies, and what was answered so far.
import type { Page } from '@playwright/test'
import type {} from '../../packages/demo-app/src/session.ts'

export interface Answer {
  readonly value: number
  readonly fromMs: number
  readonly toMs: number
}

/** What a page did so far in its run of commands. */
export interface Run {
  readonly own: readonly Answer[]
  readonly shared: readonly Answer[]
  readonly problems: readonly string[]
}

declare global {
  interface Window {
    run?: { going: boolean; readonly run: Run; readonly ended: Promise<unknown> }
  }
}

/** Keeps some increments of one shared key and one write of a key of its own under way, until told to stop. */
export function startRun(page: Page, name: string, inFlight: number): Promise<void> {
  return page.evaluate(
    ({ name, inFlight }) => {
      const replica = window.wepaxos?.replica
      if (replica === undefined) throw new Error('this page has no open replica')
      const own: Answer[] = []
      const shared: Answer[] = []
      const problems: string[] = []
      const repeat = async (answers: Answer[], propose: (count: number) => Promise<number>): Promise<void> => {
        for (let count = 0; window.run?.going !== false; count += 1) {
          const fromMs = performance.now()
          try {
            const value = await propose(count)
            answers.push({ value, fromMs, toMs: performance.now() })
          } catch (error) {
            problems.push(String(error))
            return
          }
        }
      }
      const lines = [
        repeat(own, async (count) => {
          // A few keys of its own in turn, so that none waits for the one before.
          const result = await replica.mutate.set(`own/${name}/${count % 10}`, count).done
          return Number(result.value)
        }),
        ...Array.from({ length: inFlight }, () =>
          repeat(shared, async () => {
            const result = await replica.mutate.increment('shared').done
            if (!result.ok) throw new Error(`refused: ${result.code}`)
            return Number(result.value)
          }),
        ),
      ]
      window.run = { going: true, run: { own, shared, problems }, ended: Promise.all(lines) }
    },
    { name, inFlight },
  )
}

export function soFar(page: Page): Promise<Run> {
  return page.evaluate(() => {
    if (window.run === undefined) throw new Error('this page runs nothing')
    return window.run.run
  })
}

export async function stopRun(page: Page): Promise<Run> {
  await page.evaluate(() => {
    if (window.run !== undefined) window.run.going = false
    return window.run?.ended
  })
  return soFar(page)
}
