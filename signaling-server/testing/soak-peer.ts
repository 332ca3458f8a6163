// A peer for long checks, outside of any test runner: it joins, signals, and waits for what has to come, but not for ever.
import { WebSocket } from 'ws'
import { decodeServerMessage, type ServerMessage, signalingProtocol } from '../src/wire.ts'

const patienceMs = 60_000

type Welcome = Extract<ServerMessage, { type: 'welcome' }>

interface Waiter {
  isMet(message: ServerMessage): boolean
  resolve(message: ServerMessage): void
}

/** An id that the wire takes, and that differs from that of any other name. */
export function soakId(name: string): string {
  return `${name}-${'x'.repeat(16)}`
}

export class SoakPeer {
  readonly socket: WebSocket
  readonly closed: Promise<number>
  #closeCode: number | undefined
  /** Called for each text instead of all else: for loads that count rather than wait. */
  onText: ((text: string) => void) | undefined
  #kept: ServerMessage[] = []
  readonly #waiters = new Set<Waiter>()

  private constructor(url: string, localAddress: string | undefined) {
    const source = localAddress === undefined ? {} : { localAddress }
    this.socket = new WebSocket(url, [signalingProtocol], { perMessageDeflate: false, ...source })
    this.socket.on('message', (data) => this.#onText(data.toString()))
    this.socket.on('error', () => undefined)
    this.closed = new Promise((resolve) => {
      this.socket.on('close', (code) => {
        this.#closeCode = code
        resolve(code)
      })
    })
  }

  /** Undefined while it is open. */
  get closeCode(): number | undefined {
    return this.#closeCode
  }

  static async open(url: string, localAddress?: string): Promise<SoakPeer> {
    const peer = new SoakPeer(url, localAddress)
    await new Promise<void>((resolve, reject) => {
      peer.socket.once('open', resolve)
      peer.socket.once('close', (code) => reject(new Error(`the socket closed with ${code} before it was open`)))
    })
    return peer
  }

  static async join(
    url: string,
    room: string,
    id: string,
    more: { readonly resume?: string; readonly localAddress?: string } = {},
  ): Promise<{ readonly peer: SoakPeer; readonly welcome: Welcome }> {
    const peer = await SoakPeer.open(url, more.localAddress)
    const resume = more.resume === undefined ? {} : { resume: more.resume }
    peer.say({ type: 'hello', room: soakId(room), id: soakId(id), ...resume })
    return { peer, welcome: await peer.expect('welcome') }
  }

  say(message: unknown): void {
    this.socket.send(JSON.stringify(message))
  }

  /** The first message of this type that fits, among those that came and those to come. */
  async expect<Type extends ServerMessage['type']>(
    type: Type,
    fits: (message: Extract<ServerMessage, { type: Type }>) => boolean = () => true,
  ): Promise<Extract<ServerMessage, { type: Type }>> {
    const isMet = (message: ServerMessage): message is Extract<ServerMessage, { type: Type }> =>
      isOfType(message, type) && fits(message)
    const at = this.#kept.findIndex(isMet)
    if (at >= 0) {
      const [found] = this.#kept.splice(at, 1)
      if (found !== undefined && isMet(found)) return found
    }
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#waiters.delete(waiter)
        reject(new Error(`no ${type} came in ${patienceMs} ms; the socket: ${this.#closeCode ?? 'open'}`))
      }, patienceMs)
      const waiter: Waiter = {
        isMet,
        resolve: (message) => {
          clearTimeout(timer)
          if (isMet(message)) resolve(message)
        },
      }
      this.#waiters.add(waiter)
    })
  }

  close(): void {
    this.socket.close(1000)
  }

  #onText(text: string): void {
    if (this.onText !== undefined) return this.onText(text)
    const decoded = decodeServerMessage(text)
    if (!decoded.ok) throw new Error(`the server sent what its own decoder refuses: ${decoded.problem}`)
    for (const waiter of this.#waiters) {
      if (!waiter.isMet(decoded.message)) continue
      this.#waiters.delete(waiter)
      return waiter.resolve(decoded.message)
    }
    this.#kept.push(decoded.message)
  }
}

function isOfType<Type extends ServerMessage['type']>(
  message: ServerMessage,
  type: Type,
): message is Extract<ServerMessage, { type: Type }> {
  return message.type === type
}
