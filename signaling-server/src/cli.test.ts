import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { describe, expect, it, onTestFinished } from 'vitest'
import { main } from './cli.ts'
import { joinedPeer, startServer } from './fixtures.ts'
import { helpText } from './options.ts'

async function run(argv: readonly string[], env: Readonly<Record<string, string>> = {}) {
  let [out, err] = ['', '']
  const code = await main({
    argv,
    env,
    out: (text) => {
      out += text
    },
    err: (text) => {
      err += text
    },
  })
  return { code, out, err }
}

describe('wepaxos-signaling', () => {
  it('prints its help and its version', async () => {
    expect(await run(['--help'])).toEqual({ code: 0, out: helpText(), err: '' })
    expect((await run(['--version'])).out).toMatch(/^\d+\.\d+\.\d+\n$/)
  })

  it('refuses wrong flags and variables with exit code 2 and says what it expected', async () => {
    const flag = await run(['--port', 'x'])
    expect(flag).toMatchObject({ code: 2, out: '' })
    expect(flag.err).toBe('wepaxos-signaling: --port: expected an integer from 0 to 65535, got "x"\n')
    const variable = await run([], { WEPAXOS_SIGNALING_LOG_LEVEL: 'loud' })
    expect(variable.code).toBe(2)
    expect(variable.err).toContain('WEPAXOS_SIGNALING_LOG_LEVEL: expected one of debug, info, silent, got "loud"')
  })

  it('ends with exit code 1 when the port is taken', async () => {
    const { port } = await startServer()
    const taken = await run(['--port', String(port)])
    expect(taken.code).toBe(1)
    expect(taken.err).toContain('EADDRINUSE')
  })

  it('logs its address as JSON, serves, and on SIGTERM drains and ends with 0', async () => {
    const cli = JSON.stringify(new URL('./cli.ts', import.meta.url).href)
    const script = `import { main } from ${cli}; process.exitCode = await main({ argv: process.argv.slice(1), env: {} })`
    const flags = ['--port', '0', '--drain-ms', '50']
    const nodeFlags = ['--import', 'tsx', '--input-type=module', '--eval', script, '--']
    const child = spawn(process.execPath, [...nodeFlags, ...flags], { stdio: ['ignore', 'pipe', 'inherit'] })
    onTestFinished(() => void child.kill('SIGKILL'))
    const ended = new Promise((resolve) => child.once('exit', (code, signal) => resolve({ code, signal })))
    const records: { readonly event: string; readonly url?: string }[] = []
    let url: string | undefined
    for await (const line of createInterface(child.stdout)) {
      const record = JSON.parse(line) as (typeof records)[number]
      records.push(record)
      if (record.event !== 'listening' || record.url === undefined) continue
      url = record.url
      const { peer } = await joinedPeer(url, 'a', 'ada')
      child.kill('SIGTERM')
      await peer.expect('drain')
      expect((await peer.closed).code).toBe(1001)
    }
    expect(url).toMatch(/^ws:\/\/127\.0\.0\.1:\d+\/$/)
    expect(await ended).toEqual({ code: 0, signal: null })
    expect(records.map(({ event }) => event)).toEqual(['listening', 'open-to-every-origin', 'draining', 'closed'])
  }, 20_000)
})
