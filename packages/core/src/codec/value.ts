// Values in one canonical binary form, and the checks at the border between applications and replicas. Equal values have
// equal bytes, so bytes can be compared and hashed in place of values; the reader refuses every other spelling.
//
// One tag byte, then: 0 null, 1 false, 2 true, 3 n as varint (n ≥ 0), 4 −1−n as varint (n < 0), 5 float64 (every number
// that is not a safe integer), 6 text, 7 bytes, 8 count and items, 9 count and (key text, item), keys ascending by UTF-16
// code units. −0 is 0. Nesting ends at `valueDepthMax`, and with it every recursion of this file. A new kind of value takes a new tag, which older readers refuse.

import { AssertionError } from '../lib/assert.ts'
import { WepaxosError } from '../lib/errors.ts'
import { valueBytesMax, valueDepthMax } from '../lib/limits.ts'
import type { Value, ValueObject } from '../lib/value.ts'
import { type Reader, utf8Length, Writer } from './bytes.ts'

const tagNull = 0
const tagFalse = 1
const tagTrue = 2
const tagPositive = 3
const tagNegative = 4
const tagFloat = 5
const tagText = 6
const tagBytes = 7
const tagArray = 8
const tagObject = 9

export interface ValueLimits {
  /** Default `valueDepthMax`; not more than that. */
  readonly depthMax?: number
  /** Default `valueBytesMax`. */
  readonly bytesMax?: number
  /** What the value is to its caller, for error messages. Default `value`. */
  readonly name?: string
}

/** A value that is right in all but its size, which can depend on state where the rest is a mistake of its author. */
export class ValueTooLarge extends WepaxosError {
  constructor(name: string, bytesMax: number) {
    super('InvalidArgument', `${name} takes at most ${bytesMax} bytes, and is larger`, {
      reason: 'too-large',
      bytesMax,
    })
  }
}

/** The canonical bytes of a value. */
export function encodeValue(value: Value): Uint8Array<ArrayBuffer> {
  scratch.reset()
  writeValue(scratch, value)
  const bytes = scratch.finish()
  scratch.reset()
  return bytes
}

const scratch = new Writer()

/** Appends a value that `checkValue` or `readValue` gave. Anything else asserts. */
export function writeValue(writer: Writer, value: Value): void {
  writeNested(writer, value, 0)
}

function writeNested(writer: Writer, value: Value, depth: number): void {
  if (typeof value === 'string') {
    writer.byte(tagText)
    writer.string(value)
  } else if (typeof value === 'number') {
    writeNumber(writer, value)
  } else if (value === null) {
    writer.byte(tagNull)
  } else if (typeof value === 'boolean') {
    writer.byte(value ? tagTrue : tagFalse)
  } else if (typeof value !== 'object') {
    throw new AssertionError(`only checked values are written, not ${describe(value)}`)
  } else if (depth >= valueDepthMax) {
    throw new AssertionError(`only checked values are written, not ones deeper than ${valueDepthMax}`)
  } else if (isArray(value)) {
    writer.byte(tagArray)
    writer.varint(value.length)
    for (let index = 0; index < value.length; index++) writeNested(writer, value[index] as Value, depth + 1)
  } else if (isBytes(value)) {
    writer.byte(tagBytes)
    writer.bytes(value)
  } else {
    const keys = sortedKeys(value)
    writer.byte(tagObject)
    writer.varint(keys.length)
    for (const key of keys) {
      writer.string(key)
      writeNested(writer, value[key] as Value, depth + 1)
    }
  }
}

function writeNumber(writer: Writer, value: number): void {
  if (!Number.isSafeInteger(value)) {
    if (!Number.isFinite(value)) throw new AssertionError(`only checked values are written, not ${value}`)
    writer.byte(tagFloat)
    writer.float64(value)
  } else if (value >= 0) {
    writer.byte(tagPositive)
    writer.varint(value === 0 ? 0 : value)
  } else {
    writer.byte(tagNegative)
    writer.varint(-1 - value)
  }
}

/** Reads one canonical value, frozen through and through (bytes cannot be frozen; they are a copy of the source's). */
export function readValue(reader: Reader): Value {
  return readNested(reader, 0)
}

