// Makes and remakes the links: one to each peer of the room. Runs the sealed handshake (hello, offer, answer, ice, bye),
// decides who offers, tries again after failures. A new link is nobody's until link-proof.ts says whose it is; what flows
// over it from then on is link-session.ts's and room.ts's.
//
// The handshake. Each end keeps one nonce for each peer, and makes a fresh one when it begins anew; `hello` carries it. A
// hello with a new nonce ends what the receiver had with that peer. Once both nonces are known at both ends, the one with
// the smaller id offers; all further messages name the receiver's nonce. The sealed channel keeps the order, so nothing
// that was sent before a hello can come after it, and what was sent to an older nonce is told by its echo.
import { WepaxosError } from '@wepaxos/core'
import { randomText } from './base64url.ts'
import { backoffMs, type Clock } from './clock.ts'
import type { LinkFault } from './faults.ts'
import { type Credentials, LinkProof, type ProofRefusal, type ProvenPeer } from './link-proof.ts'
import { LinkSession, type LinkSessionEvents, type Liveness, type SessionLimits } from './link-session.ts'
import type { CreatePeerLink, LinkSignal, PeerLink } from './peer-link.ts'
import { candidatesMax, type IceCandidate, type SignalingMessage } from './signaling-message.ts'

export interface MeshEvents extends LinkSessionEvents {
  onOpen(session: LinkSession): void
  onClosed(session: LinkSession, reason: string): void
  /** The list of peers, or a peer's state, has changed. */
  onPeers(): void
  /** A rightly sealed message that does not fit: of an older attempt (`stale`), or at the wrong moment. */
  onRefused(reason: 'stale' | 'unexpected'): void
  /** The other end of a new link did not prove itself, or in a way that can not be checked here; the link is closing. */
  onUnproven(peer: string, reason: string, kind: ProofRefusal): void
}

/** Why attempts to reach a peer fail, as far as this end can tell. */
interface Obstacle {
  readonly kind: 'no-route' | 'no-link' | 'unknown-key'
  readonly problem: WepaxosError
}

export interface MeshOptions {
  readonly self: string
  readonly credentials: Credentials
  readonly clock: Clock
  readonly createLink: CreatePeerLink
  /** For the next link. */
  readonly iceServers: () => readonly RTCIceServer[]
  readonly liveness: Liveness
  readonly limits: SessionLimits
  readonly connectTimeoutMs: number
  readonly fault: (peer: string) => LinkFault
  /** Seals and sends; lost when signaling is down. */
  readonly sendSignal: (peer: string, message: SignalingMessage) => void
  readonly events: MeshEvents
}

interface Peer {
  readonly id: string
  /** The signaling server has it in the room, as far as we know. */
  present: boolean
  /** It said goodbye: it is not called again before it calls, or joins anew, or this page itself was away. */
  departed: boolean
  nonce: string
  theirNonce: string | undefined
  /** Counts the links made for this peer, so that late events of an old one are known as such. */
  generation: number
  link: PeerLink | undefined
  /** While the link is open and its other end has not proven itself. */
  proof: LinkProof | undefined
  session: LinkSession | undefined
  failures: number
  /** Which descriptions of the present attempt have crossed. Both, and no connection: there is no way. */
  offered: boolean
  answered: boolean
  obstacle: Obstacle | undefined
  /** Attempts in a row that ended at it. */
  obstructed: number
  candidates: IceCandidate[]
  cancelCandidates: (() => void) | undefined
  /** The next try, or the end of patience with the present one. */
  cancelTimer: () => void
}

const firstRetryMs = 300
const lastRetryMs = 15_000
/** How long the one who was there first waits for the newcomer's hello before it says its own. */
const helloWaitMs = 2_000
/** One attempt may fail because a page was busy, or went in the middle of it. */
const obstructedMin = 2
const noRoute: Obstacle = {
  kind: 'no-route',
  problem: new WepaxosError('NoRoute', 'no way to this page was found: a TURN server is needed (see iceServers)'),
}
const unknownKey: Obstacle = {
  kind: 'unknown-key',
  problem: new WepaxosError('NotSupported', "this page's key is of a kind that the browser here does not know"),
}
/** The server's word alone makes an entry here, and it could name peers without end. */
const peersMax = 64
/** Candidates that come together go together: the signaling server counts messages. */
const candidatesWaitMs = 30

export class Mesh {
  readonly #options: MeshOptions
  readonly #peers = new Map<string, Peer>()
  #closed = false

  constructor(options: MeshOptions) {
    this.#options = options
  }

