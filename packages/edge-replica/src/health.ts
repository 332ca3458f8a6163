// What is known about this replica in one moment, and what that means for those who ask: whether it is ready and if not
// why, and all figures. http.ts and metrics.ts show it.
import type { Member, ReplicaStats, Status } from '@wepaxos/core'
import type { Room, RoomPeer } from '@wepaxos/webrtc-transport'

/** One of its partitions. */
export interface PartitionFacts {
  readonly partition: string
  readonly replica: string
  readonly status: Status
  readonly members: readonly Member[]
  readonly stats: ReplicaStats
}

export interface RoomFacts extends Pick<Room, 'identity' | 'signaling' | 'signalingProblem' | 'refused'> {
  readonly peers: readonly Pick<RoomPeer, 'id' | 'state' | 'identity'>[]
}

export interface EdgeFacts {
  /** `starting`: its state is being read. `closing`: it was told to end. */
  readonly phase: 'starting' | 'running' | 'closing'
  readonly uptimeSeconds: number
  readonly residentBytes: number
  /** Null before it is in the room. */
  readonly room: RoomFacts | null
  readonly partitions: readonly PartitionFacts[]
}

export interface Readiness {
  readonly ready: boolean
  /** Why not; empty when it is. */
  readonly why: readonly string[]
}

/** It is ready while every partition can answer commands, or, behind a reader's link, follows those of the others. */
export function readiness({ phase, room, partitions }: Pick<EdgeFacts, 'phase' | 'room' | 'partitions'>): Readiness {
  if (phase !== 'running') return { ready: false, why: [phase] }
  const why = partitions
    .filter(({ status }) => status.kind !== 'ready' && status.kind !== 'read-only')
    .map(({ partition, status }) => `${partition}: ${inWords(status)}`)
  // By itself no reason: links that are open go on without the server. But it may be why nobody answers.
  const problem = room?.signalingProblem ?? null
  if (why.length > 0 && problem !== null) why.push(`the signaling server can not be reached: ${problem}`)
  return { ready: why.length === 0, why }
}

/** A status for people: one half of a sentence. */
export function inWords(status: Status): string {
  switch (status.kind) {
    case 'joining': {
      const lost = status.lost === undefined ? '' : `beginning anew, because ${status.lost.message}; `
      return lost + (status.peers === 0 ? 'joining, and nobody answers' : `joining, ${status.peers} peers answer`)
    }
    case 'no-quorum':
      return `${status.reachable} of ${status.members} voters can be reached, ${status.needed} are needed`
    case 'failed':
      return `failed: ${status.error.code}: ${status.error.message}`
    default:
      return status.kind
  }
}

/** All of it as JSON for people: who asks whether two replicas hold the same compares `stateHash`. */
export function report(facts: EdgeFacts): object {
  const { room, partitions, phase, uptimeSeconds } = facts
  return {
    phase,
    uptimeSeconds,
    ...readiness(facts),
    room: room === null ? null : reportRoom(room),
    partitions: partitions.map(({ partition, replica, status, members, stats }) => ({
      partition,
      replica,
      status: status.kind,
      says: inWords(status),
      members,
      stats,
    })),
  }
}

function reportRoom({ identity, peers, signaling, signalingProblem, refused }: RoomFacts): object {
  return { identity, peers, signaling, signalingProblem, refused }
}
