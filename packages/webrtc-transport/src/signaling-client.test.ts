import { describe, expect, it } from 'vitest'
import { ManualClock, settle } from '../testing/manual-clock.ts'
import { MemorySocket } from '../testing/memory-signaling.ts'
import { SignalingClient, type SignalingEvents, type SignalingToken } from './signaling-client.ts'

const [ana, bo, cleo] = ['ana-ana-ana-ana-', 'bo-bo-bo-bo-bo-bo', 'cleo-cleo-cleo-c'] as const
const room = 'room-room-room-room'
const serverToken = 'token-of-the-server-'
/** 18 random bytes. */
const ownToken = expect.stringMatching(/^[A-Za-z0-9_-]{24}$/)

/** Remembers with which code it was closed from this end. */
class ClosableSocket extends MemorySocket {
  closedWith: number | undefined

  override close(code?: number): void {
    this.closedWith ??= code
    super.close()
  }
}

function client(random?: () => number, token?: SignalingToken, onSignal?: SignalingEvents['onSignal']) {
  const clock = new ManualClock(random)
  const sockets: ClosableSocket[] = []
  const heard: unknown[] = []
  const iceServers: unknown[] = []
  const signaling = new SignalingClient({
    url: 'ws://127.0.0.1:1',
    room,
    id: ana,
    token,
    clock,
    createSocket: () => {
      const socket = new ClosableSocket()
      sockets.push(socket)
      return socket
    },
    events: {
      onState: (state) => heard.push(state),
      onIceServers: (servers) => iceServers.push(servers),
      onWelcome: (peers) => heard.push({ welcome: peers }),
      onPeerJoined: (peer) => heard.push({ joined: peer }),
      onPeerLeft: (peer) => heard.push({ left: peer }),
      onSignal: onSignal ?? ((from, data) => heard.push({ from, data })),
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
    last().say({ type: 'welcome', you: ana, peers: [bo], resume: serverToken, ...fields })
  }
  return { signaling, clock, sockets, heard, iceServers, last, welcome }
}

describe('the signaling client', () => {
  it('says hello once the socket is open, and is open once it is welcome', () => {
    const { signaling, heard, last } = client()
    expect(last().sent).toEqual([])
    last().open()
    expect(last().sent).toEqual([{ type: 'hello', room, id: ana, resume: ownToken }])
    expect(signaling.state).toBe('connecting')
    last().say({ type: 'welcome', you: ana, peers: [bo, ana, 'x', 5], resume: serverToken })
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

  it.each([
    ['no json'],
    ['[]'],
    ['null'],
    ['{"type":"signal","from":7}'],
    ['{"type":"error","code":{"toString":1,"valueOf":1}}'],
    ['{"type":"welcome","peers":5}'],
    ['{}'],
  ])('does nothing about %s', (text) => {
    const { heard, last, welcome, signaling } = client()
    welcome()
    heard.length = 0
    last().say(text)
    expect(heard).toEqual([])
    expect(signaling.state).toBe('open')
  })

  it('gives up a connection over which comes what nobody can make use of, and comes back later', async () => {
    const { signaling, clock, sockets, last, welcome } = client(undefined, undefined, () => {
      throw new TypeError('this is no payload')
    })
    welcome()
    last().say({ type: 'signal', from: bo, data: null })
    expect([signaling.state, last().closedWith]).toEqual(['connecting', 4_000])
    expect(signaling.lastProblem).toBe('a message of the server failed: this is no payload')
    await clock.advance(15_000)
    expect(sockets).toHaveLength(2)
    welcome()
    expect(signaling.state).toBe('open')
  })

  it('comes back after each break, with the resume token of the welcome, waiting longer each time up to 4 s', async () => {
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
    expect(last().sent).toEqual([{ type: 'hello', room, id: ana, resume: serverToken }])
  })

  it('shows the same token of its own until a welcome comes, and no other client shows it', async () => {
    const { clock, last } = client()
    const shown: unknown[] = []
    for (let hellos = 0; hellos < 3; hellos += 1) {
      last().open()
      shown.push(last().sent[0]?.['resume'])
      last().end(1006)
      await clock.advance(4_000)
    }
    const other = client()
    other.last().open()
    shown.push(other.last().sent[0]?.['resume'])
    expect(shown).toEqual([ownToken, shown[0], shown[0], ownToken])
    expect(shown[3]).not.toBe(shown[0])
  })

  it('keeps its own token where a server gives one that no server takes', async () => {
    const { clock, last, welcome } = client()
    welcome({ resume: 'x'.repeat(65) })
    const [first] = last().sent
    last().end(1006)
    await clock.advance(250)
    last().open()
    expect(last().sent).toEqual([first])
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

  it('waits twice as long each time that a server refuses it, up to four minutes, and not any more once it is welcome', async () => {
    const { clock, sockets, last, welcome } = client(() => 0.999999)
    const waits: number[] = []
    const refuse = async () => {
      const before = sockets.length
      last().open()
      last().end(4401)
      const startedMs = clock.now()
      while (sockets.length === before) await clock.advance(100)
      waits.push(Math.round((clock.now() - startedMs) / 1_000))
    }
    for (let refusals = 0; refusals < 6; refusals += 1) await refuse()
    welcome()
    last().end(1006)
    await clock.advance(5_000)
    await refuse()
    expect(waits).toEqual([15, 30, 60, 120, 240, 240, 15])
  })

  it.each([
    [4401, 'unauthorized'],
    [4403, 'forbidden'],
  ])('is, after close code %i, %s until it is welcome, also while it tries again', async (code, state) => {
    const { signaling, clock, heard, sockets, last, welcome } = client()
    last().open()
    last().say({ type: 'error', code: 'told' })
    last().end(code)
    expect([signaling.state, signaling.lastProblem]).toEqual([state, 'the server says told'])
    await clock.advance(15_000)
    expect([sockets.length, signaling.state]).toEqual([2, state])
    welcome()
    expect(heard).toEqual([state, 'open', { welcome: [bo] }])
    expect(signaling.lastProblem).toBeNull()
  })

  it('is no longer refused, only away, when the server has gone meanwhile', async () => {
    const { signaling, clock, last } = client()
    last().open()
    last().end(4401)
    await clock.advance(15_000)
    last().end(1006)
    expect(signaling.state).toBe('connecting')
  })

  it('shows its token in each hello, beside the resume token', async () => {
    const { clock, last, welcome } = client(undefined, 'shown')
    welcome()
    last().end(1006)
    await clock.advance(250)
    last().open()
    expect(last().sent).toEqual([{ type: 'hello', room, id: ana, resume: serverToken, token: 'shown' }])
  })

  it('asks the function that gives tokens at each connect, for this room, and opens no socket before it has answered', async () => {
    const asked: string[] = []
    const answers: ((token: string) => void)[] = []
    const { signaling, clock, sockets, last, welcome } = client(undefined, (askedFor) => {
      asked.push(askedFor)
      return new Promise((resolve) => answers.push(resolve))
    })
    // A login takes its time, and looking again does not ask for a second one.
    await clock.advance(600_000)
    signaling.recheck()
    expect([asked, sockets.length]).toEqual([[room], 0])
    answers[0]?.('first')
    await settle()
    welcome()
    expect(last().sent).toEqual([{ type: 'hello', room, id: ana, resume: ownToken, token: 'first' }])
    last().end(1006)
    await clock.advance(250)
    expect(asked).toEqual([room, room])
    answers[1]?.('second')
    await settle()
    last().open()
    expect(last().sent).toEqual([{ type: 'hello', room, id: ana, resume: serverToken, token: 'second' }])
  })

  it.each<[string, SignalingToken, string]>([
    ['throws', () => Promise.reject(new Error('the login failed')), 'no token: the login failed'],
    ['gives an empty one', () => '', 'no token: expected a text of at most 4,096 characters'],
    [
      'gives one that no server takes',
      () => 'x'.repeat(4_097),
      'no token: expected a text of at most 4,096 characters',
    ],
  ])('asks again after a while when the function that gives tokens %s, and says so', async (_what, token, problem) => {
    let asked = 0
    const { signaling, clock, sockets } = client(undefined, (askedFor) => {
      asked += 1
      return typeof token === 'string' ? token : token(askedFor)
    })
    await settle()
    expect([asked, signaling.lastProblem, signaling.state]).toEqual([1, problem, 'connecting'])
    await clock.advance(250)
    expect([asked, sockets.length]).toEqual([2, 0])
  })

  it('does nothing with a token that comes when it is closed', async () => {
    let give: (token: string) => void = () => undefined
    const { signaling, clock, sockets } = client(undefined, () => new Promise((resolve) => (give = resolve)))
    signaling.close()
    give('late')
    await settle()
    expect([sockets.length, clock.pending, signaling.state]).toEqual([0, 0, 'closed'])
  })

  it('tells which ICE servers the server names, at each welcome and when there are new ones', async () => {
    const { clock, iceServers, last, welcome } = client()
    const named = (username: string) => [{ urls: ['turn:turn.example:3478'], username, credential: 'c' }]
    last().say({ type: 'ice', ice: named('early') })
    welcome({ ice: named('1') })
    last().say({ type: 'ice', ice: named('2') })
    last().end(1006)
    await clock.advance(250)
    welcome()
    expect(iceServers).toEqual([named('1'), named('2'), []])
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

  it('tells a server that it means to come back from one that it leaves: 4000, and 1000', async () => {
    const { signaling, clock, sockets, welcome } = client()
    welcome()
    await clock.advance(21_000)
    welcome()
    signaling.close()
    expect(sockets.map(({ closedWith }) => closedWith)).toEqual([4_000, 1_000])
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
