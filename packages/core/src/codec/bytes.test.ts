import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { AssertionError } from '../lib/assert.ts'
import { DecodeError, Reader, utf8Length, Writer } from './bytes.ts'

function written(write: (writer: Writer) => void): Uint8Array {
  const writer = new Writer()
  write(writer)
  return writer.finish()
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex')
}

function fromHex(text: string): Uint8Array {
  return new Uint8Array(Buffer.from(text, 'hex'))
}

/** Includes the edges of each varint length and of the 31-bit fast path. */
const anyVarint = fc.oneof(
  fc.maxSafeNat(),
  fc.nat(300),
  fc
    .integer({ min: 0, max: 53 })
    .chain((bits) => fc.integer({ min: -2, max: 2 }).map((near) => clamp(2 ** bits + near))),
)

function clamp(value: number): number {
  return Math.min(Math.max(value, 0), Number.MAX_SAFE_INTEGER)
}

describe('uint32', () => {
  test.each([
    [0, '00000000'],
    [258, '02010000'],
    [2 ** 32 - 1, 'ffffffff'],
  ])('%d is %s', (value, bytes) => {
    expect(hex(written((writer) => writer.uint32(value)))).toBe(bytes)
    const reader = new Reader(fromHex(bytes))
    expect(reader.uint32()).toBe(value)
    reader.end()
  })

  test('asserts what has no four bytes', () => {
    for (const value of [-1, 2 ** 32, 0.5])
      expect(() => written((writer) => writer.uint32(value))).toThrow(AssertionError)
  })

  test('refuses bytes that end within it', () => {
    expect(() => new Reader(fromHex('010203')).uint32()).toThrow(DecodeError)
  })
})

describe('varint', () => {
  test.each([
    [0, '00'],
    [1, '01'],
    [127, '7f'],
    [128, '8001'],
    [300, 'ac02'],
    [16_383, 'ff7f'],
    [16_384, '808001'],
    [2 ** 31 - 1, 'ffffffff07'],
    [2 ** 31, '8080808008'],
    [2 ** 32, '8080808010'],
    [2 ** 53 - 1, 'ffffffffffffff0f'],
  ])('%d is %s', (value, bytes) => {
    expect(hex(written((writer) => writer.varint(value)))).toBe(bytes)
    const reader = new Reader(fromHex(bytes))
    expect(reader.varint()).toBe(value)
    reader.end()
  })

  test('reads back every number that it can write', () => {
    fc.assert(
      fc.property(fc.array(anyVarint), (values) => {
        const reader = new Reader(written((writer) => values.forEach((value) => void writer.varint(value))))
        expect(values.map(() => reader.varint())).toEqual(values)
        reader.end()
      }),
    )
  })

  test.each(['8000', '808000', 'ff00', 'ffffffff8000', '80808080808000', '8080808080808000'])(
    'refuses the overlong form %s',
    (bytes) => {
      expect(() => new Reader(fromHex(bytes)).varint()).toThrow(DecodeError)
    },
  )

  test.each(['ffffffffffffff10', 'ffffffffffffff1f', 'ffffffffffffffff01', 'ffffffffffffff7f', '808080808080808001'])(
    'refuses %s, which is beyond 2^53 - 1',
    (bytes) => {
      expect(() => new Reader(fromHex(bytes)).varint()).toThrow(/2\^53/)
    },
  )

  test.each(['', '80', 'ff', 'ffffffffff'])('refuses %j, which ends too early', (bytes) => {
    expect(() => new Reader(fromHex(bytes)).varint()).toThrow(/end/)
  })

  test.each([-1, 0.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 53, -(2 ** 40)])('does not write %d', (value) => {
    expect(() => new Writer().varint(value)).toThrow(AssertionError)
  })

  test('whatever it reads, writing it again gives the same bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1, maxLength: 10 }), (bytes) => {
        const reader = new Reader(bytes)
        let value: number
        try {
          value = reader.varint()
        } catch (error) {
          expect(error).toBeInstanceOf(DecodeError)
          return
        }
        expect(written((writer) => writer.varint(value))).toEqual(bytes.slice(0, reader.offset))
      }),
      { numRuns: 500 },
    )
  })
})

