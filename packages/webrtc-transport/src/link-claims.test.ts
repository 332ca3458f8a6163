import { beforeEach, describe, expect, it } from 'vitest'
import { settle } from '../testing/manual-clock.ts'
import { forgetEd25519 } from '../testing/old-browser.ts'
import { createReplica } from '../testing/replicas.ts'
import { signAnnouncement } from './announcement.ts'
import type { Announcement } from './control-message.ts'
import { heldMessagesMax, LinkClaims } from './link-claims.ts'
import { decodeReplicaKey, importReplicaKey } from './replica-key.ts'

const replica = await createReplica()
const stored = decodeReplicaKey(replica.key) ?? expect.unreachable()
const key = await importReplicaKey(stored)

function announcement(channel = 16, end = 'theirs'): Promise<Announcement> {
  return signAnnouncement(key, { channel, partition: 'main', sinceMs: 1 }, end)
}

const message = (sender: number, byte: number, length = 1) => ({
  channel: 16,
  sender,
  bytes: new Uint8Array(length).fill(byte),
})

describe('the claims of a link', () => {
  let link: { isOpen: boolean; proven: { binding: { own: string; theirs: string } } }
  let claims: LinkClaims<typeof link>
  let events: string[]

  beforeEach(() => {
    link = { isOpen: true, proven: { binding: { own: 'own', theirs: 'theirs' } } }
    events = []
    claims = new LinkClaims({
      session: link,
      heldBytesMax: 1_000,
      onVerified: ({ channel }, held) => events.push(`verified ${channel}`, ...held.map(({ bytes }) => `${bytes[0]}`)),
      onRefused: ({ channel }) => events.push(`refused ${channel}`),
      onUnknownKey: ({ channel }) => events.push(`unknown key ${channel}`),
    })
  })

  it('count when they are verified, with what was held back for them, in order', async () => {
    expect(claims.announced(await announcement())).toBe(true)
    for (const byte of [1, 2, 3]) expect(claims.hold(message(16, byte))).toBe(true)
    expect([claims.verified, claims.verifiedAt(16)]).toEqual([[], undefined])
    await settle()
    expect(events).toEqual(['verified 16', '1', '2', '3'])
    expect(claims.verified.map((claim) => claim.replica)).toEqual([replica.replica])
    expect(claims.verifiedAt(16)).toMatchObject({ channel: 16, partition: 'main', sinceMs: 1 })
  })

  it('are refused when they are signed for another end, and leave nothing', async () => {
    claims.announced(await announcement(16, 'own'))
    claims.hold(message(16, 1, 900))
    await settle()
    expect([events, claims.verified]).toEqual([['refused 16'], []])
    // Its number is free again, and so is the room.
    expect(claims.announced(await announcement())).toBe(true)
    expect(claims.hold(message(16, 2, 900))).toBe(true)
    await settle()
    expect(events).toEqual(['refused 16', 'verified 16', '2'])
  })

  it('neither count nor are refused where the kind of the key is not known, and nothing is heard under them', async () => {
    const remember = forgetEd25519()
    try {
      claims.announced(await announcement())
      claims.hold(message(16, 1, 900))
      await settle()
    } finally {
      remember()
    }
    expect([events, claims.verified, claims.verifiedAt(16)]).toEqual([['unknown key 16'], [], undefined])
    // What is said under it is dropped, and takes no room.
    for (let count = 0; count < 3; count += 1) expect(claims.hold(message(16, 2, 900))).toBe(true)
    expect(claims.hasUnknownKey).toBe(true)
    claims.withdrawn(16)
    expect(claims.hasUnknownKey).toBe(false)
  })

  it('hold back so many bytes together, and not more', async () => {
    const [one, other] = [await announcement(16), await announcement(17)]
    claims.announced(one)
    claims.announced(other)
    expect(claims.hold(message(16, 1, 600))).toBe(true)
    expect(claims.hold(message(17, 1, 400))).toBe(true)
    expect(claims.hold(message(17, 1, 1))).toBe(false)
  })

  it('hold back so many messages, and not more', async () => {
    claims.announced(await announcement())
    for (let count = 0; count < heldMessagesMax; count += 1) expect(claims.hold(message(16, 1, 0))).toBe(true)
    expect(claims.hold(message(16, 1, 0))).toBe(false)
  })

  it('give back the room of what was delivered, and of what was withdrawn', async () => {
    for (let round = 0; round < 5; round += 1) {
      claims.announced(await announcement())
      expect(claims.hold(message(16, 1, 900))).toBe(true)
      if (round % 2 === 0) await settle()
      claims.withdrawn(16)
    }
    expect(claims.verified).toEqual([])
  })

  it('keep nothing of a number under which nothing was announced', async () => {
    expect(claims.hold(message(20, 1, 5_000))).toBe(true)
    claims.announced(await announcement(20))
    await settle()
    expect(events).toEqual(['verified 20'])
  })

  it('do not count when they were withdrawn meanwhile, though another one came under their number', async () => {
    claims.announced(await announcement(16))
    claims.hold(message(16, 1))
    claims.withdrawn(16)
    claims.announced(await announcement(16, 'own'))
    claims.hold(message(16, 2))
    await settle()
    expect([events, claims.verified]).toEqual([['refused 16'], []])
  })

  it('tell nothing any more once the link is closing, or gone', async () => {
    claims.announced(await announcement(16))
    link.isOpen = false
    await settle()
    link.isOpen = true
    claims.announced(await announcement(17))
    claims.end()
    await settle()
    expect([events, claims.verified]).toEqual([[], []])
  })

  it('are not verified without end, when they are withdrawn again and again', async () => {
    const one = await announcement()
    const again = () => {
      const isTaken = claims.announced(one)
      claims.withdrawn(16)
      return isTaken
    }
    for (let count = 0; count < 256; count += 1) expect(again()).toBe(true)
    expect(again()).toBe(false)
    await settle()
    expect(again()).toBe(true)
  })

  it('have a number each, and are not endless', async () => {
    const first = await announcement()
    expect([claims.announced(first), claims.announced(first)]).toEqual([true, false])
    for (let channel = 17; channel < 16 + 256; channel += 1) expect(claims.announced({ ...first, channel })).toBe(true)
    expect(claims.announced({ ...first, channel: 999 })).toBe(false)
    await settle()
  })
})
