// Replicas whose page died or froze, and the pages that watch for them. Iframes are those pages: removing one ends it as a
// crash does, and one whose answers are held back is frozen to all others. Real freezing is tested end to end.
import { describe, expect, test, vi } from 'vitest'
import {
  cleanUps,
  closing,
  databaseNames,
  type Frame,
  freshName,
  heldLocks,
  lossOf,
  named,
  nameIn,
  openFrame,
  openHere,
  openTab,
  scope,
  slotName,
} from './fixtures.ts'
import { type IndexedDbStorageOptions, indexedDbStorage } from './indexeddb.ts'
import type { Orphan, Storage } from './storage.ts'

const waits = { timeout: 15_000, interval: 10 }

interface Watching {
  /** In order of adoption. */
  readonly orphans: readonly Orphan[]
  stop(): void
}

/** Watches in this page, or in that of a frame. */
function watch(options: IndexedDbStorageOptions, frame?: Frame, adopted?: (orphan: Orphan) => void): Watching {
  const orphans: Orphan[] = []
  const provider = (frame?.module.indexedDbStorage ?? indexedDbStorage)({ graceMs: 0, ...options })
  const stop = provider.watchOrphans?.(scope, (orphan) => {
    orphans.push(orphan)
    // With a frame everything of it ends.
    if (frame === undefined) closing(orphan.storage)
    adopted?.(orphan)
  })
  if (stop === undefined) throw new Error('this provider does not watch')
  cleanUps.push(stop)
  return { orphans, stop }
}

/** Once so many were adopted: the last of them. */
async function adopted(watching: Watching, count = 1): Promise<Orphan> {
  await vi.waitUntil(() => watching.orphans.length >= count, waits)
  const last = watching.orphans.at(count - 1)
  if (last === undefined) throw new Error('there is no such orphan')
  return last
}

/** A page with a replica of that name in it. */
async function ownerFrame(name: string, called: string): Promise<Frame & { readonly storage: Storage }> {
  const frame = await openFrame()
  const storage = await frame.module.indexedDbStorage({ name }).open(scope)
  await storage.write(named(called))
  return { ...frame, storage }
}

async function isHeldOrWanted(name: string, slot: number): Promise<{ held: number; pending: number }> {
  const { held = [], pending = [] } = await navigator.locks.query()
  const count = (locks: LockInfo[]) => locks.filter((lock) => lock.name === slotName(name, slot)).length
  return { held: count(held), pending: count(pending) }
}

/** Resolves when so many answers of owners were heard on the slot's channel. */
async function pongs(name: string, slot: number, count: number): Promise<void> {
  const channel = new BroadcastChannel(slotName(name, slot))
  let heard = 0
  channel.onmessage = ({ data }) => {
    if (data === 'pong') heard += 1
  }
  await vi.waitUntil(() => heard >= count, waits)
  channel.close()
}

/** From now on nobody hears anything of that page, as when it is frozen. */
function silence(frame: Frame): void {
  frame.run('BroadcastChannel.prototype.postMessage = () => {}')
}

