// [MB3] Replicas of pages that hold a reader's link, on simulated time.
import { describe, expect, it } from 'vitest'
import { must } from '../src/lib/assert.ts'
import type { Transport } from '../src/runtime/transport.ts'
import { knowingReaders } from './changed-page.ts'
import { agree, type KvReplica, Stage } from './stage.ts'

/** The simulated network, whose reader `r` has proven nothing to the others. */
function transportOf(stage: Stage, name: string, readerId: () => string | undefined): Transport {
  const transport = stage.network.transport(name, name === 'a')
  return { ...knowingReaders(transport, (peer) => peer === readerId()), mayVote: name !== 'r' }
}

async function withReader(options: Parameters<Stage['open']>[1] = {}) {
  const stage = new Stage()
  let reader: KvReplica | undefined
  const open = (name: string) => stage.open(name, { transport: transportOf(stage, name, () => reader?.id), ...options })
  const members: KvReplica[] = []
  for (const name of ['a', 'b', 'c']) members.push(await open(name))
  await stage.until(() =>
    members.every(({ members: list }) => list.filter(({ role }) => role === 'voter').length === 3),
  )
  reader = await open('r')
  return { stage, a: must(members[0], 'a'), all: members, reader }
}

describe('[MB3] a reader', () => {
  it('follows, is told that it is read-only, and never votes, although it is not asked to be an observer', async () => {
    const { stage, a, reader, all } = await withReader()
    await stage.when(a.mutate.set('k', 1).done)
    await stage.when(reader.ready())
    expect(reader.status).toEqual({ kind: 'read-only' })
    await stage.until(() => agree([...all, reader]))
    expect(await stage.when(reader.read.get('k'))).toBe(1)
    await stage.pass(20_000)
    expect(a.members.find(({ id }) => id === reader.id)?.role).toBe('observer')
  })

  it('[RD3] reads a state that others write as soon as they rest, and proposes nothing for it', async () => {
    const { stage, a, reader } = await withReader()
    await stage.when(reader.ready())
    let writes = 0
    let writing = true
    const write = () => {
      if (!writing) return
      a.mutate.set(`k${writes++ % 7}`, writes)
      stage.world.at(1, write)
    }
    write()
    const size = reader.read.size()
    await stage.pass(200)
    writing = false
    expect(await stage.when(size)).toBe(7)
    expect(reader.stats().pending).toBe(0)
  })

  it('is refused what it proposes, at once and with a typed error', async () => {
    const { stage, reader } = await withReader()
    await stage.when(reader.ready())
    expect(() => reader.mutate.set('k', 1)).toThrow(expect.objectContaining({ code: 'ReadOnly' }))
    expect(reader.stats().pending).toBe(0)
  })

  it('gets no vote from those who know that it proved nothing, whatever it asks and whoever orders it', async () => {
    const stage = new Stage()
    let liar: KvReplica | undefined
    const open = (name: string, mayVote: boolean) => {
      const transport = transportOf(stage, name, () => liar?.id)
      return stage.open(name, { transport: { ...transport, mayVote } })
    }
    const a = await open('a', true)
    // its own page says that it may, and it asks for a seat
    liar = await open('l', true)
    const other = await open('b', true)
    const third = await open('c', true)
    await stage.until(() => a.members.filter(({ role }) => role === 'voter').length === 3)
    await stage.pass(10_000)
    expect(a.members.find(({ id }) => id === liar?.id)?.role).not.toBe('voter')
    const refused = [a, other, third].reduce((sum, one) => sum + (one.stats().refused['reader'] ?? 0), 0)
    expect(refused).toBeGreaterThan(0)
    await expect(stage.when(a.setRole(must(liar, 'l').id, 'voter', { timeoutMs: 2_000 }))).rejects.toMatchObject({
      code: 'Timeout',
    })
    // what it forwards is not proposed either
    const handle = must(liar, 'l').mutate.set('k', 'of the liar')
    await stage.pass(5_000)
    expect(handle.state).toBe('pending')
    expect(a.view.committed.get('k')).toBeUndefined()
  })

  it("[SE4] is told that the outcome of what was carried over into its page is unknown; the voter's link brings it to its end", async () => {
    const stage = new Stage()
    let mayVote = true
    let b: KvReplica | undefined
    const open = (name: string) => {
      const transport = knowingReaders(
        stage.network.transport(name, name === 'a'),
        (peer) => !mayVote && peer === b?.id,
      )
      return stage.open(name, { transport: { ...transport, mayVote: mayVote || name !== 'b' } })
    }
    const a = await open('a')
    b = await open('b')
    await stage.until(() => a.members.length === 2 && b?.status.kind === 'ready')
    await stage.when(a.mutate.set('here', 1).done)
    stage.network.cut('a', 'b')
    await stage.pass(500)
    const { key } = b.mutate.set('offline', 1)
    await stage.pass(500)
    await stage.when(b.close())
    mayVote = false
    stage.network.healAll()
    const reader = await open('b')
    const [carried] = reader.carriedOver
    await expect(stage.when(must(carried, 'one').done)).rejects.toMatchObject({
      code: 'OutcomeUnknown',
      details: { key },
    })
    expect(reader.view.optimistic.get('offline')).toBeUndefined()
    expect(reader.stats().pending).toBe(0)
    // also over the end of an epoch
    await stage.when(a.checkpoint())
    await stage.until(() => reader.stats().epoch === a.stats().epoch)
    await stage.when(reader.close())
    mayVote = true
    const again = await open('b')
    expect(again.carriedOver.map((handle) => handle.key)).toEqual([key])
    await stage.when(must(again.carriedOver[0], 'one').done)
    expect(a.view.committed.get('offline')).toBe(1)
  })

  it('[SE4] that was a voter is told so of what waits in its log, but gets the results that are known', async () => {
    const stage = new Stage()
    const [, , c] = await stage.cluster(3)
    const reopened = () => stage.open('c', { transport: { ...stage.network.transport('c', false), mayVote: false } })
    const answered = must(c, 'three').mutate.set('answered', 1)
    await stage.when(answered.done)
    stage.kill('c')
    const [result] = (await reopened()).carriedOver
    expect(await stage.when(must(result, 'answered').done)).toMatchObject({ ok: true })
    stage.kill('c')
    const voter = await stage.open('c')
    await stage.until(() => voter.status.kind === 'ready')
    for (const other of ['a', 'b']) stage.network.cut('c', other)
    await stage.until(() => voter.status.kind === 'no-quorum')
    const waiting = voter.mutate.set('waiting', 1)
    await stage.pass(500)
    stage.kill('c')
    const { carriedOver } = await reopened()
    expect(carriedOver.map(({ key, state }) => [key, state])).toEqual([[waiting.key, 'failed']])
    await expect(must(carriedOver[0], 'waiting').done).rejects.toMatchObject({ code: 'OutcomeUnknown' })
  })

  it('proposes where all say that readers may', async () => {
    const { stage, a, reader } = await withReader({ readers: 'propose' })
    await stage.when(reader.ready())
    expect(reader.status).toEqual({ kind: 'ready' })
    expect(await stage.when(reader.mutate.set('k', 2).done)).toMatchObject({ ok: true })
    await stage.until(() => a.view.committed.get('k') === 2)
  })
})
