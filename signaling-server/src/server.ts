// The server: listens, decides which connections may come in at all, keeps watch over those that did, and stops politely.
// What a connected peer may say is in connection.ts and y-webrtc.ts.
import { readFileSync } from 'node:fs'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { createServer as createTlsServer, Server as TlsServer } from 'node:https'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { RateLimiterMemory } from 'rate-limiter-flexible'
import { type WebSocket, WebSocketServer } from 'ws'
import { addressKey, clientAddress, isTrusted, proxyList } from './address.ts'
import type { Authorize } from './authorize.ts'
import { Connection, type ConnectionContext } from './connection.ts'
import { GuardedSocket, type SocketOwner } from './guarded-socket.ts'
import { answer, handleRequest, pathOf } from './http.ts'
import { jwksAuthorize, readSecret, secretAuthorize } from './jwt-authorize.ts'
import { filteredLog, type Log } from './log.ts'
import { type Gauges, Metrics } from './metrics.ts'
import { type GivenOptions, OptionError, resolveOptions, type SignalingOptions } from './options.ts'
import { RedisDirectory } from './redis-directory.ts'
import { LocalDirectory, type RoomDirectory } from './room-directory.ts'
import { TurnCredentials } from './turn-credentials.ts'
import { closeCodeOfError, encodeMessage, type FatalErrorCode, signalingProtocol } from './wire.ts'
import { TopicConnection, type TopicContext, Topics } from './y-webrtc.ts'

export interface SignalingSettings extends GivenOptions {
  /**
   * The caller's own server. Only upgrades on `path` are taken; other requests and upgrades stay the caller's, who may pass
   * requests to `handleRequest`, and closes the server. Without it there is an own one.
   */
  readonly server?: Server | TlsServer
  /** The caller's own check, instead of `jwtSecretFile` or `jwtJwks`. */
  readonly authorize?: Authorize
  /** Gets each record that `logLevel` lets through; without it nothing is logged. */
  readonly log?: Log
}

export interface Listening {
  readonly host: string
  readonly port: number
  /** For peers on the same machine. */
  readonly url: string
}

export interface SignalingServer {
  readonly options: SignalingOptions
  readonly metrics: Metrics
  /**
   * Starts to take peers. A server of the caller's that does not listen yet is made to. Rejects when the port is taken, or
   * Redis does not answer.
   */
  listen(): Promise<Listening>
  /**
   * Takes nobody any more, asks the peers to come back later, and after `drainMs` closes those that are left with 1001.
   * Resolves when all are gone. /readyz and /metrics still answer.
   */
  drain(): Promise<void>
  /** Ends everything now. Idempotent. */
  close(): Promise<void>
  /** Answers /healthz, /readyz and /metrics on a caller's own server; false for other paths. */
  handleRequest(request: IncomingMessage, response: ServerResponse): boolean
  /** Takes `cert` and `key` as they are now, for new connections. Throws OptionError, and keeps the old ones then. */
  reloadCertificate(): void
  gauges(): Gauges
  metricsText(): string
}

/** Throws OptionError for a setting that can not be. */
export function createSignalingServer(settings: SignalingSettings = {}): SignalingServer {
  return new WebSocketSignalingServer(settings)
}

/** A peer that is told to go has so long to say its part of the goodbye. */
const closeTimeoutMs = 2_000
/** Pieces in which the network may deliver one frame. */
const chunksMax = 256
/** Refused sockets that may be in their goodbye at once; more are refused without a word that a page could read. */
const refusingMax = 64
/** HTTP connections beyond the sockets, for health checks and refusals. */
const spareConnections = 256