describe('string', () => {
  test.each([
    ['', '00'],
    ['a', '0161'],
    ['é', '02c3a9'],
    ['€', '03e282ac'],
    ['😀', '04f09f9880'],
    ['\u0000', '0100'],
    ['\ufeffx', '04efbbbf78'],
  ])('%j is %s', (text, bytes) => {
    expect(hex(written((writer) => writer.string(text)))).toBe(bytes)
    const reader = new Reader(fromHex(bytes))
    expect(reader.string()).toBe(text)
    reader.end()
  })

  test('reads back any well-formed text, short and long', () => {
    fc.assert(
      fc.property(
        fc.array(fc.oneof(fc.string(), fc.string({ unit: 'binary' }), fc.string({ minLength: 40, maxLength: 60 }))),
        (texts) => {
          const reader = new Reader(written((writer) => texts.forEach((text) => void writer.string(text))))
          expect(texts.map(() => reader.string())).toEqual(texts)
          reader.end()
        },
      ),
    )
  })

  test('text longer than the chunk makes the chunk grow', () => {
    const text = 'ä'.repeat(100_000)
    expect(new Reader(written((writer) => writer.string(text))).string()).toBe(text)
  })

  test.each(['\ud800', 'a\udc00', '\ud800a', '\udc00\ud800', `${'x'.repeat(60)}\ud800`])(
    'does not write %j, which has no UTF-8',
    (text) => {
      expect(() => new Writer().string(text)).toThrow(AssertionError)
    },
  )

  test.each(['01ff', '02c3', '02c328', '03eda080', '02c080', '04f4908080', '0180'])(
    'refuses %s, bad UTF-8',
    (bytes) => {
      expect(() => new Reader(fromHex(bytes)).string()).toThrow(DecodeError)
    },
  )

  test('refuses a length beyond the bytes that are there', () => {
    expect(() => new Reader(fromHex('0361')).string()).toThrow(/3 bytes/)
    expect(() => new Reader(fromHex('ffffffffffffff0f61')).string()).toThrow(DecodeError)
  })

  test('utf8Length counts what TextEncoder writes and knows what it cannot write', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 0xffff })), (units) => {
        const text = String.fromCharCode(...units)
        const wellFormed = encodeURIComponentAccepts(text)
        expect(utf8Length(text)).toBe(wellFormed ? new TextEncoder().encode(text).length : undefined)
      }),
    )
  })
})

function encodeURIComponentAccepts(text: string): boolean {
  try {
    encodeURIComponent(text)
    return true
  } catch {
    return false
  }
}

describe('bytes, raw, byte and float64', () => {
  test('come back as they were, mixed in any order', () => {
    const step = fc.oneof(
      fc.record({ kind: fc.constant('byte' as const), value: fc.nat(255) }),
      fc.record({ kind: fc.constant('bytes' as const), value: fc.uint8Array({ maxLength: 3000 }) }),
      fc.record({ kind: fc.constant('raw' as const), value: fc.uint8Array({ maxLength: 30 }) }),
      fc.record({ kind: fc.constant('float64' as const), value: fc.double() }),
      fc.record({ kind: fc.constant('varint' as const), value: anyVarint }),
      fc.record({ kind: fc.constant('string' as const), value: fc.string({ unit: 'binary' }) }),
    )
    fc.assert(
      fc.property(fc.array(step), (steps) => {
        const writer = new Writer()
        for (const { kind, value } of steps) {
          if (kind === 'byte') writer.byte(value)
          else if (kind === 'bytes') writer.bytes(value)
          else if (kind === 'raw') writer.raw(value)
          else if (kind === 'float64') writer.float64(value)
          else if (kind === 'varint') writer.varint(value)
          else writer.string(value)
        }
        const reader = new Reader(writer.finish())
        for (const { kind, value } of steps) {
          const read = kind === 'raw' ? reader.raw(value.length) : reader[kind]()
          if (typeof read === 'object') expect(hex(read)).toBe(hex(value as Uint8Array))
          else expect(Object.is(read, value)).toBe(true)
        }
        reader.end()
      }),
    )
  })

  test('bytes() is a view on the source, not a copy', () => {
    const source = fromHex('020a0b')
    const view = new Reader(source).bytes()
    source[1] = 0xff
    expect(hex(view)).toBe('ff0b')
  })

  test('float64 is little-endian', () => {
    expect(hex(written((writer) => writer.float64(1)))).toBe('000000000000f03f')
  })

  test('refuses to read past the end, and says where', () => {
    const reader = new Reader(fromHex('0102'))
    reader.byte()
    expect(() => reader.float64()).toThrow(/within a float/)
    expect(() => reader.raw(2)).toThrow('2 bytes are announced and 1 are there (at byte 1)')
    expect(() => reader.bytes()).toThrow(DecodeError)
    expect(() => new Reader(new Uint8Array()).byte()).toThrow(DecodeError)
  })

  test('end() refuses what is left over', () => {
    const reader = new Reader(fromHex('0102'))
    expect(reader.remaining).toBe(2)
    expect(() => reader.end()).toThrow('2 bytes are left over')
    reader.varint()
    reader.varint()
    reader.end()
    expect(reader.remaining).toBe(0)
  })

  test('a byte is 0 … 255', () => {
    for (const value of [-1, 256, 0.5, Number.NaN]) expect(() => new Writer().byte(value)).toThrow(AssertionError)
  })
})

describe('Writer', () => {
  test('reset starts over and leaves what was finished alone', () => {
    const writer = new Writer()
    writer.string('first')
    const first = writer.finish()
    writer.reset()
    expect(writer.length).toBe(0)
    writer.string('other')
    expect(new Reader(first).string()).toBe('first')
    expect(new Reader(writer.finish()).string()).toBe('other')
  })

  test('a failed write of text leaves the writer where it was', () => {
    const writer = new Writer()
    writer.byte(1)
    expect(() => writer.string('ab\ud800')).toThrow(AssertionError)
    expect(hex(writer.finish())).toBe('01')
  })

  test('reads a source that is itself a view', () => {
    const whole = fromHex('ffff0261620aff')
    const reader = new Reader(whole.subarray(2, 6))
    expect(reader.string()).toBe('ab')
    expect(reader.varint()).toBe(10)
    expect(() => reader.byte()).toThrow(DecodeError)
  })
})
