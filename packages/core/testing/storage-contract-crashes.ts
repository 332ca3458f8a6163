// The part of the storage contract about owners that die without closing. It is run by describeStorageContract where a
// storage's author says how an owner is killed.
import { describe, expect, test } from 'vitest'
import { createRandom } from '../src/lib/random.ts'
import { memoryStorage } from '../src/storage/memory.ts'
import type { StorageProvider, StorageScope, WriteBatch } from '../src/storage/storage.ts'
import { contractScope, lifeOfWrites, named, nameIn, summaryOf, writesOfLifeIn } from './storage-batches.ts'

/** A disk whose owners can be killed. */
export interface CrashableDisk {
  /** Opens what the dead owner left. */
  readonly provider: StorageProvider
  /**
   * Opens the scope in an owner of its own (another process, another page), writes as `death` says, and kills the owner in
   * the middle of it: no close, no goodbye. Resolves with the number of the writes that were acknowledged, once the owner is
   * dead and its replica can be opened.
   */
  crashWhileWriting(death: OwnersDeath): Promise<number>
}

/** What an owner does before it is killed, and when that is. */
export interface OwnersDeath {
  readonly scope: StorageScope
  /** To be written in this order. */
  readonly batches: readonly WriteBatch[]
  /** How many writes the owner has under way together, at most: the next one is asked for when one is acknowledged. */
  readonly underWayMax: number
  /** The owner is killed as soon as so many writes are acknowledged and the next one is asked for; it may get further. */
  readonly acknowledged: number
}

/** Runs the tests; `lives` owners of one replica die one after the other. */
export function describeCrashes(makeDisk: () => Promise<CrashableDisk>, lives: number): void {
  describe('an owner that dies', () => {
    test.each([
      ['between two writes', 1, newSeed()],
      ['with some writes under way', 8, newSeed()],
      ['with all writes under way', Number.POSITIVE_INFINITY, newSeed()],
    ])(
      '%s leaves what was acknowledged, and of the rest whole batches in their order (at most %d under way, seed %d)',
      async (_when, underWayMax, seed) => {
        const random = createRandom(seed)
        const { provider, crashWhileWriting } = await makeDisk()
        const model = await memoryStorage().open(contractScope)
        for (let life = 1; life <= lives; life += 1) {
          const batches = lifeOfWrites(life, 40 + random.integer(60), random)
          const death = { scope: contractScope, batches, underWayMax, acknowledged: random.integer(batches.length) }
          const acknowledged = await crashWhileWriting(death)
          expect(acknowledged, `life ${life}`).toBeGreaterThanOrEqual(death.acknowledged)

          const heir = await provider.open(contractScope)
          try {
            const found = await heir.read()
            const durable = writesOfLifeIn(found, life)
            expect(durable, `life ${life}: durable, of ${batches.length}`).toBeGreaterThanOrEqual(acknowledged)
            for (const batch of batches.slice(0, durable)) await model.write(batch)
            expect(summaryOf(found), `life ${life} after ${durable}`).toEqual(summaryOf(await model.read()))
          } finally {
            await heir.close()
          }
        }
      },
    )

    test('leaves a replica that its next owner writes on', async () => {
      const { provider, crashWhileWriting } = await makeDisk()
      const batches = lifeOfWrites(1, 20, createRandom(1))
      await crashWhileWriting({ scope: contractScope, batches, underWayMax: 4, acknowledged: 10 })
      const heir = await provider.open(contractScope)
      await heir.write(named('heir'))
      await heir.close()
      const next = await provider.open(contractScope)
      try {
        expect(await nameIn(next)).toBe('heir')
        expect(writesOfLifeIn(await next.read(), 1)).toBeGreaterThanOrEqual(10)
      } finally {
        await next.close()
      }
    })
  })
}

/** Another one each time: the test's name tells it. */
function newSeed(): number {
  return Math.floor(Math.random() * 2 ** 31)
}
