// One open link with its framing, its queue, its liveness and its faults. It ends with the link; a new link to the same
// peer is a new session. Who is attached at the other end is kept in attachments.ts.
import type { Clock } from './clock.ts'
import { type ControlMessage, decodeControlMessage, encodeControlMessage } from './control-message.ts'
import type { LinkFault } from './faults.ts'
import {
  FrameReader,
  FrameWriter,
  type FramingLimits,
  type Lane,
  type LinkMessage,
  queuedOverheadBytes,
} from './framing.ts'
import type { ProvenPeer } from './link-proof.ts'
import type { PeerLink } from './peer-link.ts'

export const controlChannel = 0
export const presenceChannel = 1
/** Attached replicas are numbered from here; what lies below is for the room itself. */
export const firstReplicaChannel = 16

const settled = Promise.resolve()

export interface Liveness {
  /** Between two pings. Default 2,000. */
  readonly pingIntervalMs: number
  /** A link that was silent for so many intervals in a row is dead. Default 3. */
  readonly silentIntervalsMax: number
}

export interface SessionLimits extends FramingLimits {
  /** A peer for which more than this waits is dropped; it catches up over the next link. Default 64 MiB. */
  readonly queueBytesMax: number
}

export interface LinkSessionEvents {
  onControl(session: LinkSession, message: ControlMessage): void
  onMessage(session: LinkSession, message: LinkMessage): void
  /** A pong came: the peer is alive, and `rttMs` is new. */
  onAlive(session: LinkSession): void
  /** Bytes that are not ours came; the session is closing. */
  onGarbage(session: LinkSession, reason: string): void
}

export interface LinkSessionOptions {
  readonly peer: string
  /** What the other end has proven about itself. */
  readonly proven: ProvenPeer
  readonly link: PeerLink
  readonly clock: Clock
  readonly liveness: Liveness
  readonly limits: SessionLimits
  readonly fault: () => LinkFault
  readonly events: LinkSessionEvents
}

export class LinkSession {
  readonly peer: string
  readonly proven: ProvenPeer
  readonly #options: LinkSessionOptions
  readonly #writer = new FrameWriter()
  readonly #reader: FrameReader
  #state: 'open' | 'closed' = 'open'
  #flushing = false
  #heard = true
  #silentIntervals = 0
  #lastTickMs: number
  #cancelTick: () => void = () => undefined
  #pingId = 0
  #pingSentMs = 0
  #rttMs: number | null = null
  #sentBytes = 0
  #receivedBytes = 0
  /** What waits for its time because of a fault, by lane, and when the last of each lane is due. */
  readonly #delayed: Readonly<Record<Lane, LinkMessage[]>> = { control: [], normal: [], bulk: [] }
  readonly #lastDueMs: Record<Lane, number> = { control: 0, normal: 0, bulk: 0 }
  #delayedBytes = 0
  /** The peer's latest ping, while it is not answered. One: who asks without end and reads nothing is to pile up nothing. */
  #askedId: number | undefined

  constructor(options: LinkSessionOptions) {
    this.peer = options.peer
    this.proven = options.proven
    this.#options = options
    this.#reader = new FrameReader(options.limits)
    this.#lastTickMs = options.clock.now()
    this.#scheduleTick()
    this.#ping()
  }

  get isOpen(): boolean {
    return this.#state === 'open'
  }

  /** The last measured round trip; null before the first pong. */
  get rttMs(): number | null {
    return this.#rttMs
  }

  get sentBytes(): number {
    return this.#sentBytes
  }

  get receivedBytes(): number {
    return this.#receivedBytes
  }

  /** All that was given to `send` and has not left the page, with some overhead for each message. */
  get queuedBytes(): number {
    return this.isOpen ? this.#delayedBytes + this.#writer.queuedBytes + this.#options.link.bufferedBytes : 0
  }

  /** Queues one message of a replica, or of the room; it leaves with all that is queued in the same turn. */
  send(message: LinkMessage, lane: Lane): void {
    if (!this.isOpen) return
    const fault = this.#options.fault()
    if (message.channel < firstReplicaChannel) {
      this.#enqueue(message, lane)
    } else if (!this.#drops(fault)) {
      const isBehind = this.#delayed[lane].length > 0
      if (fault.delayMs === undefined && !isBehind) this.#enqueue(message, lane)
      else this.#delay(message, lane, fault.delayMs ?? 0)
    }
  }

  sendControl(message: ControlMessage): void {
    this.send(controlMessage(message), 'control')
  }

