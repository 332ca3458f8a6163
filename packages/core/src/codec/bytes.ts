// The alphabet of every wire and record format here: varints, byte strings, UTF-8 strings, float64. The writer trusts its
// caller (a wrong argument is a bug and asserts); the reader trusts nothing and throws DecodeError. What the bytes mean is
// the business of the other files of this folder.
import { AssertionError } from '../lib/assert.ts'

/** Bytes that do not say what they should. `offset` is where reading stopped. */
export class DecodeError extends Error {
  readonly offset: number

  constructor(message: string, offset: number) {
    super(`${message} (at byte ${offset})`)
    this.name = 'DecodeError'
    this.offset = offset
  }
}

/** Whole and well, but of a version that is not known here: another program wrote it. */
export class UnknownVersionError extends DecodeError {}

const chunkBytesInitial = 1024
/** A larger chunk is let go by `reset`, so that one large snapshot does not pin memory for ever. */
const chunkBytesKept = 1 << 20
/** Up to here a loop beats TextEncoder … */
const shortTextMax = 48
/** … and up to here TextDecoder: putting text together costs more than taking it apart. */
const shortReadMax = 24

const encoder = new TextEncoder()
const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
/** Float bits go through here, with the byte order said. The bytes are copied, so that no writer or reader needs its own. */
const floatScratch = new DataView(new ArrayBuffer(8))
const floatBytes = new Uint8Array(floatScratch.buffer)

/**
 * Appends to one growing chunk. Numbers are LEB128 varints in their shortest form, so that equal values have equal bytes.
 * `reset` makes it ready for the next message without giving the chunk back.
 */
export class Writer {
  #chunk = new Uint8Array(chunkBytesInitial)
  #length = 0

  /** Bytes written since the last reset. */
  get length(): number {
    return this.#length
  }

