import { beforeEach, describe, expect, it } from 'vitest'
import { decodeBase64Url, encodeBase64Url, randomText } from './base64url.ts'
import { createInvite, deriveRoomKeys, type RoomKeys, readerInvite } from './invite.ts'
import { Opener, type SealedEnvelope, Sealer } from './sealing.ts'
import { decodeSignalingMessage, type SignalingMessage } from './signaling-message.ts'

const [ana, bo, eve] = ['ana-ana-ana-ana-', 'bo-bo-bo-bo-bo-bo', 'eve-eve-eve-eve-'] as const
const hello: SignalingMessage = { type: 'hello', nonce: 'n'.repeat(22), echo: null }

describe('a sealed envelope', () => {
  let keys: RoomKeys
  let sealer: Sealer
  let opener: Opener

  beforeEach(async () => {
    keys = await deriveRoomKeys(createInvite())
    sealer = new Sealer(keys, ana, randomText(16))
    opener = new Opener(keys, bo)
  })

  it('is opened by its receiver, and shows the server nothing of its content', async () => {
    const offer: SignalingMessage = { type: 'offer', echo: 'e'.repeat(22), sdp: 'v=0 fingerprint' }
    const envelope = await sealer.seal(bo, offer)
    expect(await opener.open(ana, envelope)).toEqual({ ok: true, from: ana, message: offer })
    expect(JSON.stringify(envelope)).not.toContain('fingerprint')
    expect(Object.keys(envelope).sort()).toEqual(['ct', 'from', 'iv', 'room', 'seq', 'session', 'to', 'v'])
  })

  it('is opened by a holder of the reader link too', async () => {
    const invite = createInvite()
    const voterKeys = await deriveRoomKeys(invite)
    const readerKeys = await deriveRoomKeys(await readerInvite(invite))
    const envelope = await new Sealer(voterKeys, ana, randomText(16)).seal(bo, hello)
    expect(await new Opener(readerKeys, bo).open(ana, envelope)).toMatchObject({ ok: true })
  })

  it('uses a new iv each time', async () => {
    const envelopes = [await sealer.seal(bo, hello), await sealer.seal(bo, hello)]
    expect(new Set(envelopes.map(({ iv }) => iv)).size).toBe(2)
    expect(new Set(envelopes.map(({ ct }) => ct)).size).toBe(2)
  })

  type Change = (envelope: SealedEnvelope) => Record<string, unknown>
  const changes: readonly (readonly [what: string, change: Change, reason: string, stamped?: string])[] = [
    ['another version', () => ({ v: 2 }), 'malformed'],
    ['another room', () => ({ room: 'another-room-another-room' }), 'wrong-room'],
    ['another sender than the server says', () => ({ from: eve }), 'wrong-sender'],
    ['another sender, and a server that says the same', () => ({ from: eve }), 'undecryptable', eve],
    ['another receiver', () => ({ to: eve }), 'wrong-recipient'],
    ['another session', () => ({ session: randomText(16) }), 'undecryptable'],
    ['another number', ({ seq }) => ({ seq: seq + 1 }), 'undecryptable'],
    ['a number that is none', () => ({ seq: 1.5 }), 'malformed'],
    ['one bit of the iv', ({ iv }) => ({ iv: flipped(iv) }), 'undecryptable'],
    ['an iv that is too short', ({ iv }) => ({ iv: iv.slice(4) }), 'malformed'],
    ['one bit of the content', ({ ct }) => ({ ct: flipped(ct) }), 'undecryptable'],
    ['content that ends too soon', ({ ct }) => ({ ct: ct.slice(0, 8) }), 'undecryptable'],
    ['no content', () => ({ ct: undefined }), 'malformed'],
  ]
  for (const [what, change, reason, stamped] of changes) {
    it(`with ${what} is refused, and what comes after it is not`, async () => {
      const envelope = await sealer.seal(bo, hello)
      const opened = await opener.open(stamped ?? ana, { ...envelope, ...change(envelope) })
      expect(opened).toEqual({ ok: false, reason })
      expect(await opener.open(ana, envelope)).toMatchObject({ ok: true })
    })
  }

  it('is opened once', async () => {
    const envelope = await sealer.seal(bo, hello)
    const results = await Promise.all([opener.open(ana, envelope), opener.open(ana, envelope)])
    expect(results).toEqual([expect.objectContaining({ ok: true }), { ok: false, reason: 'replayed' }])
  })

  it('is refused when a later one of its sender was opened before', async () => {
    const [first, second] = await Promise.all([sealer.seal(bo, hello), sealer.seal(bo, hello)])
    expect(await opener.open(ana, second)).toMatchObject({ ok: true })
    expect(await opener.open(ana, first)).toEqual({ ok: false, reason: 'replayed' })
  })

  it('is refused when its sender is known under another session', async () => {
    await opener.open(ana, await sealer.seal(bo, hello))
    const yesterday = new Sealer(keys, ana, randomText(16))
    expect(await opener.open(ana, await yesterday.seal(bo, hello))).toEqual({ ok: false, reason: 'wrong-session' })
  })

  it('of another room is not opened, though it bears the name of this one', async () => {
    const others = { ...(await deriveRoomKeys(createInvite())), room: keys.room }
    const envelope = await new Sealer(others, ana, randomText(16)).seal(bo, hello)
    expect(await opener.open(ana, envelope)).toEqual({ ok: false, reason: 'undecryptable' })
  })

  it('is not opened by its own sender when the server sends it back', async () => {
    const envelope = await sealer.seal(ana, hello)
    expect(await new Opener(keys, ana).open(ana, envelope)).toEqual({ ok: false, reason: 'wrong-sender' })
  })

  it('with something inside that is no message is refused', async () => {
    const odd = { type: 'offer', echo: 'short', sdp: 5 } as unknown as SignalingMessage
    expect(await opener.open(ana, await sealer.seal(bo, odd))).toEqual({ ok: false, reason: 'bad-message' })
  })

  it.each([[undefined], [null], [7], ['text'], [[]], [{}], [{ v: 1 }]])('is not %j', async (data) => {
    expect(await opener.open(ana, data)).toEqual({ ok: false, reason: 'malformed' })
  })
})

