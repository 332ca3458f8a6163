// The part of the storage contract about replicas that lose their owner and are given to another. It is run by
// describeStorageContract where a storage's author says what a page is and how it dies.
import { afterEach, describe, expect, test } from 'vitest'
import type { Orphan, Storage, StorageProvider, StorageScope } from '../src/storage/storage.ts'
import { contractScope, named, nameIn } from './storage-batches.ts'

/** Pages that share one disk, on which nothing is stored for the rooms that begin with `contract`. */
export interface SharedDisk {
  /** One page more. */
  page(): Promise<OrphanPage>
}

/** An owner of replicas, and a watcher of others' ones, that dies as a whole. */
export interface OrphanPage {
  /** What is opened and watched through it is this page's. It has `watchOrphans`. */
  readonly provider: StorageProvider
  /** The page is gone without a word, and all that it owned with it. */
  die(): Promise<void>
  /** After `die`: the page is loaded again, and opens the scope in which it had one replica. */
  comeBack(scope: StorageScope): Promise<Storage>
}

/** Runs the tests. */
export function describeOrphans(makeDisk: () => Promise<SharedDisk>): void {
  describe('orphans', () => {
    const cleanUps: (() => unknown)[] = []
    afterEach(async () => {
      while (cleanUps.length > 0) await cleanUps.pop()?.()
    })

    /** A page with one replica for each name, which is stored in it. */
    async function pageWith(disk: SharedDisk, ...names: readonly string[]): Promise<OrphanPage & { own: Storage[] }> {
      const page = await disk.page()
      const own: Storage[] = []
      for (const _ of names) own.push(await page.provider.open(contractScope))
      for (const [at, storage] of own.entries()) await storage.write(named(names[at] ?? ''))
      return { provider: page.provider, die: () => page.die(), comeBack: (scope) => page.comeBack(scope), own }
    }

    async function watcher(disk: SharedDisk, scope: StorageScope = contractScope): Promise<Watching> {
      const watching = new Watching((await disk.page()).provider, scope)
      cleanUps.push(() => watching.end())
      return watching
    }

    test('a replica that nobody owns at the beginning is given to the watcher, which then owns it', async () => {
      const disk = await makeDisk()
      const before = await pageWith(disk, 'left')
      await before.die()
      const watching = await watcher(disk)
      const { storage } = await watching.next()
      expect(await nameIn(storage)).toBe('left')
      await storage.write(named('adopted'))
      expect(await nameIn(storage)).toBe('adopted')
      const [other] = (await pageWith(disk, 'other')).own
      expect(other === undefined ? undefined : await nameIn(other)).toBe('other')
      expect(await nameIn(storage)).toBe('adopted')
    })

    test('each replica of a dead page goes to exactly one of the watchers', async () => {
      const disk = await makeDisk()
      const dying = await pageWith(disk, 'one', 'two', 'three')
      const watchers = [await watcher(disk), await watcher(disk)]
      await dying.die()
      await adoptions(watchers, 3)
      // When this one is given away, a second giving of those before would have been seen.
      await (await pageWith(disk, 'last')).die()
      await adoptions(watchers, 4)
      expect((await namesAdoptedBy(watchers)).sort()).toEqual(['last', 'one', 'three', 'two'])
    })

    test('a living page keeps its replica', async () => {
      const disk = await makeDisk()
      const living = await pageWith(disk, 'living')
      const watching = await watcher(disk)
      await (await pageWith(disk, 'dead')).die()
      expect(await nameIn((await watching.next()).storage)).toBe('dead')
      await living.own[0]?.write(named('still living'))
      expect(await namesAdoptedBy([watching])).toEqual(['dead'])
    })

    test('an erased replica goes to nobody', async () => {
      const disk = await makeDisk()
      const watching = await watcher(disk)
      const dying = await pageWith(disk, 'erased', 'kept')
      await dying.own[0]?.erase()
      await dying.die()
      await watching.next()
      await (await pageWith(disk, 'last')).die()
      await watching.next()
      expect(await namesAdoptedBy([watching])).toEqual(['kept', 'last'])
    })

    test('a replica to which nothing was written goes to nobody', async () => {
      const disk = await makeDisk()
      const watching = await watcher(disk)
      const dying = await disk.page()
      await dying.provider.open(contractScope)
      await dying.die()
      await (await pageWith(disk, 'last')).die()
      expect(await nameIn((await watching.next()).storage)).toBe('last')
      expect(watching.adopted).toHaveLength(1)
    })

    test('a replica of another room or partition goes to nobody who watches this one', async () => {
      const disk = await makeDisk()
      const watching = await watcher(disk)
      for (const other of [
        { ...contractScope, partition: 'b' },
        { ...contractScope, room: 'contract 2' },
      ]) {
        const page = await disk.page()
        await (await page.provider.open(other)).write(named('elsewhere'))
        await page.die()
        const [ofOther] = [await watcher(disk, other)]
        expect(await nameIn((await ofOther.next()).storage)).toBe('elsewhere')
      }
      await (await pageWith(disk, 'here')).die()
      await watching.next()
      expect(await namesAdoptedBy([watching])).toEqual(['here'])
    })

    test('who ended the watching is given nothing more, and keeps what it was given', async () => {
      const disk = await makeDisk()
      const stopped = await watcher(disk)
      await (await pageWith(disk, 'before')).die()
      const { storage } = await stopped.next()
      stopped.stop()
      const watching = await watcher(disk)
      const dying = await pageWith(disk, 'one', 'two', 'three')
      await dying.die()
      await adoptions([watching], 3)
      expect(stopped.adopted).toHaveLength(1)
      await storage.write(named('kept'))
      expect(await nameIn(storage)).toBe('kept')
      expect((await namesAdoptedBy([watching])).sort()).toEqual(['one', 'three', 'two'])
    })

    test('each has a number of its own, which is the same whenever it is given to somebody', async () => {
      const disk = await makeDisk()
      const first = await watcher(disk)
      await (await pageWith(disk, 'one', 'two')).die()
      const [one, two] = [await first.next(), await first.next()]
      expect(one.slot).not.toBe(two.slot)
      first.stop()
      await one.storage.close()
      const second = await watcher(disk)
      expect((await second.next()).slot).toBe(one.slot)
    })

    test('a wanted replica comes back to its page when the adopter closes it, and stays there', async () => {
      const disk = await makeDisk()
      const watching = await watcher(disk)
      const page = await pageWith(disk, 'own')
      await page.die()
      const orphan = await watching.next()
      await orphan.storage.write(named('own, and more'))
      orphan.onWanted = () => void orphan.storage.close()
      const back = await page.comeBack(contractScope)
      cleanUps.push(() => back.close())
      expect(await nameIn(back)).toBe('own, and more')
      await (await pageWith(disk, 'last')).die()
      expect(await nameIn((await watching.next()).storage)).toBe('last')
      await back.write(named('mine'))
      expect(await nameIn(back)).toBe('mine')
      expect(watching.adopted).toHaveLength(2)
    })
  })
}

