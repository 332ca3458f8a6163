// Rooms that span processes. Redis holds who is where; each process holds what it last saw of the rooms of its own peers,
// and tells them what changed. A notice over pub/sub only says that there is something to look at, so that one which is
// lost, late or doubled does no harm; and each process looks again from time to time without one. Peers of the same
// process go on without Redis; newcomers are asked to come later.
import { ClientOfflineError, createClient } from 'redis'
import type { Log } from './log.ts'
import type { Metrics } from './metrics.ts'
import { OptionError, type SignalingOptions } from './options.ts'
import { type RedisKeys, type RoomChange, redisKeys, redisScripts } from './redis-scripts.ts'
import {
  type DirectoryGauges,
  type JoinRefusal,
  type JoinRequest,
  type RoomDirectory,
  type RoomMember,
  randomToken,
} from './room-directory.ts'
import {
  encodeMessage,
  isPeerId,
  isRoomId,
  type LeaveReason,
  type ServerMessage,
  type SignalPeerId,
  type SignalRoomId,
} from './wire.ts'

interface LocalMember {
  readonly member: RoomMember
  readonly session: string
  readonly resume: string
}

/** Where a peer is. A peer that comes back has a new session. */
interface Seat {
  readonly process: string
  readonly session: string
}

/** A room with peers of this process, or one that had some a moment ago. */
interface SharedRoom {
  readonly name: SignalRoomId
  readonly locals: Map<SignalPeerId, LocalMember>
  /** What the peers of this process were told: everybody in the room, those of this process too. */
  seats: Map<SignalPeerId, Seat>
  /** Why peers left, of whom a notice said so. */
  readonly reasons: Map<SignalPeerId, LeaveReason>
  /** The room's questions to Redis go one after the other, so that no older answer follows a newer one. */
  turn: Promise<void>
  turnsLeft: number
  /** A look that has not begun; what wants one now can have this one. */
  nextLook: Promise<void> | undefined
  /**
   * A claim or a release got no answer, and may have been done or not: the room is kept, also without peers, until a look
   * has taken out of Redis what is not here.
   */
  isInDoubt: boolean
}

/** A signal on its way between two processes. */
interface RemoteSignal {
  readonly room: string
  readonly from: string
  readonly session: string
  readonly to: string
  readonly text: string
}

const leaveReasons: readonly string[] = ['gone', 'left', 'removed', 'replaced'] satisfies LeaveReason[]
const heartbeatsPerTimeout = 4
/** A room that no process looks at any more goes from Redis after so many timeouts. */
const roomTimeouts = 4
const reconnectMsMax = 2_000
/** A Redis that has not answered for so long is as good as gone. */
const silenceMs = 15_000
/** Commands that may wait for Redis; what comes on top is refused or lost. */
const waitingMax = 50_000

function connect(url: string, isStarted: () => boolean) {
  return createClient({
    url,
    scripts: redisScripts,
    disableOfflineQueue: true,
    commandsQueueMaxLength: waitingMax,
    pingInterval: silenceMs / 3,
    socket: {
      connectTimeout: silenceMs / 3,
      socketTimeout: silenceMs,
      reconnectStrategy: (retries, cause) =>
        isStarted() ? Math.min(reconnectMsMax, 50 * 2 ** Math.min(retries, 10)) : cause,
    },
  })
}

export class RedisDirectory implements RoomDirectory {
  readonly #options: SignalingOptions
  readonly #metrics: Metrics
  readonly #log: Log
  readonly #keys: RedisKeys
  readonly #process = randomToken()
  readonly #client: ReturnType<typeof connect>
  readonly #subscriber: ReturnType<typeof connect>
  readonly #rooms = new Map<SignalRoomId, SharedRoom>()
  #state: 'new' | 'started' | 'closed' = 'new'
  #isTroubled = false
  #heartbeats = 0
  /** Until then a Redis that has just come back may not know all processes again, so that who is missing is not yet gone. */
  #graceUntilMs = 0
  #timer: NodeJS.Timeout | undefined

