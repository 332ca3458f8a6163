// A page with a replica and nothing to see, for the long checks: it runs the commands that the harness asks for, says when
// each began and ended by this page's clock, and reports each of its write transactions as it begins and ends.
import {
  type Handle,
  type KvCommands,
  type KvQueries,
  kv,
  openReplica,
  type Replica,
  type Transport,
  type Value,
  WepaxosError,
} from '@wepaxos/core'
import { indexedDbStorage } from '@wepaxos/core/indexeddb'
import { joinRoom } from '@wepaxos/webrtc-transport'
import { perSecond } from './per-second.ts'

/** A value as the harness gives and gets it: of bytes, the hex of the first 16. */
export type Plain = string | number | boolean | null

/** A command, or the linearizable read `get`, on one key. */
export interface Asked {
  readonly op: 'increment' | 'set' | 'create' | 'compareAndSet' | 'get'
  readonly key: string
  readonly args: readonly Plain[]
}

export interface Answered {
  /** As in a history file: the number, the value (null: absent), or whether it happened. */
  readonly result: Plain
  /** By `performance.now()` of the page. */
  readonly fromMs: number
  readonly toMs: number
}

export interface PageFacts {
  readonly id: string
  readonly status: string
  /** Of a failed replica: the error's code, and its `details.reason`. */
  readonly failure: { readonly code: string; readonly reason: string } | null
  readonly voters: readonly string[]
  readonly members: number
  /** Members that this page's replica is connected to. */
  readonly connected: number
  readonly executed: number
  readonly stateHash: string
  readonly pending: number
  readonly hosted: readonly string[]
  /** Commands of the life before, which had no answer when it ended. */
  readonly carriedOver: number
  readonly writes: number
  /** From the call of openReplica to its replica, in milliseconds. */
  readonly openMs: number
}

export interface SoakPage {
  readonly invite: string
  facts(): PageFacts
  ask(asked: Asked): Promise<Answered>
  /** All entries of the executed state whose key begins so. */
  entries(prefix: string): readonly (readonly [key: string, value: Plain])[]
  /** Resolves when every command of the life before has its result. Rejects when one has none. */
  carriedOverDone(): Promise<number>
  /** Sets one new key after the other to random bytes, `inFlight` at a time, until `stop`. */
  stream(inFlight: number): Promise<void>
  stop(): void
  /** Keeps so many small writes under way for so long; gives answers a second. */
  commitsPerSecond(inFlight: number, forMs: number): Promise<number>
  /** Writes so many new keys, as fast as it goes. */
  fill(count: number): Promise<void>
  /** What `stream` wrote and was told so far. */
  answers(): readonly StreamAnswer[]
}

export interface StreamAnswer {
  readonly key: string
  /** The hex of the first 16 bytes of its value. */
  readonly marker: string
  readonly toMs: number
}

declare global {
  interface Window {
    soak?: SoakPage
    /** Why there is no `soak`, if so. */
    soakFailure?: string
    /** The harness's: hears how many write transactions are open. */
    soakMark?: (openTransactions: string) => void
  }
}

/** Of each value that `stream` sets: enough of them make the browser's own files change places. */
const streamBytes = 500

/** Counts this page's open write transactions, of whatever database, and tells the harness of each change. */
function reportTransactions(): void {
  let open = 0
  const original = IDBDatabase.prototype.transaction
  IDBDatabase.prototype.transaction = function (this: IDBDatabase, ...args: Parameters<typeof original>) {
    const transaction = original.apply(this, args)
    if (transaction.mode === 'readwrite') {
      const ended = () => {
        open -= 1
        window.soakMark?.(String(open))
      }
      open += 1
      window.soakMark?.(String(open))
      transaction.addEventListener('complete', ended)
      transaction.addEventListener('abort', ended)
    }
    return transaction
  }
}

/** For a room with nobody else in it, ever. */
function loneTransport(room: string): Transport {
  return {
    room,
    founded: true,
    presence: { self: null, others: [], set() {}, subscribe: () => () => {} },
    attach: () => ({ send() {}, queuedBytes: () => 0, close() {} }),
  }
}

const settings = new URLSearchParams(location.search)

async function enterRoom(): Promise<{ readonly transport: Transport; readonly invite: string }> {
  if (settings.get('room') === 'lone') return { transport: loneTransport(settings.get('name') ?? 'lone'), invite: '' }
  const signaling = new URL('/signal', location.href.replace(/^http/, 'ws')).href
  const room = await joinRoom({ signaling, ...(location.hash === '' ? {} : { invite: location.hash }) })
  return { transport: room, invite: room.invite }
}

