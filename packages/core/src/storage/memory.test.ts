// The memory storage keeps the contract; what is here besides is what only it promises.
import { expect, test } from 'vitest'
import { describeStorageContract } from '../../testing/storage-contract.ts'
import { memoryStorage } from './memory.ts'

describeStorageContract('memory', { provider: async () => memoryStorage(), durability: 'memory' })

test('a write has happened when the call returns', async () => {
  const provider = memoryStorage()
  const scope = { room: 'r', partition: 'p' }
  const storage = await provider.open(scope)
  void storage.write({ meta: [{ name: 'x', bytes: Uint8Array.of(1) }], instances: [], checkpoints: [] })
  void storage.close()
  const next = await provider.open(scope)
  expect((await next.read()).meta.get('x')).toEqual(Uint8Array.of(1))
})

test('two providers share nothing', async () => {
  const scope = { room: 'r', partition: 'p' }
  const storage = await memoryStorage().open(scope)
  await storage.write({ meta: [{ name: 'x', bytes: Uint8Array.of(1) }], instances: [], checkpoints: [] })
  await storage.close()
  expect((await (await memoryStorage().open(scope)).read()).meta.size).toBe(0)
})
