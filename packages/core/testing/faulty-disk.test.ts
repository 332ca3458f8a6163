// The faulty disk keeps the storage contract, also where it is told to break things; and each of its faults is what it says.
import { describe, expect, test } from 'vitest'
import { WepaxosError } from '../src/lib/errors.ts'
import type { Orphan } from '../src/storage/storage.ts'
import { diskDamages } from './disk-records.ts'
import { FaultyDisk } from './faulty-disk.ts'
import { FaultyPage } from './faulty-page.ts'
import { bytes, named, nameIn, contractScope as scope, summaryOf, write } from './storage-batches.ts'
import { describeStorageContract } from './storage-contract.ts'
import type { CrashableDisk } from './storage-contract-crashes.ts'
import type { OrphanPage, SharedDisk } from './storage-contract-orphans.ts'

/** Other dice for each disk. */
let seeds = 0
function freshDisk(): FaultyDisk {
  seeds += 1
  return new FaultyDisk({ seed: seeds })
}

function crashableDisk(): CrashableDisk {
  const disk = freshDisk()
  return {
    provider: disk,
    async crashWhileWriting({ scope, batches, underWayMax, acknowledged: wished }) {
      const storage = await disk.open(scope)
      disk.hold(wished)
      let acknowledged = 0
      const died = new Promise<void>((resolve) => {
        let asked = 0
        const ask = () => {
          while (asked < batches.length && asked - acknowledged < underWayMax) {
            const batch = batches[asked]
            if (batch === undefined) break
            asked += 1
            void storage.write(batch).then(() => {
              acknowledged += 1
              ask()
            })
          }
          if (acknowledged === wished) resolve()
        }
        ask()
      })
      await died
      disk.crashOwner(disk.slotOf(storage))
      disk.resume()
      return acknowledged
    },
  }
}

function sharedDisk(): SharedDisk {
  const disk = freshDisk()
  return {
    async page(): Promise<OrphanPage> {
      const page = new FaultyPage(disk)
      let lastSlot = 0
      return {
        provider: {
          async open(scope) {
            const storage = await page.open(scope)
            lastSlot = disk.slotOf(storage)
            return storage
          },
          watchOrphans: (scope, adopt) => page.watchOrphans(scope, adopt),
        },
        die: async () => page.die(),
        comeBack: () => new FaultyPage(disk).want(lastSlot),
      }
    },
  }
}

let full: FaultyDisk | undefined
describeStorageContract('FaultyDisk', {
  provider: async () => freshDisk(),
  durability: 'strict',
  nearlyFull: {
    async provider() {
      full = freshDisk()
      full.fill(10_000)
      return full
    },
    refusedBytes: 20_000,
    makeRoom: async () => full?.free(),
  },
  faults: {
    async failing() {
      const disk = freshDisk()
      return { provider: disk, failNext: () => disk.failNext() }
    },
    crash: async () => crashableDisk(),
    lives: 30,
  },
  orphans: async () => sharedDisk(),
})

/** Whether the promise settles before everything that is due now is done. */
async function settles(promise: Promise<unknown>): Promise<boolean> {
  let settled = false
  promise.then(
    () => {
      settled = true
    },
    () => {
      settled = true
    },
  )
  await new Promise<void>((resolve) => setImmediate(resolve))
  return settled
}

describe('writes', () => {
  test('are under way until the disk is let go on, also those that close and erase wait for', async () => {
    const disk = freshDisk()
    const storage = await disk.open(scope)
    disk.hold(1)
    const writes = [named('first'), named('second')].map((batch) => storage.write(batch))
    const closed = storage.close()
    expect(await Promise.all([...writes, closed].map(settles))).toEqual([true, false, false])
    expect(summaryOf(disk.contentsOf(0))).toHaveLength(1)
    disk.resume()
    await Promise.all([...writes, closed])
    expect(await nameIn(await disk.open(scope))).toBe('second')
  })

  test('fail with the error that was asked for', async () => {
    const disk = freshDisk()
    const storage = await disk.open(scope)
    const error = new WepaxosError('StorageFailed', 'a thunderstorm', { reason: 'disk' })
    disk.failNext(error)
    await expect(storage.write(named('x'))).rejects.toBe(error)
    await expect(storage.write(named('y'))).rejects.toMatchObject({ cause: error })
  })

  test('fail for want of room whichever replica takes it, and those that make room do not', async () => {
    const disk = freshDisk()
    const [one, other] = [await disk.open(scope), await disk.open(scope)]
    await one.write(write({ instances: [{ epoch: 1, row: 0, seq: 1, bytes: new Uint8Array(500) }] }))
    disk.fill(100)
    await one.write(named('small'))
    await expect(other.write(named('too much now '.repeat(5)))).rejects.toMatchObject({ details: { reason: 'quota' } })
    await one.write(write({ dropEpochsBefore: 2 }))
    await one.write(write({ meta: [{ name: 'x', bytes: new Uint8Array(300) }] }))
    expect((await one.space?.())?.quotaBytes).toBeGreaterThan(disk.usedBytes)
  })

  test('complete when the given scheduler says so', async () => {
    const due: (() => void)[] = []
    const disk = new FaultyDisk({ later: (task) => due.push(task) })
    const storage = await disk.open(scope)
    const written = storage.write(named('x'))
    expect(await settles(written)).toBe(false)
    due.shift()?.()
    expect(await settles(written)).toBe(true)
  })
})

