// Rooms: the transport over WebRTC. Puts together the keys, the signaling client, the mesh of links, the attached
// replicas and presence; each of them has its own file.
import {
  type Channel,
  type Endpoint,
  type Logger,
  type Presence,
  type ReplicaId,
  type Transport,
  WepaxosError,
} from '@wepaxos/core'
import { Attachments } from './attachments.ts'
import { randomText } from './base64url.ts'
import { type Clock, systemClock } from './clock.ts'
import { Faults, type LinkFault } from './faults.ts'
import { defaultFramingLimits } from './framing.ts'
import { checkIceServers } from './ice-servers.ts'
import { createIdentity, type Identity, identityName, identityOf } from './identity.ts'
import { createInvite, deriveRoomKeys, formatInvite, type Invite, parseInvite, type RoomKeys } from './invite.ts'
import { type LinkSession, type Liveness, presenceChannel, type SessionLimits } from './link-session.ts'
import { Mesh } from './mesh.ts'
import { watchPage } from './page-events.ts'
import type { CreatePeerLink } from './peer-link.ts'
import { AwarenessPresence } from './presence.ts'
import { createReplicaKey } from './replica-key.ts'
import { SameBrowser } from './same-browser.ts'
import { Opener, Sealer, type SealRefusal } from './sealing.ts'
import {
  isToken,
  SignalingClient,
  type SignalingSocket,
  type SignalingState,
  type SignalingToken,
  tokenLengthMax,
} from './signaling-client.ts'
import type { SignalingMessage } from './signaling-message.ts'
import { loadSimplePeerLinks } from './simple-peer-link.ts'

export interface JoinRoomOptions {
  /** The room's invite: a whole link, or its fragment (`location.hash`). Left out or empty: a new room is made. */
  readonly invite?: string
  /** The signaling server's address, `wss://…` (or `ws://localhost…`). */
  readonly signaling: string
  /**
   * STUN and TURN servers. By default none: peers in one network find each other without. Across networks a STUN server
   * is needed, and behind strict ones a TURN server. Those that the signaling server names, with credentials that it mints,
   * are used besides.
   */
  readonly iceServers?: readonly RTCIceServer[]
  /**
   * For signaling servers that want one: shown at each connect. A function is given the room's public id, asked each time
   * anew, and may take its time (for a login, say): meanwhile nothing is tried.
   */
  readonly token?: SignalingToken
  /**
   * The key pair with which this page proves itself to the others: ECDSA on P-256, or Ed25519, which pages in older browsers
   * can not check. By default a new one on P-256, which can not be extracted and is gone with the page.
   */
  readonly identity?: CryptoKeyPair
  /** Aborting leaves the room. */
  readonly signal?: AbortSignal
  readonly logger?: Logger
  /** How soon a silent link is given up. By default after three intervals of 2 s. */
  readonly liveness?: Partial<Liveness>
  readonly limits?: Partial<SessionLimits>
  /** How long making one link may take before it is begun anew. Default 10,000. */
  readonly connectTimeoutMs?: number
  /**
   * True: pages of this room that are open in the same browser, and have said so too, connect over BroadcastChannel, and
   * WebRTC is for all others. Default false.
   */
  readonly sameBrowser?: boolean
  /** Another kind of link; by default simple-peer, loaded on first use. */
  readonly createLink?: CreatePeerLink
  /** Another kind of WebSocket: for Node 20, which has none of its own. */
  readonly createSocket?: (url: string, protocol: string) => SignalingSocket
  /** Another clock: for tests. */
  readonly clock?: Clock
}

