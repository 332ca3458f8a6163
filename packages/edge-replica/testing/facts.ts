// Builders for the tests of health and metrics: an edge replica in some moment, of which a test says only what it is about.
import { type Member, type ReplicaStats, replicaId } from '@wepaxos/core'
import type { EdgeFacts, PartitionFacts } from '../src/health.ts'

const ids = ['a', 'b', 'c'].map((letter) => replicaId(letter.repeat(32)))

const plainStats: ReplicaStats = {
  epoch: 1,
  executed: 0,
  stateHash: '00',
  voters: 3,
  slowQuorum: 2,
  fastQuorum: 2,
  fastPath: 0,
  slowPath: 0,
  recoveries: 0,
  pending: 0,
  hosted: [],
  storage: { durability: 'strict', writes: 0, persisted: true, usedBytes: null, quotaBytes: null },
  refused: {},
}

/** Three voters: this one, one that is connected, and one that is not. */
export const threeMembers: readonly Member[] = ids.map((id, index) => ({
  id,
  role: 'voter',
  self: index === 0,
  connected: index < 2,
}))

export function statsOf(stats: Partial<ReplicaStats> = {}): ReplicaStats {
  return { ...plainStats, ...stats }
}

export function partitionFacts(facts: Partial<PartitionFacts> = {}): PartitionFacts {
  const [self] = threeMembers
  return {
    partition: 'demo',
    replica: self?.id ?? '',
    status: { kind: 'ready' },
    members: threeMembers,
    stats: statsOf(),
    ...facts,
  }
}

export function edgeFacts(facts: Partial<EdgeFacts> = {}): EdgeFacts {
  return {
    phase: 'running',
    uptimeSeconds: 5,
    residentBytes: 1_000,
    room: null,
    partitions: [partitionFacts()],
    ...facts,
  }
}
