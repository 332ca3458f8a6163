import { describe, expect, it } from 'vitest'
import { edgeFacts, partitionFacts, statsOf } from '../testing/facts.ts'
import type { EdgeFacts } from './health.ts'
import { metricsText } from './metrics.ts'

/** The samples by name and labels; fails on a line that is no Prometheus text. */
function samplesOf(facts: EdgeFacts): ReadonlyMap<string, number> {
  const samples = new Map<string, number>()
  for (const line of metricsText(facts).trimEnd().split('\n')) {
    if (/^# (?:HELP|TYPE) wepaxos_edge_[a-z_]+ \S/.test(line)) continue
    const [, name, value] =
      /^(wepaxos_edge_[a-z_]+(?:\{[a-z]+="(?:[^"\\\n]|\\["\\n])*"(?:,[a-z]+="(?:[^"\\\n]|\\["\\n])*")*\})?) (-?[0-9.]+)$/.exec(
        line,
      ) ?? []
    if (name === undefined || samples.has(name)) throw new Error(`not a sample: ${line}`)
    samples.set(name, Number(value))
  }
  return samples
}

const busy = statsOf({
  epoch: 7,
  executed: 1_234,
  voters: 3,
  fastPath: 10,
  slowPath: 4,
  recoveries: 2,
  pending: 5,
  refused: { 'not-a-voter': 3, stale: 1 },
  storage: { durability: 'strict', writes: 99, persisted: true, usedBytes: 4_096, quotaBytes: 1_000_000 },
})

describe('the metrics', () => {
  it('show the figures of each partition under its name', () => {
    const partitions = [partitionFacts({ partition: 'a', stats: busy }), partitionFacts({ partition: 'b' })]
    const samples = samplesOf(edgeFacts({ partitions }))
    expect(Object.fromEntries([...samples].filter(([name]) => name.includes('partition="a"')))).toEqual({
      'wepaxos_edge_state{partition="a",state="joining"}': 0,
      'wepaxos_edge_state{partition="a",state="ready"}': 1,
      'wepaxos_edge_state{partition="a",state="read-only"}': 0,
      'wepaxos_edge_state{partition="a",state="no-quorum"}': 0,
      'wepaxos_edge_state{partition="a",state="removed"}': 0,
      'wepaxos_edge_state{partition="a",state="closed"}': 0,
      'wepaxos_edge_state{partition="a",state="failed"}': 0,
      'wepaxos_edge_members{partition="a"}': 3,
      'wepaxos_edge_voters{partition="a"}': 3,
      'wepaxos_edge_votes{partition="a"}': 1,
      'wepaxos_edge_connected_peers{partition="a"}': 1,
      'wepaxos_edge_epoch{partition="a"}': 7,
      'wepaxos_edge_executed_total{partition="a"}': 1_234,
      'wepaxos_edge_fast_path_total{partition="a"}': 10,
      'wepaxos_edge_slow_path_total{partition="a"}': 4,
      'wepaxos_edge_recoveries_total{partition="a"}': 2,
      'wepaxos_edge_pending{partition="a"}': 5,
      'wepaxos_edge_storage_writes_total{partition="a"}': 99,
      'wepaxos_edge_storage_used_bytes{partition="a"}': 4_096,
      'wepaxos_edge_storage_quota_bytes{partition="a"}': 1_000_000,
      'wepaxos_edge_refused_total{partition="a",reason="not-a-voter"}': 3,
      'wepaxos_edge_refused_total{partition="a",reason="stale"}': 1,
    })
    expect(samples.get('wepaxos_edge_executed_total{partition="b"}')).toBe(0)
  })

  it('leave out what is not known, rather than show a zero', () => {
    const samples = samplesOf(edgeFacts())
    expect(samples.has('wepaxos_edge_storage_used_bytes{partition="demo"}')).toBe(false)
    expect(samples.get('wepaxos_edge_storage_writes_total{partition="demo"}')).toBe(0)
  })

  it('say by one number whether all is well', () => {
    expect(samplesOf(edgeFacts()).get('wepaxos_edge_ready')).toBe(1)
    const partitions = [partitionFacts(), partitionFacts({ partition: 'b', status: { kind: 'joining', peers: 1 } })]
    const samples = samplesOf(edgeFacts({ partitions }))
    expect(samples.get('wepaxos_edge_ready')).toBe(0)
    expect(samples.get('wepaxos_edge_state{partition="b",state="joining"}')).toBe(1)
  })

  it('show the room, and not who is in it', () => {
    const peer = { id: 'peer-of-the-room', identity: 'key-of-the-peer' } as const
    const facts = edgeFacts({
      room: {
        identity: 'key-of-this-replica',
        peers: [
          { ...peer, state: 'open' },
          { ...peer, state: 'open' },
          { ...peer, state: 'connecting' },
        ],
        signaling: 'connecting',
        signalingProblem: null,
        refused: { garbage: 4 },
      },
    })
    const samples = samplesOf(facts)
    expect(samples.get('wepaxos_edge_room_peers{state="open"}')).toBe(2)
    expect(samples.get('wepaxos_edge_room_peers{state="connecting"}')).toBe(1)
    expect(samples.get('wepaxos_edge_signaling{state="connecting"}')).toBe(1)
    expect(samples.get('wepaxos_edge_signaling{state="open"}')).toBe(0)
    expect(samples.get('wepaxos_edge_room_refused_total{reason="garbage"}')).toBe(4)
    expect(metricsText(facts)).not.toMatch(/of-the-room|key-of/)
  })

  it('stay text for Prometheus whatever a label holds', () => {
    const stats = statsOf({ refused: { 'a "quote"\\\n': 1 } })
    const samples = samplesOf(edgeFacts({ partitions: [partitionFacts({ stats })] }))
    expect(samples.get('wepaxos_edge_refused_total{partition="demo",reason="a \\"quote\\"\\\\\\n"}')).toBe(1)
  })
})
