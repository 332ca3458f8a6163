// `soak fuzz`, the part of the signaling server: random and mutated texts for each decoder of its wires. A decoder says yes
// or no; it never throws, never takes long, and what it says yes to is what it would say yes to again.

import { decodeClientMessage, decodeServerMessage } from '../../signaling-server/src/wire.ts'
import { decodeTopicMessage } from '../../signaling-server/src/y-webrtc.ts'
import { type Random, seededRandom } from '../../signaling-server/testing/garbage.ts'
import { FuzzWatch } from '../fuzz.ts'

type Decode = (text: string) => { readonly ok: boolean; readonly message?: unknown }

const id = 'peer-0123456789abcdef'
const limits = { messageBytesMax: 1, messagesPerSecond: 2, messagesBurst: 3, roomSocketsMax: 4, resumeMs: 5 }
const ice = [{ urls: ['turn:turn.example'], username: '1:ada', credential: 'c' }]

const decoders: readonly { readonly name: string; readonly decode: Decode; readonly good: readonly unknown[] }[] = [
  {
    name: 'client',
    decode: decodeClientMessage,
    good: [
      { type: 'hello', room: id, id, resume: id, token: 't' },
      { type: 'signal', to: id, data: { iv: 'x', ct: ['y', { z: [1] }] } },
      { type: 'ping' },
    ],
  },
  {
    name: 'server',
    decode: decodeServerMessage,
    good: [
      { type: 'welcome', you: id, peers: [id], resume: 'r', limits, ice },
      { type: 'peer-joined', id },
      { type: 'peer-left', id, reason: 'gone' },
      { type: 'signal', from: id, data: 'x' },
      { type: 'error', code: 'unknown-peer', to: id },
      { type: 'ice', ice },
      { type: 'drain', retryAfterMs: 1 },
    ],
  },
  {
    name: 'topic',
    decode: decodeTopicMessage,
    good: [
      { type: 'subscribe', topics: ['a', 'b'] },
      { type: 'unsubscribe', topics: [] },
      { type: 'publish', topic: 'a', data: { from: 'x', signal: { sdp: '…' } } },
      { type: 'ping' },
    ],
  },
]

const pieces = [
  '{',
  '}',
  '[',
  ']',
  '"',
  '\\',
  ',',
  ':',
  '__proto__',
  'constructor',
  'type',
  '\u0000',
  '\ud800',
  '1e999',
  'null',
  id,
]

/** `rounds` random and as many mutated texts for each decoder. Throws at the first that breaks a promise. */
export async function soakSignalingDecoders(
  rounds: number,
  seed = Math.floor(Math.random() * 1e9),
): Promise<Record<string, number>> {
  process.stderr.write(`signaling decoders: seed ${seed}\n`)
  const random = seededRandom(seed)
  const watch = new FuzzWatch()
  let accepted = 0
  for (const { name, decode, good } of decoders) {
    for (let round = 0; round < rounds * 2; round++) {
      const text =
        round % 2 === 0 ? randomText(random) : mutated(random, JSON.stringify(good[(round >> 1) % good.length]))
      const decoded = watch.time(
        name,
        () => JSON.stringify(text),
        () => decode(text),
      )
      if (!decoded.ok) continue
      accepted += 1
      const again = decode(JSON.stringify(decoded.message))
      if (!again.ok || JSON.stringify(again.message) !== JSON.stringify(decoded.message)) {
        throw new Error(`${name} does not stand by what it said of ${JSON.stringify(text)}`)
      }
      // Leaves room for whatever else runs beside.
      if (round % 10_000 === 0) await new Promise(setImmediate)
    }
  }
  const { prototype } = Object
  if (Object.keys(prototype).length > 0)
    throw new Error(`the prototype of all has ${Object.keys(prototype).join(', ')}`)
  return { seed, texts: rounds * 2 * decoders.length, accepted, ...watch.end('signaling') }
}

function randomText(random: Random): string {
  // A few as long as a message may be.
  const length = Math.floor(random() * (random() < 0.001 ? 4_000 : 40))
  let text = ''
  for (let at = 0; at < length; at++) {
    text += random() < 0.7 ? pieces[Math.floor(random() * pieces.length)] : String.fromCharCode(random() * 0x10000)
  }
  return text
}

function mutated(random: Random, text: string): string {
  let result = text
  for (let change = Math.floor(random() * 4); change >= 0; change--) {
    const at = Math.floor(random() * result.length)
    const piece = pieces[Math.floor(random() * pieces.length)] ?? ''
    const cut = Math.floor(random() * random() * 20)
    result = result.slice(0, at) + (random() < 0.6 ? piece : '') + result.slice(at + cut)
  }
  return result
}
