// The life of one edge replica: take the folder, answer health questions, enter the room, open the partitions, and give all
// of it back in the opposite order. Flags, signals and exit codes are cli.ts's.
import { createHash } from 'node:crypto'
import {
  type Commands,
  type MachineDefinition,
  openReplica,
  type Queries,
  type Replica,
  type Status,
  WepaxosError,
} from '@wepaxos/core'
import { levelStorage } from '@wepaxos/core/level'
import { joinRoom, type Room } from '@wepaxos/webrtc-transport'
import { openDataFolder } from './data-folder.ts'
import { type EdgeFacts, inWords } from './health.ts'
import { type HealthServer, startHealthServer } from './http.ts'
import { type Log, loggerOf } from './log.ts'
import { createNodeSocket, loadNodeLinks } from './node-links.ts'

export interface EdgeReplicaOptions<C extends Commands, Q extends Queries> {
  /** The room's invite: the whole link or its fragment. */
  readonly invite: string
  /** The signaling server's address. */
  readonly signaling: string
  /** The folder for the state; made where it is missing, and held by one process at a time. */
  readonly data: string
  /** The room's state machines to hold, by the names that the application gives them. At least one. */
  readonly partitions: readonly string[]
  /** What all of them run. */
  readonly machine: MachineDefinition<C, Q>
  /** Default `voter`. */
  readonly role?: 'voter' | 'observer'
  /** As in the application: see OpenReplicaOptions. Default `auto`. */
  readonly membership?: 'auto' | 'manual'
  /** As in the application. Default 7. */
  readonly votersMax?: number
  /** What an answered command survives here. Default `strict`. */
  readonly durability?: 'strict' | 'relaxed'
  readonly iceServers?: readonly RTCIceServer[]
  /** Where health and metrics are answered. Left out: nowhere. */
  readonly http?: { readonly host: string; readonly port: number } | undefined
  readonly log?: Log
}

/** Why an edge replica can not go on by itself. */
export type EdgeEnd =
  /** A partition stopped rather than guess. Running it again takes up what is on the disk. */
  | { readonly kind: 'failed'; readonly partition: string; readonly error: WepaxosError }
  /** The members of a partition took it out of their list. Running it again asks to be one once more. */
  | { readonly kind: 'removed'; readonly partition: string }
  | { readonly kind: 'closed' }

export interface EdgeReplica<C extends Commands, Q extends Queries> extends AsyncDisposable {
  readonly room: Room
  /** One for each partition, in the order of the options. */
  readonly replicas: readonly Replica<C, Q>[]
  /** Where health and metrics are answered; null where nowhere. */
  readonly url: string | null
  /** Resolves, never rejects, when one of the partitions can not go on, or with `close`. */
  readonly ended: Promise<EdgeEnd>
  /** Stops; what is on the disk stays. Idempotent. */
  close(): Promise<void>
}

/**
 * Enters the invite's room as a replica of each partition. Resolves when they run; they may still be joining: /readyz and
 * `replicas` tell. Rejects with what `joinRoom` and `openReplica` reject with, with StorageInUse while another process holds
 * the folder, or when it can not listen; nothing is left behind then.
 */
export async function runEdgeReplica<C extends Commands, Q extends Queries>(
  options: EdgeReplicaOptions<C, Q>,
): Promise<EdgeReplica<C, Q>> {
  if (options.partitions.length === 0) throw new WepaxosError('InvalidArgument', 'partitions: at least one name')
  const edge = new RunningEdgeReplica(options)
  try {
    return await edge.start()
  } catch (error) {
    await edge.close()
    throw error
  }
}

class RunningEdgeReplica<C extends Commands, Q extends Queries> {
  readonly ended: Promise<EdgeEnd>
  readonly #options: EdgeReplicaOptions<C, Q>
  readonly #log: Log
  readonly #replicas: Replica<C, Q>[] = []
  /** What has to be given back, the latest last. */
  readonly #held: (() => Promise<void>)[] = []
  #phase: EdgeFacts['phase'] = 'starting'
  #room: Room | null = null
  #closing: Promise<void> | null = null
  #end: (end: EdgeEnd) => void = () => undefined

  constructor(options: EdgeReplicaOptions<C, Q>) {
    this.#options = options
    this.#log = options.log ?? (() => undefined)
    this.ended = new Promise((resolve) => {
      this.#end = resolve
    })
  }

