// Time and chance as the transport sees them, so that tests can hold both in their hands.

export interface Clock {
  /** Milliseconds from some fixed point; never goes back. */
  now(): number
  /** Calls `run` once after `delayMs`; the returned function prevents that. */
  after(delayMs: number, run: () => void): () => void
  /** A number from 0 (included) to 1 (not included). */
  random(): number
}

export const systemClock: Clock = {
  now: () => performance.now(),
  after(delayMs, run) {
    const timer = setTimeout(run, delayMs)
    return () => clearTimeout(timer)
  },
  random: () => Math.random(),
}

/** Before attempt number `attempt` (0, 1, …): doubles from `firstMs` up to `lastMs`, of which a random half is taken off. */
export function backoffMs(clock: Clock, attempt: number, firstMs: number, lastMs: number): number {
  const ceiling = Math.min(lastMs, firstMs * 2 ** Math.min(attempt, 20))
  return ceiling * (0.5 + clock.random() / 2)
}
