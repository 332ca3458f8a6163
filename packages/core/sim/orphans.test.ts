// [OR1] Replicas that lost their page, hosted by another page of the same browser, on simulated time.
import { describe, expect, it } from 'vitest'
import { must } from '../src/lib/assert.ts'
import type { ReplicaId } from '../src/protocol/ids.ts'
import { lostName } from '../src/runtime/write-queue.ts'
import type { Orphan, Storage, StorageProvider, WriteBatch } from '../src/storage/storage.ts'
import { FaultyDisk } from '../testing/faulty-disk.ts'
import { FaultyPage } from '../testing/faulty-page.ts'
import { agree, type KvReplica, Stage } from './stage.ts'

/** Tabs named a, b, c of one browser: one disk, a slot each, all of them voters. */
async function threeTabs(stage: Stage, options: Parameters<Stage['open']>[1] = {}) {
  const disk = new FaultyDisk({ later: (task) => stage.world.at(1, task) })
  const pages = new Map<string, FaultyPage>()
  const tabs: KvReplica[] = []
  for (const name of ['a', 'b', 'c']) {
    const page = new FaultyPage(disk)
    pages.set(name, page)
    tabs.push(await stage.open(name, { storage: page, ...options }))
  }
  const [a, b, c] = tabs
  if (a === undefined || b === undefined || c === undefined) throw new Error('three tabs')
  await stage.until(() => tabs.every(({ status, members }) => status.kind === 'ready' && voters(members) === 3))
  return {
    disk,
    a,
    b,
    c,
    kill: (name: string) => {
      stage.kill(name)
      must(pages.get(name), 'a tab').die()
    },
  }
}

const silentMs = 5_000

/** Five voters: the tabs b and c of one browser, and three elsewhere, without whom there is no quorum. */
async function twoTabsOfFive(stage: Stage) {
  const disk = new FaultyDisk({ later: (task) => stage.world.at(1, task) })
  const timeouts = { silentMs }
  const far = ['a', 'd', 'e']
  const remote: KvReplica[] = []
  for (const name of far) remote.push(await stage.open(name, { timeouts }))
  const [pageB, pageC] = [new FaultyPage(disk), new FaultyPage(disk)]
  const b = await stage.open('b', { storage: pageB, timeouts })
  const c = await stage.open('c', { storage: pageC, timeouts })
  await stage.until(() => [...remote, b, c].every(({ members }) => voters(members) === 5))
  return {
    a: must(remote[0], 'a'),
    b,
    c,
    far,
    disk,
    timeouts,
    killB: () => {
      stage.kill('b')
      pageB.die()
    },
  }
}

function voters(members: KvReplica['members']): number {
  return members.filter(({ role }) => role === 'voter').length
}

