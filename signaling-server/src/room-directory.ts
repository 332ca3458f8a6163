// Who is in which room, and who has to hear of it: the port between a peer's connection and the rooms, and the directory
// of a server that stands alone. The one that spans processes is in redis-directory.ts.
import { randomBytes } from 'node:crypto'
import { type JoinRequest, Rooms } from './rooms.ts'
import {
  encodeMessage,
  type FatalErrorCode,
  type LeaveReason,
  type ServerMessage,
  type SignalPeerId,
  type SignalRoomId,
} from './wire.ts'

export type { JoinRequest } from './rooms.ts'

export type JoinRefusal = Extract<FatalErrorCode, 'id-in-use' | 'room-full' | 'server-full' | 'server-trouble'>

/** A peer's connection, as the directory sees it. */
export interface RoomMember {
  /** False once the socket has gone: a join that was still under way comes to nothing. */
  isWaiting(): boolean
  /** The peer is in. Nothing is told to it before this call. */
  admitted(peers: readonly SignalPeerId[], resume: string, isResumed: boolean): void
  refused(reason: JoinRefusal): void
  /** A newer socket has its id now. */
  replaced(): void
  tell(text: string): void
}

export interface DirectoryGauges {
  readonly rooms: number
  readonly members: number
  readonly keptIds: number
}

/** All implementations keep the same promises: a peer hears peer-joined before the first signal of that peer. */
export interface RoomDirectory {
  /** Rejects when what it needs can not be reached at all. */
  start(): Promise<void>
  /** False while newcomers had better ask another process. */
  isReady(): boolean
  /** Answers through `member`: admitted or refused, unless it went away meanwhile. */
  join(request: JoinRequest, member: RoomMember): void
  leave(room: SignalRoomId, id: SignalPeerId, member: RoomMember, reason: LeaveReason): void
  /** Brings the encoded signal to a peer; false when there is no such peer in the room. */
  relay(room: SignalRoomId, from: SignalPeerId, to: SignalPeerId, text: string): boolean
  gauges(): DirectoryGauges
  /** After the last member has left. */
  close(): Promise<void>
}

/** As hard to guess as 144 random bits. */
export function randomToken(): string {
  return randomBytes(18).toString('base64url')
}

export interface LocalDirectoryOptions {
  readonly roomSocketsMax: number
  readonly roomsMax: number
  readonly resumeMs: number
  readonly socketsMax: number
}

/** Rooms that live in this process. */
export class LocalDirectory implements RoomDirectory {
  readonly #rooms: Rooms<RoomMember>
  readonly #nowMs: () => number

  constructor(options: LocalDirectoryOptions, nowMs: () => number) {
    this.#rooms = new Rooms<RoomMember>({ ...options, keptIdsMax: options.socketsMax }, randomToken)
    this.#nowMs = nowMs
  }

  start(): Promise<void> {
    return Promise.resolve()
  }

  isReady(): boolean {
    return true
  }

  join(request: JoinRequest, member: RoomMember): void {
    const { room, id } = request
    const joined = this.#rooms.join(request, member, this.#nowMs())
    if (joined.outcome === 'refused') return member.refused(joined.reason)
    const isResumed = joined.outcome === 'replaced'
    if (isResumed) {
      joined.old.replaced()
      this.#tellOthers(room, id, { type: 'peer-left', id, reason: 'replaced' })
    }
    member.admitted(joined.peers, joined.resume, isResumed)
    this.#tellOthers(room, id, { type: 'peer-joined', id })
  }

  leave(room: SignalRoomId, id: SignalPeerId, member: RoomMember, reason: LeaveReason): void {
    // False for the older of two sockets: the newer one has told the room.
    if (!this.#rooms.leave(room, id, member, reason !== 'left', this.#nowMs())) return
    this.#tellOthers(room, id, { type: 'peer-left', id, reason })
  }

  relay(room: SignalRoomId, _from: SignalPeerId, to: SignalPeerId, text: string): boolean {
    const receiver = this.#rooms.find(room, to)
    receiver?.tell(text)
    return receiver !== undefined
  }

  gauges(): DirectoryGauges {
    const { roomCount, memberCount, keptIdCount } = this.#rooms
    return { rooms: roomCount, members: memberCount, keptIds: keptIdCount }
  }

  close(): Promise<void> {
    return Promise.resolve()
  }

  #tellOthers(room: SignalRoomId, id: SignalPeerId, message: ServerMessage): void {
    const text = encodeMessage(message)
    for (const other of this.#rooms.othersOf(room, id)) other.tell(text)
  }
}