/** One other page of the room. A snapshot: a new one comes with each `peers` event. */
export interface RoomPeer {
  /** Its name for as long as it is in the room; a reloaded page comes back under another one. */
  readonly id: string
  /** `connecting`: the server says it is in the room. Whether it knows the secret shows when it is `open`, or never is. */
  readonly state: 'connecting' | 'open'
  /**
   * What it has proven to hold, once open. To a page that joined by a reader's link, which can not check it, `voter` is
   * only what the other end says of itself.
   */
  readonly role: 'voter' | 'reader' | null
  /** The name of the key that it has proven to hold, once open: see `Room.identity`. */
  readonly identity: string | null
  /**
   * `NoRoute`: twice in a row both pages have heard of each other and found no way between them. Behind such networks a
   * TURN server is needed. `NotSupported`: its key, or that of a replica which is attached there, is of a kind that this
   * browser does not know, so what is signed with it can not be checked; it is not heard. Or twice in a row no connection
   * could be made in this browser at all, and the message says why. It goes on trying.
   */
  readonly problem: WepaxosError | null
  /** The last measured round trip; null before the first. */
  readonly rttMs: number | null
  readonly sentBytes: number
  readonly receivedBytes: number
  readonly queuedBytes: number
  /** The replicas that are attached there. */
  readonly replicas: readonly { readonly partition: string; readonly replica: ReplicaId }[]
}

/** What was refused, and how often: see sealing.ts for the first ones. None of it has had any effect. */
export type RefusalReason =
  | SealRefusal
  /** A handshake message of an older attempt to connect. Happens now and then without any bad will. */
  | 'stale'
  /** A handshake message at the wrong moment. */
  | 'unexpected'
  /** The other end of a new link did not prove its key, its role or its end of the channel; that link was closed. */
  | 'unproven'
  /**
   * A peer has a key of a kind that this browser does not know, so nothing it signs can be checked: its link was closed. Or a
   * replica that it announced has one, which is not heard.
   */
  | 'unknown-key'
  /** A peer announced a replica and does not hold its key; that link was closed. */
  | 'spoofed-sender'
  /** Bytes on an open link that are not our format; that link was closed. */
  | 'garbage'

export type RoomEventType = 'peers' | 'signaling' | 'refused'

/** A transport for `openReplica`, over one WebRTC link to each other page of the room. */
export interface Room extends Transport, AsyncDisposable {
  /** The invite's fragment, `#v1.w…`. Who has it may join; show it to nobody else, and never send it to a server. */
  readonly invite: string
  /** `reader`: joined by a reader's link. */
  readonly role: 'voter' | 'reader'
  readonly mayVote: boolean
  /** This page's own id in the room. */
  readonly self: string
  /** The name of this page's key: 22 characters, the same for all who see it, as long as the page keeps its key pair. */
  readonly identity: string
  readonly peers: readonly RoomPeer[]
  /** A new replica's id and its key, on P-256. The id is a hash of the key's public half. */
  newReplica(): Promise<{ readonly replica: ReplicaId; readonly key: Uint8Array }>
  /** Throws InvalidArgument where the endpoint has no `key`, or that of another replica, or is attached already. */
  attach(endpoint: Endpoint): Channel
  readonly signaling: SignalingState
  /** Why the signaling server can not be reached, or takes nobody in, for people; null while it can. Links go on without it. */
  readonly signalingProblem: string | null
  readonly refused: Readonly<Partial<Record<RefusalReason, number>>>
  /** Breaks links on purpose, for tests and demonstrations. */
  readonly faults: RoomFaults
  addEventListener(type: RoomEventType, listener: (event: Event) => void, options?: AddEventListenerOptions): void
  removeEventListener(type: RoomEventType, listener: (event: Event) => void): void
  /**
   * Says goodbye, closes all links, leaves. Attached replicas hear onDisconnected for all; where one of them throws, this
   * rejects with what it threw once all is closed. Idempotent.
   */
  close(): Promise<void>
}

export interface RoomFaults {
  /** Replaces the fault of one peer's link; `all`: of all that have none of their own. */
  set(peer: string, fault: LinkFault): void
  /** Takes one peer's fault away; without a name, all faults. */
  clear(peer?: string): void
  /** Closes one peer's link, or all, without a goodbye. They come back by themselves. */
  breakLinks(peer?: string): void
}