describe('a signaling message', () => {
  const echo = 'e'.repeat(22)
  const candidate = { candidate: 'candidate:1', sdpMid: '0', sdpMLineIndex: 0 }

  it('loses every field that it should not have', () => {
    expect(decodeSignalingMessage({ type: 'offer', echo, sdp: 'v=0', renegotiate: true })).toEqual({
      type: 'offer',
      echo,
      sdp: 'v=0',
    })
    expect(decodeSignalingMessage({ type: 'ice', echo, candidates: [{ ...candidate, more: 1 }] })).toEqual({
      type: 'ice',
      echo,
      candidates: [candidate],
    })
  })

  it.each([
    [null],
    [{ type: 'renegotiate' }],
    [{ type: 'hello', nonce: 'short', echo: null }],
    [{ type: 'hello', nonce: echo }],
    [{ type: 'offer', echo, sdp: '' }],
    [{ type: 'offer', echo, sdp: 'x'.repeat(10_001) }],
    [{ type: 'answer', sdp: 'v=0' }],
    [{ type: 'ice', echo, candidates: 'many' }],
    [{ type: 'ice', echo, candidates: [null] }],
    [{ type: 'ice', echo, candidates: Array.from({ length: 33 }, () => candidate) }],
    [{ type: 'ice', echo, candidates: [{ ...candidate, sdpMLineIndex: -1 }] }],
    [{ type: 'ice', echo, candidates: [{ ...candidate, sdpMid: 3 }] }],
  ])('is not %j', (value) => {
    expect(decodeSignalingMessage(value)).toBeUndefined()
  })
})

function flipped(text: string): string {
  const bytes = decodeBase64Url(text) ?? new Uint8Array(0)
  return encodeBase64Url(bytes.map((byte, index) => (index === 3 ? byte ^ 1 : byte)))
}
