// Simulated time: a queue of events and nothing else. All randomness of a run comes from its one seed.
import { createRandom, type Random } from '../src/lib/random.ts'
import type { Clock } from '../src/runtime/clock.ts'

interface Event {
  readonly at: number
  readonly order: number
  readonly action: () => void
}

/** Milliseconds of simulated time, and what is to happen when. */
export class World {
  readonly random: Random
  #now = 0
  #order = 0
  /** A binary heap by (at, order). */
  readonly #events: Event[] = []

  constructor(seed: number) {
    this.random = createRandom(seed)
  }

  get now(): number {
    return this.#now
  }

  at(delayMs: number, action: () => void): void {
    const event = { at: this.#now + Math.max(0, delayMs), order: this.#order++, action }
    const heap = this.#events
    let index = heap.push(event) - 1
    while (index > 0) {
      const parent = (index - 1) >> 1
      if (!before(event, heap[parent])) break
      heap[index] = heap[parent] as Event
      index = parent
    }
    heap[index] = event
  }

  /** Runs the next event, and lets all promises that it settled take effect. False when there is none. */
  async step(): Promise<boolean> {
    const heap = this.#events
    if (heap.length === 0) await settled()
    const first = heap[0]
    if (first === undefined) return false
    const last = heap.pop() as Event
    if (heap.length > 0) {
      let index = 0
      for (;;) {
        let child = index * 2 + 1
        if (child >= heap.length) break
        if (child + 1 < heap.length && before(heap[child + 1] as Event, heap[child])) child++
        if (!before(heap[child] as Event, last)) break
        heap[index] = heap[child] as Event
        index = child
      }
      heap[index] = last
    }
    this.#now = first.at
    first.action()
    await settled()
    return true
  }
}

function before(a: Event, b: Event | undefined): boolean {
  return b === undefined || a.at < b.at || (a.at === b.at && a.order < b.order)
}

/** All microtasks that can run have run. */
function settled(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}

/** The clock of one process: its timers end with it, and it may stand still for a while (a frozen page). */
export class ProcessClock implements Clock {
  readonly #world: World
  readonly #isAlive: () => boolean
  /** Until when timers are held back. */
  frozenUntil = 0

  constructor(world: World, isAlive: () => boolean) {
    this.#world = world
    this.#isAlive = isAlive
  }

  now(): number {
    return this.#world.now
  }

  after(delayMs: number, action: () => void): () => void {
    let cancelled = false
    const fire = () => {
      if (cancelled || !this.#isAlive()) return
      const frozenFor = this.frozenUntil - this.#world.now
      if (frozenFor > 0) this.#world.at(frozenFor, fire)
      else action()
    }
    this.#world.at(delayMs, fire)
    return () => {
      cancelled = true
    }
  }
}
