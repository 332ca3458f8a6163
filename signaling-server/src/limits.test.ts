// Each limit of the option table, proven by the test that bears its name. The type makes a new option either a limit with
// its proof, or one of the few that are none.
import { describe, expect, it, vi } from 'vitest'
import { joinedPeer, openPeer, openTcp, peerId, roomId, startServer, TestPeer, upgradeText } from './fixtures.ts'
import type { OptionName } from './options.ts'

type NoLimit =
  | 'host'
  | 'port'
  | 'path'
  | 'cert'
  | 'key'
  | 'yWebrtcPath'
  | 'jwtSecretFile'
  | 'jwtJwks'
  | 'jwtIssuer'
  | 'jwtAudience'
  | 'turnSecretFile'
  | 'turnUrls'
  | 'turnTtl'
  | 'redisUrl'
  | 'redisPrefix'
  | 'redisProcessTimeoutMs'
  | 'logLevel'
  | 'resumeMs'
  | 'drainMs'
  | 'retryAfterMs'

interface Proof {
  readonly says: string
  run(): Promise<void>
}

const [ada, bob] = [peerId('ada'), peerId('bob')]
const hello = { type: 'hello', room: roomId('a'), id: ada }
const from = (address: string) => ({ headers: { 'x-forwarded-for': address } })

/** One peer more than the limits allow: how it is sent away. */
async function oneMore(url: string, room: string) {
  const late = new TestPeer(url)
  late.socket.on('open', () => late.say({ type: 'hello', room: roomId(room), id: peerId('cyd') }))
  return late.closed
}