  async start(): Promise<EdgeReplica<C, Q>> {
    const health = await this.#listen()
    const { invite, signaling, data, iceServers, partitions, durability = 'strict' } = this.#options
    const folder = await openDataFolder(data)
    this.#held.push(() => folder.close())
    const room = await joinRoom({
      invite,
      signaling,
      identity: folder.identity,
      iceServers: iceServers ?? [],
      createLink: await loadNodeLinks(),
      createSocket: createNodeSocket,
      logger: loggerOf(this.#log, {}),
    })
    this.#room = room
    this.#held.push(() => room.close())
    this.#watchRoom(room)
    const storage = levelStorage({ directory: folder.replicas, durability })
    for (const partition of partitions) {
      const replica = await this.#openPartition(partition, room, storage)
      this.#held.push(() => replica.close())
      this.#replicas.push(replica)
      this.#watchReplica(replica)
    }
    this.#phase = 'running'
    return {
      room,
      replicas: this.#replicas,
      url: health?.url ?? null,
      ended: this.ended,
      close: () => this.close(),
      [Symbol.asyncDispose]: () => this.close(),
    }
  }

  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    this.#phase = 'closing'
    let failure: unknown
    for (let release = this.#held.pop(); release !== undefined; release = this.#held.pop()) {
      try {
        await release()
      } catch (error) {
        // The rest is given back all the same.
        failure ??= error
      }
    }
    this.#end({ kind: 'closed' })
    if (failure !== undefined) throw failure
  }

  async #listen(): Promise<HealthServer | undefined> {
    const { http } = this.#options
    if (http === undefined) return undefined
    const health = await startHealthServer({ ...http, facts: () => this.#facts() })
    this.#held.push(() => health.close())
    this.#log({ event: 'listening', level: 'info', url: health.url })
    return health
  }

  #openPartition(partition: string, room: Room, storage: ReturnType<typeof levelStorage>): Promise<Replica<C, Q>> {
    const { machine, role, membership, votersMax } = this.#options
    return openReplica({
      partition,
      transport: room,
      storage,
      machine,
      // Also where nobody answers: two founders would be two histories.
      start: 'join',
      role: role ?? 'voter',
      membership: membership ?? 'auto',
      votersMax: votersMax ?? 7,
      // It is there when pages are not: where two voters have one seat between them, it is the one that keeps it.
      steady: true,
      logger: loggerOf(this.#log, { partition }),
    })
  }

  #watchRoom(room: Room): void {
    const { signaling } = this.#options
    const { origin, pathname } = new URL(signaling)
    this.#log({
      event: 'in-the-room',
      level: 'info',
      room: roomLabel(room.room),
      identity: room.identity,
      signaling: `${origin === 'null' ? new URL(signaling).host : origin}${pathname}`,
    })
    room.addEventListener('signaling', () => {
      const { signaling: state, signalingProblem: problem } = room
      this.#log({ event: 'signaling', level: 'info', state, ...(problem === null ? {} : { problem }) })
    })
    room.addEventListener('peers', () => {
      const open = room.peers.filter(({ state }) => state === 'open').length
      this.#log({ event: 'peers', level: 'debug', open, connecting: room.peers.length - open })
    })
  }

  #watchReplica(replica: Replica<C, Q>): void {
    const { partition, id } = replica
    const { executed, epoch } = replica.stats()
    this.#log({ event: 'opened', level: 'info', partition, replica: id, epoch, executed })
    replica.addEventListener('status', ({ detail }) => this.#onStatus(replica, detail))
    replica.addEventListener('members', ({ detail }) => {
      const voters = detail.filter(({ role }) => role === 'voter').length
      const self = detail.find((member) => member.self)
      const connected = detail.filter((member) => member.connected && !member.self).length
      this.#log({
        event: 'members',
        level: 'info',
        partition,
        voters,
        observers: detail.length - voters,
        connected,
        role: self?.role ?? 'none',
      })
    })
    replica.addEventListener('checkpoint', ({ detail }) => {
      this.#log({ ...detail, event: 'checkpoint', level: 'debug', partition })
    })
    // What it became before anybody listened.
    this.#onStatus(replica, replica.status)
  }

  #onStatus(replica: Replica<C, Q>, status: Status): void {
    const { partition } = replica
    const level = status.kind === 'failed' || status.kind === 'removed' ? 'warn' : 'info'
    this.#log({ event: 'status', level, partition, replica: replica.id, status: status.kind, says: inWords(status) })
    if (status.kind === 'failed') this.#end({ kind: 'failed', partition, error: status.error })
    if (status.kind === 'removed') this.#end({ kind: 'removed', partition })
  }

  #facts(): EdgeFacts {
    return {
      phase: this.#phase,
      uptimeSeconds: Math.round(process.uptime()),
      residentBytes: process.memoryUsage.rss(),
      room: this.#room,
      partitions: this.#replicas.map((replica) => ({
        partition: replica.partition,
        replica: replica.id,
        status: replica.status,
        members: replica.members,
        stats: replica.stats(),
      })),
    }
  }
}

/** So that an operator can tell rooms apart without the log naming them. */
function roomLabel(room: string): string {
  return createHash('sha256').update(room).digest('hex').slice(0, 8)
}