/**
 * Joins the invite's room, or makes a new one. Resolves when the keys are there and the signaling client is running; it
 * does not wait for the server or for peers: `signaling`, `peers` and their events tell of those.
 *
 * Throws `InvalidInvite`, `InvalidArgument`, `NotSupported` (no WebRTC, or no WebCrypto on plain http) or `Aborted`.
 */
export async function joinRoom(options: JoinRoomOptions): Promise<Room> {
  throwIfAborted(options.signal)
  const text = options.invite === undefined ? '' : options.invite.trim()
  const founded = text === '' || text === '#'
  const invite = founded ? createInvite() : parseInvite(text)
  checkSignalingUrl(options.signaling)
  checkToken(options.token)
  checkIceServers(options.iceServers ?? [])
  const createSocket = options.createSocket ?? defaultCreateSocket()
  const [keys, createLink] = await Promise.all([deriveRoomKeys(invite), options.createLink ?? loadSimplePeerLinks()])
  const identity = await identityOf(options.identity ?? (await createIdentity()))
  const name = await identityName(identity)
  throwIfAborted(options.signal)
  return new WebRtcRoom(invite, founded, keys, { ...identity, name }, createLink, createSocket, options)
}

const goodbyeMs = 20

const unknownReplicaKey = new WepaxosError(
  'NotSupported',
  'a replica is attached there whose key is of a kind that the browser here does not know: it is not heard',
)

class WebRtcRoom extends EventTarget implements Room {
  readonly room: string
  readonly founded: boolean
  readonly invite: string
  readonly role: 'voter' | 'reader'
  readonly mayVote: boolean
  readonly self = randomText(16)
  readonly identity: string
  readonly faults: RoomFaults
  readonly #clock: Clock
  readonly #logger: Logger | undefined
  readonly #presence: AwarenessPresence<LinkSession>
  readonly #attachments: Attachments
  readonly #mesh: Mesh
  readonly #sameBrowser: SameBrowser | undefined
  readonly #signaling: SignalingClient
  readonly #sealer: Sealer
  readonly #opener: Opener
  /** Named by the signaling server. */
  #namedIceServers: readonly RTCIceServer[] = []
  readonly #ended = new AbortController()
  readonly #refused: Partial<Record<RefusalReason, number>> = {}
  readonly #pendingEvents = new Set<RoomEventType>()
  #peers: readonly RoomPeer[] | undefined
  #closing: Promise<void> | undefined

