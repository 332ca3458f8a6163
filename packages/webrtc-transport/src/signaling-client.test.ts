import { describe, expect, it } from 'vitest'
import { ManualClock } from '../testing/manual-clock.ts'
import { MemorySocket } from '../testing/memory-signaling.ts'
import { SignalingClient } from './signaling-client.ts'

const [ana, bo, cleo] = ['ana-ana-ana-ana-', 'bo-bo-bo-bo-bo-bo', 'cleo-cleo-cleo-c'] as const
const room = 'room-room-room-room'

function client(random?: () => number) {
  const clock = new ManualClock(random)
  const sockets: MemorySocket[] = []
  const heard: unknown[] = []
  const signaling = new SignalingClient({
    url: 'ws://127.0.0.1:1',
    room,
    id: ana,
    clock,
    createSocket: () => {
      const socket = new MemorySocket()
      sockets.push(socket)
      return socket
    },
    events: {
      onState: (state) => heard.push(state),
      onWelcome: (peers) => heard.push({ welcome: peers }),
      onPeerJoined: (peer) => heard.push({ joined: peer }),
      onPeerLeft: (peer) => heard.push({ left: peer }),
      onSignal: (from, data) => heard.push({ from, data }),
    },
  })
  signaling.start()
  const last = () => {
    const socket = sockets.at(-1)
    if (socket === undefined) throw new Error('no socket was made')
    return socket
  }
  const welcome = (fields: Record<string, unknown> = {}) => {
    last().open()
    last().say({ type: 'welcome', you: ana, peers: [bo], resume: 'token', ...fields })
  }
  return { signaling, clock, sockets, heard, last, welcome }
}

