import { describe, expect, it } from 'vitest'
import { formatInstanceId } from '../src/protocol/ids.ts'
import { type CommittedInstance, isCommitted } from '../src/protocol/instance.ts'
import {
  accessing,
  barrierFor,
  ProtocolCluster as Cluster,
  type CommitPath,
  type ProtocolCluster,
} from './protocol-cluster.ts'
import { ProtocolPromises } from './protocol-promises.ts'

function executed(cluster: ProtocolCluster, row: number): string {
  return cluster
    .executed(row)
    .map(({ id }) => formatInstanceId(id))
    .join(' ')
}

function types(cluster: ProtocolCluster): string[] {
  return cluster.flights.map(({ from, to, message }) => `${from}>${to} ${message.type}`)
}

describe('a cluster in the hand', () => {
  it('does nothing by itself', () => {
    const cluster = new Cluster({ n: 3 })
    cluster.tickAll(10)
    expect(cluster.flights).toEqual([])
    cluster.propose(0, accessing(1, 'write', 7))
    expect(types(cluster)).toEqual(['0>1 PreAccept', '0>2 PreAccept'])
  })

  it('commits on the fast path where all is delivered in order, and executes everywhere', () => {
    const paths: CommitPath[] = []
    const cluster = new Cluster({ n: 3, listener: { committed: (_, __, path) => paths.push(path) } })
    cluster.propose(0, accessing(1, 'write', 7))
    cluster.deliverAll()
    expect(paths).toEqual(['fast', 'learned', 'learned'])
    expect([0, 1, 2].map((row) => executed(cluster, row))).toEqual(['0.1', '0.1', '0.1'])
  })

  it('delivers a message twice where it is kept, and never where it is dropped', () => {
    const cluster = new Cluster({ n: 3 })
    cluster.propose(0, accessing(1, 'write', 7))
    const [first] = cluster.flights
    if (first === undefined) throw new Error('a PreAccept is on its way')
    cluster.deliver(first, { keep: true })
    cluster.deliver(first)
    expect(types(cluster)).toEqual(['0>2 PreAccept', '1>0 PreAcceptOk', '1>0 PreAcceptOk'])
    expect(cluster.dropAll()).toBe(3)
    expect(cluster.deliverAll()).toBe(0)
  })

  it('holds back with a held disk what waits for a write, and loses it in a crash', () => {
    const cluster = new Cluster({ n: 3, disk: 'held' })
    cluster.propose(0, accessing(1, 'write', 7))
    // PreAccept may leave before the record is durable
    expect(types(cluster)).toEqual(['0>1 PreAccept', '0>2 PreAccept'])
    cluster.deliverAll(({ to }) => to === 1)
    expect(types(cluster)).toEqual(['0>2 PreAccept'])
    cluster.crash(1)
    cluster.restart(1)
    cluster.write(1)
    expect(cluster.state(1).log.size).toBe(0)
    cluster.deliverAll(({ to }) => to === 2)
    cluster.write(2)
    expect(types(cluster)).toContain('2>0 PreAcceptOk')
  })

  it('keeps after a crash what was written, though nobody heard of it', () => {
    const cluster = new Cluster({ n: 3, disk: 'held' })
    cluster.propose(0, accessing(1, 'write', 7))
    cluster.deliverAll(({ to }) => to === 1)
    cluster.crash(1, { written: true })
    cluster.restart(1)
    expect(cluster.state(1).log.size).toBe(1)
    // the coordinator says it again on the new link, once its own record is durable
    cluster.write(0)
    expect(types(cluster)).toEqual(['0>2 PreAccept', '0>1 PreAccept'])
  })

  it('executes again from the disk after a restart, in the same order', () => {
    const cluster = new Cluster({ n: 3 })
    for (const number of [1, 2, 3]) {
      cluster.propose(number - 1, accessing(number, 'write', 7))
      cluster.deliverAll()
    }
    // what is only kept is written with the next record
    cluster.propose(1, accessing(4, 'write', 7))
    cluster.deliverAll()
    const order = executed(cluster, 1)
    cluster.crash(1)
    expect(cluster.executed(1)).toEqual([])
    cluster.restart(1)
    expect(order.startsWith('0.1 1.1 2.1')).toBe(true)
    expect(order.startsWith(executed(cluster, 1))).toBe(true)
    expect(cluster.executed(1).length).toBeGreaterThan(2)
  })

  it('recovers at will what a coordinator left in doubt', () => {
    const cluster = new Cluster({ n: 3 })
    const id = cluster.propose(0, accessing(1, 'write', 7))
    cluster.deliverAll(({ message }) => message.type === 'PreAccept')
    cluster.crash(0)
    cluster.dropAll()
    expect(cluster.canRecover(1, id)).toBe(true)
    cluster.recover(1, id)
    expect(cluster.canRecover(1, id)).toBe(false)
    cluster.deliverAll()
    for (const row of [1, 2]) expect(isCommitted(cluster.state(row).log.get(id))).toBe(true)
  })

  it('counts as many unused seqs after a restart as it was told to', () => {
    const nextAfterRestart = (unusedSeqsMax?: number) => {
      const cluster = new Cluster({ n: 3, ...(unusedSeqsMax === undefined ? {} : { unusedSeqsMax }) })
      cluster.propose(0, accessing(1, 'write', 7))
      cluster.crash(0)
      cluster.restart(0)
      return cluster.state(0).nextSeq
    }
    expect(nextAfterRestart(0)).toBe(2)
    expect(nextAfterRestart(1)).toBe(3)
    expect(nextAfterRestart()).toBe(33)
  })

  it('gives a clone that goes its own way', () => {
    const cluster = new Cluster({ n: 3, cloneable: true })
    cluster.propose(0, accessing(1, 'write', 7))
    cluster.propose(1, barrierFor(3))
    const copy = cluster.clone()
    expect(types(copy)).toEqual(types(cluster))
    copy.deliverAll()
    expect([0, 1, 2].map((row) => executed(copy, row))).toEqual(['0.1 1.1', '0.1 1.1', '0.1 1.1'])
    expect(executed(cluster, 0)).toBe('')
    cluster.deliverAll()
    expect(executed(cluster, 0)).toBe(executed(copy, 0))
  })

  it('stops at a decision that differs from what was decided before', () => {
    const cluster = new Cluster({ n: 3 })
    const id = cluster.propose(0, accessing(1, 'write', 7))
    cluster.deliverAll(({ to }) => to !== 2)
    expect(isCommitted(cluster.state(0).log.get(id))).toBe(true)
    const forged = {
      number: 0,
      from: 1,
      to: 2,
      message: { type: 'Commit', id, ballot: 0, command: barrierFor(3), deps: [0, 0, 0] },
    }
    expect(() =>
      cluster.deliver({ ...forged, message: { ...forged.message, type: 'Commit' } }, { keep: true }),
    ).toThrow('Agreement')
  })
})

describe('what is promised of a barrier', () => {
  const command = accessing(1, 'write', 7)
  const committedAs = (
    row: number,
    what: CommittedInstance['command'],
    deps: readonly number[],
  ): CommittedInstance => ({
    id: { row, seq: 1 },
    phase: 'committed',
    promisedBallot: 0,
    acceptedBallot: 0,
    command: what,
    deps,
    initCommand: what,
    initDeps: deps,
  })

  it('is that all it depends on is executed before it', () => {
    const before = committedAs(1, command, [1, 0])
    const barrier = committedAs(0, barrierFor(2), [0, 1])
    const promises = new ProtocolPromises()
    promises.notePropose(before.id, command)
    promises.notePropose(barrier.id, barrier.command)
    promises.noteCommit(0, before)
    promises.noteCommit(0, barrier)
    expect(() => promises.noteExecution(0, barrier, [])).toThrow('Cut: 0 executed the barrier 0.1 before 1.1')
    expect(() => promises.noteExecution(1, barrier, [before])).not.toThrow()
  })
})