const proofs: { readonly [Limit in Exclude<OptionName, NoLimit>]: Proof } = {
  payloadBytesMax: {
    says: 'a message that is one byte longer is refused with 1009, one that just fits is read',
    async run() {
      const { url, server } = await startServer({ payloadBytesMax: 256 })
      const fits = await openPeer(url)
      fits.sayRaw('x'.repeat(256))
      expect((await fits.closed).code).toBe(4400)
      const tooBig = await openPeer(url)
      tooBig.sayRaw('x'.repeat(257))
      expect((await tooBig.closed).code).toBe(1009)
      expect(server.metrics.refusals('too-big')).toBe(1)
    },
  },
  fragmentsMax: {
    says: 'a message in one fragment more is refused with 1008, however small and endless',
    async run() {
      const { url, server } = await startServer({ fragmentsMax: 2 })
      const peer = await openPeer(url)
      for (const _ of [1, 2, 3]) peer.socket.send('x', { fin: false })
      expect((await peer.closed).code).toBe(1008)
      expect(server.metrics.refusals('too-many-fragments')).toBe(1)
    },
  },
  headersTimeoutMs: {
    says: 'a connection that sends no headers, or a letter at a time, is ended',
    async run() {
      const running = await startServer({ headersTimeoutMs: 50 })
      const silent = openTcp(running)
      const slow = openTcp(running)
      slow.socket.write('GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ')
      const trickle = setInterval(() => slow.socket.write('x'), 5)
      expect(await slow.ended).toContain('408 Request Timeout')
      clearInterval(trickle)
      await silent.ended
    },
  },
  firstMessageTimeoutMs: {
    says: 'a socket that says nothing is closed with 1008, though it answers pings',
    async run() {
      const { url } = await startServer({ firstMessageTimeoutMs: 50, pingIntervalMs: 10 })
      expect(await new TestPeer(url).closed).toEqual({ code: 1008, reason: 'hello-timeout' })
    },
  },
  authorizeTimeoutMs: {
    says: 'a hook that does not answer in time lets nobody in: 1013',
    async run() {
      const { url, records } = await startServer({
        authorize: () => new Promise(() => undefined),
        authorizeTimeoutMs: 20,
      })
      const peer = await openPeer(url)
      peer.say(hello)
      expect(await peer.closed).toEqual({ code: 1013, reason: 'server-trouble' })
      expect(records.some(({ event, reason }) => event === 'authorize-failed' && reason === 'timeout')).toBe(true)
    },
  },
  pingIntervalMs: {
    says: 'a peer that answers the pings stays, for as long as it does',
    async run() {
      const { url } = await startServer({ pingIntervalMs: 10, pingMissesMax: 10 })
      const { peer } = await joinedPeer(url, 'a', 'ada')
      let pings = 0
      await new Promise<void>((resolve) => {
        peer.socket.on('ping', () => {
          pings += 1
          if (pings === 30) resolve()
        })
      })
      expect(await peer.hearsNothingElse()).toBe(true)
    },
  },
  pingMissesMax: {
    says: 'a peer that misses two pings is dropped, and its room hears of it',
    async run() {
      const { url, server } = await startServer({ pingIntervalMs: 50, pingMissesMax: 2 })
      const { peer: alive } = await joinedPeer(url, 'a', 'ada')
      const { peer: silent } = await joinedPeer(url, 'a', 'bob', { autoPong: false })
      let pings = 0
      silent.socket.on('ping', () => {
        pings += 1
      })
      await alive.expect('peer-joined')
      expect(await alive.expect('peer-left')).toMatchObject({ id: bob, reason: 'gone' })
      expect((await silent.closed).code).toBe(1006)
      expect(pings).toBe(2)
      expect(server.metrics.refusals('silent')).toBe(1)
      expect(await alive.hearsNothingElse()).toBe(true)
    },
  },
  bufferedBytesMax: {
    says: 'a peer that does not read is dropped before the server holds more than the limit for it',
    async run() {
      const { url, server } = await startServer({
        bufferedBytesMax: 32_768,
        messagesPerSecond: 10_000,
        messagesBurst: 100_000,
      })
      const { peer: sender } = await joinedPeer(url, 'a', 'ada')
      const { peer: reader } = await joinedPeer(url, 'a', 'bob')
      await sender.expect('peer-joined')
      reader.socket.pause()
      const left = sender.expect('peer-left')
      let isLeft = false
      void left.finally(() => {
        isLeft = true
      })
      const text = JSON.stringify({ type: 'signal', to: bob, data: 'x'.repeat(16_000) })
      while (!isLeft) await new Promise((resolve) => sender.socket.send(text, resolve))
      expect(await left).toMatchObject({ id: bob, reason: 'gone' })
      expect(server.metrics.refusals('slow-reader')).toBe(1)
    },
  },
  messagesPerSecond: {
    says: 'a socket that sends faster in the long run is closed with 4429',
    async run() {
      const { url } = await startServer({ messagesBurst: 3, messagesPerSecond: 1 })
      const { peer } = await joinedPeer(url, 'a', 'ada')
      for (let sent = 0; sent < 100; sent++) peer.say({ type: 'ping' })
      expect(await peer.closed).toEqual({ code: 4429, reason: 'too-many-messages' })
    },
  },
  messagesBurst: {
    says: 'so many at once are answered, and a flood of WebSocket pings is a flood too',
    async run() {
      const { url } = await startServer({ messagesBurst: 10, messagesPerSecond: 1 })
      const { peer } = await joinedPeer(url, 'a', 'ada')
      for (let sent = 1; sent < 10; sent++) peer.say({ type: 'ping' })
      for (let sent = 1; sent < 10; sent++) await peer.expect('pong')
      for (let sent = 0; sent < 1_000; sent++) peer.socket.ping()
      expect((await peer.closed).code).toBe(4429)
    },
  },
  addressSocketsMax: {
    says: 'one address may hold only so many sockets, an IPv6 /64 counts as one, and each closed one makes place',
    async run() {
      const { url, server } = await startServer({ addressSocketsMax: 1, trustedProxies: ['127.0.0.1'] })
      const refused = { code: 4429, reason: 'too-many-sockets' }
      const first = await openPeer(url, from('2001:db8:0:1::1'))
      await openPeer(url, from('2001:db8:0:2::1'))
      expect(await new TestPeer(url, from('2001:db8:0:1::ffff')).closed).toEqual(refused)
      first.socket.close(1000)
      await vi.waitFor(() => expect(server.gauges().sockets).toBe(1))
      await openPeer(url, from('2001:db8:0:1::ffff'))
    },
  },
  addressConnectsPerMinute: {
    says: 'one address may connect only so often in a minute, an IPv6 /64 counts as one',
    async run() {
      const { url } = await startServer({ addressConnectsPerMinute: 2, trustedProxies: ['127.0.0.1'] })
      await openPeer(url, from('2001:db8:0:1::1'))
      await openPeer(url, from('2001:db8:0:1::2'))
      const refused = { code: 4429, reason: 'too-many-connects' }
      expect(await new TestPeer(url, from('2001:db8:0:1::3')).closed).toEqual(refused)
      await openPeer(url, from('2001:db8:0:2::1'))
    },
  },
  addressSpareConnections: {
    says: 'one address may hold only so many connections that say nothing, and each closed one makes place; a proxy may hold all',
    async run() {
      const limits = { addressSocketsMax: 1, addressSpareConnections: 2, headersTimeoutMs: 60_000 }
      const running = await startServer(limits)
      const taken = [1, 2, 3].map(() => openTcp(running))
      expect(await openTcp(running).ended).toBe('')
      expect(running.server.metrics.refusals('too-many-connections')).toBe(1)
      taken[0]?.socket.destroy()
      await vi.waitFor(() => openPeer(running.url), { timeout: 10_000 })
      const behind = await startServer({ ...limits, trustedProxies: ['127.0.0.1'] })
      for (let opened = 0; opened < 10; opened++) openTcp(behind)
      await openPeer(behind.url, from('192.0.2.1'))
    },
  },
  trustedProxies: {
    says: 'behind one each client counts for itself; from anybody else the forwarded address counts for nothing',
    async run() {
      const behind = await startServer({ addressSocketsMax: 1, trustedProxies: ['127.0.0.1'] })
      await openPeer(behind.url, from('192.0.2.1'))
      await openPeer(behind.url, from('192.0.2.2'))
      expect((await new TestPeer(behind.url, from('203.0.113.5, 192.0.2.1')).closed).code).toBe(4429)
      const open = await startServer({ addressSocketsMax: 1 })
      await openPeer(open.url, from('192.0.2.1'))
      expect((await new TestPeer(open.url, from('192.0.2.2')).closed).code).toBe(4429)
    },
  },
  origins: {
    says: 'only pages of the named origins, compared exactly, may connect: else 4403',
    async run() {
      const { url } = await startServer({ origins: ['https://app.example'] })
      const closedFor = (origin: string) => new TestPeer(url, { headers: { origin } }).closed
      const refused = { code: 4403, reason: 'origin-refused' }
      const others = ['https://app.example.evil.example', 'http://app.example', 'https://app.example:444', 'null']
      for (const origin of others) expect(await closedFor(origin)).toEqual(refused)
      expect(await new TestPeer(url).closed).toEqual(refused)
      await joinedPeer(url, 'a', 'ada', { headers: { origin: 'https://app.example' } })
    },
  },
  roomSocketsMax: {
    says: 'a room holds only so many: one more is asked to come later',
    async run() {
      const { url } = await startServer({ roomSocketsMax: 2 })
      await joinedPeer(url, 'a', 'ada')
      await joinedPeer(url, 'a', 'bob')
      expect(await oneMore(url, 'a')).toEqual({ code: 1013, reason: 'room-full' })
      await joinedPeer(url, 'b', 'cyd')
    },
  },
  socketsMax: {
    says: 'the server holds only so many: one more is asked to come later',
    async run() {
      const { url } = await startServer({ socketsMax: 2 })
      await joinedPeer(url, 'a', 'ada')
      await joinedPeer(url, 'a', 'bob')
      expect(await oneMore(url, 'a')).toEqual({ code: 1013, reason: 'server-full' })
    },
  },
  roomsMax: {
    says: 'there are only so many rooms: who would open one more is asked to come later',
    async run() {
      const { url } = await startServer({ roomsMax: 1 })
      await joinedPeer(url, 'a', 'ada')
      await joinedPeer(url, 'a', 'bob')
      expect(await oneMore(url, 'b')).toEqual({ code: 1013, reason: 'server-full' })
    },
  },
  socketTopicsMax: {
    says: 'one y-webrtc socket subscribes to only so many topics: one more closes it with 1008',
    async run() {
      const { url, server } = await startServer({ yWebrtcPath: '/y', socketTopicsMax: 2 })
      const peer = await openPeer(`${url}y`, { protocols: [] })
      peer.say({ type: 'subscribe', topics: ['a', 'b', 'a'] })
      await vi.waitFor(() => expect(server.gauges().topics).toBe(2))
      peer.say({ type: 'subscribe', topics: ['c'] })
      expect(await peer.closed).toEqual({ code: 1008, reason: 'too-many-topics' })
      expect(server.gauges().topics).toBe(0)
    },
  },
}