  /** Peers to which a link is open or being made. */
  get peers(): readonly {
    readonly id: string
    readonly session: LinkSession | undefined
    /** Why no link comes about, where two attempts in a row have ended for one reason. */
    readonly problem: WepaxosError | null
  }[] {
    return [...this.#peers.values()]
      .filter((peer) => peer.session !== undefined || peer.link !== undefined || (peer.present && !peer.departed))
      .map(({ id, session, obstacle, obstructed }) => ({
        id,
        session,
        problem: obstructed >= obstructedMin ? (obstacle?.problem ?? null) : null,
      }))
  }

  get sessions(): readonly LinkSession[] {
    return [...this.#peers.values()].map(({ session }) => session).filter((session) => session !== undefined)
  }

  /** The server's list of who is in the room besides us. We came last, so we say hello. */
  welcome(present: readonly string[]): void {
    const ids = new Set(present)
    for (const peer of [...this.#peers.values()]) {
      if (!ids.has(peer.id)) this.left(peer.id)
    }
    for (const id of ids) {
      if (!this.#hasPlaceFor(id)) continue
      const peer = this.#ensure(id)
      peer.present = true
      peer.departed = false
      if (peer.session === undefined) this.#begin(peer)
    }
  }

  joined(id: string): void {
    if (!this.#hasPlaceFor(id)) return
    const peer = this.#ensure(id)
    peer.present = true
    peer.departed = false
    this.#options.events.onPeers()
    // It says hello by itself. A link that is open stays: only signaling had a break.
    if (peer.session === undefined && peer.link === undefined) {
      this.#retryIn(peer, helloWaitMs * (1 + this.#options.clock.random()))
    }
  }

  left(id: string): void {
    const peer = this.#peers.get(id)
    if (peer === undefined) return
    peer.present = false
    if (peer.session === undefined) this.#forget(peer)
  }

  /** One message that was sealed by `from`. */
  signal(from: string, message: SignalingMessage): void {
    if (this.#closed || this.#options.fault(from).cut === true) return
    switch (message.type) {
      case 'hello':
        this.#onHello(from, message.nonce, message.echo)
        return
      case 'bye':
        this.goodbye(from)
        return
      default:
        this.#onDescription(from, message)
    }
  }

  /** The peer has said that it goes. */
  goodbye(id: string): void {
    const peer = this.#peers.get(id)
    if (peer === undefined) return
    peer.departed = true
    peer.cancelTimer()
    this.#dropLink(peer, 'the peer said goodbye')
    this.#options.events.onPeers()
  }

  /** The page is back. Others that went with it may be back as well, and each would wait for the other to call. */
  returned(): void {
    for (const peer of this.#peers.values()) if (peer.present) peer.departed = false
    this.recheck()
  }

  /** Tries at once what waits for its time. */
  recheck(): void {
    for (const peer of this.#peers.values()) {
      if (peer.session !== undefined) peer.session.recheck()
      else if (peer.link === undefined && peer.present && !peer.departed) this.#begin(peer)
    }
  }

  /** Closes open links, of one peer or of all; they come back. */
  breakLinks(id: string): void {
    for (const peer of this.#peers.values()) {
      if (id === 'all' || id === peer.id) peer.session?.close('broken on purpose')
    }
  }

  /** Says goodbye to all. */
  bye(): void {
    for (const peer of this.#peers.values()) {
      if (peer.session !== undefined) {
        peer.session.sendControl({ type: 'bye' })
        peer.session.flush()
      } else if (peer.link !== undefined) {
        this.#options.sendSignal(peer.id, { type: 'bye' })
      }
    }
  }

  close(): void {
    this.#closed = true
    for (const peer of [...this.#peers.values()]) {
      peer.departed = true
      this.#forget(peer)
    }
  }

  #onHello(from: string, nonce: string, echo: string | null): void {
    const peer = this.#ensure(from)
    peer.present = true
    peer.departed = false
    if (nonce !== peer.theirNonce) {
      this.#dropLink(peer, 'the peer began anew')
      peer.theirNonce = nonce
      this.#expectLink(peer)
    }
    if (echo !== peer.nonce) this.#sayHello(peer)
    this.#offerIfOurs(peer)
  }

  #onDescription(from: string, message: Extract<SignalingMessage, { type: 'offer' | 'answer' | 'ice' }>): void {
    const peer = this.#peers.get(from)
    if (peer === undefined || message.echo !== peer.nonce || peer.theirNonce === undefined) {
      this.#options.events.onRefused('stale')
      return
    }
    const mustMake = message.type === 'offer' && peer.link === undefined && !this.#weOffer(peer)
    // Where none can be made it is not the message that is wrong.
    if (mustMake && !this.#makeLink(peer)) return
    const { link } = peer
    const taken =
      link !== undefined &&
      (message.type === 'ice'
        ? // All of them: one that is refused says nothing about those behind it.
          message.candidates.map((candidate) => link.signal({ type: 'ice', candidate })).every((isTaken) => isTaken)
        : link.signal({ type: message.type, sdp: message.sdp }))
    if (!taken) this.#options.events.onRefused('unexpected')
    else if (message.type !== 'ice') this.#described(peer, message.type)
  }

  #described(peer: Peer, type: 'offer' | 'answer'): void {
    if (type === 'offer') peer.offered = true
    else peer.answered = true
  }

  /** Begins anew with a peer, from our side. */
  #begin(peer: Peer): void {
    this.#dropLink(peer, 'beginning anew')
    if (this.#closed) return
    peer.nonce = randomText(16)
    this.#expectLink(peer)
    // A cut link must not come back through signaling.
    if (this.#options.fault(peer.id).cut === true) return
    this.#sayHello(peer)
    this.#offerIfOurs(peer)
    this.#options.events.onPeers()
  }

  #sayHello(peer: Peer): void {
    this.#options.sendSignal(peer.id, { type: 'hello', nonce: peer.nonce, echo: peer.theirNonce ?? null })
  }

  #offerIfOurs(peer: Peer): void {
    if (!this.#weOffer(peer) || peer.theirNonce === undefined || peer.link !== undefined) return
    this.#makeLink(peer)
  }

  /** The smaller id offers: two offers at once would deadlock simple-peer. */
  #weOffer(peer: Peer): boolean {
    return this.#options.self < peer.id
  }

  /** False: none can be made. Another try follows, as after any other failure. */
  #makeLink(peer: Peer): boolean {
    try {
      peer.link = this.#createLink(peer)
    } catch (error) {
      // RTCPeerConnection throws at configurations it does not like, and where the browser has no more connections to give.
      this.#lost(peer, error instanceof Error ? error.message : String(error), error)
      return false
    }
    this.#options.events.onPeers()
    return true
  }

  #createLink(peer: Peer): PeerLink {
    const { self, credentials, createLink, iceServers, clock, fault, events } = this.#options
    peer.generation += 1
    const { generation } = peer
    const isCurrent = () => peer.generation === generation && !this.#closed
    return createLink({
      peer: peer.id,
      initiator: this.#weOffer(peer),
      iceServers: iceServers(),
      events: {
        onSignal: (signal) => {
          if (isCurrent()) this.#sendLinkSignal(peer, signal)
        },
        onOpen: () => {
          if (!isCurrent() || peer.link === undefined) return
          peer.cancelTimer()
          const { link } = peer
          if (peer.obstacle?.kind !== 'unknown-key') peer.obstacle = undefined
          peer.proof = new LinkProof({
            credentials,
            self,
            peer: peer.id,
            clock,
            fingerprints: () => link.fingerprints(),
            send: (bytes) => {
              if (fault(peer.id).cut !== true) link.send(bytes)
            },
            onProven: (proven, unread) => {
              if (!isCurrent()) return
              peer.proof = undefined
              peer.obstacle = undefined
              this.#openSession(peer, link, proven)
              for (const bytes of unread) if (isCurrent()) peer.session?.receive(bytes)
            },
            onRefused: (reason, kind) => {
              if (!isCurrent()) return
              if (kind === 'unknown-key') this.#meet(peer, unknownKey)
              events.onUnproven(peer.id, reason, kind)
              link.close(`unproven: ${reason}`)
            },
          })
        },
        onMessage: (bytes) => {
          if (!isCurrent()) return
          if (peer.proof === undefined) peer.session?.receive(bytes)
          else if (fault(peer.id).cut !== true) peer.proof.receive(bytes)
        },
        onDrain: () => {
          if (isCurrent()) peer.session?.flush()
        },
        onClose: (reason) => {
          if (isCurrent()) this.#lost(peer, reason)
        },
      },
    })
  }

  /** The peer's link has ended by itself, or could not be made. */
  #lost(peer: Peer, reason: string, cause?: unknown): void {
    const neverOpened = peer.session === undefined && peer.proof === undefined
    // Before anything was described, the other end has had nothing to do with it.
    if (neverOpened && !peer.offered) this.#meet(peer, noLink(reason, cause))
    this.#countRoute(peer)
    this.#dropLink(peer, reason)
    this.#afterLoss(peer)
    this.#options.events.onPeers()
  }

  #openSession(peer: Peer, link: PeerLink, proven: ProvenPeer): void {
    const { clock, liveness, limits, fault, events } = this.#options
    const session = new LinkSession({
      peer: peer.id,
      proven,
      link,
      clock,
      liveness,
      limits,
      fault: () => fault(peer.id),
      events: {
        ...events,
        onAlive: (alive) => {
          // Not at onOpen: a link that opens and then stays silent should not be tried again and again at once.
          peer.failures = 0
          events.onAlive(alive)
        },
      },
    })
    peer.session = session
    events.onOpen(session)
    events.onPeers()
  }

  #sendLinkSignal(peer: Peer, signal: LinkSignal): void {
    const echo = peer.theirNonce
    if (echo === undefined) return
    if (signal.type !== 'ice') {
      this.#described(peer, signal.type)
      this.#options.sendSignal(peer.id, { type: signal.type, echo, sdp: signal.sdp })
      return
    }
    peer.candidates.push(signal.candidate)
    if (peer.candidates.length >= candidatesMax) this.#sendCandidates(peer)
    else peer.cancelCandidates ??= this.#options.clock.after(candidatesWaitMs, () => this.#sendCandidates(peer))
  }

