import { once } from 'node:events'
import { createServer } from 'node:http'
import { describe, expect, it, onTestFinished } from 'vitest'
import { startServerProcess } from '../testing/server-process.ts'
import { joinedPeer, openPeer, openTcp, peerId, roomId, startServer, TestPeer, upgradeText } from './fixtures.ts'
import { createSignalingServer } from './server.ts'

const [ada, bob] = [peerId('ada'), peerId('bob')]
describe('a room', () => {
  it('introduces peers: each hears who is there and who comes', async () => {
    const { url, server } = await startServer()
    const first = await joinedPeer(url, 'a', 'ada')
    const second = await joinedPeer(url, 'a', 'bob')
    expect(first.welcome).toMatchObject({ you: ada, peers: [] })
    expect(second.welcome).toMatchObject({ you: bob, peers: [ada] })
    expect(first.welcome.limits).toMatchObject({ messageBytesMax: 16_384, messagesPerSecond: 20 })
    expect(await first.peer.expect('peer-joined')).toEqual({ type: 'peer-joined', id: bob })
    expect(server.gauges()).toMatchObject({ sockets: 2, rooms: 1, members: 2 })
  })

  it('passes a payload on as it came, whatever its keys, and stamps the sender', async () => {
    const { url, server } = await startServer()
    const { peer: sender } = await joinedPeer(url, 'a', 'ada')
    const { peer: receiver } = await joinedPeer(url, 'a', 'bob')
    const data = '{"__proto__":{"polluted":true},"ct":"…","constructor":[1,null]}'
    sender.sayRaw(`{"type":"signal","to":"${bob}","data":${data}}`)
    const signal = await receiver.expect('signal')
    expect(signal.from).toBe(ada)
    expect(JSON.stringify(signal.data)).toBe(data)
    expect(Object.hasOwn(Object.prototype, 'polluted')).toBe(false)
    expect(server.metrics.count('signals_relayed_total')).toBe(1)
  })

  it('ends a sender that names a `from` of its own', async () => {
    const { url } = await startServer()
    const { peer } = await joinedPeer(url, 'a', 'ada')
    peer.say({ type: 'signal', to: ada, from: bob, data: 'x' })
    expect(await peer.closed).toEqual({ code: 4400, reason: 'bad-message' })
  })

  it('keeps the order of one sender', async () => {
    const { url } = await startServer()
    const { peer: sender } = await joinedPeer(url, 'a', 'ada')
    const { peer: receiver } = await joinedPeer(url, 'a', 'bob')
    const sent = Array.from({ length: 40 }, (_, at) => String(at))
    for (const data of sent) sender.say({ type: 'signal', to: bob, data })
    const received: unknown[] = []
    for (const _ of sent) received.push((await receiver.expect('signal')).data)
    expect(received).toEqual(sent)
  })

  it('is closed to other rooms: a signal to a peer of another room is to nobody', async () => {
    const { url } = await startServer()
    const { peer: sender } = await joinedPeer(url, 'a', 'ada')
    const { peer: stranger } = await joinedPeer(url, 'b', 'bob')
    sender.say({ type: 'signal', to: bob, data: 'x' })
    expect(await sender.expect('error')).toEqual({ type: 'error', code: 'unknown-peer', to: bob })
    expect(await stranger.hearsNothingElse()).toBe(true)
    expect(await sender.hearsNothingElse()).toBe(true)
  })

  it('tells a polite goodbye from a lost connection', async () => {
    const { url } = await startServer()
    const { peer: watcher } = await joinedPeer(url, 'a', 'eve')
    const { peer: polite } = await joinedPeer(url, 'a', 'ada')
    const { peer: lost } = await joinedPeer(url, 'a', 'bob')
    await watcher.expect('peer-joined')
    await watcher.expect('peer-joined')
    polite.socket.close(1000)
    expect(await watcher.expect('peer-left')).toMatchObject({ id: ada, reason: 'left' })
    lost.socket.terminate()
    expect(await watcher.expect('peer-left')).toMatchObject({ id: bob, reason: 'gone' })
    const { peer: backSoon } = await joinedPeer(url, 'a', 'cyd')
    await watcher.expect('peer-joined')
    backSoon.socket.close(4000)
    expect(await watcher.expect('peer-left')).toMatchObject({ id: peerId('cyd'), reason: 'gone' })
  })

  it('answers a ping', async () => {
    const { url } = await startServer()
    const { peer } = await joinedPeer(url, 'a', 'ada')
    peer.say({ type: 'ping' })
    expect(await peer.expect('pong')).toEqual({ type: 'pong' })
  })
})