describe('the signaling client', () => {
  it('says hello once the socket is open, and is open once it is welcome', () => {
    const { signaling, heard, last } = client()
    expect(last().sent).toEqual([])
    last().open()
    expect(last().sent).toEqual([{ type: 'hello', room, id: ana }])
    expect(signaling.state).toBe('connecting')
    last().say({ type: 'welcome', you: ana, peers: [bo, ana, 'x', 5], resume: 'token' })
    expect(heard).toEqual(['open', { welcome: [bo] }])
  })

  it('passes on who comes, who goes and what they signal', () => {
    const { heard, last, welcome, signaling } = client()
    welcome()
    heard.length = 0
    last().say({ type: 'peer-joined', id: cleo })
    last().say({ type: 'signal', from: cleo, data: { sealed: 1 } })
    last().say({ type: 'peer-left', id: cleo, reason: 'left' })
    expect(heard).toEqual([{ joined: cleo }, { from: cleo, data: { sealed: 1 } }, { left: cleo }])
    expect(signaling.send(cleo, 'payload')).toBe(true)
    expect(last().sent.at(-1)).toEqual({ type: 'signal', to: cleo, data: 'payload' })
  })

  it.each([['no json'], ['[]'], ['null'], ['{"type":"signal","from":7}'], ['{"type":"welcome","peers":5}'], ['{}']])(
    'does nothing about %s',
    (text) => {
      const { heard, last, welcome, signaling } = client()
      welcome()
      heard.length = 0
      last().say(text)
      expect(heard).toEqual([])
      expect(signaling.state).toBe('open')
    },
  )

  it('comes back after each break, with its resume token, waiting longer each time up to 4 s', async () => {
    const { clock, sockets, last, welcome } = client(() => 0.999999)
    welcome()
    const waits: number[] = []
    for (let breaks = 0; breaks < 8; breaks += 1) {
      const before = sockets.length
      last().end(1006)
      const startedMs = clock.now()
      while (sockets.length === before) await clock.advance(10)
      waits.push(clock.now() - startedMs)
    }
    expect(waits).toEqual([250, 500, 1_000, 2_000, 4_000, 4_000, 4_000, 4_000])
    last().open()
    expect(last().sent).toEqual([{ type: 'hello', room, id: ana, resume: 'token' }])
  })

  it('takes a random part off each wait, so that clients do not come back together', async () => {
    const { clock, sockets, last } = client(() => 0)
    last().end(1006)
    await clock.advance(125)
    expect(sockets).toHaveLength(2)
  })

  it('begins with short waits again after a connection that was good for a while', async () => {
    const { clock, sockets, last, welcome } = client()
    for (let breaks = 0; breaks < 5; breaks += 1) {
      last().end(1006)
      await clock.advance(5_000)
    }
    welcome()
    await clock.advance(6_000)
    const before = sockets.length
    last().end(1006)
    await clock.advance(250)
    expect(sockets).toHaveLength(before + 1)
  })

  it('gives a server up that accepts the socket and then says nothing', async () => {
    const { clock, sockets, last, signaling } = client()
    last().open()
    await clock.advance(10_000)
    expect(signaling.lastProblem).toBe('no welcome in time')
    await clock.advance(500)
    expect(sockets).toHaveLength(2)
  })

  it('notices by its own pings that the server is gone', async () => {
    const { clock, sockets, last, welcome } = client()
    welcome()
    await clock.advance(15_000)
    expect(last().sent.at(-1)).toEqual({ type: 'ping' })
    last().say({ type: 'pong' })
    await clock.advance(15_000)
    expect(sockets).toHaveLength(1)
    await clock.advance(6_000)
    expect(sockets).toHaveLength(2)
  })

  it('connects at once when it is asked to look again', () => {
    const { signaling, sockets, last } = client()
    last().end(1006)
    expect(sockets).toHaveLength(1)
    signaling.recheck()
    expect(sockets).toHaveLength(2)
    signaling.recheck()
    expect(sockets).toHaveLength(2)
  })

  it('asks an open connection for a sign of life when it is asked to look again', async () => {
    const { signaling, clock, sockets, last, welcome } = client()
    welcome()
    signaling.recheck()
    expect(last().sent.at(-1)).toEqual({ type: 'ping' })
    await clock.advance(5_500)
    expect(sockets).toHaveLength(2)
  })

  it('stays away as long as a draining server asks for', async () => {
    const { clock, sockets, last, welcome } = client()
    welcome()
    last().say({ type: 'drain', retryAfterMs: 2_000 })
    last().end(1001)
    await clock.advance(2_900)
    expect(sockets).toHaveLength(1)
    await clock.advance(200)
    expect(sockets).toHaveLength(2)
  })

  it('asks a server that refuses it only now and then, and says why', async () => {
    const { signaling, clock, sockets, last } = client()
    last().open()
    last().say({ type: 'error', code: 'origin-refused' })
    last().end(4403)
    expect(signaling.lastProblem).toBe('the server says origin-refused')
    await clock.advance(7_000)
    expect(sockets).toHaveLength(1)
    await clock.advance(8_000)
    expect(sockets).toHaveLength(2)
  })

  it('keeps within the limits that the server has announced, and sends the rest later, in order', async () => {
    const { signaling, clock, last, welcome } = client()
    welcome({ limits: { messagesPerSecond: 20, messagesBurst: 40 } })
    for (let count = 0; count < 60; count += 1) signaling.send(bo, { count })
    const signals = () => last().sent.filter(({ type }) => type === 'signal')
    expect(signals()).toHaveLength(30)
    await clock.advance(1_000)
    expect(signals().length).toBeGreaterThanOrEqual(44)
    expect(signals().length).toBeLessThanOrEqual(46)
    await clock.advance(2_000)
    expect(signals().map(({ data }) => data)).toEqual(Array.from({ length: 60 }, (_, count) => ({ count })))
  })

  it('sends nothing while it is not connected, and says so', () => {
    const { signaling, last, welcome } = client()
    expect(signaling.send(bo, 'early')).toBe(false)
    welcome()
    last().end(1006)
    expect(signaling.send(bo, 'late')).toBe(false)
  })

  it('hears nothing of a socket that it has given up', async () => {
    const { clock, sockets, heard, welcome, last } = client()
    welcome()
    const old = last()
    await clock.advance(21_000)
    expect(sockets).toHaveLength(2)
    heard.length = 0
    old.readyState = 1
    old.say({ type: 'peer-joined', id: cleo })
    expect(heard).toEqual([])
  })

  it('is over for good when it is closed, with no timer left', async () => {
    const { signaling, clock, sockets, last, welcome } = client()
    welcome()
    signaling.close()
    expect(signaling.state).toBe('closed')
    expect(last().readyState).toBe(3)
    expect(clock.pending).toBe(0)
    signaling.recheck()
    await clock.advance(60_000)
    expect(sockets).toHaveLength(1)
  })
})
