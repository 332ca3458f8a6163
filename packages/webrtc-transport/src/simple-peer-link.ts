// Peer links over simple-peer. It is loaded on first use, from its prebuilt bundle (the bare entry fails under Vite), so
// that importing this package touches neither `window` nor `RTCPeerConnection`.
import { WepaxosError } from '@wepaxos/core'
import type { Instance, SignalData, SimplePeer } from 'simple-peer'
import { agreedChannel } from './agreed-channel.ts'
import { certificateFingerprints } from './certificate-fingerprints.ts'
import type { CreatePeerLink, LinkFingerprints, LinkSignal, PeerLink, PeerLinkOptions } from './peer-link.ts'

/** simple-peer's own low mark: what `write` waits for. */
const bufferedBytesHigh = 64 * 1024
/** Frames that may arrive before simple-peer has said `connect`: it asks for statistics first. */
const earlyFramesMax = 1024

/** Another implementation of WebRTC than the environment's own: for Node, which has none. */
export interface WebRtcImplementation {
  readonly RTCPeerConnection: typeof RTCPeerConnection
  readonly RTCSessionDescription: typeof RTCSessionDescription
  readonly RTCIceCandidate: typeof RTCIceCandidate
}

/** Loads simple-peer. Throws NotSupported where there is no WebRTC. */
export async function loadSimplePeerLinks(wrtc?: WebRtcImplementation): Promise<CreatePeerLink> {
  if (wrtc === undefined && globalThis.RTCPeerConnection === undefined) {
    throw new WepaxosError(
      'NotSupported',
      'rooms need WebRTC (RTCPeerConnection), which this environment does not have',
    )
  }
  const { default: Peer } = await import('simple-peer/simplepeer.min.js')
  return (options) => new SimplePeerLink(Peer as unknown as SimplePeer, options, wrtc)
}

class SimplePeerLink implements PeerLink {
  readonly #options: PeerLinkOptions
  readonly #peer: Instance
  #state: 'connecting' | 'open' | 'closed' = 'connecting'
  #described = false
  #draining = false
  #early: Uint8Array[] = []
  #closeReason: string | undefined

  constructor(Peer: SimplePeer, options: PeerLinkOptions, wrtc: WebRtcImplementation | undefined) {
    this.#options = options
    this.#peer = new Peer({
      initiator: options.initiator,
      trickle: true,
      channelConfig: { ...agreedChannel },
      // Without this the stream may glue two frames together.
      objectMode: true,
      // Always given: simple-peer's own default names public STUN servers.
      config: { iceServers: [...options.iceServers] },
      ...(wrtc === undefined ? {} : { wrtc }),
    })
    this.#peer.on('signal', (data) => this.#onLocalSignal(data))
    this.#peer.on('connect', () => this.#onConnect())
    this.#receivePastStream()
    this.#peer.on('error', (error) => this.#onClosed(this.#closeReason ?? error.message))
    this.#peer.on('close', () => this.#onClosed(this.#closeReason ?? 'the other end closed it'))
  }

  get bufferedBytes(): number {
    return this.#state === 'open' ? this.#peer.bufferSize : 0
  }

  get writable(): boolean {
    return this.#state === 'open' && !this.#draining && this.#peer.bufferSize <= bufferedBytesHigh
  }

  async fingerprints(): Promise<LinkFingerprints> {
    // simple-peer (pinned) has no other way to its connection, and sets it to null when it is destroyed.
    const { _pc: connection } = this.#peer as unknown as { readonly _pc: RTCPeerConnection | null }
    if (connection === null) throw new Error('the link is closed')
    return certificateFingerprints(connection)
  }

  signal(signal: LinkSignal): boolean {
    if (this.#state === 'closed') return false
    if (signal.type !== 'ice') {
      // One description a link: simple-peer would let the other side renegotiate at any time.
      const expected = this.#options.initiator ? 'answer' : 'offer'
      if (signal.type !== expected || this.#described) return false
      this.#described = true
    }
    try {
      // simple-peer throws on data that it does not like.
      this.#peer.signal(signal.type === 'ice' ? candidateData(signal) : { type: signal.type, sdp: signal.sdp })
      return true
    } catch {
      return false
    }
  }

  send(bytes: Uint8Array<ArrayBuffer>): void {
    if (this.#state !== 'open') return
    try {
      if (this.#peer.bufferSize + bytes.length <= bufferedBytesHigh) {
        this.#peer.send(bytes)
        return
      }
      // Past the mark through the stream: its callback comes when the channel has drained.
      this.#draining = true
      this.#peer.write(bytes, () => {
        this.#draining = false
        if (this.#state === 'open') this.#options.events.onDrain()
      })
    } catch (error) {
      this.close(error instanceof Error ? error.message : 'send failed')
    }
  }

  close(reason: string): void {
    if (this.#state === 'closed') return
    this.#closeReason ??= reason
    // Ends in a microtask, with `close`.
    this.#peer.destroy()
  }

  /**
   * A stream has nothing to add to messages that come one by one, and simple-peer's asks for a timer after each. Its end
   * still goes through it.
   */
  #receivePastStream(): void {
    const peer = this.#peer
    const push = peer.push.bind(peer)
    peer.push = (data: unknown) => {
      if (data === null) return push(null)
      this.#onData(data)
      return true
    }
    peer.resume()
  }

  #onLocalSignal(data: SignalData): void {
    if (this.#state === 'closed') return
    const signal = linkSignal(data)
    if (signal !== undefined) this.#options.events.onSignal(signal)
  }

  #onConnect(): void {
    if (this.#state !== 'connecting') return
    this.#state = 'open'
    this.#options.events.onOpen()
    const early = this.#early
    this.#early = []
    for (const bytes of early) {
      if (this.#isOpen()) this.#options.events.onMessage(bytes)
    }
  }

  #onData(data: unknown): void {
    // simple-peer passes text messages on as strings; there is no text in our format.
    if (!(data instanceof Uint8Array)) {
      this.close('a text message')
      return
    }
    // A plain view: the Buffer that simple-peer makes has a `slice` that does not copy.
    const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength)
    if (this.#state === 'open') this.#options.events.onMessage(bytes)
    else if (this.#state === 'connecting' && this.#early.length < earlyFramesMax) this.#early.push(bytes)
    else if (this.#state === 'connecting') this.close('too many early messages')
  }

  #onClosed(reason: string): void {
    if (this.#state === 'closed') return
    this.#state = 'closed'
    this.#early = []
    this.#options.events.onClose(reason)
  }

  #isOpen(): boolean {
    return this.#state === 'open'
  }
}

function candidateData(signal: Extract<LinkSignal, { type: 'ice' }>): SignalData {
  return { type: 'candidate', candidate: signal.candidate as RTCIceCandidate }
}

/** undefined for what we never carry: simple-peer's requests to renegotiate. */
function linkSignal(data: SignalData): LinkSignal | undefined {
  switch (data.type) {
    case 'offer':
    case 'answer':
      return 'sdp' in data && data.sdp !== undefined ? { type: data.type, sdp: data.sdp } : undefined
    case 'candidate': {
      if (!('candidate' in data)) return undefined
      const { candidate, sdpMid, sdpMLineIndex } = data.candidate
      return { type: 'ice', candidate: { candidate, sdpMid, sdpMLineIndex } }
    }
    default:
      return undefined
  }
}