/** Recursion ends at `valueDepthMax`, whatever the bytes say. */
function readNested(reader: Reader, depth: number): Value {
  const tag = reader.byte()
  switch (tag) {
    case tagNull:
      return null
    case tagFalse:
      return false
    case tagTrue:
      return true
    case tagPositive:
      return reader.varint()
    case tagNegative: {
      const value = -1 - reader.varint()
      if (!Number.isSafeInteger(value)) reader.fail('a number is below −(2^53 − 1)')
      return value
    }
    case tagFloat: {
      const value = reader.float64()
      if (!Number.isFinite(value)) reader.fail('a number is not finite')
      if (Number.isSafeInteger(value)) reader.fail('a whole number is written as a float')
      return value
    }
    case tagText:
      return reader.string()
    case tagBytes:
      return reader.bytes().slice()
    case tagArray:
      return readArray(reader, depth)
    case tagObject:
      return readObject(reader, depth)
    default:
      return reader.fail(`no value has tag ${tag}`)
  }
}

function readArray(reader: Reader, depth: number): Value {
  if (depth >= valueDepthMax) reader.fail(`values nest deeper than ${valueDepthMax}`)
  const count = reader.varint()
  if (count > reader.remaining) reader.fail(`${count} items are announced in ${reader.remaining} bytes`)
  const items: Value[] = []
  for (let index = 0; index < count; index++) items.push(readNested(reader, depth + 1))
  return Object.freeze(items)
}

function readObject(reader: Reader, depth: number): Value {
  if (depth >= valueDepthMax) reader.fail(`values nest deeper than ${valueDepthMax}`)
  const count = reader.varint()
  if (count > reader.remaining / 2) reader.fail(`${count} fields are announced in ${reader.remaining} bytes`)
  const fields: Record<string, Value> = {}
  let previous = ''
  for (let index = 0; index < count; index++) {
    const key = reader.string()
    if (index > 0 && key <= previous) reader.fail('the keys of an object are not in ascending order')
    previous = key
    setField(fields, key, readNested(reader, depth + 1))
  }
  return Object.freeze(fields)
}

/**
 * The canonical copy of what an application gave: frozen through and through, its bytes copied, −0 as 0, keys in order.
 * Throws InvalidArgument, naming the path and what came there, for whatever is not a value: undefined, NaN, infinities,
 * bigints, functions, symbols, instances of classes, cycles, sparse arrays, text with half a surrogate pair, too deep; and
 * ValueTooLarge (also InvalidArgument) for a value of more than `bytesMax` bytes.
 */
export function checkValue(input: unknown, limits: ValueLimits = {}): Value {
  return inspectValue(input, limits).value
}

/** What is known of a checked value. */
export interface InspectedValue {
  readonly value: Value
  /** The length of its canonical bytes. */
  readonly encodedBytes: number
  /** It is or holds bytes, which nobody can freeze: hand out `withOwnBytes(value)`. */
  readonly hasBytes: boolean
}

/** `checkValue`, with the facts that it learns on the way. */
export function inspectValue(input: unknown, limits: ValueLimits = {}): InspectedValue {
  const { bytesMax = valueBytesMax } = limits
  const encodedBytes = plainScalarBytes(input)
  // most values are small scalars, which need no walk; what is wrong or too large gets its words from the walk
  if (encodedBytes > 0 && encodedBytes <= bytesMax) return { value: input as Value, encodedBytes, hasBytes: false }
  const inspection = new Inspection(limits)
  const value = inspection.check(input, 0)
  return { value, encodedBytes: inspection.encodedBytes, hasBytes: inspection.hasBytes }
}

/** The length of the canonical bytes of a scalar that is canonical as it stands; 0 for everything else. */
function plainScalarBytes(input: unknown): number {
  if (typeof input === 'string') {
    const size = utf8Length(input)
    return size === undefined ? 0 : 1 + varintBytes(size) + size
  }
  if (typeof input === 'number') {
    if (!Number.isSafeInteger(input) || Object.is(input, -0)) return 0
    return 1 + varintBytes(input < 0 ? -1 - input : input)
  }
  return input === null || typeof input === 'boolean' ? 1 : 0
}

