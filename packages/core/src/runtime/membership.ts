// Which members the next epoch should have, from what the replicas ask for. Pure: the engine proposes the barrier.
import type { Membership } from '../protocol/command.ts'
import type { Role } from '../protocol/control-message.ts'
import type { ReplicaId } from '../protocol/ids.ts'
import { votersMax as votersLimit } from '../protocol/quorum.ts'

/**
 * The member list after all requests, or null where it would be the present one. Requests to vote beyond `votersMax` make
 * observers; when the last voter goes, `successor` takes its place, and without one it stays.
 */
export function nextMembership(
  now: Membership,
  wanted: ReadonlyMap<ReplicaId, Role>,
  votersMax: number,
  successor: ReplicaId | undefined,
): Membership | null {
  const voters = now.voters.filter((id) => (wanted.get(id) ?? 'voter') === 'voter')
  const observers = now.observers.filter((id) => (wanted.get(id) ?? 'observer') === 'observer')
  for (const id of now.voters) if (wanted.get(id) === 'observer') observers.push(id)
  for (const [id, role] of [...wanted].sort(([a], [b]) => (a < b ? -1 : 1))) {
    if (role === 'observer' && !observers.includes(id) && !voters.includes(id)) observers.push(id)
    if (role !== 'voter' || voters.includes(id)) continue
    if (voters.length < Math.min(votersMax, votersLimit)) voters.push(id)
    else if (!observers.includes(id)) observers.push(id)
  }
  if (voters.length === 0) {
    if (successor === undefined) return null
    voters.push(successor)
  }
  const rest = observers.filter((id) => !voters.includes(id))
  const same = (a: readonly ReplicaId[], b: readonly ReplicaId[]) =>
    a.length === b.length && a.every((id) => b.includes(id))
  return same(voters, now.voters) && same(rest, now.observers) ? null : { voters, observers: rest }
}
