import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { forgetEd25519 } from '../testing/old-browser.ts'
import { checkAnnouncement, signAnnouncement } from './announcement.ts'
import { encodeBase64Url } from './base64url.ts'
import { keyBytes } from './identity.ts'
import { createReplicaKey, decodeReplicaKey, importReplicaKey, replicaIdOf } from './replica-key.ts'

const algorithms = ['Ed25519', 'P-256'] as const
const facts = { channel: 16, partition: 'main', sinceMs: 1 }

async function imported(bytes: Uint8Array) {
  const stored = decodeReplicaKey(bytes)
  return stored === undefined ? expect.unreachable() : importReplicaKey(stored)
}

describe('the key of a replica', () => {
  it.each(algorithms)('gives its replica an id that anybody can tell from the public half: %s', async (alg) => {
    const { replica, key } = await createReplicaKey(alg)
    const signing = await imported(key)
    expect([signing.replica, await replicaIdOf(signing), signing.alg]).toEqual([replica, replica, alg])
    expect(signing.privateKey.extractable).toBe(false)
    const other = await createReplicaKey(alg)
    expect(other.replica).not.toBe(replica)
  })

  // Ids are kept on disk and in member lists: another way to derive them would orphan every replica.
  it('gives the id that it always gave', async () => {
    const publicKey = (alg: (typeof algorithms)[number]) =>
      encodeBase64Url(Uint8Array.from({ length: keyBytes[alg] }, (_, index) => index))
    const ids = await Promise.all(algorithms.map((alg) => replicaIdOf({ alg, key: publicKey(alg) })))
    expect(ids).toEqual(['9dda5f34df67126ddb050dd2fba2ac3b', '6e0b2c67f9e489e82d6746a2a851f1a5'])
  })

  it.each(algorithms)('signs announcements, after it was stored as bytes: %s', async (alg) => {
    const { key } = await createReplicaKey(alg)
    const announcement = await signAnnouncement(await imported(key), facts, 'this end')
    expect(await checkAnnouncement(announcement, 'this end')).toBe('proven')
    expect(await checkAnnouncement(announcement, 'another end')).toBe('unproven')
  })

  it('is of a kind that every browser knows when it is new', async () => {
    expect(decodeReplicaKey((await createReplicaKey()).key)?.alg).toBe('P-256')
  })

  it('is called neither right nor wrong by a browser that does not know its kind', async () => {
    const { key } = await createReplicaKey('Ed25519')
    const announcement = await signAnnouncement(await imported(key), facts, 'this end')
    const remember = forgetEd25519()
    try {
      expect(await checkAnnouncement(announcement, 'this end')).toBe('unknown-key')
      await expect(imported(key)).rejects.toMatchObject({ code: 'NotSupported' })
    } finally {
      remember()
    }
  })

  it.each([
    ['its id', 2],
    ['its public half', 20],
    ['its private half', -1],
  ])('is not taken when %s is another', async (_what, at) => {
    const { key } = await createReplicaKey('Ed25519')
    const changed = Uint8Array.from(key)
    const index = at < 0 ? changed.length + at : at
    changed[index] = (changed[index] ?? 0) ^ 1
    await expect(imported(changed)).rejects.toMatchObject({ code: 'InvalidArgument' })
  })

  it('is none where the public key is of another length than its kind has', async () => {
    expect(await replicaIdOf({ alg: 'P-256', key: encodeBase64Url(new Uint8Array(32)) })).toBeUndefined()
    expect(await replicaIdOf({ alg: 'Ed25519', key: '!' })).toBeUndefined()
  })

  it('is decoded from any bytes without throwing, and imported from none but its own', async () => {
    const { key } = await createReplicaKey('P-256')
    const bytes = fc.oneof(
      fc.uint8Array({ maxLength: 300 }),
      fc
        .tuple(fc.nat(key.length - 1), fc.integer({ min: 1, max: 255 }))
        .map(([at, by]) => key.map((byte, index) => (index === at ? byte ^ by : byte))),
      fc.nat(key.length - 1).map((length) => key.slice(0, length)),
    )
    await fc.assert(
      fc.asyncProperty(bytes, async (some) => {
        const stored = decodeReplicaKey(some)
        if (stored === undefined) return
        const outcome = await importReplicaKey(stored).then(
          ({ replica, key: publicKey }) => `${replica} ${publicKey}`,
          (error: { code?: string }) => error.code,
        )
        // What does not matter may differ: PKCS #8 has a public half of its own, which is not looked at.
        const own = await imported(key)
        expect(['InvalidArgument', `${own.replica} ${own.key}`]).toContain(outcome)
      }),
      { numRuns: 300 },
    )
  })
})
