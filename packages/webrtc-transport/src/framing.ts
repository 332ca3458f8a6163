// The binary format on a link: messages with small channel numbers, packed together or cut up into frames of at most
// 16 KiB, in three lanes. Pure: bytes in, bytes out, no link and no timer.
//
//   frame    = version (1 byte), part …
//   part     = 0 channel sender length bytes              a whole message
//            | 1 channel sender transfer total length …   the first piece of a big one
//            | 2 transfer length bytes                    its next piece; it is whole when `total` bytes have come
// All numbers are varuints (7 bits a byte, lowest first, at most 5 bytes).

/** One message. `channel` is the receiver's number for what it is meant for, `sender` the sender's number of what sent it. */
export interface LinkMessage {
  readonly channel: number
  readonly sender: number
  readonly bytes: Uint8Array
}

/** `control` goes ahead of all; `normal` ahead of `bulk`. Within a lane, messages stay in order. */
export type Lane = 'control' | 'normal' | 'bulk'

export interface FramingLimits {
  /** The biggest message, in bytes. Default 64 MiB. */
  readonly messageBytesMax: number
  /** Messages that may be half received at a time. Default 8. */
  readonly partialMessagesMax: number
}

export const defaultFramingLimits: FramingLimits = { messageBytesMax: 64 * 1024 * 1024, partialMessagesMax: 8 }

/** Browsers pass 256 KiB, but a frame of 16 KiB lets an urgent message through soon. */
export const frameBytesMax = 16 * 1024

const version = 1
const wholeKind = 0
const firstKind = 1
const nextKind = 2
const headerBytesMax = 1 + 5 * 5
const wholeBytesMax = frameBytesMax - 1 - headerBytesMax
/** A piece smaller than this is not worth its header, unless it is the last. */
const pieceBytesMin = 512
/** After so many frames without bulk, one begins with bulk: a busy link must not starve a checkpoint for ever. */
const framesWithoutBulkMax = 8

interface Queued {
  readonly message: LinkMessage
  /** Bytes that are in frames already; above 0 the message has a transfer number. */
  sent: number
  transfer: number
}

/** What a queued message costs besides its payload: objects, a buffer's head, a place in the queue. */
export const queuedOverheadBytes = 256

/** Packs messages into frames. */
export class FrameWriter {
  readonly #lanes: Record<Lane, Queue> = { control: new Queue(), normal: new Queue(), bulk: new Queue() }
  readonly #scratch = new Uint8Array(frameBytesMax)
  #at = 0
  #nextTransfer = 1
  #framesWithoutBulk = 0
  #queuedBytes = 0

  /** What waits: bytes of payload that no frame has taken yet, and the overhead of each message. */
  get queuedBytes(): number {
    return this.#queuedBytes
  }

  enqueue(message: LinkMessage, lane: Lane): void {
    this.#lanes[lane].push({ message, sent: 0, transfer: 0 })
    this.#queuedBytes += message.bytes.length + queuedOverheadBytes
  }

  /** The next frame, as full as what is queued allows; undefined when nothing is queued. */
  next(): Uint8Array<ArrayBuffer> | undefined {
    const { control, normal, bulk } = this.#lanes
    const bulkFirst = bulk.head !== undefined && this.#framesWithoutBulk >= framesWithoutBulkMax
    this.#scratch[0] = version
    this.#at = 1
    this.#fillFrom(control)
    const bulkHead = bulk.head
    const bulkSent = bulkHead?.sent
    // A control message that does not fit any more still goes before what was queued after it in the other lanes.
    if (control.head === undefined) {
      if (bulkFirst) this.#fillFrom(bulk)
      this.#fillFrom(normal)
      if (!bulkFirst) this.#fillFrom(bulk)
    }
    const bulkServed = bulkHead === undefined || bulk.head !== bulkHead || bulkHead.sent !== bulkSent
    this.#framesWithoutBulk = bulkServed ? 0 : this.#framesWithoutBulk + 1
    return this.#at === 1 ? undefined : this.#scratch.slice(0, this.#at)
  }