describe('an owner that crashed', () => {
  test('does nothing more, and hears nothing more', async () => {
    const disk = freshDisk()
    const storage = await disk.open(scope)
    await storage.write(named('before'))
    disk.hold()
    const underWay = storage.write(write({ meta: [{ name: 'x', bytes: bytes(1) }] }))
    storage.onLost = () => expect.unreachable()
    disk.crashOwner(0)
    disk.resume()
    const calls = [underWay, storage.read(), storage.write(named('after')), storage.erase(), storage.close()]
    expect(await Promise.all(calls.map(settles))).toEqual(calls.map(() => false))
    expect(await nameIn(await disk.open(scope))).toBe('before')
  })

  test('leaves of its writes under way none, some or all, as the seed says, and says how many', async () => {
    const outcomes = new Set<number>()
    for (let seed = 1; seed <= 40; seed += 1) {
      const durable: number[] = []
      for (const _again of [1, 2]) {
        const disk = new FaultyDisk({ seed })
        const storage = await disk.open(scope)
        disk.hold()
        for (let at = 1; at <= 3; at += 1) void storage.write(write({ meta: [{ name: 'at', bytes: bytes(at) }] }))
        const told = disk.crashOwner(0)
        expect(disk.contentsOf(0).meta.get('at')?.[0] ?? 0).toBe(told)
        durable.push(told)
      }
      expect(durable[0]).toBe(durable[1])
      outcomes.add(durable[0] ?? -1)
    }
    expect([...outcomes].sort()).toEqual([0, 1, 2, 3])
  })

  test('from whom the replica was taken away hears it, once, and writes nothing more', async () => {
    const disk = freshDisk()
    const storage = await disk.open(scope)
    await storage.write(named('before'))
    disk.hold()
    const underWay = storage.write(named('under way'))
    disk.takeAway(0)
    const losses: Error[] = []
    storage.onLost = (reason) => losses.push(reason)
    await expect(underWay).rejects.toMatchObject({ details: { reason: 'taken-over' } })
    disk.resume()
    await expect(storage.write(named('late'))).rejects.toMatchObject({ details: { reason: 'taken-over' } })
    const next = await disk.open(scope)
    await next.write(named('next'))
    await storage.close()
    expect(losses).toMatchObject([{ code: 'StorageFailed', details: { reason: 'taken-over' } }])
    expect(await nameIn(next)).toBe('next')
    expect(disk.slots).toMatchObject([{ slot: 0, owned: true, hasState: true }])
  })
})

