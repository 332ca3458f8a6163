// One socket's life: hello in time, then signals within its limits, until it leaves, breaks, falls silent or is refused.
// Everything that a stranger sends is judged here. Who may connect at all is decided before, in server.ts.
import type { RawData, WebSocket } from 'ws'
import { type Log, roomLabel } from './log.ts'
import type { Metrics, RefusalReason } from './metrics.ts'
import type { SignalingOptions } from './options.ts'
import type { Rooms } from './rooms.ts'
import { TokenBucket } from './token-bucket.ts'
import {
  type AnnouncedLimits,
  type ClientMessage,
  closeCodeOfError,
  closeCodes,
  decodeClientMessage,
  encodeMessage,
  type FatalErrorCode,
  type LeaveReason,
  type ServerMessage,
  type SignalPeerId,
  type SignalRoomId,
} from './wire.ts'

export interface AuthorizeRequest {
  readonly room: SignalRoomId
  readonly id: SignalPeerId
  /** As the peer sent it, unchecked. */
  readonly token: string | undefined
  readonly origin: string | undefined
  /** An IPv4 address, or an IPv6 network `…::/64`. */
  readonly address: string
}

/** `refuse-peer` closes with 4401, `refuse-room` with 4403. */
export type AuthorizeVerdict = 'allow' | 'refuse-peer' | 'refuse-room'

/** Says who may join which room. One that throws, or takes too long, refuses: the peer is asked to come later (1013). */
export type Authorize = (request: AuthorizeRequest) => AuthorizeVerdict | Promise<AuthorizeVerdict>

/** What all connections of one server share. */
export interface ConnectionContext {
  readonly options: SignalingOptions
  readonly rooms: Rooms<Connection>
  readonly metrics: Metrics
  readonly log: Log
  readonly authorize: Authorize | undefined
  /** A clock that never goes back. */
  nowMs(): number
  onClosed(connection: Connection): void
}

export interface ConnectionOrigin {
  readonly address: string
  readonly origin: string | undefined
}

type Hello = Extract<ClientMessage, { type: 'hello' }>

type Stage =
  | { readonly is: 'new'; readonly helloTimer: NodeJS.Timeout }
  | { readonly is: 'joining' }
  | { readonly is: 'member'; readonly room: SignalRoomId; readonly id: SignalPeerId }
  /** Closing or closed; what still arrives is not read. */
  | { readonly is: 'ended' }

export class Connection {
  readonly address: string
  readonly #origin: string | undefined
  readonly #context: ConnectionContext
  readonly #webSocket: WebSocket
  readonly #bucket: TokenBucket
  #stage: Stage
  #pingsMissed = 0