  #fillFrom(lane: Queue): void {
    for (let queued = lane.head; queued !== undefined; queued = lane.head) {
      const { channel, sender, bytes } = queued.message
      const room = frameBytesMax - this.#at - headerBytesMax
      if (bytes.length <= wholeBytesMax) {
        if (bytes.length > room) return
        this.#writeNumbers(wholeKind, channel, sender, bytes.length)
        this.#writePiece(queued, bytes.length)
      } else {
        const rest = bytes.length - queued.sent
        const pieceLength = Math.min(rest, room)
        if (pieceLength < pieceBytesMin && pieceLength < rest) return
        if (queued.sent === 0) {
          queued.transfer = this.#nextTransfer
          this.#nextTransfer = (this.#nextTransfer % 0x7fff_ffff) + 1
          this.#writeNumbers(firstKind, channel, sender, queued.transfer, bytes.length, pieceLength)
        } else {
          this.#writeNumbers(nextKind, queued.transfer, pieceLength)
        }
        this.#writePiece(queued, pieceLength)
      }
      if (queued.sent < bytes.length) return
      lane.shift()
      this.#queuedBytes -= queuedOverheadBytes
    }
  }

  #writePiece(queued: Queued, length: number): void {
    this.#scratch.set(queued.message.bytes.subarray(queued.sent, queued.sent + length), this.#at)
    this.#at += length
    queued.sent += length
    this.#queuedBytes -= length
  }

  #writeNumbers(...numbers: readonly number[]): void {
    for (const number of numbers) {
      let rest = number
      while (rest > 0x7f) {
        this.#scratch[this.#at] = (rest & 0x7f) | 0x80
        this.#at += 1
        rest >>>= 7
      }
      this.#scratch[this.#at] = rest
      this.#at += 1
    }
  }
}

/** First in, first out, in constant time. */
class Queue {
  #items: (Queued | undefined)[] = []
  #start = 0

  get head(): Queued | undefined {
    return this.#items[this.#start]
  }

  push(queued: Queued): void {
    this.#items.push(queued)
  }

  shift(): void {
    this.#items[this.#start] = undefined
    this.#start += 1
    if (this.#start < 256 || this.#start * 2 < this.#items.length) return
    this.#items = this.#items.slice(this.#start)
    this.#start = 0
  }
}

export type ReadResult =
  | { readonly ok: true; readonly messages: readonly LinkMessage[] }
  | { readonly ok: false; readonly reason: string }

interface Partial {
  readonly channel: number
  readonly sender: number
  readonly total: number
  buffer: Uint8Array
  received: number
}

/** Unpacks frames. Total: any bytes give messages or a reason, after which the reader must not be used again. */
export class FrameReader {
  readonly #limits: FramingLimits
  readonly #partials = new Map<number, Partial>()
  #partialBytes = 0

  constructor(limits: FramingLimits = defaultFramingLimits) {
    this.#limits = limits
  }

  /** The messages that `frame` completes. They are copies: `frame` may be used again. */
  read(frame: Uint8Array): ReadResult {
    if (frame.length > frameBytesMax) return refuse(`a frame of ${frame.length} bytes`)
    if (frame[0] !== version) return refuse(`a frame of version ${frame[0] ?? 'none'}`)
    const messages: LinkMessage[] = []
    const cursor = new Cursor(frame, 1)
    while (!cursor.atEnd) {
      const kind = cursor.number()
      const problem =
        kind === wholeKind
          ? this.#readWhole(cursor, messages)
          : kind === firstKind
            ? this.#readFirst(cursor)
            : kind === nextKind
              ? this.#readNext(cursor, messages)
              : 'an unknown kind of part'
      if (problem !== undefined) return refuse(problem)
    }
    return { ok: true, messages }
  }

