// The storage of browsers: one IndexedDB database per replica, with the log, the checkpoints and the identity together, so
// that losing one is losing all. Here is which replica a page gets; indexeddb-replica.ts keeps it, indexeddb-orphans.ts looks
// after those of pages that died. What the bytes mean, and which writes ride together, is not known here.
import { WepaxosError } from '../lib/errors.ts'
import { SlotChannel } from './indexeddb-channel.ts'
import { probedSlots, type WatchSettings, watchOrphans } from './indexeddb-orphans.ts'
import { IndexedDbReplica } from './indexeddb-replica.ts'
import { ReplicaSlots, type SlotLock } from './indexeddb-slots.ts'
import type { Orphan, Storage, StorageProvider, StorageScope } from './storage.ts'

export type { StorageFailure } from './indexeddb-failure.ts'

export interface IndexedDbStorageOptions {
  /**
   * 'strict' (the default): a completed write survives the loss of power. 'relaxed': it survives the page and the browser,
   * and is faster; a power cut, or a crash of the operating system, may take the last transactions back. What was promised
   * to others in them can not be kept then, so the replica retires as one whose disk came back older, and the page joins
   * anew; a room of which a majority loses its power at once may lose what was acknowledged last.
   */
  readonly durability?: 'strict' | 'relaxed'
  /** What the databases' names begin with, for applications that share an origin. Default: 'wepaxos'. */
  readonly name?: string
  /** Whether the first `open` asks the browser to keep the data when space runs short. Default: true. Nothing waits for it. */
  readonly persist?: boolean
  /** How long an owner in another page may answer nothing until it is taken for frozen, and taken over. Default: 10,000. */
  readonly frozenMs?: number
  /** How long a replica that lost its page is left for that page to come back, as in a reload. Default: 300. */
  readonly graceMs?: number
  /** How long opening waits for a page that keeps an older layout of the database open. Default: 5,000. */
  readonly blockedMs?: number
}

/**
 * Keeps replicas in this origin's IndexedDB. A reloaded tab gets its own replica back, another tab one that nobody owns, or
 * a new one. `open` rejects with `NotSupported` where IndexedDB, Web Locks or BroadcastChannel are missing (outside browsers,
 * or on a page that is not a secure context), with `StorageFailed` when the disk does not answer or a newer version wrote on
 * it, and with `StorageInUse` when all slots are taken. `details.reason` of a `StorageFailed` error is a `StorageFailure`.
 */
export function indexedDbStorage(options: IndexedDbStorageOptions = {}): StorageProvider {
  const { durability = 'strict', name = 'wepaxos', persist = true } = options
  const { frozenMs = 10_000, graceMs = 300, blockedMs = 5_000 } = options
  if (durability !== 'strict' && durability !== 'relaxed') {
    throw new WepaxosError('InvalidArgument', `durability is 'strict' or 'relaxed', not ${JSON.stringify(durability)}`)
  }
  for (const [option, ms] of Object.entries({ frozenMs, graceMs, blockedMs })) {
    const isTime = Number.isFinite(ms) && (ms > 0 || (ms === 0 && option === 'graceMs'))
    if (!isTime) throw new WepaxosError('InvalidArgument', `${option} is a number of milliseconds, not ${ms}`)
  }
  const settings: WatchSettings = { durability, frozenMs, graceMs, blockedMs }
  let mayAsk = persist
  return {
    async open(scope: StorageScope): Promise<Storage> {
      mustBeSupported()
      if (mayAsk) askToPersist()
      mayAsk = false
      const slots = new ReplicaSlots(name, scope)
      const storage = await takeReplica(slots, settings)
      slots.remember(storage.slot)
      slots.sayTaken(storage.slot)
      return storage
    },
    watchOrphans(scope: StorageScope, adopt: (orphan: Orphan) => void): () => void {
      mustBeSupported()
      return watchOrphans(new ReplicaSlots(name, scope), settings, adopt)
    },
  }
}

/** For how long a reloaded page waits for the page that it replaces: the browser frees its lock only a moment later. */
const reloadWaitMs = 1_000

/** The same while somebody who took the replica in says that it is giving it back. */
const givenBackMs = 3_000

/** For how long a new page waits to hear which replicas are kept for pages that are gone. */
const answerMs = 150

/** How often the reloaded page says so meanwhile. */
const wantMs = 50

/** More replicas than this in one profile are a fault of the program, not tabs. */
const slotsMax = 1_000

