// The IndexedDB storage where there is no browser. Everything else about it is tested in one: indexeddb.browser-test.ts.
import { expect, test } from 'vitest'
import { indexedDbStorage } from './indexeddb.ts'

test('in Node it can be imported and made, and open says that it is not supported', async () => {
  const provider = indexedDbStorage()
  await expect(provider.open({ room: 'r', partition: 'p' })).rejects.toMatchObject({
    name: 'WepaxosError',
    code: 'NotSupported',
    details: { missing: 'IndexedDB' },
  })
})

test('a durability that does not exist is an InvalidArgument error that names it', () => {
  const durability: string = 'eternal'
  expect(() => indexedDbStorage({ durability: durability as 'strict' })).toThrow(
    expect.objectContaining({ code: 'InvalidArgument', message: expect.stringContaining('eternal') }),
  )
})
