// A page that connects two ends of a link over real WebRTC, says one thing each way, and closes them, again and again. It
// counts the connections that were made and not closed, and the timers that have neither run nor been taken back.
import {
  type CreatePeerLink,
  type LinkSignal,
  loadSimplePeerLinks,
  type PeerLink,
  rtcLinks,
} from '@wepaxos/webrtc-transport'

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

/** How long one link may take for anything. */
const patienceMs = 20_000

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

interface Reached {
  open: number
  heard: number
  closed: number
}

/** Both ends of one link, and how far they have come. */
class Ends {
  readonly #links: PeerLink[] = []
  readonly #reached: Reached = { open: 0, heard: 0, closed: 0 }
  #onReached: () => void = () => undefined

  constructor(createLink: CreatePeerLink) {
    const early: LinkSignal[] = []
    for (const index of [0, 1] as const) {
      const link = createLink({
        peer: `end ${1 - index}`,
        initiator: index === 0,
        iceServers: [],
        events: {
          onSignal: (signal) => {
            const other = this.#links[1 - index]
            if (other === undefined) early.push(signal)
            else other.signal(signal)
          },
          onOpen: () => this.#reach('open'),
          onMessage: () => this.#reach('heard'),
          onDrain: () => undefined,
          onClose: () => this.#reach('closed'),
        },
      })
      this.#links.push(link)
    }
    for (const signal of early) this.#links[1]?.signal(signal)
  }

  send(bytes: Uint8Array<ArrayBuffer>): void {
    for (const link of this.#links) link.send(bytes)
  }

  /** Closes one end; the other one is to notice by itself. */
  close(index: 0 | 1): void {
    this.#links[index]?.close('done')
  }

  /** Resolves when both ends have come so far. */
  async both(state: keyof Reached): Promise<void> {
    while (this.#reached[state] < 2) {
      if (state !== 'closed' && this.#reached.closed > 0)
        throw new Error(`a link closed before both ends were ${state}`)
      await new Promise<void>((resolve, reject) => {
        // Not a counted timer: it is the harness's own.
        const deadline = startTimer(
          () => reject(new Error(`not ${state}: ${JSON.stringify(this.#reached)}`)),
          patienceMs,
        )
        this.#onReached = () => {
          stopTimer(deadline)
          resolve()
        }
      })
    }
  }

  #reach(state: keyof Reached): void {
    this.#reached[state] += 1
    this.#onReached()
  }
}

/** Connects, says one thing each way, closes. */
async function connectAndClose(createLink: CreatePeerLink, closesFirst: 0 | 1): Promise<void> {
  const ends = new Ends(createLink)
  await ends.both('open')
  ends.send(Uint8Array.of(1, 2, 3))
  await ends.both('heard')
  ends.close(closesFirst)
  await ends.both('closed')
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
