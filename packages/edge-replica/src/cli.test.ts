import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInvite, formatInvite } from '@wepaxos/webrtc-transport'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { main } from './cli.ts'
import { openDataFolder } from './data-folder.ts'
import { helpText } from './options.ts'

const invite = formatInvite(createInvite())
let folder = ''

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'wepaxos-edge-cli-'))
  await writeFile(join(folder, 'invite'), invite)
})
afterAll(() => rm(folder, { recursive: true, force: true }))

async function run(argv: readonly string[], env: Readonly<Record<string, string>> = {}) {
  let [out, err] = ['', '']
  const code = await main({
    argv,
    env,
    folder,
    out: (text) => {
      out += text
    },
    err: (text) => {
      err += text
    },
  })
  return { code, out, err }
}

const signaling = ['--signaling', 'ws://127.0.0.1:1/'] as const

describe('wepaxos-edge', () => {
  it('prints its help and its version', async () => {
    expect(await run(['--help'])).toEqual({ code: 0, out: helpText(), err: '' })
    expect((await run(['--version'])).out).toMatch(/^\d+\.\d+\.\d+\n$/)
  })

  it('refuses wrong flags, variables and files with exit code 2, a message, and no secret', async () => {
    expect(await run(['--http', 'x'])).toEqual({
      code: 2,
      out: '',
      err: 'wepaxos-edge: --http: expected HOST:PORT such as 127.0.0.1:9464, or off, got "x"\n',
    })
    const variable = await run([], { WEPAXOS_EDGE_LOG_LEVEL: 'loud' })
    expect(variable).toMatchObject({ code: 2, out: '' })
    expect(variable.err).toContain('WEPAXOS_EDGE_LOG_LEVEL: expected one of debug, info, warn, silent, got "loud"')
    const cut = await run(['--invite', invite.slice(0, -1), ...signaling, '--data', join(folder, 'data')])
    expect(cut).toMatchObject({ code: 2, out: '' })
    expect(cut.err).toMatch(/^wepaxos-edge: --invite: an invite looks like/)
    expect(cut.err).not.toContain(invite.slice(6, 20))
  })

  it('ends with exit code 1 when its port is taken', async () => {
    const other = createServer()
    await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve))
    onTestFinished(() => void other.close())
    const address = other.address()
    if (address === null || typeof address === 'string') throw new Error('no port')
    const flags = ['--invite-file', 'invite', ...signaling, '--data', join(folder, 'data')]
    const taken = await run([...flags, '--http', `127.0.0.1:${address.port}`])
    expect(taken.code).toBe(1)
    expect(taken.err).toContain('EADDRINUSE')
    expect(JSON.parse(taken.out)).toMatchObject({ event: 'failed', level: 'warn' })
  })

  it('ends with exit code 1 while another process holds the folder', async () => {
    const data = join(folder, 'held')
    const holder = await openDataFolder(data)
    onTestFinished(() => holder.close())
    const flags = ['--invite-file', 'invite', ...signaling, '--data', data, '--http', 'off']
    const held = await run(flags)
    expect(held).toMatchObject({ code: 1, err: `wepaxos-edge: another process holds ${data}\n` })
  })
})
