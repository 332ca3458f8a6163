// One page of a browser whose pages share a FaultyDisk: what it opened and adopted dies with it.
import type { Orphan, Storage, StorageProvider, StorageScope } from '../src/storage/storage.ts'
import type { FaultyDisk } from './faulty-disk.ts'

/**
 * A storage provider over `disk` that can die without a word, as a page does whose process is killed, or stand still, as one
 * does that is frozen or shows a dialog.
 */
export class FaultyPage implements StorageProvider {
  readonly #disk: FaultyDisk
  readonly #owned = new Set<Storage>()
  readonly #watching = new Set<() => void>()
  /** Who is told of a loss when the page goes on. */
  readonly #asleep = new Map<Storage, Storage['onLost']>()
  #dead = false
  #isStill = false

  constructor(disk: FaultyDisk) {
    this.#disk = disk
  }

  async open(scope: StorageScope): Promise<Storage> {
    const storage = await this.#disk.open(scope)
    this.#owned.add(storage)
    return storage
  }

  watchOrphans(scope: StorageScope, adopt: (orphan: Orphan) => void): () => void {
    const stop = this.#disk.watchOrphans(scope, (orphan) => {
      this.#owned.add(orphan.storage)
      if (this.#dead) this.die()
      else if (this.#isStill)
        void orphan.storage.close() // and another page is asked
      else adopt(orphan)
    })
    this.#watching.add(stop)
    return () => {
      this.#watching.delete(stop)
      stop()
    }
  }

  /** The page that owned the slot before is back in this one, and asks for it: see FaultyDisk. */
  async want(slot: number): Promise<Storage> {
    const storage = await this.#disk.want(slot)
    this.#owned.add(storage)
    return storage
  }

  /** Its main thread stands still: it adopts nothing, and that it loses what it owns is told only some time after it goes on. */
  standStill(): void {
    this.#isStill = true
    for (const storage of this.#owned) {
      this.#asleep.set(storage, storage.onLost)
      storage.onLost = null
    }
  }

  goOn(): void {
    this.#isStill = false
    for (const [storage, onLost] of this.#asleep) storage.onLost = onLost
    this.#asleep.clear()
  }

  /** It is gone: no more is adopted, and what it owns has lost its owner. */
  die(): void {
    this.#dead = true
    for (const stop of this.#watching) stop()
    this.#watching.clear()
    for (const storage of this.#owned) {
      if (this.#disk.isOwned(storage)) this.#disk.crashOwner(this.#disk.slotOf(storage))
    }
    this.#owned.clear()
  }
}
