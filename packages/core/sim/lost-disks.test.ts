// What becomes of a replica whose disk is damaged, empty or older when it is opened again, on simulated time.
import { describe, expect, it } from 'vitest'
import { Writer } from '../src/codec/bytes.ts'
import { must } from '../src/lib/assert.ts'
import { replicaId } from '../src/protocol/ids.ts'
import { hesitateMs } from '../src/runtime/engine.ts'
import type { Transport } from '../src/runtime/transport.ts'
import { identityName } from '../src/runtime/write-queue.ts'
import type { StorageProvider } from '../src/storage/storage.ts'
import { diskDamages } from '../testing/disk-records.ts'
import { FaultyDisk } from '../testing/faulty-disk.ts'
import { FaultyPage } from '../testing/faulty-page.ts'
import { ChangedPage, knowingReaders, newcomersHello } from './changed-page.ts'
import { agree, type KvReplica, Stage } from './stage.ts'

/** A cluster of three whose third, c, has a disk that can be tampered with. `isReader`: as a and b know it. */
async function threeWithDisk(stage: Stage, seed = 1, isReader: (peer: string) => boolean = () => false) {
  const disk = new FaultyDisk({ seed, later: (task) => stage.world.at(1, task) })
  const a = await stage.open('a', { transport: knowingReaders(stage.network.transport('a', true), isReader) })
  const b = await stage.open('b', { transport: knowingReaders(stage.network.transport('b', false), isReader) })
  const page = new FaultyPage(disk)
  const c = await stage.open('c', { storage: page })
  await stage.until(() => [a, b, c].every((one) => one.status.kind === 'ready' && votersOf(one).length === 3))
  let current = page
  return {
    a,
    b,
    c,
    disk,
    kill: () => {
      stage.kill('c')
      current.die()
    },
    /** c's page again, on the same disk. */
    open: () => {
      current = new FaultyPage(disk)
      return stage.open('c', { storage: current })
    },
  }
}

type Three = Awaited<ReturnType<typeof threeWithDisk>>

function votersOf(replica: KvReplica): readonly string[] {
  return replica.members.filter(({ role }) => role === 'voter').map(({ id }) => id)
}

/**
 * Of the voters a, b and c the disk of c goes back to before it voted for a command that b was answered, and that a never
 * heard of: an a and a c that know nothing of it would be a quorum. Returns with c gone, and a alone.
 */
async function answeredBeforeRollback(stage: Stage, { a, b, c, disk, kill }: Three): Promise<void> {
  await writes(stage, [a, b, c], 6)
  const image = disk.keep(0)
  stage.network.cut('a', 'b')
  stage.network.cut('a', 'c')
  expect(await stage.when(b.mutate.set('k', 'answered').done)).toMatchObject({ ok: true })
  await stage.pass(300)
  kill()
  disk.restore(0, image)
}

/** With a and c there and b not: c is no voter under its old id, so that nothing is read without b, and nothing is lost. */
async function expectNoVoteWithoutB(stage: Stage, { a, c }: Three, now: KvReplica): Promise<void> {
  const read = a.read.get('k')
  let isRead = false
  void read.then(() => {
    isRead = true
  })
  await stage.pass(3_000)
  expect(now.id).not.toBe(c.id)
  expect(isRead).toBe(false)
  stage.network.mend('a', 'b')
  await stage.open('b')
  expect(await stage.when(read)).toBe('answered')
}

async function writes(stage: Stage, replicas: readonly KvReplica[], count: number): Promise<void> {
  for (let n = 0; n < count; n++) {
    const replica = must(replicas[n % replicas.length], 'there are replicas')
    await stage.when(replica.mutate.increment('n').done)
  }
}

