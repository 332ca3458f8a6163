// The memory network, with a count of what passes through it.
import type { Transport } from '../src/runtime/transport.ts'
import { createMemoryNetwork } from '../testing/memory-transport.ts'
import type { Traffic } from './load.ts'

export class CountedNetwork {
  readonly #network = createMemoryNetwork({ room: 'bench' })
  #frames = 0
  #bytes = 0

  transport(peer: string): Transport {
    const { room, founded, presence, attach } = bound(this.#network.transport(peer))
    return {
      room,
      founded,
      presence,
      attach: (endpoint) => {
        const channel = attach(endpoint)
        return {
          send: (to, frame, priority) => {
            this.#frames++
            this.#bytes += frame.length
            channel.send(to, frame, priority)
          },
          queuedBytes: (to) => channel.queuedBytes(to),
          close: () => channel.close(),
        }
      },
    }
  }

  /** The page is gone without a word. */
  drop(peer: string): void {
    this.#network.close(peer)
  }

  /** Since it was asked last. */
  takeTraffic(): Traffic {
    const traffic = { frames: this.#frames, bytes: this.#bytes }
    this.#frames = 0
    this.#bytes = 0
    return traffic
  }
}

function bound(transport: Transport) {
  const { room, founded, presence } = transport
  return { room, founded, presence, attach: transport.attach.bind(transport) }
}
