// A page whose program was changed, for tests of what members have to stand: it is attached to the simulated network like any
// replica, runs no protocol, and says what the test makes up.
import { Reader, Writer } from '../src/codec/bytes.ts'
import {
  controlEpoch,
  readControlMessage,
  readFrameHead,
  readMessage,
  writeControlMessage,
  writeFrameHead,
  writeMessage,
} from '../src/codec/message.ts'
import type { ControlMessage, Hello } from '../src/protocol/control-message.ts'
import { type Epoch, type ReplicaId, replicaId } from '../src/protocol/ids.ts'
import type { Message } from '../src/protocol/message.ts'
import type { Channel, Transport } from '../src/runtime/transport.ts'
import type { Stage } from './stage.ts'

/** What it does about what the members say. */
export interface ChangedProgram {
  connected?(page: ChangedPage, peer: ReplicaId): void
  heardControl?(page: ChangedPage, from: ReplicaId, message: ControlMessage): void
  /** Messages of epochs, where the page knows the epoch's voters. */
  heard?(page: ChangedPage, from: ReplicaId, message: Message, epoch: Epoch): void
}

export class ChangedPage {
  readonly id: ReplicaId
  readonly #stage: Stage
  readonly #voters: readonly ReplicaId[] | null
  readonly #channel: Channel

  constructor(stage: Stage, id: string, program: ChangedProgram, voters: readonly string[] | null = null) {
    this.id = replicaId(id)
    this.#stage = stage
    this.#voters = voters?.map((voter) => replicaId(voter)) ?? null
    this.#channel = stage.network.transport(`changed ${id}`, false).attach({
      partition: 'p',
      replica: this.id,
      onConnected: (peer) => program.connected?.(this, peer),
      onDisconnected() {},
      onFrame: (from, frame) => {
        const reader = new Reader(frame)
        const { epoch } = readFrameHead(reader)
        while (reader.remaining > 0) {
          if (epoch === controlEpoch) {
            const message = readControlMessage(reader)
            program.heardControl?.(this, from, message)
          } else {
            if (this.#voters === null) return
            const message = readMessage(reader, this.#voters)
            program.heard?.(this, from, message, epoch)
          }
        }
      },
    })
  }

  sayControl(to: string, message: ControlMessage): void {
    this.#send(to, controlEpoch, (frame) => writeControlMessage(frame, message))
  }

  say(to: string, epoch: Epoch, message: Message): void {
    const voters = this.#voters ?? []
    this.#send(to, epoch, (frame) => writeMessage(frame, message, voters))
  }

  close(): void {
    this.#channel.close()
  }

  #send(to: string, epoch: Epoch, write: (frame: Writer) => void): void {
    const writer = new Writer()
    writeFrameHead(writer, { epoch, writes: 0 })
    write(writer)
    const frame = writer.finish()
    this.#stage.world.at(1, () => this.#channel.send(replicaId(to), frame))
  }
}

/** The Hello of who has no state yet. */
export const newcomersHello: Hello = {
  type: 'Hello',
  cluster: null,
  machine: 'kv',
  machineVersion: 1,
  epoch: 0,
  checkpointHash: null,
  heard: true,
  steady: false,
  run: 1,
  writesAtOpen: 0,
  disksHeard: [],
}

/** The transport of a page that knows which replicas have not proven the voter's secret. */
export function knowingReaders(transport: Transport, isReader: (peer: ReplicaId) => boolean): Transport {
  return {
    ...transport,
    attach: (endpoint) =>
      transport.attach({
        ...endpoint,
        onConnected: (peer) => endpoint.onConnected(peer, { mayVote: !isReader(peer) }),
      }),
  }
}
