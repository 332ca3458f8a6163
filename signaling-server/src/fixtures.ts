// What the tests share: a server on a free port that ends with its test, and a peer that speaks raw text over a real
// WebSocket and waits for what comes. Not part of the package.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { connect as connectTcp, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { onTestFinished } from 'vitest'
import { WebSocket } from 'ws'
import type { LogRecord } from './log.ts'
import { createSignalingServer, type Listening, type SignalingServer, type SignalingSettings } from './server.ts'
import { decodeServerMessage, isPeerId, isRoomId, type ServerMessage, signalingProtocol } from './wire.ts'

export function roomId(name: string) {
  const id = `room-${name}`.padEnd(16, '0')
  if (!isRoomId(id)) throw new Error(`no room id: ${id}`)
  return id
}

export function peerId(name: string) {
  const id = `peer-${name}`.padEnd(16, '0')
  if (!isPeerId(id)) throw new Error(`no peer id: ${id}`)
  return id
}

/** What asks for a WebSocket, for tests that go on below it. */
export const upgradeText = [
  'GET / HTTP/1.1',
  'Host: localhost',
  'Connection: Upgrade',
  'Upgrade: websocket',
  'Sec-WebSocket-Version: 13',
  'Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==',
  `Sec-WebSocket-Protocol: ${signalingProtocol}`,
  '\r\n',
].join('\r\n')

export interface RunningServer extends Listening {
  readonly server: SignalingServer
  readonly records: readonly LogRecord[]
}

/** Limits that no test meets by accident; each test tightens its own. */
export async function startServer(settings: SignalingSettings = {}): Promise<RunningServer> {
  const records: LogRecord[] = []
  const server = createSignalingServer({
    port: 0,
    logLevel: 'debug',
    addressConnectsPerMinute: 10_000,
    addressSocketsMax: 1_000,
    log: (record) => records.push(record),
    ...settings,
  })
  onTestFinished(() => server.close())
  return { server, records, ...(await server.listen()) }
}

export interface TestPeerOptions {
  readonly headers?: Readonly<Record<string, string>>
  readonly protocols?: readonly string[]
  /** False: never answers the server's pings. */
  readonly autoPong?: boolean
  /** The certificate that is trusted for wss://. */
  readonly ca?: Buffer
}

export class TestPeer {
  readonly socket: WebSocket
  readonly closed: Promise<{ readonly code: number; readonly reason: string }>
  readonly #received: ServerMessage[] = []
  readonly #waiting: ((message: ServerMessage) => void)[] = []

  constructor(url: string, { headers, protocols = [signalingProtocol], autoPong = true, ca }: TestPeerOptions = {}) {
    const options = {
      autoPong,
      ...(ca === undefined ? {} : { ca }),
      ...(headers === undefined ? {} : { headers: { ...headers } }),
    }
    this.socket = new WebSocket(url, [...protocols], options)
    this.socket.on('message', (data) => {
      const decoded = decodeServerMessage(data.toString())
      if (!decoded.ok) throw new Error(`the server sent what its own decoder refuses: ${decoded.problem}`)
      const waiter = this.#waiting.shift()
      if (waiter === undefined) this.#received.push(decoded.message)
      else waiter(decoded.message)
    })
    this.socket.on('error', () => undefined)
    this.closed = new Promise((resolve) => {
      this.socket.on('close', (code, reason) => resolve({ code, reason: reason.toString() }))
    })
    onTestFinished(() => this.socket.terminate())
  }

