// Which replicas are attached here, which ones the peers have announced over their links, and what the port's endpoints
// hear of that. Local endpoints of one partition reach each other without a link, and without proof.
//
// Announcing takes a signature at this end of a link and its verification at the other, and WebCrypto takes a moment for
// each. The port promises that what is sent arrives while the link lasts. So an endpoint is told of those behind a link only
// when its own announcement there has been sent, which then goes ahead of all that it says; and link-claims.ts holds back
// what comes before an announcement is verified.
import { type Channel, type Endpoint, type ReplicaId, WepaxosError } from '@wepaxos/core'
import { signAnnouncement } from './announcement.ts'
import { type ControlMessage, partitionLengthMax } from './control-message.ts'
import type { LinkMessage } from './framing.ts'
import { type Claim, LinkClaims } from './link-claims.ts'
import { firstReplicaChannel, type LinkSession } from './link-session.ts'
import { decodeReplicaKey, importReplicaKey, type ReplicaKey, type StoredReplicaKey } from './replica-key.ts'

interface Local {
  readonly kind: 'local'
  readonly channel: number
  readonly endpoint: Endpoint
  readonly sinceMs: number
  /** undefined where it turned out to be no key: the replica is not announced to anybody. */
  readonly key: Promise<ReplicaKey | undefined>
  /** The links over which it has been announced. */
  readonly announced: Set<LinkSession>
  /** Whom the endpoint was told of, and the way there. */
  readonly connected: Map<ReplicaId, Route>
}

type Route = Claim<LinkSession> | Local

export interface AttachmentsOptions {
  /** Of a frame, and of all frames of a link that wait for their senders' announcements to be verified. */
  readonly messageBytesMax: number
  /** This page holds the voter's secret. */
  readonly mayVote: boolean
  /** Other replicas than before are attached at the other end of a link. */
  readonly onReplicas: () => void
  /** A link announced a replica without holding its key. An honest page never does: the link should be closed. */
  readonly onSpoofed: (session: LinkSession, replica: ReplicaId) => void
  /** A link announced a replica whose key is of a kind that this browser does not know: it is not heard, and can not be told from a liar. */
  readonly onUnknownKey: (session: LinkSession, replica: ReplicaId) => void
  /** A replica is attached here that can not prove its id to anybody. */
  readonly onUnusableKey: (replica: ReplicaId, error: unknown) => void
}

export class Attachments {
  readonly #options: AttachmentsOptions
  readonly #locals = new Map<number, Local>()
  readonly #links = new Map<LinkSession, LinkClaims<LinkSession>>()
  #nextChannel = firstReplicaChannel
  #reconciling = false
  #closed = false

