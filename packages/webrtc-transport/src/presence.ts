// What the pages of a room show about themselves: y-protocols' awareness over the links, each page for itself only. A
// state is bounded in size, bound to the link that it came over, and gone with it. Awareness knows its clients by numbers that
// they choose themselves. What comes over a link is put under a number made here for that link, so no page can speak for
// another one, nor take its number.
import { type PeerPresence, type Presence, type ReplicaId, type Value, WepaxosError } from '@wepaxos/core'
import * as decoding from 'lib0/decoding'
import * as encoding from 'lib0/encoding'
import { Awareness, applyAwarenessUpdate, encodeAwarenessUpdate, removeAwarenessStates } from 'y-protocols/awareness'
import type { Lane, LinkMessage } from './framing.ts'
import { presenceChannel } from './link-session.ts'

const stateBytesMax = 4096
/** The state, its wrapping, a client number and a clock. */
const updateBytesMax = stateBytesMax + 64
/** Links are numbered from here: this page's own number lies below. */
const firstLinkClient = 2 ** 32

/** What presence needs of an open link. */
export interface PresenceLink {
  readonly peer: string
  send(message: LinkMessage, lane: Lane): void
}

export class AwarenessPresence<Link extends PresenceLink> implements Presence {
  readonly #awareness: Awareness
  readonly #replicasOf: (session: Link) => readonly { readonly replica: ReplicaId }[]
  readonly #onListenerError: (error: unknown) => void
  /** Each open link, and the number of the client that speaks over it. */
  readonly #sessions = new Map<Link, number>()
  readonly #listeners = new Set<() => void>()
  #nextLinkClient = firstLinkClient
  #self: Value = null
  #others: readonly PeerPresence[] = []

  constructor(
    replicasOf: (session: Link) => readonly { readonly replica: ReplicaId }[],
    onListenerError: (error: unknown) => void,
  ) {
    this.#replicasOf = replicasOf
    this.#onListenerError = onListenerError
    const clientID = crypto.getRandomValues(new Uint32Array(1))[0] ?? 0
    // Awareness asks for a Yjs document, but uses its number and one event of it only.
    const document = { clientID, on: () => undefined } as unknown as ConstructorParameters<typeof Awareness>[0]
    this.#awareness = new Awareness(document)
    this.#awareness.setLocalState(null)
    // Also every 15 s while there is a state: awareness forgets who was not heard for 30 s.
    this.#awareness.on('update', (_change: unknown, origin: unknown) => {
      if (origin === 'local') for (const session of this.#sessions.keys()) this.#sendSelf(session)
    })
    this.#awareness.on('change', () => this.refresh())
  }

  get self(): Value {
    return this.#self
  }

  get others(): readonly PeerPresence[] {
    return this.#others
  }

  set(state: Value): void {
    const text = encodeState(state)
    this.#self = JSON.parse(text)
    this.#awareness.setLocalState(state === null ? null : { state: this.#self })
    this.#tell()
  }

  subscribe(listener: () => void): () => void {
    // Wrapped: the same function may subscribe twice, and each end its own.
    const entry = () => listener()
    this.#listeners.add(entry)
    return () => this.#listeners.delete(entry)
  }

  linkOpened(session: Link): void {
    this.#sessions.set(session, this.#nextLinkClient)
    this.#nextLinkClient += 1
    if (this.#self !== null) this.#sendSelf(session)
  }

  linkClosed(session: Link): void {
    const client = this.#sessions.get(session)
    this.#sessions.delete(session)
    if (client === undefined) return
    removeAwarenessStates(this.#awareness, [client], 'link')
    // Its clock goes too: nobody will use that number again.
    this.#awareness.meta.delete(client)
  }

  /** The peer is alive, so its state is not outdated, even where a hidden page's timers are too slow to renew it. */
  linkAlive(session: Link): void {
    const meta = this.#awareness.meta.get(this.#sessions.get(session) ?? -1)
    if (meta !== undefined) meta.lastUpdated = Date.now()
  }

  /** False: no rightly formed update of one state, or too big a one; the peer's link should be closed. */
  received(session: Link, update: Uint8Array): boolean {
    const client = this.#sessions.get(session)
    if (client === undefined) return true
    const entry = decodeEntry(update)
    if (entry === undefined) return false
    applyAwarenessUpdate(this.#awareness, encodeEntry(client, entry), session)
    return true
  }

  /** Looks again at who is there, and tells the subscribers if that is another picture than before. */
  refresh(): void {
    const before = new Map(this.#others.map((entry) => [entry.peer, entry]))
    const others: PeerPresence[] = []
    for (const [session, client] of this.#sessions) {
      const state = this.#awareness.getStates().get(client)?.['state'] as Value | undefined
      if (state === undefined || state === null) continue
      const replicas = this.#replicasOf(session).map(({ replica }) => replica)
      const old = before.get(session.peer)
      const same = old !== undefined && old.state === state && sameItems(old.replicas, replicas)
      others.push(same ? old : { peer: session.peer, replicas, state })
    }
    if (sameItems(this.#others, others)) return
    this.#others = others
    this.#tell()
  }

  close(): void {
    this.#sessions.clear()
    this.#awareness.destroy()
    this.refresh()
    this.#listeners.clear()
  }

  #sendSelf(session: Link): void {
    const bytes = encodeAwarenessUpdate(this.#awareness, [this.#awareness.clientID])
    session.send({ channel: presenceChannel, sender: presenceChannel, bytes }, 'normal')
  }

  #tell(): void {
    for (const listener of [...this.#listeners]) {
      try {
        listener()
      } catch (error) {
        // It runs while a frame is read: the frame's other messages are not to be lost with it.
        this.#onListenerError(error)
      }
    }
  }
}

function encodeState(state: Value): string {
  const text = JSON.stringify(state, (_key, value: unknown) => {
    if (!(value instanceof Uint8Array)) return value
    throw new WepaxosError('InvalidArgument', 'a presence state is plain JSON; it can not hold bytes')
  }) as string | undefined
  if (text === undefined) throw new WepaxosError('InvalidArgument', `a presence state is JSON, not ${typeof state}`)
  const { length } = new TextEncoder().encode(text)
  if (length <= stateBytesMax) return text
  const problem = `a presence state has at most ${stateBytesMax} bytes as JSON, not ${length}`
  throw new WepaxosError('InvalidArgument', problem)
}

interface Entry {
  readonly clock: number
  /** As JSON: what awareness keeps of a client. */
  readonly shown: string
}

/** What `update` says of one client, whichever that is; undefined where it is not a rightly formed update of one. */
function decodeEntry(update: Uint8Array): Entry | undefined {
  if (update.length > updateBytesMax) return undefined
  try {
    const decoder = decoding.createDecoder(update)
    if (decoding.readVarUint(decoder) !== 1) return undefined
    decoding.readVarUint(decoder)
    const clock = decoding.readVarUint(decoder)
    const shown = decoding.readVarString(decoder)
    if (decoding.hasContent(decoder)) return undefined
    const value: unknown = JSON.parse(shown)
    return value === null || (typeof value === 'object' && 'state' in value) ? { clock, shown } : undefined
  } catch {
    return undefined
  }
}

function encodeEntry(client: number, { clock, shown }: Entry): Uint8Array {
  const encoder = encoding.createEncoder()
  for (const number of [1, client, clock]) encoding.writeVarUint(encoder, number)
  encoding.writeVarString(encoder, shown)
  return encoding.toUint8Array(encoder)
}

function sameItems<Item>(left: readonly Item[], right: readonly Item[]): boolean {
  return left.length === right.length && left.every((item, index) => item === right[index])
}