  /** Throws OptionError for a URL that is none. */
  constructor(options: SignalingOptions, metrics: Metrics, log: Log) {
    this.#options = options
    this.#metrics = metrics
    this.#log = log
    this.#keys = redisKeys(options.redisPrefix)
    const isStarted = () => this.#state === 'started'
    try {
      this.#client = connect(options.redisUrl, isStarted)
      this.#subscriber = connect(options.redisUrl, isStarted)
    } catch {
      // The URL may hold a password: it is not repeated.
      throw new OptionError('redisUrl', 'expected a redis:// or rediss:// URL')
    }
    for (const client of [this.#client, this.#subscriber]) {
      client.on('error', (error: unknown) => this.#troubled(error))
      // What was said while the connection was gone was not heard.
      client.on('ready', () => this.#onReady())
    }
  }

  async start(): Promise<void> {
    try {
      await Promise.all([this.#client.connect(), this.#subscriber.connect()])
      await this.#sayAlive()
      await this.#subscriber.subscribe(this.#keys.changes, (text) => this.#onChange(text))
      await this.#subscriber.subscribe(this.#keys.inbox(this.#process), (text) => this.#onRemoteSignal(text))
    } catch (error) {
      throw new Error(`Redis: ${messageOf(error)}`)
    }
    this.#state = 'started'
    this.#log({ event: 'redis-connected', level: 'info' })
    this.#schedule()
  }

  isReady(): boolean {
    return this.#state === 'started' && this.#client.isReady && this.#subscriber.isReady
  }

  join(request: JoinRequest, member: RoomMember): void {
    const known = this.#rooms.get(request.room)
    if (known === undefined && this.#rooms.size >= this.#options.roomsMax) return member.refused('server-full')
    const room = known ?? this.#open(request.room)
    void this.#inTurn(room, () => this.#claim(room, request, member))
  }

  leave(name: SignalRoomId, id: SignalPeerId, member: RoomMember, reason: LeaveReason): void {
    const room = this.#rooms.get(name)
    const local = room?.locals.get(id)
    // The older of two sockets: the newer one has the id now.
    if (room === undefined || local === undefined || local.member !== member) return
    room.locals.delete(id)
    room.seats.delete(id)
    this.#tell(room, id, { type: 'peer-left', id, reason })
    void this.#inTurn(room, () => this.#release(room, id, local.session, reason))
  }

  relay(name: SignalRoomId, from: SignalPeerId, to: SignalPeerId, text: string): boolean {
    const room = this.#rooms.get(name)
    const local = room?.locals.get(to)
    if (local !== undefined) {
      local.member.tell(text)
      return true
    }
    const seat = room?.seats.get(to)
    const sender = room?.locals.get(from)
    if (seat === undefined || sender === undefined) return false
    const signal: RemoteSignal = { room: name, from, session: sender.session, to, text }
    this.#client.publish(this.#keys.inbox(seat.process), JSON.stringify(signal)).then(
      () => this.#metrics.add('redis_signals_sent_total'),
      (error: unknown) => {
        this.#metrics.add('redis_signals_lost_total')
        this.#troubled(error)
      },
    )
    return true
  }

  gauges(): DirectoryGauges {
    let members = 0
    for (const { locals } of this.#rooms.values()) members += locals.size
    return { rooms: this.#rooms.size, members, keptIds: 0 }
  }

  async close(): Promise<void> {
    if (this.#state === 'closed') return
    this.#state = 'closed'
    clearTimeout(this.#timer)
    await Promise.all([...this.#rooms.values()].map(({ turn }) => turn))
    // So that the others need not wait for it to expire.
    if (this.#client.isReady) await this.#client.del(this.#keys.process(this.#process)).catch(() => undefined)
    for (const client of [this.#client, this.#subscriber]) if (client.isOpen) client.destroy()
  }

  async #claim(room: SharedRoom, { id, resume }: JoinRequest, member: RoomMember): Promise<void> {
    if (!member.isWaiting()) return
    const session = randomToken()
    const { redisPrefix, roomSocketsMax, resumeMs } = this.#options
    let reply: readonly string[]
    try {
      reply = await this.#client.claim(
        [this.#keys.room(room.name), this.#keys.kept(room.name, id)],
        [redisPrefix, this.#keys.changes, this.#process, room.name, id, session, resume ?? '', randomToken()].concat(
          [roomSocketsMax, this.#roomMs, resumeMs].map(String),
        ),
      )
    } catch (error) {
      // Without a connection nothing went out.
      if (!(error instanceof ClientOfflineError)) room.isInDoubt = true
      this.#troubled(error)
      return member.refused('server-trouble')
    }
    const [outcome, token = '', ...members] = reply
    if (outcome !== 'joined' && outcome !== 'replaced') return member.refused(refusalOf(outcome))
    // The socket may have gone while Redis was asked.
    if (!member.isWaiting()) return this.#release(room, id, session, 'gone')
    const old = room.locals.get(id)
    room.locals.set(id, { member, session, resume: token })
    old?.member.replaced()
    this.#show(room, seatsOf(members), member)
    const peers = [...room.seats.keys()].filter((other) => other !== id)
    member.admitted(peers, token, outcome === 'replaced')
  }

  async #release(room: SharedRoom, id: SignalPeerId, session: string, reason: LeaveReason): Promise<void> {
    const keptMs = reason === 'left' ? 0 : this.#options.resumeMs
    try {
      await this.#client.release(
        [this.#keys.room(room.name), this.#keys.kept(room.name, id)],
        [this.#keys.changes, this.#process, room.name, id, session, reason, keptMs],
      )
    } catch (error) {
      room.isInDoubt = true
      throw error
    }
  }

  /** Asks Redis who is in the room, and tells the peers here what is new. Never rejects. */
  #look(room: SharedRoom): Promise<void> {
    room.nextLook ??= this.#inTurn(room, async () => {
      room.nextLook = undefined
      const own = [...room.locals].flatMap(([id, { session, resume }]) => [id, session, resume])
      const { redisPrefix, resumeMs } = this.#options
      const members = await this.#client.look(
        [this.#keys.room(room.name)],
        [redisPrefix, this.#keys.changes, this.#process, room.name, this.#roomMs, resumeMs, ...own],
      )
      room.isInDoubt = false
      this.#show(room, seatsOf(members))
    })
    return room.nextLook
  }

  /** Tells the peers here how `fresh` differs from what they know; `newcomer` hears it with its welcome. */
  #show(room: SharedRoom, fresh: Map<SignalPeerId, Seat>, newcomer?: RoomMember): void {
    for (const [id, { process, session }] of fresh) {
      // Left while the answer was under way.
      if (process === this.#process && room.locals.get(id)?.session !== session) fresh.delete(id)
    }
    for (const [id, { session }] of room.locals) {
      if (fresh.has(id)) continue
      // Redis lost it, which is no reason for the peers to; the look brings it back.
      fresh.set(id, { process: this.#process, session })
      void this.#look(room)
    }
    const before = room.seats
    const isGrace = performance.now() < this.#graceUntilMs
    for (const [id, seat] of before) {
      if (isGrace && !fresh.has(id) && !room.reasons.has(id)) fresh.set(id, seat)
    }
    room.seats = fresh
    for (const [id, { session }] of before) {
      const now = fresh.get(id)
      if (now?.session === session) continue
      const local = room.locals.get(id)
      if (local?.session === session) {
        room.locals.delete(id)
        local.member.replaced()
      }
      const reason = now === undefined ? (room.reasons.get(id) ?? 'gone') : 'replaced'
      this.#tell(room, id, { type: 'peer-left', id, reason }, newcomer)
    }
    for (const [id, { session }] of fresh) {
      if (before.get(id)?.session !== session) this.#tell(room, id, { type: 'peer-joined', id }, newcomer)
    }
    room.reasons.clear()
  }

  #tell(room: SharedRoom, about: SignalPeerId, message: ServerMessage, newcomer?: RoomMember): void {
    const text = encodeMessage(message)
    for (const [id, { member }] of [...room.locals]) if (id !== about && member !== newcomer) member.tell(text)
  }

  #onChange(text: string): void {
    const change = parse<RoomChange>(text)
    if (change === undefined || change.by === this.#process || !isRoomId(change.room)) return
    const room = this.#rooms.get(change.room)
    if (room === undefined) return
    if (isPeerId(change.id) && isLeaveReason(change.reason)) room.reasons.set(change.id, change.reason)
    void this.#look(room)
  }

  #onRemoteSignal(text: string): void {
    const signal = parse<RemoteSignal>(text)
    if (signal === undefined) return
    const { room: name, from, to, session, text: told } = signal
    if (!isRoomId(name) || !isPeerId(from) || !isPeerId(to) || typeof told !== 'string') return
    const room = this.#rooms.get(name)
    const receiver = room?.locals.get(to)
    if (room === undefined || receiver === undefined) return this.#metrics.add('redis_signals_lost_total')
    const isKnown = () => room.seats.get(from)?.session === session
    if (isKnown()) return receiver.member.tell(told)
    // The notice that it joined is still to come: its peers are to hear of it first.
    void this.#look(room).then(() => {
      if (isKnown() && room.locals.get(to) === receiver) receiver.member.tell(told)
      else this.#metrics.add('redis_signals_lost_total')
    })
  }

  #open(name: SignalRoomId): SharedRoom {
    const room: SharedRoom = {
      name,
      locals: new Map(),
      seats: new Map(),
      reasons: new Map(),
      turn: Promise.resolve(),
      turnsLeft: 0,
      nextLook: undefined,
      isInDoubt: false,
    }
    this.#rooms.set(name, room)
    return room
  }

  #inTurn(room: SharedRoom, work: () => Promise<void>): Promise<void> {
    room.turnsLeft += 1
    room.turn = room.turn.then(work).then(
      () => this.#turnDone(room),
      (error: unknown) => {
        this.#troubled(error)
        this.#turnDone(room)
      },
    )
    return room.turn
  }

  #turnDone(room: SharedRoom): void {
    room.turnsLeft -= 1
    if (room.turnsLeft === 0 && room.locals.size === 0 && !room.isInDoubt) this.#rooms.delete(room.name)
  }

  #onReady(): void {
    if (this.#state !== 'started') return
    this.#graceUntilMs = performance.now() + this.#options.redisProcessTimeoutMs
    void this.#beat(true)
  }

  #schedule(): void {
    if (this.#state === 'closed') return
    const everyMs = this.#options.redisProcessTimeoutMs / heartbeatsPerTimeout
    this.#timer = setTimeout(() => void this.#beat(false).then(() => this.#schedule()), everyMs)
    this.#timer.unref()
  }

  /** Says that this process lives, and looks for others that do not. Never rejects. */
  async #beat(lookEverywhere: boolean): Promise<void> {
    if (!this.isReady()) return
    this.#heartbeats += 1
    try {
      // When it had expired, the others have taken our peers for gone.
      const wasAlive = await this.#sayAlive()
      if (lookEverywhere || !wasAlive || this.#heartbeats % heartbeatsPerTimeout === 0) {
        for (const room of [...this.#rooms.values()]) void this.#look(room)
      } else await this.#lookForDead()
      if (!this.#isTroubled || !this.isReady()) return
      this.#isTroubled = false
      this.#log({ event: 'redis-back', level: 'info' })
    } catch (error) {
      this.#troubled(error)
    }
  }

  async #sayAlive(): Promise<boolean> {
    const { redisProcessTimeoutMs } = this.#options
    const key = this.#keys.process(this.#process)
    const expiration = { type: 'PX' as const, value: redisProcessTimeoutMs }
    return (await this.#client.set(key, '1', { expiration, GET: true })) !== null
  }

  async #lookForDead(): Promise<void> {
    const roomsOf = new Map<string, Set<SharedRoom>>()
    for (const room of this.#rooms.values()) {
      for (const { process } of room.seats.values()) {
        if (process === this.#process) continue
        const rooms = roomsOf.get(process)
        if (rooms === undefined) roomsOf.set(process, new Set([room]))
        else rooms.add(room)
      }
    }
    await Promise.all(
      [...roomsOf].map(async ([process, rooms]) => {
        if ((await this.#client.exists(this.#keys.process(process))) === 1) return
        for (const room of rooms) void this.#look(room)
      }),
    )
  }

  #troubled(error: unknown): void {
    if (this.#isTroubled || this.#state !== 'started') return
    this.#isTroubled = true
    this.#log({ event: 'redis-trouble', level: 'info', reason: messageOf(error) })
  }

  get #roomMs(): number {
    return this.#options.redisProcessTimeoutMs * roomTimeouts
  }
}

function seatsOf(members: readonly string[]): Map<SignalPeerId, Seat> {
  const seats = new Map<SignalPeerId, Seat>()
  for (let at = 0; at + 1 < members.length; at += 2) {
    const id = members[at]
    const [process = '', session = ''] = members[at + 1]?.split('|') ?? []
    if (isPeerId(id)) seats.set(id, { process, session })
  }
  return seats
}

function refusalOf(outcome: string | undefined): JoinRefusal {
  return outcome === 'id-in-use' || outcome === 'room-full' ? outcome : 'server-trouble'
}

/** Other processes are trusted to mean well, but may be of another version. */
function parse<Message>(text: string): { readonly [Field in keyof Message]?: unknown } | undefined {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null ? value : undefined
  } catch {
    return undefined
  }
}

function isLeaveReason(value: unknown): value is LeaveReason {
  return typeof value === 'string' && leaveReasons.includes(value)
}

function messageOf(error: unknown): string {
  if (error instanceof AggregateError) return error.errors.map(messageOf).join('; ').slice(0, 200)
  return error instanceof Error ? `${error.name}: ${error.message}`.slice(0, 200) : typeof error
}
