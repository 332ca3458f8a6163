// wss:// by the server itself, without a proxy.
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { connect as connectTls, type PeerCertificate } from 'node:tls'
import { describe, expect, it, vi } from 'vitest'
import { joinedPeer, openTcp, startServer, temporaryFile, testCertificate } from './fixtures.ts'
import { createSignalingServer } from './server.ts'

function nameShownBy(port: number): Promise<PeerCertificate['subject']> {
  return new Promise((resolve, reject) => {
    const socket = connectTls({ port, host: '127.0.0.1', rejectUnauthorized: false }, () => {
      resolve(socket.getPeerCertificate().subject)
      socket.destroy()
    })
    socket.on('error', reject)
  })
}

describe('--cert and --key', () => {
  it('make it speak wss:// to who trusts the certificate', async () => {
    const file = testCertificate(1)
    const { url } = await startServer({ cert: file, key: file })
    expect(url).toMatch(/^wss:\/\/127\.0\.0\.1:\d+\/$/)
    await joinedPeer(url, 'a', 'ada', { ca: readFileSync(file) })
    await expect(joinedPeer(url, 'a', 'bob')).rejects.toThrow('self-signed')
    await expect(joinedPeer(url.replace('wss:', 'ws:'), 'a', 'bob')).rejects.toThrow()
  })

  it('are read anew when asked to, and the old ones stay when the new ones are none', async () => {
    const file = temporaryFile(readFileSync(testCertificate(1), 'utf8'))
    const { port, server } = await startServer({ cert: file, key: file })
    expect((await nameShownBy(port)).CN).toBe('wepaxos test 1')
    await writeFile(file, readFileSync(testCertificate(2)))
    server.reloadCertificate()
    expect((await nameShownBy(port)).CN).toBe('wepaxos test 2')
    await writeFile(file, 'half a certificate')
    expect(() => server.reloadCertificate()).toThrow('cert: expected a certificate')
    expect((await nameShownBy(port)).CN).toBe('wepaxos test 2')
  })

  it('a connection that does not finish its handshake is ended', async () => {
    const file = testCertificate(1)
    const running = await startServer({ cert: file, key: file, headersTimeoutMs: 50 })
    const { ended } = openTcp(running)
    expect(await ended).toBe('')
  })

  it('a connection makes place for another of its address when it ends, with or without a handshake', async () => {
    const file = testCertificate(1)
    const running = await startServer({ cert: file, key: file, addressSocketsMax: 1, addressSpareConnections: 1 })
    for (let times = 0; times < 3; times++) {
      await vi.waitFor(() => nameShownBy(running.port), { timeout: 10_000 })
      const { socket, ended } = openTcp(running)
      await once(socket, 'connect')
      socket.destroy()
      await ended
    }
    const shown = await vi.waitFor(() => nameShownBy(running.port), { timeout: 10_000 })
    expect(shown.CN).toBe('wepaxos test 1')
  })

  it.each([
    ['only one of them', { cert: testCertificate(1) }],
    ['a file that is not there', { cert: '/nowhere/at/all', key: testCertificate(1) }],
    ['files that are no PEM', { cert: import.meta.filename, key: import.meta.filename }],
    ["a key that is another certificate's", { cert: testCertificate(1), key: testCertificate(2) }],
  ])('%s can not be: a typed error that does not repeat their contents', (_, settings) => {
    expect(() => createSignalingServer(settings)).toThrow(expect.objectContaining({ code: 'InvalidArgument' }))
  })
})