class WebSocketSignalingServer implements SignalingServer {
  readonly options: SignalingOptions
  readonly metrics = new Metrics()
  readonly #http: Server | TlsServer
  readonly #ownsHttp: boolean
  readonly #webSockets: WebSocketServer
  readonly #log: Log
  readonly #context: ConnectionContext
  readonly #topics: TopicContext
  readonly #sockets = new Set<GuardedSocket>()
  /** Those of the sockets that speak wire v1. */
  readonly #peers = new Map<GuardedSocket, Connection>()
  readonly #refusing = new Set<WebSocket>()
  readonly #socketsByAddress = new AddressCounts()
  /** Whatever is spoken over them. Only on an own server, and without those of proxies, who bring many clients. */
  readonly #connectionsByAddress = new AddressCounts()
  readonly #connects: RateLimiterMemory
  readonly #proxies: ReturnType<typeof proxyList>
  readonly #origins: ReadonlySet<string>
  readonly #onUpgrade: (request: IncomingMessage, socket: Duplex, head: Buffer) => void
  #state: 'idle' | 'listening' | 'draining' | 'closed' = 'idle'
  #pings: NodeJS.Timeout | undefined
  #iceRefresh: NodeJS.Timeout | undefined
  #whenEmpty: (() => void)[] = []
  #closing: Promise<void> | undefined

