// A signaling server inside the process, at the level of sockets: what the client tests and the room tests of Node talk
// to. Speaks wire v1 as far as a well-behaved client can tell; lets a test stop it, and see and change what it relays.
import type { SignalingSocket } from '../src/signaling-client.ts'

type Listener = (event: never) => void
type Payload = Readonly<Record<string, unknown>>

export class MemorySocket implements SignalingSocket {
  readonly sent: Payload[] = []
  readyState = 0
  readonly #listeners = new Map<string, Listener[]>()
  readonly #onSend: (message: Payload) => void
  readonly #onClose: () => void

  constructor(onSend: (message: Payload) => void = () => undefined, onClose: () => void = () => undefined) {
    this.#onSend = onSend
    this.#onClose = onClose
  }

  addEventListener(type: string, listener: Listener): void {
    this.#listeners.set(type, [...(this.#listeners.get(type) ?? []), listener])
  }

  send(text: string): void {
    if (this.readyState !== 1) throw new Error('this socket is not open')
    const message = JSON.parse(text) as Payload
    this.sent.push(message)
    this.#onSend(message)
  }

  close(): void {
    this.end(1000)
  }

  /** The server's side of it, from here on. */
  open(): void {
    this.readyState = 1
    this.#emit('open', {})
  }

  say(message: unknown): void {
    if (this.readyState === 1) {
      this.#emit('message', { data: typeof message === 'string' ? message : JSON.stringify(message) })
    }
  }

  end(code: number, reason = ''): void {
    if (this.readyState === 3) return
    this.readyState = 3
    this.#onClose()
    this.#emit('close', { code, reason })
  }

  #emit(type: string, event: unknown): void {
    for (const listener of this.#listeners.get(type) ?? []) listener(event as never)
  }
}

/** One payload on its way from one page to another. */
export interface Signal {
  readonly from: string
  readonly to: string
  readonly data: unknown
}

interface Member {
  readonly socket: MemorySocket
  readonly room: string
  readonly id: string
}

export class MemorySignaling {
  readonly #members = new Set<Member>()
  readonly #sockets = new Set<MemorySocket>()
  #running = true
  /** Every relayed signal passes here; what is returned is delivered. By default as it came. */
  tamper: (signal: Signal) => readonly Omit<Signal, 'to'>[] = (signal) => [signal]

  readonly createSocket = (): MemorySocket => {
    const socket: MemorySocket = new MemorySocket(
      (message) => queueMicrotask(() => this.#onMessage(socket, message)),
      () => this.#gone(socket),
    )
    queueMicrotask(() => {
      if (!this.#running) return socket.end(1006)
      this.#sockets.add(socket)
      socket.open()
    })
    return socket
  }

  /** Killed: all sockets break. */
  stop(): void {
    this.#running = false
    for (const socket of [...this.#sockets]) socket.end(1006)
  }

  start(): void {
    this.#running = true
  }

  /** Gives one peer a signal that nobody sent. */
  inject(to: string, from: string, data: unknown): void {
    this.say(to, { type: 'signal', from, data })
  }

  /** Says anything to one peer. */
  say(to: string, message: unknown): void {
    for (const member of this.#members) if (member.id === to) member.socket.say(message)
  }

  #onMessage(socket: MemorySocket, message: Payload): void {
    const self = [...this.#members].find((member) => member.socket === socket)
    if (message['type'] === 'hello' && self === undefined) {
      const member = { socket, room: String(message['room']), id: String(message['id']) }
      const others = this.#others(member)
      this.#members.add(member)
      socket.say({ type: 'welcome', you: member.id, peers: others.map(({ id }) => id), resume: `of-${member.id}` })
      for (const other of others) other.socket.say({ type: 'peer-joined', id: member.id })
    } else if (message['type'] === 'signal' && self !== undefined) {
      const to = String(message['to'])
      const target = this.#others(self).find(({ id }) => id === to)
      for (const { from, data } of this.tamper({ from: self.id, to, data: message['data'] })) {
        target?.socket.say({ type: 'signal', from, data })
      }
    } else if (message['type'] === 'ping') {
      socket.say({ type: 'pong' })
    }
  }

  #gone(socket: MemorySocket): void {
    this.#sockets.delete(socket)
    for (const member of [...this.#members]) {
      if (member.socket !== socket) continue
      this.#members.delete(member)
      for (const other of this.#others(member)) other.socket.say({ type: 'peer-left', id: member.id, reason: 'gone' })
    }
  }

  #others(self: Member): readonly Member[] {
    return [...this.#members].filter(({ room, id }) => room === self.room && id !== self.id)
  }
}