  /** Hands what is queued to the link at once: for a page that is about to go. */
  flush(): void {
    const { link } = this.#options
    while (this.isOpen && link.writable) {
      if (this.#askedId !== undefined)
        this.#writer.enqueue(controlMessage({ type: 'pong', id: this.#askedId }), 'control')
      this.#askedId = undefined
      const frame = this.#writer.next()
      if (frame === undefined) return
      if (this.#options.fault().cut === true) continue
      this.#sentBytes += frame.length
      link.send(frame)
    }
  }

  /** One frame from the link. */
  receive(frame: Uint8Array): void {
    if (!this.isOpen || this.#options.fault().cut === true) return
    this.#receivedBytes += frame.length
    this.#heard = true
    const result = this.#reader.read(frame)
    if (!result.ok) {
      this.#refuse(result.reason)
      return
    }
    for (const message of result.messages) {
      if (!this.isOpen) return
      if (message.channel === controlChannel) this.#onControl(message.bytes)
      else this.#options.events.onMessage(this, message)
    }
  }

  /** Asks the peer for a sign of life now, after sleep or a change of network, and waits for it one or two intervals. */
  recheck(): void {
    if (!this.isOpen) return
    this.#lastTickMs = this.#options.clock.now()
    this.#heard = false
    this.#silentIntervals = Math.max(0, this.#options.liveness.silentIntervalsMax - 2)
    this.#ping()
  }

  /** Closes the link. The link's onClose tells the rest of the room. */
  close(reason: string): void {
    if (!this.isOpen) return
    this.ended()
    this.#options.link.close(reason)
  }

  /** The link has closed. */
  ended(): void {
    this.#state = 'closed'
    this.#cancelTick()
  }

  #enqueue(message: LinkMessage, lane: Lane): void {
    if (!this.isOpen) return
    if (this.queuedBytes > this.#options.limits.queueBytesMax) {
      this.close('more is queued than the peer takes')
      return
    }
    this.#writer.enqueue(message, lane)
    this.#flushSoon()
  }

  #flushSoon(): void {
    if (this.#flushing) return
    this.#flushing = true
    // At the end of this turn, not later: a timer would add its delay to every round trip. (A promise's reaction costs a
    // browser far less than queueMicrotask.)
    void settled.then(() => {
      this.#flushing = false
      this.flush()
    })
  }

  #delay(message: LinkMessage, lane: Lane, delayMs: number): void {
    const { clock } = this.#options
    const waiting = this.#delayed[lane]
    waiting.push(message)
    this.#delayedBytes += message.bytes.length + queuedOverheadBytes
    // Never ahead of what was sent before it under a longer delay. Each timer lets the first one go, not its own: timers for
    // one time may run in any order.
    this.#lastDueMs[lane] = Math.max(this.#lastDueMs[lane], clock.now() + delayMs)
    clock.after(this.#lastDueMs[lane] - clock.now(), () => {
      const first = waiting.shift()
      if (first === undefined) return
      this.#delayedBytes -= first.bytes.length + queuedOverheadBytes
      this.#enqueue(first, lane)
    })
  }

  #drops(fault: LinkFault): boolean {
    return fault.dropProbability !== undefined && this.#options.clock.random() < fault.dropProbability
  }

  #onControl(bytes: Uint8Array): void {
    const message = decodeControlMessage(bytes)
    if (message === undefined) {
      this.#refuse('a control message that is none')
    } else if (message.type === 'ping') {
      this.#askedId = message.id
      this.#flushSoon()
    } else if (message.type === 'pong') {
      if (message.id !== this.#pingId) return
      this.#rttMs = this.#options.clock.now() - this.#pingSentMs
      this.#options.events.onAlive(this)
    } else {
      this.#options.events.onControl(this, message)
    }
  }

  #refuse(reason: string): void {
    this.#options.events.onGarbage(this, reason)
    this.close(reason)
  }

  #ping(): void {
    this.#pingId += 1
    this.#pingSentMs = this.#options.clock.now()
    this.sendControl({ type: 'ping', id: this.#pingId })
  }

  #scheduleTick(): void {
    this.#cancelTick = this.#options.clock.after(this.#options.liveness.pingIntervalMs, () => this.#tick())
  }

  #tick(): void {
    if (!this.isOpen) return
    const { liveness, clock } = this.#options
    const now = clock.now()
    // A page that slept, or whose timers are slowed down because it is hidden, knows nothing about the silence.
    const late = now - this.#lastTickMs > 2 * liveness.pingIntervalMs
    this.#lastTickMs = now
    this.#silentIntervals = this.#heard || late ? 0 : this.#silentIntervals + 1
    this.#heard = false
    if (this.#silentIntervals >= liveness.silentIntervalsMax) {
      this.close('the peer is silent')
      return
    }
    this.#ping()
    this.#scheduleTick()
  }
}

function controlMessage(message: ControlMessage): LinkMessage {
  return { channel: controlChannel, sender: controlChannel, bytes: encodeControlMessage(message) }
}