  constructor(context: ConnectionContext, webSocket: WebSocket, { address, origin }: ConnectionOrigin) {
    this.address = address
    this.#origin = origin
    this.#context = context
    this.#webSocket = webSocket
    const { messagesPerSecond, messagesBurst, firstMessageTimeoutMs } = context.options
    this.#bucket = new TokenBucket(messagesPerSecond, messagesBurst, context.nowMs())
    const helloTimer = setTimeout(() => this.end('hello-timeout'), firstMessageTimeoutMs)
    this.#stage = { is: 'new', helloTimer }
    webSocket.on('message', (data, isBinary) => this.#onMessage(data, isBinary))
    webSocket.on('ping', (data) => {
      // Answered by hand, so that a flood of pings is a flood like any other.
      if (this.#mayRead() && this.#hasSpaceFor(data.length)) this.#webSocket.pong(data)
    })
    webSocket.on('pong', () => this.#mayRead())
    webSocket.on('error', (error) => this.#onError(error))
    webSocket.on('close', (code) => this.#onClose(code))
  }

  /** Pings, or gives up on a peer that did not answer the last ones. */
  checkAlive(): void {
    if (this.#stage.is === 'ended') return
    if (this.#pingsMissed >= this.#context.options.pingMissesMax) return this.#drop('silent')
    this.#pingsMissed += 1
    if (this.#webSocket.readyState === this.#webSocket.OPEN) this.#webSocket.ping()
  }

  /** Sends one encoded message, unless the peer reads so slowly that it has to go. */
  tell(text: string): void {
    if (this.#hasSpaceFor(text.length)) this.#webSocket.send(text)
  }

  /** Says why and closes with the code that belongs to it; the room hears it at once. */
  end(error: FatalErrorCode, problem?: string): void {
    if (this.#stage.is === 'ended') return
    this.#refused(error, problem)
    this.#tellMessage({ type: 'error', code: error })
    this.#leave('removed')
    this.#webSocket.close(closeCodeOfError[error], error)
  }

  /** The server stops: no fault of the peer's. */
  closeForDrain(): void {
    this.#webSocket.close(closeCodes.drain, 'draining')
  }

  #onMessage(data: RawData, isBinary: boolean): void {
    if (!this.#mayRead()) return
    if (isBinary) return this.end('bad-message', 'binary frame')
    const decoded = decodeClientMessage(data.toString())
    if (!decoded.ok) return this.end('bad-message', decoded.problem)
    const message = decoded.message
    const stage = this.#stage
    if (message.type === 'hello') {
      if (stage.is !== 'new') return this.end('hello-repeated')
      clearTimeout(stage.helloTimer)
      this.#stage = { is: 'joining' }
      void this.#join(message)
      return
    }
    if (stage.is !== 'member') return this.end('hello-expected')
    if (message.type === 'ping') return this.#tellMessage({ type: 'pong' })
    this.#relay(stage.room, stage.id, message)
  }

  /** Counts one frame against the limit. False when it is not to be looked at. */
  #mayRead(): boolean {
    this.#pingsMissed = 0
    if (this.#stage.is === 'ended') return false
    this.#context.metrics.add('messages_received_total')
    if (this.#bucket.take(this.#context.nowMs())) return true
    this.end('too-many-messages')
    return false
  }

  #relay(room: SignalRoomId, from: SignalPeerId, { to, data }: Extract<ClientMessage, { type: 'signal' }>): void {
    const { rooms, metrics } = this.#context
    const receiver = rooms.find(room, to)
    if (receiver === undefined) {
      metrics.add('signals_undelivered_total')
      return this.#tellMessage({ type: 'error', code: 'unknown-peer', to })
    }
    const text = encodeMessage({ type: 'signal', from, data })
    metrics.add('signals_relayed_total')
    metrics.add('signal_bytes_relayed_total', text.length)
    receiver.tell(text)
  }

  async #join(hello: Hello): Promise<void> {
    const { rooms, metrics, log, options, nowMs } = this.#context
    const refusal = await this.#authorize(hello)
    // The socket may have gone while the hook was asked.
    if (!this.#isJoining()) return
    if (refusal !== undefined) return this.end(refusal)
    const { room, id } = hello
    const joined = rooms.join(hello, this, nowMs())
    if (joined.outcome === 'refused') return this.end(joined.reason)
    this.#stage = { is: 'member', room, id }
    metrics.add('joins_total')
    if (joined.outcome === 'replaced') {
      metrics.add('resumes_total')
      joined.old.end('replaced')
      this.#tellOthers(room, id, { type: 'peer-left', id, reason: 'replaced' })
    }
    const { peers, resume } = joined
    this.#tellMessage({ type: 'welcome', you: id, peers, resume, limits: announcedLimits(options) })
    this.#tellOthers(room, id, { type: 'peer-joined', id })
    log({ event: 'joined', level: 'debug', room: roomLabel(room), peers: peers.length })
  }

  #isJoining(): boolean {
    return this.#stage.is === 'joining'
  }

  async #authorize({ room, id, token }: Hello): Promise<FatalErrorCode | undefined> {
    const { authorize, options, log } = this.#context
    if (authorize === undefined) return undefined
    let timer: NodeJS.Timeout | undefined
    const timeout = new Promise<'timeout'>((resolve) => {
      timer = setTimeout(resolve, options.authorizeTimeoutMs, 'timeout')
    })
    const request = { room, id, token, origin: this.#origin, address: this.address }
    try {
      // Through a function, so that a hook which throws at once is caught like one that rejects.
      const verdict = await Promise.race([(async () => authorize(request))(), timeout])
      if (verdict === 'allow') return undefined
      if (verdict === 'refuse-room') return 'room-refused'
      if (verdict !== 'timeout') return 'not-authorized'
      log({ event: 'authorize-failed', level: 'info', reason: 'timeout' })
    } catch (error) {
      // Only its name: a message could hold the token.
      log({ event: 'authorize-failed', level: 'info', reason: error instanceof Error ? error.name : typeof error })
    } finally {
      clearTimeout(timer)
    }
    return 'server-trouble'
  }

  #tellMessage(message: ServerMessage): void {
    this.tell(encodeMessage(message))
  }

  #tellOthers(room: SignalRoomId, id: SignalPeerId, message: ServerMessage): void {
    const text = encodeMessage(message)
    for (const other of this.#context.rooms.othersOf(room, id)) other.tell(text)
  }

  #hasSpaceFor(length: number): boolean {
    const { OPEN, readyState, bufferedAmount } = this.#webSocket
    if (readyState !== OPEN) return false
    if (bufferedAmount + length <= this.#context.options.bufferedBytesMax) return true
    this.#drop('slow-reader')
    return false
  }

  /** A peer that can not be told anything. Its room hears of it when the socket has closed. */
  #drop(reason: 'silent' | 'slow-reader'): void {
    this.#refused(reason)
    this.#webSocket.terminate()
  }

  /** ws found bytes that are no WebSocket; it closes the socket by itself (1002, 1007, 1008 or 1009). */
  #onError(error: Error & { readonly code?: string }): void {
    if (this.#stage.is === 'ended') return
    if (error.code === 'WS_ERR_UNSUPPORTED_MESSAGE_LENGTH') this.#refused('too-big')
    else if (error.code === 'WS_ERR_TOO_MANY_BUFFERED_PARTS') this.#refused('too-many-fragments')
    else if (error.code?.startsWith('WS_ERR_')) this.#refused('bad-frame')
    // Anything else is a connection that broke, of which `close` tells.
    else return
    this.#leave('removed')
  }

  #onClose(code: number): void {
    // Pages that go away close with 1001.
    this.#leave(code === 1000 || code === 1001 ? 'left' : 'gone')
    this.#context.onClosed(this)
  }

  #leave(reason: LeaveReason): void {
    const stage = this.#stage
    this.#stage = { is: 'ended' }
    if (stage.is === 'new') clearTimeout(stage.helloTimer)
    if (stage.is !== 'member') return
    const { room, id } = stage
    // False for the older of two sockets: the newer one has told the room.
    if (!this.#context.rooms.leave(room, id, this, reason !== 'left', this.#context.nowMs())) return
    this.#tellOthers(room, id, { type: 'peer-left', id, reason })
    this.#context.log({ event: 'left', level: 'debug', room: roomLabel(room), reason })
  }

  #refused(reason: RefusalReason, problem?: string): void {
    const { metrics, log } = this.#context
    metrics.refused(reason)
    log({ event: 'refused', level: 'debug', reason, problem, address: this.address })
  }
}

function announcedLimits(options: SignalingOptions): AnnouncedLimits {
  const { payloadBytesMax, messagesPerSecond, messagesBurst, roomSocketsMax, resumeMs } = options
  return { messageBytesMax: payloadBytesMax, messagesPerSecond, messagesBurst, roomSocketsMax, resumeMs }
}
