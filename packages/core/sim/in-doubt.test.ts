// [SE4] Commands that had no result when their replica stopped, on simulated time.
import { describe, expect, it } from 'vitest'
import { must } from '../src/lib/assert.ts'
import { FaultyDisk } from '../testing/faulty-disk.ts'
import { agree, Stage } from './stage.ts'

describe('[SE4] commands in doubt', () => {
  it('of a voter without a quorum are carried over a restart, seen in the optimistic view, and executed once, in order', async () => {
    const stage = new Stage()
    const [a, b, c] = await stage.cluster(3)
    if (a === undefined || b === undefined || c === undefined) throw new Error('three replicas')
    await stage.when(a.mutate.set('step', -1).done)
    stage.kill('b')
    stage.kill('c')
    await stage.until(() => a.status.kind === 'no-quorum')
    // more than the pipe holds: the rest waits in the queue
    const handles = Array.from({ length: 50 }, (_, n) => a.mutate.compareAndSet('step', n - 1, n))
    const keys = handles.map(({ key }) => key)
    await stage.pass(1_000)
    stage.kill('a')
    const again = await stage.open('a')
    expect(again.carriedOver.map(({ key }) => key)).toEqual(keys)
    expect(again.view.committed.get('step')).toBe(-1)
    expect(again.view.optimistic.get('step')).toBe(49)
    expect(again.stats().pending).toBe(50)
    const others = [await stage.open('b'), await stage.open('c')]
    const results = await stage.when(Promise.all(again.carriedOver.map(({ done }) => done)))
    expect(results.every(({ ok }) => ok)).toBe(true)
    expect(again.view.committed.get('step')).toBe(49)
    await stage.until(() => agree([again, ...others]))
    expect(again.outcome(keys[7] ?? '')).toMatchObject({ ok: true })
  })

  it('that were executed meanwhile get their result, and are not executed again', async () => {
    const stage = new Stage()
    const [a, b, c] = await stage.cluster(3)
    if (a === undefined || b === undefined || c === undefined) throw new Error('three replicas')
    await stage.when(a.mutate.increment('n').done)
    // a's PreAccepts get through, no answer comes back
    stage.network.cutSilently('b', 'a')
    stage.network.cutSilently('c', 'a')
    const handles = [a.mutate.increment('n'), a.mutate.increment('n', 10)]
    await stage.pass(60)
    stage.kill('a')
    stage.network.healAll()
    const again = await stage.open('a')
    expect(again.carriedOver.map(({ key }) => key)).toEqual(handles.map(({ key }) => key))
    await stage.when(Promise.all(again.carriedOver.map(({ done }) => done)))
    await stage.until(() => agree([again, b, c]))
    expect(b.view.committed.get('n')).toBe(12)
  })

  it('of an observer survive its restart, and those of before it too', async () => {
    const stage = new Stage()
    const [a, b, c] = await stage.cluster(3)
    const observer = await stage.open('o', { role: 'observer' })
    await stage.until(() => observer.status.kind === 'ready')
    if (a === undefined || b === undefined || c === undefined) throw new Error('three replicas')
    for (const name of ['a', 'b', 'c']) stage.network.cut(name, 'o')
    const keys = [1, 2, 3].map((by) => observer.mutate.increment('n', by).key)
    await stage.pass(500)
    stage.kill('o')
    const once = await stage.open('o', { role: 'observer' })
    expect(once.carriedOver.map(({ key }) => key)).toEqual(keys)
    const fourth = once.mutate.increment('n', 4)
    await stage.pass(500)
    stage.kill('o')
    const twice = await stage.open('o', { role: 'observer' })
    expect(twice.carriedOver.map(({ key }) => key)).toEqual([...keys, fourth.key])
    stage.network.healAll()
    await stage.when(Promise.all(twice.carriedOver.map(({ done }) => done)))
    await stage.until(() => agree([a, b, c, twice]))
    expect(a.view.committed.get('n')).toBe(10)
  })

  it('are not lost between two epochs, when the log that held them goes', async () => {
    const stage = new Stage()
    const [a, b, c] = await stage.cluster(3)
    if (a === undefined || b === undefined || c === undefined) throw new Error('three replicas')
    await stage.when(a.mutate.increment('n').done)
    // c proposes, unheard; the others end the epoch; c hears of it and loses its quorum before it proposes again
    stage.network.cutSilently('c', 'a')
    stage.network.cutSilently('c', 'b')
    const key = c.mutate.increment('n', 100).key
    await stage.pass(50)
    const { epoch } = await stage.when(a.checkpoint())
    await stage.until(() => c.stats().epoch === epoch)
    await stage.pass(50)
    expect(c.stats().pending).toBe(1)
    stage.kill('c')
    stage.network.healAll()
    const again = await stage.open('c')
    expect(again.carriedOver.map((handle) => handle.key)).toEqual([key])
    await stage.when(Promise.all(again.carriedOver.map(({ done }) => done)))
    await stage.until(() => agree([a, b, again]))
    expect(a.view.committed.get('n')).toBe(101)
  })

  it('once answered, are carried over no more, and leave nothing on the disk', async () => {
    const stage = new Stage()
    const observer = await (async () => {
      await stage.cluster(3)
      return stage.open('o', { role: 'observer' })
    })()
    await stage.until(() => observer.status.kind === 'ready')
    for (let n = 0; n < 20; n++) await stage.when(observer.mutate.increment('n').done)
    await stage.pass(1_000)
    const { meta } = await stage.disk('o').peek()
    expect([...meta.keys()].filter((name) => name.startsWith('outbox/'))).toEqual([])
    stage.kill('o')
    const again = await stage.open('o', { role: 'observer' })
    // of the last one nothing says that its answer was heard: it is looked up, not executed again
    expect(again.carriedOver.map(({ key }) => key)).toEqual([`${again.id}:20`])
    expect(await stage.when(must(again.carriedOver[0], 'the last one').done)).toMatchObject({ ok: true, value: 20 })
    await stage.pass(1_000)
    expect(again.stats().executed).toBe(20)
  })

  it('a clean close keeps what waits, too', async () => {
    const stage = new Stage()
    const [a] = await stage.cluster(3)
    if (a === undefined) throw new Error('three replicas')
    stage.kill('b')
    stage.kill('c')
    await stage.until(() => a.status.kind === 'no-quorum')
    const handles = Array.from({ length: 40 }, (_, n) => a.mutate.set(`k${n}`, n))
    await stage.when(a.close())
    await expect(handles[39]?.done).rejects.toMatchObject({ code: 'OutcomeUnknown' })
    const again = await stage.open('a')
    expect(again.carriedOver.length).toBe(40)
  })

  it('a close in the middle of a slow write keeps all of it too', async () => {
    const stage = new Stage()
    const disk = new FaultyDisk({ later: (task) => stage.world.at(1, task) })
    const a = await stage.open('a', { storage: disk, orphans: 'ignore' })
    await stage.open('b')
    await stage.open('c')
    await stage.until(() => a.members.filter(({ role }) => role === 'voter').length === 3)
    stage.kill('b')
    stage.kill('c')
    await stage.until(() => a.status.kind === 'no-quorum')
    disk.hold()
    for (let n = 0; n < 10; n++) a.mutate.set(`first${n}`, n)
    await stage.pass(200)
    for (let n = 0; n < 60; n++) a.mutate.set(`more${n}`, n)
    await stage.pass(200)
    const closing = a.close()
    stage.world.at(50, () => disk.resume())
    await stage.when(closing)
    const again = await stage.open('a', { storage: disk, orphans: 'ignore' })
    expect(again.carriedOver.length).toBe(70)
  })

  it('a second close() while the first waits for the disk takes nothing from what the first keeps', async () => {
    const stage = new Stage()
    const disk = new FaultyDisk({ later: (task) => stage.world.at(1, task) })
    const a = await stage.open('a', { storage: disk, orphans: 'ignore' })
    await stage.open('b')
    await stage.open('c')
    await stage.until(() => a.members.filter(({ role }) => role === 'voter').length === 3)
    for (const other of ['b', 'c']) stage.network.cut('a', other)
    await stage.until(() => a.status.kind === 'no-quorum')
    disk.hold()
    const first = a.mutate.set('first', 1)
    await stage.pass(150) // its record is being written
    const second = a.mutate.set('second', 2)
    const closings = [a.close(), a.close()]
    await stage.pass(5)
    disk.resume()
    await stage.when(Promise.all(closings))
    const again = await stage.open('a', { storage: disk, orphans: 'ignore' })
    expect(again.carriedOver.map(({ key }) => key)).toEqual([first.key, second.key])
  })

  it('whose record no disk holds are given up with their keys: no later command gets one of them', async () => {
    const stage = new Stage()
    const a = await stage.open('a')
    await stage.when(a.mutate.set('k', 0).done)
    // as many that the numbers reserved on disk do not reach
    const before = Array.from({ length: 600 }, (_, n) => a.mutate.set('before', n).key)
    stage.kill('a')
    const again = await stage.open('a')
    const after = Array.from({ length: 600 }, (_, n) => again.mutate.set('after', n).key)
    expect(new Set([...before, ...after]).size).toBe(1_200)
  })

  it("with offlineWrites: 'reject' a command without a quorum is refused at the call, and nothing is kept", async () => {
    const stage = new Stage()
    const [a] = await stage.cluster(3, { offlineWrites: 'reject' })
    if (a === undefined) throw new Error('three replicas')
    stage.kill('b')
    stage.kill('c')
    await stage.until(() => a.status.kind === 'no-quorum')
    expect(() => a.mutate.set('k', 1)).toThrow(
      expect.objectContaining({ code: 'QuorumUnavailable', details: { reachable: 1, needed: 2, members: 3 } }),
    )
    expect(a.stats().pending).toBe(0)
    await expect(stage.open('x', { offlineWrites: 'perhaps' as never })).rejects.toMatchObject({
      code: 'InvalidArgument',
    })
  })
})