/** One walk over one value. Counting bytes as it goes ends it early even where shared parts multiply the size. */
class Inspection {
  encodedBytes = 0
  hasBytes = false
  readonly #name: string
  readonly #depthMax: number
  readonly #bytesMax: number
  /** The keys and indexes that lead to where the walk stands. */
  readonly #path: (string | number)[] = []
  /** The objects that it stands in, to tell cycles. */
  readonly #within: object[] = []

  constructor(limits: ValueLimits) {
    this.#name = limits.name ?? 'value'
    this.#depthMax = Math.min(limits.depthMax ?? valueDepthMax, valueDepthMax)
    this.#bytesMax = limits.bytesMax ?? valueBytesMax
  }

  check(input: unknown, depth: number): Value {
    switch (typeof input) {
      case 'string':
        this.#count(1 + this.#textBytes(input, depth))
        return input
      case 'number':
        if (!Number.isFinite(input)) this.#refuse(input, depth)
        if (!Number.isSafeInteger(input)) this.#count(9)
        else this.#count(1 + varintBytes(input < 0 ? -1 - input : input))
        return input === 0 ? 0 : input
      case 'boolean':
        this.#count(1)
        return input
      case 'object':
        if (input === null) {
          this.#count(1)
          return null
        }
        return this.#checkObject(input, depth)
      default:
        return this.#refuse(input, depth)
    }
  }

  #checkObject(input: object, depth: number): Value {
    if (isBytes(input)) {
      this.#count(1 + varintBytes(input.length) + input.length)
      this.hasBytes = true
      return new Uint8Array(input)
    }
    const array = Array.isArray(input)
    if (!array && !isPlainObject(input)) this.#refuse(input, depth)
    if (this.#within.includes(input)) this.#refuse('a cycle', depth)
    if (depth >= this.#depthMax) this.#refuse(`values nested deeper than ${this.#depthMax}`, depth)
    if (Object.getOwnPropertySymbols(input).length > 0) this.#refuse('an object with a symbol as a key', depth)
    this.#within.push(input)
    const value = array ? this.#checkItems(input, depth) : this.#checkFields(input as Record<string, unknown>, depth)
    this.#within.pop()
    return Object.freeze(value)
  }

  #checkItems(input: readonly unknown[], depth: number): Value[] {
    const count = input.length
    this.#count(1 + varintBytes(count))
    const items: Value[] = []
    for (let index = 0; index < count; index++) {
      this.#path[depth] = index
      // A hole reads as undefined, but deserves its own words.
      if (!(index in input)) this.#refuse('a hole in a sparse array', depth + 1)
      items.push(this.check(input[index], depth + 1))
    }
    if (Object.keys(input).length !== count) this.#refuse('an array with further fields', depth)
    return items
  }

  #checkFields(input: Readonly<Record<string, unknown>>, depth: number): ValueObject {
    const keys = sortedKeys(input)
    this.#count(1 + varintBytes(keys.length))
    const fields: Record<string, Value> = {}
    for (const key of keys) {
      this.#path[depth] = key
      this.#count(this.#textBytes(key, depth + 1))
      setField(fields, key, this.check(input[key], depth + 1))
    }
    return fields
  }

  #textBytes(text: string, depth: number): number {
    const size = utf8Length(text)
    if (size === undefined) this.#refuse('text with half a surrogate pair', depth)
    return varintBytes(size) + size
  }

  #count(bytes: number): void {
    this.encodedBytes += bytes
    if (this.encodedBytes > this.#bytesMax) throw new ValueTooLarge(this.#name, this.#bytesMax)
  }

  /** `what` is the thing itself, or words for it if a string. */
  #refuse(what: unknown, depth: number): never {
    const came = typeof what === 'string' ? what : describe(what)
    let path = this.#name
    for (const step of this.#path.slice(0, depth)) path += typeof step === 'number' ? `[${step}]` : formatField(step)
    throw new WepaxosError(
      'InvalidArgument',
      `${path}: expected null, a boolean, a finite number, well-formed text, a Uint8Array, or an array or plain object of these; got ${came}`,
      { path, came },
    )
  }
}

