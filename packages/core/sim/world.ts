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
  #ran = 0
  /** A binary heap by (at, order). */
  readonly #events: Event[] = []

  constructor(seed: number) {
    this.random = createRandom(seed)
  }

  get now(): number {
    return this.#now
  }

  /** Events that have happened so far. */
  get ran(): number {
    return this.#ran
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
    if (this.#events.length === 0) await settled()
    if (!this.#runNext()) return false
    await settled()
    return true
  }

  /**
   * Event after event until `stop` says so, asked after each. `ended`: whether it did, or nothing was left to happen.
   * The same as many steps, at a third of their price.
   */
  async run(stop: () => boolean): Promise<'stopped' | 'nothing left'> {
    await settled()
    while (!stop()) {
      // `stop` may have set something going whose first event is still on its way
      if (this.#events.length === 0) await settled()
      if (!this.#runNext()) return 'nothing left'
      await settled()
    }
    return 'stopped'
  }

  #runNext(): boolean {
    const heap = this.#events
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
    this.#ran++
    first.action()
    return true
  }
}

function before(a: Event, b: Event | undefined): boolean {
  return b === undefined || a.at < b.at || (a.at === b.at && a.order < b.order)
}

/**
 * All microtasks that can run have run. A tick that a microtask asks for comes when Node's queue of microtasks is empty,
 * those that microtasks added among them: exactly then. (One that anything else asks for comes before them.) setImmediate
 * would wait for a turn of the event loop besides, in which nothing can be ready.
 */
function settled(): Promise<void> {
  return new Promise((resolve) => queueMicrotask(() => process.nextTick(resolve)))
}

/** The clock of one process: its timers end with it, it may stand still for a while (a frozen page), and jump ahead. */
export class ProcessClock implements Clock {
  readonly #world: World
  readonly #isAlive: () => boolean
  #aheadMs = 0
  /** Until when (in the world's time) timers are held back. */
  frozenUntil = 0

  constructor(world: World, isAlive: () => boolean) {
    this.#world = world
    this.#isAlive = isAlive
  }

  now(): number {
    return this.#world.now + this.#aheadMs
  }

  /** As after a sleep that the clock counts: it is later at once, and timers fire when they would have. */
  jump(ms: number): void {
    this.#aheadMs += ms
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
