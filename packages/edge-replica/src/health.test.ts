import { WepaxosError } from '@wepaxos/core'
import { describe, expect, it } from 'vitest'
import { partitionFacts, threeMembers } from '../testing/facts.ts'
import { readiness } from './health.ts'

const ready = partitionFacts({ partition: 'a' })

describe('readiness', () => {
  it('is there while every partition is ready', () => {
    const partitions = [ready, partitionFacts({ partition: 'b', status: { kind: 'read-only' } })]
    expect(readiness({ phase: 'running', room: null, partitions })).toEqual({ ready: true, why: [] })
  })

  it.each(['starting', 'closing'] as const)('is not there while it is %s, whatever its partitions are', (phase) => {
    expect(readiness({ phase, room: null, partitions: [ready] })).toEqual({ ready: false, why: [phase] })
  })

  it('says of each partition that is not ready why', () => {
    const lost = new WepaxosError('DamagedStorage', 'the disk came back older')
    const error = new WepaxosError('StorageFailed', 'no space')
    const partitions = [
      ready,
      partitionFacts({ partition: 'b', status: { kind: 'joining', peers: 0 } }),
      partitionFacts({ partition: 'c', status: { kind: 'joining', peers: 2, lost } }),
      partitionFacts({ partition: 'd', status: { kind: 'failed', error } }),
      partitionFacts({ partition: 'e', status: { kind: 'removed' } }),
      partitionFacts({
        partition: 'f',
        status: {
          kind: 'no-quorum',
          reachable: 1,
          needed: 2,
          members: 3,
          missing: threeMembers.slice(1).map(({ id }) => id),
        },
      }),
    ]
    expect(readiness({ phase: 'running', room: null, partitions })).toEqual({
      ready: false,
      why: [
        'b: joining, and nobody answers',
        'c: beginning anew, because the disk came back older; joining, 2 peers answer',
        'd: failed: StorageFailed: no space',
        'e: removed',
        'f: 1 of 3 voters can be reached, 2 are needed',
      ],
    })
  })

  it('names a signaling server that can not be reached only where that may be the reason', () => {
    const problem = 'closed with code 1006'
    const room = { identity: '', peers: [], signaling: 'connecting', signalingProblem: problem, refused: {} } as const
    expect(readiness({ phase: 'running', room, partitions: [ready] })).toEqual({ ready: true, why: [] })
    const partitions = [partitionFacts({ partition: 'b', status: { kind: 'joining', peers: 0 } })]
    expect(readiness({ phase: 'running', room, partitions }).why).toEqual([
      'b: joining, and nobody answers',
      `the signaling server can not be reached: ${problem}`,
    ])
  })
})
