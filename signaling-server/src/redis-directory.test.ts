// Rooms that span processes, over a real Redis server that the tests start and stop themselves.
import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'
import { createClient } from 'redis'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { findRedisServer, startRedis } from '../testing/redis-server.ts'
import { startServerProcess } from '../testing/server-process.ts'
import { joinedPeer, openPeer, peerId, roomId, startServer, type TestPeer } from './fixtures.ts'
import { redisKeys } from './redis-scripts.ts'
import { createSignalingServer, type SignalingSettings } from './server.ts'

const redisBinary = findRedisServer()
const [ada, bob] = [peerId('ada'), peerId('bob')]
/** For what a process does on its own once Redis is back. */
const patience = { timeout: 10_000 }

async function redis() {
  if (redisBinary === undefined) throw new Error('skipped without a redis-server')
  const running = await startRedis(redisBinary)
  onTestFinished(() => running.stop())
  const client = createClient({ url: running.url })
  client.on('error', () => undefined)
  await client.connect()
  onTestFinished(() => client.destroy())
  return { ...running, client }
}

/** Two servers that share rooms, as two processes do. */
async function twoServers(settings: SignalingSettings = {}) {
  const store = await redis()
  const shared = { redisUrl: store.url, ...settings }
  return { store, east: await startServer(shared), west: await startServer(shared) }
}

/** The way from one process to Redis, for tests to break. */
async function lineTo(port: number) {
  const ends = new Set<Socket>()
  let isMute = false
  const server = createServer((near) => {
    const far = connect(port, '127.0.0.1')
    for (const [end, other] of [
      [near, far],
      [far, near],
    ] as const) {
      ends.add(end)
      end.on('error', () => undefined)
      end.on('close', () => {
        ends.delete(end)
        other.destroy()
      })
    }
    near.pipe(far)
    far.on('data', (bytes) => isMute || near.write(bytes))
  })
  const open = async (at: number) => {
    server.listen(at, '127.0.0.1')
    await once(server, 'listening')
    const address = server.address()
    if (address === null || typeof address === 'string') throw new Error('the line ends nowhere')
    return address.port
  }
  const cut = () => {
    server.close()
    for (const end of ends) end.destroy()
  }
  const nearPort = await open(0)
  onTestFinished(cut)
  return {
    url: `redis://127.0.0.1:${nearPort}`,
    /** What is said still gets to Redis; its answers do not come back. */
    mute: () => {
      isMute = true
    },
    /** Nothing goes through until `mend`. */
    cut,
    mend: async () => {
      isMute = false
      await open(nearPort)
    },
  }
}

/** As `twoServers`; between Redis and the eastern one is a line that can break. */
async function withLine() {
  const store = await redis()
  const line = await lineTo(store.port)
  const east = await startServer({ redisUrl: line.url })
  const west = await startServer({ redisUrl: store.url })
  const inRoom = () => store.client.hKeys(redisKeys('wepaxos:signaling:').room(roomId('a')))
  return { line, east, west, inRoom }
}

async function refusalOf(url: string, room: string, id: string, more: object = {}) {
  const peer = await openPeer(url)
  peer.say({ type: 'hello', room: roomId(room), id: peerId(id), ...more })
  return peer.closed
}

