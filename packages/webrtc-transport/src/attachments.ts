// Which replicas are attached here, which ones the peers have announced over their links, and what the port's endpoints
// hear of that. Local endpoints of one partition reach each other without a link.
//
// A replica is its first claimant's: as long as a link of the identity that announced it first goes on announcing it,
// nobody else speaks for it. What another identity announces meanwhile waits, unheard, until the first one is gone: a page
// that was reloaded has a new key, and may be back before the old link is known to be dead.
import { type Channel, type Endpoint, type ReplicaId, WepaxosError } from '@wepaxos/core'
import { type ControlMessage, partitionLengthMax } from './control-message.ts'
import { firstReplicaChannel, type LinkSession } from './link-session.ts'

/** A replica that is attached at the other end of a link. */
interface Claim {
  readonly kind: 'claim'
  readonly session: LinkSession
  readonly channel: number
  readonly partition: string
  readonly replica: ReplicaId
  readonly sinceMs: number
}

interface Local {
  readonly kind: 'local'
  readonly channel: number
  readonly endpoint: Endpoint
  readonly sinceMs: number
  /** Whom the endpoint was told of, and the way there. */
  readonly connected: Map<ReplicaId, Claim | Local>
}

const claimsMax = 256

export class Attachments {
  readonly #messageBytesMax: number
  /** This page holds the voter's secret. */
  readonly #mayVote: boolean
  readonly #onSpoofed: (session: LinkSession, replica: ReplicaId) => void
  /** Of each announced replica its claims. It belongs to the identity of the first one. */
  readonly #claimants = new Map<string, Claim[]>()
  readonly #locals = new Map<number, Local>()
  readonly #claims = new Map<LinkSession, Map<number, Claim>>()
  #nextChannel = firstReplicaChannel
  #reconciling = false
  #closed = false

  /** `onSpoofed`: a link announced a replica that another identity speaks for, or this page itself. */
  constructor(
    messageBytesMax: number,
    mayVote: boolean,
    onSpoofed: (session: LinkSession, replica: ReplicaId) => void,
  ) {
    this.#messageBytesMax = messageBytesMax
    this.#mayVote = mayVote
    this.#onSpoofed = onSpoofed
  }

