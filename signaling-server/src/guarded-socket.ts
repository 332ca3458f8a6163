// One socket and the limits that hold whatever is spoken over it: a first message in time, not too many, none too big, an
// answer to pings, and no more than so much that waits to be read. What the messages mean is its owner's to say.
import type { RawData, WebSocket } from 'ws'
import type { Log } from './log.ts'
import type { Metrics, RefusalReason } from './metrics.ts'
import type { SignalingOptions } from './options.ts'
import { TokenBucket } from './token-bucket.ts'
import { closeCodeOfError, closeCodes, encodeMessage, type FatalErrorCode, type LeaveReason } from './wire.ts'

/** What all sockets of one server share. */
export interface SocketContext {
  readonly options: SignalingOptions
  readonly metrics: Metrics
  readonly log: Log
  /** A clock that never goes back. */
  nowMs(): number
  onClosed(socket: GuardedSocket): void
}

/** Where a socket comes from, as far as the server knows. */
export interface SocketOrigin {
  /** An IPv4 address, or an IPv6 network `…::/64`. */
  readonly address: string
  readonly origin: string | undefined
}

/** Who speaks over the socket. */
export interface SocketOwner {
  /** A text that is within the limits. */
  onText(text: string): void
  /** Once: nothing is read any more. Others may hear of it now. */
  onEnded(reason: LeaveReason): void
}

export class GuardedSocket {
  readonly address: string
  readonly origin: string | undefined
  readonly #context: SocketContext
  readonly #webSocket: WebSocket
  readonly #owner: SocketOwner
  readonly #bucket: TokenBucket
  #firstMessage: NodeJS.Timeout | undefined
  #isEnded = false
  #pingsMissed = 0

  constructor(
    context: SocketContext,
    webSocket: WebSocket,
    { address, origin }: SocketOrigin,
    makeOwner: (socket: GuardedSocket) => SocketOwner,
  ) {
    this.address = address
    this.origin = origin
    this.#context = context
    this.#webSocket = webSocket
    const { messagesPerSecond, messagesBurst, firstMessageTimeoutMs } = context.options
    this.#bucket = new TokenBucket(messagesPerSecond, messagesBurst, context.nowMs())
    this.#firstMessage = setTimeout(() => this.end('hello-timeout'), firstMessageTimeoutMs)
    this.#owner = makeOwner(this)
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
    if (this.#isEnded) return
    if (this.#pingsMissed >= this.#context.options.pingMissesMax) return this.#drop('silent')
    this.#pingsMissed += 1
    if (this.#webSocket.readyState === this.#webSocket.OPEN) this.#webSocket.ping()
  }

  /** Sends one encoded message, unless the peer reads so slowly that it has to go. */
  tell(text: string): void {
    if (this.#hasSpaceFor(text.length)) this.#webSocket.send(text)
  }

  /** Says why and closes with the code that belongs to it; the others hear it at once. `problem` is for the log. */
  end(error: FatalErrorCode, problem?: string): void {
    if (this.#isEnded) return
    this.#refused(error, problem)
    this.tell(encodeMessage({ type: 'error', code: error }))
    this.#ended('removed')
    this.#webSocket.close(closeCodeOfError[error], error)
  }

  /** The server stops: no fault of the peer's. */
  closeForDrain(): void {
    this.#webSocket.close(closeCodes.drain, 'draining')
  }

  #onMessage(data: RawData, isBinary: boolean): void {
    if (!this.#mayRead()) return
    clearTimeout(this.#firstMessage)
    this.#firstMessage = undefined
    if (isBinary) return this.end('bad-message', 'binary frame')
    this.#owner.onText(data.toString())
  }

  /** Counts one frame against the limit. False when it is not to be looked at. */
  #mayRead(): boolean {
    this.#pingsMissed = 0
    if (this.#isEnded) return false
    this.#context.metrics.add('messages_received_total')
    if (this.#bucket.take(this.#context.nowMs())) return true
    this.end('too-many-messages')
    return false
  }

  #hasSpaceFor(length: number): boolean {
    const { OPEN, readyState, bufferedAmount } = this.#webSocket
    if (readyState !== OPEN) return false
    if (bufferedAmount + length <= this.#context.options.bufferedBytesMax) return true
    this.#drop('slow-reader')
    return false
  }

  /** A peer that can not be told anything. The others hear of it when the socket has closed. */
  #drop(reason: 'silent' | 'slow-reader'): void {
    this.#refused(reason)
    this.#webSocket.terminate()
  }

  /** ws found bytes that are no WebSocket; it closes the socket by itself (1002, 1007, 1008 or 1009). */
  #onError(error: Error & { readonly code?: string }): void {
    if (this.#isEnded) return
    if (error.code === 'WS_ERR_UNSUPPORTED_MESSAGE_LENGTH') this.#refused('too-big')
    else if (error.code === 'WS_ERR_TOO_MANY_BUFFERED_PARTS') this.#refused('too-many-fragments')
    else if (error.code?.startsWith('WS_ERR_')) this.#refused('bad-frame')
    // Anything else is a connection that broke, of which `close` tells.
    else return
    this.#ended('removed')
  }

  #onClose(code: number): void {
    // Pages that go away close with 1001.
    this.#ended(code === 1000 || code === 1001 ? 'left' : 'gone')
    this.#context.onClosed(this)
  }

  #ended(reason: LeaveReason): void {
    if (this.#isEnded) return
    this.#isEnded = true
    clearTimeout(this.#firstMessage)
    this.#firstMessage = undefined
    this.#owner.onEnded(reason)
  }

  #refused(reason: RefusalReason, problem?: string): void {
    const { metrics, log } = this.#context
    metrics.refused(reason)
    log({ event: 'refused', level: 'debug', reason, problem, address: this.address })
  }
}
