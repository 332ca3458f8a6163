// The network of the stories: a Transport for each process over links without dice. Every message takes the same time, travels
// in a frame of its own (so that one of a kind can be told from another), and can be shown, held back or lost by its type.

import type { World } from '../sim/world.ts'
import { Reader } from '../src/codec/bytes.ts'
import { controlEpoch, readControlMessage, readFrameHead, readMessage } from '../src/codec/message.ts'
import type { Epoch, ReplicaId } from '../src/protocol/ids.ts'
import type { Channel, Endpoint, Presence, Transport } from '../src/runtime/transport.ts'
import { type LinkPattern, matchesLink, matchesType, type Sent, type Words } from './words.ts'

/** What happens to messages of these types on these links, until the rule is taken back. */
export interface Rule {
  readonly verb: 'hold' | 'lose'
  readonly types: readonly string[] | 'all'
  readonly link: LinkPattern
}

interface Attached {
  readonly process: string
  readonly endpoint: Endpoint
  alive: boolean
  readonly connected: Set<Attached>
}

interface Parcel {
  readonly from: Attached
  readonly to: Attached
  readonly type: string
  readonly frame: Uint8Array
}

export interface NetworkListener {
  /** The voters of an epoch: messages name them by row. */
  votersOf(epoch: Epoch): readonly ReplicaId[]
  words(voters: readonly ReplicaId[]): Words
  /** Whether messages of the type are to be shown: only then they are put into words. */
  shows(type: string): boolean
  onMessage(sent: Sent): void
}

const delayMs = 1

const noPresence: Presence = { self: null, others: [], set() {}, subscribe: () => () => {} }

export class StoryNetwork {
  readonly #world: World
  readonly #listener: NetworkListener
  readonly #attached: Attached[] = []
  readonly #cuts = new Set<string>()
  readonly #slow = new Map<string, number>()
  #rules: Rule[] = []
  #held: Parcel[] = []

  constructor(world: World, listener: NetworkListener) {
    this.#world = world
    this.#listener = listener
  }

  transport(process: string, founded: boolean): Transport {
    return {
      room: 'story',
      founded,
      presence: noPresence,
      attach: (endpoint) => this.#attach(process, endpoint),
    }
  }

  /** Messages that are held back now. */
  get held(): number {
    return this.#held.length
  }

  add(rule: Rule): void {
    this.#rules.push(rule)
  }

  /** No message is held back or lost any more; what was held goes on its way. */
  release(): void {
    this.#rules = []
    for (const parcel of this.#held.splice(0)) this.#carry(parcel)
  }

  /** New messages go through again; what was held back stays behind. */
  letThrough(): void {
    this.#rules = []
  }

  /** What was held back is lost; the rules stay. */
  discard(): void {
    this.#held = []
  }

  cut(a: string, b: string): void {
    this.#cuts.add(pair(a, b))
    this.#settleAll()
  }

  mend(): void {
    this.#cuts.clear()
    this.#settleAll()
  }

  /** All that goes to or from the process takes so long from now on. */
  delay(process: string, ms: number): void {
    this.#slow.set(process, ms)
  }

  detach(process: string): void {
    for (const attached of this.#attached) {
      if (attached.process !== process || !attached.alive) continue
      attached.alive = false
      for (const other of this.#attached) this.#settle(attached, other)
    }
  }

  #attach(process: string, endpoint: Endpoint): Channel {
    const attached: Attached = { process, endpoint, alive: true, connected: new Set() }
    this.#attached.push(attached)
    for (const other of this.#attached) this.#settle(attached, other)
    return {
      send: (to, frame) => this.#send(attached, to, frame),
      queuedBytes: () => 0,
      close: () => this.detach(process),
    }
  }

  #settleAll(): void {
    for (const one of this.#attached) for (const other of this.#attached) this.#settle(one, other)
  }

  /** Tells both ends, a moment later, whether they can reach each other. */
  #settle(one: Attached, other: Attached): void {
    if (one === other) return
    this.#world.at(delayMs, () => {
      this.#tell(one, other)
      this.#tell(other, one)
    })
  }

  #tell(one: Attached, other: Attached): void {
    const linked = one.alive && other.alive && !this.#cuts.has(pair(one.process, other.process))
    if (linked === one.connected.has(other)) return
    if (linked) {
      // a process that came back: its earlier life is taken leave of first
      for (const earlier of one.connected) {
        if (earlier.endpoint.replica === other.endpoint.replica) this.#tell(one, earlier)
      }
      one.connected.add(other)
    } else one.connected.delete(other)
    if (!one.alive) return
    if (linked) one.endpoint.onConnected(other.endpoint.replica)
    else one.endpoint.onDisconnected(other.endpoint.replica)
  }

  #send(from: Attached, replica: ReplicaId, frame: Uint8Array): void {
    if (!from.alive) return
    const to = [...from.connected].find((other) => other.endpoint.replica === replica)
    if (to === undefined) return
    for (const { type, text, bytes } of this.#split(frame)) {
      const parcel: Parcel = { from, to, type, frame: bytes }
      const rule = this.#rules.find(
        ({ types, link }) =>
          (types === 'all' || types.some((named) => matchesType(named, type))) &&
          matchesLink(link, from.process, to.process),
      )
      const note = rule === undefined ? '' : rule.verb === 'hold' ? '  (held back)' : '  (lost)'
      if (text !== null) this.#listener.onMessage({ from: from.process, to: to.process, text, note })
      if (rule === undefined) this.#carry(parcel)
      else if (rule.verb === 'hold') this.#held.push(parcel)
    }
  }

  /** The messages of a frame, each with its words and as a frame of its own. */
  #split(frame: Uint8Array): { readonly type: string; readonly text: string | null; readonly bytes: Uint8Array }[] {
    const reader = new Reader(frame)
    const { epoch } = readFrameHead(reader)
    const head = frame.subarray(0, reader.offset)
    const voters = epoch === controlEpoch ? [] : this.#listener.votersOf(epoch)
    const words = this.#listener.words(voters)
    const parts: { type: string; text: string | null; bytes: Uint8Array }[] = []
    while (reader.remaining > 0) {
      const start = reader.offset
      const part: { type: string; text: string | null } = { type: '', text: null }
      if (epoch === controlEpoch) {
        const message = readControlMessage(reader)
        part.type = message.type
        if (this.#listener.shows(message.type)) part.text = words.control(message)
      } else {
        const message = readMessage(reader, voters)
        part.type = message.type
        if (this.#listener.shows(message.type)) part.text = words.message(message)
      }
      const body = frame.subarray(start, reader.offset)
      const bytes = new Uint8Array(head.length + body.length)
      bytes.set(head)
      bytes.set(body, head.length)
      parts.push({ ...part, bytes })
    }
    return parts
  }

  #carry({ from, to, frame }: Parcel): void {
    const slow = Math.max(this.#slow.get(from.process) ?? delayMs, this.#slow.get(to.process) ?? delayMs)
    this.#world.at(slow, () => {
      if (to.alive && to.connected.has(from)) to.endpoint.onFrame(from.endpoint.replica, frame)
    })
  }
}

function pair(a: string, b: string): string {
  return a < b ? `${a}|${b}` : `${b}|${a}`
}
