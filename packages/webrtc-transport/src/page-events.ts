// The page's own news that a room cares about: it goes away, or it comes back to the network or to the front. Does
// nothing where there is no page.

export interface PageEvents {
  /** The page goes, for good or into the browser's cache. Whatever is to be said must be said within this call. */
  onHide(): void
  /** Timers may have slept and the network may be another one. */
  onReturn(): void
}

/** Listens until `signal` aborts. */
export function watchPage(events: PageEvents, signal: AbortSignal): void {
  if (typeof document === 'undefined') return
  const onReturn = () => events.onReturn()
  globalThis.addEventListener('pagehide', () => events.onHide(), { signal })
  globalThis.addEventListener('pageshow', onReturn, { signal })
  globalThis.addEventListener('online', onReturn, { signal })
  document.addEventListener('visibilitychange', () => document.visibilityState === 'visible' && onReturn(), { signal })
}
