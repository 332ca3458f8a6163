// Watches the replicas of a scope that other pages own, and takes one in whose owner died or froze. The browser's own queue
// for the lock tells of a death at once; pings tell of a frozen owner. A page that comes back for its replica goes first.
import { SlotChannel, type SlotMessage } from './indexeddb-channel.ts'
import { IndexedDbReplica, type ReplicaSettings } from './indexeddb-replica.ts'
import type { ReplicaSlots, SlotLock } from './indexeddb-slots.ts'
import type { Orphan } from './storage.ts'

export interface WatchSettings extends ReplicaSettings {
  readonly graceMs: number
}

/** How often the databases are looked through for slots that nobody announced. */
const lookMs = 3_000

/** For how long a page that is back goes first. It asks for at most 3 s (indexeddb.ts). */
const stepAsideMs = 3_500

/** How long a slot that could not be opened is left alone. */
const failedMs = 10_000

/** So many pings in `frozenMs`: who misses all of them is taken for frozen. */
const pingsMissed = 5

/** Where the browser does not list its databases, this many names are watched. */
export const probedSlots = 16

export function watchOrphans(
  slots: ReplicaSlots,
  settings: WatchSettings,
  adopt: (orphan: Orphan) => void,
): () => void {
  const watches = new Map<number, SlotWatch>()
  /** Slots with nothing to adopt. They are watched again when somebody owns them. */
  const unowned = new Set<number>()
  let stopped = false

  function watch(slot: number): void {
    if (stopped || watches.has(slot) || slots.isHeldByThisPage(slot)) return
    unowned.delete(slot)
    const started = new SlotWatch(slots, slot, settings, adopt)
    watches.set(slot, started)
    started
      .run()
      .then((end) => {
        if (end === 'nothing there') unowned.add(slot)
      })
      .catch(reportError)
      .finally(() => watches.delete(slot))
  }

  async function look(): Promise<void> {
    const stored = (await slots.stored()) ?? Array.from({ length: probedSlots }, (_, slot) => slot)
    const ownedAgain = await slots.held(unowned)
    for (const slot of [...stored.filter((found) => !unowned.has(found)), ...ownedAgain]) watch(slot)
  }

  const stopListening = slots.onTaken((slot) => {
    // What this page has itself it does not wait for.
    if (slots.isHeldByThisPage(slot)) watches.get(slot)?.stop()
    else watch(slot)
  })
  const timer = setInterval(() => look().catch(reportError), lookMs)
  look().catch(reportError)
  return () => {
    stopped = true
    clearInterval(timer)
    stopListening()
    for (const started of watches.values()) started.stop()
  }
}

class SlotWatch {
  readonly #slots: ReplicaSlots
  readonly #slot: number
  readonly #settings: WatchSettings
  readonly #adopt: (orphan: Orphan) => void
  readonly #stop = new AbortController()

  constructor(slots: ReplicaSlots, slot: number, settings: WatchSettings, adopt: (orphan: Orphan) => void) {
    this.#slots = slots
    this.#slot = slot
    this.#settings = settings
    this.#adopt = adopt
  }

  /** What this page adopted stays its own. */
  stop(): void {
    this.#stop.abort()
  }

  /** Goes on until stopped, or until the slot has no owner and nothing to adopt. */
  async run(): Promise<'stopped' | 'nothing there'> {
    const { signal } = this.#stop
    while (!signal.aborted && !this.#slots.isHeldByThisPage(this.#slot)) {
      const lock = await this.#waitForLock()
      const outcome = lock === undefined ? 'wanted' : await this.#takeIn(lock)
      if (outcome === 'nothing there') return outcome
      await pause(outcome === 'failed' ? failedMs : stepAsideMs, signal)
    }
    return 'stopped'
  }

