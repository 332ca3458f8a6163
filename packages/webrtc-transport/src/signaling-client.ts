// The client's end of signaling wire v1: a WebSocket that comes back for as long as the room is open. It carries opaque
// payloads between ids; links that are open do not notice when it goes.
import type { Logger } from '@wepaxos/core'
import { randomText } from './base64url.ts'
import { backoffMs, type Clock } from './clock.ts'
import { decodeIceServers, type NamedIceServer } from './ice-servers.ts'

/**
 * `unauthorized`: the server refuses this page's token, or wants one. `forbidden`: it refuses the page's origin, or its
 * token for this room. Neither is for ever: the server is asked again, ever more rarely, each time with the token of then.
 */
export type SignalingState = 'connecting' | 'open' | 'unauthorized' | 'forbidden' | 'closed'

/** What the server's `authorize` hook is shown, or what gives that for a room's public id: asked anew at each connect. */
export type SignalingToken = string | ((room: string) => string | Promise<string>)

/** What the client tells. Never called from within a call to the client, except for the last onState by `close`. */
export interface SignalingEvents {
  onState(state: SignalingState): void
  /** STUN and TURN servers to make links with from now on, instead of those told before. Ahead of `onWelcome`. */
  onIceServers(servers: readonly NamedIceServer[]): void
  /** The server took us in; `peers` are the others in the room. */
  onWelcome(peers: readonly string[]): void
  onPeerJoined(peer: string): void
  onPeerLeft(peer: string): void
  onSignal(from: string, data: unknown): void
}

/** The part of WebSocket that is used; the browsers' own and the `ws` package's both have it. */
export interface SignalingSocket {
  readonly readyState: number
  send(text: string): void
  close(code?: number, reason?: string): void
  addEventListener(type: 'open' | 'error', listener: () => void): void
  addEventListener(type: 'message', listener: (event: { readonly data: unknown }) => void): void
  addEventListener(type: 'close', listener: (event: { readonly code: number; readonly reason: string }) => void): void
}

export interface SignalingClientOptions {
  readonly url: string
  readonly room: string
  readonly id: string
  readonly token?: SignalingToken | undefined
  readonly events: SignalingEvents
  readonly clock: Clock
  readonly createSocket: (url: string, protocol: string) => SignalingSocket
  readonly logger?: Logger | undefined
}

export const signalingProtocol = 'wepaxos.signal.v1'

const firstDelayMs = 250
const lastDelayMs = 4_000
/** For a server that says no (rather than nothing): asking it again soon would not help. Doubles, up to the last. */
const refusedDelayMs = 15_000
const lastRefusedDelayMs = 240_000
/** What the server takes at most. */
export const tokenLengthMax = 4_096
const openTimeoutMs = 10_000
const pingIntervalMs = 15_000
const pongTimeoutMs = 5_000
/** A connection that lasted so long was a good one: the next failure begins at the first delay again. */
const goodAfterMs = 5_000
/** Until the server has said its own limits; it closes the socket of who goes over them. */
const defaultLimits = { messagesPerSecond: 20, messagesBurst: 60 }
/** How much of the limits is used: the server's clock is not ours, and its pings count too. */
const limitShare = 0.75
const waitingMax = 1_000
/** The server gives the id free at once. */
const leavesCode = 1000
/** Any other: the server keeps the id for who shows the resume token. */
const comesBackCode = 4000
/** Of the token by which the server knows us again. */
const resumeBytes = 18
const idPattern = /^[A-Za-z0-9_-]{16,64}$/
const resumePattern = /^[A-Za-z0-9_-]{16,64}$/

export class SignalingClient {
  readonly #options: SignalingClientOptions
  #state: SignalingState = 'connecting'
  #socket: SignalingSocket | undefined
  /** Its own from the first hello on: a server that took us in knows us again, also when its welcome did not come. */
  #resume = randomText(resumeBytes)
  #failures = 0
  /** Of those, in a row, the ones in which the server said no. */
  #refusals = 0
  #welcomedAtMs = 0
  #retryAfterMs: number | undefined
  #lastProblem: string | null = null
  /** What the server complained about over this socket: the better reason when it closes. */
  #serverError: string | undefined
  #cancelTimer: () => void = () => undefined
  #cancelPong: (() => void) | undefined
  #limits = defaultLimits
  #tokens = 0
  #tokensAtMs: number
  /** The token of this connect is being asked for; another symbol, or none: of an earlier one. */
  #asking: symbol | undefined
  readonly #waiting: string[] = []
  #cancelDrain: (() => void) | undefined
  #ended = false

  constructor(options: SignalingClientOptions) {
    this.#options = options
    this.#tokensAtMs = options.clock.now()
  }

  get state(): SignalingState {
    return this.#state
  }

  /** Why the last connection ended or did not come about, for people; null while all is well. */
  get lastProblem(): string | null {
    return this.#lastProblem
  }

  /** Begins. Once. */
  start(): void {
    this.#connect()
  }

