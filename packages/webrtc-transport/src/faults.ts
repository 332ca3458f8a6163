// Faults on purpose, for tests and demonstrations: browsers' own network emulation does not touch WebRTC.

/** What is wrong with a link. Both directions for `cut`; what this end sends, for the others. */
export interface LinkFault {
  /** Nothing gets through, and no new link comes about. Both ends notice by the silence. */
  readonly cut?: boolean
  /** Frames of replicas leave so much later, in order. */
  readonly delayMs?: number
  /** Each frame of a replica is lost with this probability, 0 … 1. */
  readonly dropProbability?: number
}

const noFault: LinkFault = {}

/** The faults of one room, by peer id, or for all peers that have none of their own. */
export class Faults {
  readonly #byPeer = new Map<string, LinkFault>()
  readonly #onHealed: (peer: string) => void
  readonly #onBreak: (peer: string) => void

  /** `onHealed`: a cut has ended (`all`, or one peer). `onBreak`: links are to be closed now. */
  constructor(onHealed: (peer: string) => void, onBreak: (peer: string) => void) {
    this.#onHealed = onHealed
    this.#onBreak = onBreak
  }

  /** Replaces the fault of one peer's link, or of `all` the others. */
  set(peer: string, fault: LinkFault): void {
    const healed = this.of(peer).cut === true && fault.cut !== true
    this.#byPeer.set(peer, fault)
    if (healed) this.#onHealed(peer)
  }

  /** Takes the fault of one peer's link away, or those of all. */
  clear(peer = 'all'): void {
    const wasCut = peer === 'all' ? [...this.#byPeer.values()].some((fault) => fault.cut) : this.of(peer).cut === true
    if (peer === 'all') this.#byPeer.clear()
    else this.#byPeer.delete(peer)
    if (wasCut) this.#onHealed(peer)
  }

  /** Closes one peer's link, or all, without a word to the other end. They come back by themselves. */
  breakLinks(peer = 'all'): void {
    this.#onBreak(peer)
  }

  of(peer: string): LinkFault {
    return this.#byPeer.get(peer) ?? this.#byPeer.get('all') ?? noFault
  }
}
