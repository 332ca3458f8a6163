import vm from 'node:vm'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { AssertionError } from '../lib/assert.ts'
import { WepaxosError } from '../lib/errors.ts'
import type { Value } from '../lib/value.ts'
import { DecodeError, Reader, Writer } from './bytes.ts'
import { checkValue, encodeValue, equalValues, inspectValue, readValue, ValueTooLarge, withOwnBytes } from './value.ts'

function decode(bytes: Uint8Array): Value {
  const reader = new Reader(bytes)
  const value = readValue(reader)
  reader.end()
  return value
}

function decodeHex(hex: string): Value {
  return decode(new Uint8Array(Buffer.from(hex, 'hex')))
}

function encodeHex(value: unknown): string {
  return Buffer.from(encodeValue(checkValue(value))).toString('hex')
}

const text = fc.string({ unit: 'binary', maxLength: 8 })

/** Anything that an application may give, with the keys that make trouble more often than chance would. */
const anyValue: fc.Arbitrary<unknown> = fc.letrec((tie) => ({
  value: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    fc.constant(null),
    fc.boolean(),
    fc.double({ noNaN: true, noDefaultInfinity: true }),
    fc.maxSafeInteger(),
    fc.integer({ min: -70_000, max: 70_000 }),
    text,
    fc.uint8Array({ maxLength: 8 }),
    fc.array(tie('value'), { maxLength: 4 }),
    fc
      .uniqueArray(fc.tuple(fc.oneof(text, fc.constantFrom('__proto__', 'toString', '1', '10', '2')), tie('value')), {
        selector: ([key]) => key,
        maxLength: 4,
      })
      .map((entries) => Object.fromEntries(entries)),
  ),
})).value

function isDeepFrozen(value: Value): boolean {
  if (typeof value !== 'object' || value === null || value instanceof Uint8Array) return true
  return Object.isFrozen(value) && Object.values(value).every((item) => isDeepFrozen(item))
}

