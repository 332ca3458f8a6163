// A network without a network: transports of one process, for tests, benchmarks and demonstrations. Keeps the contract of
// the port (transport-contract.ts), can be cut and healed, and delivers in order, never within the call that sends.
import { WepaxosError } from '../src/lib/errors.ts'
import type { Value } from '../src/lib/value.ts'
import type { ReplicaId } from '../src/protocol/ids.ts'
import type { Channel, Endpoint, PeerPresence, Presence, Transport } from '../src/runtime/transport.ts'

export interface MemoryNetworkOptions {
  /** The room's name. Default `memory`. */
  readonly room?: string
  /** Runs each delivery, later and in the order of the calls. Default: a microtask each. */
  readonly schedule?: (deliver: () => void) => void
}

export interface MemoryNetwork {
  /** The transport of the page `peer`, the same one for the same name. The first one that is made has founded the room. */
  transport(peer: string): Transport
  /** From now on nothing passes between the two pages, what is on the way included. */
  cut(left: string, right: string): void
  heal(left: string, right: string): void
  /** The page is gone: its replicas and what it shows. */
  close(peer: string): void
}

interface Attached {
  readonly peer: string
  readonly endpoint: Endpoint
  /** Whom the endpoint was told of. */
  readonly connected: Map<ReplicaId, Attached>
}

const presenceBytesMax = 4096

export function createMemoryNetwork(options: MemoryNetworkOptions = {}): MemoryNetwork {
  return new Network(options.room ?? 'memory', options.schedule ?? queueMicrotask)
}

class Network implements MemoryNetwork {
  readonly #room: string
  readonly #schedule: (deliver: () => void) => void
  readonly #transports = new Map<string, MemoryTransport>()
  readonly #attached = new Set<Attached>()
  readonly #cuts = new Set<string>()

  constructor(room: string, schedule: (deliver: () => void) => void) {
    this.#room = room
    this.#schedule = schedule
  }

  transport(peer: string): Transport {
    const known = this.#transports.get(peer)
    if (known !== undefined) return known
    const founded = this.#transports.size === 0
    const presence = new MemoryPresence(
      () => this.#schedule(() => this.#refreshPresence()),
      () => this.#othersOf(peer),
    )
    const transport = new MemoryTransport(this.#room, founded, presence, (endpoint) => this.#attach(peer, endpoint))
    this.#transports.set(peer, transport)
    this.#changed()
    return transport
  }

  cut(left: string, right: string): void {
    this.#cuts.add(pairName(left, right))
    this.#changed()
  }

  heal(left: string, right: string): void {
    this.#cuts.delete(pairName(left, right))
    this.#changed()
  }

  close(peer: string): void {
    for (const attached of [...this.#attached]) {
      if (attached.peer === peer) this.#attached.delete(attached)
    }
    this.#transports.delete(peer)
    this.#changed()
  }

  #attach(peer: string, endpoint: Endpoint): Channel {
    for (const other of this.#attached) {
      if (other.endpoint.partition !== endpoint.partition || other.endpoint.replica !== endpoint.replica) continue
      const problem = `replica ${endpoint.replica} is attached already`
      if (other.peer === peer) throw new WepaxosError('InvalidArgument', problem)
    }
    const self: Attached = { peer, endpoint, connected: new Map() }
    this.#attached.add(self)
    this.#changed()
    return {
      send: (to, frame) => this.#send(self, to, frame),
      queuedBytes: () => 0,
      close: () => {
        if (this.#attached.delete(self)) this.#changed()
      },
    }
  }

  #send(self: Attached, to: ReplicaId, frame: Uint8Array): void {
    const target = self.connected.get(to)
    if (target === undefined || !this.#attached.has(self)) return
    const bytes = frame.slice()
    this.#schedule(() => {
      // Both ends must still be where they were: what was on the way through a cut is lost.
      if (self.connected.get(to) !== target || target.connected.get(self.endpoint.replica) !== self) return
      if (this.#attached.has(target)) target.endpoint.onFrame(self.endpoint.replica, bytes)
    })
  }

  #changed(): void {
    this.#schedule(() => {
      for (const self of [...this.#attached]) this.#tell(self)
      this.#refreshPresence()
    })
  }

