// Frames on their way out: the messages of one turn to one peer share a frame, because a frame costs far more than a
// message. A message to several peers is encoded once.
import { Writer } from '../codec/bytes.ts'
import { controlEpoch, writeControlMessage, writeFrameHead, writeMessage } from '../codec/message.ts'
import type { ControlMessage } from '../protocol/control-message.ts'
import type { Epoch, ReplicaId } from '../protocol/ids.ts'
import type { Message } from '../protocol/message.ts'

/** A frame is closed when it exceeds this. */
const frameBytesMax = 64 * 1_024

export type SendFrame = (to: ReplicaId, frame: Uint8Array, priority: 'normal' | 'bulk') => void

interface OpenFrame {
  readonly writer: Writer
  epoch: Epoch
  writes: number
}

export class Outbox {
  readonly #send: SendFrame
  readonly #durableWrites: () => number
  readonly #frames = new Map<ReplicaId, OpenFrame>()
  readonly #scratch = new Writer()

  /** `durableWrites`: how far this replica's disk has come, which every frame says ([DU6]). */
  constructor(send: SendFrame, durableWrites: () => number) {
    this.#send = send
    this.#durableWrites = durableWrites
  }

  add(to: readonly ReplicaId[], epoch: Epoch, message: Message, voters: readonly ReplicaId[]): void {
    const [only] = to
    if (to.length === 1 && only !== undefined) {
      writeMessage(this.#frame(only, epoch), message, voters)
      this.#closeIfFull(only)
      return
    }
    this.#scratch.reset()
    writeMessage(this.#scratch, message, voters)
    const bytes = this.#scratch.finish()
    for (const peer of to) {
      this.#frame(peer, epoch).raw(bytes)
      this.#closeIfFull(peer)
    }
  }

  /** Control messages leave at once, each in a frame of its own: they are rare. */
  control(to: ReplicaId, message: ControlMessage, priority: 'normal' | 'bulk' = 'normal'): void {
    this.#close(to)
    this.#scratch.reset()
    writeFrameHead(this.#scratch, { epoch: controlEpoch, writes: this.#durableWrites() })
    writeControlMessage(this.#scratch, message)
    this.#send(to, this.#scratch.finish(), priority)
  }

  /** Sends what has gathered. */
  flush(): void {
    for (const peer of this.#frames.keys()) this.#close(peer)
  }

  forget(peer: ReplicaId): void {
    this.#frames.delete(peer)
  }

  #frame(to: ReplicaId, epoch: Epoch): Writer {
    const writes = this.#durableWrites()
    let open = this.#frames.get(to)
    if (open === undefined) {
      open = { writer: new Writer(), epoch, writes }
      this.#frames.set(to, open)
    }
    // what became durable meanwhile must not be reported under the old number
    if (open.writer.length > 0 && (open.epoch !== epoch || open.writes !== writes)) this.#close(to)
    if (open.writer.length === 0) {
      open.epoch = epoch
      open.writes = writes
      writeFrameHead(open.writer, open)
    }
    return open.writer
  }

  #closeIfFull(to: ReplicaId): void {
    if ((this.#frames.get(to)?.writer.length ?? 0) > frameBytesMax) this.#close(to)
  }

  #close(to: ReplicaId): void {
    const writer = this.#frames.get(to)?.writer
    if (writer === undefined || writer.length === 0) return
    const frame = writer.finish()
    writer.reset()
    this.#send(to, frame, 'normal')
  }
}
