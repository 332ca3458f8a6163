import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { ManualClock, settle } from '../testing/manual-clock.ts'
import { forgetEd25519 } from '../testing/old-browser.ts'
import { encodeBase64Url, randomText } from './base64url.ts'
import { createIdentity, createKeyPair, type Identity, identityName, identityOf } from './identity.ts'
import { createInvite, deriveRoomKeys, type Invite, readerInvite } from './invite.ts'
import { type Credentials, type LinkBinding, LinkProof, proofTimeoutMs } from './link-proof.ts'

type Message = Readonly<Record<string, unknown>>

interface EndOptions {
  readonly credentials: Credentials
  readonly id: string
  readonly own: string
  readonly theirs: string
}

/** One end of a proof, and a hand on the line between it and whatever the test puts at the other end. */
function end(clock: ManualClock, { credentials, id, own, theirs }: EndOptions, peer: string) {
  const sent: Uint8Array<ArrayBuffer>[] = []
  const heard: string[] = []
  const bindings: LinkBinding[] = []
  const keep = (bytes: Uint8Array<ArrayBuffer>): void => {
    sent.push(bytes)
  }
  const wire = { carry: keep }
  const proof = new LinkProof({
    credentials,
    self: id,
    peer,
    clock,
    fingerprints: () => Promise.resolve({ own, theirs }),
    send: (bytes) => wire.carry(bytes),
    onProven: ({ identity, role, binding }, unread) => {
      bindings.push(binding)
      heard.push(`proven ${role} ${identity}`, ...unread.map((frame) => `unread ${frame.length}`))
    },
    onRefused: (reason, kind) => heard.push(kind === 'unproven' ? `refused: ${reason}` : `${kind}: ${reason}`),
  })
  return { proof, sent, heard, bindings, wire }
}

/** Two ends; what each says passes `change` on its way. */
async function meet(
  left: EndOptions,
  right: EndOptions,
  change: (message: Message, from: 'left' | 'right') => unknown = (message) => message,
  expectedAtLeft: string = right.id,
) {
  const clock = new ManualClock()
  const at = { left: end(clock, left, expectedAtLeft), right: end(clock, right, left.id) }
  const carry = (from: 'left' | 'right') => {
    const target = at[from === 'left' ? 'right' : 'left']
    const deliver = (bytes: Uint8Array) => {
      const changed = change(JSON.parse(new TextDecoder().decode(bytes)) as Message, from)
      if (changed !== undefined) target.proof.receive(bytesOf(changed))
    }
    for (const bytes of at[from].sent) deliver(bytes)
    at[from].wire.carry = deliver
  }
  carry('left')
  carry('right')
  await settle()
  return { clock, left: at.left, right: at.right }
}

function bytesOf(message: unknown): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(JSON.stringify(message))
}

async function credentialsOf(invite: Invite, pair?: CryptoKeyPair): Promise<Credentials> {
  return { keys: await deriveRoomKeys(invite), identity: await identityOf(pair ?? (await createIdentity())) }
}

const nameOf = ({ identity }: Credentials) => identityName(identity)
const [certificateA, certificateB, certificateM] = ['a'.repeat(64), 'b'.repeat(64), 'd'.repeat(64)] as const
const [ana, bo] = ['ana-ana-ana-ana-', 'bo-bo-bo-bo-bo-bo'] as const

/** Ana and Bo of one room, Bo by a reader's link if so told. */
async function people(boIsReader = false, pair?: CryptoKeyPair) {
  const invite = createInvite()
  const anas = await credentialsOf(invite, pair)
  const bos = await credentialsOf(boIsReader ? await readerInvite(invite) : invite)
  const left: EndOptions = { credentials: anas, id: ana, own: certificateA, theirs: certificateB }
  const right: EndOptions = { credentials: bos, id: bo, own: certificateB, theirs: certificateA }
  return { invite, anas, bos, left, right }
}

