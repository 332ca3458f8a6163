// What a round trip costs without replicas, between the same pages: over a bare data channel, over a link of the transport,
// and through the room. The room carries the handshakes of the other two. Every page answers all that comes.
import type { CreatePeerLink, LinkSignal, PeerLink, Room } from '@wepaxos/webrtc-transport'

export type Way = 'channel' | 'link' | 'room'

export interface EchoRun {
  readonly way: Way
  /**
   * `one`: there and back to one page. `quorum`: what a replica of three does for each command, without the replica: to
   * both others, and over with the first answer. `quorum and notes`: and then a note to both, that it is over. `two rounds and
   * notes`: what it does on the slow path.
   */
  readonly pattern: 'one' | 'quorum' | 'quorum and notes' | 'two rounds and notes'
  readonly count: number
  readonly inFlight: number
  /** Between two, where only one is in flight at a time. */
  readonly pauseMs?: number
  readonly bytes: number
}

export interface Timed {
  readonly times: readonly number[]
  readonly elapsedMs: number
}

type Send = (bytes: Uint8Array<ArrayBuffer>) => void
type ReplicaId = Parameters<Parameters<Room['attach']>[0]['onConnected']>[0]

const request = 1
const answer = 2
const note = 3
const signal = 4

/** One other page, and the ways there that are open. */
interface Other {
  readonly ways: Partial<Record<Way, Send>>
  link?: PeerLink
  connection?: RTCPeerConnection
  candidates: Promise<void>
}

export class Echoes {
  readonly #others = new Map<ReplicaId, Other>()
  readonly #waiting = new Map<number, () => void>()
  readonly #createLink: CreatePeerLink
  readonly #channel: ReturnType<Room['attach']>
  readonly #self: ReplicaId
  #nextId = 1

  constructor(room: Room, own: Awaited<ReturnType<Room['newReplica']>>, createLink: CreatePeerLink) {
    this.#self = own.replica
    this.#createLink = createLink
    this.#channel = room.attach({
      partition: 'echo',
      ...own,
      onConnected: (peer) => void this.#meet(peer),
      onDisconnected: (peer) => void this.#others.delete(peer),
      onFrame: (from, frame) => {
        if (frame[0] === signal) void this.#onSignal(from, JSON.parse(new TextDecoder().decode(frame.subarray(1))))
        else this.#onBytes(frame, (bytes) => this.#channel.send(from, bytes))
      },
    })
  }

  /** Other pages to which all ways are open. */
  get open(): number {
    return [...this.#others.values()].filter(({ ways }) => ways.channel && ways.link && ways.room).length
  }

  run({ way, pattern, count, inFlight, bytes, pauseMs }: EchoRun): Promise<Timed> {
    const sends = [...this.#others.values()].flatMap(({ ways }) => ways[way] ?? [])
    const to = pattern === 'one' ? sends.slice(0, 1) : sends
    const rounds = pattern === 'two rounds and notes' ? 2 : 1
    const withNotes = pattern === 'quorum and notes' || pattern === 'two rounds and notes'
    return timed(
      count,
      inFlight,
      async () => {
        for (let round = 0; round < rounds; round += 1) await this.#round(to, bytes)
        if (withNotes) for (const send of to) send(message(note, this.#nextId, 16))
      },
      pauseMs,
    )
  }

  /** To all of them, until the first has answered. */
  #round(to: readonly Send[], bytes: number): Promise<void> {
    const id = this.#nextId++
    return new Promise<void>((resolve) => {
      this.#waiting.set(id, resolve)
      for (const send of to) send(message(request, id, bytes))
    })
  }

  #onBytes(bytes: Uint8Array, reply: Send): void {
    const id = new DataView(bytes.buffer, bytes.byteOffset).getUint32(1)
    if (bytes[0] === request) reply(message(answer, id, bytes.length))
    if (bytes[0] !== answer) return
    const done = this.#waiting.get(id)
    this.#waiting.delete(id)
    done?.()
  }

  #signal(to: ReplicaId, what: unknown): void {
    const text = new TextEncoder().encode(JSON.stringify(what))
    const bytes = new Uint8Array(text.length + 1)
    bytes[0] = signal
    bytes.set(text, 1)
    this.#channel.send(to, bytes)
  }

  async #meet(peer: ReplicaId): Promise<void> {
    const other: Other = { ways: { room: (bytes) => this.#channel.send(peer, bytes) }, candidates: Promise.resolve() }
    this.#others.set(peer, other)
    const initiator = this.#self < peer
    const link = this.#createLink({
      peer,
      initiator,
      iceServers: [],
      events: {
        onSignal: (of) => this.#signal(peer, { link: of }),
        onOpen: () => {
          other.ways.link = (bytes) => link.send(bytes)
        },
        onMessage: (bytes) => this.#onBytes(bytes, (back) => link.send(back)),
        onDrain: () => undefined,
        onClose: () => undefined,
      },
    })
    other.link = link
    const connection = new RTCPeerConnection()
    other.connection = connection
    connection.onicecandidate = ({ candidate }) => {
      if (candidate !== null) this.#signal(peer, { candidate: candidate.toJSON() })
    }
    const use = (channel: RTCDataChannel) => {
      channel.binaryType = 'arraybuffer'
      channel.onmessage = ({ data }: MessageEvent<ArrayBuffer>) =>
        this.#onBytes(new Uint8Array(data), (back) => channel.send(back))
      const open = () => {
        other.ways.channel = (bytes) => channel.send(bytes)
      }
      if (channel.readyState === 'open') open()
      else channel.onopen = open
    }
    if (!initiator) {
      connection.ondatachannel = ({ channel }) => use(channel)
      return
    }
    use(connection.createDataChannel('echo'))
    await connection.setLocalDescription()
    this.#signal(peer, { description: connection.localDescription })
  }

  async #onSignal(
    from: ReplicaId,
    came: {
      readonly link?: LinkSignal
      readonly candidate?: RTCIceCandidateInit
      readonly description?: RTCSessionDescriptionInit
    },
  ): Promise<void> {
    const other = this.#others.get(from)
    if (other?.connection === undefined) return
    const { connection } = other
    const { link, candidate, description } = came
    if (link !== undefined) other.link?.signal(link)
    // one after the other: a candidate before its description would be an error
    other.candidates = other.candidates.then(async () => {
      if (candidate !== undefined) await connection.addIceCandidate(candidate)
      if (description === undefined) return
      await connection.setRemoteDescription(description)
      if (description.type !== 'offer') return
      await connection.setLocalDescription()
      this.#signal(from, { description: connection.localDescription })
    })
    await other.candidates
  }
}

/** Calls `once` so many times, always `inFlight` of them under way. */
export async function timed(
  count: number,
  inFlight: number,
  once: () => Promise<unknown>,
  pauseMs = 0,
): Promise<Timed> {
  const times: number[] = []
  let begun = 0
  const began = performance.now()
  const lane = async () => {
    while (begun < count) {
      begun += 1
      const before = performance.now()
      await once()
      times.push(performance.now() - before)
      if (pauseMs > 0) await new Promise((resolve) => setTimeout(resolve, pauseMs))
    }
  }
  await Promise.all(Array.from({ length: inFlight }, lane))
  return { times, elapsedMs: performance.now() - began }
}

function message(kind: number, id: number, length: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(length)
  bytes[0] = kind
  new DataView(bytes.buffer).setUint32(1, id)
  return bytes
}
