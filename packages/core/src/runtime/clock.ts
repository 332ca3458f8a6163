// The port to time. The runtime knows no other clock, so that a simulation can run on its own.

export interface Clock {
  /** Milliseconds since some fixed point; never goes back. */
  now(): number
  /** Calls `action` once after about `delayMs`; the returned function prevents that. */
  after(delayMs: number, action: () => void): () => void
}

export const systemClock: Clock = {
  now: () => performance.now(),
  after(delayMs, action) {
    const timer = setTimeout(action, delayMs)
    return () => clearTimeout(timer)
  },
}
