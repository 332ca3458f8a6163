// What the other end of one link has announced: its claims to be certain replicas. A claim counts once its announcement is
// verified, which takes WebCrypto a moment; what that replica says meanwhile is held back, in order and within bounds.
//
// The claims of a link are verified side by side, and it does not matter which is done first: a replica's messages stand
// behind its own announcement only, and of two claims to be one replica the time of attachment decides.
import type { ReplicaId } from '@wepaxos/core'
import { type AnnouncementCheck, checkAnnouncement } from './announcement.ts'
import type { Announcement } from './control-message.ts'
import type { LinkMessage } from './framing.ts'
import type { ProvenPeer } from './link-proof.ts'

/** What is needed of an open link. */
export interface ClaimLink {
  readonly isOpen: boolean
  readonly proven: Pick<ProvenPeer, 'binding'>
}

/** A replica that is attached at the other end of a link. */
export interface Claim<Link extends ClaimLink> {
  readonly kind: 'claim'
  readonly session: Link
  readonly channel: number
  readonly partition: string
  readonly replica: ReplicaId
  readonly sinceMs: number
}

export interface LinkClaimsOptions<Link extends ClaimLink> {
  readonly session: Link
  /** Messages that wait for their senders' claims may have so many bytes together. */
  readonly heldBytesMax: number
  /** From now on the claim counts. `held`: what its replica has said so far. */
  readonly onVerified: (claim: Claim<Link>, held: readonly LinkMessage[]) => void
  /** It is not who it claims to be. */
  readonly onRefused: (claim: Claim<Link>) => void
  /** Its key is of a kind that this browser does not know: it is neither believed nor blamed, and nothing of it is heard. */
  readonly onUnknownKey: (claim: Claim<Link>) => void
}

interface Entry<Link extends ClaimLink> {
  readonly claim: Claim<Link>
  state: 'verifying' | 'verified' | 'unknown-key'
  /** What came while the claim was being verified. */
  held: LinkMessage[]
}

const claimsMax = 256
export const heldMessagesMax = 4_096

export class LinkClaims<Link extends ClaimLink> {
  readonly #options: LinkClaimsOptions<Link>
  /** By the other end's numbers. */
  readonly #entries = new Map<number, Entry<Link>>()
  /** Announcements that are being verified, the withdrawn ones too: who announces and withdraws in a loop is to pile up nothing. */
  #verifying = 0
  #heldBytes = 0
  #heldMessages = 0

  constructor(options: LinkClaimsOptions<Link>) {
    this.#options = options
  }

  /** Those that count. */
  get verified(): readonly Claim<Link>[] {
    return [...this.#entries.values()].filter(({ state }) => state === 'verified').map(({ claim }) => claim)
  }

  /** True while the other end announces a replica whose key is of a kind that is not known here. */
  get hasUnknownKey(): boolean {
    return [...this.#entries.values()].some(({ state }) => state === 'unknown-key')
  }

  /** The claim behind the number `channel`, where it counts. */
  verifiedAt(channel: number): Claim<Link> | undefined {
    const entry = this.#entries.get(channel)
    return entry?.state === 'verified' ? entry.claim : undefined
  }

  /** False: too many, or under a number that is taken. */
  announced(announcement: Announcement): boolean {
    const { channel, partition, replica, sinceMs } = announcement
    if (this.#entries.size >= claimsMax || this.#verifying >= claimsMax || this.#entries.has(channel)) return false
    const { session } = this.#options
    const claim: Claim<Link> = { kind: 'claim', session, channel, partition, replica, sinceMs }
    const entry: Entry<Link> = { claim, state: 'verifying', held: [] }
    this.#entries.set(channel, entry)
    this.#verifying += 1
    checkAnnouncement(announcement, session.proven.binding.theirs).then(
      (check) => this.#settle(entry, check),
      () => this.#settle(entry, 'unproven'),
    )
    return true
  }

  /** Keeps a message of a claim that is being verified; one of nobody is dropped. False: they are too many. */
  hold(message: LinkMessage): boolean {
    const entry = this.#entries.get(message.sender)
    if (entry?.state !== 'verifying') return true
    this.#heldBytes += message.bytes.length
    this.#heldMessages += 1
    entry.held.push(message)
    return this.#heldBytes <= this.#options.heldBytesMax && this.#heldMessages <= heldMessagesMax
  }

  withdrawn(channel: number): void {
    const entry = this.#entries.get(channel)
    if (entry === undefined) return
    this.#release(entry)
    this.#entries.delete(channel)
  }

  /** The link is gone: nothing more is told. */
  end(): void {
    this.#entries.clear()
  }

  #settle(entry: Entry<Link>, check: AnnouncementCheck): void {
    this.#verifying -= 1
    const { claim } = entry
    const { session, onVerified, onRefused, onUnknownKey } = this.#options
    // Withdrawn meanwhile, perhaps with another one under its number; or the link is gone.
    if (this.#entries.get(claim.channel) !== entry || !session.isOpen) return
    if (check === 'unproven') {
      this.withdrawn(claim.channel)
      onRefused(claim)
      return
    }
    const held = this.#release(entry)
    if (check === 'proven') {
      entry.state = 'verified'
      onVerified(claim, held)
    } else {
      entry.state = 'unknown-key'
      onUnknownKey(claim)
    }
  }

  #release(entry: Entry<Link>): readonly LinkMessage[] {
    const { held } = entry
    entry.held = []
    this.#heldMessages -= held.length
    for (const { bytes } of held) this.#heldBytes -= bytes.length
    return held
  }
}
