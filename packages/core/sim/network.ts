// A simulated network: a Transport for each process, over links that lose, repeat, delay and reorder frames, and break.
// Rougher than the port promises, for the protocol itself has to stand it.
import type { Random } from '../src/lib/random.ts'
import type { ReplicaId } from '../src/protocol/ids.ts'
import type { Channel, Endpoint, Presence, Transport } from '../src/runtime/transport.ts'
import type { World } from './world.ts'

export interface NetworkFaults {
  /** Probability that a frame is lost. */
  loss: number
  /** Probability that a frame comes twice. */
  duplication: number
  /** Longest delay of a frame; different delays reorder. */
  delayMaxMs: number
}

/** Who looks on, and may break off at each call of the port. */
export interface NetworkObserver {
  /** Called with each frame, before it is on its way and after. */
  onFrame(process: string, frame: Uint8Array, when: 'leaves' | 'left'): void
}

interface Attached {
  readonly process: string
  readonly endpoint: Endpoint
  alive: boolean
  /** Whom it was told that it can reach, by replica. */
  readonly connected: Map<ReplicaId, Attached>
}

const noPresence: Presence = {
  self: null,
  others: [],
  set() {},
  subscribe: () => () => {},
}

/** How long it may take until an end of a link hears that it broke, or came. */
const noticeMaxMs = 20

export class SimulatedNetwork {
  readonly #world: World
  readonly #random: Random
  readonly #observer: NetworkObserver | undefined
  readonly faults: NetworkFaults
  #attached: Attached[] = []
  /** Directed `from>to`: frames are swallowed, without anybody being told. */
  readonly #silentCuts = new Set<string>()
  /** Undirected `a|b`: the link is down, and both ends are told. */
  readonly #cuts = new Set<string>()
  frames = 0
  lost = 0

  constructor(world: World, faults: NetworkFaults, observer?: NetworkObserver) {
    this.#world = world
    this.#random = world.random.fork()
    this.faults = faults
    this.#observer = observer
  }

  transport(process: string, founded: boolean): Transport {
    return {
      room: 'simulated',
      founded,
      presence: noPresence,
      attach: (endpoint) => this.#attach(process, endpoint),
    }
  }

  #attach(process: string, endpoint: Endpoint): Channel {
    const attached: Attached = { process, endpoint, alive: true, connected: new Map() }
    // who died, and is known to be dead, is past
    this.#attached = this.#attached.filter((one) => one.alive || this.#isConnected(one))
    this.#attached.push(attached)
    for (const other of this.#attached) this.#settle(attached, other)
    return {
      send: (to, frame) => this.#send(attached, to, frame),
      queuedBytes: () => 0,
      close: () => this.#detach(attached),
    }
  }

  #isConnected(dead: Attached): boolean {
    return this.#attached.some((other) => other.connected.get(dead.endpoint.replica) === dead)
  }

  /** The process is gone: its peers notice after a while. */
  detach(process: string): void {
    for (const attached of this.#attached) if (attached.process === process) this.#detach(attached)
  }

  #detach(attached: Attached): void {
    if (!attached.alive) return
    attached.alive = false
    for (const other of this.#attached) this.#settle(attached, other)
  }

  /** Breaks the link; both ends hear of it. */
  cut(a: string, b: string): void {
    this.#cuts.add(pair(a, b))
    this.#settlePair(a, b)
  }

  mend(a: string, b: string): void {
    this.#cuts.delete(pair(a, b))
    this.#settlePair(a, b)
  }

  /** Frames one way get lost from now on, and nobody is told. */
  cutSilently(from: string, to: string): void {
    this.#silentCuts.add(`${from}>${to}`)
  }

  mendSilently(from: string, to: string): void {
    this.#silentCuts.delete(`${from}>${to}`)
  }

  healAll(): void {
    this.#cuts.clear()
    this.#silentCuts.clear()
    for (const [at, one] of this.#attached.entries()) {
      for (const other of this.#attached.slice(at + 1)) this.#settle(one, other)
    }
  }

  #settlePair(a: string, b: string): void {
    for (const one of this.#attached) {
      if (one.process === a) for (const other of this.#attached) if (other.process === b) this.#settle(one, other)
    }
  }

  /** Tells both ends, some time later, whether they can reach each other. */
  #settle(one: Attached, other: Attached): void {
    if (one === other || (this.#isTold(one, other) && this.#isTold(other, one))) return
    this.#world.at(this.#random.next() * noticeMaxMs, () => {
      this.#tell(one, other)
      this.#tell(other, one)
    })
  }

  #linked(one: Attached, other: Attached): boolean {
    return one.alive && other.alive && !this.#cuts.has(pair(one.process, other.process))
  }

  /** Whether `one` knows how it stands with `other`. */
  #isTold(one: Attached, other: Attached): boolean {
    return this.#linked(one, other) === (one.connected.get(other.endpoint.replica) === other)
  }

  #tell(one: Attached, other: Attached): void {
    if (this.#isTold(one, other)) return
    const { replica } = other.endpoint
    if (!this.#linked(one, other)) {
      one.connected.delete(replica)
      if (one.alive) one.endpoint.onDisconnected(replica)
      return
    }
    // a replica that came back: its earlier life is taken leave of first
    if (one.connected.delete(replica)) one.endpoint.onDisconnected(replica)
    if (!this.#linked(one, other)) return
    one.connected.set(replica, other)
    one.endpoint.onConnected(replica)
  }

  #send(from: Attached, to: ReplicaId, frame: Uint8Array): void {
    if (!from.alive) return
    this.#observer?.onFrame(from.process, frame, 'leaves')
    const target = from.connected.get(to)
    if (!from.alive || target === undefined) return
    this.frames++
    if (
      this.#random.chance(this.faults.loss) ||
      this.#silentCuts.has(`${from.process}>${target.process}`) ||
      this.#cuts.has(pair(from.process, target.process))
    ) {
      this.lost++
    } else {
      const copies = this.#random.chance(this.faults.duplication) ? 2 : 1
      for (let copy = 0; copy < copies; copy++) {
        this.#world.at(0.2 + this.#random.next() * this.faults.delayMaxMs, () => {
          const { replica } = from.endpoint
          if (target.alive && target.connected.get(replica) === from) target.endpoint.onFrame(replica, frame)
        })
      }
    }
    this.#observer?.onFrame(from.process, frame, 'left')
  }
}

function pair(a: string, b: string): string {
  return a < b ? `${a}|${b}` : `${b}|${a}`
}
