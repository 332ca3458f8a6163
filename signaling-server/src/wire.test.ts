import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { peerId, roomId } from './fixtures.ts'
import {
  type ClientMessage,
  decodeClientMessage,
  decodeServerMessage,
  encodeMessage,
  nestingMax,
  type ServerMessage,
} from './wire.ts'

const room = roomId('a')
const id = peerId('a')
const limits = { messageBytesMax: 1, messagesPerSecond: 2, messagesBurst: 3, roomSocketsMax: 4, resumeMs: 5 }

describe('wire v1', () => {
  it('needs nothing of Node, so that browsers can have it', () => {
    const read = (file: string) => readFileSync(new URL(file, import.meta.url), 'utf8')
    const imports = [...read('./wire.ts').matchAll(/ from '([^']+)'/g)].map(([, file]) => file)
    expect(new Set(imports)).toEqual(new Set(['./bounded-json.ts']))
    expect(read('./wire.ts')).not.toMatch(/require\(|Buffer\.|process\./m)
    expect(read('./bounded-json.ts')).not.toMatch(/^import |require\(|Buffer\.|process\./m)
  })

  it.each<ClientMessage>([
    { type: 'hello', room, id },
    { type: 'hello', room, id, resume: 'r'.repeat(16), token: 't' },
    { type: 'hello', room, id, resume: '-_'.repeat(32) },
    { type: 'signal', to: id, data: 'sealed' },
    { type: 'signal', to: id, data: { iv: 'x', ct: ['y'] } },
    { type: 'ping' },
  ])('brings %j from peer to server unchanged', (message) => {
    expect(decodeClientMessage(encodeMessage(message))).toEqual({ ok: true, message })
  })

  it.each<ServerMessage>([
    { type: 'welcome', you: id, peers: [peerId('b')], resume: 'r', limits },
    { type: 'welcome', you: id, peers: [], resume: 'r', limits, ice: [{ urls: ['stun:h'] }] },
    { type: 'peer-joined', id },
    { type: 'peer-left', id, reason: 'gone' },
    { type: 'signal', from: id, data: {} },
    { type: 'pong' },
    { type: 'error', code: 'unknown-peer', to: id },
    { type: 'ice', ice: [{ urls: ['turn:h'], username: '1:ada', credential: 'c' }] },
    { type: 'drain', retryAfterMs: 1 },
  ])('brings %j from server to peer unchanged', (message) => {
    expect(decodeServerMessage(encodeMessage(message))).toEqual({ ok: true, message })
  })

  it.each([
    ['nothing', ''],
    ['half an object', '{"type":"ping"'],
    ['a list', '[]'],
    ['null', 'null'],
    ['an unknown type', '{"type":"subscribe"}'],
    ['no type', '{}'],
    ['a type that every object has', '{"type":"constructor"}'],
    ['an unknown field', '{"type":"ping","more":1}'],
    ['a prototype', '{"__proto__":{"type":"ping"}}'],
    ['a prototype beside a type', '{"type":"ping","__proto__":{}}'],
    ['a short id', JSON.stringify({ type: 'hello', room, id: 'short' })],
    ['an id of other letters', JSON.stringify({ type: 'hello', room, id: 'a/b/c/d/e/f/g/h/i' })],
    ['a long id', JSON.stringify({ type: 'hello', room, id: 'a'.repeat(65) })],
    ['an id with a line end', JSON.stringify({ type: 'hello', room, id: `${id}\n` })],
    ['a number for a room', JSON.stringify({ type: 'hello', room: 1, id })],
    ['an empty token', JSON.stringify({ type: 'hello', room, id, token: '' })],
    ['a resume token that could be guessed', JSON.stringify({ type: 'hello', room, id, resume: 'r'.repeat(15) })],
    ['an endless resume token', JSON.stringify({ type: 'hello', room, id, resume: 'r'.repeat(65) })],
    ['a resume token with a bar', JSON.stringify({ type: 'hello', room, id, resume: `${'r'.repeat(20)}|x` })],
    ['a list for data', JSON.stringify({ type: 'signal', to: id, data: [] })],
    ['null for data', JSON.stringify({ type: 'signal', to: id, data: null })],
    ['no data', JSON.stringify({ type: 'signal', to: id })],
    ['a message of the server', JSON.stringify({ type: 'signal', from: id, data: {} })],
  ])('refuses %s from a peer', (_, text) => {
    expect(decodeClientMessage(text)).toMatchObject({ ok: false })
  })

  it('refuses nesting that is one level too deep, whatever brackets stand in strings', () => {
    const nested = (depth: number) => {
      const [open, close] = ['{"a":'.repeat(depth - 2), '}'.repeat(depth - 2)]
      return `{"type":"signal","to":"${id}","data":{"b":${open}"}]{[\\"{"${close}}}`
    }
    expect(decodeClientMessage(nested(nestingMax))).toMatchObject({ ok: true })
    expect(decodeClientMessage(nested(nestingMax + 1))).toMatchObject({ ok: false })
    expect(decodeClientMessage('['.repeat(1_000_000))).toMatchObject({ ok: false })
  })

  it('lets a later server add fields that this peer does not know', () => {
    const message = { type: 'peer-joined', id, since: 5 }
    expect(decodeServerMessage(JSON.stringify(message))).toEqual({ ok: true, message: { type: 'peer-joined', id } })
  })

  it.each([
    ['a peer list with a stranger in it', { type: 'welcome', you: id, peers: ['x'], resume: 'r', limits }],
    ['limits that lack one', { type: 'welcome', you: id, peers: [], resume: 'r', limits: { resumeMs: 1 } }],
    ['an ICE server without urls', { type: 'welcome', you: id, peers: [], resume: 'r', limits, ice: [{}] }],
    ['fresh ICE servers that are no list', { type: 'ice', ice: {} }],
    ['an unknown error code', { type: 'error', code: 'toString' }],
    ['a negative time', { type: 'drain', retryAfterMs: -1 }],
    ['an unknown reason', { type: 'peer-left', id, reason: 'bored' }],
  ])('refuses %s from a server', (_, message) => {
    expect(decodeServerMessage(JSON.stringify(message))).toMatchObject({ ok: false })
  })
})
