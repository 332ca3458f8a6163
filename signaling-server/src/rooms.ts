// Which peer is in which room, through which socket, and which ids are kept for peers that lost theirs. Pure book-keeping:
// no sockets are touched, no messages made, and the time comes as an argument. Everything is in Maps: ids are strangers' text.
import { timingSafeEqual } from 'node:crypto'
import type { SignalPeerId, SignalRoomId } from './wire.ts'

export interface RoomLimits {
  readonly roomSocketsMax: number
  readonly roomsMax: number
  /** How long an id stays bound to its resume token after its peer left. */
  readonly resumeMs: number
  /** Bound ids without a socket, in all; the oldest go first. */
  readonly keptIdsMax: number
}

export interface JoinRequest {
  readonly room: SignalRoomId
  readonly id: SignalPeerId
  /** Shown for an id that is bound; binds one that is not. */
  readonly resume?: string | undefined
}

export type JoinResult<Socket> =
  | { readonly outcome: 'joined'; readonly resume: string; readonly peers: readonly SignalPeerId[] }
  /** The same id was in the room, and the token is its own: `old` is out, the new socket is in. */
  | {
      readonly outcome: 'replaced'
      readonly resume: string
      readonly peers: readonly SignalPeerId[]
      readonly old: Socket
    }
  | { readonly outcome: 'refused'; readonly reason: 'id-in-use' | 'room-full' | 'server-full' }

interface Member<Socket> {
  readonly socket: Socket
  readonly resume: string
}

export class Rooms<Socket> {
  readonly #limits: RoomLimits
  readonly #makeToken: () => string
  readonly #rooms = new Map<SignalRoomId, Map<SignalPeerId, Member<Socket>>>()
  /** By room and id. All are kept equally long, so the Map's own order is the order in which they expire. */
  readonly #keptIds = new Map<string, { readonly resume: string; readonly untilMs: number }>()
  #memberCount = 0

  constructor(limits: RoomLimits, makeToken: () => string) {
    this.#limits = limits
    this.#makeToken = makeToken
  }

  get roomCount(): number {
    return this.#rooms.size
  }

  get memberCount(): number {
    return this.#memberCount
  }

  get keptIdCount(): number {
    return this.#keptIds.size
  }

  join(request: JoinRequest, socket: Socket, nowMs: number): JoinResult<Socket> {
    const { room, id, resume } = request
    this.#dropExpired(nowMs)
    const members = this.#rooms.get(room)
    const present = members?.get(id)
    if (members !== undefined && present !== undefined) {
      if (!isSameToken(resume, present.resume)) return { outcome: 'refused', reason: 'id-in-use' }
      members.set(id, { socket, resume: present.resume })
      return { outcome: 'replaced', resume: present.resume, peers: othersOf(members, id), old: present.socket }
    }
    const kept = this.#keptIds.get(keptKey(room, id))
    if (kept !== undefined && !isSameToken(resume, kept.resume)) return { outcome: 'refused', reason: 'id-in-use' }
    if (members === undefined && this.#rooms.size >= this.#limits.roomsMax) {
      return { outcome: 'refused', reason: 'server-full' }
    }
    if (members !== undefined && members.size >= this.#limits.roomSocketsMax) {
      return { outcome: 'refused', reason: 'room-full' }
    }
    this.#keptIds.delete(keptKey(room, id))
    const joined = members ?? new Map<SignalPeerId, Member<Socket>>()
    // A peer's own token is as good as ours: it binds the id also when the welcome gets lost, and outlives a restart.
    const token = kept?.resume ?? resume ?? this.#makeToken()
    joined.set(id, { socket, resume: token })
    this.#rooms.set(room, joined)
    this.#memberCount += 1
    return { outcome: 'joined', resume: token, peers: othersOf(joined, id) }
  }

  /** False when `socket` is not (or no longer) the one that stands for the id. `keepId`: for a peer that may come back. */
  leave(room: SignalRoomId, id: SignalPeerId, socket: Socket, keepId: boolean, nowMs: number): boolean {
    const members = this.#rooms.get(room)
    const member = members?.get(id)
    if (members === undefined || member === undefined || member.socket !== socket) return false
    members.delete(id)
    this.#memberCount -= 1
    if (members.size === 0) this.#rooms.delete(room)
    if (keepId && this.#limits.resumeMs > 0) {
      this.#keptIds.set(keptKey(room, id), { resume: member.resume, untilMs: nowMs + this.#limits.resumeMs })
    }
    this.#dropExpired(nowMs)
    return true
  }

  find(room: SignalRoomId, id: SignalPeerId): Socket | undefined {
    return this.#rooms.get(room)?.get(id)?.socket
  }

  /** The sockets of the others in the room. */
  othersOf(room: SignalRoomId, id: SignalPeerId): readonly Socket[] {
    const members = this.#rooms.get(room) ?? new Map<SignalPeerId, Member<Socket>>()
    return [...members].filter(([other]) => other !== id).map(([, { socket }]) => socket)
  }

  #dropExpired(nowMs: number): void {
    for (const [key, { untilMs }] of this.#keptIds) {
      if (untilMs > nowMs && this.#keptIds.size <= this.#limits.keptIdsMax) return
      this.#keptIds.delete(key)
    }
  }
}

/** No id has a slash. */
function keptKey(room: SignalRoomId, id: SignalPeerId): string {
  return `${room}/${id}`
}

function othersOf<Socket>(members: ReadonlyMap<SignalPeerId, Member<Socket>>, id: SignalPeerId): SignalPeerId[] {
  return [...members.keys()].filter((other) => other !== id)
}

function isSameToken(given: string | undefined, expected: string): boolean {
  if (given === undefined) return false
  const left = Buffer.from(given)
  const right = Buffer.from(expected)
  return left.length === right.length && timingSafeEqual(left, right)
}
