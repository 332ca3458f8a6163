// How Prometheus reads what is known about this replica. Labels are partitions, which the operator named, and reasons and
// states, of which there is a fixed set: nothing that a peer sends becomes a label.
import type { Status } from '@wepaxos/core'
import type { SignalingState } from '@wepaxos/webrtc-transport'
import { type EdgeFacts, type PartitionFacts, readiness } from './health.ts'

interface PartitionMetric {
  readonly name: string
  readonly type: 'counter' | 'gauge'
  readonly help: string
  /** Null: not known, and not shown. */
  value(facts: PartitionFacts): number | null
}

const statusKinds = Object.keys({
  joining: true,
  ready: true,
  'read-only': true,
  'no-quorum': true,
  removed: true,
  closed: true,
  failed: true,
} satisfies Record<Status['kind'], true>)
const signalingStates: readonly SignalingState[] = ['connecting', 'open', 'closed']

const partitionMetrics: readonly PartitionMetric[] = [
  { name: 'members', type: 'gauge', help: 'Members, voters and observers.', value: ({ members }) => members.length },
  { name: 'voters', type: 'gauge', help: 'Members that vote.', value: ({ stats }) => stats.voters },
  {
    name: 'votes',
    type: 'gauge',
    help: '1 while this replica is a voter.',
    value: ({ members }) => (members.some(({ self, role }) => self && role === 'voter') ? 1 : 0),
  },
  {
    name: 'connected_peers',
    type: 'gauge',
    help: 'Other members that can be reached.',
    value: ({ members }) => members.filter(({ self, connected }) => connected && !self).length,
  },
  { name: 'epoch', type: 'gauge', help: 'The stretch of history.', value: ({ stats }) => stats.epoch },
  {
    name: 'executed_total',
    type: 'counter',
    help: 'Commands executed since the founding, the same at every replica.',
    value: ({ stats }) => stats.executed,
  },
  {
    name: 'fast_path_total',
    type: 'counter',
    help: 'Own commands committed on the fast path.',
    value: ({ stats }) => stats.fastPath,
  },
  {
    name: 'slow_path_total',
    type: 'counter',
    help: 'Own commands committed on the slow path.',
    value: ({ stats }) => stats.slowPath,
  },
  {
    name: 'recoveries_total',
    type: 'counter',
    help: 'Recoveries that this replica started.',
    value: ({ stats }) => stats.recoveries,
  },
  {
    name: 'pending',
    type: 'gauge',
    help: 'Own commands proposed and not yet executed.',
    value: ({ stats }) => stats.pending,
  },
  {
    name: 'storage_writes_total',
    type: 'counter',
    help: 'Durable writes over the life of this replica.',
    value: ({ stats }) => stats.storage.writes,
  },
  {
    name: 'storage_used_bytes',
    type: 'gauge',
    help: 'Bytes on the disk.',
    value: ({ stats }) => stats.storage.usedBytes,
  },
  {
    name: 'storage_quota_bytes',
    type: 'gauge',
    help: 'Bytes that could be on the disk.',
    value: ({ stats }) => stats.storage.quotaBytes,
  },
]

/** The Prometheus text format, version 0.0.4. */
export function metricsText(facts: EdgeFacts): string {
  const { partitions, room, uptimeSeconds, residentBytes } = facts
  const lines: string[] = []
  const write = (name: string, type: 'counter' | 'gauge', help: string, samples: readonly string[]) => {
    const full = `wepaxos_edge_${name}`
    lines.push(`# HELP ${full} ${help}`, `# TYPE ${full} ${type}`, ...samples.map((sample) => `${full}${sample}`))
  }
  write('ready', 'gauge', '1 while every partition can answer commands.', [` ${readiness(facts).ready ? 1 : 0}`])
  const states = partitions.flatMap(({ partition, status }) =>
    statusKinds.map((kind) => `${labels({ partition, state: kind })} ${status.kind === kind ? 1 : 0}`),
  )
  write('state', 'gauge', '1 for the state that a partition is in.', states)
  for (const { name, type, help, value } of partitionMetrics) {
    const samples = partitions.flatMap((one) => {
      const number = value(one)
      return number === null ? [] : [`${labels({ partition: one.partition })} ${number}`]
    })
    write(name, type, help, samples)
  }
  const refused = partitions.flatMap(({ partition, stats }) =>
    Object.entries(stats.refused).map(([reason, count]) => `${labels({ partition, reason })} ${count}`),
  )
  write('refused_total', 'counter', 'Messages of other replicas that were not acceptable.', refused)
  if (room !== null) {
    const open = room.peers.filter(({ state }) => state === 'open').length
    write('room_peers', 'gauge', 'Other pages and programs of the room.', [
      `${labels({ state: 'open' })} ${open}`,
      `${labels({ state: 'connecting' })} ${room.peers.length - open}`,
    ])
    const signaling = signalingStates.map((state) => `${labels({ state })} ${room.signaling === state ? 1 : 0}`)
    write('signaling', 'gauge', '1 for the state of the connection to the signaling server.', signaling)
    const refusedByRoom = Object.entries(room.refused).map(([reason, count]) => `${labels({ reason })} ${count}`)
    write('room_refused_total', 'counter', 'What was refused on links and in signaling.', refusedByRoom)
  }
  write('uptime_seconds', 'gauge', 'Since the process started.', [` ${uptimeSeconds}`])
  write('resident_memory_bytes', 'gauge', 'Memory of the process.', [` ${residentBytes}`])
  return `${lines.join('\n')}\n`
}

function labels(pairs: Readonly<Record<string, string>>): string {
  const escaped = (value: string) => value.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n')
  return `{${Object.entries(pairs)
    .map(([name, value]) => `${name}="${escaped(value)}"`)
    .join(',')}}`
}
