import { describe, expect, it, vi } from 'vitest'
import { joinedPeer, startServer, TopicPeer } from './fixtures.ts'
import type { SignalingSettings } from './server.ts'
import { decodeTopicMessage } from './y-webrtc.ts'

async function startTopics(settings: SignalingSettings = {}) {
  const running = await startServer({ yWebrtcPath: '/y', ...settings })
  const url = `${running.url}y`
  const open = async (query = '') => {
    const peer = new TopicPeer(url + query)
    await peer.opened()
    return peer
  }
  const subscribed = async (...topics: readonly string[]) => {
    const peer = await open()
    peer.say({ type: 'subscribe', topics })
    expect(await peer.hearsNothingElse()).toBe(true)
    return peer
  }
  return { ...running, open, subscribed }
}

describe('the y-webrtc path', () => {
  it('brings what is published to all subscribers of the topic, the sender too, and says how many they are', async () => {
    const { subscribed } = await startTopics()
    const ada = await subscribed('notes', 'tasks')
    const bob = await subscribed('notes')
    const cyd = await subscribed('tasks')
    const data = { type: 'announce', from: 'ada' }
    ada.say({ type: 'publish', topic: 'notes', data })
    const heard = { type: 'publish', topic: 'notes', data, clients: 2 }
    expect(await ada.next()).toEqual(heard)
    expect(await bob.next()).toEqual(heard)
    expect(await cyd.hearsNothingElse()).toBe(true)
  })

  it('takes any name for a topic, and sealed data, as it came', async () => {
    const { subscribed } = await startTopics()
    for (const topic of ['__proto__', 'constructor', 'Ünïcode / room', 'x'.repeat(256)]) {
      const peer = await subscribed(topic)
      peer.say({ type: 'publish', topic, data: 'c2VhbGVk' })
      expect(await peer.next()).toEqual({ type: 'publish', topic, data: 'c2VhbGVk', clients: 1 })
    }
  })

  it('brings nothing any more after unsubscribe, and forgets a topic with its last subscriber', async () => {
    const { subscribed, server } = await startTopics()
    const ada = await subscribed('notes')
    const bob = await subscribed('notes')
    bob.say({ type: 'unsubscribe', topics: ['notes', 'never subscribed'] })
    expect(await bob.hearsNothingElse()).toBe(true)
    ada.say({ type: 'publish', topic: 'notes', data: 1 })
    expect(await ada.next()).toMatchObject({ clients: 1 })
    expect(await bob.hearsNothingElse()).toBe(true)
    ada.close()
    await vi.waitFor(() => expect(server.gauges().topics).toBe(0))
  })

  it('hears only subscribers of a topic', async () => {
    const { subscribed, open } = await startTopics()
    const ada = await subscribed('notes')
    const stranger = await open()
    stranger.say({ type: 'publish', topic: 'notes', data: 1 })
    expect(await stranger.hearsNothingElse()).toBe(true)
    expect(await ada.hearsNothingElse()).toBe(true)
  })

  it('answers ping with pong', async () => {
    const { open } = await startTopics()
    const peer = await open()
    peer.say({ type: 'ping' })
    expect(await peer.next()).toEqual({ type: 'pong' })
  })

  it.each<[string, string | Buffer]>([
    ['text that is no JSON', 'garbage'],
    ['half an object', '{"type":"publish"'],
    ['null', 'null'],
    ['a binary frame', Buffer.from('{"type":"ping"}')],
    ['deep JSON', `{"type":"publish","topic":"notes","data":${'['.repeat(8_000)}`],
    ['topics that are no list', '{"type":"subscribe","topics":7}'],
    ['a topic that is no text', '{"type":"subscribe","topics":[{"toString":1}]}'],
    ['an endless topic', JSON.stringify({ type: 'subscribe', topics: ['x'.repeat(257)] })],
    ['a publish without data', '{"type":"publish","topic":"notes"}'],
    ['a prototype key', '{"type":"ping","__proto__":{}}'],
    ['an unknown type', '{"type":"constructor"}'],
  ])('%s ends its sender with 4400 and harms nobody else', async (_, bad) => {
    const { subscribed } = await startTopics()
    const ada = await subscribed('notes')
    const bob = await subscribed('notes')
    const evil = await subscribed('notes')
    evil.sayRaw(bad)
    expect((await evil.closed).code).toBe(4400)
    ada.say({ type: 'publish', topic: 'notes', data: 'still here' })
    expect(await bob.next()).toMatchObject({ data: 'still here', clients: 2 })
  })

  it('keeps the same limits: topics in all, subscribers of one, messages, size', async () => {
    const { subscribed, open, url } = await startTopics({
      roomsMax: 1,
      roomSocketsMax: 2,
      messagesBurst: 5,
      messagesPerSecond: 1,
      payloadBytesMax: 512,
    })
    await subscribed('notes')
    await subscribed('notes')
    const closedAfter = async (message: unknown, times = 1) => {
      const peer = await open()
      for (let sent = 0; sent < times; sent++) peer.say(message)
      return peer.closed
    }
    expect(await closedAfter({ type: 'subscribe', topics: ['notes'] })).toEqual({ code: 1013, reason: 'room-full' })
    expect(await closedAfter({ type: 'subscribe', topics: ['other'] })).toEqual({ code: 1013, reason: 'server-full' })
    expect((await closedAfter({ type: 'ping' }, 20)).code).toBe(4429)
    expect((await closedAfter('x'.repeat(600))).code).toBe(1009)
    await joinedPeer(url, 'a', 'ada')
  })

  it('closes a client that says nothing with 1008', async () => {
    const { open } = await startTopics({ firstMessageTimeoutMs: 20 })
    expect(await (await open()).closed).toEqual({ code: 1008, reason: 'hello-timeout' })
  })

  it('keeps the origins, and is off unless asked for', async () => {
    const { open } = await startTopics({ origins: ['https://app.example'] })
    expect((await (await open()).closed).code).toBe(4403)
    const { url } = await startServer()
    await expect(new TopicPeer(`${url}y`).opened()).rejects.toThrow('404')
  })

  it('asks the authorize hook for each topic, with the token of the URL, and obeys in order', async () => {
    const asked: unknown[] = []
    const { open, server } = await startTopics({
      authorize: async ({ room, id, token }) => {
        asked.push({ room, id, token })
        await new Promise(setImmediate)
        if (token !== 'good') return 'refuse-peer'
        return room === 'secret' ? 'refuse-room' : 'allow'
      },
    })
    const ada = await open('?token=good')
    ada.say({ type: 'subscribe', topics: ['notes'] })
    ada.say({ type: 'publish', topic: 'notes', data: 'said before the hook had answered' })
    expect(await ada.next()).toMatchObject({ data: 'said before the hook had answered', clients: 1 })
    expect(asked).toEqual([{ room: 'notes', id: undefined, token: 'good' }])
    ada.say({ type: 'subscribe', topics: ['notes', 'secret'] })
    expect(await ada.closed).toEqual({ code: 4403, reason: 'room-refused' })
    const bob = await open()
    bob.say({ type: 'subscribe', topics: ['notes'] })
    expect(await bob.closed).toEqual({ code: 4401, reason: 'not-authorized' })
    expect(server.gauges().topics).toBe(0)
  })
})