describe('a replica whose disk is lost', () => {
  it.each(diskDamages.filter((how) => how !== 'everything is lost'))(
    '[DU6] [DU8] where %s begins anew under a new id, and takes the place of the old one',
    async (how) => {
      const stage = new Stage()
      const { a, b, c, disk, kill, open } = await threeWithDisk(stage)
      await writes(stage, [a, b, c], 9)
      const before = c.id
      kill()
      disk.damage(0, how)
      const anew = await open()
      expect(anew.id).not.toBe(before)
      expect(anew.status).toMatchObject({ kind: 'joining', lost: { code: 'DamagedStorage' } })
      expect(disk.slots.map(({ owned }) => owned)).toEqual([true, true])
      await stage.until(() => votersOf(a).includes(anew.id) && !votersOf(a).includes(before))
      await stage.until(() => agree([a, b, anew]))
      await stage.until(() => anew.status.kind === 'ready')
      expect(anew.view.committed.get('n')).toBe(9)
      // what was put aside is erased once there is something better
      await stage.until(() => disk.slots[0]?.hasState === false)
      expect(disk.slots[1]?.hasState).toBe(true)
    },
  )

  it('[DU8] who finds an empty disk is a new replica, and the others do without the old one after a while', async () => {
    const stage = new Stage()
    const { a, b, c, disk, kill, open } = await threeWithDisk(stage)
    await writes(stage, [a, b, c], 6)
    kill()
    disk.damage(0, 'everything is lost')
    const anew = await open()
    expect(anew.id).not.toBe(c.id)
    await stage.until(() => votersOf(a).includes(anew.id) && !votersOf(a).includes(c.id))
    await stage.until(() => agree([a, b, anew]))
  })

  it('[DU7] [DU8] an older disk is noticed by those who heard more, before its replica votes', async () => {
    const stage = new Stage()
    const { a, b, c, disk, kill, open } = await threeWithDisk(stage)
    await writes(stage, [a, b, c], 6)
    const image = disk.keep(0)
    await writes(stage, [a, b, c], 12)
    await stage.pass(1_000)
    kill()
    disk.restore(0, image)
    const anew = await open()
    expect(anew.id).toBe(c.id)
    const lost: unknown[] = []
    anew.addEventListener('status', ({ detail }) => detail.kind === 'joining' && lost.push(detail.lost))
    const heldBefore = disk.contentsOf(0).instances.length
    await stage.until(() => anew.id !== c.id)
    expect(lost[0]).toMatchObject({ code: 'DamagedStorage', details: { reason: 'older', replica: c.id } })
    // nothing was voted on in between: no instance was written under the old id
    expect(disk.contentsOf(0).instances.length).toBe(heldBefore)
    await stage.until(() => votersOf(a).includes(anew.id) && !votersOf(a).includes(c.id))
    await stage.until(() => agree([a, b, anew]))
    expect(anew.view.committed.get('n')).toBe(18)
    await stage.until(() => disk.slots[0]?.hasState === false)
  })

  it('[DU7] who heard of it from another knows it too, and has nothing to do with the older one', async () => {
    const stage = new Stage()
    const { a, b, c, disk, kill, open } = await threeWithDisk(stage)
    await writes(stage, [a, b, c], 6)
    const image = disk.keep(0)
    stage.network.cut('b', 'c')
    await writes(stage, [a, c], 12)
    kill()
    disk.restore(0, image)
    // b hears it in a's next Hello
    stage.network.cut('a', 'b')
    await stage.pass(100)
    stage.network.mend('a', 'b')
    await stage.pass(200)
    stage.kill('a')
    stage.network.mend('b', 'c')
    const anew = await open()
    await stage.until(() => anew.id !== c.id)
    expect(b.status.kind).toBe('no-quorum')
    const again = await stage.open('a')
    await stage.until(() => votersOf(again).includes(anew.id))
    await stage.until(() => agree([again, b, anew]))
    expect(anew.view.committed.get('n')).toBe(18)
  })

  it.each([
    { commands: 0, end: 'never opened' },
    { commands: 3, end: 'closed' },
    { commands: 40, end: 'killed' },
  ])('[DU7] an older disk is noticed although $commands commands were typed on it alone (it was $end)', async (on) => {
    const stage = new Stage()
    const three = await threeWithDisk(stage)
    await answeredBeforeRollback(stage, three)
    const { kill, open } = three
    // b, who knows, can not be reached yet
    stage.network.cut('b', 'c')
    if (on.end !== 'never opened') {
      const alone = await open()
      expect(alone.id).toBe(three.c.id)
      for (let n = 0; n < on.commands; n++) {
        alone.mutate.set(`x${n}`, n)
        await stage.pass(110)
      }
      if (on.end === 'closed') await stage.when(alone.close())
      kill()
    }
    const back = await open()
    stage.network.mend('b', 'c')
    await stage.pass(40) // for no more than the Hellos
    stage.kill('b')
    stage.network.mend('a', 'c')
    await expectNoVoteWithoutB(stage, three, back)
  })

  it.each([0, 1_000])(
    '[DU7] [DU8] an older disk that was noticed %i ms ago stays put aside after the next reload',
    async (ms) => {
      const stage = new Stage()
      const three = await threeWithDisk(stage)
      await answeredBeforeRollback(stage, three)
      const { c, disk, kill, open } = three
      const anew = await open()
      await stage.until(() => anew.id !== c.id) // b told it
      await stage.pass(ms)
      expect(disk.slots[0]?.hasState).toBe(true)
      kill()
      // of those who know nobody is left
      stage.kill('b')
      stage.network.mend('a', 'c')
      await expectNoVoteWithoutB(stage, three, await open())
    },
  )

  it.each(['readers', 'joiners'])(
    '[DU7] what was heard of the disks of voters is not forgotten for hundreds of %s',
    async (who) => {
      const stage = new Stage()
      const strangers = new Set<string>()
      const { a, b, c, disk, kill, open } = await threeWithDisk(
        stage,
        1,
        (peer) => who === 'readers' && strangers.has(peer),
      )
      await writes(stage, [a, b, c], 6)
      const image = disk.keep(0)
      await writes(stage, [a, b, c], 12)
      await stage.pass(1_000)
      kill()
      disk.restore(0, image)
      let hellos = 0
      // more than are remembered
      for (let n = 0; n < 600; n++) {
        const id = n.toString(16).padStart(32, 'e')
        strangers.add(id)
        const page = new ChangedPage(stage, id, {
          connected: (self, peer) => self.sayControl(peer, newcomersHello),
          heardControl: (_, __, { type }) => {
            if (type === 'Hello') hellos++
          },
        })
        await stage.pass(25)
        page.close()
      }
      expect(hellos).toBe(1_200)
      const back = await open()
      await stage.until(() => back.id !== c.id)
      expect((a.stats().refused['older-disk'] ?? 0) + (b.stats().refused['older-disk'] ?? 0)).toBeGreaterThan(0)
    },
  )

  it('[DU7] what one who was away remembers of earlier runs makes nobody forget the last one', async () => {
    const stage = new Stage()
    const disk = new FaultyDisk({ later: (task) => stage.world.at(1, task) })
    const a = await stage.open('a')
    const b = await stage.open('b')
    let page = new FaultyPage(disk)
    let c = await stage.open('c', { storage: page })
    await stage.until(() => [a, b, c].every((one) => one.status.kind === 'ready' && votersOf(one).length === 3))
    const { id } = c
    const reopen = async () => {
      page = new FaultyPage(disk)
      c = await stage.open('c', { storage: page })
    }
    const restart = async () => {
      stage.kill('c')
      page.die()
      await reopen()
      await stage.until(() => c.status.kind === 'ready')
      await stage.pass(1_500)
      await writes(stage, [c], 3)
    }
    for (let times = 0; times < 3; times += 1) await restart()
    await stage.pass(1_500)
    // b is away in the next run of c, and hears of it from a
    stage.network.cut('b', 'c')
    stage.network.cut('a', 'b')
    await stage.pass(200)
    const image = disk.keep(0)
    await restart()
    await writes(stage, [c], 10)
    await stage.pass(1_500)
    stage.kill('c')
    page.die()
    stage.network.mend('a', 'b')
    await stage.pass(2_000)
    stage.kill('a')
    stage.network.mend('b', 'c')
    disk.restore(0, image)
    await reopen()
    await stage.pass(5_000)
    expect(c.id).not.toBe(id)
    expect(b.status.kind).toBe('no-quorum')
  })

  it('[DU7] a restarted voter takes no part until all other voters were heard, or the first of them for a while', async () => {
    const stage = new Stage()
    const { a, b, c, kill, open } = await threeWithDisk(stage)
    await writes(stage, [a, b, c], 6)
    kill()
    stage.kill('b')
    stage.network.cut('a', 'c')
    const back = await open()
    const waiting = back.mutate.set('k', 1)
    await stage.pass(5_000)
    expect(waiting.state).toBe('pending')
    const mendedAt = stage.world.now
    stage.network.mend('a', 'c')
    await stage.when(waiting.done)
    expect(stage.world.now - mendedAt).toBeGreaterThan(hesitateMs)
    // with all others there it does not wait
    kill()
    const b2 = await stage.open('b')
    await stage.until(() => b2.status.kind === 'ready')
    const third = await open()
    const openedAt = stage.world.now
    await stage.when(third.mutate.set('k', 2).done)
    expect(stage.world.now - openedAt).toBeLessThan(hesitateMs)
    await stage.until(() => a.view.committed.get('k') === 2)
  })

  it('a restart from a disk that is as it was left changes nothing, whoever else restarts in between', async () => {
    const stage = new Stage()
    const cluster = await threeWithDisk(stage)
    const { b, c, kill, open } = cluster
    let { a } = cluster
    for (let round = 0; round < 5; round++) {
      await writes(stage, [a, b], 4)
      kill()
      await writes(stage, [a, b], 4)
      const back = await open()
      await stage.until(() => back.status.kind === 'ready' && agree([a, b, back]))
      expect(back.id).toBe(c.id)
      stage.kill('a')
      await writes(stage, [b, back], 2)
      a = await stage.open('a')
      await stage.until(() => a.status.kind === 'ready' && agree([a, b, back]))
    }
    expect(b.stats().refused['older-disk']).toBeUndefined()
  })

  it('records of another version are no lost disk: the replica is not opened, and nothing is taken from it', async () => {
    const stage = new Stage()
    const { disk, kill, open } = await threeWithDisk(stage)
    kill()
    const other = await disk.open({ room: 'simulated', partition: 'p' })
    const writer = new Writer()
    writer.byte(99)
    writer.uint32(writer.checksum())
    await stage.when(
      other.write({ meta: [{ name: identityName, bytes: writer.finish() }], instances: [], checkpoints: [] }),
    )
    await other.close()
    await expect(open()).rejects.toMatchObject({
      code: 'StorageFailed',
      details: { reason: 'other-version' },
    })
    expect(disk.slots).toMatchObject([{ owned: false, hasState: true }])
  })

  it('a disk that can not be taken in, for memory runs short, is no lost disk: it is not opened, and nothing is taken from it', async () => {
    const stage = new Stage()
    const { a, b, c, disk, kill, open } = await threeWithDisk(stage)
    await stage.when(c.mutate.set('k', 1).done)
    kill()
    const short = stage.open('c', { storage: readingFails(disk, new RangeError('Array buffer allocation failed')) })
    await expect(short).rejects.toMatchObject({ code: 'StorageFailed' })
    await stage.pass(20_000)
    expect(disk.slots).toMatchObject([{ owned: false, hasState: true }])
    const back = await open()
    expect(back.id).toBe(c.id)
    await stage.until(() => back.status.kind === 'ready' && agree([a, b, back]))
  })

  it('a voter that is said to be retired while it can be heard keeps its seat', async () => {
    const stage = new Stage()
    const [a, b, c] = await stage.cluster(3)
    if (a === undefined || b === undefined || c === undefined) throw new Error('three replicas')
    const disk = new FaultyDisk({ later: (task) => stage.world.at(1, task) })
    // d's disk says that it was c before: a lie, for c lives
    const page = new FaultyPage(disk)
    const d = await stage.open('d', { storage: page })
    await stage.until(() => d.status.kind === 'ready')
    stage.kill('d')
    page.die()
    const storage = await disk.open({ room: 'simulated', partition: 'p' })
    const identity = (await stage.disk('c').peek()).meta.get(identityName)
    await stage.when(
      storage.write({
        meta: [{ name: identityName, bytes: must(identity, 'c has an identity') }],
        instances: [],
        checkpoints: [],
      }),
    )
    await storage.close()
    const liar = await stage.open('d', { storage: new FaultyPage(disk) })
    await stage.until(() => liar.status.kind === 'ready')
    await stage.pass(10_000)
    expect(votersOf(a)).toContain(c.id)
    const refusals = [a, b, c].map((one) => one.stats().refused['not-retired'] ?? 0)
    expect(Math.max(...refusals)).toBeGreaterThan(0)
  })

  it('a link to the run before, not noticed as dead yet, is no older disk', async () => {
    const stage = new Stage()
    const late = new LateTransport(stage.network.transport('a', true))
    const a = await stage.open('a', { transport: late.transport })
    const b = await stage.open('b')
    const c = await stage.open('c')
    await stage.until(() => [a, b, c].every((one) => one.status.kind === 'ready' && votersOf(one).length === 3))
    await writes(stage, [a, b, c], 9)
    await stage.pass(200)
    late.hold(c.id)
    stage.kill('c')
    const back = await stage.open('c')
    await stage.until(() => back.status.kind === 'ready')
    await stage.when(b.mutate.increment('n').done)
    await stage.when(b.checkpoint()) // b says Hello to all, and with it how far c's new run has come
    await stage.pass(700)
    late.release()
    await stage.pass(20_000)
    expect(back.id).toBe(c.id)
    expect(back.status.kind).toBe('ready')
    expect(votersOf(a)).toContain(c.id)
  })

  it('what a peer without the right to vote, or without this partition, says of disks costs nobody its state', async () => {
    const stage = new Stage()
    const [a, b, c] = await stage.cluster(3)
    if (a === undefined || b === undefined || c === undefined) throw new Error('three replicas')
    await stage.when(a.mutate.set('k', 1).done)
    const ids = [a, b, c].map(({ id }) => replicaId(id))
    const disksHeard = ids.map((replica) => ({ replica, run: 1, writes: 1_000_000_000 }))
    new ChangedPage(stage, 'e'.repeat(32), {
      connected: (page, peer) => page.sayControl(peer, { ...newcomersHello, disksHeard }),
    })
    await stage.pass(10_000)
    expect([a, b, c].map(({ id }) => id)).toEqual(ids)
    expect([a, b, c].map(({ status }) => status.kind)).toEqual(['ready', 'ready', 'ready'])
  })

  it('the only voter, whose disk came back older, stops: nobody could let another in, and what it holds may be the last', async () => {
    const stage = new Stage()
    const disk = new FaultyDisk({ later: (task) => stage.world.at(1, task) })
    const page = new FaultyPage(disk)
    const a = await stage.open('a', { storage: page })
    const observer = await stage.open('o', { role: 'observer' })
    await stage.until(() => observer.status.kind === 'ready')
    await writes(stage, [a], 3)
    const image = disk.keep(0)
    await writes(stage, [a], 6)
    await stage.pass(1_000)
    stage.kill('a')
    page.die()
    disk.restore(0, image)
    const back = await stage.open('a', { storage: new FaultyPage(disk) })
    await stage.until(() => back.status.kind === 'failed')
    expect(back.status).toMatchObject({ error: { code: 'DamagedStorage', details: { reason: 'older' } } })
    expect(disk.slots).toMatchObject([{ hasState: true }])
  })

  it('close() in the middle of beginning anew leaves nothing open', async () => {
    const stage = new Stage()
    const { a, b, c, disk, kill } = await threeWithDisk(stage)
    await writes(stage, [a, b, c], 6)
    const image = disk.keep(0)
    await writes(stage, [a, b, c], 12)
    await stage.pass(1_000)
    kill()
    disk.restore(0, image)
    const anew = await stage.open('c', { storage: new FaultyPage(disk) })
    let lost = false
    anew.addEventListener('status', ({ detail }) => {
      lost ||= detail.kind === 'joining' && detail.lost !== undefined
    })
    await stage.until(() => lost)
    await stage.when(anew.close())
    expect(anew.status.kind).toBe('closed')
    expect(disk.slots.some(({ owned }) => owned)).toBe(false)
    await stage.pass(1_000)
    expect(disk.slots.some(({ owned }) => owned)).toBe(false)
  })
})

