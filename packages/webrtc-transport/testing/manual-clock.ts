// A clock for tests: stands still until it is moved.
import type { Clock } from '../src/clock.ts'

interface Timer {
  readonly atMs: number
  readonly run: () => void
}

export class ManualClock implements Clock {
  #nowMs = 0
  readonly #timers = new Set<Timer>()
  readonly #random: () => number

  /** `random` gives the chances that the code under test takes; by default always the middle. */
  constructor(random: () => number = () => 0.5) {
    this.#random = random
  }

  /** Timers that have not run. */
  get pending(): number {
    return this.#timers.size
  }

  now(): number {
    return this.#nowMs
  }

  random(): number {
    return this.#random()
  }

  after(delayMs: number, run: () => void): () => void {
    const timer = { atMs: this.#nowMs + delayMs, run }
    this.#timers.add(timer)
    return () => this.#timers.delete(timer)
  }

  /** Moves on, running each timer at its time, and what it has set off before the next one. */
  async advance(byMs: number): Promise<void> {
    const untilMs = this.#nowMs + byMs
    await settle()
    for (;;) {
      const [next] = [...this.#timers].filter(({ atMs }) => atMs <= untilMs).sort((one, other) => one.atMs - other.atMs)
      if (next === undefined) break
      this.#timers.delete(next)
      this.#nowMs = Math.max(this.#nowMs, next.atMs)
      next.run()
      await settle()
    }
    this.#nowMs = untilMs
  }

  /** Time passes and no timer runs: the page slept. */
  sleep(forMs: number): void {
    this.#nowMs += forMs
  }
}

/** WebCrypto's work that has not ended. It is done on other threads, so no number of turns is sure to be enough for it. */
let pendingCrypto = 0
const asynchronous = [
  'encrypt',
  'decrypt',
  'deriveKey',
  'deriveBits',
  'importKey',
  'exportKey',
  'generateKey',
  'digest',
  'sign',
  'verify',
] as const
/** What is held back of it, until when, and how often it may be asked before that. */
const held = new Map<string, { readonly released: Promise<void>; passes: number }>()
for (const name of asynchronous) {
  const { subtle } = crypto
  const original = subtle[name] as (...parameters: unknown[]) => Promise<unknown>
  Object.defineProperty(subtle, name, {
    configurable: true,
    value: async (...parameters: unknown[]) => {
      const hold = held.get(name)
      if (hold !== undefined && hold.passes > 0) hold.passes -= 1
      else await hold?.released
      pendingCrypto += 1
      try {
        return await original.apply(subtle, parameters)
      } finally {
        pendingCrypto -= 1
      }
    },
  })
}

/**
 * WebCrypto is slow: what it is asked of this kind takes until the returned function is called, but for the next
 * `letThrough` times. `settle` does not wait for it.
 */
export function holdCrypto(name: 'sign' | 'verify', letThrough = 0): () => void {
  let release: () => void = () => undefined
  const released = new Promise<void>((resolve) => {
    release = resolve
  })
  held.set(name, { released, passes: letThrough })
  return () => {
    held.delete(name)
    release()
  }
}

/** Lets everything run that waits for nothing but its turn, or for WebCrypto. */
export async function settle(): Promise<void> {
  for (let quietTurns = 0; quietTurns < 3; quietTurns = pendingCrypto === 0 ? quietTurns + 1 : 0) {
    await new Promise<void>((resolve) => setImmediate(resolve))
  }
}
