import { describe, expect, it } from 'vitest'
import { checkIceServers, decodeIceServers } from './ice-servers.ts'

const credentials = { username: 'user', credential: 'secret' }

describe('the ICE servers that a signaling server names', () => {
  it.each([
    [{ urls: ['stun:stun.example:3478'] }],
    [{ urls: ['stuns:stun.example'] }],
    [{ urls: ['turn:turn.example:3478?transport=udp', 'turns:turn.example:443?transport=tcp'], ...credentials }],
    [{ urls: ['turn:turn.example'], username: 'é'.repeat(254), credential: 'secret' }],
    [{ urls: ['turn:192.0.2.1', 'turn:[2001:db8::1]:3478'], ...credentials }],
  ])('are taken as they come: %o', (server) => {
    expect(decodeIceServers([server])).toEqual([server])
  })

  it('may be named by one address alone, as in RTCIceServer, and bring nothing else along', () => {
    const [server] = decodeIceServers([{ urls: 'stun:stun.example', credentialType: 'oauth', more: 1 }])
    expect(server).toEqual({ urls: ['stun:stun.example'] })
  })

  it.each([
    [undefined],
    [null],
    ['turn:turn.example'],
    [{ 0: { urls: ['stun:stun.example'] } }],
    [[null, 5, 'stun:stun.example', [], {}, { urls: 5 }, { urls: [] }, { urls: [5] }]],
    [[{ urls: ['turn:turn.example'] }]],
    [[{ urls: ['turn:turn.example'], username: 'user', credential: 5 }]],
    [[{ urls: ['turn:turn.example'], username: 'x'.repeat(510), credential: 'secret' }]],
    [[{ urls: ['turn:turn.example'], username: 'é'.repeat(255), credential: 'secret' }]],
    [[{ urls: ['turn:turn.example'], username: 'user', credential: 'x'.repeat(1_025) }]],
    [[{ urls: ['https://stun.example'] }]],
    [[{ urls: ['stun:stun.example:0'] }]],
    [[{ urls: ['stun:stun.example:65536'] }]],
    [[{ urls: ['stun:stun.example?transport=udp'] }]],
    [[{ urls: ['stun:stun .example'] }]],
    [[{ urls: ['stun:'] }]],
    [[{ urls: ['stun:[::::]'] }]],
    [[{ urls: [`stun:${'a'.repeat(300)}`] }]],
  ])('are none in %o', (value) => {
    expect(decodeIceServers(value)).toEqual([])
  })

  it('are used where they can be, whatever stands beside them', () => {
    const stun = { urls: ['stun:stun.example'] }
    expect(decodeIceServers([null, { urls: ['nonsense', ...stun.urls], ...credentials }, stun])).toEqual([
      { ...stun, ...credentials },
      stun,
    ])
  })

  it('are eight at most, with eight addresses each', () => {
    const urls = Array.from({ length: 20 }, (_, index) => `stun:stun-${index}.example`)
    const servers = decodeIceServers(Array.from({ length: 20 }, () => ({ urls })))
    expect(servers.map((server) => server.urls.length)).toEqual([8, 8, 8, 8, 8, 8, 8, 8])
  })
})

describe('the ICE servers that an application gives', () => {
  it.each([
    [[]],
    [[{ urls: 'stun:stun.example' }, { urls: ['turn:turn.example', 'stun:stun.example'], ...credentials }]],
    // More than a signaling server may name: browsers complain, and take them.
    [Array.from({ length: 20 }, () => ({ urls: 'stun:stun.example' }))],
  ])('are taken: %o', (servers) => {
    expect(() => checkIceServers(servers)).not.toThrow()
  })

  it.each([
    ['a list', 'stun:stun.example'],
    ['0', [null]],
    ['0', [{}]],
    ['0', [{ urls: [] }]],
    ['0', [{ urls: 'turn:turn.example' }]],
    ['0', [{ urls: 'turn:turn.example', username: 'x'.repeat(510), credential: 'secret' }]],
    ['1', [{ urls: 'stun:stun.example' }, { urls: ['stun:stun.example', 'https://stun.example'] }]],
  ])('are refused, and it is said where, without their credentials: %s %o', (where, servers) => {
    const refused = { code: 'InvalidArgument', message: expect.stringContaining(where) }
    expect(() => checkIceServers(servers as RTCIceServer[])).toThrow(expect.objectContaining(refused))
    expect(() => checkIceServers(servers as RTCIceServer[])).not.toThrow(/secret/)
  })
})