describe('orphans', () => {
  test('a replica that has no owner when the watching begins is adopted, with its state', async () => {
    const name = freshName()
    const before = await openHere(name)
    await before.write(named('left behind'))
    await before.close()
    const { storage } = await adopted(watch({ name }))
    expect(await nameIn(storage)).toBe('left behind')
    await storage.write(named('goes on'))
    expect(await nameIn(storage)).toBe('goes on')
  })

  test('the replica of a page that dies is adopted by one that watches', async () => {
    const name = freshName()
    const owner = await ownerFrame(name, 'of the dead')
    const watching = watch({ name })
    await vi.waitUntil(async () => (await isHeldOrWanted(name, 0)).pending === 1, waits)
    expect(watching.orphans).toEqual([])
    owner.remove()
    expect(await nameIn((await adopted(watching)).storage)).toBe('of the dead')
  })

  test('a page that takes a slot after the watching began is watched, too', async () => {
    const name = freshName()
    const watching = watch({ name })
    const owner = await ownerFrame(name, 'came later')
    owner.remove()
    expect(await nameIn((await adopted(watching)).storage)).toBe('came later')
  })

  test('a page does not adopt the replica that it owns, and adopts that of another beside it', async () => {
    const name = freshName()
    const own = await openHere(name)
    await own.write(named('own'))
    const owner = await ownerFrame(name, 'other')
    const watching = watch({ name })
    owner.remove()
    expect(await nameIn((await adopted(watching)).storage)).toBe('other')
    await own.write(named('own still'))
    expect(await isHeldOrWanted(name, 0)).toEqual({ held: 1, pending: 0 })
    expect(watching.orphans).toHaveLength(1)
  })

  test('a slot without state is not adopted, and is let go', async () => {
    const name = freshName()
    const empty = await openFrame()
    await empty.module.indexedDbStorage({ name }).open(scope)
    const full = await ownerFrame(name, 'full')
    const watching = watch({ name })
    await vi.waitUntil(async () => (await isHeldOrWanted(name, 0)).pending === 1, waits)
    empty.remove()
    await vi.waitUntil(async () => {
      const { held, pending } = await isHeldOrWanted(name, 0)
      return held + pending === 0
    }, waits)
    full.remove()
    expect(await nameIn((await adopted(watching)).storage)).toBe('full')
    expect(watching.orphans).toHaveLength(1)
  })

  test('an erased replica is not adopted', async () => {
    const name = freshName()
    const erased = await ownerFrame(name, 'erased')
    const full = await ownerFrame(name, 'full')
    const watching = watch({ name })
    await vi.waitUntil(async () => (await isHeldOrWanted(name, 0)).pending === 1, waits)
    await erased.storage.erase()
    full.remove()
    expect(await nameIn((await adopted(watching)).storage)).toBe('full')
    expect(watching.orphans).toHaveLength(1)
    expect(await databaseNames(name)).toEqual([slotName(name, 1)])
  })

  test('of two pages that watch one gets it, and when that one dies the other', async () => {
    const name = freshName()
    const owner = await ownerFrame(name, 'wandering')
    const frames = [await openFrame(), await openFrame()]
    const watchers = frames.map((frame) => ({ frame, watching: watch({ name }, frame) }))
    await vi.waitUntil(async () => (await isHeldOrWanted(name, 0)).pending === 2, waits)
    owner.remove()
    await vi.waitUntil(() => watchers.some(({ watching }) => watching.orphans.length > 0), waits)
    const first = watchers.filter(({ watching }) => watching.orphans.length > 0)
    const second = watchers.filter(({ watching }) => watching.orphans.length === 0)
    expect([first.length, second.length]).toEqual([1, 1])
    await first[0]?.watching.orphans[0]?.storage.write(named('wandered'))
    first[0]?.frame.remove()
    const [other] = second
    if (other === undefined) throw new Error('there are two')
    expect(await nameIn((await adopted(other.watching)).storage)).toBe('wandered')
  })

  test('an adopted replica that is closed is free for a sibling', async () => {
    const name = freshName()
    const owner = await ownerFrame(name, 'passed on')
    const here = watch({ name })
    await vi.waitUntil(async () => (await isHeldOrWanted(name, 0)).pending === 1, waits)
    owner.remove()
    const { storage } = await adopted(here)
    const sibling = watch({ name }, await openFrame())
    await storage.close()
    expect(await nameIn((await adopted(sibling)).storage)).toBe('passed on')
    expect(here.orphans).toHaveLength(1)
  })

  test('the end of the watching leaves no lock wanted, and keeps what was adopted', async () => {
    const name = freshName()
    const [dies, lives] = [await ownerFrame(name, 'dies'), await ownerFrame(name, 'lives')]
    const watching = watch({ name })
    dies.remove()
    const { storage } = await adopted(watching)
    await vi.waitUntil(async () => (await isHeldOrWanted(name, 1)).pending === 1, waits)
    watching.stop()
    await vi.waitUntil(async () => (await isHeldOrWanted(name, 1)).pending === 0, waits)
    await storage.write(named('kept'))
    lives.remove()
    const next = closing(await indexedDbStorage({ name }).open(scope))
    expect(await nameIn(next)).toBe('lives')
    expect(watching.orphans).toHaveLength(1)
  })

  test('an adopt that throws gives the replica back', async () => {
    const name = freshName()
    const before = await openHere(name)
    await before.write(named('x'))
    await before.close()
    const frame = await openFrame()
    const reported = new Promise<unknown>((resolve) => {
      frame.window.addEventListener('error', (event) => {
        event.preventDefault()
        resolve(event.error)
      })
    })
    const mistake = new Error('no room')
    watch({ name }, frame, () => {
      throw mistake
    })
    expect(await reported).toBe(mistake)
    await vi.waitUntil(async () => (await isHeldOrWanted(name, 0)).held === 0, waits)
  })
})

