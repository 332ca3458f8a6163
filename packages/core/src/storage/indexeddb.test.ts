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

test.each(['frozenMs', 'graceMs', 'blockedMs'])(
  'a %s that is no time is an InvalidArgument error that names it',
  (option) => {
    for (const ms of [-1, Number.NaN, Number.POSITIVE_INFINITY]) {
      expect(() => indexedDbStorage({ [option]: ms })).toThrow(
        expect.objectContaining({ code: 'InvalidArgument', message: expect.stringContaining(option) }),
      )
    }
  },
)

test('in Node watching for orphans says that it is not supported', () => {
  const watchOrphans = indexedDbStorage().watchOrphans
  expect(() => watchOrphans?.({ room: 'r', partition: 'p' }, () => {})).toThrow(
    expect.objectContaining({ code: 'NotSupported', details: expect.objectContaining({ missing: 'IndexedDB' }) }),
  )
})
