// This replica's own session: its commands from the call to the executed result, across epochs, Nops and voters. Numbers are
// reserved ahead on disk like seqs, so that none ever names two commands.
import type { CommandResult } from '../execution/machine.ts'
import { WepaxosError } from '../lib/errors.ts'
import type { Footprint, Proposal } from '../protocol/command.ts'
import type { Epoch, ReplicaId } from '../protocol/ids.ts'

/** How many numbers are reserved ahead at a time. */
export const numberBlock = 256

/** Proposals that wait for their result at one time, and the bytes of their payloads; beyond that proposing throws Overloaded. */
export const pendingMax = 10_000
export const pendingBytesMax = 64 * 1_024 * 1_024

/** What the caller of a proposal is told, once each. */
export interface ProposalListener {
  committed(): void
  done(result: CommandResult): void
  failed(error: WepaxosError): void
}

export interface PendingProposal {
  readonly number: number
  readonly footprint: Footprint
  readonly payload: Uint8Array
  readonly listener: ProposalListener
  /** Waits in the queue to be proposed (again). */
  queued: boolean
  committed: boolean
  /** It has a record of its own on disk; without, an instance of this epoch's log is what a restart finds it in. */
  stored: boolean
}

/** A command from before a restart that may have no result yet. */
export interface CarriedProposal {
  readonly number: number
  readonly footprint: Footprint
  readonly payload: Uint8Array
  readonly stored: boolean
  /** The epoch in which its session was opened, as it was stored; null where the log of the present epoch says it. */
  readonly openedIn: Epoch | null
}

export class Proposals {
  readonly #session: ReplicaId
  #nextNumber: number
  /** Numbers up to here may be used without a further reservation … */
  #reservedNumber: number
  /** … and up to here the reservation is durable. */
  #durableNumber: number
  readonly #pending = new Map<number, PendingProposal>()
  #pendingBytes = 0
  /** What waits to be proposed: from `#queueHead` on; before that is what was taken already. */
  #queue: PendingProposal[] = []
  #queueHead = 0

  readonly #onStoredGone: (number: number) => void

  /**
   * `usedUpTo`: numbers that may have been used before a restart; those that are not carried over are given up, for nothing
   * durable knows of them. `onStoredGone` hears of stored proposals that need their record no more.
   */
  constructor(session: ReplicaId, usedUpTo: number, onStoredGone: (number: number) => void) {
    this.#session = session
    this.#onStoredGone = onStoredGone
    this.#nextNumber = usedUpTo + 1
    this.#reservedNumber = usedUpTo
    this.#durableNumber = usedUpTo
  }

  get size(): number {
    return this.#pending.size
  }

  /** In the order in which they were made. */
  pending(): IterableIterator<PendingProposal> {
    return this.#pending.values()
  }

  /** Throws Overloaded. */
  create(footprint: Footprint, payload: Uint8Array, listener: ProposalListener): PendingProposal {
    this.mustHaveRoom(payload)
    const number = this.#nextNumber++
    return this.#add({ number, footprint, payload, stored: false, listener, queued: true, committed: false })
  }

  /** Throws Overloaded where one more of that payload would be too much. */
  mustHaveRoom(payload: Uint8Array): void {
    if (this.#pending.size >= pendingMax) {
      throw new WepaxosError('Overloaded', `${pendingMax} commands of this replica wait for their result already`, {
        pending: this.#pending.size,
        pendingMax,
      })
    }
    if (this.#pendingBytes + payload.length > pendingBytesMax) {
      throw new WepaxosError(
        'Overloaded',
        `${pendingBytesMax} bytes of this replica's commands wait for their result already`,
        {
          pendingBytes: this.#pendingBytes,
          pendingBytesMax,
        },
      )
    }
  }

  /** [SE4] In the order of their numbers, before anything new is proposed. */
  carryOver({ number, footprint, payload, stored }: CarriedProposal, listener: ProposalListener): void {
    this.#add({ number, footprint, payload, stored, listener, queued: true, committed: false })
  }

