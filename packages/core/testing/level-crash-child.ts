// The program that the test of the LevelDB storage kills: it opens a replica, writes what its parent says, and tells of each
// acknowledged write. It never closes anything.
import { levelStorage } from '../src/storage/level.ts'
import type { OwnersDeath } from './storage-contract-crashes.ts'

/** What the parent says, once. */
export interface CrashOrder {
  readonly directory: string
  readonly durability: 'strict' | 'relaxed'
  readonly death: OwnersDeath
}

/** What the parent hears: that the write is under way which it may die with, and how many were acknowledged so far. */
export interface CrashNews {
  readonly asked: number
  readonly acknowledged: number
}

process.once('message', (order: CrashOrder) => {
  writeAll(order).catch((error: unknown) => {
    console.error(error)
    process.exit(1)
  })
})
// Whoever started it is gone: nobody would end it.
process.once('disconnect', () => process.exit(1))

async function writeAll({ directory, durability, death }: CrashOrder): Promise<void> {
  const storage = await levelStorage({ directory, durability }).open(death.scope)
  let asked = 0
  let acknowledged = 0
  const underWay = new Set<Promise<void>>()
  for (const batch of death.batches) {
    while (underWay.size >= death.underWayMax) await Promise.race(underWay)
    const written = storage.write(batch).then(() => {
      underWay.delete(written)
      acknowledged += 1
      tell({ asked, acknowledged })
    })
    underWay.add(written)
    asked += 1
    tell({ asked, acknowledged })
  }
  await Promise.all(underWay)
}

function tell(news: CrashNews): void {
  process.send?.(news)
}
