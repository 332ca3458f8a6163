import { describe, expect, it } from 'vitest'
import {
  createInvite,
  deriveRoomKeys,
  formatInvite,
  type Invite,
  parseInvite,
  passwordInvite,
  readerInvite,
} from './invite.ts'

const known: Invite = { role: 'voter', secret: Uint8Array.from({ length: 32 }, (_, index) => index) }
const knownText = '#v1.w.AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8'

describe('an invite', () => {
  it('is written as v1, its kind and 32 bytes in base64url', () => {
    expect(formatInvite(known)).toBe(knownText)
  })

  it('is read from a fragment with or without #, and from a whole link', () => {
    const texts = [knownText, knownText.slice(1), `https://app.example/seats?x=1${knownText}`, ` ${knownText}\n`]
    for (const text of texts) expect(parseInvite(text)).toEqual(known)
  })

  it('comes back from its text, for voters and for readers', async () => {
    const voter = createInvite()
    const reader = await readerInvite(voter)
    expect(parseInvite(formatInvite(voter))).toEqual(voter)
    expect(parseInvite(formatInvite(reader))).toEqual(reader)
    expect(formatInvite(reader)).toMatch(/^#v1\.r\./)
  })

  it.each([
    ['', 'empty'],
    ['#', 'empty'],
    ['https://app.example/', 'no part after a #'],
    [knownText.replace('v1', 'v2'), 'does not begin with v1'],
    [knownText.replace('.w.', '.x.'), 'w (for voters) or r (for readers)'],
    ['#v1.w', 'no secret'],
    ['#v1.w.', 'no secret'],
    [`${knownText}.more`, 'after the secret'],
    [knownText.slice(0, -1), '42 characters'],
    [`${knownText}AA`, '45 characters'],
    [`${knownText.slice(0, -1)}9`, 'not base64url'],
    [`${knownText.slice(0, -1)}!`, 'not base64url'],
    [`#v1.w.${'A'.repeat(1_000)}`, '1000 characters'],
  ])('%j is refused, saying what is wrong with it', (text, problem) => {
    expect(() => parseInvite(text)).toThrow(
      expect.objectContaining({ code: 'InvalidInvite', message: expect.stringContaining(problem) }),
    )
  })

  it('never puts its secret into an error', () => {
    try {
      parseInvite(`${knownText}.more`)
      expect.unreachable()
    } catch (error) {
      expect(String(error)).not.toContain(knownText.slice(6, 20))
    }
  })
})

describe('an invite made from a name and a password', () => {
  it('is the same for everybody who knows both, today and in later versions', async () => {
    const invite = await passwordInvite('retro', 'correct horse battery staple')
    expect(formatInvite(invite)).toMatchInlineSnapshot(`"#v1.w.V5e8tA-Z9luU4FlJ2zFEqSnFdWOBGkWQdvc7pnIGdDM"`)
    expect(await passwordInvite('retro', 'correct horse battery staple')).toEqual(invite)
    expect(parseInvite(formatInvite(invite))).toEqual(invite)
  })

  it('is another one for another name or another password', async () => {
    const made = [
      await passwordInvite('retro', 'pass'),
      await passwordInvite('retro', 'Pass'),
      await passwordInvite('retro ', 'pass'),
      await passwordInvite('retr', 'opass'),
    ]
    expect(new Set(made.map(formatInvite)).size).toBe(4)
  })

  it('does not depend on how letters with accents were typed', async () => {
    expect(await passwordInvite('caf\u00e9', 'se\u0301same')).toEqual(await passwordInvite('cafe\u0301', 's\u00e9same'))
  })

  it.each([
    ['', 'password'],
    ['name', ''],
  ])('needs both: %j and %j are refused', async (name, password) => {
    await expect(passwordInvite(name, password)).rejects.toMatchObject({ code: 'InvalidArgument' })
  })
})

describe('the room of an invite', () => {
  it('has the name that the secret gives, today and in later versions', async () => {
    expect((await deriveRoomKeys(known)).room).toMatchInlineSnapshot(`"Ok2fyQ6oIOneFU8hxjvxQ36GxHmYQQvI"`)
  })

  it('is the same for the voter link and the reader link, which can not be turned into each other', async () => {
    const voter = createInvite()
    const reader = await readerInvite(voter)
    expect((await deriveRoomKeys(reader)).room).toBe((await deriveRoomKeys(voter)).room)
    expect(reader.secret).not.toEqual(voter.secret)
    expect(await readerInvite(reader)).toEqual(reader)
    const posing: Invite = { role: 'voter', secret: reader.secret }
    expect((await deriveRoomKeys(posing)).room).not.toBe((await deriveRoomKeys(voter)).room)
  })

  it('has a name that the signaling server takes, another one for each secret', async () => {
    const names = await Promise.all([1, 2, 3, 4].map(async () => (await deriveRoomKeys(createInvite())).room))
    for (const name of names) expect(name).toMatch(/^[A-Za-z0-9_-]{16,64}$/)
    expect(new Set(names).size).toBe(names.length)
  })
})