describe('images and damage', () => {
  const older = write({
    meta: [{ name: 'm', bytes: bytes(1, 1) }],
    instances: [1, 2, 3, 4].map((seq) => ({ epoch: 1, row: 0, seq, bytes: bytes(1, seq) })),
    checkpoints: [{ epoch: 1, bytes: bytes(1, 0) }],
  })
  const newer = write({
    meta: [{ name: 'm', bytes: bytes(2, 1) }],
    instances: [3, 4, 5].map((seq) => ({ epoch: 1, row: 0, seq, bytes: bytes(2, seq) })),
  })

  async function diskWith(seed: number): Promise<FaultyDisk> {
    const disk = new FaultyDisk({ seed })
    const storage = await disk.open(scope)
    await storage.write(older)
    await storage.write(newer)
    await storage.close()
    return disk
  }

  test('a kept image comes back as it was, as often as one likes', async () => {
    const disk = await diskWith(1)
    const image = disk.keep(0)
    const kept = summaryOf(disk.contentsOf(0))
    for (const _again of [1, 2]) {
      const storage = await disk.open(scope)
      await storage.write(write({ dropEpochsBefore: 9, dropMeta: ['m'] }))
      await storage.close()
      disk.restore(0, image)
      expect(summaryOf(disk.contentsOf(0))).toEqual(kept)
    }
  })

  const changes: Record<(typeof diskDamages)[number], (lost: number, changed: number) => boolean> = {
    'an instance is lost': (lost, changed) => lost === 1 && changed === 0,
    'several instances are lost': (lost, changed) => lost >= 2 && lost <= 5 && changed === 0,
    'a bit is flipped': (lost, changed) => lost === 0 && changed === 1,
    'a record is an older one': (lost, changed) => lost === 0 && changed === 1,
    'all instances are lost': (lost, changed) => lost === 5 && changed === 0,
    'all checkpoints are lost': (lost, changed) => lost === 1 && changed === 0,
    'all meta are lost': (lost, changed) => lost === 1 && changed === 0,
    'everything is lost': (lost, changed) => lost === 7 && changed === 0,
  }

  test.each(diskDamages)('%s: that happens and nothing else, and is told', async (how) => {
    const told = new Set<string>()
    for (let seed = 1; seed <= 30; seed += 1) {
      const disk = await diskWith(seed)
      const before = recordsOf(disk)
      told.add(disk.damage(0, how))
      const after = recordsOf(disk)
      const lost = [...before.keys()].filter((key) => !after.has(key)).length
      const changed = [...after].filter(([key, value]) => before.get(key) !== value).length
      expect(changes[how](lost, changed), `seed ${seed}: ${lost} lost, ${changed} changed`).toBe(true)
      if (how === 'a record is an older one') {
        for (const [key, value] of after) expect(value === before.get(key) || value.startsWith('1,')).toBe(true)
      }
    }
    expect(told.size > 1).toBe(!how.includes('all') && how !== 'everything is lost')
  })

  test.each(diskDamages)('%s: throws where there is nothing of the kind', async (how) => {
    const disk = freshDisk()
    await disk.open(scope)
    expect(() => disk.damage(0, how)).toThrow(how)
  })

  function recordsOf(disk: FaultyDisk): Map<string, string> {
    const { meta, instances, checkpoints } = disk.contentsOf(0)
    return new Map([
      ...[...meta].map(([name, value]) => [`meta ${name}`, value.join()] as const),
      ...instances.map(({ epoch, row, seq, bytes }) => [`${epoch}/${row}/${seq}`, bytes.join()] as const),
      ...checkpoints.map(({ epoch, bytes }) => [`checkpoint ${epoch}`, bytes.join()] as const),
    ])
  }
})

describe('orphans', () => {
  async function orphaned(): Promise<{ disk: FaultyDisk; adopted: Orphan[] }> {
    const disk = freshDisk()
    const adopted: Orphan[] = []
    const storage = await disk.open(scope)
    await storage.write(named('own'))
    disk.watchOrphans(scope, (orphan) => adopted.push(orphan))
    disk.crashOwner(0)
    await settles(storage.close())
    return { disk, adopted }
  }

  test('who wants a replica waits until the adopter closes it, and is heard also when the adopter listens late', async () => {
    const { disk, adopted } = await orphaned()
    const wanted = disk.want(0)
    expect(await settles(wanted)).toBe(false)
    const [orphan] = adopted
    if (orphan === undefined) throw new Error('nobody adopted')
    orphan.onWanted = () => void orphan.storage.close()
    expect(await nameIn(await wanted)).toBe('own')
    expect(adopted).toHaveLength(1)
  })

  test('who adopted a replica and closed it is not given it again, but another watcher is', async () => {
    const { disk, adopted } = await orphaned()
    await adopted[0]?.storage.close()
    expect(await settles(new Promise(() => {}))).toBe(false)
    expect(adopted).toHaveLength(1)
    const others: Orphan[] = []
    disk.watchOrphans(scope, (orphan) => others.push(orphan))
    await settles(new Promise(() => {}))
    expect(others).toHaveLength(1)
    disk.crashOwner(0)
    await settles(new Promise(() => {}))
    expect(adopted.length + others.length).toBe(3)
  })

  test('who opens before the orphan is given away gets it', async () => {
    const disk = freshDisk()
    const storage = await disk.open(scope)
    await storage.write(named('own'))
    disk.watchOrphans(scope, () => expect.unreachable())
    disk.crashOwner(0)
    expect(await nameIn(await disk.open(scope))).toBe('own')
    await settles(new Promise(() => {}))
  })
})
