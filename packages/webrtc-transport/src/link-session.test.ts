import { replicaId } from '@wepaxos/core'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { ManualClock } from '../testing/manual-clock.ts'
import { createMemoryLinks } from '../testing/memory-links.ts'
import { type ControlMessage, decodeControlMessage, encodeControlMessage } from './control-message.ts'
import { defaultFramingLimits, FrameWriter, type LinkMessage } from './framing.ts'
import { LinkSession } from './link-session.ts'
import type { PeerLink } from './peer-link.ts'

const bye: ControlMessage = { type: 'bye' }
const attach: ControlMessage = {
  type: 'attach',
  channel: 16,
  partition: 'p',
  replica: replicaId('a'.repeat(32)),
  sinceMs: 1,
  alg: 'P-256',
  key: 'key',
  signature: 'signature',
}

/** A session at one end of a link; the other end is raw, so that it can say anything. */
async function open() {
  const clock = new ManualClock()
  const { createLink } = createMemoryLinks(clock)
  const heard: string[] = []
  const rawFrames: Uint8Array[] = []
  let session: LinkSession | undefined
  const ends: { raw: PeerLink; link: PeerLink } = {
    raw: createLink({
      peer: 'raw',
      initiator: true,
      iceServers: [],
      events: {
        onSignal: (signal) => ends.link.signal(signal),
        onOpen: () => undefined,
        onMessage: (bytes) => rawFrames.push(bytes),
        onDrain: () => undefined,
        onClose: (reason) => heard.push(`raw end closed: ${reason}`),
      },
    }),
    link: createLink({
      peer: 'raw',
      initiator: false,
      iceServers: [],
      events: {
        onSignal: (signal) => ends.raw.signal(signal),
        onOpen: () => {
          session = new LinkSession({
            peer: 'raw',
            proven: { identity: 'raw', role: 'voter', binding: { own: 'own', theirs: 'theirs' } },
            link: ends.link,
            clock,
            liveness: { pingIntervalMs: 2_000, silentIntervalsMax: 3 },
            limits: { ...defaultFramingLimits, queueBytesMax: 1_000_000 },
            fault: () => ({}),
            events: {
              onControl: (_session, { type }) => heard.push(type),
              onMessage: (_session, { bytes }) => heard.push(`message of ${bytes.length}`),
              onAlive: () => heard.push('alive'),
              onGarbage: (_session, reason) => heard.push(`garbage: ${reason}`),
            },
          })
        },
        onMessage: (bytes) => session?.receive(bytes),
        onDrain: () => session?.flush(),
        onClose: (reason) => {
          session?.ended()
          heard.push(`closed: ${reason}`)
        },
      },
    }),
  }
  await clock.advance(20)
  if (session === undefined) throw new Error('the link did not open')
  const say = (message: LinkMessage) => ends.raw.send(frameOf(message))
  return { clock, session, raw: ends.raw, heard, rawFrames, say }
}

function frameOf(message: LinkMessage): Uint8Array<ArrayBuffer> {
  const writer = new FrameWriter()
  writer.enqueue(message, 'normal')
  return writer.next() ?? expect.unreachable()
}

const settled = Promise.resolve()

function control(text: string): LinkMessage {
  return { channel: 0, sender: 0, bytes: new TextEncoder().encode(text) }
}

