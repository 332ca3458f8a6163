import { expect, test } from 'vitest'
import { signalingUrl } from './config.ts'

test('the signaling server is /signal on the page’s own host unless something else is said', () => {
  expect(signalingUrl({ href: 'http://127.0.0.1:5173/#v1.w.secret', meta: null })).toBe('ws://127.0.0.1:5173/signal')
  expect(signalingUrl({ href: 'https://demo.example/a/b', meta: '' })).toBe('wss://demo.example/signal')
})

test('the meta tag names another server, and the address of the page overrides the tag', () => {
  const meta = 'wss://signal.example/rooms'
  expect(signalingUrl({ href: 'https://demo.example/', meta })).toBe('wss://signal.example/rooms')
  const href = 'https://demo.example/?signaling=ws://127.0.0.1:4444/#v1.w.secret'
  expect(signalingUrl({ href, meta })).toBe('ws://127.0.0.1:4444/')
})

test('the secret of the room never becomes part of the signaling address', () => {
  expect(signalingUrl({ href: 'https://demo.example/?signaling=/signal#v1.w.secret', meta: null })).not.toContain(
    'secret',
  )
})

test('an address that is no WebSocket address is refused', () => {
  expect(() => signalingUrl({ href: 'https://demo.example/?signaling=javascript:alert(1)', meta: null })).toThrow(
    TypeError,
  )
})
