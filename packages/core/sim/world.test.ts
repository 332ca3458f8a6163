// Simulated time itself.
import { describe, expect, it } from 'vitest'
import { ProcessClock, World } from './world.ts'

/** A promise that is settled after so many turns of the queue of microtasks. */
async function after(turns: number): Promise<void> {
  for (let turn = 0; turn < turns; turn++) await null
}

describe('World', () => {
  it('runs events in the order of their times, and of their calls where the times are equal', async () => {
    const world = new World(1)
    const ran: string[] = []
    world.at(2, () => ran.push('late'))
    world.at(1, () => ran.push('first'))
    world.at(1, () => ran.push('second'))
    expect(await world.run(() => false)).toBe('nothing left')
    expect(ran).toEqual(['first', 'second', 'late'])
    expect(world.now).toBe(2)
  })

  it('lets all that an event settled take effect before the next event, however long the chain of promises', async () => {
    const world = new World(1)
    const ran: string[] = []
    world.at(1, () => void after(50).then(() => ran.push('effect')))
    world.at(1, () => ran.push('next'))
    await world.run(() => false)
    expect(ran).toEqual(['effect', 'next'])
  })

  it('does so before the first event too, also where it is started by no promise', async () => {
    const world = new World(1)
    const ended = new Promise((resolve) => {
      setImmediate(() => {
        void after(50).then(() => world.at(1, () => {}))
        void world.run(() => world.ran > 0).then(resolve)
      })
    })
    expect(await ended).toBe('stopped')
  })
})

describe('ProcessClock', () => {
  it('holds timers back while it is frozen, jumps ahead without firing them, and ends with its process', async () => {
    const world = new World(1)
    let alive = true
    const clock = new ProcessClock(world, () => alive)
    const fired: number[] = []
    clock.frozenUntil = 20
    clock.after(5, () => fired.push(world.now))
    clock.after(30, () => fired.push(world.now))
    clock.after(40, () => fired.push(world.now))
    clock.jump(1_000)
    expect(clock.now()).toBe(1_000)
    world.at(35, () => {
      alive = false
    })
    await world.run(() => false)
    expect(fired).toEqual([20, 30])
  })
})