describe('a link session', () => {
  it('passes on messages, and those of the control channel by their kind', async () => {
    const { clock, heard, say } = await open()
    say({ channel: 20, sender: 16, bytes: new Uint8Array(7) })
    say({ channel: 0, sender: 0, bytes: encodeControlMessage(bye) })
    await clock.advance(10)
    expect(heard).toEqual(['message of 7', 'bye'])
  })

  it('is given up after three silent intervals, and not before', async () => {
    const { clock, heard } = await open()
    await clock.advance(7_900)
    expect(heard).toEqual([])
    await clock.advance(200)
    expect(heard).toContain('closed: the peer is silent')
    expect(clock.pending).toBe(0)
  })

  it('is not given up while anything at all comes', async () => {
    const { clock, session, say } = await open()
    for (let count = 0; count < 10; count += 1) {
      say({ channel: 20, sender: 16, bytes: Uint8Array.of(1) })
      await clock.advance(1_900)
    }
    expect(session.isOpen).toBe(true)
  })

  it('does not count intervals in which its own timers slept', async () => {
    const { clock, session, say } = await open()
    for (let count = 0; count < 10; count += 1) {
      clock.sleep(60_000)
      await clock.advance(0)
    }
    expect(session.isOpen).toBe(true)
    say({ channel: 20, sender: 16, bytes: Uint8Array.of(1) })
    await clock.advance(7_000)
    expect(session.isOpen).toBe(true)
  })

  it('is given up sooner when it was asked to look again, but not without giving time to answer', async () => {
    const { clock, session } = await open()
    await clock.advance(1_900)
    session.recheck()
    await clock.advance(1_900)
    expect(session.isOpen).toBe(true)
    await clock.advance(2_000)
    expect(session.isOpen).toBe(false)
  })

  it.each([
    ['another version', Uint8Array.of(9, 9, 9)],
    ['an empty frame', new Uint8Array(0)],
    ['a part beyond the end', Uint8Array.of(1, 0, 16, 16, 200, 1)],
  ])('is closed by %s, which is counted and goes no further', async (_what, bytes) => {
    const { clock, heard, raw, session } = await open()
    raw.send(bytes)
    await clock.advance(10)
    expect(session.isOpen).toBe(false)
    expect(heard.filter((entry) => entry.startsWith('garbage'))).toHaveLength(1)
    expect(heard.some((entry) => entry.startsWith('message'))).toBe(false)
  })

  it.each([
    ['rubbish'],
    ['null'],
    ['{}'],
    ['{"type":"root"}'],
    ['{"type":"ping"}'],
    ['{"type":"detach","channel":-1}'],
    ['{"type":"attach","channel":16,"partition":"p","replica":"short","sinceMs":1}'],
    ['{"type":"attach","channel":16,"partition":5,"replica":"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa","sinceMs":1}'],
    ['{"type":"attach","channel":16,"partition":"p","replica":"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa","sinceMs":null}'],
    ['{"type":"attach","channel":16,"partition":"p","replica":"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa","sinceMs":1}'],
    [JSON.stringify({ ...attach, alg: 'none' })],
    [JSON.stringify({ ...attach, key: 5 })],
    [JSON.stringify({ ...attach, signature: undefined })],
    [`{"type":"bye","padding":"${'x'.repeat(4_096)}"}`],
  ])('is closed by the control message %j', async (text) => {
    const { clock, heard, say, session } = await open()
    say(control(text))
    await clock.advance(10)
    expect(session.isOpen).toBe(false)
    expect(heard[0]).toBe('garbage: a control message that is none')
  })

  it('reads nothing of a frame after the part that closed it', async () => {
    const { clock, heard, raw } = await open()
    const writer = new FrameWriter()
    writer.enqueue(control('rubbish'), 'normal')
    writer.enqueue({ channel: 20, sender: 16, bytes: Uint8Array.of(1) }, 'normal')
    const frame = writer.next()
    if (frame !== undefined) raw.send(frame)
    await clock.advance(10)
    expect(heard.filter((entry) => entry.startsWith('message'))).toEqual([])
  })

  it('answers pings, and measures by its own', async () => {
    const { clock, session, rawFrames, say, heard } = await open()
    rawFrames.length = 0
    say(control('{"type":"ping","id":77}'))
    await clock.advance(10)
    expect(rawFrames.map((frame) => new TextDecoder().decode(frame)).join()).toContain('{"type":"pong","id":77}')
    expect(session.rttMs).toBeNull()
    say(control('{"type":"pong","id":1}'))
    await clock.advance(10)
    expect(session.rttMs).toBeGreaterThan(0)
    expect(heard).toEqual(['alive'])
  })

  describe('with a peer that reads nothing', () => {
    let sent: Uint8Array[]
    let link: { -readonly [Key in keyof PeerLink]: PeerLink[Key] }
    let session: LinkSession
    let closed: string[]
    const queueBytesMax = 1_000_000

    beforeEach(() => {
      sent = []
      closed = []
      link = {
        bufferedBytes: 0,
        writable: false,
        fingerprints: () => Promise.reject(new Error('not asked here')),
        signal: () => true,
        send: (bytes) => sent.push(bytes),
        close: (reason) => closed.push(reason),
      }
      session = new LinkSession({
        peer: 'raw',
        proven: { identity: 'raw', role: 'voter', binding: { own: 'own', theirs: 'theirs' } },
        link,
        clock: new ManualClock(),
        liveness: { pingIntervalMs: 2_000, silentIntervalsMax: 3 },
        limits: { ...defaultFramingLimits, queueBytesMax },
        fault: () => ({}),
        events: {
          onControl: () => undefined,
          onMessage: () => undefined,
          onAlive: () => undefined,
          onGarbage: () => undefined,
        },
      })
    })

    afterEach(() => session.close('the test is over'))

    it('keeps one answer to all its pings, that to the latest one', async () => {
      const before = session.queuedBytes
      for (let id = 0; id < 100_000; id += 1) session.receive(frameOf(control(`{"type":"ping","id":${id}}`)))
      await settled
      expect([session.queuedBytes, closed]).toEqual([before, []])
      link.writable = true
      session.flush()
      const text = sent.map((frame) => new TextDecoder().decode(frame)).join()
      expect(text.match(/"pong","id":[0-9]+/g)).toEqual(['"pong","id":99999'])
    })

    it('counts what a message costs besides its payload, so that empty ones are not endless', () => {
      let count = 0
      const empty = { channel: 16, sender: 16, bytes: new Uint8Array(0) }
      for (; session.isOpen && count < queueBytesMax / 200; count += 1) session.send(empty, 'normal')
      expect(count).toBeGreaterThan(1_000)
      expect(closed).toEqual(['more is queued than the peer takes'])
    })
  })

  it('takes no pong for a ping that it did not just send', async () => {
    const { clock, session, say } = await open()
    say(control('{"type":"pong","id":5}'))
    await clock.advance(10)
    expect(session.rttMs).toBeNull()
  })
})

describe('a control message', () => {
  it('comes back from its bytes', () => {
    const messages: readonly ControlMessage[] = [bye, attach, { type: 'ping', id: 3 }, { type: 'detach', channel: 16 }]
    for (const message of messages) expect(decodeControlMessage(encodeControlMessage(message))).toEqual(message)
  })

  it('is decoded from any JSON without throwing', () => {
    fc.assert(
      fc.property(fc.json(), (text) => {
        decodeControlMessage(new TextEncoder().encode(text))
      }),
      { numRuns: 300 },
    )
  })
})
