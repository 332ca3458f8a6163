// When the state of a replica may be shown as a linearizable read: over a real executor and protocol state, with a quorum
// whose answers the test gives.
import { describe, expect, test } from 'vitest'
import { Application } from '../execution/application.ts'
import { bindMachine } from '../execution/define-machine.ts'
import { Executor } from '../execution/executor.ts'
import { WepaxosError } from '../lib/errors.ts'
import type { AccessMode, Footprint } from '../protocol/command.ts'
import { replicaId } from '../protocol/ids.ts'
import type { CommittedInstance } from '../protocol/instance.ts'
import { createReplicaState, defaultTimeouts, learn } from '../protocol/state.ts'
import { kv } from '../state-machines/kv.ts'
import { createEpochRun } from './epoch-run.ts'
import { Reads, readsMax } from './reads.ts'

const a = replicaId('a'.repeat(32))
const b = replicaId('b'.repeat(32))
const c = replicaId('c'.repeat(32))

function start(mayOrder = true) {
  const members = { voters: [a, b, c], observers: [] }
  const protocol = createReplicaState({
    self: a,
    config: { epoch: 1, members },
    timeouts: defaultTimeouts,
    now: 0,
    reservedSeq: 32,
    durableSeq: 32,
    instances: [],
    restarted: false,
  })
  const asked: number[] = []
  const ordered: { done(): void; failed(error: WepaxosError): void }[] = []
  const reads = new Reads(
    {
      run: () => run,
      ask: (read) => asked.push(read),
      mayOrder,
      order: (_, done, failed) => ordered.push({ done, failed }),
    },
    1,
  )
  const executor = new Executor(3, ({ command }) => {
    if (command.kind === 'application') for (const { footprint } of command.proposals) reads.executed(footprint)
  })
  const run = createEpochRun({
    protocol,
    executor,
    application: Application.found(bindMachine(kv()), 'f'.repeat(32), a),
    members,
    role: 'voter',
    start: { epoch: 1, bytes: new Uint8Array(), hash: '' },
    durable: true,
  })
  let seq = 0
  /** A command of replica b on `key` is committed and executed here. */
  const execute = (key: number, mode: AccessMode) => {
    const proposal = { session: b, number: ++seq, ackedUpTo: 0, payload: new Uint8Array() }
    const committed: CommittedInstance = {
      id: { row: 1, seq },
      phase: 'committed',
      promisedBallot: 0,
      acceptedBallot: 0,
      command: { kind: 'application', proposals: [{ ...proposal, footprint: [{ key, mode }] }] },
      deps: [0, seq - 1, 0],
      initCommand: null,
      initDeps: null,
    }
    learn(protocol, committed)
    executor.commit(committed)
    executor.run()
  }
  const heard: string[] = []
  const read = (footprint: Footprint) =>
    reads.start(
      footprint,
      () => heard.push('ready'),
      (error: WepaxosError) => heard.push(error.code),
    )
  const answer = (upTo: number) => {
    reads.answered(asked.at(-1) ?? 0, [0, upTo, 0])
    reads.serve()
  }
  return { reads, execute, read, answer, asked, ordered, heard }
}

const keyOne: Footprint = [{ key: 1, mode: 'read' }]
const twoKeys: Footprint = [...keyOne, { key: 2, mode: 'read' }]

