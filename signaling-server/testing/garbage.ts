// Frames that no honest peer sends, and some that one does, from a seed: what a hostile client may put on the wire.
import { randomBytes } from 'node:crypto'

export type Random = () => number

/** Mulberry32: small, and the same everywhere. */
export function seededRandom(seed: number): Random {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }
}

/** Bytes for a socket that has sent its upgrade request: `count` frames, most of them bad. */
export function garbageFrames(random: Random, count: number, room: string, id: string): Buffer {
  return Buffer.concat(Array.from({ length: count }, (_, at) => garbageFrame(random, at, room, id)))
}

function garbageFrame(random: Random, at: number, room: string, id: string): Buffer {
  const pick = Math.floor(random() * 12)
  const hello = JSON.stringify({ type: 'hello', room, id })
  // Every other socket begins well, so that the garbage meets a member too.
  if (at === 0 && random() < 0.5) return frame(random, 1, Buffer.from(hello))
  switch (pick) {
    case 0:
      return frame(random, 1, Buffer.from(mutated(random, hello)))
    case 1:
      return frame(
        random,
        1,
        Buffer.from(mutated(random, JSON.stringify({ type: 'signal', to: id, data: { ct: 'x' } }))),
      )
    case 2:
      return frame(
        random,
        1,
        Buffer.from(JSON.stringify({ type: 'signal', to: id, data: bytes(random, 2_000).toString('base64') })),
      )
    case 3:
      return frame(random, 1, Buffer.from('{"a":'.repeat(Math.floor(random() * 2_000))))
    case 4:
      return frame(random, 1, bytes(random, 4_000))
    case 5:
      return frame(random, 2, bytes(random, 4_000))
    case 6:
      return frame(random, Math.floor(random() * 16), bytes(random, 200), random() < 0.5)
    case 7:
      return frame(random, 1, Buffer.from('{"__proto__":{"type":"hello"},"constructor":{"prototype":{}}}'))
    case 8:
      return frame(random, 1, Buffer.from(JSON.stringify({ type: 'subscribe', topics: [room, mutated(random, room)] })))
    case 9:
      return frame(random, 1, Buffer.from(JSON.stringify({ type: 'publish', topic: room, data: id })))
    case 10:
      // A frame that promises more than there will ever be.
      return Buffer.concat([Buffer.from([0x81, 0xff]), bytes(random, 8, 8)])
    default:
      return bytes(random, 300)
  }
}

function mutated(random: Random, text: string): string {
  const at = Math.floor(random() * text.length)
  const put = String.fromCharCode(Math.floor(random() * 0x300))
  return random() < 0.3 ? text.slice(0, at) : text.slice(0, at) + put + text.slice(at + Math.floor(random() * 3))
}

function bytes(random: Random, max: number, min = 0): Buffer {
  const all = Buffer.alloc(min + Math.floor(random() * (max - min + 1)))
  for (let at = 0; at < all.length; at++) all[at] = Math.floor(random() * 256)
  return all
}

/** One masked frame, as a client has to send it. */
function frame(random: Random, opcode: number, payload: Buffer, isLast = true): Buffer {
  const mask = bytes(random, 4, 4)
  const first = (isLast ? 0x80 : 0) | opcode
  const head =
    payload.length < 126
      ? Buffer.from([first, 0x80 | payload.length])
      : Buffer.from([first, 0x80 | 126, payload.length >> 8, payload.length & 0xff])
  const masked = Buffer.alloc(payload.length)
  for (let at = 0; at < payload.length; at++) masked[at] = (payload[at] ?? 0) ^ (mask[at % 4] ?? 0)
  return Buffer.concat([head, mask, masked])
}

/** The request that asks for a WebSocket. */
export function upgradeRequest(path: string, protocol: string | undefined): string {
  const lines = [
    `GET ${path} HTTP/1.1`,
    'Host: localhost',
    'Connection: Upgrade',
    'Upgrade: websocket',
    'Sec-WebSocket-Version: 13',
    `Sec-WebSocket-Key: ${randomBytes(16).toString('base64')}`,
    ...(protocol === undefined ? [] : [`Sec-WebSocket-Protocol: ${protocol}`]),
  ]
  return `${lines.join('\r\n')}\r\n\r\n`
}