describe('a proof on a link', () => {
  it('tells each end the key and the role of the other', async () => {
    const { anas, bos, left, right } = await people()
    const met = await meet(left, right)
    expect(met.left.heard).toEqual([`proven voter ${await nameOf(bos)}`])
    expect(met.right.heard).toEqual([`proven voter ${await nameOf(anas)}`])
    expect(met.clock.pending).toBe(0)
  })

  it('names each end of the link, the same at both ends, and otherwise on the next link between them', async () => {
    const { left, right } = await people()
    const links = [await meet(left, right), await meet(left, right)]
    for (const met of links) {
      const [binding] = met.left.bindings
      expect(binding).toEqual({
        own: expect.stringMatching(/^[\w-]{43}$/),
        theirs: expect.stringMatching(/^[\w-]{43}$/),
      })
      expect(met.right.bindings).toEqual([{ own: binding?.theirs, theirs: binding?.own }])
    }
    const names = links.flatMap((met) => met.left.bindings.flatMap(({ own, theirs }) => [own, theirs]))
    expect(new Set(names).size).toBe(4)
  })

  it('marks the holder of a reader link, and lets it in', async () => {
    const { anas, bos, left, right } = await people(true)
    const met = await meet(left, right)
    expect(met.left.heard).toEqual([`proven reader ${await nameOf(bos)}`])
    expect(met.right.heard).toEqual([`proven voter ${await nameOf(anas)}`])
  })

  it('works between a key on P-256 and one of Ed25519', async () => {
    const { anas, bos, left, right } = await people(false, await createKeyPair('Ed25519', false))
    expect([anas.identity.alg, bos.identity.alg]).toEqual(['Ed25519', 'P-256'])
    const met = await meet(left, right)
    expect([met.left.heard[0], met.right.heard[0]]).toEqual([
      expect.stringMatching(/^proven/),
      `proven voter ${await nameOf(anas)}`,
    ])
  })

  it('is refused for a key of a kind that this browser does not know, before it has proven anything itself', async () => {
    const { left, right } = await people(false, await createKeyPair('Ed25519', false))
    const saidByRight: unknown[] = []
    const remember = forgetEd25519()
    try {
      const met = await meet(left, right, (message, from) => {
        if (from === 'right') saidByRight.push(message['type'])
        return message
      })
      expect([met.right.heard, met.left.heard]).toEqual([['unknown-key: a key of the kind Ed25519'], []])
    } finally {
      remember()
    }
    expect(saidByRight).toEqual(['proof-hello'])
  })

  it('takes two messages of less than 500 bytes from each end', async () => {
    const { left, right } = await people()
    const lengths: number[] = []
    await meet(left, right, (message) => {
      lengths.push(bytesOf(message).length)
      return message
    })
    expect(lengths).toHaveLength(4)
    expect(Math.max(...lengths)).toBeLessThan(500)
  })

  it('fails at both ends when somebody stands between them, however honestly the words are passed on', async () => {
    const { left, right } = await people()
    const met = await meet({ ...left, theirs: certificateM }, { ...right, theirs: certificateM })
    const refused = ['refused: a signature that is not for this channel']
    expect([met.left.heard, met.right.heard]).toEqual([refused, refused])
  })

  it('fails when the other end is another one in the room than it says', async () => {
    const { left, right } = await people()
    const met = await meet(left, right, undefined, 'eve-eve-eve-eve-')
    const refused = ['refused: a signature that is not for this channel']
    expect([met.left.heard, met.right.heard]).toEqual([refused, refused])
  })

  it('fails at a voter for one of another room, whose voter secret proves nothing here', async () => {
    const { left, right } = await people()
    const keys = { ...(await deriveRoomKeys(createInvite())), room: left.credentials.keys.room }
    const met = await meet(left, { ...right, credentials: { ...right.credentials, keys } })
    expect(met.left.heard).toEqual(["refused: a voter's role without the voter's secret"])
  })

  it('fails for a reader that says it is a voter, with a made-up MAC and without one', async () => {
    const { left, right } = await people(true)
    const { keys, identity } = right.credentials
    const claimed: Credentials = { keys: { ...keys, role: 'voter' }, identity }
    const without = await meet(left, { ...right, credentials: claimed })
    expect(without.left.heard).toEqual(["refused: a voter's role without the voter's secret"])
    const join = await crypto.subtle.importKey('raw', new Uint8Array(32), { name: 'HMAC', hash: 'SHA-256' }, false, [
      'sign',
    ])
    const madeUp: Credentials = { keys: { ...keys, role: 'voter', join }, identity }
    const withMac = await meet(left, { ...right, credentials: madeUp })
    expect(withMac.left.heard).toEqual(["refused: a voter's role without the voter's secret"])
  })

  it("fails for a reader whose role was changed to a voter's on the way, with the MAC of the voter it talks to", async () => {
    const { left, right } = await people(true)
    let macOfAna: unknown
    const met = await meet(left, right, (message, from) => {
      if (from === 'left') {
        macOfAna ??= message['join']
        return message
      }
      return message['type'] === 'proof' ? { ...message, join: macOfAna } : { ...message, role: 'voter' }
    })
    expect(met.left.heard).toEqual(['refused: a signature that is not for this channel'])
    expect(macOfAna).toEqual(expect.any(String))
  })

  it('does not take its own words back from an echo', async () => {
    const { left } = await people()
    const clock = new ManualClock()
    const one = end(clock, { ...left, theirs: certificateM }, bo)
    one.wire.carry = (bytes) => one.proof.receive(bytes)
    for (const bytes of one.sent) one.proof.receive(bytes)
    await settle()
    expect(one.heard).toEqual(['refused: an echo'])
  })

  it('does not take the proof of an earlier link between the same two keys', async () => {
    const { left, right } = await people()
    const old: Message[] = []
    await meet(left, right, (message, from) => {
      if (from === 'right') old.push(message)
      return message
    })
    const replayed = await meet(left, right, (message, from) =>
      from === 'right' ? old.find(({ type }) => type === message['type']) : message,
    )
    expect(replayed.left.heard).toEqual(['refused: a signature that is not for this channel'])
  })

  /** As long as a key on P-256 is. */
  const offCurve = encodeBase64Url(new Uint8Array(65).fill(4))
  const changes: readonly (readonly [
    what: string,
    type: string,
    change: (message: Message) => unknown,
    why: string,
  ])[] = [
    ['a hello of another type', 'proof-hello', (hello) => ({ ...hello, type: 'hello' }), 'a hello that is none'],
    ['an unknown kind of key', 'proof-hello', (hello) => ({ ...hello, alg: 'none' }), 'a hello that is none'],
    ['an unknown role', 'proof-hello', (hello) => ({ ...hello, role: 'root' }), 'a hello that is none'],
    ['a nonce that is too short', 'proof-hello', (hello) => ({ ...hello, nonce: 'n' }), 'a hello that is none'],
    ['no object', 'proof-hello', () => null, 'a hello that is none'],
    ['another nonce', 'proof-hello', (hello) => ({ ...hello, nonce: randomText(32) }), 'a signature that'],
    ['a key that is no point', 'proof-hello', (hello) => ({ ...hello, key: offCurve }), 'a signature that'],
    ['a key of one byte', 'proof-hello', (hello) => ({ ...hello, key: 'AA' }), 'a signature that'],
    ['another signature', 'proof', (proof) => ({ ...proof, signature: randomText(64) }), 'a signature that'],
    ['a signature that is no text', 'proof', (proof) => ({ ...proof, signature: 7 }), 'a proof that is none'],
    ['a hello in place of the proof', 'proof', (proof) => ({ ...proof, type: 'proof-hello' }), 'a proof that is none'],
    ['5 KB of hello', 'proof-hello', (hello) => ({ ...hello, more: 'x'.repeat(5_000) }), 'a message of '],
    ['5 KB of proof', 'proof', (proof) => ({ ...proof, more: 'x'.repeat(5_000) }), 'a message of '],
  ]
  it.each(changes)('is refused with %s', async (_what, type, change, why) => {
    const { left, right } = await people()
    const met = await meet(left, right, (message, from) =>
      from === 'right' && message['type'] === type ? change(message) : message,
    )
    expect(met.left.heard).toEqual([expect.stringMatching(`^refused: ${why}`)])
    expect(met.left.heard).toHaveLength(1)
  })

  it('is refused when nothing comes for five seconds, and when only a hello comes', async () => {
    const { left, right } = await people()
    const clock = new ManualClock()
    const silent = end(clock, left, bo)
    await clock.advance(proofTimeoutMs - 1)
    expect(silent.heard).toEqual([])
    await clock.advance(1)
    expect(silent.heard).toEqual(['refused: no proof in time'])
    const half = await meet(left, right, (message) => (message['type'] === 'proof' ? undefined : message))
    await half.clock.advance(proofTimeoutMs)
    expect([half.left.heard, half.right.heard]).toEqual([['refused: no proof in time'], ['refused: no proof in time']])
  })

  it('is refused when the link can not say between whom it is', async () => {
    const { left } = await people()
    const heard: string[] = []
    const clock = new ManualClock()
    new LinkProof({
      credentials: left.credentials,
      self: ana,
      peer: bo,
      clock,
      fingerprints: () => Promise.reject(new Error('two fingerprints')),
      send: () => undefined,
      onProven: () => heard.push('proven'),
      onRefused: (reason) => heard.push(reason),
    })
    await settle()
    expect([heard, clock.pending]).toEqual([['two fingerprints'], 0])
  })

  it('keeps what comes right after the proof unread until it is verified, and only so much of it', async () => {
    const { left, right } = await people()
    const frames = (count: number, bytes: number) => Array.from({ length: count }, () => new Uint8Array(bytes))
    const run = async (after: readonly Uint8Array[]) => {
      const clock = new ManualClock()
      const one = end(clock, left, bo)
      const other = end(clock, right, ana)
      one.wire.carry = (bytes) => other.proof.receive(bytes)
      other.wire.carry = (bytes) => {
        one.proof.receive(bytes)
        const isProof = (JSON.parse(new TextDecoder().decode(bytes)) as Message)['type'] === 'proof'
        for (const frame of isProof ? after : []) one.proof.receive(frame)
      }
      for (const bytes of one.sent) other.proof.receive(bytes)
      for (const bytes of other.sent) one.proof.receive(bytes)
      await settle()
      return one.heard
    }
    expect(await run(frames(3, 16_000))).toEqual([
      expect.stringMatching(/^proven/),
      ...frames(3, 0).map(() => 'unread 16000'),
    ])
    expect(await run(frames(70, 16_000))).toEqual(['refused: too much before the proof was verified'])
  })

  it('meets any bytes with a refusal, and never throws', async () => {
    const { left } = await people()
    const hello = { type: 'proof-hello', alg: 'Ed25519', key: randomText(32), nonce: randomText(32), role: 'reader' }
    const object = fc.dictionary(
      fc.constantFrom('type', 'alg', 'key', 'nonce', 'role', 'signature', 'join'),
      fc.jsonValue(),
    )
    const frame = fc.oneof(
      fc.uint8Array({ maxLength: 300 }),
      fc.jsonValue().map(bytesOf),
      object.map((changes) => bytesOf({ ...hello, ...changes })),
      object.map((changes) => bytesOf({ type: 'proof', signature: randomText(64), ...changes })),
    )
    await fc.assert(
      fc.asyncProperty(frame, frame, async (first, second) => {
        const clock = new ManualClock()
        const one = end(clock, left, bo)
        one.proof.receive(first)
        one.proof.receive(second)
        await settle()
        expect(one.heard).toEqual([expect.stringMatching(/^refused: an? /)])
      }),
      { numRuns: 300 },
    )
  })

  it('says nothing more once its link is gone', async () => {
    const { left, right } = await people()
    const clock = new ManualClock()
    const one = end(clock, left, bo)
    const other = end(clock, right, ana)
    for (const bytes of other.sent) one.proof.receive(bytes)
    one.proof.end()
    await settle()
    await clock.advance(10_000)
    expect([one.heard, one.sent.length]).toEqual([[], 1])
  })
})

describe('an identity', () => {
  const kind = ({ alg, privateKey }: Identity) => [alg, privateKey.extractable]

  it('is a pair of a kind that every browser can check, whose private half can not be taken out', async () => {
    expect(kind(await identityOf(await createIdentity()))).toEqual(['P-256', false])
  })

  it('has one name for one key, and another for another', async () => {
    const pairs = [await createIdentity(), await createIdentity()] as const
    const names = await Promise.all(
      [pairs[0], pairs[0], pairs[1]].map(async (pair) => identityName(await identityOf(pair))),
    )
    expect([names[0] === names[1], names[0] === names[2]]).toEqual([true, false])
    expect(names[0]).toMatch(/^[\w-]{22}$/)
  })

  it('is refused where the pair can not sign, or is of another kind', async () => {
    const p384 = await crypto.subtle.generateKey({ name: 'ECDSA', namedCurve: 'P-384' }, false, ['sign', 'verify'])
    const own = await createIdentity()
    const mixed = { publicKey: own.publicKey, privateKey: own.publicKey }
    for (const pair of [p384, mixed]) {
      await expect(identityOf(pair)).rejects.toMatchObject({ code: 'InvalidArgument' })
    }
  })
})