  #readWhole(cursor: Cursor, messages: LinkMessage[]): string | undefined {
    const channel = cursor.number()
    const sender = cursor.number()
    const bytes = cursor.bytes(cursor.number())
    if (channel === undefined || sender === undefined || bytes === undefined) return 'a part that ends too soon'
    // A copy, as a view would keep the whole frame alive, and be cloned with it into IndexedDB.
    messages.push({ channel, sender, bytes: bytes.slice() })
    return undefined
  }

  #readFirst(cursor: Cursor): string | undefined {
    const channel = cursor.number()
    const sender = cursor.number()
    const transfer = cursor.number()
    const total = cursor.number()
    const piece = cursor.bytes(cursor.number())
    if (channel === undefined || sender === undefined || transfer === undefined) return 'a part that ends too soon'
    if (total === undefined || piece === undefined) return 'a part that ends too soon'
    if (total > this.#limits.messageBytesMax) return `a message of ${total} bytes`
    if (piece.length === 0 || piece.length >= total) return 'a first piece that is empty or the whole message'
    if (this.#partials.has(transfer)) return 'a transfer that began twice'
    if (this.#partials.size >= this.#limits.partialMessagesMax) return 'too many unfinished messages'
    const partial = { channel, sender, total, buffer: new Uint8Array(0), received: 0 }
    this.#partials.set(transfer, partial)
    return this.#append(partial, piece)
  }

  #readNext(cursor: Cursor, messages: LinkMessage[]): string | undefined {
    const transfer = cursor.number()
    const piece = cursor.bytes(cursor.number())
    if (transfer === undefined || piece === undefined) return 'a part that ends too soon'
    const partial = this.#partials.get(transfer)
    if (partial === undefined) return 'a piece of no message'
    if (piece.length === 0 || partial.received + piece.length > partial.total) return 'a piece of the wrong length'
    const problem = this.#append(partial, piece)
    if (problem !== undefined || partial.received < partial.total) return problem
    this.#partials.delete(transfer)
    this.#partialBytes -= partial.total
    messages.push({ channel: partial.channel, sender: partial.sender, bytes: partial.buffer })
    return undefined
  }

  /** A writer has one unfinished message a lane, and the control lane's are small: more than two of the biggest is none. */
  #append(partial: Partial, piece: Uint8Array): string | undefined {
    if (this.#partialBytes + piece.length > 2 * this.#limits.messageBytesMax) return 'too much of unfinished messages'
    this.#partialBytes += piece.length
    append(partial, piece)
    return undefined
  }
}

function refuse(reason: string): ReadResult {
  return { ok: false, reason }
}

/** Memory follows what has come, not what was announced: eight headers must not reserve half a gigabyte. */
function append(partial: Partial, piece: Uint8Array): void {
  const needed = partial.received + piece.length
  if (needed > partial.buffer.length) {
    const grown = new Uint8Array(Math.min(partial.total, Math.max(needed, partial.buffer.length * 2, 64 * 1024)))
    grown.set(partial.buffer.subarray(0, partial.received))
    partial.buffer = grown
  }
  partial.buffer.set(piece, partial.received)
  partial.received = needed
}

/** Reads forward; undefined once something is missing or out of range. */
class Cursor {
  readonly #frame: Uint8Array
  #at: number

  constructor(frame: Uint8Array, at: number) {
    this.#frame = frame
    this.#at = at
  }

  get atEnd(): boolean {
    return this.#at >= this.#frame.length
  }

  number(): number | undefined {
    let value = 0
    for (let shift = 0; shift < 35; shift += 7) {
      const byte = this.#frame[this.#at]
      if (byte === undefined) return undefined
      this.#at += 1
      value += (byte & 0x7f) * 2 ** shift
      if (byte < 0x80) return value <= 0x7fff_ffff ? value : undefined
    }
    return undefined
  }

  bytes(length: number | undefined): Uint8Array | undefined {
    if (length === undefined || this.#at + length > this.#frame.length) return undefined
    const bytes = this.#frame.subarray(this.#at, this.#at + length)
    this.#at += length
    return bytes
  }
}