describe('the limit', () => {
  for (const [name, { says, run }] of Object.entries(proofs)) it(`${name}: ${says}`, run)
})

describe('fixed limits', () => {
  it('nothing is compressed, even when the client offers to', async () => {
    const { url } = await startServer()
    const peer = await openPeer(url)
    expect(peer.socket.extensions).toBe('')
    const running = await startServer()
    const { socket, ended } = openTcp(running)
    socket.write(upgradeText.replace('\r\n\r\n', '\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n'))
    // A frame that says it is compressed, masked, of one byte.
    socket.write(Buffer.from([0xc1, 0x81, 1, 2, 3, 4, 5]))
    expect(await ended).not.toContain('permessage-deflate')
    expect(running.server.metrics.refusals('bad-frame')).toBe(1)
  })

  it.each([
    ['too short', 'a'.repeat(15)],
    ['too long', 'a'.repeat(65)],
    ['of other letters', 'a/b'.repeat(6)],
    ['not ASCII', 'ä'.repeat(20)],
  ])('an id that is %s is refused with 4400, as a room and as a peer', async (_, id) => {
    const { url, server } = await startServer()
    for (const wrong of [{ id }, { room: id }]) {
      const peer = await openPeer(url)
      peer.say({ ...hello, ...wrong })
      expect(await peer.closed).toEqual({ code: 4400, reason: 'bad-message' })
    }
    expect(server.gauges().rooms).toBe(0)
  })

  it('HTTP headers of more than 8 KiB are refused', async () => {
    const running = await startServer()
    const { socket, ended } = openTcp(running)
    socket.write(upgradeText.replace('\r\n\r\n', `\r\nX-Big: ${'x'.repeat(9_000)}\r\n\r\n`))
    expect(await ended).toContain('431 ')
  })

  it('refusals that pile up get no WebSocket any more', async () => {
    const running = await startServer({ socketsMax: 1 })
    await openPeer(running.url)
    // They never answer the goodbye.
    const refused = Array.from({ length: 80 }, () => {
      const connection = openTcp(running)
      connection.socket.write(upgradeText)
      return connection
    })
    const answers = await Promise.all(
      refused.map(
        ({ socket }) => new Promise<string>((resolve) => socket.once('data', (text) => resolve(String(text)))),
      ),
    )
    expect(answers.filter((text) => text.includes(' 101 '))).toHaveLength(64)
    expect(answers.filter((text) => text.includes(' 503 '))).toHaveLength(16)
  })
})