  byte(value: number): void {
    if ((value & 0xff) !== value) throw new AssertionError(`a byte is an integer 0 … 255, not ${value}`)
    if (this.#length === this.#chunk.length) this.#grow(1)
    this.#chunk[this.#length++] = value
  }

  /** A whole number 0 … 2^53 − 1 in one to eight bytes. */
  varint(value: number): void {
    if (this.#length + 8 > this.#chunk.length) this.#grow(8)
    const chunk = this.#chunk
    let at = this.#length
    let rest = value | 0
    if (rest !== value || rest < 0) {
      if (!Number.isSafeInteger(value) || value < 0) {
        throw new AssertionError(`a varint is a whole number 0 … 2^53 − 1, not ${value}`)
      }
      let large = value
      while (large >= 0x80000000) {
        chunk[at++] = (large % 0x80) | 0x80
        large = Math.floor(large / 0x80)
      }
      rest = large
    }
    while (rest > 0x7f) {
      chunk[at++] = (rest & 0x7f) | 0x80
      rest >>>= 7
    }
    chunk[at++] = rest
    this.#length = at
  }

  /** A whole number 0 … 2^32 − 1 in four bytes, little-endian: for hashes, which a varint would only make longer. */
  uint32(value: number): void {
    if (value >>> 0 !== value) throw new AssertionError(`a uint32 is a whole number 0 … 2^32 − 1, not ${value}`)
    if (this.#length + 4 > this.#chunk.length) this.#grow(4)
    const chunk = this.#chunk
    const at = this.#length
    chunk[at] = value
    chunk[at + 1] = value >>> 8
    chunk[at + 2] = value >>> 16
    chunk[at + 3] = value >>> 24
    this.#length = at + 4
  }

  /** Bytes as they are, without a length. */
  raw(bytes: Uint8Array): void {
    const size = bytes.length
    if (this.#length + size > this.#chunk.length) this.#grow(size)
    this.#chunk.set(bytes, this.#length)
    this.#length += size
  }

  /** Bytes, after their length as a varint. */
  bytes(bytes: Uint8Array): void {
    this.varint(bytes.length)
    this.raw(bytes)
  }

  /** Text as UTF-8, after its length in bytes as a varint. The text must be well-formed: half a surrogate pair asserts. */
  string(text: string): void {
    const units = text.length
    if (units > shortTextMax) {
      this.#longString(text)
      return
    }
    // All of it fits in one byte a unit, or we start over: one pass for the usual case.
    if (this.#length + 1 + units > this.#chunk.length) this.#grow(1 + units)
    const chunk = this.#chunk
    let at = this.#length
    chunk[at++] = units
    for (let index = 0; index < units; index++) {
      const unit = text.charCodeAt(index)
      if (unit > 0x7f) {
        this.#longString(text)
        return
      }
      chunk[at++] = unit
    }
    this.#length = at
  }

  /** Eight bytes, little-endian. */
  float64(value: number): void {
    if (this.#length + 8 > this.#chunk.length) this.#grow(8)
    floatScratch.setFloat64(0, value, true)
    this.#chunk.set(floatBytes, this.#length)
    this.#length += 8
  }

  /** The checksum of what was written from `start` on. */
  checksum(start = 0): number {
    return checksum(this.#chunk, start, this.#length)
  }

  /** A copy of what was written. The writer stays as it is. */
  finish(): Uint8Array<ArrayBuffer> {
    return this.#chunk.slice(0, this.#length)
  }

  reset(): void {
    this.#length = 0
    if (this.#chunk.length > chunkBytesKept) this.#chunk = new Uint8Array(chunkBytesInitial)
  }

  #longString(text: string): void {
    const size = utf8Length(text)
    if (size === undefined) throw new AssertionError('text with half a surrogate pair has no UTF-8')
    this.varint(size)
    if (this.#length + size > this.#chunk.length) this.#grow(size)
    encoder.encodeInto(text, this.#chunk.subarray(this.#length, this.#length + size))
    this.#length += size
  }

  #grow(more: number): void {
    const chunk = new Uint8Array(Math.max(this.#chunk.length * 2, this.#length + more))
    chunk.set(this.#chunk.subarray(0, this.#length))
    this.#chunk = chunk
  }
}

/** Reads what Writer wrote, and refuses everything that Writer would not have written. */
export class Reader {
  readonly #source: Uint8Array
  readonly #end: number
  #at = 0

  constructor(source: Uint8Array) {
    this.#source = source
    this.#end = source.length
  }

  /** Bytes that are not read yet. */
  get remaining(): number {
    return this.#end - this.#at
  }

  /** Bytes read so far. */
  get offset(): number {
    return this.#at
  }

  /** Refuses the bytes for a reason that only the caller knows. */
  fail(message: string): never {
    throw new DecodeError(message, this.#at)
  }

  byte(): number {
    const value = this.#source[this.#at]
    if (value === undefined) this.fail('the bytes end where a byte should be')
    this.#at++
    return value
  }

  varint(): number {
    const source = this.#source
    const start = this.#at
    // Reading past the end gives undefined: `| 0` would hide that, so the byte is checked as it comes.
    let byte = source[start]
    if (byte === undefined) this.fail('the bytes end where a varint should be')
    if (byte < 0x80) {
      this.#at = start + 1
      return byte
    }
    let at = start + 1
    let value = byte & 0x7f
    let scale = 0x80
    for (;;) {
      byte = source[at]
      if (byte === undefined) this.fail('the bytes end within a varint')
      at++
      if (at - start === 8 && byte > 0x0f) this.fail('a varint exceeds 2^53 − 1')
      value += (byte & 0x7f) * scale
      if (byte < 0x80) break
      scale *= 0x80
    }
    if (byte === 0) this.fail('a varint is longer than it needs to be')
    this.#at = at
    return value
  }

  uint32(): number {
    const source = this.#source
    const at = this.#at
    if (this.#end - at < 4) this.fail('the bytes end within a number of four bytes')
    this.#at = at + 4
    const low = (source[at] as number) | ((source[at + 1] as number) << 8) | ((source[at + 2] as number) << 16)
    return (low | ((source[at + 3] as number) << 24)) >>> 0
  }

  /** The next `size` bytes, as a view on the source: copy what is to outlive it. */
  raw(size: number): Uint8Array {
    const start = this.#at
    if (size < 0 || size > this.#end - start) {
      this.fail(`${size} bytes are announced and ${this.#end - start} are there`)
    }
    this.#at = start + size
    return this.#source.subarray(start, start + size)
  }

  /** A length and so many bytes, as a view on the source. */
  bytes(): Uint8Array {
    return this.raw(this.varint())
  }

  string(): string {
    const size = this.varint()
    const start = this.#at
    const end = start + size
    if (end > this.#end) this.fail(`text of ${size} bytes is announced and ${this.#end - start} are there`)
    if (size <= shortReadMax) {
      const text = shortAscii(this.#source, start, end)
      if (text !== undefined) {
        this.#at = end
        return text
      }
    }
    try {
      const text = decoder.decode(this.#source.subarray(start, end))
      this.#at = end
      return text
    } catch {
      this.fail('text is not valid UTF-8')
    }
  }

  float64(): number {
    if (this.#end - this.#at < 8) this.fail('the bytes end within a float')
    const source = this.#source
    for (let index = 0; index < 8; index++) floatBytes[index] = source[this.#at + index] as number
    this.#at += 8
    return floatScratch.getFloat64(0, true)
  }

  /** Refuses bytes after the last field. */
  end(): void {
    if (this.#at !== this.#end) this.fail(`${this.#end - this.#at} bytes are left over`)
  }
}

/** The text of these bytes, four at a time; undefined where one of them is not ASCII. */
function shortAscii(source: Uint8Array, start: number, end: number): string | undefined {
  let text = ''
  let at = start
  for (; at + 4 <= end; at += 4) {
    const one = source[at] as number
    const two = source[at + 1] as number
    const three = source[at + 2] as number
    const four = source[at + 3] as number
    if ((one | two | three | four) > 0x7f) return undefined
    text += String.fromCharCode(one, two, three, four)
  }
  for (; at < end; at++) {
    const byte = source[at] as number
    if (byte > 0x7f) return undefined
    text += String.fromCharCode(byte)
  }
  return text
}

/** FNV-1a over the bytes from `start` up to `end`: notices damage, not malice. */
export function checksum(bytes: Uint8Array, start: number, end: number): number {
  let hash = 0x811c9dc5
  for (let at = start; at < end; at++) hash = Math.imul(hash ^ (bytes[at] as number), 0x01000193)
  return hash >>> 0
}

/** How many bytes `text` has in UTF-8; undefined when it holds half a surrogate pair and so has no UTF-8. */
export function utf8Length(text: string): number | undefined {
  const units = text.length
  let size = units
  for (let index = 0; index < units; index++) {
    const unit = text.charCodeAt(index)
    if (unit < 0x80) continue
    if (unit < 0x800) size += 1
    else if (unit < 0xd800 || unit > 0xdfff) size += 2
    else {
      const next = unit < 0xdc00 && index + 1 < units ? text.charCodeAt(index + 1) : 0
      if (next < 0xdc00 || next > 0xdfff) return undefined
      // Two units become four bytes.
      size += 2
      index++
    }
  }
  return size
}