  constructor(
    invite: Invite,
    founded: boolean,
    keys: RoomKeys,
    identity: Identity & { readonly name: string },
    createLink: CreatePeerLink,
    createSocket: (url: string, protocol: string) => SignalingSocket,
    options: JoinRoomOptions,
  ) {
    super()
    this.room = keys.room
    this.founded = founded
    this.invite = formatInvite(invite)
    this.role = invite.role
    this.mayVote = invite.role === 'voter'
    this.identity = identity.name
    this.#logger = options.logger
    this.#clock = options.clock ?? systemClock
    const limits = { ...defaultFramingLimits, queueBytesMax: 64 * 1024 * 1024, ...options.limits }
    const faults = new Faults(
      (peer) => {
        // What was lost in the silence may have been an announcement: only a new link starts clean.
        this.#mesh.breakLinks(peer)
        this.#mesh.recheck()
      },
      (peer) => this.#mesh.breakLinks(peer),
    )
    this.faults = faults
    this.#attachments = new Attachments({
      messageBytesMax: limits.messageBytesMax,
      mayVote: this.mayVote,
      onReplicas: () => {
        this.#presence.refresh()
        this.#peersChanged()
      },
      onSpoofed: (session, replica) => {
        this.#count('spoofed-sender', { peer: session.peer, replica })
        session.close('a replica was announced without its key')
      },
      // The link stays: the other replicas of that page are heard.
      onUnknownKey: (session, replica) => {
        this.#count('unknown-key', { peer: session.peer, replica })
        this.#peersChanged()
      },
      onUnusableKey: (replica, error) =>
        this.#logger?.warn('a replica can not prove its id: nobody will hear it', { replica, error }),
    })
    this.#presence = new AwarenessPresence(
      (session) => this.#attachments.replicasOf(session),
      (error) => this.#logger?.warn('a presence listener threw', { error }),
    )
    this.#sealer = new Sealer(keys, this.self, randomText(16))
    this.#opener = new Opener(keys, this.self)
    this.#sameBrowser = options.sameBrowser === true ? new SameBrowser(this.room, this.self) : undefined
    this.#mesh = new Mesh({
      self: this.self,
      credentials: { keys, identity },
      clock: this.#clock,
      createLink: this.#sameBrowser?.prefer(createLink) ?? createLink,
      iceServers: () => [...(options.iceServers ?? []), ...this.#namedIceServers],
      liveness: { pingIntervalMs: 2_000, silentIntervalsMax: 3, ...options.liveness },
      limits,
      connectTimeoutMs: options.connectTimeoutMs ?? 10_000,
      fault: (peer) => faults.of(peer),
      sendSignal: (peer, message) => void this.#sendSignal(peer, message),
      events: {
        onOpen: (session) => {
          this.#logger?.debug('link open', { peer: session.peer })
          this.#attachments.linkOpened(session)
          this.#presence.linkOpened(session)
        },
        onClosed: (session, reason) => {
          this.#logger?.debug('link closed', { peer: session.peer, reason })
          this.#attachments.linkClosed(session)
          this.#presence.linkClosed(session)
        },
        onPeers: () => this.#peersChanged(),
        onAlive: (session) => {
          this.#presence.linkAlive(session)
          this.#peersChanged()
        },
        onControl: (session, message) => {
          if (message.type === 'bye') {
            this.#mesh.goodbye(session.peer)
          } else if (message.type === 'attach' || message.type === 'detach') {
            if (!this.#attachments.announced(session, message)) this.#garbage(session, 'a wrong announcement')
          }
        },
        onMessage: (session, message) => {
          if (message.channel === presenceChannel) {
            if (!this.#presence.received(session, message.bytes)) this.#garbage(session, 'a wrong presence update')
          } else if (!this.#attachments.received(session, message)) {
            this.#garbage(session, 'too much before an announcement was verified')
          }
        },
        onGarbage: (session, reason) => this.#count('garbage', { peer: session.peer, reason }),
        onRefused: (reason) => this.#count(reason),
        onUnproven: (peer, reason, kind) => this.#count(kind, { peer, reason }),
      },
    })
    this.#signaling = new SignalingClient({
      url: options.signaling,
      room: this.room,
      id: this.self,
      token: options.token,
      clock: this.#clock,
      createSocket,
      logger: options.logger,
      events: {
        onState: () => this.#fire('signaling'),
        onIceServers: (servers) => {
          this.#namedIceServers = servers
        },
        onWelcome: (peers) => this.#mesh.welcome(peers),
        onPeerJoined: (peer) => this.#mesh.joined(peer),
        onPeerLeft: (peer) => this.#mesh.left(peer),
        onSignal: (from, data) => void this.#onSignal(from, data),
      },
    })
    watchPage(
      {
        // Only of the links: the replicas stay members, and come back with the page.
        onHide: () => this.#mesh.bye(),
        onReturn: () => {
          this.#signaling.recheck()
          this.#mesh.returned()
        },
      },
      this.#ended.signal,
    )
    options.signal?.addEventListener('abort', () => void this.close(), { signal: this.#ended.signal })
    this.#signaling.start()
  }

  get presence(): Presence {
    return this.#presence
  }

  get signaling(): SignalingState {
    return this.#signaling.state
  }

  get signalingProblem(): string | null {
    return this.#signaling.lastProblem
  }

  get refused(): Readonly<Partial<Record<RefusalReason, number>>> {
    return this.#refused
  }

  get peers(): readonly RoomPeer[] {
    this.#peers ??= this.#mesh.peers.map(({ id, session, problem }) => ({
      id,
      state: session === undefined ? 'connecting' : 'open',
      role: session?.proven.role ?? null,
      identity: session?.proven.identity ?? null,
      problem:
        problem ?? (session !== undefined && this.#attachments.hasUnknownKey(session) ? unknownReplicaKey : null),
      rttMs: session?.rttMs ?? null,
      sentBytes: session?.sentBytes ?? 0,
      receivedBytes: session?.receivedBytes ?? 0,
      queuedBytes: session?.queuedBytes ?? 0,
      replicas: session === undefined ? [] : this.#attachments.replicasOf(session),
    }))
    return this.#peers
  }

  newReplica(): Promise<{ readonly replica: ReplicaId; readonly key: Uint8Array }> {
    return createReplicaKey()
  }

  attach(endpoint: Endpoint): Channel {
    return this.#attachments.attach(endpoint)
  }

  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  async #close(): Promise<void> {
    this.#ended.abort()
    // From here on outside of any call of an endpoint that may have led here.
    await Promise.resolve()
    try {
      this.#attachments.close()
    } finally {
      // Also where an endpoint threw: the others are not to wait for a page that is gone.
      this.#mesh.bye()
      // Closing a connection throws away what it still holds: the goodbyes need a moment to leave.
      await new Promise<void>((resolve) => this.#clock.after(goodbyeMs, resolve))
      this.#mesh.close()
      this.#signaling.close()
      this.#sameBrowser?.close()
      this.#presence.close()
    }
  }

  async #sendSignal(peer: string, message: SignalingMessage): Promise<void> {
    const envelope = await this.#sealer.seal(peer, message)
    this.#signaling.send(peer, envelope)
  }

  async #onSignal(from: string, data: unknown): Promise<void> {
    const opened = await this.#opener.open(from, data)
    if (!opened.ok) this.#count(opened.reason, { from })
    else this.#mesh.signal(opened.from, opened.message)
  }

  #garbage(session: { readonly peer: string; close(reason: string): void }, reason: string): void {
    this.#count('garbage', { peer: session.peer, reason })
    session.close(reason)
  }

  #count(reason: RefusalReason, facts: Readonly<Record<string, unknown>> = {}): void {
    const count = (this.#refused[reason] ?? 0) + 1
    this.#refused[reason] = count
    // Once: who sends rubbish sends a lot of it.
    if (count === 1) this.#logger?.warn(`refused: ${reason}`, facts)
    this.#fire('refused')
  }

  #peersChanged(): void {
    this.#peers = undefined
    this.#fire('peers')
  }

  /** One event for all changes of a turn, and never within a call of the one who changes something. */
  #fire(type: RoomEventType): void {
    if (this.#pendingEvents.has(type)) return
    this.#pendingEvents.add(type)
    queueMicrotask(() => {
      this.#pendingEvents.delete(type)
      this.dispatchEvent(new Event(type))
    })
  }
}

function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw new WepaxosError('Aborted', 'joining the room was aborted', {}, signal.reason)
}

function checkSignalingUrl(text: string): void {
  const problem = `signaling is the address of a server, ws://… or wss://…, not ${JSON.stringify(text)}`
  if (!URL.canParse(text)) throw new WepaxosError('InvalidArgument', problem)
  const { protocol } = new URL(text)
  if (protocol !== 'ws:' && protocol !== 'wss:') throw new WepaxosError('InvalidArgument', problem)
}

function checkToken(token: unknown): void {
  if (token === undefined || typeof token === 'function' || isToken(token)) return
  const problem = `token is a text of at most ${tokenLengthMax} characters, or a function that gives one`
  throw new WepaxosError('InvalidArgument', problem)
}

function defaultCreateSocket(): (url: string, protocol: string) => SignalingSocket {
  if (globalThis.WebSocket === undefined) {
    throw new WepaxosError('NotSupported', 'rooms need WebSocket; where there is none, createSocket can bring one')
  }
  return (url, protocol) => new WebSocket(url, protocol)
}