describe('a page that comes back', () => {
  test('in the time of grace gets its replica, and nobody adopts it', async () => {
    const name = freshName()
    const owner = await ownerFrame(name, 'old')
    const watching = watch({ name, graceMs: 60_000 })
    await vi.waitUntil(async () => (await isHeldOrWanted(name, 0)).pending === 1, waits)
    owner.remove()
    // In the hands of the watcher.
    await vi.waitUntil(async () => (await isHeldOrWanted(name, 0)).pending === 0, waits)
    const back = await openFrame()
    const storage = await back.module.indexedDbStorage({ name }).open(scope)
    expect(await nameIn(storage)).toBe('old')
    expect(await databaseNames(name)).toEqual([slotName(name, 0)])
    expect(watching.orphans).toEqual([])
    expect(await heldLocks()).toContain(slotName(name, 0))
  })

  test('is not held up by many that watch', async () => {
    const name = freshName()
    const owner = await ownerFrame(name, 'old')
    const watchers = [watch({ name, graceMs: 60_000 })]
    for (let more = 0; more < 3; more += 1) watchers.push(watch({ name, graceMs: 60_000 }, await openFrame()))
    await vi.waitUntil(async () => (await isHeldOrWanted(name, 0)).pending === 4, waits)
    owner.remove()
    const back = await openFrame()
    expect(await nameIn(await back.module.indexedDbStorage({ name }).open(scope))).toBe('old')
    expect(watchers.flatMap(({ orphans }) => orphans)).toEqual([])
  })

  test('gets its replica from the page that adopted it, which does not take it back while that page lives', async () => {
    const name = freshName()
    const owner = await ownerFrame(name, 'old')
    let wanted = 0
    const watching = watch({ name }, undefined, (orphan) => {
      orphan.onWanted = () => {
        wanted += 1
        // Not at once: there is something to finish first.
        orphan.storage.write(named('handed back')).then(() => orphan.storage.close())
      }
    })
    owner.remove()
    await adopted(watching)
    const back = await openFrame()
    const storage = await back.module.indexedDbStorage({ name }).open(scope)
    expect(await nameIn(storage)).toBe('handed back')
    expect(wanted).toBe(1)
    expect(await databaseNames(name)).toEqual([slotName(name, 0)])
    await vi.waitUntil(async () => (await isHeldOrWanted(name, 0)).pending === 1, waits)
    await storage.write(named('once more'))
    expect(watching.orphans).toHaveLength(1)
    back.remove()
    expect(await nameIn((await adopted(watching, 2)).storage)).toBe('once more')
  })

  test('waits longer for an adopter that says it is closing than for one that says nothing', async () => {
    const name = freshName()
    const owner = await ownerFrame(name, 'old')
    const channel = new BroadcastChannel(slotName(name, 0))
    cleanUps.push(() => channel.close())
    let wants = 0
    const watching = watch({ name }, undefined, (orphan) => {
      orphan.onWanted = () => {}
      channel.onmessage = ({ data }) => {
        if (data === 'want') wants += 1
        // It asks 20 times in the time that it gives to a silent one.
        if (wants === 24) orphan.storage.close()
      }
    })
    owner.remove()
    await adopted(watching)
    const back = await openFrame()
    expect(await nameIn(await back.module.indexedDbStorage({ name }).open(scope))).toBe('old')
    expect(await databaseNames(name)).toEqual([slotName(name, 0)])
  })

  test('gets a new replica where the adopter does not give the old one back, and only that', async () => {
    const name = freshName()
    const owner = await ownerFrame(name, 'old')
    const watching = watch({ name })
    owner.remove()
    const { storage: kept } = await adopted(watching)
    const back = await openFrame()
    const storage = await back.module.indexedDbStorage({ name }).open(scope)
    expect(await nameIn(storage)).toBe(undefined)
    await storage.write(named('new'))
    await kept.write(named('still old'))
    await kept.close()
    // It asked for the old one in vain, and does not get it later beside the new one.
    await vi.waitUntil(async () => (await isHeldOrWanted(name, 0)).held === 0, waits)
    expect(await isHeldOrWanted(name, 0)).toEqual({ held: 0, pending: 0 })
    expect(await nameIn(storage)).toBe('new')
  })

  test('is any page that has none: a new one gets what another keeps for a page that is gone, before there is one more', async () => {
    const name = freshName()
    const dead = await ownerFrame(name, 'an orphan')
    const here = await openHere(name)
    await here.write(named('of the watcher'))
    const watching = watch({ name })
    dead.remove()
    const orphan = await adopted(watching)
    orphan.onWanted = () => void orphan.storage.close()
    const open = async () => {
      sessionStorage.clear() // a new tab remembers nothing
      const page = await openFrame()
      return closing(await page.module.indexedDbStorage({ name }).open(scope))
    }
    expect(await nameIn(await open())).toBe('an orphan')
    // there is no spare one left: the next page begins a new replica, and the owners keep theirs
    expect(await nameIn(await open())).toBe(undefined)
    expect(watching.orphans).toHaveLength(1)
  })

  test('as a reload next to a page that watches, gets its own slot every time', async () => {
    const name = freshName()
    const tab = await openTab()
    const open = async () => (await tab.module()).indexedDbStorage({ name }).open(scope)
    await (await open()).write(named('reload 0'))
    const watching = watch({ name }, undefined, (orphan) => {
      orphan.onWanted = () => orphan.storage.close()
    })
    for (let round = 0; round < 3; round += 1) {
      await tab.reload()
      const storage = await open()
      expect(await nameIn(storage)).toBe(`reload ${round}`)
      await storage.write(named(`reload ${round + 1}`))
      expect(await databaseNames(name)).toEqual([slotName(name, 0)])
    }
    tab.close()
    const last = await vi.waitUntil(async () => {
      const orphan = watching.orphans.at(-1)
      return orphan !== undefined && (await nameIn(orphan.storage).catch(() => undefined)) === 'reload 3'
        ? orphan
        : null
    }, waits)
    await last.storage.write(named('adopted'))
  })
})