  /** Sends `data` to another id in the room. False when there is no connection: the payload is lost then. */
  send(to: string, data: unknown): boolean {
    if (this.#state !== 'open' || this.#waiting.length >= waitingMax) return false
    this.#waiting.push(JSON.stringify({ type: 'signal', to, data }))
    this.#drain()
    return true
  }

  /** Connects at once when it is waiting to, or makes sure that the connection is alive. */
  recheck(): void {
    if (this.#ended) return
    if (this.#state === 'open') this.#ping()
    else if (this.#socket === undefined && this.#asking === undefined) this.#connect()
  }

  /** Leaves the room on the server, for good. */
  close(): void {
    if (this.#ended) return
    this.#ended = true
    this.#dropSocket(leavesCode)
    this.#setState('closed')
  }

  #connect(): void {
    this.#cancelTimer()
    // Who was refused stays so until it is welcome: a new try alone is no news.
    if (!this.#isRefused) this.#setState('connecting')
    const { token } = this.#options
    if (typeof token === 'function') void this.#connectWith(token)
    else this.#open(token)
  }

  /** Before the socket: the server waits for its hello only so long, and a login may take its time. */
  async #connectWith(giveToken: Exclude<SignalingToken, string>): Promise<void> {
    const asking = Symbol('asking')
    this.#asking = asking
    let token: unknown
    let problem = 'no token: expected a text of at most 4,096 characters'
    try {
      token = await giveToken(this.#options.room)
    } catch (error) {
      problem = `no token: ${error instanceof Error ? error.message : String(error)}`
    }
    if (this.#asking !== asking) return
    this.#asking = undefined
    if (isToken(token)) this.#open(token)
    else this.#failed(problem)
  }

  #open(token: string | undefined): void {
    const { url, createSocket, clock } = this.#options
    let socket: SignalingSocket
    try {
      socket = createSocket(url, signalingProtocol)
    } catch (error) {
      this.#failed(error instanceof Error ? error.message : 'no socket', refusedDelayMs)
      return
    }
    this.#socket = socket
    // Each listener asks whether this socket is still the one: a late event of an old one means nothing.
    socket.addEventListener('open', () => this.#socket === socket && this.#hello(socket, token))
    socket.addEventListener('message', ({ data }) => this.#socket === socket && this.#onData(data))
    socket.addEventListener('close', ({ code, reason }) => this.#socket === socket && this.#onClose(code, reason))
    socket.addEventListener('error', () => undefined)
    this.#cancelTimer = clock.after(openTimeoutMs, () => this.#failed('no welcome in time'))
  }

  #hello(socket: SignalingSocket, token: string | undefined): void {
    const { room, id } = this.#options
    const hello = { type: 'hello', room, id, resume: this.#resume }
    socket.send(JSON.stringify(token === undefined ? hello : { ...hello, token }))
  }

  /** Whatever the server says: an error that escaped from here would end a process of Node. */
  #onData(data: unknown): void {
    try {
      const message = parseMessage(data)
      if (message !== undefined) this.#onMessage(message)
    } catch (error) {
      const problem = `a message of the server failed: ${error instanceof Error ? error.message : 'for no reason'}`
      this.#options.logger?.warn('signaling: a message of the server failed', { problem })
      if (!this.#ended) this.#failed(problem, refusedDelayMs)
    }
  }

  #onMessage(message: Readonly<Record<string, unknown>>): void {
    const { events, id, clock } = this.#options
    this.#cancelPong?.()
    this.#cancelPong = undefined
    switch (message['type']) {
      case 'welcome': {
        const { peers, resume, limits } = message
        if (this.#state === 'open' || !Array.isArray(peers)) return
        // A server from before peers made their own gives another. One that no server takes would keep us out for good.
        if (typeof resume === 'string' && resumePattern.test(resume)) this.#resume = resume
        this.#cancelTimer()
        this.#welcomedAtMs = clock.now()
        this.#limits = decodeLimits(limits)
        this.#tokens = this.#limits.messagesBurst * limitShare
        this.#tokensAtMs = clock.now()
        this.#lastProblem = null
        this.#refusals = 0
        this.#setState('open')
        this.#schedulePing()
        events.onIceServers(decodeIceServers(message['ice']))
        events.onWelcome(peers.filter((peer): peer is string => isId(peer) && peer !== id))
        return
      }
      case 'ice':
        if (this.#state === 'open') events.onIceServers(decodeIceServers(message['ice']))
        return
      case 'peer-joined':
        if (this.#state === 'open' && isId(message['id']) && message['id'] !== id) events.onPeerJoined(message['id'])
        return
      case 'peer-left':
        if (this.#state === 'open' && isId(message['id'])) events.onPeerLeft(message['id'])
        return
      case 'signal':
        if (this.#state === 'open' && isId(message['from'])) events.onSignal(message['from'], message['data'])
        return
      case 'error': {
        const { code } = message
        if (typeof code !== 'string') return
        this.#serverError = `the server says ${code.slice(0, 100)}`
        this.#options.logger?.debug('signaling: an error from the server', { code: code.slice(0, 100) })
        return
      }
      case 'drain': {
        const { retryAfterMs } = message
        if (typeof retryAfterMs === 'number' && retryAfterMs >= 0) this.#retryAfterMs = Math.min(retryAfterMs, 60_000)
        return
      }
      default:
        // pong, and what later servers may add.
        return
    }
  }

  #onClose(code: number, reason: string): void {
    const said = reason === '' ? `closed with code ${code}` : `closed with code ${code}: ${reason}`
    // 1001 goes away and 1013 is busy: both want us back. The others of this list would say the same again.
    const refused = code === 1008 || code === 1009 || (code >= 4400 && code < 4500 && code !== 4409)
    const state = code === 4401 ? 'unauthorized' : code === 4403 ? 'forbidden' : 'connecting'
    if (refused) this.#failed(this.#serverError ?? said, refusedDelayMs, state)
    else this.#failed(this.#serverError ?? said)
  }

  get #isRefused(): boolean {
    return this.#state === 'unauthorized' || this.#state === 'forbidden'
  }

  #failed(problem: string, delayMs?: number, state: SignalingState = 'connecting'): void {
    const { clock, logger } = this.#options
    if (this.#state === 'open' && clock.now() - this.#welcomedAtMs >= goodAfterMs) this.#failures = 0
    this.#dropSocket(comesBackCode)
    this.#lastProblem = problem
    const waitMs =
      this.#retryAfterMs !== undefined
        ? this.#retryAfterMs * (1 + clock.random())
        : delayMs !== undefined
          ? backoffMs(clock, this.#refusals, delayMs, lastRefusedDelayMs)
          : backoffMs(clock, this.#failures, firstDelayMs, lastDelayMs)
    this.#retryAfterMs = undefined
    this.#failures += 1
    if (delayMs !== undefined) this.#refusals += 1
    logger?.debug('signaling: connection lost', { problem, waitMs })
    this.#cancelTimer = clock.after(waitMs, () => this.#connect())
    this.#setState(state)
  }

  #dropSocket(code: typeof leavesCode | typeof comesBackCode): void {
    const socket = this.#socket
    this.#socket = undefined
    this.#serverError = undefined
    this.#asking = undefined
    this.#cancelTimer()
    this.#cancelPong?.()
    this.#cancelPong = undefined
    this.#cancelDrain?.()
    this.#cancelDrain = undefined
    this.#waiting.length = 0
    socket?.close(code)
  }

  #setState(state: SignalingState): void {
    if (this.#state === state) return
    this.#state = state
    this.#options.events.onState(state)
  }

  #schedulePing(): void {
    this.#cancelTimer = this.#options.clock.after(pingIntervalMs, () => {
      this.#ping()
      this.#schedulePing()
    })
  }

  #ping(): void {
    if (this.#cancelPong !== undefined) return
    this.#cancelPong = this.#options.clock.after(pongTimeoutMs, () => this.#failed('the server is silent'))
    this.#waiting.push(JSON.stringify({ type: 'ping' }))
    this.#drain()
  }

  /** Sends what waits, as fast as the server allows. */
  #drain(): void {
    if (this.#cancelDrain !== undefined || this.#socket === undefined) return
    const { clock } = this.#options
    const now = clock.now()
    const perSecond = this.#limits.messagesPerSecond * limitShare
    const burst = this.#limits.messagesBurst * limitShare
    this.#tokens = Math.min(burst, this.#tokens + ((now - this.#tokensAtMs) / 1_000) * perSecond)
    this.#tokensAtMs = now
    while (this.#tokens >= 1) {
      const text = this.#waiting.shift()
      if (text === undefined) return
      this.#tokens -= 1
      this.#socket.send(text)
    }
    if (this.#waiting.length === 0) return
    this.#cancelDrain = clock.after(((1 - this.#tokens) / perSecond) * 1_000 + 1, () => {
      this.#cancelDrain = undefined
      this.#drain()
    })
  }
}

function parseMessage(data: unknown): Readonly<Record<string, unknown>> | undefined {
  if (typeof data !== 'string') return undefined
  try {
    const value: unknown = JSON.parse(data)
    return typeof value === 'object' && value !== null ? (value as Readonly<Record<string, unknown>>) : undefined
  } catch {
    return undefined
  }
}

function decodeLimits(value: unknown): typeof defaultLimits {
  if (typeof value !== 'object' || value === null) return defaultLimits
  const { messagesPerSecond, messagesBurst } = value as Record<keyof typeof defaultLimits, unknown>
  const isLimit = (limit: unknown) => typeof limit === 'number' && limit >= 2 && limit <= 10_000
  if (!isLimit(messagesPerSecond) || !isLimit(messagesBurst)) return defaultLimits
  return { messagesPerSecond, messagesBurst } as typeof defaultLimits
}

/** Whether the server could take it at all. */
export function isToken(value: unknown): value is string {
  return typeof value === 'string' && value.length > 0 && value.length <= tokenLengthMax
}

function isId(value: unknown): value is string {
  return typeof value === 'string' && idPattern.test(value)
}