describe('a resume token', () => {
  it('replaces the older socket, which is closed with 4409, and the room hears of both', async () => {
    const { url, server } = await startServer()
    const old = await joinedPeer(url, 'a', 'ada')
    const { peer: watcher } = await joinedPeer(url, 'a', 'bob')
    const fresh = await openPeer(url)
    const welcome = await fresh.join('a', 'ada', { resume: old.welcome.resume })
    expect(welcome.peers).toEqual([bob])
    expect(await old.peer.closed).toEqual({ code: 4409, reason: 'replaced' })
    expect(await watcher.expect('peer-left')).toMatchObject({ id: ada, reason: 'replaced' })
    expect(await watcher.expect('peer-joined')).toMatchObject({ id: ada })
    watcher.say({ type: 'signal', to: ada, data: 'to the new one' })
    expect(await fresh.expect('signal')).toMatchObject({ data: 'to the new one' })
    // The old socket's end is no second leave.
    expect(await watcher.hearsNothingElse()).toBe(true)
    expect(server.gauges().members).toBe(2)
  })

  it('is needed for an id that is present, and for one that was lost a moment ago', async () => {
    const { url } = await startServer()
    const { peer: watcher } = await joinedPeer(url, 'a', 'bob')
    const { peer, welcome } = await joinedPeer(url, 'a', 'ada')
    await watcher.expect('peer-joined')
    const hello = { type: 'hello', room: roomId('a'), id: ada }
    const thief = await openPeer(url)
    thief.say({ ...hello, resume: 'guessed-and-guessed-wrong' })
    expect(await thief.expect('error')).toMatchObject({ code: 'id-in-use' })
    expect(await thief.closed).toEqual({ code: 4409, reason: 'id-in-use' })

    peer.socket.terminate()
    await watcher.expect('peer-left')
    const lateThief = await openPeer(url)
    lateThief.say(hello)
    expect((await lateThief.closed).code).toBe(4409)
    const owner = await openPeer(url)
    expect(await owner.join('a', 'ada', { resume: welcome.resume })).toMatchObject({ peers: [bob] })
  })

  it("of the peer's own making brings it back when its welcome was lost, at once", async () => {
    const { url } = await startServer()
    const resume = 'made-by-the-peer-itself'
    const { peer: watcher } = await joinedPeer(url, 'a', 'bob')
    // What its welcome says is not used: it might as well have got lost.
    const lost = await openPeer(url)
    await lost.join('a', 'ada', { resume })
    const back = await openPeer(url)
    expect(await back.join('a', 'ada', { resume })).toMatchObject({ peers: [bob], resume })
    expect((await lost.closed).code).toBe(4409)
    await watcher.expect('peer-joined')
    expect(await watcher.expect('peer-left')).toMatchObject({ id: ada, reason: 'replaced' })
    await watcher.expect('peer-joined')
    back.socket.terminate()
    await watcher.expect('peer-left')
    const again = await openPeer(url)
    expect(await again.join('a', 'ada', { resume })).toMatchObject({ peers: [bob], resume })
  })

  it('of a server that was started anew since then is good at the new one', async () => {
    const { url } = await startServer()
    const peer = await openPeer(url)
    const resume = 'from-an-earlier-process'
    expect(await peer.join('a', 'ada', { resume })).toMatchObject({ you: ada, resume })
  })
})