  /** Tells one endpoint what is new since it was told last. */
  #tell(self: Attached): void {
    const { connected, endpoint } = self
    const reachable = new Map<ReplicaId, Attached>()
    for (const other of this.#attached) {
      if (other.endpoint.partition !== endpoint.partition || other.endpoint.replica === endpoint.replica) continue
      // Of two pages with the same replica the later one counts.
      if (!this.#isCut(self.peer, other.peer)) reachable.set(other.endpoint.replica, other)
    }
    for (const [replica, other] of [...connected]) {
      if (reachable.get(replica) === other) continue
      connected.delete(replica)
      if (this.#attached.has(self)) endpoint.onDisconnected(replica)
    }
    for (const [replica, other] of reachable) {
      if (connected.has(replica) || !this.#attached.has(self)) continue
      connected.set(replica, other)
      endpoint.onConnected(replica)
    }
  }

  #isCut(left: string, right: string): boolean {
    return this.#cuts.has(pairName(left, right))
  }

  #refreshPresence(): void {
    for (const { presence } of this.#transports.values()) presence.refresh()
  }

  #othersOf(peer: string): readonly PeerPresence[] {
    const others: PeerPresence[] = []
    for (const [name, { presence }] of this.#transports) {
      if (name === peer || presence.self === null || this.#isCut(name, peer)) continue
      const attached = [...this.#attached].filter((candidate) => candidate.peer === name)
      others.push({ peer: name, replicas: attached.map(({ endpoint }) => endpoint.replica), state: presence.self })
    }
    return others
  }
}

class MemoryTransport implements Transport {
  readonly room: string
  readonly founded: boolean
  readonly presence: MemoryPresence
  readonly #attach: (endpoint: Endpoint) => Channel

  constructor(room: string, founded: boolean, presence: MemoryPresence, attach: (endpoint: Endpoint) => Channel) {
    this.room = room
    this.founded = founded
    this.presence = presence
    this.#attach = attach
  }

  attach(endpoint: Endpoint): Channel {
    return this.#attach(endpoint)
  }
}

class MemoryPresence implements Presence {
  readonly #changed: () => void
  readonly #readOthers: () => readonly PeerPresence[]
  readonly #listeners = new Set<() => void>()
  #self: Value = null
  #others: readonly PeerPresence[] = []
  #othersText = '[]'

  constructor(changed: () => void, readOthers: () => readonly PeerPresence[]) {
    this.#changed = changed
    this.#readOthers = readOthers
  }

  get self(): Value {
    return this.#self
  }

  get others(): readonly PeerPresence[] {
    return this.#others
  }

  set(state: Value): void {
    const text = JSON.stringify(state)
    const { length } = new TextEncoder().encode(text)
    if (length > presenceBytesMax) {
      const problem = `a presence state has at most ${presenceBytesMax} bytes as JSON, not ${length}`
      throw new WepaxosError('InvalidArgument', problem)
    }
    this.#self = JSON.parse(text)
    this.#tell()
    this.#changed()
  }

  subscribe(listener: () => void): () => void {
    const entry = () => listener()
    this.#listeners.add(entry)
    return () => this.#listeners.delete(entry)
  }

  refresh(): void {
    const others = this.#readOthers()
    const text = JSON.stringify(others)
    if (text === this.#othersText) return
    this.#others = others
    this.#othersText = text
    this.#tell()
  }

  #tell(): void {
    for (const listener of [...this.#listeners]) listener()
  }
}

function pairName(left: string, right: string): string {
  return JSON.stringify([left, right].sort())
}
