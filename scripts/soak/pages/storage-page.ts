// A page that owns a stored replica whenever it can, and writes to it without end: one of several writers of one log, of which
// only one may write at a time. Each taking and each completed write is told to the harness at once.

// Their types are no part of the public face of the adapter.
import type { Storage, WriteBatch } from '@wepaxos/core'
import { indexedDbStorage } from '@wepaxos/core/indexeddb'

/** What this page has in its hands now. */
export interface OwnerState {
  /** 0: no log. */
  readonly generation: number
  /** Writes that were refused, by reason: late ones, of a page that is the owner no more. */
  readonly refused: Readonly<Record<string, number>>
  /** Grows while this page is awake. */
  readonly ticks: number
}

export interface StoragePage {
  state(): OwnerState
  /** Takes the log if nobody has it. */
  open(): Promise<boolean>
  /** Does nothing else for so long, as a page that computes too much. */
  stall(ms: number): void
}

/** Told with each taking: who took it, the generation that it writes from now on, and what it found there. */
export interface Taken {
  readonly token: string
  readonly generation: number
  /** Writes by generation. */
  readonly found: Readonly<Record<number, number>>
}

/** Told with each completed write. */
export interface Written {
  readonly token: string
  readonly generation: number
  readonly count: number
}

declare global {
  interface Window {
    soakStorage?: StoragePage
    soakTaken?: (taken: string) => void
    soakWritten?: (written: string) => void
  }
}

const settings = new URLSearchParams(location.search)
const scope = { room: settings.get('room') ?? 'room', partition: 'log' }
const provider = indexedDbStorage({
  durability: 'relaxed',
  name: 'take-over',
  frozenMs: Number(settings.get('frozenMs') ?? 500),
  graceMs: 20,
  blockedMs: 1_000,
})
/** Timers of a page in the background run once a second; those of its workers do not. */
const pauses = new Worker(
  URL.createObjectURL(new Blob(['onmessage = ({ data }) => setTimeout(() => postMessage(0), data)'])),
)
/**
 * At most, between two writes. Who is frozen in the middle of a transaction keeps the database locked, whatever anybody does,
 * until it is thawed or dies; a writer without pauses always is.
 */
const pauseMs = 60
const token = crypto.randomUUID()
const refused: Record<string, number> = {}
let generation = 0
let ticks = 0

/** Writes until it is refused. Each generation has keys of its own, so that no write can hide another. */
async function own(storage: Storage): Promise<void> {
  try {
    const { instances } = await storage.read()
    const found: Record<number, number> = {}
    for (const { epoch } of instances) found[epoch] = (found[epoch] ?? 0) + 1
    const mine = Math.max(0, ...instances.map(({ epoch }) => epoch)) + 1
    generation = mine
    window.soakTaken?.(JSON.stringify({ token, generation: mine, found } satisfies Taken))
    for (let count = 1; ; count += 1) {
      const bytes = new TextEncoder().encode(`${token} ${count}`)
      const batch: WriteBatch = {
        meta: [],
        instances: [{ epoch: mine, row: 0, seq: count, bytes }],
        checkpoints: [],
        // What the next owner compares stays: this generation and the one before it.
        ...(mine > 1 ? { dropEpochsBefore: mine - 1 } : {}),
      }
      await storage.write(batch)
      window.soakWritten?.(JSON.stringify({ token, generation: mine, count } satisfies Written))
      await new Promise((resolve) => {
        pauses.onmessage = resolve
        pauses.postMessage(Math.random() * pauseMs)
      })
    }
  } catch (error) {
    const reason = reasonOf(error)
    refused[reason] = (refused[reason] ?? 0) + 1
    // Once more: nothing may come through any more.
    const again = await storage.write({ meta: [], instances: [], checkpoints: [] }).then(
      () => 'written after a refusal',
      () => undefined,
    )
    if (again !== undefined) refused[again] = (refused[again] ?? 0) + 1
    generation = 0
    await storage.close()
  }
}

function reasonOf(error: unknown): string {
  if (typeof error !== 'object' || error === null || !('details' in error)) return String(error)
  const { details } = error
  if (typeof details !== 'object' || details === null || !('reason' in details)) return String(error)
  return String(details.reason)
}

setInterval(() => {
  ticks += 1
}, 20)
provider.watchOrphans?.(scope, ({ storage }) => void own(storage))
window.soakStorage = {
  state: () => ({ generation, refused, ticks }),
  async open() {
    const storage = await provider.open(scope)
    void own(storage)
    return true
  },
  stall(ms) {
    const end = performance.now() + ms
    while (performance.now() < end);
  },
}
