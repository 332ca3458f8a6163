// Peer links inside the process, for tests of what lies above them. They keep the contract of the port
// (peer-link-contract.ts) and take a millisecond of the given clock for everything. Each end has a certificate, told by the
// fingerprint in its description, and like DTLS it connects only to who has the certificate that was described to it.
import { describedFingerprints } from '../src/certificate-fingerprints.ts'
import type { Clock } from '../src/clock.ts'
import type { CreatePeerLink, LinkFingerprints, LinkSignal, PeerLink, PeerLinkOptions } from '../src/peer-link.ts'

const bufferedBytesHigh = 64 * 1024
const bytesPerMs = 64 * 1024

/** Links that find each other by what stands in their offers and answers. */
export function createMemoryLinks(clock: Clock): { readonly createLink: CreatePeerLink; readonly open: () => number } {
  const links = new Map<string, MemoryLink>()
  let count = 0
  return {
    createLink(options) {
      count += 1
      return new MemoryLink(`link-${count}`, clock, links, options)
    },
    open: () => links.size,
  }
}

class MemoryLink implements PeerLink {
  readonly #name: string
  readonly #clock: Clock
  readonly #links: Map<string, MemoryLink>
  readonly #options: PeerLinkOptions
  readonly #certificate = Buffer.from(crypto.getRandomValues(new Uint8Array(32))).toString('hex')
  #described: string | undefined
  #state: 'connecting' | 'open' | 'closed' = 'connecting'
  #other: MemoryLink | undefined
  #buffered = 0
  #blocked = false

  constructor(name: string, clock: Clock, links: Map<string, MemoryLink>, options: PeerLinkOptions) {
    this.#name = name
    this.#clock = clock
    this.#links = links
    this.#options = options
    links.set(name, this)
    if (options.initiator) this.#tell({ type: 'offer', sdp: this.#description() })
  }

  get bufferedBytes(): number {
    return this.#buffered
  }

  get writable(): boolean {
    return this.#state === 'open' && this.#buffered <= bufferedBytesHigh
  }

  fingerprints(): Promise<LinkFingerprints> {
    const other = this.#other
    if (this.#state !== 'open' || other === undefined) return Promise.reject(new Error('the link is not open'))
    return Promise.resolve({ own: this.#certificate, theirs: other.#certificate })
  }

  signal(signal: LinkSignal): boolean {
    if (this.#state === 'closed') return false
    if (signal.type === 'ice') return true
    if (signal.type !== (this.#options.initiator ? 'answer' : 'offer') || this.#described !== undefined) return false
    this.#described = signal.sdp
    const other = this.#links.get(/^o=(\S+)$/m.exec(signal.sdp)?.[1] ?? '')
    if (other === undefined) {
      this.close('a description of nobody')
      return true
    }
    this.#other = other
    if (signal.type === 'offer') {
      this.#tell({ type: 'answer', sdp: this.#description() })
    } else {
      this.#later(() => this.#open())
      other.#later(() => other.#open())
    }
    return true
  }

  send(bytes: Uint8Array<ArrayBuffer>): void {
    const other = this.#other
    if (this.#state !== 'open' || other === undefined) return
    this.#buffered += bytes.length
    if (this.#buffered > bufferedBytesHigh) this.#blocked = true
    this.#clock.after(1 + this.#buffered / bytesPerMs, () => {
      this.#buffered -= bytes.length
      if (other.#state === 'open') other.#options.events.onMessage(bytes)
      if (!this.#blocked || this.#buffered > bufferedBytesHigh || this.#state !== 'open') return
      this.#blocked = false
      this.#options.events.onDrain()
    })
  }

  close(reason: string): void {
    if (this.#state === 'closed') return
    this.#state = 'closed'
    this.#links.delete(this.#name)
    queueMicrotask(() => this.#options.events.onClose(reason))
    const other = this.#other
    if (other !== undefined) this.#clock.after(1, () => other.close('the other end closed it'))
  }

  #open(): void {
    const other = this.#other
    if (this.#state !== 'connecting' || other === undefined) return
    if (!describedFingerprints(this.#described ?? '').includes(other.#certificate)) {
      this.close('the other end has another certificate than its description says')
      return
    }
    this.#state = 'open'
    this.#options.events.onOpen()
  }

  #description(): string {
    const fingerprint = this.#certificate.toUpperCase().replace(/..(?=.)/g, '$&:')
    return `v=0\no=${this.#name}\na=fingerprint:sha-256 ${fingerprint}`
  }

  #tell(signal: LinkSignal): void {
    this.#later(() => this.#options.events.onSignal(signal))
    const candidate = { candidate: `candidate of ${this.#name}`, sdpMid: '0', sdpMLineIndex: 0 }
    this.#later(() => this.#options.events.onSignal({ type: 'ice', candidate }))
  }

  #later(run: () => void): void {
    this.#clock.after(1, () => {
      if (this.#state !== 'closed') run()
    })
  }
}