  #sendCandidates(peer: Peer): void {
    const { candidates, theirNonce } = peer
    peer.cancelCandidates?.()
    peer.cancelCandidates = undefined
    peer.candidates = []
    if (theirNonce === undefined || candidates.length === 0) return
    this.#options.sendSignal(peer.id, { type: 'ice', echo: theirNonce, candidates })
  }

  /** Ends the peer's link, in whatever state it is, and makes its later events mean nothing. */
  #dropLink(peer: Peer, reason: string): void {
    const { link, session } = peer
    peer.generation += 1
    peer.cancelCandidates?.()
    peer.cancelCandidates = undefined
    peer.candidates = []
    peer.offered = false
    peer.answered = false
    peer.link = undefined
    peer.proof?.end()
    peer.proof = undefined
    peer.session = undefined
    link?.close(reason)
    if (session === undefined) return
    session.ended()
    this.#options.events.onClosed(session, reason)
    this.#options.events.onPeers()
  }

  /** The peer's attempt has ended. */
  #countRoute(peer: Peer): void {
    const neverOpened = peer.session === undefined && peer.proof === undefined
    if (neverOpened && peer.offered && peer.answered) this.#meet(peer, noRoute)
  }

  #meet(peer: Peer, obstacle: Obstacle): void {
    peer.obstructed = peer.obstacle?.kind === obstacle.kind ? peer.obstructed + 1 : 1
    peer.obstacle = obstacle
  }

  #afterLoss(peer: Peer): void {
    if (peer.departed) return
    if (!peer.present) {
      this.#forget(peer)
      return
    }
    this.#retryIn(peer, backoffMs(this.#options.clock, peer.failures, firstRetryMs, lastRetryMs))
    peer.failures += 1
  }

  /** Until the link is open, patience is limited. */
  #expectLink(peer: Peer): void {
    peer.cancelTimer()
    peer.cancelTimer = this.#options.clock.after(this.#options.connectTimeoutMs, () => {
      if (peer.session !== undefined) return
      this.#countRoute(peer)
      this.#dropLink(peer, 'no connection in time')
      this.#afterLoss(peer)
      this.#options.events.onPeers()
    })
  }

  #retryIn(peer: Peer, delayMs: number): void {
    peer.cancelTimer()
    peer.cancelTimer = this.#options.clock.after(delayMs, () => {
      if (peer.session === undefined && peer.present && !peer.departed) this.#begin(peer)
    })
  }

  #hasPlaceFor(id: string): boolean {
    return this.#peers.has(id) || this.#peers.size < peersMax
  }

  #ensure(id: string): Peer {
    const known = this.#peers.get(id)
    if (known !== undefined) return known
    const peer: Peer = {
      id,
      present: false,
      departed: false,
      nonce: randomText(16),
      theirNonce: undefined,
      generation: 0,
      link: undefined,
      proof: undefined,
      session: undefined,
      failures: 0,
      offered: false,
      answered: false,
      obstacle: undefined,
      obstructed: 0,
      candidates: [],
      cancelCandidates: undefined,
      cancelTimer: () => undefined,
    }
    this.#peers.set(id, peer)
    return peer
  }

  #forget(peer: Peer): void {
    peer.cancelTimer()
    this.#dropLink(peer, 'the peer left')
    this.#peers.delete(peer.id)
    this.#options.events.onPeers()
  }
}

function noLink(reason: string, cause: unknown): Obstacle {
  const problem = `no connection can be made in this browser: ${reason}`
  return { kind: 'no-link', problem: new WepaxosError('NotSupported', problem, {}, cause) }
}
