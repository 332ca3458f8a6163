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

interface Attached {
  readonly process: string
  readonly endpoint: Endpoint
  alive: boolean
  /** Whom it was told that it can reach. */
  readonly connected: Set<Attached>
}

const noPresence: Presence = {
  self: null,
  others: [],
  set() {},
  subscribe: () => () => {},
}

export class SimulatedNetwork {
  readonly #world: World
  readonly #random: Random
  readonly faults: NetworkFaults
  readonly #attached: Attached[] = []
  /** Directed: `from>to` frames are swallowed, without anybody being told. */
  readonly #silentCuts = new Set<string>()
  /** Undirected `a|b`: the link is down, and both ends are told. */
  readonly #cuts = new Set<string>()
  frames = 0
  lost = 0

  constructor(world: World, faults: NetworkFaults) {
    this.#world = world
    this.#random = world.random.fork()
    this.faults = faults
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
    const attached: Attached = { process, endpoint, alive: true, connected: new Set() }
    this.#attached.push(attached)
    for (const other of this.#attached) this.#settle(attached, other)
    return {
      send: (to, frame) => this.#send(attached, to, frame),
      queuedBytes: () => 0,
      close: () => this.detach(process),
    }
  }

  /** The process is gone: its peers notice after a while. */
  detach(process: string): void {
    for (const attached of this.#attached) {
      if (attached.process !== process || !attached.alive) continue
      attached.alive = false
      for (const other of this.#attached) this.#settle(attached, other)
    }
  }

  cut(a: string, b: string): void {
    this.#cuts.add(pair(a, b))
    this.#settleAll()
  }

  cutSilently(from: string, to: string): void {
    this.#silentCuts.add(`${from}>${to}`)
  }

  healAll(): void {
    this.#cuts.clear()
    this.#silentCuts.clear()
    this.#settleAll()
  }

  #settleAll(): void {
    for (const one of this.#attached) for (const other of this.#attached) this.#settle(one, other)
  }

  /** Tells both ends, some time later, whether they can reach each other. */
  #settle(one: Attached, other: Attached): void {
    if (one === other) return
    this.#world.at(this.#random.next() * 20, () => {
      this.#tell(one, other)
      this.#tell(other, one)
    })
  }

  #linked(one: Attached, other: Attached): boolean {
    return one.alive && other.alive && !this.#cuts.has(pair(one.process, other.process))
  }

  #tell(one: Attached, other: Attached): void {
    const linked = this.#linked(one, other)
    if (linked === one.connected.has(other)) return
    if (linked) {
      // a replica that came back: its earlier life is taken leave of first
      for (const earlier of one.connected) {
        if (earlier.endpoint.replica === other.endpoint.replica) this.#tell(one, earlier)
      }
    }
    if (linked) one.connected.add(other)
    else one.connected.delete(other)
    if (!one.alive) return
    if (linked) one.endpoint.onConnected(other.endpoint.replica)
    else one.endpoint.onDisconnected(other.endpoint.replica)
  }

  #send(from: Attached, to: ReplicaId, frame: Uint8Array): void {
    if (!from.alive) return
    const target = [...from.connected].find((other) => other.endpoint.replica === to)
    if (target === undefined) return
    this.frames++
    if (this.#random.chance(this.faults.loss) || this.#silentCuts.has(`${from.process}>${target.process}`)) {
      this.lost++
      return
    }
    const copies = this.#random.chance(this.faults.duplication) ? 2 : 1
    for (let copy = 0; copy < copies; copy++) {
      this.#world.at(0.2 + this.#random.next() * this.faults.delayMaxMs, () => {
        if (target.alive && target.connected.has(from)) target.endpoint.onFrame(from.endpoint.replica, frame)
      })
    }
  }
}

function pair(a: string, b: string): string {
  return a < b ? `${a}|${b}` : `${b}|${a}`
}
