import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  defaultFramingLimits,
  FrameReader,
  FrameWriter,
  frameBytesMax,
  type Lane,
  type LinkMessage,
} from './framing.ts'

const lanes = ['control', 'normal', 'bulk'] as const
const number = fc.integer({ min: 0, max: 0x7fff_ffff })
const length = fc.oneof(
  { weight: 6, arbitrary: fc.integer({ min: 0, max: 300 }) },
  { weight: 2, arbitrary: fc.integer({ min: 15_000, max: 17_000 }) },
  { weight: 1, arbitrary: fc.integer({ min: 0, max: 100_000 }) },
)
const queued = fc.record({ channel: number, sender: number, length, lane: fc.constantFrom(...lanes) })

describe('framing', () => {
  it('gives every message back whole, in order within its lane, whenever frames are taken', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(queued, fc.nat(3)), { maxLength: 40 }), (steps) => {
        const writer = new FrameWriter()
        const reader = new FrameReader()
        const sent: Record<Lane, LinkMessage[]> = { control: [], normal: [], bulk: [] }
        const received: LinkMessage[] = []
        const take = () => {
          const frame = writer.next()
          if (frame === undefined) return false
          expect(frame.length).toBeLessThanOrEqual(frameBytesMax)
          received.push(...read(reader, frame))
          return true
        }
        steps.forEach(([{ channel, sender, length, lane }, frames], index) => {
          // The lane is told by the first byte, the order by the next two.
          const bytes = patterned(length + 3, lanes.indexOf(lane), index)
          sent[lane].push({ channel, sender, bytes })
          writer.enqueue({ channel, sender, bytes }, lane)
          for (let count = 0; count < frames; count += 1) take()
        })
        while (take());
        expect(writer.queuedBytes).toBe(0)
        for (const [index, lane] of lanes.entries()) {
          const ours = received.filter(({ bytes }) => bytes[0] === index)
          expect(ours.length).toBe(sent[lane].length)
          ours.forEach((message, at) => {
            const original = sent[lane][at]
            expect([message.channel, message.sender]).toEqual([original?.channel, original?.sender])
            expect(Buffer.compare(message.bytes, original?.bytes ?? new Uint8Array(0))).toBe(0)
          })
        }
      }),
      { numRuns: 60 },
    )
  })

  it('answers any bytes with messages or a reason, and never throws', () => {
    const garbage = fc.uint8Array({ maxLength: 200 }).map((bytes) => Uint8Array.of(1, ...bytes))
    fc.assert(
      fc.property(fc.array(fc.oneof(garbage, fc.uint8Array({ maxLength: 50 })), { maxLength: 20 }), (frames) => {
        const reader = new FrameReader()
        for (const frame of frames) {
          const result = reader.read(frame)
          if (result.ok) continue
          expect(result.reason).toMatch(/^an? |^too /)
          return
        }
      }),
      { numRuns: 2_000 },
    )
  })

  it('answers frames with changed bytes with messages or a reason, and never throws', () => {
    const change = fc.record({ at: fc.nat(400), byte: fc.integer({ min: 0, max: 255 }) })
    fc.assert(
      fc.property(
        fc.array(queued, { minLength: 1, maxLength: 6 }),
        fc.array(change, { maxLength: 4 }),
        (all, changed) => {
          const writer = new FrameWriter()
          for (const { channel, sender, length, lane } of all) {
            writer.enqueue({ channel, sender, bytes: new Uint8Array(length) }, lane)
          }
          const reader = new FrameReader()
          for (let frame = writer.next(); frame !== undefined; frame = writer.next()) {
            for (const { at, byte } of changed) frame[at] = byte
            if (!reader.read(frame).ok) return
          }
        },
      ),
      { numRuns: 500 },
    )
  })

  it('puts many small messages into one frame', () => {
    const writer = new FrameWriter()
    for (let count = 0; count < 100; count += 1) writer.enqueue(message(60), 'normal')
    const frame = writer.next()
    expect(writer.next()).toBeUndefined()
    expect(read(new FrameReader(), frame)).toHaveLength(100)
    expect(frame?.length).toBeLessThan(100 * 65)
  })

  it('lets small messages pass a big one of the bulk lane', () => {
    const writer = new FrameWriter()
    writer.enqueue(message(100_000), 'bulk')
    const reader = new FrameReader()
    expect(read(reader, writer.next())).toEqual([])
    writer.enqueue(message(10), 'normal')
    expect(read(reader, writer.next())).toHaveLength(1)
    let rest: readonly LinkMessage[] = []
    for (let frame = writer.next(); frame !== undefined; frame = writer.next()) rest = read(reader, frame)
    expect(rest[0]?.bytes.length).toBe(100_000)
  })

  it('sends control messages before everything that waits, and nothing of a lane before what was queued earlier', () => {
    const writer = new FrameWriter()
    writer.enqueue(message(10, 1), 'normal')
    writer.enqueue(message(9_000, 2), 'normal')
    writer.enqueue(message(9_000, 3), 'normal')
    writer.enqueue(message(10, 4), 'normal')
    // Five of these do not fit into one frame, and the rest of it would be enough for the first normal one.
    for (const channel of [5, 6, 7, 8, 9]) writer.enqueue(message(4_000, channel), 'control')
    const order: number[] = []
    const reader = new FrameReader()
    for (let frame = writer.next(); frame !== undefined; frame = writer.next()) {
      order.push(...read(reader, frame).map(({ channel }) => channel))
    }
    expect(order).toEqual([5, 6, 7, 8, 9, 1, 2, 3, 4])
  })

  it('does not starve bulk while the normal lane is always full', () => {
    const writer = new FrameWriter()
    const reader = new FrameReader()
    writer.enqueue(message(40_000, 7), 'bulk')
    for (let frames = 0; frames < 60; frames += 1) {
      writer.enqueue(message(16_300), 'normal')
      writer.enqueue(message(16_300), 'normal')
      if (read(reader, writer.next()).some(({ channel }) => channel === 7)) return
    }
    expect.unreachable('40 kB of bulk did not get through within 60 frames')
  })

  it('takes a message of exactly the limit and refuses one byte more', () => {
    const limits = { ...defaultFramingLimits, messageBytesMax: 50_000 }
    const send = (bytes: number) => {
      const writer = new FrameWriter()
      const reader = new FrameReader(limits)
      writer.enqueue(message(bytes), 'normal')
      const results = []
      for (let frame = writer.next(); frame !== undefined; frame = writer.next()) results.push(reader.read(frame))
      return results
    }
    expect(send(50_000).every(({ ok }) => ok)).toBe(true)
    expect(send(50_001)[0]).toEqual({ ok: false, reason: 'a message of 50001 bytes' })
  })

  it('refuses more unfinished messages than the limit allows', () => {
    const reader = new FrameReader({ ...defaultFramingLimits, partialMessagesMax: 2 })
    const begin = (transfer: number) => Uint8Array.of(1, 1, 16, 16, transfer, 100, 1, 0)
    expect(reader.read(begin(1)).ok).toBe(true)
    expect(reader.read(begin(2)).ok).toBe(true)
    expect(reader.read(begin(3))).toEqual({ ok: false, reason: 'too many unfinished messages' })
  })

  it.each([
    ['an empty frame', []],
    ['another version', [2]],
    ['an unknown kind of part', [1, 9]],
    ['a length beyond the end of the frame', [1, 0, 16, 16, 5, 0]],
    ['a number that does not end', [1, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]],
    ['a number above 31 bits', [1, 0, 0xff, 0xff, 0xff, 0xff, 0x7f, 16, 0]],
    ['a first piece that is the whole message', [1, 1, 16, 16, 1, 2, 2, 0, 0]],
    ['an empty piece', [1, 1, 16, 16, 1, 9, 0]],
    ['a piece of no message', [1, 2, 1, 1, 0]],
    ['a piece beyond the announced total', [1, 1, 16, 16, 1, 3, 2, 0, 0, 2, 1, 2, 0, 0]],
    ['a transfer that begins twice', [1, 1, 16, 16, 1, 9, 1, 0, 1, 16, 16, 1, 9, 1, 0]],
    ['too many bytes', new Array(frameBytesMax + 1).fill(1)],
  ])('refuses %s', (_what, bytes) => {
    expect(new FrameReader().read(Uint8Array.from(bytes)).ok).toBe(false)
  })

  it('writes a small message as these bytes, today and in later versions', () => {
    const writer = new FrameWriter()
    writer.enqueue({ channel: 16, sender: 300, bytes: Uint8Array.of(7, 8) }, 'normal')
    expect([...(writer.next() ?? [])]).toEqual([1, 0, 16, 0xac, 2, 2, 7, 8])
  })
})

function message(bytes: number, channel = 16): LinkMessage {
  return { channel, sender: 17, bytes: new Uint8Array(bytes) }
}

function patterned(byteLength: number, lane: number, index: number): Uint8Array {
  const bytes = Uint8Array.from({ length: byteLength }, (_, at) => (at * 7 + index) & 0xff)
  bytes[0] = lane
  return bytes
}

function read(reader: FrameReader, frame: Uint8Array | undefined): readonly LinkMessage[] {
  if (frame === undefined) return []
  const result = reader.read(frame)
  if (!result.ok) throw new Error(result.reason)
  return result.messages
}
