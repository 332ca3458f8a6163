// [MB3] What a reader can not do to the members although its page's program was changed, on simulated time.
import { describe, expect, it } from 'vitest'
import { checkpointHash, encodeCheckpoint } from '../src/execution/checkpoint.ts'
import { bindMachine } from '../src/execution/define-machine.ts'
import { Store } from '../src/execution/store.ts'
import { must } from '../src/lib/assert.ts'
import { type ReplicaId, replicaId } from '../src/protocol/ids.ts'
import type { Commit } from '../src/protocol/message.ts'
import { kv } from '../src/state-machines/kv.ts'
import { ChangedPage, knowingReaders } from './changed-page.ts'
import { agree, type KvReplica, Stage } from './stage.ts'

const reader = replicaId('e'.repeat(32))

/** Three voters that know who is a reader. */
async function threeWhoKnow(stage: Stage, readers: ReadonlySet<string>) {
  const open = (name: string) => {
    const transport = stage.network.transport(name, name === 'a')
    return stage.open(name, { transport: knowingReaders(transport, (peer) => readers.has(peer)) })
  }
  const [a, b, c] = [await open('a'), await open('b'), await open('c')]
  await stage.until(() => [a, b, c].every((one) => one.status.kind === 'ready' && votersOf(one).length === 3))
  return { a, b, c, open }
}

function votersOf(replica: KvReplica): readonly ReplicaId[] {
  return replica.members.filter(({ role }) => role === 'voter').map(({ id }) => id as ReplicaId)
}

describe('[MB3] a reader whose page was changed', () => {
  it('can not offer the voters a later state than theirs', async () => {
    const stage = new Stage()
    const { a, b, c } = await threeWhoKnow(stage, new Set([reader]))
    await stage.when(a.mutate.set('k', 'acked').done)
    const { epoch } = a.stats()
    let offered: Uint8Array | null = null
    const offeredTo = new Set<string>()
    const askedBy = new Set<string>()
    new ChangedPage(stage, reader, {
      heardControl: (page, from, message) => {
        if (message.type === 'Hello' && message.cluster !== null) {
          const { cluster, machine, machineVersion } = message
          offered ??= encodeCheckpoint({
            cluster,
            machine,
            machineVersion,
            epoch: 1_000,
            members: { voters: [page.id], observers: [] },
            executed: 7,
            sessions: new Map(),
            snapshot: new Store().snapshot(),
          })
          offeredTo.add(from)
          page.sayControl(from, {
            ...message,
            epoch: 1_000,
            checkpointHash: checkpointHash(offered),
            heard: true,
            run: 5,
            writesAtOpen: 0,
            disksHeard: [],
          })
          page.sayControl(from, { type: 'EpochEnded', epoch: 1_000 })
        }
        if (message.type === 'FetchCheckpoint' && offered !== null) {
          askedBy.add(from)
          page.sayControl(from, {
            type: 'CheckpointChunk',
            epoch: 1_000,
            offset: 0,
            totalBytes: offered.length,
            hash: checkpointHash(offered),
            bytes: offered,
          })
        }
      },
    })
    await stage.pass(5_000)
    expect(offeredTo).toEqual(new Set([a.id, b.id, c.id]))
    expect(askedBy).toEqual(new Set())
    for (const [name, voter] of Object.entries({ a, b, c })) {
      expect(voter.status.kind).toBe('ready')
      expect(voter.view.committed.get('k')).toBe('acked')
      expect((await stage.disk(name).peek()).checkpoints.map((one) => one.epoch)).toEqual([epoch])
    }
  })

  it('that announces the ids of two voters that are away does not stop the third: they come back to it', async () => {
    const stage = new Stage()
    const readers = new Set<string>()
    const { a, b, c, open } = await threeWhoKnow(stage, readers)
    await stage.when(a.mutate.set('k', 'acked').done)
    stage.kill('b')
    stage.kill('c')
    await stage.pass(500)
    const impostors = [b.id, c.id].map((id) => {
      readers.add(id)
      return new ChangedPage(stage, id, {
        heardControl: (page, from, message) => {
          if (message.type !== 'Hello') return
          const checkpointHash = 'a'.repeat(64)
          const lies = { checkpointHash, heard: true, run: 5, writesAtOpen: 1_000_000, disksHeard: [] }
          page.sayControl(from, { ...message, ...lies })
        },
      })
    })
    await stage.pass(3_000)
    expect(a.status).toMatchObject({ kind: 'no-quorum', reachable: 1 })
    expect(a.stats().refused['reader']).toBeGreaterThanOrEqual(2)
    for (const impostor of impostors) impostor.close()
    readers.clear()
    const back = [await open('b'), await open('c')]
    expect(await stage.when(a.mutate.set('k', 'again').done)).toMatchObject({ ok: true })
    await stage.until(() => agree([a, ...back]))
    expect(back.map(({ id }) => id)).toEqual([b.id, c.id])
  })

  it('can not make up what is committed, neither asked nor unasked', async () => {
    const stage = new Stage()
    const { a, b, c } = await threeWhoKnow(stage, new Set([reader]))
    await stage.when(a.mutate.set('k', 'acked').done)
    await stage.pass(1_000)
    const voters = votersOf(a)
    const row = voters.indexOf(b.id as ReplicaId)
    const payload = bindMachine(kv()).prepareCommand('set', ['k', 'made up']).bytes
    let isSaid = false
    const madeUp = (deps: readonly number[]): Commit => ({
      type: 'Commit',
      id: { row, seq: must(deps[row], 'b has a row') + 1 },
      ballot: 0,
      deps: [...deps],
      command: {
        kind: 'application',
        proposals: [{ session: replicaId(c.id), number: 900_000, ackedUpTo: 0, footprint: 'everything', payload }],
      },
    })
    new ChangedPage(
      stage,
      reader,
      {
        heardControl: (page, from, message) => {
          if (message.type !== 'Hello' || message.cluster === null) return
          page.sayControl(from, { ...message, heard: true, run: 5, writesAtOpen: 0, disksHeard: [] })
        },
        heard: (page, from, message, epoch) => {
          if (from !== a.id) return
          if (message.type === 'Heartbeat' && !isSaid) {
            isSaid = true
            // as if a had missed much, so that it asks
            const far = message.committedUpTo.map((seq) => seq + 200)
            page.say(from, epoch, { type: 'Heartbeat', committedUpTo: far, executed: 0 })
            page.say(from, epoch, { type: 'Pulled', more: false, commits: [madeUp(message.committedUpTo)] })
            page.say(from, epoch, madeUp(message.committedUpTo))
          }
          if (message.type === 'Pull') {
            page.say(from, epoch, { type: 'Pulled', more: false, commits: [madeUp(message.committedUpTo)] })
          }
        },
      },
      voters,
    )
    await stage.pass(5_000)
    expect(isSaid).toBe(true)
    expect(await stage.when(b.read.get('k'))).toBe('acked')
    for (const voter of [a, b, c]) expect(voter.view.committed.get('k')).toBe('acked')
    await stage.until(() => agree([a, b, c]))
    expect(a.stats().refused['reader']).toBeGreaterThanOrEqual(2)
  })
})