function mustBeSupported(): void {
  const missing =
    typeof indexedDB === 'undefined'
      ? 'IndexedDB'
      : typeof navigator === 'undefined' || navigator.locks === undefined
        ? 'Web Locks'
        : typeof BroadcastChannel === 'undefined'
          ? 'BroadcastChannel'
          : undefined
  if (missing === undefined) return
  const insecure = globalThis.isSecureContext === false
  const hint = insecure ? ': this page is not a secure context, serve it over https or from localhost' : ''
  throw new WepaxosError('NotSupported', `indexedDbStorage needs ${missing}, which is missing here${hint}`, {
    missing,
    insecure,
  })
}

/** The answer is for the status of the page: `space()` of the storage has it. */
function askToPersist(): void {
  // Absent in workers and insecure contexts.
  const manager: Partial<StorageManager> | undefined = navigator.storage
  manager?.persist?.().catch(() => {})
}

/**
 * The replica that this tab had, else the free one with the lowest number that has state, else one that another page keeps
 * for a page that is gone, else the lowest number that is free. Locks are asked for, never waited for, but for those that
 * somebody is about to free.
 */
async function takeReplica(slots: ReplicaSlots, settings: WatchSettings): Promise<IndexedDbReplica> {
  /** A free slot with a database and nothing in it: the place for a new replica, when no other is found. */
  let spare: IndexedDbReplica | undefined
  const taken = new Set<number>()
  let blocked: unknown
  try {
    const stored = (await slots.stored()) ?? Array.from({ length: probedSlots }, (_, slot) => slot)
    const remembered = slots.remembered()
    const ownFirst = stored.filter((slot) => slot === remembered).concat(stored.filter((slot) => slot !== remembered))
    for (const slot of ownFirst) {
      const mayBeReload = slot === remembered && !slots.isHeldByThisPage(slot)
      const lock = (await slots.lock(slot, 'if free')) ?? (mayBeReload ? await waitForOwn(slots, slot) : undefined)
      if (lock === undefined) {
        taken.add(slot)
        continue
      }
      let replica: IndexedDbReplica | undefined
      try {
        replica = await IndexedDbReplica.open(slots, lock, settings, 'existing')
      } catch (error) {
        // A page that stands still keeps it from being deleted, or upgraded. Another one with state does as well.
        if (slot === remembered || !isBlocked(error)) throw error
        blocked ??= error
        continue
      }
      if (replica?.hasState) {
        await spare?.close()
        return replica
      }
      if (spare === undefined || (replica !== undefined && replica.slot < spare.slot)) {
        await spare?.close()
        spare = replica
      } else {
        await replica?.close()
      }
    }
    // Before there is a new replica more, one that lost its page and is kept by another.
    for (const slot of await slots.spare(taken, answerMs)) {
      const lock = await waitForOwn(slots, slot)
      if (lock === undefined) continue
      const replica = await IndexedDbReplica.open(slots, lock, settings, 'existing')
      if (replica?.hasState) {
        await spare?.close()
        return replica
      }
      await replica?.close()
    }
    // What is there is not known: a new replica beside it may wait for it for ever.
    if (blocked !== undefined) throw blocked
    for (let slot = 0; slot < slotsMax; slot += 1) {
      if (slot === spare?.slot) return spare
      if (taken.has(slot)) continue
      const lock = await slots.lock(slot, 'if free')
      if (lock === undefined) continue
      const replica = await IndexedDbReplica.open(slots, lock, settings, 'create')
      if (replica === undefined) continue // Only 'existing' finds none.
      await spare?.close()
      return replica
    }
  } catch (error) {
    await spare?.close()
    throw error
  }
  throw new WepaxosError('StorageInUse', `all ${slotsMax} replicas of this partition are in use by other tabs`, {
    slotsMax,
  })
}

function isBlocked(error: unknown): boolean {
  return error instanceof WepaxosError && error.details['reason'] === 'blocked'
}

/** Waits for the lock of the slot that was this tab's, which the page before it, or a page that took it in, may give back. */
async function waitForOwn(slots: ReplicaSlots, slot: number): Promise<SlotLock | undefined> {
  const waiting = new AbortController()
  const startedAt = performance.now()
  let waitMs = reloadWaitMs
  const channel = new SlotChannel(slots.databaseName(slot), (said) => {
    if (said === 'closing') waitMs = Math.min(givenBackMs, performance.now() - startedAt + reloadWaitMs)
  })
  function ask(): void {
    if (performance.now() - startedAt >= waitMs) waiting.abort()
    else channel.say('want')
  }
  ask()
  const timer = setInterval(ask, wantMs)
  try {
    return await slots.lock(slot, waiting.signal)
  } finally {
    clearInterval(timer)
    channel.close()
  }
}
