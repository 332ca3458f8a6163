// Peer links between pages of one origin in one browser, over BroadcastChannel: faster than WebRTC, and open without its
// handshake. Both ends meet under a random name that only their sealed descriptions tell, so no other page listens in.
//
// The certificates of such a link are made up: what each end's description says. Nobody can stand between two ends of a
// BroadcastChannel but a script of the same origin, from which nothing in a page is safe; whoever changes the descriptions
// on their way is found out by the proof, like anywhere else.
import { randomText } from './base64url.ts'
import { describedFingerprints } from './certificate-fingerprints.ts'
import type { CreatePeerLink, LinkFingerprints, LinkSignal, PeerLink, PeerLinkOptions } from './peer-link.ts'

type Post =
  /** The initiator has the answer; the other end says the same when it hears that, and both are open. */
  | { readonly type: 'hello' }
  | { readonly type: 'frame'; readonly bytes: Uint8Array<ArrayBuffer> }
  /** A frame of so many bytes has been taken: there is no other sign of how fast the other end is. */
  | { readonly type: 'taken'; readonly bytes: number }
  | { readonly type: 'close' }

const bufferedBytesHigh = 64 * 1024
const namePattern = /^o=broadcast ([A-Za-z0-9_-]{22})$/m

/** Whether a description is one of this kind of link. */
export function isBroadcastDescription(sdp: string): boolean {
  return namePattern.test(sdp)
}

/** Links over BroadcastChannel: both pages must be of one origin and in one browser. */
export const createBroadcastLink: CreatePeerLink = (options) => new BroadcastLink(options)

class BroadcastLink implements PeerLink {
  readonly #options: PeerLinkOptions
  readonly #own = randomFingerprint()
  #theirs: string | undefined
  #channel: BroadcastChannel | undefined
  #state: 'connecting' | 'open' | 'closed' = 'connecting'
  #described = false
  #buffered = 0
  #blocked = false

  constructor(options: PeerLinkOptions) {
    this.#options = options
    if (!options.initiator) return
    const name = randomText(16)
    this.#listen(name)
    this.#tell({ type: 'offer', sdp: describe(name, this.#own) })
  }

  get bufferedBytes(): number {
    return this.#state === 'open' ? this.#buffered : 0
  }

  get writable(): boolean {
    return this.#state === 'open' && this.#buffered <= bufferedBytesHigh
  }

  fingerprints(): Promise<LinkFingerprints> {
    if (this.#theirs === undefined) return Promise.reject(new Error('the link is not open'))
    return Promise.resolve({ own: this.#own, theirs: this.#theirs })
  }

  signal(signal: LinkSignal): boolean {
    if (this.#state === 'closed') return false
    // A description says it all.
    if (signal.type === 'ice') return true
    const { initiator } = this.#options
    if (signal.type !== (initiator ? 'answer' : 'offer') || this.#described) return false
    this.#described = true
    const [, name] = namePattern.exec(signal.sdp) ?? []
    const [theirs, ...more] = describedFingerprints(signal.sdp)
    if (name === undefined || theirs === undefined || more.length > 0) {
      queueMicrotask(() => this.#end('a description of another kind of link'))
      return true
    }
    this.#theirs = theirs
    if (initiator) {
      this.#post({ type: 'hello' })
    } else {
      this.#listen(name)
      this.#tell({ type: 'answer', sdp: describe(name, this.#own) })
    }
    return true
  }

  send(bytes: Uint8Array<ArrayBuffer>): void {
    if (this.#state !== 'open') return
    this.#buffered += bytes.length
    if (this.#buffered > bufferedBytesHigh) this.#blocked = true
    this.#post({ type: 'frame', bytes })
  }

  close(reason: string): void {
    if (this.#state === 'closed') return
    this.#post({ type: 'close' })
    this.#state = 'closed'
    queueMicrotask(() => this.#tellClosed(reason))
  }

  #end(reason: string): void {
    if (this.#state === 'closed') return
    this.#state = 'closed'
    this.#tellClosed(reason)
  }

  #tellClosed(reason: string): void {
    if (this.#channel !== undefined) this.#channel.onmessage = null
    this.#channel?.close()
    this.#options.events.onClose(reason)
  }

  #listen(name: string): void {
    const channel = new BroadcastChannel(`wepaxos ${name}`)
    channel.onmessage = ({ data }: MessageEvent<Post>) => this.#onPost(data)
    this.#channel = channel
  }

  /** Our own code at the same origin posted it: its form needs no check, its moment does. */
  #onPost(post: Post): void {
    switch (post.type) {
      case 'hello':
        if (this.#state !== 'connecting' || this.#theirs === undefined) return
        if (!this.#options.initiator) this.#post({ type: 'hello' })
        this.#state = 'open'
        this.#options.events.onOpen()
        return
      case 'frame':
        if (this.#state !== 'open') return
        this.#post({ type: 'taken', bytes: post.bytes.length })
        this.#options.events.onMessage(post.bytes)
        return
      case 'taken':
        this.#buffered -= post.bytes
        if (!this.#blocked || this.#state !== 'open' || this.#buffered > bufferedBytesHigh) return
        this.#blocked = false
        this.#options.events.onDrain()
        return
      case 'close':
        this.#end('the other end closed it')
    }
  }

  #post(post: Post): void {
    this.#channel?.postMessage(post)
  }

  #tell(signal: LinkSignal): void {
    queueMicrotask(() => {
      if (this.#state !== 'closed') this.#options.events.onSignal(signal)
    })
  }
}

function describe(name: string, fingerprint: string): string {
  return `v=0\no=broadcast ${name}\na=fingerprint:sha-256 ${fingerprint.replace(/..(?=.)/g, '$&:')}`
}

function randomFingerprint(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(32))
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('')
}
