// A page with a replica and nothing to see, so that a benchmark measures wepaxos and no drawing. `?storage=memory` keeps the
// log in memory, `?links=rtc` connects over plain RTCPeerConnections. Who votes is up to the benchmark.
import { kv, memoryStorage, openReplica } from '@wepaxos/core'
import { indexedDbStorage } from '@wepaxos/core/indexeddb'
import { joinRoom, loadSimplePeerLinks, rtcLinks } from '@wepaxos/webrtc-transport'
import { type Carried, countedLinks } from './counted-links.ts'
import { Echoes, type EchoRun, type Timed, timed } from './echoes.ts'

export interface CommandRun {
  readonly count: number
  readonly inFlight: number
  /** Between two, where only one is in flight at a time. */
  readonly pauseMs?: number
  /** Different keys that the commands write, one after the other. */
  readonly keys: number
  /** Look after each command which path it took. One at a time only: what is looked at is the count of all. */
  readonly byPath: boolean
}

/** What commands cost, and how they came about. */
export interface CommandTimes extends Timed {
  /** From the call until it is committed: of those that took the slow path, where that was looked at. */
  readonly slowTimes: readonly number[]
  /** How many took which path. */
  readonly fast: number
  readonly slow: number
  /** Frames and bytes on this page's links meanwhile, in both directions. */
  readonly carried: Carried
}

/** What the benchmark's script calls in the page. */
export interface BenchPage {
  /** Whether this page and so many others can reach each other by all ways. */
  readonly echoesReady: (others: number) => boolean
  /** Gives a vote to all that are there. */
  readonly allVote: () => Promise<void>
  readonly echo: (run: EchoRun) => Promise<Timed>
  readonly commands: (run: CommandRun) => Promise<CommandTimes>
}

const signaling = new URL('/signal', location.href.replace(/^http/, 'ws')).href
const options = new URLSearchParams(location.search)
const createLink = options.get('links') === 'rtc' ? rtcLinks() : await loadSimplePeerLinks()
const carried: Carried = { frames: 0, bytes: 0 }
const room = await joinRoom({
  signaling,
  createLink: countedLinks(createLink, carried),
  ...(location.hash === '' ? {} : { invite: location.hash }),
})
const replica = await openReplica({
  partition: 'bench',
  transport: room,
  storage: options.get('storage') === 'memory' ? memoryStorage() : indexedDbStorage(),
  machine: kv(),
  membership: 'manual',
})
if (room.founded) history.replaceState(null, '', room.invite)

const echoes = new Echoes(room, await room.newReplica(), createLink)

async function commands({ count, inFlight, keys, byPath, pauseMs }: CommandRun): Promise<CommandTimes> {
  const slowTimes: number[] = []
  const pathsBefore = replica.stats()
  const carriedBefore = { ...carried }
  let number = 0
  const all = await timed(
    count,
    inFlight,
    async () => {
      const slowBefore = byPath ? replica.stats().slowPath : 0
      const began = performance.now()
      const handle = replica.mutate.set(`bench/${number++ % keys}`, number)
      if (!byPath) return handle.done
      await handle.committed
      const ms = performance.now() - began
      if (replica.stats().slowPath > slowBefore) slowTimes.push(ms)
      return handle.done
    },
    pauseMs,
  )
  const frames = carried.frames - carriedBefore.frames
  const bytes = carried.bytes - carriedBefore.bytes
  const { fastPath, slowPath } = replica.stats()
  const paths = { fast: fastPath - pathsBefore.fastPath, slow: slowPath - pathsBefore.slowPath }
  return { ...all, ...paths, slowTimes, carried: { frames, bytes } }
}

async function allVote(): Promise<void> {
  for (const { id, role } of replica.members) if (role !== 'voter') await replica.setRole(id, 'voter')
}

const bench: BenchPage = {
  echoesReady: (others) => echoes.open === others,
  allVote,
  echo: (run) => echoes.run(run),
  commands,
}
Object.assign(window, { wepaxos: { replica, room }, bench })
