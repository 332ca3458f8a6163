// What openReplica promises its caller, on simulated time.
import { describe, expect, it } from 'vitest'
import { Writer } from '../src/codec/bytes.ts'
import { controlEpoch, writeControlMessage, writeFrameHead, writeMessage } from '../src/codec/message.ts'
import { decodeCheckpoint } from '../src/execution/checkpoint.ts'
import { defineMachine } from '../src/execution/define-machine.ts'
import { must } from '../src/lib/assert.ts'
import { replicaId } from '../src/protocol/ids.ts'
import { pendingMax } from '../src/runtime/proposals.ts'
import { agree, Stage } from './stage.ts'

describe('one replica', () => {
  it('a founder answers commands by itself, with a forecast at once and the result after execution', async () => {
    const stage = new Stage()
    const replica = await stage.open('a')
    await stage.when(replica.ready())
    const claim = replica.mutate.create('seat/A1', { by: 'ana' })
    expect(claim.local).toEqual({ ok: true, value: 1 })
    expect(claim.state).toBe('pending')
    expect(replica.view.optimistic.get('seat/A1')).toEqual({ by: 'ana' })
    expect(replica.view.committed.get('seat/A1')).toBeUndefined()
    expect(await stage.when(claim.done)).toEqual({ ok: true, value: 1 })
    expect(claim.state).toBe('done')
    expect(replica.view.committed.get('seat/A1')).toEqual({ by: 'ana' })
    expect(claim.key).toBe(`${replica.id}:1`)
    expect(replica.outcome(claim.key)).toEqual({ ok: true, value: 1 })
    expect(replica.outcome(`${replica.id}:99`)).toBeUndefined()
  })

  it('is found again by its storage, with its id, its state and new numbers', async () => {
    const stage = new Stage()
    const before = await stage.open('a')
    await stage.when(before.mutate.set('k', 'kept').done)
    stage.kill('a')
    const after = await stage.open('a')
    expect(after.id).toBe(before.id)
    expect(after.view.committed.get('k')).toBe('kept')
    const next = after.mutate.set('k', 'new')
    expect(next.key).not.toBe(`${before.id}:1`)
    expect(await stage.when(next.done)).toEqual({ ok: true, value: 2 })
  })

  it('refuses wrong options and arguments with InvalidArgument, and proposes nothing', async () => {
    const stage = new Stage()
    await expect(stage.open('x', { partition: 'not valid!' })).rejects.toMatchObject({ code: 'InvalidArgument' })
    await expect(stage.open('x', { votersMax: 10 })).rejects.toMatchObject({ code: 'InvalidArgument' })
    await expect(stage.open('x', { timeouts: { fastPathMs: -1 } })).rejects.toMatchObject({ code: 'InvalidArgument' })
    const replica = await new Stage().open('a')
    const wrong: (() => unknown)[] = [
      () => replica.mutate.set('', 1),
      () => replica.mutate.set('k', Number.NaN),
      () => replica.mutate.set('k', undefined as never),
      () => replica.mutate.set('k', 'x'.repeat(3 << 20)),
      () => replica.mutate.increment('k', 0.5),
    ]
    for (const call of wrong) expect(call).toThrow(expect.objectContaining({ code: 'InvalidArgument' }))
    expect(replica.stats().pending).toBe(0)
  })

  it('a command that throws on the present state is not proposed', async () => {
    const machine = defineMachine({
      name: 'fragile',
      version: 1,
      commands: {
        boom() {
          throw new Error('boom')
        },
      },
      queries: {},
      footprint: { boom: () => [] },
    })
    const replica = await new Stage().openWith('a', machine)
    expect(() => replica.mutate.boom()).toThrow(expect.objectContaining({ code: 'MachineFailed' }))
    expect(replica.status.kind).toBe('ready')
  })

  it('a command that is refused with Overloaded is not in the optimistic view', async () => {
    const replica = await new Stage().open('a')
    for (let n = 0; n < pendingMax; n++) replica.mutate.set('k', n)
    expect(() => replica.mutate.create('too-much', 1)).toThrow(expect.objectContaining({ code: 'Overloaded' }))
    expect(replica.view.optimistic.get('too-much')).toBeUndefined()
    expect(replica.view.optimistic.get('k')).toBe(pendingMax - 1)
  })

  it('stats() hashes the state when the hash is looked at, and once', async () => {
    const stage = new Stage()
    const replica = await stage.open('a')
    const stats = replica.stats()
    await stage.when(replica.mutate.set('k', 1).done)
    const { stateHash } = replica.stats()
    expect(stats.stateHash).toBe(stateHash)
    await stage.when(replica.mutate.set('k', 2).done)
    expect(stats.stateHash).toBe(stateHash)
    expect(replica.stats().stateHash).not.toBe(stateHash)
  })

  it('a call that is refused leaves no timer and no listener, and neither does a replica that was closed', async () => {
    const stage = new Stage()
    const opened = countedSignal()
    const replica = await stage.open('a', { signal: opened.signal })
    expect(opened.listeners()).toBe(1)
    await stage.when(replica.close())
    expect(opened.listeners()).toBe(0)
    // the last tick of the clock of the closed replica
    while (await stage.world.step());
    const called = countedSignal()
    const mutate = replica.mutateWith({ signal: called.signal, timeoutMs: 1_000 })
    expect(() => mutate.set('k', 1)).toThrow(expect.objectContaining({ code: 'Closed' }))
    expect([called.listeners(), await stage.world.step()]).toEqual([0, false])
  })

  it('[DU5] stops with StorageFailed when a write fails, and what was pending ends as OutcomeUnknown', async () => {
    const stage = new Stage()
    const replica = await stage.open('a')
    await stage.when(replica.mutate.set('k', 1).done)
    stage.diskFaults.failure = 1
    const lost = replica.mutate.set('k', 2)
    await expect(stage.when(lost.done)).rejects.toMatchObject({ code: 'OutcomeUnknown', details: { key: lost.key } })
    expect(replica.status).toMatchObject({ kind: 'failed', error: { code: 'StorageFailed' } })
    expect(() => replica.mutate.set('k', 3)).toThrow(expect.objectContaining({ code: 'StorageFailed' }))
    stage.diskFaults.failure = 0
    stage.kill('a')
    const again = await stage.open('a')
    expect(again.view.committed.get('k')).toBe(1)
  })

  it('[DU5] opening rejects with StorageFailed when the founding can not be written', async () => {
    const stage = new Stage()
    stage.diskFaults.failure = 1
    await expect(stage.open('a')).rejects.toMatchObject({ code: 'StorageFailed' })
  })

  it('can not leave as the last member', async () => {
    const stage = new Stage()
    const replica = await stage.open('a')
    await expect(stage.when(replica.leave())).rejects.toMatchObject({ code: 'LastMember' })
    expect(replica.status.kind).toBe('ready')
  })

  it('closes once and for all: pending commands end, later ones are refused, views keep answering', async () => {
    const stage = new Stage()
    const replica = await stage.open('a')
    await stage.when(replica.mutate.set('k', 1).done)
    const open = replica.mutate.set('k', 2)
    await stage.when(replica.close())
    await replica.close()
    await expect(open.done).rejects.toMatchObject({ code: 'OutcomeUnknown' })
    expect(replica.status.kind).toBe('closed')
    expect(() => replica.mutate.set('k', 3)).toThrow(expect.objectContaining({ code: 'Closed' }))
    // what answers with a promise never throws
    await expect(replica.checkpoint()).rejects.toMatchObject({ code: 'Closed' })
    expect(replica.view.committed.get('k')).toBe(1)
  })
})

