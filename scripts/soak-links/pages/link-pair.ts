// Both ends of one link, in one page: what one end signals, the other one takes.
import type { CreatePeerLink, LinkSignal, PeerLink } from '@wepaxos/webrtc-transport'

/** Waiting, not of the page that is looked at: its own timers may be counted. */
export interface Waiting {
  readonly start: (run: () => void, delayMs: number) => ReturnType<typeof setTimeout>
  readonly stop: (timer: ReturnType<typeof setTimeout>) => void
}

/** How many of the two ends have come so far. */
interface Reached {
  open: number
  closed: number
}

/** How long one link may take for anything. */
const patienceMs = 20_000
const waitingOfPage: Waiting = {
  start: (run, delayMs) => setTimeout(run, delayMs),
  stop: (timer) => clearTimeout(timer),
}

export class LinkPair {
  /** The end that makes the offer first. */
  readonly ends: readonly [PeerLink, PeerLink]
  readonly #waiting: Waiting
  readonly #reached: Reached = { open: 0, closed: 0 }
  #heard: [number, number] = [0, 0]
  #onChange: () => void = () => undefined

  /** `onMessage`: what the end of that index hears. */
  constructor(
    createLink: CreatePeerLink,
    onMessage: (index: 0 | 1, bytes: Uint8Array) => void = () => undefined,
    onDrain: (index: 0 | 1) => void = () => undefined,
    waiting: Waiting = waitingOfPage,
  ) {
    this.#waiting = waiting
    const made: PeerLink[] = []
    const early: [0 | 1, LinkSignal][] = []
    const end = (index: 0 | 1) =>
      createLink({
        peer: `end ${1 - index}`,
        initiator: index === 0,
        iceServers: [],
        events: {
          onSignal: (signal) => {
            const to = index === 0 ? 1 : 0
            const other = made[to]
            if (other === undefined) early.push([to, signal])
            else other.signal(signal)
          },
          onOpen: () => this.#reach('open'),
          onMessage: (bytes) => {
            this.#heard[index] += 1
            onMessage(index, bytes)
            this.#onChange()
          },
          onDrain: () => onDrain(index),
          onClose: () => this.#reach('closed'),
        },
      })
    const ends = [end(0), end(1)] as const
    made.push(...ends)
    this.ends = ends
    for (const [index, signal] of early) ends[index].signal(signal)
  }

  open(): Promise<void> {
    return this.#until('open', () => this.#reached.open === 2)
  }

  /** Both ends have heard at least so many messages. */
  heard(count: number): Promise<void> {
    return this.#until(`heard ${count}`, () => this.#heard.every((heard) => heard >= count))
  }

  /** One end closes; resolves when the other one has noticed by itself. */
  async close(index: 0 | 1): Promise<void> {
    this.ends[index].close('done')
    await this.#until('closed', () => this.#reached.closed === 2)
  }

  async #until(what: string, isSo: () => boolean): Promise<void> {
    while (!isSo()) {
      const state = JSON.stringify({ ...this.#reached, heard: this.#heard })
      if (what !== 'closed' && this.#reached.closed > 0)
        throw new Error(`a link closed before it was ${what}: ${state}`)
      await new Promise<void>((resolve, reject) => {
        const deadline = this.#waiting.start(() => reject(new Error(`a link is not ${what}: ${state}`)), patienceMs)
        this.#onChange = () => {
          this.#waiting.stop(deadline)
          resolve()
        }
      })
    }
  }

  #reach(state: keyof Reached): void {
    this.#reached[state] += 1
    this.#onChange()
  }
}