describe('the binary form', () => {
  test.each<[unknown, string]>([
    [null, '00'],
    [false, '01'],
    [true, '02'],
    [0, '0300'],
    [-0, '0300'],
    [1, '0301'],
    [300, '03ac02'],
    [-1, '0400'],
    [-128, '047f'],
    [2 ** 53 - 1, '03ffffffffffffff0f'],
    [-(2 ** 53) + 1, '04feffffffffffff0f'],
    [0.5, '05000000000000e03f'],
    [2 ** 53, '050000000000004043'],
    ['', '0600'],
    ['é', '0602c3a9'],
    [new Uint8Array([1, 255]), '070201ff'],
    [[], '0800'],
    [[null, 'a'], '0802000601' + '61'],
    [{}, '0900'],
    [{ b: 1, a: [true] }, '09020161' + '080102' + '0162' + '0301'],
    [{ 10: 1, 9: 2 }, '0902' + '023130' + '0301' + '0139' + '0302'],
  ])('%o is %s', (value, bytes) => {
    expect(encodeHex(value)).toBe(bytes)
    expect(equalValues(decodeHex(bytes), checkValue(value))).toBe(true)
  })

  test('every value comes back equal, with equal bytes, and frozen', () => {
    fc.assert(
      fc.property(anyValue, (input) => {
        const value = checkValue(input)
        const bytes = encodeValue(value)
        const again = decode(bytes)
        expect(equalValues(again, value)).toBe(true)
        expect(encodeValue(again)).toEqual(bytes)
        expect(isDeepFrozen(again)).toBe(true)
      }),
      { numRuns: 300 },
    )
  })

  test('two values are equal exactly when their bytes are', () => {
    fc.assert(
      fc.property(anyValue, anyValue, (left, right) => {
        const a = checkValue(left)
        const b = checkValue(right)
        expect(equalValues(a, b)).toBe(Buffer.compare(encodeValue(a), encodeValue(b)) === 0)
      }),
      { numRuns: 300 },
    )
  })

  test('whatever bytes it accepts, it would write the same', () => {
    const bytesNearValues = fc.tuple(anyValue, fc.nat(), fc.nat(255)).map(([input, place, byte]) => {
      const bytes = encodeValue(checkValue(input))
      bytes[place % bytes.length] = byte
      return bytes
    })
    let accepted = 0
    fc.assert(
      fc.property(fc.oneof(bytesNearValues, fc.uint8Array({ maxLength: 12 })), (bytes) => {
        let value: Value
        try {
          value = decode(bytes)
        } catch (error) {
          expect(error).toBeInstanceOf(DecodeError)
          return
        }
        accepted++
        expect(encodeValue(value)).toEqual(bytes)
      }),
      { numRuns: 1000 },
    )
    expect(accepted).toBeGreaterThan(50)
  })

  test.each([
    ['an unknown tag', '0a'],
    ['nothing', ''],
    ['NaN', '05000000000000f87f'],
    ['an infinity', '05000000000000f07f'],
    ['a whole number as a float', '05000000000000f03f'],
    ['-0', '050000000000000080'],
    ['a number below -(2^53 - 1)', '04ffffffffffffff0f'],
    ['a key that comes twice', '0902016100016100'],
    ['keys in falling order', '0902016200016100'],
    [
      'keys in the order of code points where that is not the order of code units',
      '0902' + '03ee808000' + '04f09f988000',
    ],
    ['fewer items than announced', '0802' + '00'],
    ['more items than could be there', '08ffffffffffffff0f' + '00'],
    ['more fields than could be there', '0903' + '0161'],
    ['text that is not UTF-8', '0601ff'],
  ])('refuses %s', (_, bytes) => {
    expect(() => decodeHex(bytes)).toThrow(DecodeError)
  })

  test('reads 64 levels and refuses the 65th, and a million levels just as calmly', () => {
    const nested = (levels: number): Uint8Array => {
      const bytes = new Uint8Array(levels * 2 + 1)
      for (let level = 0; level < levels; level++) bytes.set([8, 1], level * 2)
      return bytes
    }
    expect(encodeValue(decode(nested(64)))).toEqual(nested(64))
    expect(() => decode(nested(65))).toThrow(/deeper than 64/)
    expect(() => decode(nested(1_000_000))).toThrow(/deeper than 64/)
    expect(() => decode(new Uint8Array(Buffer.from(`${'09010161'.repeat(65)}00`, 'hex')))).toThrow(/deeper than 64/)
  })

  test('a key named __proto__ is a key like any other and sets no prototype', () => {
    const value = decodeHex('0901' + '095f5f70726f746f5f5f' + '0901' + '0178' + '0301')
    expect(Object.getPrototypeOf(value)).toBe(Object.prototype)
    expect(Object.keys(value as object)).toEqual(['__proto__'])
    expect((value as { x?: unknown }).x).toBeUndefined()
    expect(encodeHex(JSON.parse('{"__proto__":{"x":1}}'))).toBe('0901095f5f70726f746f5f5f090101780301')
  })

  test('decoded bytes are a copy of the source', () => {
    const source = new Uint8Array([7, 1, 5])
    const value = decode(source)
    source[2] = 6
    expect(value).toEqual(new Uint8Array([5]))
  })

  test('writing what was never checked is a bug, not a format', () => {
    const loop: unknown[] = []
    loop.push(loop)
    for (const value of [undefined, Number.NaN, 1n, () => 1, Symbol('s'), loop, ['\ud800']]) {
      expect(() => encodeValue(value as Value)).toThrow(AssertionError)
    }
    const writer = new Writer()
    writer.byte(7)
    expect(writer.finish()).toEqual(new Uint8Array([7]))
    expect(encodeHex('after')).toBe('06056166746572')
  })
})

