import { createHash } from 'node:crypto'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInvite, formatInvite, parseInvite, readerInvite } from '@wepaxos/webrtc-transport'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { OptionError, readCommandLine } from './options.ts'
import { readSettings, type Settings } from './settings.ts'

const voter = formatInvite(createInvite())
const secret = voter.slice(6)
let folder = ''

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'wepaxos-edge-settings-'))
})
afterAll(() => rm(folder, { recursive: true, force: true }))

async function settingsOf(flags: Readonly<Record<string, string>>): Promise<Settings> {
  const all = { '--signaling': 'wss://signal.example/', '--data': 'data', ...flags }
  const line = readCommandLine(Object.entries(all).flat(), {})
  if (line.command !== 'run') throw new Error(`expected run, got ${line.command}`)
  return readSettings(line.options, folder)
}

async function problemOf(flags: Readonly<Record<string, string>>): Promise<string> {
  const error: unknown = await settingsOf(flags).catch((reason: unknown) => reason)
  if (!(error instanceof OptionError)) throw new Error('no OptionError')
  return error.message
}

describe('the invite', () => {
  it.each([
    ['a link', `https://app.example/room${voter}`],
    ['a fragment', voter],
    ['a fragment without its #', voter.slice(1)],
  ])('is taken from %s, and its secret is never to be shown', async (_, invite) => {
    const settings = await settingsOf({ '--invite': invite })
    expect(settings.invite).toBe(voter)
    expect(settings.secrets).toEqual([secret])
  })

  it('is read from a file, seen from the current folder', async () => {
    await writeFile(join(folder, 'invite'), `https://app.example/${voter}\n`)
    expect((await settingsOf({ '--invite-file': 'invite' })).invite).toBe(voter)
  })

  it('is refused without being repeated', async () => {
    const cut = await problemOf({ '--invite': voter.slice(0, -3) })
    expect(cut).toContain('--invite: an invite looks like #v1.w.<43 characters>; the secret of this one has 40')
    expect(cut).not.toContain(secret.slice(0, 10))
    await writeFile(join(folder, 'empty'), '\n')
    expect(await problemOf({ '--invite-file': 'empty' })).toContain('--invite-file: ')
    expect(await problemOf({ '--invite-file': 'missing' })).toContain('ENOENT')
  })

  it("of a reader takes --role observer: nobody votes with a reader's link", async () => {
    const reader = formatInvite(await readerInvite(parseInvite(voter)))
    expect(await problemOf({ '--invite': reader })).toContain('use --role observer')
    expect((await settingsOf({ '--invite': reader, '--role': 'observer' })).invite).toBe(reader)
  })
})

describe('STUN and TURN servers', () => {
  it('come from the flag and from a file, whose credentials are never to be shown', async () => {
    const server = { urls: ['turn:t.example:3478'], username: 'me', credential: 'opensesame' }
    await writeFile(join(folder, 'ice.json'), JSON.stringify([server]))
    const settings = await settingsOf({ '--invite': voter, '--ice': 'stun:s.example', '--ice-file': 'ice.json' })
    expect(settings.iceServers).toEqual([{ urls: 'stun:s.example' }, server])
    expect(settings.secrets).toContain('opensesame')
  })

  it.each([
    ['{"urls":"turn:a"}', 'expected an array'],
    ['[{"url":"turn:a"}]', 'expected an array'],
    ['[{"urls":[]}]', 'expected an array'],
    ['[{"urls":"https://a"}]', 'expected an array'],
    ['[{"urls":"turn:a","credential":5}]', 'expected an array'],
    ['[{"urls":"turn:a","credential":"opensesame"]', 'is not JSON'],
  ])('are refused when the file holds %s', async (text, problem) => {
    await writeFile(join(folder, 'bad.json'), text)
    const message = await problemOf({ '--invite': voter, '--ice-file': 'bad.json' })
    expect(message).toContain(`--ice-file: ${problem}`)
    expect(message).not.toContain('opensesame')
  })
})

describe('the signaling address', () => {
  it('keeps its password and its query to itself', async () => {
    const { secrets } = await settingsOf({
      '--invite': voter,
      '--signaling': 'wss://me:open%20sesame@a.example/?t=abc',
    })
    expect(secrets).toEqual([secret, 'open sesame', 'open%20sesame', 't=abc'])
  })
})

describe('the machine', () => {
  it('is the key-value store when none is named', async () => {
    expect((await settingsOf({ '--invite': voter })).machine.name).toBe('kv')
  })

  it.each([
    ['itself', 'export default machine'],
    ['a function that makes it', 'export default () => machine'],
  ])('is taken from a module that exports %s', async (_, line) => {
    const file = `machine-${createHash('sha256').update(line).digest('hex')}.mjs`
    const machine = "const machine = { name: 'seats', version: 2, commands: {}, queries: {}, footprint: {} }"
    await writeFile(join(folder, file), `${machine}\n${line}\n`)
    expect((await settingsOf({ '--invite': voter, '--machine': `./${file}` })).machine).toMatchObject({ name: 'seats' })
  })

  it.each([
    ['export const machine = {}', 'expected a default export made by defineMachine'],
    ['export default { name: 1 }', 'expected a default export made by defineMachine'],
    ["throw new Error('broken')", 'can not be loaded: broken'],
  ])('is refused when its module is: %s', async (text, problem) => {
    const file = `bad-${createHash('sha256').update(text).digest('hex')}.mjs`
    await writeFile(join(folder, file), text)
    expect(await problemOf({ '--invite': voter, '--machine': `./${file}` })).toContain(`--machine: ${problem}`)
  })

  it('is refused when there is no such module', async () => {
    expect(await problemOf({ '--invite': voter, '--machine': 'no-such-package' })).toContain('--machine: can not be')
  })
})

describe('the address of the health server', () => {
  it.each([
    ['127.0.0.1:0', { host: '127.0.0.1', port: 0 }],
    ['[::1]:9464', { host: '::1', port: 9_464 }],
    ['off', undefined],
  ])('is read from %s', async (text, address) => {
    expect((await settingsOf({ '--invite': voter, '--http': text })).http).toEqual(address)
  })
})