/** True when both have the same canonical bytes. */
export function equalValues(a: Value, b: Value): boolean {
  if (a === b) return true
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false
  if (isBytes(a) || isBytes(b)) {
    if (!isBytes(a) || !isBytes(b) || a.length !== b.length) return false
    return a.every((byte, index) => byte === b[index])
  }
  if (isArray(a) || isArray(b)) {
    if (!isArray(a) || !isArray(b) || a.length !== b.length) return false
    return a.every((item, index) => equalValues(item, b[index] as Value))
  }
  const keys = Object.keys(a)
  if (keys.length !== Object.keys(b).length) return false
  return keys.every((key) => Object.hasOwn(b, key) && equalValues(a[key] as Value, b[key] as Value))
}

/** The same value with its bytes copied, so that writing into them changes nothing elsewhere. Parts without bytes are shared. */
export function withOwnBytes<T extends Value>(value: T): T
export function withOwnBytes(value: Value): Value {
  if (typeof value !== 'object' || value === null) return value
  if (isBytes(value)) return value.slice()
  if (isArray(value)) {
    const items = value.map((item) => withOwnBytes(item))
    return items.every((item, index) => item === value[index]) ? value : Object.freeze(items)
  }
  const fields: Record<string, Value> = {}
  let changed = false
  for (const key of Object.keys(value)) {
    const item = value[key] as Value
    const own = withOwnBytes(item)
    changed ||= own !== item
    setField(fields, key, own)
  }
  return changed ? Object.freeze(fields) : value
}

/** Words for what came in place of something else, for error messages. */
export function describe(what: unknown): string {
  switch (typeof what) {
    case 'undefined':
      return 'undefined'
    case 'number':
    case 'boolean':
      return String(what)
    case 'string':
      return JSON.stringify(what.length > 40 ? `${what.slice(0, 40)}…` : what)
    case 'object': {
      if (what === null) return 'null'
      if (Array.isArray(what)) return 'an array'
      if (isPlainObject(what)) return 'an object'
      const name: unknown = what.constructor?.name
      if (typeof name !== 'string' || name === '' || name === 'Object') return 'an object with another prototype'
      return `an instance of ${name}`
    }
    default:
      return `a ${typeof what}`
  }
}

/** `{}` or `Object.create(null)`, from this page or another realm. */
export function isPlainObject(input: unknown): input is Readonly<Record<string, unknown>> {
  if (typeof input !== 'object' || input === null || Array.isArray(input)) return false
  const prototype: unknown = Object.getPrototypeOf(input)
  if (prototype === null || prototype === Object.prototype) return true
  return Object.getPrototypeOf(prototype) === null && Object.hasOwn(prototype as object, 'isPrototypeOf')
}

/** Also from another realm (a frame, a test environment), where `instanceof` says no. */
export function isBytes(input: unknown): input is Uint8Array {
  return (
    input instanceof Uint8Array ||
    (ArrayBuffer.isView(input) && Object.prototype.toString.call(input) === '[object Uint8Array]')
  )
}

function isArray(value: Value): value is readonly Value[] {
  return Array.isArray(value)
}

/** In the order of their code units. Most objects have their keys so already, and sorting costs more than all the rest. */
function sortedKeys(fields: object): string[] {
  const keys = Object.keys(fields)
  for (let at = 1; at < keys.length; at++) {
    if ((keys[at - 1] as string) > (keys[at] as string)) return keys.sort()
  }
  return keys
}

/** Plain assignment, but for the one key where that would set the prototype instead. */
function setField(fields: Record<string, Value>, key: string, value: Value): void {
  if (key === '__proto__') {
    Object.defineProperty(fields, key, { value, enumerable: true, configurable: true, writable: true })
  } else {
    fields[key] = value
  }
}

function formatField(key: string): string {
  return /^[A-Za-z_$][\w$]*$/.test(key) ? `.${key}` : `[${JSON.stringify(key)}]`
}

function varintBytes(value: number): number {
  let bytes = 1
  for (let rest = value; rest > 0x7f; rest = Math.floor(rest / 0x80)) bytes++
  return bytes
}