/** Its checkpoints throw when their bytes are asked for: by whoever takes them in, not by the disk. */
function readingFails(disk: FaultyDisk, error: Error): StorageProvider {
  return {
    open: async (scope) => {
      const storage = await disk.open(scope)
      const contents = await storage.read()
      storage.read = async () => ({
        ...contents,
        checkpoints: contents.checkpoints.map((checkpoint) => ({
          ...checkpoint,
          get bytes(): Uint8Array {
            throw error
          },
        })),
      })
      return storage
    },
  }
}

/** A transport that can tell of one peer later than it happens, as a page notices late that another is gone. */
class LateTransport {
  readonly transport: Transport
  #held: (() => void)[] = []
  #peer: string | null = null

  constructor(inner: Transport) {
    const later = (peer: string, tell: () => void) => {
      if (peer === this.#peer) this.#held.push(tell)
      else tell()
    }
    this.transport = {
      ...inner,
      attach: (endpoint) =>
        inner.attach({
          ...endpoint,
          onConnected: (peer) => later(peer, () => endpoint.onConnected(peer)),
          onDisconnected: (peer) => later(peer, () => endpoint.onDisconnected(peer)),
          onFrame: (peer, frame) => later(peer, () => endpoint.onFrame(peer, frame)),
        }),
    }
  }

  hold(peer: string): void {
    this.#peer = peer
  }

  release(): void {
    this.#peer = null
    for (const tell of this.#held.splice(0)) tell()
  }
}