const title = 'servers that share a Redis server'
describe.skipIf(redisBinary === undefined)(
  redisBinary === undefined ? `${title} (skipped: no redis-server on the path; apt-get install redis-server)` : title,
  () => {
    it('introduce peers of different processes, and relay between them in order', async () => {
      const { east, west } = await twoServers()
      const first = await joinedPeer(east.url, 'a', 'ada')
      const second = await joinedPeer(west.url, 'a', 'bob')
      expect(first.welcome.peers).toEqual([])
      expect(second.welcome.peers).toEqual([ada])
      expect(await first.peer.expect('peer-joined')).toEqual({ type: 'peer-joined', id: bob })
      for (let sent = 0; sent < 40; sent++) first.peer.say({ type: 'signal', to: bob, data: String(sent) })
      for (let sent = 0; sent < 40; sent++) {
        expect(await second.peer.expect('signal')).toEqual({ type: 'signal', from: ada, data: String(sent) })
      }
      second.peer.say({ type: 'signal', to: ada, data: { ct: '…' } })
      expect(await first.peer.expect('signal')).toEqual({ type: 'signal', from: bob, data: { ct: '…' } })
    })

    it('say why a peer left', async () => {
      const { east, west } = await twoServers()
      const { peer: watcher } = await joinedPeer(east.url, 'a', 'eve')
      const ends: readonly [string, string, (peer: TestPeer) => void][] = [
        ['ada', 'left', (peer) => peer.socket.close(1000)],
        ['bob', 'gone', (peer) => peer.socket.terminate()],
        ['cyd', 'removed', (peer) => peer.sayRaw('garbage')],
      ]
      for (const [name, reason, end] of ends) {
        const { peer } = await joinedPeer(west.url, 'a', name)
        await watcher.expect('peer-joined')
        end(peer)
        expect(await watcher.expect('peer-left')).toEqual({ type: 'peer-left', id: peerId(name), reason })
      }
    })

    it('keep rooms apart, and prefixes', async () => {
      const { store, east, west } = await twoServers()
      const other = await startServer({ redisUrl: store.url, redisPrefix: 'other:' })
      const { peer } = await joinedPeer(east.url, 'a', 'ada')
      const { welcome, peer: stranger } = await joinedPeer(west.url, 'b', 'bob')
      expect(welcome.peers).toEqual([])
      expect((await joinedPeer(other.url, 'a', 'ada')).welcome.peers).toEqual([])
      stranger.say({ type: 'signal', to: ada, data: 'x' })
      expect(await stranger.expect('error')).toMatchObject({ code: 'unknown-peer' })
      expect(await peer.hearsNothingElse()).toBe(true)
    })

    it('let a peer hear of a newcomer before it hears from it', async () => {
      const { east, west } = await twoServers({ roomSocketsMax: 100 })
      const { peer } = await joinedPeer(east.url, 'a', 'ada')
      for (let round = 0; round < 30; round++) {
        const name = `new-${round}-`
        const { peer: newcomer } = await joinedPeer(west.url, 'a', name)
        newcomer.say({ type: 'signal', to: ada, data: 'at once' })
        expect(await peer.expect('peer-joined')).toEqual({ type: 'peer-joined', id: peerId(name) })
        expect(await peer.expect('signal')).toMatchObject({ from: peerId(name) })
      }
    })

    it('hold a room to its size, and an id to its bearer, over all processes', async () => {
      const { east, west } = await twoServers({ roomSocketsMax: 2 })
      await joinedPeer(east.url, 'a', 'ada')
      expect(await refusalOf(west.url, 'a', 'ada')).toEqual({ code: 4409, reason: 'id-in-use' })
      expect(await refusalOf(west.url, 'a', 'ada', { resume: 'guessed-and-guessed-wrong' })).toMatchObject({
        code: 4409,
      })
      await joinedPeer(west.url, 'a', 'bob')
      expect(await refusalOf(east.url, 'a', 'cyd')).toEqual({ code: 1013, reason: 'room-full' })
      expect(await refusalOf(west.url, 'a', 'cyd')).toEqual({ code: 1013, reason: 'room-full' })
    })

    it("let a resume token replace another process's socket, which is closed with 4409", async () => {
      const { east, west } = await twoServers()
      const old = await joinedPeer(east.url, 'a', 'ada')
      const { peer: watcher } = await joinedPeer(east.url, 'a', 'bob')
      const fresh = await openPeer(west.url)
      const welcome = await fresh.join('a', 'ada', { resume: old.welcome.resume })
      expect(welcome).toMatchObject({ peers: [bob], resume: old.welcome.resume })
      expect(await old.peer.closed).toEqual({ code: 4409, reason: 'replaced' })
      expect(await watcher.expect('peer-left')).toEqual({ type: 'peer-left', id: ada, reason: 'replaced' })
      expect(await watcher.expect('peer-joined')).toEqual({ type: 'peer-joined', id: ada })
      watcher.say({ type: 'signal', to: ada, data: 'to the new one' })
      expect(await fresh.expect('signal')).toMatchObject({ data: 'to the new one' })
      expect(await watcher.hearsNothingElse()).toBe(true)
      // And back, on the process where the watcher is.
      const again = await openPeer(east.url)
      await again.join('a', 'ada', { resume: welcome.resume })
      expect((await fresh.closed).code).toBe(4409)
      expect(await watcher.expect('peer-left')).toMatchObject({ id: ada, reason: 'replaced' })
      expect(await watcher.expect('peer-joined')).toMatchObject({ id: ada })
    })

    it('keep the id of a lost peer for its token, at whichever process it comes back', async () => {
      const { east, west } = await twoServers()
      const { peer: watcher } = await joinedPeer(west.url, 'a', 'bob')
      const { peer, welcome } = await joinedPeer(east.url, 'a', 'ada')
      await watcher.expect('peer-joined')
      peer.socket.terminate()
      await watcher.expect('peer-left')
      expect(await refusalOf(west.url, 'a', 'ada')).toMatchObject({ code: 4409 })
      const back = await openPeer(west.url)
      expect(await back.join('a', 'ada', { resume: welcome.resume })).toMatchObject({ peers: [bob] })
    })

    it('give up the id of a peer whose socket went while Redis was asked', async () => {
      const { east, west, store } = await twoServers()
      store.freeze()
      const peer = await openPeer(east.url)
      peer.say({ type: 'hello', room: roomId('a'), id: ada })
      peer.sayRaw('no message before the welcome')
      expect((await peer.closed).code).toBe(4400)
      store.thaw()
      await vi.waitFor(() => expect(east.server.gauges().rooms).toBe(0))
      const { welcome } = await joinedPeer(west.url, 'a', 'bob')
      expect(welcome.peers).toEqual([])
    })

    it('give up the id of a join whose answer got lost between Redis and the process', async () => {
      const { line, east, west, inRoom } = await withLine()
      await joinedPeer(west.url, 'a', 'bob')
      // Redis knows the script then, and the next join is one question.
      await joinedPeer(east.url, 'b', 'eve')
      line.mute()
      const refused = refusalOf(east.url, 'a', 'ada')
      await vi.waitFor(async () => expect(await inRoom()).toContain(ada), patience)
      line.cut()
      expect(await refused).toEqual({ code: 1013, reason: 'server-trouble' })
      await line.mend()
      await vi.waitFor(async () => expect(await inRoom()).toEqual([bob]), patience)
      const { welcome } = await joinedPeer(west.url, 'a', 'ada')
      expect(welcome.peers).toEqual([bob])
      await vi.waitFor(() => expect(east.server.gauges().rooms).toBe(1), patience)
    })

    it('give up the id of a peer that left while Redis could not be told', async () => {
      const { line, east, west, inRoom } = await withLine()
      const { peer } = await joinedPeer(east.url, 'a', 'ada')
      await joinedPeer(west.url, 'a', 'bob')
      line.cut()
      peer.socket.close(1000)
      await vi.waitFor(() => expect(east.server.gauges().members).toBe(0), patience)
      await line.mend()
      await vi.waitFor(async () => expect(await inRoom()).toEqual([bob]), patience)
      const { welcome } = await joinedPeer(west.url, 'a', 'ada')
      expect(welcome.peers).toEqual([bob])
      await vi.waitFor(() => expect(east.server.gauges().rooms).toBe(0), patience)
    })

    it('keep nothing of rooms that peers ask for in vain while Redis is away', async () => {
      const { line, east } = await withLine()
      line.cut()
      await vi.waitFor(() => expect(east.records.map(({ event }) => event)).toContain('redis-trouble'), patience)
      for (const name of ['a', 'b']) expect(await refusalOf(east.url, name, 'ada')).toMatchObject({ code: 1013 })
      expect(east.server.gauges().rooms).toBe(0)
    })

    it('tell at once that the peers of a process which stops are gone', async () => {
      const { east, west } = await twoServers({ drainMs: 10 })
      const { peer: watcher } = await joinedPeer(west.url, 'a', 'bob')
      const { peer } = await joinedPeer(east.url, 'a', 'ada')
      await watcher.expect('peer-joined')
      await east.server.drain()
      expect((await peer.closed).code).toBe(1001)
      expect(await watcher.expect('peer-left')).toMatchObject({ id: ada })
      await east.server.close()
      const { peer: back } = await joinedPeer(west.url, 'a', 'ada')
      expect(await back.hearsNothingElse()).toBe(true)
    })

    it('let the peers of a killed process vanish, and come back elsewhere with their tokens', async () => {
      const store = await redis()
      const flags = ['--redis-url', store.url, '--redis-process-timeout-ms', '2000']
      const doomed = await startServerProcess(flags)
      onTestFinished(() => doomed.kill('SIGKILL'))
      const west = await startServer({ redisUrl: store.url, redisProcessTimeoutMs: 2_000 })
      const { peer: watcher } = await joinedPeer(west.url, 'a', 'bob')
      const { welcome } = await joinedPeer(doomed.url, 'a', 'ada')
      await joinedPeer(doomed.url, 'a', 'cyd')
      await watcher.expect('peer-joined')
      await watcher.expect('peer-joined')
      doomed.kill('SIGKILL')
      const gone = [await watcher.expect('peer-left'), await watcher.expect('peer-left')]
      expect(gone.map(({ reason }) => reason)).toEqual(['gone', 'gone'])
      expect(new Set(gone.map(({ id }) => id))).toEqual(new Set([ada, peerId('cyd')]))
      expect(await refusalOf(west.url, 'a', 'ada')).toMatchObject({ code: 4409 })
      const back = await openPeer(west.url)
      expect((await back.join('a', 'ada', { resume: welcome.resume })).peers).toEqual([bob])
    })

    it('take up again after a process slept so long that it was taken for dead', async () => {
      const store = await redis()
      const flags = ['--redis-url', store.url, '--redis-process-timeout-ms', '1500']
      const sleeper = await startServerProcess(flags)
      onTestFinished(() => sleeper.kill('SIGKILL'))
      const west = await startServer({ redisUrl: store.url, redisProcessTimeoutMs: 1_500 })
      const { peer: watcher } = await joinedPeer(west.url, 'a', 'bob')
      const { peer } = await joinedPeer(sleeper.url, 'a', 'ada')
      await watcher.expect('peer-joined')
      sleeper.kill('SIGSTOP')
      expect(await watcher.expect('peer-left')).toMatchObject({ id: ada, reason: 'gone' })
      sleeper.kill('SIGCONT')
      expect(await watcher.expect('peer-joined')).toMatchObject({ id: ada })
      watcher.say({ type: 'signal', to: ada, data: 'awake?' })
      expect(await peer.expect('signal')).toMatchObject({ from: bob, data: 'awake?' })
    })

    it('go on among their own peers without Redis, take nobody, and are whole again when an empty one is back', async () => {
      const { store, east, west } = await twoServers()
      const { peer: here } = await joinedPeer(east.url, 'a', 'ada')
      const { peer: beside } = await joinedPeer(east.url, 'a', 'bob')
      const { peer: there } = await joinedPeer(west.url, 'a', 'cyd')
      await here.expect('peer-joined')
      await here.expect('peer-joined')
      await beside.expect('peer-joined')
      const readiness = async () => (await fetch(`http://127.0.0.1:${east.port}/readyz`)).status
      expect(await readiness()).toBe(200)
      await store.stop()
      await vi.waitFor(async () => expect(await readiness()).toBe(503), { timeout: 20_000 })
      expect(await refusalOf(east.url, 'a', 'dan')).toEqual({ code: 1013, reason: 'server-trouble' })
      here.say({ type: 'signal', to: bob, data: 'without Redis' })
      expect(await beside.expect('signal')).toMatchObject({ data: 'without Redis' })
      await store.start()
      await vi.waitFor(
        async () => {
          expect(await readiness()).toBe(200)
          expect(await store.client.hLen(redisKeys('wepaxos:signaling:').room(roomId('a')))).toBe(3)
        },
        { timeout: 20_000 },
      )
      here.say({ type: 'signal', to: peerId('cyd'), data: 'back' })
      expect(await there.expect('signal')).toMatchObject({ from: ada, data: 'back' })
      const { welcome } = await joinedPeer(west.url, 'a', 'dan')
      expect(new Set(welcome.peers)).toEqual(new Set([ada, bob, peerId('cyd')]))
      // Nobody had left, so nobody heard of it.
      expect(await here.expect('peer-joined')).toMatchObject({ id: peerId('dan') })
      expect(await here.hearsNothingElse()).toBe(true)
      expect(east.records.map(({ event }) => event)).toEqual(expect.arrayContaining(['redis-trouble', 'redis-back']))
    })

    it('forget in Redis what nobody uses any more', async () => {
      const { store, east, west } = await twoServers({ resumeMs: 0 })
      const { peer: first } = await joinedPeer(east.url, 'a', 'ada')
      const { peer: second } = await joinedPeer(west.url, 'a', 'bob')
      const names = async () => (await store.client.keys('*')).map((key) => key.split(':')[2]).sort()
      expect(await names()).toEqual(['process', 'process', 'room'])
      for (const key of await store.client.keys('*')) expect(await store.client.pTTL(key)).toBeGreaterThan(0)
      first.socket.close(1000)
      second.socket.terminate()
      await vi.waitFor(async () => expect(await names()).toEqual(['process', 'process']))
      await east.server.close()
      await west.server.close()
      expect(await names()).toEqual([])
    })

    it('are not harmed by garbage on their channels, or in a room', async () => {
      const { store, east, west } = await twoServers()
      const { peer } = await joinedPeer(east.url, 'a', 'ada')
      const keys = redisKeys('wepaxos:signaling:')
      const processes = (await store.client.keys(keys.process('*'))).map((key) => key.split(':').at(-1) ?? '')
      expect(processes).toHaveLength(2)
      const room = roomId('a')
      const garbage = [
        'no JSON',
        'null',
        '[]',
        '{"room":7}',
        JSON.stringify({ room, by: 'x', id: '__proto__', reason: 'bored' }),
        JSON.stringify({ room, from: bob, session: 1, to: ada, text: 'forged' }),
        JSON.stringify({ room, from: bob, to: ada, text: { toString: 1 } }),
      ]
      for (const text of garbage) {
        await store.client.publish(keys.changes, text)
        for (const process of processes) await store.client.publish(keys.inbox(process), text)
      }
      await store.client.hSet(keys.room(room), 'short', 'garbage')
      await store.client.hSet(keys.room(room), bob, '||')
      const { welcome } = await joinedPeer(west.url, 'a', 'cyd')
      expect(welcome.peers).toEqual([ada])
      expect(await peer.expect('peer-joined')).toMatchObject({ id: peerId('cyd') })
      expect(await peer.hearsNothingElse()).toBe(true)
    })

    it('log neither the URL of Redis nor a room', async () => {
      const { store, east } = await twoServers({ redisProcessTimeoutMs: 400 })
      await joinedPeer(east.url, 'secret-room', 'ada')
      await store.stop()
      await vi.waitFor(() => expect(east.records.map(({ event }) => event)).toContain('redis-trouble'))
      expect(JSON.stringify(east.records)).not.toMatch(/redis:\/\/|secret-room/)
    })
  },
)

describe('without its Redis server', () => {
  it('a server does not begin to listen, and says what is missing', async () => {
    const { port } = await startServer()
    // Something listens there, but it is no Redis; and nothing listens on the other.
    for (const redisUrl of [`redis://127.0.0.1:${port}`, 'redis://127.0.0.1:1']) {
      const server = createSignalingServer({ port: 0, redisUrl })
      onTestFinished(() => server.close())
      await expect(server.listen()).rejects.toThrow('Redis: ')
    }
  })

  it('a URL that is none is a typed error that does not repeat it', () => {
    for (const redisUrl of ['redis://user:secret@host:notaport', 'http://host']) {
      const make = () => createSignalingServer({ redisUrl })
      expect(make).toThrow(expect.objectContaining({ code: 'InvalidArgument' }))
    }
    expect(() => createSignalingServer({ redisUrl: 'redis://user:secret@host:notaport' })).not.toThrow('secret')
  })
})