describe('bad input', () => {
  const hello = JSON.stringify({ type: 'hello', room: roomId('a'), id: ada })

  it.each<[string, string | Buffer, string]>([
    ['text that is no JSON', 'garbage', 'bad-message'],
    ['a binary frame', Buffer.from(hello), 'bad-message'],
    ['an unknown type', '{"type":"publish"}', 'bad-message'],
    ['deep JSON', '['.repeat(16_000), 'bad-message'],
    ['a prototype key', `{"__proto__":{},${hello.slice(1)}`, 'bad-message'],
    ['an id named __proto__', '{"type":"hello","room":"__proto__","id":"__proto__"}', 'bad-message'],
    ['a signal before hello', JSON.stringify({ type: 'signal', to: ada, data: 'x' }), 'hello-expected'],
    ['a ping before hello', '{"type":"ping"}', 'hello-expected'],
  ])('%s is refused with 4400, counted, and others are served on', async (_, data, code) => {
    const { url, server } = await startServer()
    const peer = await openPeer(url)
    peer.sayRaw(data)
    expect(await peer.expect('error')).toMatchObject({ code })
    expect(await peer.closed).toEqual({ code: 4400, reason: code })
    expect(server.metricsText()).toContain(`wepaxos_signaling_refusals_total{reason="${code}"} 1\n`)
    await joinedPeer(url, 'a', 'bob')
  })

  it('a second hello is refused, and the room hears that the peer is gone', async () => {
    const { url } = await startServer()
    const { peer: watcher } = await joinedPeer(url, 'a', 'bob')
    const { peer } = await joinedPeer(url, 'a', 'ada')
    await watcher.expect('peer-joined')
    peer.sayRaw(hello)
    expect(await peer.closed).toEqual({ code: 4400, reason: 'hello-repeated' })
    expect(await watcher.expect('peer-left')).toMatchObject({ id: ada, reason: 'removed' })
  })

  it('bytes that are no WebSocket frames end that connection only', async () => {
    const running = await startServer()
    const { socket, ended } = openTcp(running)
    socket.write(upgradeText)
    socket.write(Buffer.alloc(2_000, 0xff))
    expect(await ended).toContain('101 Switching Protocols')
    expect(running.server.metrics.refusals('bad-frame')).toBe(1)
    await joinedPeer(running.url, 'a', 'ada')
  })

  it('whatever a client asks for before it resets the connection, the process goes on', async () => {
    const running = await startServerProcess(['--address-connects-per-minute', '1000'])
    onTestFinished(() => running.kill('SIGKILL'))
    const texts = {
      'a path that is not served': upgradeText.replace('GET /', 'GET /other'),
      'no subprotocol': upgradeText.replace(/Sec-WebSocket-Protocol.*\r\n/, ''),
      'a WebSocket': upgradeText,
      'plain HTTP': 'GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n',
      'no HTTP': '\u0016\u0003\u0001 no HTTP\r\n\r\n',
    }
    for (const [name, text] of Object.entries(texts)) {
      for (let times = 0; times < 10; times++) {
        const { socket, ended } = openTcp({ ...running, host: '127.0.0.1' })
        await once(socket, 'connect')
        socket.write(text)
        socket.resetAndDestroy()
        await ended
      }
      const health = fetch(`http://127.0.0.1:${running.port}/healthz`)
      expect([name, await health.then(({ status }) => status, String)]).toEqual([name, 200])
    }
  })

  it('text that is no HTTP ends that connection only', async () => {
    const running = await startServer()
    const { socket, ended } = openTcp(running)
    socket.write('\u0016\u0003\u0001 no HTTP\r\n\r\n')
    expect(await ended).toContain('400 Bad Request')
    await joinedPeer(running.url, 'a', 'ada')
  })
})