  opened(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.socket.once('open', resolve)
      this.socket.once('error', reject)
    })
  }

  say(message: unknown): void {
    this.sayRaw(JSON.stringify(message))
  }

  sayRaw(data: string | Buffer): void {
    this.socket.send(data)
  }

  /** The next message, whatever it is. */
  next(): Promise<ServerMessage> {
    const message = this.#received.shift()
    if (message !== undefined) return Promise.resolve(message)
    return new Promise((resolve) => this.#waiting.push(resolve))
  }

  /** The next message, which has to be of this type. */
  async expect<Type extends ServerMessage['type']>(type: Type): Promise<Extract<ServerMessage, { type: Type }>> {
    const message = await this.next()
    if (!isOfType(message, type)) throw new Error(`expected ${type}, got ${JSON.stringify(message)}`)
    return message
  }

  /** Says hello and waits for the welcome. */
  join(room: string, id: string, more: Readonly<Record<string, unknown>> = {}) {
    this.say({ type: 'hello', room: roomId(room), id: peerId(id), ...more })
    return this.expect('welcome')
  }

  /** All that came so far was answered: true when nothing else was waiting before the pong. */
  async hearsNothingElse(): Promise<boolean> {
    this.say({ type: 'ping' })
    return (await this.next()).type === 'pong'
  }
}

export async function openPeer(url: string, options?: TestPeerOptions): Promise<TestPeer> {
  const peer = new TestPeer(url, options)
  await peer.opened()
  return peer
}

/** A peer that is in the room, and the welcome that it got. */
export async function joinedPeer(url: string, room: string, id: string, options?: TestPeerOptions) {
  const peer = await openPeer(url, options)
  const welcome = await peer.join(room, id)
  return { peer, welcome }
}

/** What a client of y-webrtc is to the server: a WebSocket without a subprotocol. */
export class TopicPeer {
  readonly closed: Promise<{ readonly code: number; readonly reason: string }>
  readonly #socket: WebSocket
  readonly #received: unknown[] = []
  readonly #waiting: ((message: unknown) => void)[] = []

  constructor(url: string) {
    this.#socket = new WebSocket(url)
    this.#socket.on('message', (data) => {
      const message: unknown = JSON.parse(data.toString())
      const waiter = this.#waiting.shift()
      if (waiter === undefined) this.#received.push(message)
      else waiter(message)
    })
    this.#socket.on('error', () => undefined)
    this.closed = new Promise((resolve) => {
      this.#socket.on('close', (code, reason) => resolve({ code, reason: reason.toString() }))
    })
    onTestFinished(() => this.#socket.terminate())
  }

  opened(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#socket.once('open', resolve)
      this.#socket.once('error', reject)
    })
  }

  say(message: unknown): void {
    this.sayRaw(JSON.stringify(message))
  }

  sayRaw(data: string | Buffer): void {
    this.#socket.send(data)
  }

  next(): Promise<unknown> {
    if (this.#received.length > 0) return Promise.resolve(this.#received.shift())
    return new Promise((resolve) => this.#waiting.push(resolve))
  }

  /** Everything that was said so far is done when the pong is here. True when nothing else came before it. */
  async hearsNothingElse(): Promise<boolean> {
    this.say({ type: 'ping' })
    return JSON.stringify(await this.next()) === '{"type":"pong"}'
  }

  close(): void {
    this.#socket.close(1000)
  }
}

/** A file with this text that is gone with the test. */
export function temporaryFile(text: string): string {
  const folder = mkdtempSync(join(tmpdir(), 'wepaxos-signaling-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  const file = join(folder, 'file')
  writeFileSync(file, text)
  return file
}

/** A key and its certificate for localhost, both in one file. There are two. */
export function testCertificate(which: 1 | 2): string {
  return fileURLToPath(new URL(`../testing/localhost-${which}.pem`, import.meta.url))
}

/** A connection below HTTP, and all the text that comes over it until it ends. */
export function openTcp({ host, port }: Listening): { readonly socket: Socket; readonly ended: Promise<string> } {
  const socket = connectTcp(port, host)
  let text = ''
  socket.setEncoding('latin1')
  socket.on('data', (chunk) => {
    text += chunk
  })
  socket.on('error', () => undefined)
  const ended = new Promise<string>((resolve) => socket.on('close', () => resolve(text)))
  onTestFinished(() => {
    socket.destroy()
  })
  return { socket, ended }
}

function isOfType<Type extends ServerMessage['type']>(
  message: ServerMessage,
  type: Type,
): message is Extract<ServerMessage, { type: Type }> {
  return message.type === type
}
