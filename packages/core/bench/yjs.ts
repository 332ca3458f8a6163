// A yardstick: as many Y.Docs, each with one Y.Map, one `set` a transaction; each update event is one frame through the
// same memory network, and is applied to the other documents. A command counts as answered when the last of the others has
// applied it. Yjs merges: it orders nothing, answers nothing, writes nothing down. It is here because it is what a page
// would use that needs no agreement.
import { applyUpdate, Doc } from 'yjs'
import { type ReplicaId, replicaIdFromBytes } from '../src/protocol/ids.ts'
import type { Channel } from '../src/runtime/transport.ts'
import { CountedNetwork } from './counted-network.ts'
import type { Load, Subject } from './load.ts'

/** Calls in the order in which they were made, from the front. */
class Waiting {
  #calls: (() => void)[] = []
  #head = 0

  push(call: () => void): void {
    this.#calls.push(call)
  }

  shift(): (() => void) | undefined {
    const call = this.#calls[this.#head++]
    if (this.#head > 1_024 && this.#head * 2 > this.#calls.length) {
      this.#calls = this.#calls.slice(this.#head)
      this.#head = 0
    }
    return call
  }
}

interface Page {
  readonly doc: Doc
  readonly id: ReplicaId
  readonly channel: Channel
  /** Updates of this page that the others have not all applied. */
  readonly waiting: Waiting
  executed: number
}

export async function openYjs({ replicas }: Load): Promise<Subject> {
  if (replicas < 2) throw new Error('one document exchanges nothing')
  const network = new CountedNetwork()
  const ids = Array.from({ length: replicas }, (_, index) => replicaIdFromBytes(new Uint8Array(16).fill(index + 1)))
  const pages: Page[] = ids.map((id, index) => {
    const doc = new Doc()
    doc.clientID = index + 1
    const channel = network.transport(`page${index}`).attach({
      partition: 'yjs',
      replica: id,
      onConnected() {},
      onDisconnected() {},
      onFrame: (from, frame) => receive(index, from, frame),
    })
    return { doc, id, channel, waiting: new Waiting(), executed: 0 }
  })
  const remote = Symbol('an update of another document')
  const lastOf = (from: ReplicaId) => (from === ids.at(-1) ? replicas - 2 : replicas - 1)
  const receive = (at: number, from: ReplicaId, frame: Uint8Array) => {
    const page = pages[at]
    if (page === undefined) return
    applyUpdate(page.doc, frame, remote)
    page.executed++
    // frames leave in the order of the pages, so the last page has it last
    if (at !== lastOf(from)) return
    pages[ids.indexOf(from)]?.waiting.shift()?.()
  }
  for (const { doc, id, channel } of pages) {
    doc.on('update', (update: Uint8Array, origin: unknown) => {
      if (origin === remote) return
      for (const to of ids) if (to !== id) channel.send(to, update)
    })
  }
  await new Promise((resolve) => setImmediate(resolve))
  return {
    set: (at, key, value, answered) => {
      const page = pages[at]
      if (page === undefined) return
      page.waiting.push(answered)
      page.executed++
      page.doc.getMap('map').set(key, value)
    },
    states: () => pages.map(({ doc }) => JSON.stringify(Object.entries(doc.getMap('map').toJSON()).sort())),
    executed: () => pages.map(({ executed }) => executed),
    takeTraffic: () => network.takeTraffic(),
    close: async () => {
      for (const { doc, channel } of pages) {
        channel.close()
        doc.destroy()
      }
    },
  }
}