  #add(proposal: PendingProposal): PendingProposal {
    this.#pending.set(proposal.number, proposal)
    this.#pendingBytes += proposal.payload.length
    this.#queue.push(proposal)
    return proposal
  }

  /** What a restart would not find, of all or of those that wait in the queue. What only orders a read is not looked for. */
  *unstored(which: 'all' | 'queued'): Generator<PendingProposal> {
    const among = which === 'all' ? this.#pending.values() : this.#queue.slice(this.#queueHead)
    for (const proposal of among) {
      const waits = this.#pending.get(proposal.number) === proposal
      if (waits && !proposal.stored && proposal.payload.length > 0) yield proposal
    }
  }

  /** As it is agreed on. */
  toProposal(pending: PendingProposal): Proposal {
    const { number, footprint, payload } = pending
    return { session: this.#session, number, ackedUpTo: this.#ackedUpTo(), footprint, payload }
  }

  #ackedUpTo(): number {
    for (const number of this.#pending.keys()) return number - 1
    return this.#nextNumber - 1
  }

  // --- the queue of what is to be proposed --------------------------------------------------------------------------

  /**
   * The next ones that may be proposed, taken out of the queue: at most `countMax` and about `bytesMax` of payload, but at
   * least one where there is one.
   */
  take(countMax: number, bytesMax: number): PendingProposal[] {
    const taken: PendingProposal[] = []
    let bytes = 0
    while (this.#queueHead < this.#queue.length && taken.length < countMax) {
      const proposal = this.#queue[this.#queueHead]
      if (proposal !== undefined && this.#pending.get(proposal.number) === proposal) {
        if (proposal.number > this.#durableNumber) break
        if (taken.length > 0 && bytes + proposal.payload.length > bytesMax) break
        bytes += proposal.payload.length
        proposal.queued = false
        taken.push(proposal)
      }
      this.#queueHead++
    }
    if (this.#queueHead === this.#queue.length) {
      this.#queue = []
      this.#queueHead = 0
    } else if (this.#queueHead > 1_024) {
      this.#queue = this.#queue.slice(this.#queueHead)
      this.#queueHead = 0
    }
    return taken
  }

  get hasQueued(): boolean {
    return this.#queueHead < this.#queue.length
  }

  /** How many wait to be proposed; some of them may have been settled meanwhile. */
  get queuedCount(): number {
    return this.#queue.length - this.#queueHead
  }

  /** Its instance came to nothing: propose it again, under its old number. */
  again(number: number): void {
    const proposal = this.#pending.get(number)
    if (proposal === undefined || proposal.queued) return
    proposal.queued = true
    this.#queue.push(proposal)
  }

  /** All of them, in order: a new epoch, or another voter to forward to. */
  allAgain(): void {
    this.#queue = [...this.#pending.values()]
    this.#queueHead = 0
    for (const proposal of this.#queue) proposal.queued = true
  }

  // --- numbers ------------------------------------------------------------------------------------------------------

  /** The number to reserve up to now, or null while enough are reserved. */
  reservationDue(): number | null {
    if (this.#nextNumber + numberBlock / 2 <= this.#reservedNumber) return null
    this.#reservedNumber = this.#nextNumber + numberBlock
    return this.#reservedNumber
  }

  get reservedNumber(): number {
    return this.#reservedNumber
  }

  reservationDurable(upTo: number): void {
    this.#durableNumber = Math.max(this.#durableNumber, upTo)
  }

  // --- fates --------------------------------------------------------------------------------------------------------

  markCommitted(number: number): void {
    const proposal = this.#pending.get(number)
    if (proposal === undefined || proposal.committed) return
    proposal.committed = true
    proposal.listener.committed()
  }

  settle(number: number, result: CommandResult): void {
    const proposal = this.#pending.get(number)
    if (proposal === undefined) return
    this.markCommitted(number)
    this.#remove(proposal)
    proposal.listener.done(result)
  }

  fail(number: number, error: WepaxosError): void {
    const proposal = this.#pending.get(number)
    if (proposal === undefined) return
    this.#remove(proposal)
    proposal.listener.failed(error)
  }

  #remove(proposal: PendingProposal): void {
    this.#pending.delete(proposal.number)
    this.#pendingBytes -= proposal.payload.length
    if (proposal.stored) this.#onStoredGone(proposal.number)
  }

  failAll(error: (number: number) => WepaxosError): void {
    this.#endAll(error, (proposal) => {
      if (proposal.stored) this.#onStoredGone(proposal.number)
    })
  }

  /** Nobody waits for them here any more; what is stored of them stays, for another opening. */
  leaveAll(error: (number: number) => WepaxosError): void {
    this.#endAll(error, () => {})
  }

  #endAll(error: (number: number) => WepaxosError, before: (proposal: PendingProposal) => void): void {
    const all = [...this.#pending.values()]
    this.#pending.clear()
    this.#pendingBytes = 0
    this.#queue = []
    this.#queueHead = 0
    for (const proposal of all) {
      before(proposal)
      proposal.listener.failed(error(proposal.number))
    }
  }
}