describe('a linearizable read', () => {
  test('[RD1] of one key waits until all that a quorum knew is executed here, whatever else is executed meanwhile', () => {
    const { execute, read, answer, asked, heard, reads } = start()
    read(keyOne)
    answer(2)
    expect(heard).toEqual([])
    expect(reads.needs(3)).toEqual([0, 2, 0])
    for (let count = 0; count < 3; count++) execute(1, 'write')
    reads.serve()
    expect(heard).toEqual(['ready'])
    expect(asked).toHaveLength(1)
  })

  test('[RD3] of two keys is shown at once when the state holds all that the quorum knew and rested since the round began', () => {
    const { execute, read, answer, heard } = start()
    execute(1, 'write')
    execute(2, 'write')
    read(twoKeys)
    execute(3, 'write') // elsewhere
    answer(2)
    expect(heard).toEqual(['ready'])
  })

  test('[RD3] of two keys asks again when one of them was written here meanwhile, or the quorum knew of more than was here', () => {
    const { execute, read, answer, asked, heard } = start()
    read(twoKeys)
    execute(2, 'write')
    answer(1)
    expect(asked).toHaveLength(2)
    expect(heard).toEqual([])
    answer(1)
    expect(heard).toEqual(['ready'])
  })

  test('[RD3] of one key with adds is treated like one of several keys', () => {
    const { execute, read, answer, asked, heard } = start()
    read(keyOne)
    execute(1, 'add')
    answer(1)
    expect(asked).toHaveLength(2)
    answer(1)
    expect(heard).toEqual(['ready'])
  })

  test('[RD3] that others spoil four times is ordered like a command', () => {
    const { execute, read, answer, ordered, heard, reads } = start()
    read(twoKeys)
    for (let round = 1; round <= 4; round++) {
      expect(ordered).toHaveLength(0)
      execute(1, 'write')
      answer(round)
    }
    expect(ordered).toHaveLength(1)
    expect(reads.size).toBe(0)
    ordered[0]?.done()
    expect(heard).toEqual(['ready'])
  })

  test('[RD3] that others spoil goes on asking where the replica may not propose', () => {
    const { execute, read, answer, ordered, heard } = start(false)
    read(twoKeys)
    for (let round = 1; round <= 10; round++) {
      execute(1, 'write')
      answer(round)
    }
    expect(heard).toEqual([])
    answer(10)
    expect([heard, ordered.length]).toEqual([['ready'], 0])
  })

  function startOrdered() {
    const started = start()
    started.read(twoKeys)
    for (let round = 1; round <= 4; round++) {
      started.execute(1, 'write')
      started.answer(round)
    }
    const order = started.ordered[0]
    if (order === undefined) throw new Error('a read that is ordered')
    return { ...started, order }
  }

  test('that is ordered like a command fails as a read, not as a command', () => {
    const { reads, order, heard } = startOrdered()
    reads.failAll(new WepaxosError('Closed', 'closed'))
    order.failed(new WepaxosError('OutcomeUnknown', 'of the command'))
    order.done()
    expect(heard).toEqual(['Closed'])
  })

  test('whose command may or may not come asks again, for it has no effect', () => {
    const { order, answer, asked, heard } = startOrdered()
    order.failed(new WepaxosError('OutcomeUnknown', 'of the command'))
    expect([heard, asked.length]).toEqual([[], 5])
    answer(4)
    expect(heard).toEqual(['ready'])
  })

  test('that can not be ordered, for too many commands wait, fails', () => {
    const { order, heard } = startOrdered()
    order.failed(new WepaxosError('Overloaded', 'too many'))
    expect(heard).toEqual(['Overloaded'])
  })

  test('[RD2] starts over when the epoch ends: an answer to the round before counts for nothing', () => {
    const { read, answer, asked, heard, reads } = start()
    read(keyOne)
    const before = asked.at(-1) ?? 0
    reads.startOver()
    reads.answered(before, [0, 0, 0])
    reads.serve()
    expect(heard).toEqual([])
    answer(0)
    expect(heard).toEqual(['ready'])
  })

  test('is refused with Overloaded when too many wait, and all that wait fail together', () => {
    const { read, heard, reads } = start()
    for (let count = 0; count < readsMax; count++) read(keyOne)
    expect(() => read(keyOne)).toThrow(expect.objectContaining({ code: 'Overloaded' }))
    reads.failAll(new WepaxosError('Closed', 'closed'))
    expect(heard).toHaveLength(readsMax)
  })
})