/** Who watches, and what it was given so far. */
class Watching {
  readonly adopted: Orphan[] = []
  readonly stop: () => void
  #seen = 0
  #waiting: (() => void)[] = []

  constructor(provider: StorageProvider, scope: StorageScope) {
    if (provider.watchOrphans === undefined) throw new Error('this provider has no watchOrphans')
    this.stop = provider.watchOrphans(scope, (orphan) => {
      this.adopted.push(orphan)
      for (const resolve of this.#waiting.splice(0)) resolve()
    })
  }

  /** The next adoption that was not asked for yet. */
  async next(): Promise<Orphan> {
    for (;;) {
      const orphan = this.adopted[this.#seen]
      if (orphan !== undefined) {
        this.#seen += 1
        return orphan
      }
      await this.change()
    }
  }

  /** Resolves at the next adoption. */
  change(): Promise<void> {
    return new Promise((resolve) => this.#waiting.push(resolve))
  }

  async end(): Promise<void> {
    this.stop()
    for (const { storage } of this.adopted) await storage.close()
  }
}

/** Resolves when the watchers together were given so many. */
async function adoptions(watchers: readonly Watching[], count: number): Promise<void> {
  while (watchers.reduce((sum, { adopted }) => sum + adopted.length, 0) < count) {
    await Promise.race(watchers.map((watching) => watching.change()))
  }
}

async function namesAdoptedBy(watchers: readonly Watching[]): Promise<(string | undefined)[]> {
  return Promise.all(watchers.flatMap(({ adopted }) => adopted.map(({ storage }) => nameIn(storage))))
}