  /** Undefined when a page that is back wants the slot, and when stopped. */
  async #waitForLock(): Promise<SlotLock | undefined> {
    const waiting = new AbortController()
    const stopWaiting = () => waiting.abort()
    this.#stop.signal.addEventListener('abort', stopWaiting)
    let takeOver: Promise<SlotLock | undefined> = Promise.resolve(undefined)
    let takesOver = false
    const watchdog = new OwnerWatchdog(this.#slots.databaseName(this.#slot), this.#settings.frozenMs, {
      wanted: stopWaiting,
      silent: () => {
        if (takesOver || waiting.signal.aborted) return
        takesOver = true
        takeOver = this.#takeOver(watchdog, waiting).finally(() => {
          takesOver = false
        })
        takeOver.catch(stopWaiting)
      },
    })
    try {
      const granted = await this.#slots.lock(this.#slot, waiting.signal)
      waiting.abort()
      const forced = await takeOver
      if (forced === undefined) return granted
      // Granted in the moment in which the waiting was given up for the taking.
      await granted?.release()
      return forced
    } finally {
      watchdog.stop()
      this.#stop.signal.removeEventListener('abort', stopWaiting)
    }
  }

  async #takeOver(watchdog: OwnerWatchdog, waiting: AbortController): Promise<SlotLock | undefined> {
    return this.#slots.alone(this.#slot, async () => {
      // Another watcher may have been faster. Then the owner is that one, and it answers.
      const silent = await watchdog.staysSilent()
      if (!silent || waiting.signal.aborted) return undefined
      waiting.abort()
      return this.#slots.lock(this.#slot, 'by force')
    })
  }

  async #takeIn(lock: SlotLock): Promise<'wanted' | 'nothing there' | 'failed' | 'ended'> {
    const { signal } = this.#stop
    const wanted = new AbortController()
    const isOff = () => wanted.signal.aborted || signal.aborted || lock.stolen
    lock.onWanted = () => {
      wanted.abort()
      return true
    }
    lock.isSpare = () => true
    await pause(this.#settings.graceMs, signal, wanted.signal)
    if (isOff()) {
      await lock.release()
      return 'wanted'
    }
    let storage: IndexedDbReplica | undefined
    try {
      storage = await IndexedDbReplica.open(this.#slots, lock, this.#settings, 'stateful')
    } catch {
      // Whoever opens the slot for itself is told why. Here it only is no orphan that can be helped.
      return 'failed'
    }
    if (storage === undefined) return 'nothing there'
    if (isOff()) {
      await storage.close()
      return 'wanted'
    }
    const orphan: Orphan = { storage, slot: this.#slot, onWanted: null }
    lock.isSpare = () => orphan.onWanted !== null
    lock.onWanted = () => {
      if (orphan.onWanted === null) return false
      orphan.onWanted()
      return true
    }
    try {
      this.#adopt(orphan)
    } catch (error) {
      await storage.close()
      throw error
    }
    await lock.ended
    return 'ended'
  }
}

/** Asks the owner of a slot again and again whether it is awake, and notices whether this page itself was awake to hear it. */
class OwnerWatchdog {
  readonly #channel: SlotChannel
  readonly #timer: ReturnType<typeof setInterval>
  readonly #pingMs: number
  readonly #silent: () => void
  #asked = 0
  #lastTick = performance.now()
  /** Called with the owner's next answer. */
  #onPong: (() => void) | null = null

  constructor(
    databaseName: string,
    frozenMs: number,
    events: { readonly wanted: () => void; readonly silent: () => void },
  ) {
    this.#pingMs = frozenMs / pingsMissed
    this.#silent = events.silent
    this.#channel = new SlotChannel(databaseName, (said: SlotMessage) => {
      if (said === 'want') events.wanted()
      if (said !== 'pong') return
      this.#asked = 0
      this.#onPong?.()
    })
    this.#timer = setInterval(() => this.#tick(), this.#pingMs)
  }

  /** Asks once more; whether no answer came in the time of one ping. */
  async staysSilent(): Promise<boolean> {
    const heard = new AbortController()
    this.#onPong = () => heard.abort()
    const before = performance.now()
    this.#channel.say('ping')
    await pause(this.#pingMs, heard.signal)
    this.#onPong = null
    return !heard.signal.aborted && !this.#slept(before)
  }

  stop(): void {
    clearInterval(this.#timer)
    this.#channel.close()
  }

  #tick(): void {
    // A page that slept has answers waiting behind this timer.
    if (this.#slept(this.#lastTick)) this.#asked = 0
    this.#lastTick = performance.now()
    if (this.#asked >= pingsMissed) {
      this.#asked = 0
      this.#silent()
    }
    this.#asked += 1
    this.#channel.say('ping')
  }

  /** Whether a timer of one ping, set at `before`, came much too late. */
  #slept(before: number): boolean {
    return performance.now() - before > 2 * this.#pingMs + 50
  }
}

/** Resolves after `ms`, or as soon as one of the signals aborts. */
function pause(ms: number, ...signals: readonly AbortSignal[]): Promise<void> {
  return new Promise((resolve) => {
    const end = () => {
      clearTimeout(timer)
      for (const signal of signals) signal.removeEventListener('abort', end)
      resolve()
    }
    const timer = setTimeout(end, ms)
    for (const signal of signals) signal.addEventListener('abort', end)
    if (signals.some((signal) => signal.aborted)) end()
  })
}