describe('who may come in', () => {
  it('every origin when none is named, and the log says so', async () => {
    const { url, records } = await startServer()
    await joinedPeer(url, 'a', 'ada', { headers: { origin: 'https://any.example' } })
    expect(records.map(({ event }) => event)).toContain('open-to-every-origin')
  })

  it('only who names the subprotocol', async () => {
    const { url, server } = await startServer()
    await expect(openPeer(url, { protocols: ['wepaxos.signal.v9'] })).rejects.toThrow('400')
    await expect(openPeer(url, { protocols: [] })).rejects.toThrow('400')
    expect(server.metrics.refusals('no-subprotocol')).toBe(2)
  })

  it('only on the one path', async () => {
    const { url } = await startServer({ path: '/signal' })
    await expect(openPeer(url.replace('/signal', '/other'))).rejects.toThrow('404')
    await joinedPeer(`${url}?query=is-ignored`, 'a', 'ada')
  })

  it('only whom the authorize hook lets in, which sees the token and where the peer comes from', async () => {
    const asked: unknown[] = []
    const { url } = await startServer({
      authorize: (request) => {
        asked.push(request)
        if (request.token === 'good') return 'allow'
        return request.token === 'elsewhere' ? 'refuse-room' : 'refuse-peer'
      },
    })
    const hello = { type: 'hello', room: roomId('a'), id: ada }
    const closedAfter = async (token: string) => {
      const peer = await openPeer(url, { headers: { origin: 'https://app.example' } })
      peer.say({ ...hello, token })
      return peer.closed
    }
    expect(await closedAfter('bad')).toEqual({ code: 4401, reason: 'not-authorized' })
    expect(await closedAfter('elsewhere')).toEqual({ code: 4403, reason: 'room-refused' })
    const peer = await openPeer(url)
    await peer.join('a', 'ada', { token: 'good' })
    const { room, id } = hello
    expect(asked[0]).toEqual({ room, id, token: 'bad', origin: 'https://app.example', address: '127.0.0.1' })
  })

  it('nobody when the authorize hook throws', async () => {
    const { url, records } = await startServer({
      authorize: () => {
        throw new TypeError('token 1234 is odd')
      },
    })
    const peer = await openPeer(url)
    peer.say({ type: 'hello', room: roomId('a'), id: ada })
    expect(await peer.closed).toEqual({ code: 1013, reason: 'server-trouble' })
    expect(records.some(({ event }) => event === 'authorize-failed')).toBe(true)
    expect(JSON.stringify(records)).not.toContain('1234')
  })

  it('nobody when the authorize hook answers what it can not', async () => {
    const { url } = await startServer({ authorize: () => undefined as unknown as 'allow' })
    const peer = await openPeer(url)
    peer.say({ type: 'hello', room: roomId('a'), id: ada })
    expect((await peer.closed).code).toBe(4401)
  })

  it('not a peer that went away while the hook was asked', async () => {
    let allow = (): void => undefined
    let asked = (): void => undefined
    const isAsked = new Promise<void>((resolve) => {
      asked = resolve
    })
    const { url, server } = await startServer({
      authorize: () => {
        asked()
        return new Promise((resolve) => {
          allow = () => resolve('allow')
        })
      },
    })
    const peer = await openPeer(url)
    peer.say({ type: 'hello', room: roomId('a'), id: ada })
    await isAsked
    peer.sayRaw('no message before the welcome')
    expect((await peer.closed).code).toBe(4400)
    allow()
    // Everything that the hook's answer sets going is done before the next turn.
    await new Promise(setImmediate)
    expect(server.gauges()).toMatchObject({ rooms: 0, members: 0 })
  })
})

describe('the end', () => {
  it('drains: says when to come back, takes nobody, and still relays', async () => {
    const { url, port, server } = await startServer({ drainMs: 600_000, retryAfterMs: 7 })
    const { peer } = await joinedPeer(url, 'a', 'ada')
    const { peer: other } = await joinedPeer(url, 'a', 'bob')
    void server.drain()
    await peer.expect('peer-joined')
    expect(await peer.expect('drain')).toEqual({ type: 'drain', retryAfterMs: 7 })
    expect(await new TestPeer(url).closed).toEqual({ code: 1013, reason: 'draining' })
    expect((await fetch(`http://127.0.0.1:${port}/readyz`)).status).toBe(503)
    peer.say({ type: 'signal', to: bob, data: 'still relayed' })
    await other.expect('drain')
    expect(await other.expect('signal')).toMatchObject({ data: 'still relayed' })
  })

  it('drains: closes those that stay too long with 1001', async () => {
    const { url, server } = await startServer({ drainMs: 20 })
    const { peer } = await joinedPeer(url, 'a', 'ada')
    await server.drain()
    expect(await peer.closed).toEqual({ code: 1001, reason: 'draining' })
    expect(server.gauges()).toMatchObject({ sockets: 0, members: 0, draining: true })
  })

  it('drains at once when the peers go by themselves', async () => {
    const { url, server } = await startServer({ drainMs: 600_000 })
    const { peer } = await joinedPeer(url, 'a', 'ada')
    const drained = server.drain()
    await peer.expect('drain')
    peer.socket.close(1000)
    await drained
  })

  it('close ends all sockets with 1001, twice is once, and the port is free again', async () => {
    const { url, port, server } = await startServer()
    const { peer } = await joinedPeer(url, 'a', 'ada')
    await Promise.all([server.close(), server.close()])
    expect((await peer.closed).code).toBe(1001)
    const next = await startServer({ port })
    expect(next.port).toBe(port)
  })

  it('a port that is taken is an error of listen', async () => {
    const { port } = await startServer()
    await expect(createSignalingServer({ port }).listen()).rejects.toThrow('EADDRINUSE')
  })
})