describe('a frozen owner', () => {
  const frozenMs = 400

  test('is taken over; it hears of it, and its late writes are refused', async () => {
    const name = freshName()
    const owner = await ownerFrame(name, 'frozen')
    const watching = watch({ name, frozenMs })
    await pongs(name, 0, 3)
    expect(watching.orphans).toEqual([])
    const loss = lossOf(owner.storage)
    silence(owner)
    const { storage } = await adopted(watching)
    await storage.write(named('taken over'))
    await expect(owner.storage.write(named('late'))).rejects.toMatchObject({
      code: 'StorageFailed',
      details: { reason: 'taken-over' },
    })
    expect(await loss).toMatchObject({ code: 'StorageFailed', details: { reason: 'taken-over' } })
    expect(await nameIn(storage)).toBe('taken over')
  })

  test('that does not hear of the stolen lock is refused by the owner number', async () => {
    const name = freshName()
    const frame = await openFrame()
    // The lock's promise is what tells of the stealing: this page does not hear from it.
    frame.run(`{
      const request = navigator.locks.request.bind(navigator.locks)
      navigator.locks.request = (...call) => {
        request(...call).catch(() => {})
        return new Promise(() => {})
      }
    }`)
    const former = await frame.module.indexedDbStorage({ name }).open(scope)
    await former.write(named('frozen'))
    const watching = watch({ name, frozenMs })
    silence(frame)
    const { storage } = await adopted(watching)
    const losses: Error[] = []
    former.onLost = (reason) => losses.push(reason)
    expect(losses).toEqual([])
    await expect(former.write(named('late'))).rejects.toMatchObject({ details: { reason: 'taken-over' } })
    expect(losses).toMatchObject([{ details: { reason: 'taken-over' } }])
    expect(await nameIn(storage)).toBe('frozen')
  })

  test('is taken over by one of several that watch, and nobody takes it from that one', async () => {
    const name = freshName()
    const owner = await ownerFrame(name, 'frozen')
    const watchers = [watch({ name, frozenMs })]
    for (let more = 0; more < 2; more += 1) watchers.push(watch({ name, frozenMs }, await openFrame()))
    await pongs(name, 0, 3)
    silence(owner)
    await vi.waitUntil(() => watchers.some(({ orphans }) => orphans.length > 0), waits)
    const all = () => watchers.flatMap(({ orphans }) => orphans)
    const losses: Error[] = []
    for (const { storage } of all()) storage.onLost = (reason) => losses.push(reason)
    // The others ask the new owner for much longer than they would ask a frozen one.
    await pongs(name, 0, 30)
    expect(all()).toHaveLength(1)
    expect(losses).toEqual([])
    await all()[0]?.storage.write(named('mine'))
  })

  test('is not one that answers', async () => {
    const name = freshName()
    const owner = await ownerFrame(name, 'awake')
    const watching = watch({ name, frozenMs: 200 })
    await pongs(name, 0, 25)
    expect(watching.orphans).toEqual([])
    await owner.storage.write(named('awake still'))
  })

  test('is not seen by a page that sleeps itself', async () => {
    const name = freshName()
    const worker = new Worker(
      URL.createObjectURL(
        new Blob(
          [
            `import(${JSON.stringify(new URL('./indexeddb.ts', import.meta.url).href)}).then(async (module) => {
              const storage = await module.indexedDbStorage(${JSON.stringify({ name })}).open(${JSON.stringify(scope)})
              const named = { meta: [{ name: 'x', bytes: Uint8Array.of(1) }], instances: [], checkpoints: [] }
              onmessage = () => storage.write(named).then(() => postMessage('written'), (error) => postMessage(error.message))
              storage.write(named).then(() => postMessage('written'))
            })`,
          ],
          { type: 'text/javascript' },
        ),
      ),
      { type: 'module' },
    )
    cleanUps.push(() => worker.terminate())
    const said = () =>
      new Promise<unknown>((resolve) => worker.addEventListener('message', ({ data }) => resolve(data), { once: true }))
    expect(await said()).toBe('written')
    const watching = watch({ name, frozenMs: 200 })
    await pongs(name, 0, 1)
    for (let sleep = 0; sleep < 8; sleep += 1) {
      const wakesAt = performance.now() + 300
      while (performance.now() < wakesAt);
      await new Promise((resolve) => setTimeout(resolve))
    }
    await pongs(name, 0, 2)
    expect(watching.orphans).toEqual([])
    const written = said()
    worker.postMessage('write')
    expect(await written).toBe('written')
  })
})