  constructor(options: AttachmentsOptions) {
    this.#options = options
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
    const key = storedKeyOf(endpoint)
    const local: Local = {
      kind: 'local',
      channel: this.#nextChannel,
      endpoint,
      sinceMs: Date.now(),
      key: importReplicaKey(key).catch((error: unknown) => {
        this.#options.onUnusableKey(replica, error)
        return undefined
      }),
      announced: new Set(),
      connected: new Map(),
    }
    this.#nextChannel += 1
    this.#locals.set(local.channel, local)
    for (const session of this.#links.keys()) void this.#announce(local, session)
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
    const verified = this.#links.get(session)?.verified ?? []
    return verified.map(({ partition, replica }) => ({ partition, replica }))
  }

  /** True while a replica is attached there whose key is of a kind that is not known here. */
  hasUnknownKey(session: LinkSession): boolean {
    return this.#links.get(session)?.hasUnknownKey ?? false
  }

  linkOpened(session: LinkSession): void {
    const claims = new LinkClaims({
      session,
      heldBytesMax: this.#options.messageBytesMax,
      onVerified: (claim, held) => {
        this.#reconcile()
        this.#options.onReplicas()
        for (const message of held) this.#deliver(claim, message)
      },
      onRefused: ({ replica }) => this.#options.onSpoofed(session, replica),
      onUnknownKey: ({ replica }) => this.#options.onUnknownKey(session, replica),
    })
    this.#links.set(session, claims)
    for (const local of this.#locals.values()) void this.#announce(local, session)
  }

  linkClosed(session: LinkSession): void {
    this.#links.get(session)?.end()
    this.#links.delete(session)
    for (const { announced } of this.#locals.values()) announced.delete(session)
    this.#reconcileSoon()
  }

  /** False: the peer broke the rules, and its link should be closed. */
  announced(session: LinkSession, message: Extract<ControlMessage, { type: 'attach' | 'detach' }>): boolean {
    const claims = this.#links.get(session)
    if (claims === undefined) return true
    if (message.type === 'attach') return claims.announced(message)
    claims.withdrawn(message.channel)
    this.#reconcile()
    this.#options.onReplicas()
    return true
  }

  /** One message of a replica. False: the peer broke the rules, and its link should be closed. */
  received(session: LinkSession, message: LinkMessage): boolean {
    const claims = this.#links.get(session)
    // Not known: detached while this was on its way.
    if (claims === undefined || !this.#locals.has(message.channel)) return true
    const claim = claims.verifiedAt(message.sender)
    if (claim === undefined) return claims.hold(message)
    this.#deliver(claim, message)
    return true
  }

  close(): void {
    this.#closed = true
    for (const claims of this.#links.values()) claims.end()
    this.#links.clear()
    this.#reconcile()
    for (const local of [...this.#locals.values()]) this.#detach(local)
    this.#reconcile()
  }

  /** Ends in a control message, which no message of the replica overtakes; until then none is sent. */
  async #announce(local: Local, session: LinkSession): Promise<void> {
    const { channel, endpoint, sinceMs } = local
    const key = await local.key
    if (key === undefined) return
    const facts = { channel, partition: endpoint.partition, sinceMs }
    const announcement = await signAnnouncement(key, facts, session.proven.binding.own)
    if (!this.#locals.has(channel) || !this.#links.has(session)) return
    session.sendControl(announcement)
    local.announced.add(session)
    this.#reconcileSoon()
  }

  #deliver(claim: Claim<LinkSession>, { channel, bytes }: LinkMessage): void {
    const local = this.#locals.get(channel)
    // Not the one in use: a newer session of the same replica is.
    if (local === undefined || local.connected.get(claim.replica) !== claim || !claim.session.isOpen) return
    local.endpoint.onFrame(claim.replica, bytes)
  }

  #send(local: Local, to: ReplicaId, frame: Uint8Array, lane: 'normal' | 'bulk'): void {
    const { messageBytesMax } = this.#options
    if (frame.length > messageBytesMax) {
      const problem = `a frame has at most ${messageBytesMax} bytes, not ${frame.length}`
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
    for (const session of local.announced) session.sendControl({ type: 'detach', channel: local.channel })
    local.announced.clear()
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
        const mayVote = route.kind === 'local' ? this.#options.mayVote : route.session.proven.role === 'voter'
        endpoint.onConnected(replica, { mayVote })
      }
    }
  }

  /** Whom `local` should be able to reach. Of two links to one replica, the one where it was attached later is the way. */
  #routes(local: Local): Map<ReplicaId, Route> {
    const { partition, replica } = local.endpoint
    const routes = new Map<ReplicaId, Route>()
    if (this.#closed) return routes
    for (const [session, claims] of this.#links) {
      if (!local.announced.has(session)) continue
      for (const claim of claims.verified) {
        if (claim.partition !== partition || claim.replica === replica) continue
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

/** Throws InvalidArgument where the endpoint has no key, or not the one of its replica. */
function storedKeyOf({ partition, replica, key }: Endpoint): StoredReplicaKey {
  if (key === undefined) {
    const problem =
      `replica ${replica} has no key to prove its id with: its state was stored by an older version, or with another ` +
      'transport. Its id can not be used in a room. Erase the stored state, and it begins anew with that of its peers'
    throw new WepaxosError('InvalidArgument', problem, { partition })
  }
  const stored = decodeReplicaKey(key)
  if (stored?.replica === replica) return stored
  const problem = stored === undefined ? 'is no key' : `is the key of replica ${stored.replica}`
  throw new WepaxosError('InvalidArgument', `what was given as the key of replica ${replica} ${problem}`, { partition })
}
