// A page that connects two ends of a link over real WebRTC, says one thing each way, and closes them, again and again. It
// counts the connections that were made and not closed, and the timers that have neither run nor been taken back.
import { type CreatePeerLink, loadSimplePeerLinks, rtcLinks } from '@wepaxos/webrtc-transport'
import { LinkPair } from './link-pair.ts'

export type LinkKind = 'simple-peer' | 'plain'

export interface LeaksPage {
  /** So many connects and closes, one after the other. Every third link is closed by the end that answered. */
  run(kind: LinkKind, rounds: number): Promise<void>
  /** RTCPeerConnections made so far. */
  readonly made: number
  /** Of those, the ones that were not closed. */
  readonly open: number
  /** setTimeout and setInterval that are still to run. */
  readonly timers: number
}

declare global {
  interface Window {
    leaks?: LeaksPage
  }
}

let made = 0
let open = 0

/** Counts itself. */
class CountedConnection extends RTCPeerConnection {
  #isClosed = false

  constructor(configuration?: RTCConfiguration) {
    super(configuration)
    made += 1
    open += 1
  }

  override close(): void {
    super.close()
    if (!this.#isClosed) open -= 1
    this.#isClosed = true
  }
}

globalThis.RTCPeerConnection = CountedConnection

const timers = new Set<unknown>()
const { setTimeout: startTimer, clearTimeout: stopTimer, setInterval: startInterval } = globalThis

Object.assign(globalThis, {
  setTimeout: (run: (...parameters: unknown[]) => void, delayMs?: number, ...parameters: unknown[]) => {
    const timer = startTimer(() => {
      timers.delete(timer)
      run(...parameters)
    }, delayMs)
    timers.add(timer)
    return timer
  },
  setInterval: (run: (...parameters: unknown[]) => void, delayMs?: number, ...parameters: unknown[]) => {
    const timer = startInterval(run, delayMs, ...parameters)
    timers.add(timer)
    return timer
  },
  // Browsers keep timeouts and intervals in one list, and either function takes both back.
  clearTimeout: (timer: number) => {
    timers.delete(timer)
    stopTimer(timer)
  },
  clearInterval: (timer: number) => {
    timers.delete(timer)
    stopTimer(timer)
  },
})

/** Connects, says one thing each way, closes. */
async function connectAndClose(createLink: CreatePeerLink, closesFirst: 0 | 1): Promise<void> {
  const pair = new LinkPair(createLink, undefined, undefined, {
    start: (run, delayMs) => startTimer(run, delayMs),
    stop: (timer) => stopTimer(timer),
  })
  await pair.open()
  for (const end of pair.ends) end.send(Uint8Array.of(1, 2, 3))
  await pair.heard(1)
  await pair.close(closesFirst)
}

const kinds: Readonly<Record<LinkKind, CreatePeerLink>> = {
  'simple-peer': await loadSimplePeerLinks(),
  plain: rtcLinks(),
}

window.leaks = {
  async run(kind, rounds) {
    for (let round = 0; round < rounds; round += 1) await connectAndClose(kinds[kind], round % 3 === 2 ? 1 : 0)
  },
  get made() {
    return made
  },
  get open() {
    return open
  },
  get timers() {
    return timers.size
  },
}