describe('[OR1] orphans', () => {
  it('of three tabs two die: the third runs all three replicas, and goes on by itself', async () => {
    const stage = new Stage()
    const { a, b, c, kill } = await threeTabs(stage)
    await stage.when(b.mutate.set('k', 'from b').done)
    kill('b')
    kill('c')
    const diedAt = stage.world.now
    await stage.when(a.mutate.set('k', 'still here').done)
    expect(stage.world.now - diedAt).toBeLessThan(2_000)
    expect([...a.stats().hosted].sort()).toEqual([b.id, c.id].sort())
    expect(a.status.kind).toBe('ready')
  })

  it('whose page does not come back get out of the member list, and their disks are given back', async () => {
    const stage = new Stage()
    const { a, disk, kill } = await threeTabs(stage)
    kill('b')
    kill('c')
    await stage.when(a.mutate.set('k', 1).done)
    await stage.until(() => a.members.length === 1 && a.stats().hosted.length === 0)
    expect(a.members).toEqual([{ id: a.id, role: 'voter', self: true, connected: true }])
    expect(disk.slots.map(({ hasState }) => hasState)).toEqual([true, false, false])
    await stage.when(a.mutate.set('k', 2).done)
  })

  it('whose page is back are given back to it, with their id and their state', async () => {
    const stage = new Stage()
    const { a, b, disk, kill } = await threeTabs(stage)
    kill('b')
    await stage.until(() => a.stats().hosted.includes(b.id))
    await stage.when(a.mutate.set('k', 'while b was away').done)
    const storage = await stage.when(disk.want(1))
    expect(a.stats().hosted).toEqual([])
    const back = await stage.open('b', {
      storage: { open: () => Promise.resolve(storage) },
    })
    expect(back.id).toBe(b.id)
    await stage.until(() => back.status.kind === 'ready' && agree([a, back]))
    expect(back.view.committed.get('k')).toBe('while b was away')
  })

  it('that are on their way out are not given back: the page gets another, never both', async () => {
    const stage = new Stage()
    const { a, b, disk, kill } = await threeTabs(stage, { timeouts: { silentMs: 5_000 } })
    kill('b')
    await stage.until(() => a.stats().hosted.includes(b.id))
    await stage.pass(5_100)
    let given = false
    void disk.want(1).then(() => {
      given = true
    })
    await stage.until(() => !a.stats().hosted.includes(b.id))
    const attached = new Set(a.members.map(({ id }) => id))
    expect(attached.has(b.id)).toBe(false)
    await stage.pass(100)
    // the slot is free by now, and empty: a new replica's
    expect(given).toBe(true)
    expect(disk.slots[1]?.hasState).toBe(false)
  })

  it('propose what they had in doubt, before they go', async () => {
    const stage = new Stage()
    const { a, b, c, kill } = await threeTabs(stage)
    stage.network.cut('a', 'b')
    stage.network.cut('b', 'c')
    b.mutate.set('last words', 'of b')
    await stage.pass(500)
    kill('b')
    stage.network.healAll()
    await stage.until(() => a.view.committed.get('last words') === 'of b')
    expect([...a.stats().hosted, ...c.stats().hosted]).toEqual([b.id])
  })

  it('a closed page hosts nothing any more, and the next one takes over', async () => {
    const stage = new Stage()
    const { a, b, c, disk, kill } = await threeTabs(stage)
    kill('b')
    await stage.until(() => [...a.stats().hosted, ...c.stats().hosted].includes(b.id))
    const [host, other] = a.stats().hosted.length > 0 ? [a, c] : [c, a]
    await stage.when(host.close())
    await stage.until(() => other.stats().hosted.length === 2)
    expect([...other.stats().hosted].sort()).toEqual([b.id, host.id].sort())
    await stage.when(other.mutate.set('k', 1).done)
    expect(disk.slots.every(({ owned }) => owned)).toBe(true)
  })

  it('a damaged one is left alone, and does not keep the page busy', async () => {
    const stage = new Stage()
    const { a, b, disk, kill } = await threeTabs(stage)
    await stage.when(b.mutate.set('k', 1).done)
    kill('b')
    disk.damage(1, 'an instance is lost')
    await stage.pass(5_000)
    expect(a.stats().hosted).toEqual([])
    await stage.when(a.mutate.set('k', 2).done)
    await stage.until(() => !a.members.some(({ id, role }) => id === b.id && role === 'voter'))
  })

  it("with orphans: 'ignore' stay where they are", async () => {
    const stage = new Stage()
    const { a, kill } = await threeTabs(stage, { orphans: 'ignore' })
    kill('b')
    kill('c')
    await stage.until(() => a.status.kind === 'no-quorum')
    await stage.pass(60_000)
    expect(a.stats().hosted).toEqual([] satisfies ReplicaId[])
    expect(a.status.kind).toBe('no-quorum')
  })

  it('with manual membership are hosted, and nobody takes their seats', async () => {
    const stage = new Stage()
    const disk = new FaultyDisk({ later: (task) => stage.world.at(1, task) })
    const [pageA, pageB, pageC] = [new FaultyPage(disk), new FaultyPage(disk), new FaultyPage(disk)]
    const a = await stage.open('a', { storage: pageA, membership: 'manual' })
    const b = await stage.open('b', { storage: pageB, membership: 'manual' })
    const c = await stage.open('c', { storage: pageC, membership: 'manual' })
    await stage.until(() => a.members.length === 3)
    await stage.when(a.setRole(b.id, 'voter'))
    await stage.when(a.setRole(c.id, 'voter'))
    stage.kill('b')
    pageB.die()
    stage.kill('c')
    pageC.die()
    await stage.pass(120_000)
    expect(voters(a.members)).toBe(3)
    expect(a.stats().hosted.length).toBe(2)
    await stage.when(a.mutate.set('k', 1).done)
  })

  it('stay what they were, whatever the page that hosts them is', async () => {
    const stage = new Stage()
    const disk = new FaultyDisk({ later: (task) => stage.world.at(1, task) })
    const [pageB, pageO] = [new FaultyPage(disk), new FaultyPage(disk)]
    const a = await stage.open('a')
    const d = await stage.open('d')
    const b = await stage.open('b', { storage: pageB })
    await stage.until(() => [a, b, d].every(({ members }) => voters(members) === 3))
    const observer = await stage.open('o', { storage: pageO, role: 'observer' })
    await stage.until(() => a.members.length === 4 && observer.status.kind === 'ready')
    stage.kill('b')
    pageB.die()
    await stage.until(() => observer.stats().hosted.includes(b.id as ReplicaId))
    await stage.pass(10_000)
    expect(a.members.find(({ id }) => id === b.id)?.role).toBe('voter')
    expect(a.members.find(({ id }) => id === observer.id)?.role).toBe('observer')
  })

  it('that can not leave, for the quorum is away, are given back however late their page comes', async () => {
    const stage = new Stage()
    const { b, c, far, disk, timeouts, killB } = await twoTabsOfFive(stage)
    for (const one of far) for (const tab of ['b', 'c']) stage.network.cut(tab, one)
    await stage.pass(6_000)
    killB()
    await stage.until(() => c.stats().hosted.includes(b.id as ReplicaId))
    await stage.pass(8_000)
    const storage = await stage.when(disk.want(0))
    const back = await stage.open('b', { storage: { open: () => Promise.resolve(storage) }, timeouts })
    expect(back.id).toBe(b.id)
  })

  it.each([
    ['before', 0],
    ['just after', silentMs - 20],
  ])('whose quorum goes away %s they begin to leave are given back to their page', async (_, hostedMs) => {
    const stage = new Stage()
    const { b, c, far, disk, timeouts, killB } = await twoTabsOfFive(stage)
    await stage.when(b.mutate.set('k', 'mine').done)
    killB()
    await stage.until(() => c.stats().hosted.includes(b.id as ReplicaId))
    await stage.pass(hostedMs)
    for (const one of far) {
      for (const tab of ['b', 'c']) {
        if (hostedMs === 0) stage.network.cut(tab, one)
        else {
          // noticed only when it is on its way already
          stage.network.cutSilently(tab, one)
          stage.network.cutSilently(one, tab)
        }
      }
    }
    await stage.pass(12_000)
    expect(c.status.kind).toBe('no-quorum')
    expect(c.stats().hosted).toEqual([b.id])
    const storage = await stage.when(disk.want(0))
    const back = await stage.open('b', { storage: { open: () => Promise.resolve(storage) }, timeouts })
    expect([back.id, back.view.committed.get('k')]).toEqual([b.id, 'mine'])
  })

  it('given back while their last wish was to leave keep their place, whatever becomes of the wish', async () => {
    const stage = new Stage()
    const { a, b, c, far, disk, timeouts, killB } = await twoTabsOfFive(stage)
    killB()
    await stage.until(() => c.stats().hosted.includes(b.id as ReplicaId))
    await stage.pass(silentMs - 20)
    // what the tabs say gets there, the barrier among it, and no answer comes back
    for (const one of far) for (const tab of ['b', 'c']) stage.network.cutSilently(one, tab)
    await stage.pass(600)
    for (const one of far) for (const tab of ['b', 'c']) stage.network.cut(tab, one)
    await stage.pass(1_000)
    const storage = await stage.when(disk.want(0))
    const back = await stage.open('b', { storage: { open: () => Promise.resolve(storage) }, timeouts })
    const removed: unknown[] = []
    back.addEventListener('status', ({ detail }) => detail.kind === 'removed' && removed.push(detail))
    stage.network.healAll()
    await stage.pass(10_000)
    expect(back.id).toBe(b.id)
    expect(back.status.kind).toBe('ready')
    expect(removed).toEqual([])
    expect(a.members.find(({ id }) => id === b.id)?.role).toBe('voter')
  })

  it('given back while their last wish was to leave are taken out when somebody means it, long after', async () => {
    const stage = new Stage()
    const { a, b, c, far, disk, timeouts, killB } = await twoTabsOfFive(stage)
    killB()
    await stage.until(() => c.stats().hosted.includes(b.id as ReplicaId))
    await stage.pass(silentMs - 20)
    // the wish comes to nothing: nobody hears of it
    for (const one of far) {
      for (const tab of ['b', 'c']) {
        stage.network.cutSilently(tab, one)
        stage.network.cutSilently(one, tab)
      }
    }
    await stage.pass(3_000)
    const storage = await stage.when(disk.want(0))
    const back = await stage.open('b', { storage: { open: () => Promise.resolve(storage) }, timeouts })
    stage.network.healAll()
    await stage.pass(60_000)
    expect([back.id, back.status.kind]).toEqual([b.id, 'ready'])
    await stage.when(a.setRole(b.id as ReplicaId, 'none'))
    await stage.pass(20_000)
    expect(back.status.kind).toBe('removed')
  })

  it('[DU9] whose page only stood still: it answers no linearizable read from before when it goes on', async () => {
    const stage = new Stage()
    const disk = new FaultyDisk({ later: (task) => stage.world.at(1, task) })
    const page = new FaultyPage(disk)
    const a = await stage.open('a', { storage: page })
    const b = await stage.open('b', { storage: new FaultyPage(disk) })
    await stage.until(() => b.status.kind === 'ready')
    await stage.when(a.mutate.set('k', 'old').done)
    await stage.pass(1_000)
    // a alone is the quorum: it asks nobody before it answers
    expect(voters(a.members)).toBe(1)
    page.standStill()
    stage.freezeTimers('a', 20_000)
    stage.network.cut('a', 'b')
    await stage.pass(11_000)
    disk.takeAway(0)
    await stage.until(() => b.stats().hosted.includes(a.id as ReplicaId))
    expect(await stage.when(b.mutate.set('k', 'new').done)).toMatchObject({ ok: true })
    // in the task that was interrupted: what the page missed has not reached it yet
    const read = a.read.get('k')
    page.goOn()
    await expect(stage.when(read)).rejects.toMatchObject({ code: 'StorageFailed' })
    expect(await stage.when(b.read.get('k'))).toBe('new')
  })

  it('[DU9] nor where pages are taken for frozen after a second', async () => {
    const stage = new Stage()
    const disk = new FaultyDisk({ later: (task) => stage.world.at(1, task) })
    const page = new FaultyPage(disk)
    const frozenAfterOneSecond: StorageProvider = {
      open: async (scope) => Object.assign(await page.open(scope), { takenOverAfterMs: 1_000 }),
    }
    const a = await stage.open('a', { storage: frozenAfterOneSecond })
    const b = await stage.open('b', { storage: new FaultyPage(disk) })
    await stage.until(() => b.status.kind === 'ready')
    await stage.when(a.mutate.set('k', 'old').done)
    await stage.pass(1_000)
    page.standStill()
    stage.freezeTimers('a', 20_000)
    stage.network.cut('a', 'b')
    await stage.pass(1_200)
    disk.takeAway(0)
    await stage.until(() => b.stats().hosted.includes(a.id as ReplicaId))
    await stage.when(b.mutate.set('k', 'new').done)
    const read = a.read.get('k')
    page.goOn()
    await expect(stage.when(read)).rejects.toMatchObject({ code: 'StorageFailed' })
  })

  it('[DU9] nor when it slept again while the write after its first sleep was under way', async () => {
    const stage = new Stage()
    const disk = new FaultyDisk({ later: (task) => stage.world.at(1, task) })
    const page = new FaultyPage(disk)
    let told = Promise.resolve()
    const late: StorageProvider = {
      open: async (scope) => {
        const storage = await page.open(scope)
        const write = storage.write.bind(storage)
        return Object.assign(storage, { write: (batch: WriteBatch) => write(batch).then(() => told) })
      },
    }
    const a = await stage.open('a', { storage: late })
    const b = await stage.open('b', { storage: new FaultyPage(disk) })
    await stage.until(() => b.status.kind === 'ready')
    await stage.when(a.mutate.set('k', 'old').done)
    await stage.pass(1_000)
    page.standStill()
    stage.freezeTimers('a', 40_000)
    stage.network.cut('a', 'b')
    await stage.pass(3_000)
    // it wakes up for one task, writes, and sleeps again before it hears of it
    let tell = () => {}
    told = new Promise((resolve) => {
      tell = resolve
    })
    const first = a.read.get('k')
    await stage.pass(11_000)
    disk.takeAway(0)
    await stage.until(() => b.stats().hosted.includes(a.id as ReplicaId))
    await stage.when(b.mutate.set('k', 'new').done)
    const second = a.read.get('k')
    told = Promise.resolve()
    tell()
    // it was asked for before k changed
    expect(await stage.when(first)).toBe('old')
    page.goOn()
    await expect(stage.when(second)).rejects.toMatchObject({ code: 'StorageFailed' })
  })

  it('are no replicas that failed in their own page: it ends its hosting, and the replica is for whoever opens it again', async () => {
    const stage = new Stage()
    const { disk, a, b, c, kill } = await threeTabs(stage)
    kill('c')
    await stage.until(() => a.stats().hosted.length + b.stats().hosted.length === 1)
    disk.failNext()
    a.mutate.set('mine', 1).done.catch(() => {})
    await stage.until(() => a.status.kind === 'failed')
    await stage.pass(500)
    expect(a.stats().hosted).toEqual([])
    await stage.until(() => b.stats().hosted.includes(c.id as ReplicaId))
    await stage.when(b.close())
    const again = await stage.open('again', { storage: new FaultyPage(disk) })
    expect([a.id, b.id]).toContain(again.id)
  })

  it('[DU8] a host leaves the older disk of the only voter as it is: it is for its owner to judge', async () => {
    const stage = new Stage()
    const disk = new FaultyDisk({ later: (task) => stage.world.at(1, task) })
    const page = new FaultyPage(disk)
    const a = await stage.open('a', { storage: page })
    const watching = new FaultyPage(disk)
    const b = await stage.open('b', { role: 'observer', storage: watching })
    await stage.until(() => b.status.kind === 'ready' && a.members.length === 2)
    for (let n = 0; n < 3; n++) await stage.when(a.mutate.set('k', n).done)
    const older = disk.keep(0)
    for (let n = 0; n < 6; n++) await stage.when(a.mutate.set('k', n).done)
    await stage.pass(1_000)
    stage.kill('a')
    page.die()
    disk.restore(0, older)
    await stage.pass(20_000)
    expect(disk.contentsOf(0).meta.has(lostName)).toBe(false)
    // nor does the page of the replica itself
    await stage.when(b.close())
    const alone = await stage.open('a', { storage: new FaultyPage(disk) })
    expect([alone.status.kind, alone.id]).toEqual(['ready', a.id])
  })

  it('one that can not be run keeps no other one waiting', async () => {
    const stage = new Stage()
    const disk = new FaultyDisk({ later: (task) => stage.world.at(1, task) })
    const page = new FaultyPage(disk)
    let adopt: (orphan: Orphan) => void = () => {}
    const broken = (): Orphan => {
      const fails = () => Promise.reject(new Error('broken'))
      // offered again soon after it was given up
      const close = async () => stage.world.at(4_000, () => adopt(broken()))
      const storage: Storage = { durability: 'strict', onLost: null, read: fails, write: fails, erase: fails, close }
      return { storage, slot: 7, onWanted: null }
    }
    const storage: StorageProvider = {
      open: (scope) => page.open(scope),
      watchOrphans: (scope, given) => {
        adopt = given
        adopt(broken())
        return page.watchOrphans(scope, given)
      },
    }
    const a = await stage.open('a', { storage })
    const pageB = new FaultyPage(disk)
    const b = await stage.open('b', { storage: pageB })
    const c = await stage.open('c')
    await stage.until(() => voters(c.members) === 3)
    await stage.pass(300_000)
    stage.kill('b')
    pageB.die()
    const killedAt = stage.world.now
    await stage.until(() => a.stats().hosted.includes(b.id as ReplicaId))
    expect(stage.world.now - killedAt).toBeLessThan(1_000)
  })

  it('whose erasing does not end keep their host from nothing: it closes its own replica', async () => {
    const stage = new Stage()
    const disk = new FaultyDisk({ later: (task) => stage.world.at(1, task) })
    const page = new FaultyPage(disk)
    const storage: StorageProvider = {
      open: (scope) => page.open(scope),
      watchOrphans: (scope, adopt) =>
        page.watchOrphans(scope, (orphan) => {
          Object.assign(orphan.storage, { erase: () => new Promise(() => {}) })
          adopt(orphan)
        }),
    }
    const pageB = new FaultyPage(disk)
    const timeouts = { silentMs }
    const a = await stage.open('a', { storage, timeouts })
    const b = await stage.open('b', { storage: pageB, timeouts })
    const c = await stage.open('c', { timeouts })
    await stage.until(() => voters(c.members) === 3)
    stage.kill('b')
    pageB.die()
    await stage.until(() => a.members.every(({ id }) => id !== b.id))
    await stage.pass(5_000)
    void a.close()
    await stage.pass(1_000)
    expect(a.status.kind).toBe('closed')
    expect(c.members.find(({ id }) => id === a.id)?.connected).toBe(false)
  })
})