describe('the authorize hook on the y-webrtc path', () => {
  it('is asked once for each topic of a message, however often it names it', async () => {
    const asked: string[] = []
    const { open } = await startTopics({
      authorize: ({ room }) => {
        asked.push(room)
        return 'allow'
      },
    })
    const peer = await open()
    peer.say({ type: 'subscribe', topics: ['notes', 'tasks', ...Array.from({ length: 1_000 }, () => 'notes')] })
    peer.say({ type: 'subscribe', topics: ['tasks', 'plans'] })
    expect(await peer.hearsNothingElse()).toBe(true)
    expect(asked).toEqual(['notes', 'tasks', 'plans'])
  })

  it('is not asked for more topics than a socket may have', async () => {
    const asked: string[] = []
    const { open } = await startTopics({
      socketTopicsMax: 2,
      authorize: ({ room }) => {
        asked.push(room)
        return 'allow'
      },
    })
    const peer = await open()
    peer.say({ type: 'subscribe', topics: ['notes'] })
    peer.say({ type: 'subscribe', topics: ['notes', 'tasks', 'plans'] })
    expect(await peer.closed).toEqual({ code: 1008, reason: 'too-many-topics' })
    expect(asked).toEqual(['notes'])
  })

  it('may be slow, but only as many messages wait for it as may come at once', async () => {
    const { open } = await startTopics({
      messagesBurst: 5,
      messagesPerSecond: 10_000,
      authorizeTimeoutMs: 60_000,
      authorize: () => new Promise(() => undefined),
    })
    const peer = await open()
    peer.say({ type: 'subscribe', topics: ['notes'] })
    let sent = 1
    const flood = setInterval(() => {
      peer.say({ type: 'ping' })
      sent += 1
    }, 2)
    expect(await peer.closed).toEqual({ code: 4429, reason: 'too-many-messages' })
    clearInterval(flood)
    expect(sent).toBeGreaterThan(5)
  })
})

describe('decodeTopicMessage', () => {
  it.each([
    { type: 'subscribe', topics: [] },
    { type: 'subscribe', topics: ['a', 'b'] },
    { type: 'unsubscribe', topics: ['a'] },
    { type: 'publish', topic: 'a', data: null },
    { type: 'publish', topic: 'a', data: { type: 'signal', from: 'x', to: 'y', signal: { sdp: '…' } } },
    { type: 'ping' },
  ])('reads %j as it was said', (message) => {
    expect(decodeTopicMessage(JSON.stringify(message))).toEqual({ ok: true, message })
  })
})
