// What the next member list is made from: what replicas ask to be, what the owner of this replica ordered, and which voters
// have been silent for long. Decides nothing by itself: membership.ts does, and the engine proposes the barrier.
import type { Membership } from '../protocol/command.ts'
import { type Role, roleOf } from '../protocol/control-message.ts'
import type { ReplicaId } from '../protocol/ids.ts'
import { quorumsOf } from '../protocol/quorum.ts'
import { isSuspected, type ReplicaState } from '../protocol/state.ts'
import type { EpochRun } from './epoch-run.ts'
import { nextMembership } from './membership.ts'

export interface MembershipOptions {
  /** `auto`: joiners get seats, silent voters lose theirs. `manual`: seats are given and taken by orders alone. */
  readonly membership: 'auto' | 'manual'
  /** What this replica would like to be. */
  readonly wanted: 'voter' | 'observer'
  readonly votersMax: number
  /** Whether it is always there: such voters keep their seats before others. */
  readonly steady: boolean
  /** How long a voter may be silent before it becomes an observer. */
  readonly silentMs: number
}

/** Stands as long as one of those who gave it wants it; another one for the same replica takes its place. */
interface Order {
  readonly role: Role
  givenBy: number
}

export class MembershipKeeper {
  readonly #self: ReplicaId
  readonly #options: MembershipOptions
  /** What connected replicas asked to be. */
  readonly #wanted = new Map<ReplicaId, Role>()
  /** What this replica's owner wants others (or itself) to be: also of those that can not be reached. */
  readonly #orders = new Map<ReplicaId, Order>()
  /** Connected replicas that are always there, and those that must not vote ([MB3]). */
  readonly #steady = new Set<ReplicaId>()
  readonly #readers = new Set<ReplicaId>()
  /** Since when a voter has been silent. */
  readonly #silentSince = new Map<ReplicaId, number>()
  #tickedAt = Number.NEGATIVE_INFINITY

  constructor(self: ReplicaId, options: MembershipOptions) {
    this.#self = self
    this.#options = options
    if (options.steady) this.#steady.add(self)
  }

  /** What a replica said and proved of itself when it was connected. */
  describe(id: ReplicaId, { mayVote, steady }: { readonly mayVote: boolean; readonly steady: boolean }): void {
    if (steady) this.#steady.add(id)
    else this.#steady.delete(id)
    if (mayVote) this.#readers.delete(id)
    else this.#readers.add(id)
  }

  /** A replica asks for a role; where seats are given by hand, everybody may observe and nobody gets a vote by asking. */
  request(from: ReplicaId, wanted: Role): void {
    const manual = this.#options.membership === 'manual' && from !== this.#self
    this.#wanted.set(from, manual && wanted === 'voter' ? 'observer' : wanted)
  }

  /** The returned function, called once, takes it back: the one that was given here, and nobody else's. */
  order(id: ReplicaId, role: Role): () => void {
    const before = this.#orders.get(id)
    const order: Order = before?.role === role ? before : { role, givenBy: 0 }
    order.givenBy++
    this.#orders.set(id, order)
    return () => {
      order.givenBy--
      if (order.givenBy === 0 && this.#orders.get(id) === order) this.#orders.delete(id)
    }
  }

  /**
   * A new epoch: orders that it fulfils are done with, and its voters get time to be heard. Who still wishes for something asks
   * again: a wish from before may be that of one who has left since, by another voter.
   */
  begin(members: Membership): void {
    this.#wanted.clear()
    for (const [id, { role }] of this.#orders) {
      if (roleOf(id, members.voters, members.observers) === role) this.#orders.delete(id)
    }
    this.#silentSince.clear()
  }

  /** Notes who is silent. A replica that slept itself judges nobody by that time. */
  tick(protocol: ReplicaState, now: number): void {
    if (now - this.#tickedAt > protocol.timeouts.suspectMs / 2) this.#silentSince.clear()
    this.#tickedAt = now
    for (const [row, id] of protocol.config.members.voters.entries()) {
      if (!isSuspected(protocol, row)) this.#silentSince.delete(id)
      else if (!this.#silentSince.has(id)) this.#silentSince.set(id, now)
    }
  }

  /** What this replica would like to be in `members`. */
  wish(members: Membership, role: Role): Role {
    const { wanted, membership } = this.#options
    if (membership === 'auto' || members.voters.length === 0) return wanted
    return role === 'none' ? 'observer' : role
  }

  hasFreeSeat(members: Membership): boolean {
    return members.voters.length < this.#options.votersMax
  }

  /** Whether there is certainly nothing to change in `members`: cheap, for it is asked all the time. */
  isSettled(members: Membership): boolean {
    const isOdd = this.#options.membership === 'manual' || members.voters.length % 2 === 1
    return isOdd && this.#wanted.size === 0 && this.#orders.size === 0 && this.#silentSince.size === 0
  }

  /** The member list that should follow, or null where it is the present one. `now`: for how long voters have been silent. */
  next(run: EpochRun, now: number, mayRemove: boolean): Membership | null {
    const { protocol, members } = run
    const { voters, observers } = members
    for (const [id, wanted] of this.#wanted) {
      const there = id === this.#self || protocol.connected.has(id)
      if (!there || roleOf(id, voters, observers) === wanted) this.#wanted.delete(id)
    }
    const wanted = new Map(this.#wanted)
    for (const [id, { role }] of this.#orders) {
      const mayBe = role !== 'voter' || id === this.#self || (protocol.connected.has(id) && !this.#readers.has(id))
      if (mayBe) wanted.set(id, role)
    }
    return this.#decide(run, wanted, mayRemove ? this.#silent(now) : new Set())
  }

  /** The member list without this replica, or null where it can not go. */
  without(run: EpochRun): Membership | null {
    return this.#decide(run, new Map([[this.#self, 'none']]), new Set())
  }

  #decide(run: EpochRun, wanted: ReadonlyMap<ReplicaId, Role>, silent: ReadonlySet<ReplicaId>): Membership | null {
    return nextMembership(run.members, {
      wanted,
      silent,
      reachable: this.#reachable(run.protocol),
      steady: this.#steady,
      votersMax: this.#options.votersMax,
      preferOdd: this.#options.membership === 'auto',
    })
  }

  #reachable(protocol: ReplicaState): ReadonlySet<ReplicaId> {
    const reachable = new Set([this.#self])
    for (const id of protocol.connected) {
      const row = protocol.rows.get(id)
      if (row === undefined || !isSuspected(protocol, row)) reachable.add(id)
    }
    return reachable
  }

  /** [MB1] */
  #silent(now: number): ReadonlySet<ReplicaId> {
    const silent = new Set<ReplicaId>()
    if (this.#options.membership === 'manual') return silent
    for (const [id, since] of this.#silentSince) if (now - since >= this.#options.silentMs) silent.add(id)
    return silent
  }

  /** Whether the voters of `next` could go on at once: nobody is to end an epoch into a stand-still. */
  quorumOf(run: EpochRun, next: Membership): { readonly reachable: number; readonly needed: number } {
    const { protocol } = run
    const reachable = next.voters.filter((id) => {
      const row = protocol.rows.get(id)
      return id === this.#self || (row === undefined ? protocol.connected.has(id) : !isSuspected(protocol, row))
    }).length
    return { reachable, needed: quorumsOf(next.voters.length).slow }
  }
}