describe('checkValue', () => {
  test('gives a copy that is frozen and shares nothing that can change', () => {
    const bytes = new Uint8Array([1])
    const input = { list: [{ bytes }], zero: -0 }
    const value = checkValue(input) as typeof input
    input.list.push({ bytes })
    bytes[0] = 2
    expect(value).toEqual({ list: [{ bytes: new Uint8Array([1]) }], zero: 0 })
    expect(Object.is(value.zero, 0)).toBe(true)
    expect(isDeepFrozen(value)).toBe(true)
    expect(Object.isFrozen(input)).toBe(false)
  })

  const loop: { inner: { back?: unknown } } = { inner: {} }
  loop.inner.back = loop
  class Point {
    x = 1
  }
  const withExtra = Object.assign([1], { extra: 2 })
  // biome-ignore lint/suspicious/noSparseArray: the very thing to refuse
  const sparse = [1, , 3]

  test.each<[string, unknown, string]>([
    ['value', undefined, 'undefined'],
    ['value.a', { a: undefined }, 'undefined'],
    ['value[1].b', [0, { b: Number.NaN }], 'NaN'],
    ['value[0]', [Number.POSITIVE_INFINITY], 'Infinity'],
    ['value["a b"]', { 'a b': -1 / 0 }, '-Infinity'],
    ['value', () => 1, 'a function'],
    ['value.at', { at: new Date(0) }, 'an instance of Date'],
    ['value', new Map(), 'an instance of Map'],
    ['value', new Point(), 'an instance of Point'],
    ['value', new Float64Array(1), 'an instance of Float64Array'],
    ['value', new ArrayBuffer(1), 'an instance of ArrayBuffer'],
    ['value', Object.create({ inherited: 1 }), 'an object with another prototype'],
    ['value.inner.back', loop, 'a cycle'],
    ['value', 10n, 'a bigint'],
    ['value', Symbol('s'), 'a symbol'],
    ['value', { [Symbol('s')]: 1 }, 'an object with a symbol as a key'],
    ['value[1]', sparse, 'a hole in a sparse array'],
    ['value', withExtra, 'an array with further fields'],
    ['value.x', { x: '\ud800' }, 'text with half a surrogate pair'],
    ['value["\\udc00"]', { '\udc00': 1 }, 'text with half a surrogate pair'],
  ])('says that at %s of %o came %s', (path, input, came) => {
    let error: unknown
    try {
      checkValue(input)
    } catch (thrown) {
      error = thrown
    }
    expect(error).toBeInstanceOf(WepaxosError)
    expect(error).toMatchObject({ code: 'InvalidArgument', details: { path, came } })
    expect((error as Error).message.startsWith(`${path}: expected `)).toBe(true)
  })

  test('names the value as its caller does', () => {
    expect(() => checkValue([undefined], { name: 'arguments' })).toThrow('arguments[0]: expected')
  })

  test('one object twice is no cycle', () => {
    const shared = { n: 1 }
    expect(checkValue([shared, { shared }])).toEqual([{ n: 1 }, { shared: { n: 1 } }])
  })

  test('64 levels are the limit, or fewer if the caller says so', () => {
    const nested = (levels: number): unknown => (levels === 0 ? 1 : [nested(levels - 1)])
    expect(() => checkValue(nested(64))).not.toThrow()
    expect(() => checkValue(nested(65))).toThrow(/nested deeper than 64/)
    expect(() => checkValue([[1]], { depthMax: 1 })).toThrow(/nested deeper than 1/)
    let hostile: unknown = 1
    for (let level = 0; level < 100_000; level++) hostile = [hostile]
    expect(() => checkValue(hostile)).toThrow(/nested deeper than 64/)
  })

  test('counts exactly the bytes that encodeValue gives, and refuses one more than the limit', () => {
    fc.assert(
      fc.property(anyValue, (input) => {
        const { value, encodedBytes } = inspectValue(input)
        expect(encodedBytes).toBe(encodeValue(value).length)
        expect(() => checkValue(input, { bytesMax: encodedBytes })).not.toThrow()
        expect(() => checkValue(input, { bytesMax: encodedBytes - 1 })).toThrow(ValueTooLarge)
      }),
    )
    expect(() => checkValue('x'.repeat(1 << 20))).toThrow('value takes at most 1048576 bytes')
  })

  test('a small object whose parts are shared into 2^60 parts is refused without walking them all', () => {
    let doubled: unknown = 'x'
    for (let level = 0; level < 60; level++) doubled = [doubled, doubled]
    expect(() => checkValue(doubled)).toThrow(ValueTooLarge)
  })

  test('takes plain objects, arrays and bytes of another realm, and Node buffers, as plain ones of this realm', () => {
    const foreign: unknown = vm.runInNewContext('({ a: [1, new Uint8Array([7])] })')
    const value = checkValue({ foreign, buffer: Buffer.from('b'), bare: Object.assign(Object.create(null), { n: 1 }) })
    expect(value).toStrictEqual({
      bare: { n: 1 },
      buffer: new Uint8Array([98]),
      foreign: { a: [1, new Uint8Array([7])] },
    })
  })
})

describe('withOwnBytes', () => {
  test('copies bytes and what holds them, and shares the rest', () => {
    const value = checkValue({ with: [new Uint8Array([1])], without: [1] }) as { with: Uint8Array[]; without: number[] }
    const own = withOwnBytes(value as Value) as typeof value
    expect(own).toEqual(value)
    expect(own.without).toBe(value.without)
    const bytes = own.with[0] as Uint8Array
    bytes[0] = 9
    expect(value.with[0]).toEqual(new Uint8Array([1]))
    expect(isDeepFrozen(own as Value)).toBe(true)
  })

  test('gives a value without bytes back as it is', () => {
    const value = checkValue({ a: [1, { b: 'c' }] })
    expect(withOwnBytes(value)).toBe(value)
  })
})
