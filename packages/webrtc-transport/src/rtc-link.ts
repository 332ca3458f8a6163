// Peer links over a plain RTCPeerConnection, with no library in between. One data channel, which both ends make; what the other
// end could ask for besides (media, more channels, another description) is not there to be asked for.
import { WepaxosError } from '@wepaxos/core'
import { agreedChannel } from './agreed-channel.ts'
import { certificateFingerprints } from './certificate-fingerprints.ts'
import type { CreatePeerLink, LinkFingerprints, LinkSignal, PeerLink, PeerLinkOptions } from './peer-link.ts'

/** The part of WebRTC that is used; the browser's own, or another one for Node. */
export interface RtcImplementation {
  readonly RTCPeerConnection: typeof RTCPeerConnection
}

const bufferedBytesHigh = 64 * 1024
const channelLabel = 'wepaxos'
/** More than any honest page has; each costs the browser a check. */
const candidatesMax = 64

/** Links over the environment's own WebRTC, or over another one. Throws NotSupported where there is none. */
export function rtcLinks(implementation: RtcImplementation = globalThis): CreatePeerLink {
  const { RTCPeerConnection: Connection } = implementation
  if (Connection === undefined) {
    throw new WepaxosError(
      'NotSupported',
      'rooms need WebRTC (RTCPeerConnection), which this environment does not have',
    )
  }
  return (options) => new RtcLink(new Connection({ iceServers: [...options.iceServers] }), options)
}

class RtcLink implements PeerLink {
  readonly #connection: RTCPeerConnection
  readonly #options: PeerLinkOptions
  readonly #channel: RTCDataChannel
  #state: 'connecting' | 'open' | 'closed' = 'connecting'
  #described = false
  #blocked = false
  #candidates = 0
  /** Descriptions and candidates, one after the other: a candidate before its description would be an error. */
  #signals: Promise<unknown> = Promise.resolve()

  constructor(connection: RTCPeerConnection, options: PeerLinkOptions) {
    this.#connection = connection
    this.#options = options
    connection.onicecandidate = ({ candidate }) => this.#onCandidate(candidate)
    connection.onconnectionstatechange = () => {
      if (connection.connectionState === 'failed') this.#end('no connection could be made, or it was lost')
    }
    connection.ondatachannel = () => this.#end('a channel that nobody asked for')
    this.#channel = connection.createDataChannel(channelLabel, agreedChannel)
    this.#listen(this.#channel)
    if (options.initiator) this.#then(() => this.#describe('offer'))
  }

  get bufferedBytes(): number {
    return this.#state === 'open' ? this.#channel.bufferedAmount : 0
  }

  get writable(): boolean {
    return this.#state === 'open' && this.bufferedBytes <= bufferedBytesHigh
  }

  fingerprints(): Promise<LinkFingerprints> {
    return certificateFingerprints(this.#connection)
  }

  signal(signal: LinkSignal): boolean {
    if (this.#state === 'closed') return false
    if (signal.type === 'ice') {
      this.#candidates += 1
      if (this.#candidates > candidatesMax) return false
      // One that does not fit (another family of addresses, a name that can not be looked up) leaves the others.
      this.#then(() => this.#connection.addIceCandidate({ ...signal.candidate }).catch(() => undefined))
      return true
    }
    const { initiator } = this.#options
    if (signal.type !== (initiator ? 'answer' : 'offer') || this.#described) return false
    this.#described = true
    this.#then(async () => {
      await this.#connection.setRemoteDescription({ type: signal.type, sdp: signal.sdp })
      if (!initiator) await this.#describe('answer')
    })
    return true
  }

  send(bytes: Uint8Array<ArrayBuffer>): void {
    if (this.#state !== 'open') return
    try {
      this.#channel.send(bytes)
      if (this.bufferedBytes > bufferedBytesHigh) this.#blocked = true
    } catch (error) {
      this.close(error instanceof Error ? error.message : 'send failed')
    }
  }

  close(reason: string): void {
    if (this.#state === 'closed') return
    this.#state = 'closed'
    queueMicrotask(() => this.#tellClosed(reason))
  }

  /** Closed by the other end, or by WebRTC. */
  #end(reason: string): void {
    if (this.#state === 'closed') return
    this.#state = 'closed'
    this.#tellClosed(reason)
  }

  #tellClosed(reason: string): void {
    // Taken off, so that nothing of a closed connection leads back here and keeps it alive.
    Object.assign(this.#connection, { onicecandidate: null, onconnectionstatechange: null, ondatachannel: null })
    const noHandlers = { onopen: null, onmessage: null, onclose: null, onerror: null, onbufferedamountlow: null }
    Object.assign(this.#channel, noHandlers)
    this.#connection.close()
    this.#options.events.onClose(reason)
  }

  #then(step: () => Promise<unknown>): void {
    this.#signals = this.#signals
      .then(() => (this.#state === 'closed' ? undefined : step()))
      .catch((error: unknown) => this.#end(error instanceof Error ? error.message : String(error)))
  }

  async #describe(type: 'offer' | 'answer'): Promise<void> {
    const connection = this.#connection
    await connection.setLocalDescription(
      type === 'offer' ? await connection.createOffer() : await connection.createAnswer(),
    )
    const sdp = connection.localDescription?.sdp
    if (this.#state !== 'closed' && sdp !== undefined) this.#options.events.onSignal({ type, sdp })
  }

  #onCandidate(found: RTCIceCandidate | null): void {
    // The empty one says that there are no more; nobody needs it.
    if (this.#state === 'closed' || found === null || found.candidate === '') return
    const { candidate, sdpMid, sdpMLineIndex } = found
    this.#options.events.onSignal({ type: 'ice', candidate: { candidate, sdpMid, sdpMLineIndex } })
  }

  #listen(channel: RTCDataChannel): void {
    channel.binaryType = 'arraybuffer'
    channel.bufferedAmountLowThreshold = bufferedBytesHigh
    channel.onmessage = ({ data }: MessageEvent<unknown>) => {
      if (this.#state !== 'open') return
      if (data instanceof ArrayBuffer) this.#options.events.onMessage(new Uint8Array(data))
      else this.close('a text message')
    }
    channel.onclose = () => this.#end('the other end closed it')
    channel.onerror = () => this.#end('the channel failed')
    channel.onbufferedamountlow = () => {
      if (!this.#blocked || this.#state !== 'open') return
      this.#blocked = false
      this.#options.events.onDrain()
    }
    channel.onopen = () => this.#onOpen()
  }

  #onOpen(): void {
    if (this.#state !== 'connecting') return
    this.#state = 'open'
    this.#options.events.onOpen()
  }
}