describe('HTTP', () => {
  it('tells health, readiness and metrics, and nothing else', async () => {
    const { url, port } = await startServer()
    await joinedPeer(url, 'a', 'ada')
    const get = (path: string, method = 'GET') => fetch(`http://127.0.0.1:${port}${path}`, { method })
    expect((await get('/healthz')).status).toBe(200)
    expect((await get('/readyz')).status).toBe(200)
    expect((await get('/healthz', 'POST')).status).toBe(405)
    expect((await get('/')).status).toBe(404)
    const metrics = await get('/metrics')
    expect(metrics.headers.get('content-type')).toContain('version=0.0.4')
    const text = await metrics.text()
    expect(text).toContain('# TYPE wepaxos_signaling_sockets gauge\nwepaxos_signaling_sockets 1\n')
    expect(text).toContain('\nwepaxos_signaling_joins_total 1\n')
    for (const line of text.trimEnd().split('\n'))
      expect(line).toMatch(/^(# (HELP|TYPE) .+|[a-z_]+(\{[^}]+\})? [0-9]+)$/)
  })

  it('is answered once a connection, so that idle ones take no place of peers', async () => {
    const running = await startServer({ headersTimeoutMs: 60_000 })
    for (const path of ['/healthz', '/nothing']) {
      const { socket, ended } = openTcp(running)
      socket.write(`GET ${path} HTTP/1.1\r\nHost: localhost\r\nConnection: keep-alive\r\n\r\n`)
      expect(await ended).toContain('\r\nconnection: close\r\n')
    }
  })

  it("lives on a caller's own server, beside its requests and its other upgrades", async () => {
    const http = createServer((request, response) => {
      if (!running.server.handleRequest(request, response)) response.end('mine')
    })
    http.on('upgrade', (request, socket) => {
      if (request.url === '/mine') socket.end('HTTP/1.1 418 Mine\r\n\r\n')
    })
    onTestFinished(() => void http.close())
    const running = await startServer({ server: http, path: '/signal' })
    const base = `http://127.0.0.1:${running.port}`
    expect(await (await fetch(base)).text()).toBe('mine')
    expect(await (await fetch(`${base}/healthz`)).text()).toBe('ok\n')
    await expect(openPeer(running.url.replace('/signal', '/mine'))).rejects.toThrow('418')
    await joinedPeer(running.url, 'a', 'ada')
    await running.server.close()
    expect(http.listening).toBe(true)
  })
})

describe('the log', () => {
  it('holds no room id, no token and no payload', async () => {
    const { url, records } = await startServer({ authorize: () => 'allow' })
    const peer = await openPeer(url)
    const { resume } = await peer.join('secret-room', 'ada', { token: 'secret-token' })
    peer.say({ type: 'signal', to: ada, data: 'secret-payload' })
    await peer.expect('signal')
    peer.sayRaw('secret-garbage')
    await peer.closed
    const text = JSON.stringify(records)
    expect(text).toContain('"joined"')
    expect(text).toContain('"refused"')
    expect(text).not.toContain('secret')
    expect(text).not.toContain(resume)
  })

  it('is silent about single peers unless asked', async () => {
    const { url, records } = await startServer({ logLevel: 'info' })
    await joinedPeer(url, 'a', 'ada')
    expect(records.every(({ level }) => level === 'info')).toBe(true)
    expect(records.map(({ event }) => event)).toContain('listening')
  })
})

it('resume tokens are as hard to guess as 144 random bits', async () => {
  const { url } = await startServer()
  const tokens = await Promise.all(
    ['ada', 'bob', 'cyd'].map(async (name) => (await joinedPeer(url, 'a', name)).welcome.resume),
  )
  expect(new Set(tokens).size).toBe(3)
  for (const token of tokens) expect(token).toMatch(/^[A-Za-z0-9_-]{24}$/)
})
