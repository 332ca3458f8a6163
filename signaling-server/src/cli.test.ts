import { readFileSync, writeFileSync } from 'node:fs'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { startServerProcess } from '../testing/server-process.ts'
import { main } from './cli.ts'
import { joinedPeer, startServer, temporaryFile, testCertificate } from './fixtures.ts'
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

  it('refuses with exit code 2 settings that do not fit each other, or name files that are not there', async () => {
    expect((await run(['--cert', '/nowhere/cert.pem'])).err).toContain('expected cert and key together')
    const missing = await run(['--jwt-secret-file', '/nowhere/secret'])
    expect(missing).toMatchObject({ code: 2, out: '' })
    expect(missing.err).toContain('can not read the file: ENOENT')
    expect(await run(['--jwt-jwks', 'https://['])).toMatchObject({ code: 2, out: '' })
  })

  it('ends with exit code 1 when Redis does not answer', async () => {
    const { code, err } = await run(['--port', '0', '--redis-url', 'redis://127.0.0.1:1'])
    expect(code).toBe(1)
    expect(err).toContain('can not listen: Redis: ')
  })

  it('logs its address as JSON, serves, and on SIGTERM drains and ends with 0', async () => {
    const server = await startServerProcess(['--drain-ms', '50', '--retry-after-ms', '7'])
    onTestFinished(() => server.kill('SIGKILL'))
    expect(server.url).toMatch(/^ws:\/\/127\.0\.0\.1:\d+\/$/)
    const { peer } = await joinedPeer(server.url, 'a', 'ada')
    server.kill('SIGTERM')
    expect(await peer.expect('drain')).toEqual({ type: 'drain', retryAfterMs: 7 })
    expect((await peer.closed).code).toBe(1001)
    expect(await server.ended).toEqual({ code: 0, signal: null })
    const events = server.records.map(({ event }) => event)
    expect(events).toEqual(['listening', 'open-to-every-origin', 'draining', 'closed'])
  })

  it('does not wait for the peers after a second SIGTERM', async () => {
    const server = await startServerProcess(['--drain-ms', '600000'])
    onTestFinished(() => server.kill('SIGKILL'))
    const { peer } = await joinedPeer(server.url, 'a', 'ada')
    server.kill('SIGTERM')
    await peer.expect('drain')
    server.kill('SIGTERM')
    expect((await peer.closed).code).toBe(1001)
    expect(await server.ended).toEqual({ code: 0, signal: null })
  })

  it('reads its certificate anew on SIGHUP, keeps the old one when there is none, and goes on', async () => {
    const file = temporaryFile(readFileSync(testCertificate(1), 'utf8'))
    const server = await startServerProcess(['--cert', file, '--key', file])
    onTestFinished(() => server.kill('SIGKILL'))
    const logged = (event: string) =>
      vi.waitFor(() => expect(server.records).toContainEqual(expect.objectContaining({ event })))
    await joinedPeer(server.url, 'a', 'ada', { ca: readFileSync(testCertificate(1)) })
    writeFileSync(file, readFileSync(testCertificate(2)))
    server.kill('SIGHUP')
    await logged('certificate-read')
    const trusting = { ca: readFileSync(testCertificate(2)) }
    await joinedPeer(server.url, 'a', 'bob', trusting)
    writeFileSync(file, 'half a certificate')
    server.kill('SIGHUP')
    await logged('certificate-refused')
    await joinedPeer(server.url, 'a', 'cyd', trusting)
  })
})
