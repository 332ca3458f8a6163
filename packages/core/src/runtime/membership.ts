// Which members the next epoch should have, from what replicas ask for and who is silent. Pure: the engine proposes the
// barrier. An odd number of voters is preferred: one more voter makes an even number that tolerates no more losses, and
// with two voters either one's loss stops both.
import type { Membership } from '../protocol/command.ts'
import type { Role } from '../protocol/control-message.ts'
import type { ReplicaId } from '../protocol/ids.ts'
import { votersMax as votersLimit } from '../protocol/quorum.ts'

/** Observers in a member list at most; the wire and the checkpoint allow more (codec/parts.ts). */
export const observersMax = 256

export interface MembershipWishes {
  /** What replicas ask to be. */
  readonly wanted: ReadonlyMap<ReplicaId, Role>
  /** Voters that have been silent for so long that they should make place: they become observers. */
  readonly silent: ReadonlySet<ReplicaId>
  /** Replicas that can be reached, the one that decides among them: they keep their places before others. */
  readonly reachable: ReadonlySet<ReplicaId>
  /** Replicas that are always there: they keep their places before others, too. */
  readonly steady: ReadonlySet<ReplicaId>
  readonly votersMax: number
  /** Whether an even number of voters is brought down by one, above one. */
  readonly preferOdd: boolean
}

/** The member list after all wishes, or null where it would be the present one. */
export function nextMembership(now: Membership, wishes: MembershipWishes): Membership | null {
  const { wanted, silent, reachable, steady, preferOdd } = wishes
  const seats = Math.min(wishes.votersMax, votersLimit)
  const asked = [...wanted].sort(([a], [b]) => (a < b ? -1 : 1))

  const voters = now.voters.filter((id) => (wanted.get(id) ?? 'voter') === 'voter' && !silent.has(id))
  const observers = now.observers.filter((id) => (wanted.get(id) ?? 'observer') !== 'none')
  for (const id of now.voters) {
    if (!voters.includes(id) && wanted.get(id) !== 'none') observers.push(id)
  }
  for (const [id, role] of asked) {
    if (role === 'none' || voters.includes(id) || observers.includes(id)) continue
    observers.push(id)
  }
  // who asks for a seat gets it while there is one
  for (const [id, role] of asked) {
    if (role === 'voter' && !voters.includes(id) && !silent.has(id) && voters.length < seats) voters.push(id)
  }
  if (voters.length === 0) {
    const successor = observers.find((id) => reachable.has(id) && !silent.has(id))
    if (successor === undefined) return null
    voters.push(successor)
  }
  if (preferOdd && voters.length % 2 === 0) {
    // [MB2] one that is away anyhow, else one that will be, else the one that came last
    const away = voters.findLastIndex((id) => !reachable.has(id))
    const passing = voters.findLastIndex((id) => !steady.has(id))
    const place = [away, passing, voters.length - 1].find((index) => index >= 0)
    const [spared] = place === undefined ? [] : voters.splice(place, 1)
    if (spared !== undefined && !observers.includes(spared)) observers.push(spared)
  }
  const rest = withinBounds(
    observers.filter((id) => !voters.includes(id)),
    reachable,
  )
  const same = (a: readonly ReplicaId[], b: readonly ReplicaId[]) =>
    a.length === b.length && a.every((id) => b.includes(id))
  return same(voters, now.voters) && same(rest, now.observers) ? null : { voters, observers: rest }
}

/** When there are too many observers, those that can not be reached go first, the longest-standing among them. */
function withinBounds(observers: readonly ReplicaId[], reachable: ReadonlySet<ReplicaId>): readonly ReplicaId[] {
  let excess = observers.length - observersMax
  if (excess <= 0) return observers
  const kept = observers.filter((id) => reachable.has(id) || excess-- <= 0)
  return kept.slice(0, observersMax)
}
