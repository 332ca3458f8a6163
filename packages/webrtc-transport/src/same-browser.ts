// Which pages of the room are open in this browser, at this origin: they tell each other. To those the offering end uses
// a link over BroadcastChannel, and the other end follows what the offer says.
import { createBroadcastLink, isBroadcastDescription } from './broadcast-link.ts'
import type { CreatePeerLink, LinkFingerprints, LinkSignal, PeerLink, PeerLinkOptions } from './peer-link.ts'

interface Announcement {
  readonly id: string
  /** Whoever hears it says so, too. */
  readonly asks: boolean
}

const idsMax = 256

export class SameBrowser {
  readonly #id: string
  readonly #ids = new Set<string>()
  readonly #channel: BroadcastChannel | undefined

  /** Where there is no BroadcastChannel, nobody is near. */
  constructor(room: string, id: string) {
    this.#id = id
    if (globalThis.BroadcastChannel === undefined) return
    this.#channel = new BroadcastChannel(`wepaxos room ${room}`)
    this.#channel.onmessage = ({ data }: MessageEvent<Announcement>) => {
      if (this.#ids.size < idsMax) this.#ids.add(data.id)
      if (data.asks) this.#announce(false)
    }
    this.#announce(true)
  }

  /** Links to the pages of this browser, and those of `others` to all else. */
  prefer(others: CreatePeerLink): CreatePeerLink {
    return (options) => {
      if (!options.initiator) return new FollowingLink(others, options)
      return this.#ids.has(options.peer) ? createBroadcastLink(options) : others(options)
    }
  }

  close(): void {
    this.#channel?.close()
  }

  #announce(asks: boolean): void {
    const announcement: Announcement = { id: this.#id, asks }
    this.#channel?.postMessage(announcement)
  }
}

/** The end that answers: it is of whatever kind the offer is of. */
class FollowingLink implements PeerLink {
  readonly #others: CreatePeerLink
  readonly #options: PeerLinkOptions
  #link: PeerLink | undefined
  #isClosed = false

  constructor(others: CreatePeerLink, options: PeerLinkOptions) {
    this.#others = others
    this.#options = options
  }

  get bufferedBytes(): number {
    return this.#link?.bufferedBytes ?? 0
  }

  get writable(): boolean {
    return this.#link?.writable ?? false
  }

  fingerprints(): Promise<LinkFingerprints> {
    return this.#link?.fingerprints() ?? Promise.reject(new Error('the link is not open'))
  }

  signal(signal: LinkSignal): boolean {
    if (this.#isClosed) return false
    if (this.#link === undefined) {
      // Nothing comes before the offer.
      if (signal.type !== 'offer') return false
      const createLink = isBroadcastDescription(signal.sdp) ? createBroadcastLink : this.#others
      try {
        this.#link = createLink(this.#options)
      } catch (error) {
        this.close(error instanceof Error ? error.message : String(error))
        return false
      }
    }
    return this.#link.signal(signal)
  }

  send(bytes: Uint8Array<ArrayBuffer>): void {
    this.#link?.send(bytes)
  }

  close(reason: string): void {
    if (this.#link !== undefined) {
      this.#link.close(reason)
    } else if (!this.#isClosed) {
      this.#isClosed = true
      queueMicrotask(() => this.#options.events.onClose(reason))
    }
  }
}