function soakPage(replica: Replica<KvCommands, KvQueries>, invite: string, openMs: number): SoakPage {
  let streaming = false
  const answers: StreamAnswer[] = []

  async function run({ op, key, args }: Asked): Promise<Plain> {
    const [first = null, second = null] = args
    switch (op) {
      case 'get':
        return plain((await replica.read.get(key)) ?? null)
      case 'increment': {
        const result = await replica.mutate.increment(key, Number(first)).done
        if (!result.ok) throw new Error(`increment of ${key} was refused: ${result.code}`)
        return result.value
      }
      case 'set':
        return (await replica.mutate.set(key, first).done).ok
      case 'create':
        return (await replica.mutate.create(key, first).done).ok
      case 'compareAndSet':
        return (await replica.mutate.compareAndSet(key, first, second).done).ok
    }
  }

  async function streamLine(numbers: { next: number }): Promise<void> {
    while (streaming) {
      const number = numbers.next++
      const key = `stream/${number}`
      const bytes = crypto.getRandomValues(new Uint8Array(streamBytes))
      const handle: Handle<unknown> = replica.mutate.set(key, bytes)
      await handle.done
      answers.push({ key, marker: hex(bytes), toMs: performance.now() })
    }
  }

  return {
    invite,
    facts() {
      const { executed, stateHash, pending, hosted, storage } = replica.stats()
      const { status, members } = replica
      const failure =
        status.kind === 'failed'
          ? { code: status.error.code, reason: String(status.error.details['reason'] ?? '') }
          : null
      return {
        id: replica.id,
        status: status.kind,
        failure,
        voters: members.filter(({ role }) => role === 'voter').map(({ id }) => id),
        members: members.length,
        connected: members.filter(({ connected, self }) => connected && !self).length,
        executed,
        stateHash,
        pending,
        hosted: [...hosted],
        carriedOver: replica.carriedOver.length,
        writes: storage.writes,
        openMs,
      }
    },
    async ask(asked) {
      const fromMs = performance.now()
      const result = await run(asked)
      return { result, fromMs, toMs: performance.now() }
    },
    entries: (prefix) => replica.view.committed.list(prefix).map(({ key, value }) => [key, plain(value)]),
    async carriedOverDone() {
      await Promise.all(replica.carriedOver.map(({ done }) => done))
      return replica.carriedOver.length
    },
    async stream(inFlight) {
      streaming = true
      const numbers = { next: 0 }
      await Promise.all(Array.from({ length: inFlight }, () => streamLine(numbers)))
    },
    stop() {
      streaming = false
    },
    answers: () => answers,
    commitsPerSecond(inFlight, forMs) {
      return perSecond(inFlight, forMs, (number) => replica.mutate.set(`bench/${number % 100}`, number).done)
    },
    async fill(count) {
      const handles = Array.from({ length: fillAtOnce }, async (_, line) => {
        for (let number = line; number < count; number += fillAtOnce) {
          await replica.mutate.set(`fill/${number}`, number).done
        }
      })
      await Promise.all(handles)
    },
  }
}

/** More than a transaction takes along are of no use. */
const fillAtOnce = 500

function plain(value: Value): Plain {
  if (value instanceof Uint8Array) return hex(value)
  if (typeof value === 'object' && value !== null) throw new Error('the streams write no lists and no objects')
  return value
}

function hex(bytes: Uint8Array): string {
  return Array.from(bytes.subarray(0, 16), (byte) => byte.toString(16).padStart(2, '0')).join('')
}

try {
  reportTransactions()
  const { transport, invite } = await enterRoom()
  const checkpointEvery = settings.get('checkpointEvery')
  const before = performance.now()
  const replica = await openReplica({
    partition: 'soak',
    transport,
    storage: indexedDbStorage({ durability: settings.get('durability') === 'relaxed' ? 'relaxed' : 'strict' }),
    machine: kv(),
    ...(checkpointEvery === null ? {} : { checkpointEvery: Number(checkpointEvery), checkpointBytes: 0 }),
    // One instance for each command, and many of them under way.
    ...(settings.get('batches') === 'none' ? { batchMax: 1, instancesMax: fillAtOnce } : {}),
  })
  if (invite !== '') history.replaceState(null, '', invite)
  window.soak = soakPage(replica, invite, performance.now() - before)
} catch (error) {
  const details = error instanceof WepaxosError ? JSON.stringify({ code: error.code, ...error.details }) : ''
  window.soakFailure = `${error} ${details}`
}