  constructor({ server, authorize, log, ...given }: SignalingSettings) {
    this.options = resolveOptions(given)
    const { logLevel, addressConnectsPerMinute, trustedProxies, origins, roomsMax, roomSocketsMax } = this.options
    this.#log = log === undefined ? () => undefined : filteredLog(log, logLevel)
    this.#connects = new RateLimiterMemory({ points: addressConnectsPerMinute, duration: 60 })
    this.#proxies = proxyList(trustedProxies)
    this.#origins = new Set(origins)
    this.#context = {
      options: this.options,
      rooms: this.#createDirectory(),
      metrics: this.metrics,
      log: this.#log,
      authorize: authorizeOf(this.options, authorize),
      turn: turnOf(this.options),
      nowMs: () => performance.now(),
      onClosed: (socket) => this.#onClosed(socket),
    }
    this.#topics = { ...this.#context, topics: new Topics(roomsMax, roomSocketsMax) }
    const webSocketOptions = {
      noServer: true,
      clientTracking: false,
      perMessageDeflate: false,
      autoPong: false,
      maxPayload: this.options.payloadBytesMax,
      maxFragments: this.options.fragmentsMax,
      maxBufferedChunks: chunksMax,
      closeTimeout: closeTimeoutMs,
      handleProtocols: (offered: ReadonlySet<string>) => (offered.has(signalingProtocol) ? signalingProtocol : false),
    }
    this.#webSockets = new WebSocketServer(webSocketOptions)
    this.#ownsHttp = server === undefined
    this.#http = server ?? this.#createHttpServer()
    this.#onUpgrade = (request, socket, head) => void this.#upgrade(request, socket, head)
  }

  async listen(): Promise<Listening> {
    if (this.#state !== 'idle') throw new Error(`listen: expected a new server, this one is ${this.#state}`)
    this.#state = 'listening'
    await this.#context.rooms.start()
    if (!this.#http.listening) await this.#startHttp()
    this.#http.on('upgrade', this.#onUpgrade)
    this.#pings = setInterval(() => {
      for (const socket of this.#sockets) socket.checkAlive()
    }, this.options.pingIntervalMs)
    this.#pings.unref()
    const { turn } = this.#context
    if (turn !== undefined) {
      this.#iceRefresh = setInterval(() => {
        for (const peer of this.#peers.values()) peer.refreshIce(turn)
      }, turn.refreshMs)
      this.#iceRefresh.unref()
    }
    const address = this.#http.address()
    if (address === null || typeof address === 'string') throw new Error('listen: expected a server on a TCP port')
    const { address: host, port } = address
    const reachable = host === '0.0.0.0' ? '127.0.0.1' : host === '::' ? '::1' : host
    const scheme = this.#http instanceof TlsServer ? 'wss' : 'ws'
    const url = `${scheme}://${reachable.includes(':') ? `[${reachable}]` : reachable}:${port}${this.options.path}`
    this.#log({ event: 'listening', level: 'info', url, host, port })
    if (this.#origins.size === 0) {
      const message = 'no origins are given: the pages of every website may use this server'
      this.#log({ event: 'open-to-every-origin', level: 'info', message })
    }
    return { host, port, url }
  }

  async drain(): Promise<void> {
    if (this.#state === 'listening') {
      this.#state = 'draining'
      const { retryAfterMs } = this.options
      this.#log({ event: 'draining', level: 'info', sockets: this.#sockets.size })
      const text = encodeMessage({ type: 'drain', retryAfterMs })
      for (const socket of this.#sockets) socket.tell(text)
      const timer = setTimeout(() => this.#closeSockets(), this.options.drainMs)
      await this.#empty()
      clearTimeout(timer)
    }
    await this.#empty()
  }

  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  handleRequest(request: IncomingMessage, response: ServerResponse): boolean {
    return handleRequest(request, response, {
      isReady: () => this.#isReady(),
      metricsText: () => this.metricsText(),
    })
  }

  gauges(): Gauges {
    return {
      ...this.#context.rooms.gauges(),
      sockets: this.#sockets.size,
      topics: this.#topics.topics.count,
      draining: this.#state === 'draining',
      ready: this.#isReady(),
    }
  }

  metricsText(): string {
    return this.metrics.text(this.gauges())
  }

  reloadCertificate(): void {
    const { cert, key } = this.options
    if (!this.#ownsHttp || !(this.#http instanceof TlsServer)) return
    const pair = readCertificate(cert, key)
    try {
      this.#http.setSecureContext(pair)
    } catch {
      throw new OptionError('cert', 'expected a certificate and its key in PEM')
    }
    this.#log({ event: 'certificate-read', level: 'info' })
  }

  #isReady(): boolean {
    return this.#state === 'listening' && this.#context.rooms.isReady()
  }

  #createDirectory(): RoomDirectory {
    const nowMs = () => performance.now()
    if (this.options.redisUrl === '') return new LocalDirectory(this.options, nowMs)
    return new RedisDirectory(this.options, this.metrics, this.#log)
  }

  #createHttpServer(): Server | TlsServer {
    const { headersTimeoutMs, socketsMax, cert, key } = this.options
    const timeouts = {
      headersTimeout: headersTimeoutMs,
      requestTimeout: headersTimeoutMs,
      // Node looks for late connections only so often; its own 30 s would make nothing of a limit of 5 s.
      connectionsCheckingInterval: Math.min(headersTimeoutMs, 1_000),
      keepAliveTimeout: headersTimeoutMs,
      maxHeaderSize: 8_192,
    }
    const onRequest = (request: IncomingMessage, response: ServerResponse) => {
      // Connections that wait for another request would fill the spare ones. (maxRequestsPerSocket says so and closes none.)
      response.setHeader('connection', 'close')
      if (!this.handleRequest(request, response)) answer(response, 404, 'not found\n')
    }
    const server =
      cert === ''
        ? createServer(timeouts, onRequest)
        : createTls({ ...timeouts, ...readCertificate(cert, key), handshakeTimeout: headersTimeoutMs }, onRequest)
    server.maxConnections = socketsMax + spareConnections
    server.on('connection', (socket: Socket) => this.#onConnection(socket))
    return server
  }

  #onConnection(socket: Socket): void {
    const remote = socket.remoteAddress ?? ''
    if (isTrusted(remote, this.#proxies)) return
    const address = addressKey(remote)
    const { addressSocketsMax, addressSpareConnections } = this.options
    if (this.#connectionsByAddress.of(address) >= addressSocketsMax + addressSpareConnections) {
      this.metrics.refused('too-many-connections')
      this.#log({ event: 'refused', level: 'debug', reason: 'too-many-connections', address })
      socket.destroy()
      return
    }
    this.#connectionsByAddress.add(address, 1)
    socket.once('close', () => this.#connectionsByAddress.add(address, -1))
  }

  #startHttp(): Promise<void> {
    const { host, port } = this.options
    return new Promise((resolve, reject) => {
      this.#http.once('error', reject)
      this.#http.listen(port, host, () => {
        this.#http.off('error', reject)
        resolve()
      })
    })
  }

  async #upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): Promise<void> {
    const path = pathOf(request)
    const isTopics = this.options.yWebrtcPath !== '' && path === this.options.yWebrtcPath
    const isServed = isTopics || path === this.options.path
    // On a caller's server other upgrades are others' business.
    if (!isServed && !this.#ownsHttp) return
    // Ahead of all else, and for good: Node took its own listener away, and an error without one would end the process.
    socket.on('error', () => socket.destroy())
    if (!isServed) return refuseUpgrade(socket, '404 Not Found', 'no WebSocket on this path')
    if (!isTopics && !namesProtocol(request)) {
      this.metrics.refused('no-subprotocol')
      return refuseUpgrade(socket, '400 Bad Request', `the subprotocol ${signalingProtocol} is needed`)
    }
    const forwardedFor = request.headers['x-forwarded-for']
    const forwarded = Array.isArray(forwardedFor) ? forwardedFor.join(',') : forwardedFor
    const address = addressKey(clientAddress(request.socket.remoteAddress ?? '', forwarded, this.#proxies))
    const origin = request.headers.origin
    const isWithinRate = await this.#connects.consume(address).then(
      () => true,
      () => false,
    )
    const refusal = isWithinRate ? this.#refusalOf(address, origin) : 'too-many-connects'
    if (refusal !== undefined) return this.#refuse(refusal, address, request, socket, head)
    this.#webSockets.handleUpgrade(request, socket, head, (webSocket) => {
      const makeOwner = isTopics
        ? (own: GuardedSocket) => new TopicConnection(this.#topics, own, tokenOf(request))
        : (own: GuardedSocket) => this.#createPeer(own)
      this.#sockets.add(new GuardedSocket(this.#context, webSocket, { address, origin }, makeOwner))
      this.#socketsByAddress.add(address, 1)
      this.metrics.add('sockets_accepted_total')
    })
  }

  #createPeer(socket: GuardedSocket): SocketOwner {
    const peer = new Connection(this.#context, socket)
    this.#peers.set(socket, peer)
    return peer
  }

  #refusalOf(address: string, origin: string | undefined): FatalErrorCode | undefined {
    if (this.#state !== 'listening') return 'draining'
    if (this.#sockets.size >= this.options.socketsMax) return 'server-full'
    if (this.#socketsByAddress.of(address) >= this.options.addressSocketsMax) return 'too-many-sockets'
    if (this.#origins.size > 0 && (origin === undefined || !this.#origins.has(origin))) return 'origin-refused'
    return undefined
  }

  /** A page can read a close code, but not an HTTP status: so the socket is opened only to say why not. */
  #refuse(error: FatalErrorCode, address: string, request: IncomingMessage, socket: Duplex, head: Buffer): void {
    this.metrics.refused(error)
    this.#log({ event: 'refused', level: 'debug', reason: error, address })
    if (this.#refusing.size >= refusingMax) return refuseUpgrade(socket, '503 Service Unavailable', error)
    this.#webSockets.handleUpgrade(request, socket, head, (webSocket) => {
      this.#refusing.add(webSocket)
      webSocket.on('error', () => webSocket.terminate())
      webSocket.on('close', () => this.#refusing.delete(webSocket))
      webSocket.send(encodeMessage({ type: 'error', code: error }))
      webSocket.close(closeCodeOfError[error], error)
    })
  }

  #onClosed(socket: GuardedSocket): void {
    this.#sockets.delete(socket)
    this.#peers.delete(socket)
    this.#socketsByAddress.add(socket.address, -1)
    if (this.#sockets.size > 0) return
    for (const resolve of this.#whenEmpty.splice(0)) resolve()
  }

  #closeSockets(): void {
    for (const socket of this.#sockets) socket.closeForDrain()
  }

  #empty(): Promise<void> {
    return new Promise((resolve) => {
      if (this.#sockets.size === 0) resolve()
      else this.#whenEmpty.push(resolve)
    })
  }

  async #close(): Promise<void> {
    this.#state = 'closed'
    clearInterval(this.#pings)
    clearInterval(this.#iceRefresh)
    this.#http.off('upgrade', this.#onUpgrade)
    this.#closeSockets()
    for (const webSocket of this.#refusing) webSocket.terminate()
    await this.#empty()
    await this.#context.rooms.close()
    if (this.#ownsHttp && this.#http.listening) {
      await new Promise<void>((resolve) => {
        this.#http.close(() => resolve())
        this.#http.closeAllConnections()
      })
    }
    this.#log({ event: 'closed', level: 'info' })
  }
}

/** How many each address has; none takes no memory. */
class AddressCounts {
  readonly #counts = new Map<string, number>()

  of(address: string): number {
    return this.#counts.get(address) ?? 0
  }

  add(address: string, change: 1 | -1): void {
    const count = this.of(address) + change
    if (count > 0) this.#counts.set(address, count)
    else this.#counts.delete(address)
  }
}

function authorizeOf(options: SignalingOptions, authorize: Authorize | undefined): Authorize | undefined {
  const { jwtSecretFile, jwtJwks } = options
  if (jwtSecretFile === '' && jwtJwks === '') return authorize
  const option = jwtSecretFile === '' ? 'jwtJwks' : 'jwtSecretFile'
  if (authorize !== undefined) throw new OptionError(option, 'expected it without a hook of your own')
  return jwtSecretFile === '' ? jwksAuthorize(jwtJwks, options) : secretAuthorize(jwtSecretFile, options)
}

function turnOf({ turnSecretFile, turnUrls, turnTtl }: SignalingOptions): TurnCredentials | undefined {
  if (turnSecretFile === '') return undefined
  const secret = readSecret('turnSecretFile', turnSecretFile)
  if (secret === '') throw new OptionError('turnSecretFile', 'expected a secret in it, got nothing')
  return new TurnCredentials({ secret, urls: turnUrls, ttlSeconds: turnTtl }, () => Date.now() / 1_000)
}

function readCertificate(cert: string, key: string): { readonly cert: Buffer; readonly key: Buffer } {
  const read = (option: string, file: string) => {
    try {
      return readFileSync(file)
    } catch {
      throw new OptionError(option, 'can not read the file')
    }
  }
  return { cert: read('cert', cert), key: read('key', key) }
}

function createTls(...[options, onRequest]: Parameters<typeof createTlsServer>): TlsServer {
  try {
    return createTlsServer(options, onRequest)
  } catch {
    // OpenSSL's words about the file's contents say little, and could say too much.
    throw new OptionError('cert', 'expected a certificate and its key in PEM')
  }
}

/** y-webrtc's wire has no hello: its clients can only say a token in the URL. */
function tokenOf(request: IncomingMessage): string | undefined {
  const query = (request.url ?? '').split('?', 2)[1] ?? ''
  return new URLSearchParams(query).get('token') ?? undefined
}

function namesProtocol(request: IncomingMessage): boolean {
  const offered = request.headers['sec-websocket-protocol'] ?? ''
  return offered.split(',').some((name) => name.trim() === signalingProtocol)
}

/** For a socket whose errors are listened to. */
function refuseUpgrade(socket: Duplex, status: string, body: string): void {
  const head = `HTTP/1.1 ${status}\r\nConnection: close\r\nContent-Type: text/plain\r\n`
  socket.once('finish', () => socket.destroy())
  socket.end(`${head}Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`)
}
