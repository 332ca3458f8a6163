// `soak fuzz`, the part of the links: random and mutated bytes and values for each decoder of what another page, or the signaling
// server, may say. A decoder says what it is or that it is nothing; it never throws.
import { createRandom, type Random } from '../../packages/core/src/lib/random.ts'
import { replicaId } from '../../packages/core/src/protocol/ids.ts'
import { encodeBase64Url } from '../../packages/webrtc-transport/src/base64url.ts'
import { decodeControlMessage, encodeControlMessage } from '../../packages/webrtc-transport/src/control-message.ts'
import { FrameReader, FrameWriter, type LinkMessage } from '../../packages/webrtc-transport/src/framing.ts'
import { decodeIceServers } from '../../packages/webrtc-transport/src/ice-servers.ts'
import { AwarenessPresence, type PresenceLink } from '../../packages/webrtc-transport/src/presence.ts'
import { createReplicaKey, decodeReplicaKey } from '../../packages/webrtc-transport/src/replica-key.ts'
import { decodeSignalingMessage } from '../../packages/webrtc-transport/src/signaling-message.ts'
import { FuzzWatch } from '../fuzz.ts'

interface Decoder {
  readonly name: string
  /** True: it took it for something. */
  decode(bytes: Uint8Array): boolean
  readonly good: readonly Uint8Array[]
}

const key = encodeBase64Url(new Uint8Array(32).fill(7))
const nonce = encodeBase64Url(new Uint8Array(16))
const replica = replicaId('1f'.repeat(16))

/** `rounds` random and as many mutated inputs for each decoder. Throws at the first that throws, is slow, or fills the memory. */
export async function soakLinkDecoders(
  rounds: number,
  seed = Math.floor(Math.random() * 1e9),
): Promise<Record<string, number>> {
  process.stderr.write(`link decoders: seed ${seed}\n`)
  const random = createRandom(seed)
  const presence = newPresence()
  const all = await decodersWith(presence)
  const watch = new FuzzWatch()
  let accepted = 0
  for (const { name, decode, good } of all) {
    for (let round = 0; round < 2 * rounds; round += 1) {
      const bytes = round % 2 === 0 ? randomBytes(random) : mutate(random.pick(good), random)
      watch.time(
        name,
        () => Buffer.from(bytes).toString('hex'),
        () => {
          if (decode(bytes)) accepted += 1
        },
      )
      // Leaves room for whatever else runs beside.
      if (round % 10_000 === 0) await new Promise(setImmediate)
    }
  }
  presence.close()
  return { linkInputs: 2 * rounds * all.length, linkAccepted: accepted, ...watch.end('link') }
}

async function decodersWith(presence: AwarenessPresence<PresenceLink>): Promise<readonly Decoder[]> {
  let reader = new FrameReader()
  const update = presenceUpdate()
  return [
    {
      name: 'framing',
      // One reader for many frames, as on a link: what is half received is what could pile up.
      decode(bytes) {
        const read = reader.read(bytes)
        if (!read.ok) reader = new FrameReader()
        return read.ok
      },
      good: frames(),
    },
    {
      name: 'control',
      decode: (bytes) => decodeControlMessage(bytes) !== undefined,
      good: [
        encodeControlMessage({
          type: 'attach',
          channel: 16,
          partition: 'main',
          replica,
          sinceMs: 1,
          alg: 'Ed25519',
          key,
          signature: encodeBase64Url(new Uint8Array(64)),
        }),
        encodeControlMessage({ type: 'detach', channel: 16 }),
        encodeControlMessage({ type: 'ping', id: 1 }),
        encodeControlMessage({ type: 'bye' }),
      ],
    },
    {
      name: 'signaling',
      decode: (bytes) => decodeSignalingMessage(parsed(bytes)) !== undefined,
      good: [
        { type: 'hello', nonce, echo: null },
        { type: 'offer', sdp: 'v=0', echo: nonce },
        { type: 'ice', candidates: [{ candidate: 'candidate:1', sdpMid: '0', sdpMLineIndex: 0 }], echo: nonce },
        { type: 'bye' },
      ].map(bytesOf),
    },
    {
      name: 'ICE servers',
      decode: (bytes) => decodeIceServers(parsed(bytes)).length > 0,
      good: [bytesOf([{ urls: ['turn:turn.example:3478?transport=udp'], username: '1:ada', credential: 'c' }])],
    },
    {
      name: 'replica key',
      decode: (bytes) => decodeReplicaKey(bytes) !== undefined,
      good: [(await createReplicaKey('Ed25519')).key],
    },
    {
      name: 'presence',
      decode(bytes) {
        // A link of its own each time, and closed again: nothing of it may stay.
        const link = presenceLink()
        presence.linkOpened(link)
        const taken = presence.received(link, bytes)
        presence.linkClosed(link)
        return taken
      },
      good: [update],
    },
  ]
}

function presenceLink(onSend: (message: LinkMessage) => void = () => undefined): PresenceLink {
  return { peer: 'peer', send: onSend }
}

function newPresence(): AwarenessPresence<PresenceLink> {
  return new AwarenessPresence(
    () => [],
    (error) => {
      throw error
    },
  )
}

/** What a page with a state says when a link opens. */
function presenceUpdate(): Uint8Array {
  const presence = newPresence()
  const said: Uint8Array[] = []
  presence.set({ name: 'bo', at: [1, 2] })
  presence.linkOpened(presenceLink(({ bytes }) => said.push(bytes)))
  presence.close()
  const [update] = said
  if (update === undefined) throw new Error('a page with a state says it')
  return update
}

function frames(): readonly Uint8Array[] {
  const writer = new FrameWriter()
  const made: Uint8Array[] = []
  for (const length of [3, 200, 40_000])
    writer.enqueue({ channel: 16, sender: 17, bytes: new Uint8Array(length) }, 'normal')
  for (let frame = writer.next(); frame !== undefined; frame = writer.next()) made.push(frame.slice())
  return made
}

function bytesOf(value: unknown): Uint8Array {
  return new TextEncoder().encode(JSON.stringify(value))
}

/** What arrives has been parsed: by JSON.parse, which throws by itself at what is none. */
function parsed(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder().decode(bytes))
  } catch {
    return undefined
  }
}

function randomBytes(random: Random): Uint8Array {
  return Uint8Array.from({ length: random.integer(200) }, () => random.integer(256))
}

function mutate(bytes: Uint8Array, random: Random): Uint8Array {
  const mutated = bytes.slice(0, random.chance(0.2) ? random.integer(bytes.length + 1) : bytes.length)
  for (let times = 1 + random.integer(4); times > 0 && mutated.length > 0; times -= 1) {
    mutated[random.integer(mutated.length)] = random.integer(256)
  }
  return mutated
}
