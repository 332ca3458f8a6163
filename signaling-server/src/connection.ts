// One peer of wire v1: hello, then signals, until it leaves, breaks or is refused. The limits of its socket are in
// guarded-socket.ts; who may connect at all is decided before, in server.ts.
import { type Authorize, askAuthorize } from './authorize.ts'
import type { GuardedSocket, SocketContext, SocketOwner } from './guarded-socket.ts'
import { roomLabel } from './log.ts'
import type { SignalingOptions } from './options.ts'
import type { JoinRefusal, RoomDirectory, RoomMember } from './room-directory.ts'
import type { TurnCredentials } from './turn-credentials.ts'
import {
  type AnnouncedLimits,
  type ClientMessage,
  decodeClientMessage,
  encodeMessage,
  type LeaveReason,
  type ServerMessage,
  type SignalPeerId,
  type SignalRoomId,
} from './wire.ts'

/** What all connections of one server share. */
export interface ConnectionContext extends SocketContext {
  readonly rooms: RoomDirectory
  readonly authorize: Authorize | undefined
  readonly turn: TurnCredentials | undefined
}

type Hello = Extract<ClientMessage, { type: 'hello' }>

interface Membership {
  readonly room: SignalRoomId
  readonly id: SignalPeerId
  /** As whom TURN credentials are minted. */
  readonly user: string
}

type Stage =
  | { readonly is: 'new' }
  /** The hook is asked. */
  | { readonly is: 'asking' }
  /** The directory is asked. */
  | { readonly is: 'joining'; readonly membership: Membership }
  | { readonly is: 'member'; readonly membership: Membership }
  /** Closing or closed. */
  | { readonly is: 'ended' }

export class Connection implements SocketOwner, RoomMember {
  readonly #context: ConnectionContext
  readonly #socket: GuardedSocket
  #stage: Stage = { is: 'new' }

  constructor(context: ConnectionContext, socket: GuardedSocket) {
    this.#context = context
    this.#socket = socket
  }

  onText(text: string): void {
    const decoded = decodeClientMessage(text)
    if (!decoded.ok) return this.#socket.end('bad-message', decoded.problem)
    const message = decoded.message
    const stage = this.#stage
    if (message.type === 'hello') {
      if (stage.is !== 'new') return this.#socket.end('hello-repeated')
      this.#stage = { is: 'asking' }
      void this.#join(message)
      return
    }
    if (stage.is !== 'member') return this.#socket.end('hello-expected')
    if (message.type === 'ping') return this.#tellMessage({ type: 'pong' })
    this.#relay(stage.membership, message)
  }

  onEnded(reason: LeaveReason): void {
    const stage = this.#stage
    this.#stage = { is: 'ended' }
    if (stage.is !== 'member') return
    const { room, id } = stage.membership
    this.#context.rooms.leave(room, id, this, reason)
    this.#context.log({ event: 'left', level: 'debug', room: roomLabel(room), reason })
  }

  isWaiting(): boolean {
    return this.#stage.is === 'joining'
  }

  admitted(peers: readonly SignalPeerId[], resume: string, isResumed: boolean): void {
    const stage = this.#stage
    if (stage.is !== 'joining') return
    const { membership } = stage
    const { metrics, log, options, turn } = this.#context
    this.#stage = { is: 'member', membership }
    metrics.add('joins_total')
    if (isResumed) metrics.add('resumes_total')
    const ice = turn === undefined ? {} : { ice: turn.mint(membership.user) }
    const limits = announcedLimits(options)
    this.#tellMessage({ type: 'welcome', you: membership.id, peers, resume, limits, ...ice })
    log({ event: 'joined', level: 'debug', room: roomLabel(membership.room), peers: peers.length })
  }

  refused(reason: JoinRefusal): void {
    this.#socket.end(reason)
  }

  replaced(): void {
    this.#socket.end('replaced')
  }

  tell(text: string): void {
    this.#socket.tell(text)
  }

  /** Only a member ever gets TURN credentials. */
  refreshIce(turn: TurnCredentials): void {
    if (this.#stage.is !== 'member') return
    this.#tellMessage({ type: 'ice', ice: turn.mint(this.#stage.membership.user) })
  }

  #relay({ room, id }: Membership, { to, data }: Extract<ClientMessage, { type: 'signal' }>): void {
    const { rooms, metrics } = this.#context
    const text = encodeMessage({ type: 'signal', from: id, data })
    if (!rooms.relay(room, id, to, text)) {
      metrics.add('signals_undelivered_total')
      return this.#tellMessage({ type: 'error', code: 'unknown-peer', to })
    }
    metrics.add('signals_relayed_total')
    metrics.add('signal_bytes_relayed_total', text.length)
  }

  async #join({ room, id, resume, token }: Hello): Promise<void> {
    const { authorize, options, log, rooms } = this.#context
    const { address, origin } = this.#socket
    const request = { room, id, token, origin, address }
    const answer = await askAuthorize(authorize, request, options.authorizeTimeoutMs, log)
    // The socket may have gone while the hook was asked.
    if (!this.#isAsking()) return
    if (!answer.allowed) return this.#socket.end(answer.error)
    this.#stage = { is: 'joining', membership: { room, id, user: answer.user ?? id } }
    rooms.join({ room, id, resume }, this)
  }

  #isAsking(): boolean {
    return this.#stage.is === 'asking'
  }

  #tellMessage(message: ServerMessage): void {
    this.#socket.tell(encodeMessage(message))
  }
}

function announcedLimits(options: SignalingOptions): AnnouncedLimits {
  const { payloadBytesMax, messagesPerSecond, messagesBurst, roomSocketsMax, resumeMs } = options
  return { messageBytesMax: payloadBytesMax, messagesPerSecond, messagesBurst, roomSocketsMax, resumeMs }
}