  attach(endpoint: Endpoint): Channel {
    if (this.#closed) throw new WepaxosError('Closed', 'this room is closed: nothing can be attached to it')
    const { partition, replica } = endpoint
    if (partition.length > partitionLengthMax) {
      throw new WepaxosError('InvalidArgument', `a partition's name has at most ${partitionLengthMax} characters`)
    }
    for (const { endpoint: other } of this.#locals.values()) {
      if (other.partition !== partition || other.replica !== replica) continue
      throw new WepaxosError('InvalidArgument', `replica ${replica} is attached already`, { partition })
    }
    const local: Local = {
      kind: 'local',
      channel: this.#nextChannel,
      endpoint,
      sinceMs: Date.now(),
      connected: new Map(),
    }
    this.#nextChannel += 1
    this.#locals.set(local.channel, local)
    for (const session of this.#claims.keys()) session.sendControl(attachMessage(local))
    this.#reconcileSoon()
    return {
      send: (to, frame, priority) => this.#send(local, to, frame, priority ?? 'normal'),
      queuedBytes: (to) => {
        const route = local.connected.get(to)
        return route?.kind === 'claim' ? route.session.queuedBytes : 0
      },
      close: () => this.#detach(local),
    }
  }

  /** The replicas that are attached at the other end of a link. */
  replicasOf(session: LinkSession): readonly { readonly partition: string; readonly replica: ReplicaId }[] {
    const claims = this.#claims.get(session)
    if (claims === undefined) return []
    const believed = [...claims.values()].filter((claim) => this.#isBelieved(claim))
    return believed.map(({ partition, replica }) => ({ partition, replica }))
  }

  linkOpened(session: LinkSession): void {
    this.#claims.set(session, new Map())
    for (const local of this.#locals.values()) session.sendControl(attachMessage(local))
  }

  linkClosed(session: LinkSession): void {
    for (const claim of this.#claims.get(session)?.values() ?? []) this.#withdraw(claim)
    this.#claims.delete(session)
    this.#reconcileSoon()
  }

  /** False: the peer broke the rules, and its link should be closed. */
  announced(session: LinkSession, message: Extract<ControlMessage, { type: 'attach' | 'detach' }>): boolean {
    const claims = this.#claims.get(session)
    if (claims === undefined) return true
    if (message.type === 'detach') {
      const claim = claims.get(message.channel)
      if (claim !== undefined) this.#withdraw(claim)
      claims.delete(message.channel)
    } else {
      if (claims.size >= claimsMax || claims.has(message.channel)) return false
      const { channel, partition, replica, sinceMs } = message
      const claim: Claim = { kind: 'claim', session, channel, partition, replica, sinceMs }
      claims.set(channel, claim)
      this.#enter(claim)
    }
    // At once: the same frame may hold the newcomer's first message.
    this.#reconcile()
    return true
  }

  received(session: LinkSession, channel: number, sender: number, bytes: Uint8Array): void {
    const local = this.#locals.get(channel)
    const claim = this.#claims.get(session)?.get(sender)
    // Not known: detached while this was on its way. Not the one in use: a newer session of the same replica is.
    if (local === undefined || claim === undefined || local.connected.get(claim.replica) !== claim) return
    local.endpoint.onFrame(claim.replica, bytes)
  }

  close(): void {
    this.#closed = true
    this.#claims.clear()
    this.#claimants.clear()
    this.#reconcile()
    for (const local of [...this.#locals.values()]) this.#detach(local)
    this.#reconcile()
  }

  #enter(claim: Claim): void {
    const name = claimName(claim)
    const claimants = this.#claimants.get(name)
    if (claimants === undefined) this.#claimants.set(name, [claim])
    else claimants.push(claim)
    const isOurs = [...this.#locals.values()].some(({ endpoint }) => claimName(endpoint) === name)
    if (this.#isBelieved(claim) && !isOurs) return
    this.#onSpoofed(claim.session, claim.replica)
    // Its link may be dead, and not known to be: then the newcomer's wait should be short.
    const holders = (claimants ?? []).filter((other) => this.#isBelieved(other))
    for (const { session } of holders) session.recheck()
  }

  #withdraw(claim: Claim): void {
    const name = claimName(claim)
    const claimants = this.#claimants.get(name) ?? []
    const rest = claimants.filter((other) => other !== claim)
    const heir = rest.find((other) => claimants[0] !== undefined && isOfOne(claimants[0], other)) ?? rest[0]
    if (heir === undefined) this.#claimants.delete(name)
    else this.#claimants.set(name, [heir, ...rest.filter((other) => other !== heir)])
  }

  /** The replica belongs to the identity that announces it here. */
  #isBelieved(claim: Claim): boolean {
    const first = this.#claimants.get(claimName(claim))?.[0]
    return first !== undefined && isOfOne(first, claim)
  }

  #send(local: Local, to: ReplicaId, frame: Uint8Array, lane: 'normal' | 'bulk'): void {
    if (frame.length > this.#messageBytesMax) {
      const problem = `a frame has at most ${this.#messageBytesMax} bytes, not ${frame.length}`
      throw new WepaxosError('InvalidArgument', problem)
    }
    const route = local.connected.get(to)
    if (route === undefined || !this.#locals.has(local.channel)) return
    if (route.kind === 'claim') {
      route.session.send({ channel: route.channel, sender: local.channel, bytes: frame }, lane)
      return
    }
    const bytes = frame.slice()
    queueMicrotask(() => {
      if (route.connected.get(local.endpoint.replica) === local) route.endpoint.onFrame(local.endpoint.replica, bytes)
    })
  }

  #detach(local: Local): void {
    if (!this.#locals.delete(local.channel)) return
    local.connected.clear()
    for (const session of this.#claims.keys()) session.sendControl({ type: 'detach', channel: local.channel })
    this.#reconcileSoon()
  }

  /** Later in this turn, as the caller may be inside a call of an endpoint, and such calls must not overlap. */
  #reconcileSoon(): void {
    if (this.#reconciling) return
    this.#reconciling = true
    queueMicrotask(() => {
      this.#reconciling = false
      this.#reconcile()
    })
  }

  #reconcile(): void {
    for (const local of [...this.#locals.values()]) {
      const routes = this.#routes(local)
      const { connected, endpoint } = local
      for (const [replica, route] of [...connected]) {
        if (routes.get(replica) === route || !connected.delete(replica)) continue
        endpoint.onDisconnected(replica)
      }
      for (const [replica, route] of routes) {
        // Asked anew each time: the endpoint may have closed its channel in the call before.
        if (!this.#locals.has(local.channel) || connected.has(replica)) continue
        connected.set(replica, route)
        const mayVote = route.kind === 'local' ? this.#mayVote : route.session.proven.role === 'voter'
        endpoint.onConnected(replica, { mayVote })
      }
    }
  }

  /** Whom `local` should be able to reach. Of two links of its identity, the one where it was attached later is the way. */
  #routes(local: Local): Map<ReplicaId, Claim | Local> {
    const { partition, replica } = local.endpoint
    const routes = new Map<ReplicaId, Claim | Local>()
    if (this.#closed) return routes
    for (const claims of this.#claims.values()) {
      for (const claim of claims.values()) {
        if (claim.partition !== partition || claim.replica === replica || !this.#isBelieved(claim)) continue
        const other = routes.get(claim.replica)
        if (other === undefined || other.sinceMs <= claim.sinceMs) routes.set(claim.replica, claim)
      }
    }
    for (const other of this.#locals.values()) {
      if (other !== local && other.endpoint.partition === partition) routes.set(other.endpoint.replica, other)
    }
    return routes
  }
}

function claimName({ partition, replica }: { readonly partition: string; readonly replica: ReplicaId }): string {
  // Replica ids have no spaces.
  return `${replica} ${partition}`
}

function isOfOne(claim: Claim, other: Claim): boolean {
  return claim.session.proven.identity === other.session.proven.identity
}

function attachMessage(local: Local): ControlMessage {
  const { channel, endpoint, sinceMs } = local
  return { type: 'attach', channel, partition: endpoint.partition, replica: endpoint.replica, sinceMs }
}