/** A signal that counts who listens to it. */
function countedSignal(): { readonly signal: AbortSignal; listeners(): number } {
  const { signal } = new AbortController()
  const listeners = new Set<unknown>()
  const counted: AbortSignal = Object.assign(signal, {
    addEventListener: (_type: string, listener: unknown) => void listeners.add(listener),
    removeEventListener: (_type: string, listener: unknown) => void listeners.delete(listener),
  })
  return { signal: counted, listeners: () => listeners.size }
}

describe('several replicas', () => {
  it('joiners become voters, and all execute the same', async () => {
    const stage = new Stage()
    const cluster = await stage.cluster(3)
    const handles = cluster.flatMap((replica) => Array.from({ length: 30 }, () => replica.mutate.increment('n')))
    const results = await stage.when(Promise.all(handles.map((handle) => handle.done)))
    const values = results.map((result) => (result.ok ? result.value : null))
    expect(new Set(values).size).toBe(90)
    await stage.until(() => agree(cluster))
    for (const replica of cluster) expect(replica.view.committed.get('n')).toBe(90)
    expect(cluster.reduce((sum, replica) => sum + replica.stats().slowPath, 0)).toBeGreaterThan(0)
  })

  it('of two that race for a key one wins, and the other learns who', async () => {
    const stage = new Stage()
    const [a, b] = await stage.cluster(3)
    if (a === undefined || b === undefined) throw new Error('three replicas')
    await stage.when(a.mutate.set('seat', 'free').done)
    const [left, right] = await stage.when(
      Promise.all([
        a.mutate.compareAndSet('seat', 'free', 'ana').done,
        b.mutate.compareAndSet('seat', 'free', 'ben').done,
      ]),
    )
    expect([left.ok, right.ok].sort()).toEqual([false, true])
    const winner = left.ok ? 'ana' : 'ben'
    expect(left.ok ? right : left).toMatchObject({ ok: false, code: 'MISMATCH', value: winner })
  })

  it('a linearizable read sees what was answered elsewhere before it began', async () => {
    const stage = new Stage()
    const [a, , c] = await stage.cluster(3)
    if (a === undefined || c === undefined) throw new Error('three replicas')
    await stage.when(a.mutate.set('k', 'written').done)
    expect(await stage.when(c.read.get('k'))).toBe('written')
  })

  it('[RC0] when one dies in mid-command, others wait at most for the recovery timeout, and only for what conflicts', async () => {
    const stage = new Stage()
    const [a, b, c] = await stage.cluster(3)
    if (a === undefined || b === undefined || c === undefined) throw new Error('three replicas')
    // the last word of c reaches b alone, and c is gone
    stage.network.cutSilently('c', 'a')
    stage.network.cutSilently('b', 'c')
    c.mutate.set('contested', 'from c')
    await stage.pass(5)
    stage.kill('c')
    const startedAt = stage.world.now
    const free = a.mutate.set('elsewhere', 1).done.then(() => stage.world.now - startedAt)
    const contested = b.mutate.set('contested', 'from b').done.then(() => stage.world.now - startedAt)
    expect(await stage.when(free)).toBeLessThan(60)
    expect(await stage.when(contested)).toBeLessThan(2_000)
    await stage.until(() => agree([a, b]))
    expect(a.view.committed.get('contested')).toBe('from b')
  })

  it('below a quorum commands wait, and go on when it is back', async () => {
    const stage = new Stage()
    const [a] = await stage.cluster(3)
    if (a === undefined) throw new Error('three replicas')
    stage.kill('b')
    stage.kill('c')
    await stage.until(() => a.status.kind === 'no-quorum')
    expect(a.status).toMatchObject({ reachable: 1, needed: 2, members: 3 })
    const late = a.mutateWith({ timeoutMs: 500 }).set('k', 1)
    await expect(stage.when(late.done)).rejects.toMatchObject({ code: 'OutcomeUnknown', details: { key: late.key } })
    await expect(stage.when(a.ready({ timeoutMs: 100 }))).rejects.toMatchObject({ code: 'Timeout' })
    await stage.open('b')
    await stage.until(() => a.view.committed.get('k') === 1)
    expect(a.outcome(late.key)).toEqual({ ok: true, value: 1 })
  })

  it('all of them killed and reopened have lost nothing that was answered', async () => {
    const stage = new Stage()
    const cluster = await stage.cluster(3)
    for (const [index, replica] of cluster.entries()) await stage.when(replica.mutate.set(`k${index}`, index).done)
    for (const name of ['a', 'b', 'c']) stage.kill(name)
    const again = [await stage.open('a'), await stage.open('b'), await stage.open('c')]
    await stage.until(() => again.every((replica) => replica.status.kind === 'ready'))
    await stage.until(() => agree(again))
    for (const replica of again)
      expect([0, 1, 2].map((index) => replica.view.committed.get(`k${index}`))).toEqual([0, 1, 2])
    expect(await stage.when(again[1]?.mutate.increment('k1').done ?? Promise.reject())).toEqual({ ok: true, value: 2 })
  })

  it('an observer follows, and its commands go through a voter, each once', async () => {
    const stage = new Stage()
    const [a, b, c] = await stage.cluster(3)
    if (a === undefined || b === undefined || c === undefined) throw new Error('three replicas')
    const observer = await stage.open('o', { role: 'observer' })
    await stage.until(() => observer.status.kind === 'ready')
    expect(observer.members.find((member) => member.self)).toMatchObject({ role: 'observer' })
    const results = await stage.when(Promise.all(Array.from({ length: 20 }, () => observer.mutate.increment('n').done)))
    expect(results.map((result) => (result.ok ? result.value : 0)).sort((x, y) => x - y)).toEqual(
      Array.from({ length: 20 }, (_, index) => index + 1),
    )
    await stage.until(() => agree([a, b, c, observer]))
  })

  it('voters beyond votersMax observe', async () => {
    const stage = new Stage()
    const a = await stage.open('a', { votersMax: 1 })
    const b = await stage.open('b', { votersMax: 1 })
    await stage.until(() => b.status.kind === 'ready')
    expect(a.members.map((member) => member.role)).toEqual(['voter', 'observer'])
  })

  it('who leaves is out of the list by a barrier, its storage erased, and the others go on', async () => {
    const stage = new Stage()
    const [a, b, c] = await stage.cluster(3)
    if (a === undefined || b === undefined || c === undefined) throw new Error('three replicas')
    await stage.when(c.leave())
    expect(c.status.kind).toBe('closed')
    expect(stage.disk('c').erased).toBe(true)
    await stage.until(() => a.members.length === 2 && b.members.length === 2)
    expect(await stage.when(a.mutate.set('k', 1).done)).toEqual({ ok: true, value: 1 })
  })

  it('an observer that leaves stays away, whomever it had asked for a seat before', async () => {
    const stage = new Stage()
    const [a, b, c] = await stage.cluster(3)
    if (a === undefined || b === undefined || c === undefined) throw new Error('three replicas')
    const fourth = await stage.open('d')
    await stage.until(() => fourth.status.kind === 'ready' && a.members.length === 4)
    await stage.pass(20_000) // it asks one voter after the other for a seat, and there is none
    await stage.when(fourth.leave())
    await stage.until(() => [a, b, c].every(({ members }) => members.length === 3))
    const { epoch } = a.stats()
    await stage.pass(20_000)
    expect(a.members).toHaveLength(3)
    expect(a.stats().epoch).toBe(epoch)
  })

  it('who did not get out of the list in time still leaves, and a second leave() erases its storage', async () => {
    const stage = new Stage()
    const [a] = await stage.cluster(3)
    const fourth = await stage.open('d')
    await stage.until(() => fourth.status.kind === 'ready' && a?.members.length === 4)
    for (const other of ['a', 'b', 'c']) stage.network.cut('d', other)
    await stage.pass(100) // until it has noticed
    await expect(stage.when(fourth.leave({ timeoutMs: 1_000 }))).rejects.toMatchObject({ code: 'Timeout' })
    stage.network.healAll()
    await stage.until(() => fourth.status.kind === 'removed')
    await stage.when(fourth.leave())
    expect((await stage.disk('d').peek()).meta.size).toBe(0)
  })

  it('[MB1] a voter that stays silent becomes an observer, and votes again when it is back', async () => {
    const stage = new Stage()
    const cluster = await stage.cluster(5)
    const [a, b] = cluster
    if (a === undefined || b === undefined) throw new Error('five replicas')
    stage.kill('e')
    await stage.until(() => a.stats().voters === 3)
    expect(a.members.filter((member) => member.role === 'observer')).toHaveLength(2)
    expect(await stage.when(b.mutate.set('k', 1).done)).toEqual({ ok: true, value: 1 })
    const e = await stage.open('e')
    await stage.until(() => a.stats().voters === 5 && agree([...cluster.slice(0, 4), e]))
    expect(await stage.when(e.mutate.set('k', 2).done)).toEqual({ ok: true, value: 2 })
  })

  it('[MB1] [MB2] of three that fall silent one after another the last goes on alone', async () => {
    const stage = new Stage()
    const [a] = await stage.cluster(3)
    if (a === undefined) throw new Error('three replicas')
    stage.kill('c')
    await stage.until(() => a.stats().voters === 1)
    stage.kill('b')
    await stage.pass(60_000)
    expect(await stage.when(a.mutate.set('k', 1).done)).toEqual({ ok: true, value: 1 })
  })

  it('with manual membership joiners observe, and seats are given and taken by hand', async () => {
    const stage = new Stage()
    const options = { membership: 'manual' } as const
    const a = await stage.open('a', options)
    const b = await stage.open('b', options)
    const c = await stage.open('c', options)
    await stage.until(() => a.members.length === 3)
    await stage.pass(60_000)
    expect(a.stats().voters).toBe(1)
    await expect(b.setRole(b.id, 'voter')).rejects.toMatchObject({ code: 'NotSupported' })
    await expect(a.setRole('nobody', 'voter')).rejects.toMatchObject({ code: 'InvalidArgument' })
    await stage.when(a.setRole(b.id, 'voter'))
    await stage.when(a.setRole(c.id, 'voter'))
    await stage.until(() => [a, b, c].every((one) => one.stats().voters === 3))
    stage.kill('c')
    await stage.pass(120_000)
    expect(a.stats().voters).toBe(3)
    await stage.when(b.setRole(c.id, 'none'))
    expect(b.members.map(({ id }) => id).sort()).toEqual([a.id, b.id].sort())
    const late = await stage.open('c', options)
    await stage.until(() => late.status.kind === 'removed')
  })

  it('a setRole that ends takes back its own order, and not that of another call for the same replica', async () => {
    const stage = new Stage()
    const options = { membership: 'manual' } as const
    const a = await stage.open('a', options)
    const b = await stage.open('b', options)
    await stage.until(() => a.members.length === 2)
    stage.network.cut('a', 'b')
    await stage.pass(100) // until both have noticed
    const calls = [1_000, 60_000, 2_000].map((timeoutMs) => a.setRole(b.id, 'voter', { timeoutMs }))
    const fates = Promise.allSettled(calls)
    await stage.pass(3_000)
    stage.network.healAll()
    const tooLate = { status: 'rejected', reason: { code: 'Timeout' } }
    expect(await stage.when(fates)).toMatchObject([tooLate, { status: 'fulfilled' }, tooLate])
  })

  it('a setRole that timed out is not tried any more', async () => {
    const stage = new Stage()
    const options = { membership: 'manual' } as const
    const a = await stage.open('a', options)
    const b = await stage.open('b', options)
    await stage.until(() => a.members.length === 2)
    stage.network.cut('a', 'b')
    await stage.pass(100) // until both have noticed
    const both = [1_000, 2_000].map((timeoutMs) => a.setRole(b.id, 'voter', { timeoutMs }))
    await stage.when(Promise.allSettled(both))
    stage.network.healAll()
    await stage.pass(20_000)
    expect(a.stats().voters).toBe(1)
  })

  it('waiting commands share instances when the pipe is full, and each is executed once and in order', async () => {
    const stage = new Stage()
    const options = { instancesMax: 2, batchMax: 10 }
    const a = await stage.open('a', options)
    await stage.open('b', options)
    const c = await stage.open('c', options)
    await stage.until(() => a.stats().voters === 3 && c.status.kind === 'ready')
    const before = a.stats()
    const results = await stage.when(Promise.all(Array.from({ length: 92 }, () => a.mutate.increment('k', 1).done)))
    expect(results.map((result) => result.ok && result.value)).toEqual(Array.from({ length: 92 }, (_, at) => at + 1))
    const after = a.stats()
    expect(after.fastPath + after.slowPath - before.fastPath - before.slowPath).toBe(92)
    await stage.until(() => agree([a, c]))
  })

  it('commands on different keys that are proposed in one go do not wait for each other', async () => {
    const stage = new Stage()
    const [a, b] = await stage.cluster(3)
    if (a === undefined || b === undefined) throw new Error('three replicas')
    // b dies while a command of its own on the shared key is in doubt (it is heard, and hears nothing): who conflicts with it
    // waits for its recovery
    for (const other of ['a', 'c']) stage.network.cutSilently(other, 'b')
    b.mutate.set('shared', 'b')
    await stage.pass(20)
    stage.kill('b')
    const shared = a.mutate.set('shared', 'a')
    const own = a.mutate.set('own', 'a')
    await stage.when(own.done)
    expect(shared.state).not.toBe('done')
    await stage.when(shared.done)
  })

  it('[RC0] a page whose timers stand still is not taken for dead while others speak to it', async () => {
    const stage = new Stage()
    const [a, b] = await stage.cluster(3)
    if (a === undefined || b === undefined) throw new Error('three replicas')
    stage.freezeTimers('b', 120_000)
    for (let second = 0; second < 60; second++) {
      await stage.pass(1_000)
      expect((await stage.when(b.mutate.set('k', second).done)).ok).toBe(true)
    }
    expect(a.stats()).toMatchObject({ voters: 3, recoveries: 0 })
  })

  it('an epoch ends by itself after so many commands, and after so many bytes of them', async () => {
    const stage = new Stage()
    const one = await stage.open('a', { checkpointEvery: 5, checkpointBytes: 0 })
    const { epoch } = one.stats()
    for (let count = 0; count < 5; count++) await stage.when(one.mutate.set('k', count).done)
    await stage.until(() => one.stats().epoch === epoch + 1)
    await stage.when(one.close())
    const other = await stage.open('a', { checkpointEvery: 0, checkpointBytes: 1_000 })
    await stage.when(other.mutate.set('k', 'x'.repeat(400)).done)
    await stage.pass(1_000)
    expect(other.stats().epoch).toBe(epoch + 1)
    await stage.when(other.mutate.set('k', 'x'.repeat(700)).done)
    await stage.until(() => other.stats().epoch === epoch + 2)
  })

  it('an own instance that ends as Nop makes room for the next', async () => {
    const stage = new Stage()
    const [a, b] = await stage.cluster(3, { instancesMax: 1 })
    if (a === undefined || b === undefined) throw new Error('three replicas')
    for (let round = 1; round <= 8; round++) {
      const mine = a.mutate.set('k', round)
      b.mutate.set('k', -round)
      for (let event = 0; event < 2 + round; event++) await stage.world.step()
      stage.network.cut('a', 'b')
      stage.network.cut('a', 'c')
      await stage.pass(3_000)
      stage.network.healAll()
      await stage.when(mine.done)
    }
    expect(a.stats().epoch).toBe(b.stats().epoch)
  })

  it('[SE3] who was forgotten and is a member again gives up what it had proposed: nothing is executed twice', async () => {
    const stage = new Stage()
    const [a, , c] = await stage.cluster(3)
    if (a === undefined || c === undefined) throw new Error('three replicas')
    stage.network.cutSilently('a', 'c')
    stage.network.cutSilently('b', 'c')
    const handle = c.mutate.increment('n', 1)
    await stage.pass(10)
    stage.network.cut('a', 'c')
    stage.network.cut('b', 'c')
    await stage.until(() => a.view.committed.get('n') === 1)
    await stage.when(a.setRole(c.id, 'none'))
    for (let epochs = 0; epochs < 10; epochs++) await stage.when(a.checkpoint())
    await stage.when(a.setRole(c.id, 'observer'))
    stage.network.healAll()
    await expect(stage.when(handle.done)).rejects.toMatchObject({ code: 'OutcomeUnknown' })
    await stage.pass(5_000)
    expect(a.view.committed.get('n')).toBe(1)
    expect(await stage.when(c.mutate.increment('n', 1).done)).toEqual({ ok: true, value: 2 })
  })

  it('[CU2] a checkpoint of several chunks comes over a link that is slower than the repeats', async () => {
    const stage = new Stage()
    const a = await stage.open('a')
    for (let index = 0; index < 6; index++) await stage.when(a.mutate.set(`k${index}`, 'x'.repeat(50_000)).done)
    await stage.when(a.checkpoint())
    stage.network.faults.delayMaxMs = 1_500
    const b = await stage.open('b')
    await stage.until(() => b.stats().executed > 0, 300_000)
  })

  it('an observer whose voter gets through to nobody has another one propose', async () => {
    const stage = new Stage()
    await stage.cluster(3)
    const d = await stage.open('d', { role: 'observer' })
    await stage.until(() => d.status.kind === 'ready')
    stage.network.cut('a', 'b')
    stage.network.cut('a', 'c')
    await stage.pass(1_000)
    const startedAt = stage.world.now
    for (let count = 0; count < 5; count++) await stage.when(d.mutate.set('k', count).done)
    expect(stage.world.now - startedAt).toBeLessThan(15_000)
  })

  it('nobody leaves the others without a quorum', async () => {
    const stage = new Stage()
    const [a] = await stage.cluster(3)
    if (a === undefined) throw new Error('three replicas')
    stage.kill('b')
    stage.kill('c')
    await stage.pass(5_000)
    await expect(stage.when(a.leave())).rejects.toMatchObject({ code: 'QuorumUnavailable' })
  })

  it('[EP1] a checkpoint ends the epoch with the same hash everywhere', async () => {
    const stage = new Stage()
    const cluster = await stage.cluster(3)
    const hashes: string[] = []
    for (const replica of cluster) replica.addEventListener('checkpoint', ({ detail }) => hashes.push(detail.hash))
    const [a] = cluster
    if (a === undefined) throw new Error('three replicas')
    const before = a.stats().epoch
    await stage.when(a.mutate.set('k', 1).done)
    const info = await stage.when(a.checkpoint())
    expect(info).toMatchObject({ epoch: before + 1, executed: 1 })
    await stage.until(() => hashes.length === 3)
    expect(new Set(hashes)).toEqual(new Set([info.hash]))
    expect(await stage.when(a.mutate.set('k', 2).done)).toEqual({ ok: true, value: 2 })
  })

  it('[EP5] what was proposed while an epoch ends is executed once, in this epoch or the next', async () => {
    const stage = new Stage()
    const cluster = await stage.cluster(3)
    const [a] = cluster
    if (a === undefined) throw new Error('three replicas')
    const handles = []
    const checkpoints = []
    for (let round = 0; round < 10; round++) {
      for (const replica of cluster) handles.push(replica.mutate.increment('n'))
      if (round % 3 === 0) checkpoints.push(a.checkpoint())
      await stage.pass(2)
    }
    await stage.when(Promise.all(handles.map((handle) => handle.done)))
    await stage.when(Promise.all(checkpoints))
    await stage.until(() => agree(cluster))
    expect(a.view.committed.get('n')).toBe(30)
    expect(a.stats().executed).toBe(30)
  })

  it('[EP2] [EP3] the start of an epoch is on disk before anything of the epoch, and the old epoch goes once a quorum has it', async () => {
    const stage = new Stage()
    const [a, b, c] = await stage.cluster(3)
    if (a === undefined || b === undefined || c === undefined) throw new Error('three replicas')
    await stage.when(a.mutate.set('k', 1).done)
    const { epoch } = await stage.when(a.checkpoint())
    await stage.when(a.mutate.set('k', 2).done) // the disk refuses an instance of an epoch whose start it does not have
    await stage.pass(2_000)
    for (const name of ['a', 'b', 'c']) {
      stage.kill(name)
      const storage = await stage.disk(name).open()
      const { checkpoints, instances } = await storage.read()
      expect(checkpoints.map((one) => one.epoch)).toEqual([epoch])
      expect(new Set(instances.map((one) => one.epoch))).toEqual(new Set([epoch]))
    }
  })

  it('[EP4] who slept through three epochs is told so, fetches the checkpoint, and goes on with its own commands', async () => {
    const stage = new Stage()
    const [a, b, c] = await stage.cluster(3)
    if (a === undefined || b === undefined || c === undefined) throw new Error('three replicas')
    stage.network.cut('a', 'c')
    stage.network.cut('b', 'c')
    await stage.pass(100)
    const late = c.mutate.increment('n')
    for (let round = 0; round < 3; round++) {
      await stage.when(a.mutate.increment('n').done)
      await stage.when(a.checkpoint())
    }
    const { epoch } = a.stats()
    expect(c.stats().epoch).toBe(epoch - 3)
    stage.network.healAll()
    expect(await stage.when(late.done)).toEqual({ ok: true, value: 4 })
    expect(c.stats().epoch).toBe(epoch)
    await stage.until(() => agree([a, b, c]))
  })

  it('[EP6] of voters whose states differ the odd one stops with Diverged, and the others go on without it', async () => {
    const stage = new Stage()
    const [a, b, c] = await stage.cluster(3)
    if (a === undefined || b === undefined || c === undefined) throw new Error('three replicas')
    await stage.pass(1_000)
    stage.kill('c')
    const storage = await stage.disk('c').open()
    const bytes = must((await storage.read()).checkpoints.at(-1), 'c has a checkpoint').bytes
    const { cluster, epoch, machine, machineVersion } = decodeCheckpoint(bytes)
    const checkpointHash = '0'.repeat(64)
    const pretend = async (replica: string) => {
      const channel = stage.network.transport(`double of ${replica}`, false).attach({
        partition: 'p',
        replica: replicaId(replica),
        onConnected() {},
        onDisconnected() {},
        onFrame() {},
      })
      await stage.pass(50)
      const writer = new Writer()
      writeFrameHead(writer, { epoch: controlEpoch, writes: 0 })
      writeControlMessage(writer, {
        type: 'Hello',
        cluster,
        machine,
        machineVersion,
        epoch,
        checkpointHash,
        heard: true,
        steady: false,
        run: 7,
        writesAtOpen: 1_000_000,
        disksHeard: [],
      })
      channel.send(a.id, writer.finish())
      await stage.pass(50)
    }
    // a stranger's state counts for nothing, and that of one voter of three makes it the odd one
    await pretend('e'.repeat(32))
    await pretend(c.id)
    expect(a.status.kind).toBe('ready')
    expect(a.stats().refused['diverged']).toBe(2)
    expect(await stage.when(a.mutate.set('k', 1).done)).toEqual({ ok: true, value: 1 })
    // two of three: now a itself is the odd one
    stage.kill('b')
    await pretend(b.id)
    expect(a.status).toMatchObject({ kind: 'failed', error: { code: 'Diverged', details: { theirs: checkpointHash } } })
  })

  it('[RD2] a linearizable read that an epoch ends under starts over in the next one', async () => {
    const stage = new Stage()
    const [a, b, c] = await stage.cluster(3)
    if (a === undefined || b === undefined || c === undefined) throw new Error('three replicas')
    stage.network.cut('a', 'c')
    stage.network.cut('b', 'c')
    await stage.pass(100)
    const read = c.read.get('k')
    await stage.when(a.mutate.set('k', 'before').done)
    await stage.when(a.checkpoint())
    await stage.when(b.mutate.set('k', 'after').done)
    stage.network.healAll()
    expect(await stage.when(read)).toBe('after')
    expect(c.stats().epoch).toBe(a.stats().epoch)
  })

  it('subscribers hear of optimistic and of committed changes, each value once', async () => {
    const stage = new Stage()
    const [a, b] = await stage.cluster(3)
    if (a === undefined || b === undefined) throw new Error('three replicas')
    const optimistic: unknown[] = []
    const committed: unknown[] = []
    a.subscribe(
      (view) => view.get('k'),
      (value) => optimistic.push(value),
    )
    const stop = a.subscribe(
      (view) => view.get('k'),
      (value) => committed.push(value),
      { view: 'committed' },
    )
    const write = a.mutate.set('k', 1)
    await Promise.resolve()
    expect([optimistic, committed]).toEqual([[undefined, 1], [undefined]])
    await stage.when(write.done)
    await stage.when(b.mutate.set('k', 2).done)
    await stage.until(() => a.view.committed.get('k') === 2)
    stop()
    await stage.when(a.mutate.set('k', 3).done)
    await stage.pass(1)
    expect([optimistic, committed]).toEqual([
      [undefined, 1, 2, 3],
      [undefined, 1, 2],
    ])
  })

  it('a replica of another machine version is refused, and says nothing', async () => {
    const stage = new Stage()
    const a = await stage.open('a')
    const { kv } = await import('../src/state-machines/kv.ts')
    const other = await stage.openWith('b', { ...kv(), version: 2 }, { start: 'join' })
    await stage.pass(3_000)
    expect(other.status).toEqual({ kind: 'joining', peers: 0 })
    expect(a.stats().refused).toMatchObject({ 'another-machine': expect.any(Number) })
    expect(a.members).toHaveLength(1)
  })

  it('garbage, and messages of a stranger who never said Hello, are refused and counted, never a crash', async () => {
    const stage = new Stage()
    const [a] = await stage.cluster(3)
    if (a === undefined) throw new Error('three replicas')
    const stranger = replicaId('f'.repeat(32))
    const channel = stage.network.transport('s', false).attach({
      partition: 'p',
      replica: stranger,
      onConnected() {},
      onDisconnected() {},
      onFrame() {},
    })
    await stage.pass(50)
    const writer = new Writer()
    writeFrameHead(writer, { epoch: a.stats().epoch, writes: 0 })
    writeMessage(writer, { type: 'Recover', id: { row: 0, seq: 1 }, ballot: 17 }, [])
    channel.send(a.id, writer.finish())
    channel.send(a.id, new Uint8Array([9, 9, 9]))
    channel.send(a.id, new Uint8Array(0))
    await stage.pass(50)
    expect(a.stats().refused).toMatchObject({ 'no-hello': 1, garbage: 2 })
    expect(await stage.when(a.mutate.set('k', 1).done)).toEqual({ ok: true, value: 1 })
  })
})
