// One replica at work: takes what comes from the network, the disk, the clock and the caller, steps the protocol, carries
// out its effects in order, feeds execution, and goes from epoch to epoch. The only place where these meet; each of them
// is elsewhere. Knows commands as bytes and footprints; open-replica.ts puts names and types on it.
import { DecodeError, Reader } from '../codec/bytes.ts'
import { controlEpoch, readControlMessage, readFrameHead, readMessage } from '../codec/message.ts'
import { decodeIdentity, decodeInstance, decodeReservation, encodeIdentity } from '../codec/record.ts'
import { Application } from '../execution/application.ts'
import { checkpointHash } from '../execution/checkpoint.ts'
import type { BoundMachine } from '../execution/define-machine.ts'
import { Executor } from '../execution/executor.ts'
import { AssertionError, must } from '../lib/assert.ts'
import { WepaxosError } from '../lib/errors.ts'
import type { Footprint, Membership, Proposal } from '../protocol/command.ts'
import type { ControlMessage, Hello, Role } from '../protocol/control-message.ts'
import { roleOf } from '../protocol/control-message.ts'
import { coversDeps, mergeDeps } from '../protocol/deps.ts'
import type { Effect, Input } from '../protocol/effect.ts'
import { type Epoch, type ReplicaId, replicaIdFromBytes, type Seq } from '../protocol/ids.ts'
import { type CommittedInstance, type Instance, isCommitted } from '../protocol/instance.ts'
import { canPropose } from '../protocol/pre-accept.ts'
import { step } from '../protocol/replica.ts'
import {
  createReplicaState,
  isSuspected,
  type ProtocolTimeouts,
  type ReplicaState,
  reachableVoters,
  seqBlock,
} from '../protocol/state.ts'
import type { Storage, StorageContents } from '../storage/storage.ts'
import type { CheckpointInfo, Logger } from './api.ts'
import { CheckpointFetcher, type ServableCheckpoint, serveChunk } from './checkpoint-transfer.ts'
import type { Clock } from './clock.ts'
import { Divergence } from './divergence.ts'
import { createEpochRun, type EpochRun } from './epoch-run.ts'
import { MembershipKeeper, type MembershipOptions } from './membership-keeper.ts'
import { Outbox } from './outbox.ts'
import { type ProposalListener, Proposals } from './proposals.ts'
import { Reads } from './reads.ts'
import type { Channel, Endpoint, Transport } from './transport.ts'
import { identityName, reservationName, WriteQueue } from './write-queue.ts'

export interface EngineOptions {
  readonly machine: BoundMachine
  readonly storage: Storage
  readonly transport: Transport
  readonly partition: string
  readonly clock: Clock
  readonly timeouts: ProtocolTimeouts
  readonly start: 'found' | 'join'
  readonly membership: MembershipOptions
  /** Commands, and bytes of their payloads, after which an epoch ends in a checkpoint; 0 for never. */
  readonly checkpointEvery: number
  readonly checkpointBytes: number
  /** Own instances under way; what is proposed beyond that waits and shares the next instance … */
  readonly instancesMax: number
  /** … with so many others at most. */
  readonly batchMax: number
  /** So many random bytes: the only dice. */
  readonly randomBytes: (count: number) => Uint8Array
  readonly logger: Logger
  readonly listener: EngineListener
  /** Sees the protocol's state after each step: for tests that check what must always hold. */
  readonly onStep?: ((state: ReplicaState) => void) | undefined
}

/** Called at the end of a turn, never in the middle of one. */
export interface EngineListener {
  /** Something that status, members or stats show has changed. */
  onChanged(): void
  /** A proposal was executed; at once, before the others of the turn are. */
  onApplied?(proposal: Proposal): void
  /** The replicated state has changed. */
  onExecuted(): void
  onCheckpoint(info: CheckpointInfo): void
}

/** What a replica is doing; `runtime/api.ts` has the public view of it. */
export type EngineState =
  | { readonly kind: 'joining' }
  | { readonly kind: 'running' }
  | { readonly kind: 'closed' }
  | { readonly kind: 'failed'; readonly error: WepaxosError }

interface Peer {
  /** Its Hello fits; before that nothing else of it counts. */
  accepted: boolean
  /** Its state differs from that of most voters: nothing of it counts in this epoch. */
  odd: boolean
  epoch: Epoch
  /** When it was last told that its epoch is over. */
  toldEndedAt: number
  /** When it was last sent a Hello: repeated while its own has not come. */
  helloAt: number
}

/** Effects that say or do something, unlike those that write. */
type PerformedEffect = Exclude<Effect, { kind: 'persist' | 'keep' | 'reserve' | 'sync' }>

const earlyFramesMax = 256
/** How long execution may hold a turn up, and its steps between two looks at the clock. */
export const executionMs = 2
export const executionSteps = 256
/** What is proposed for a read that has to be ordered like a command: nothing to execute. */
const readPayload = new Uint8Array()
/** Bytes that wait for a peer's link; what is said to it beyond that is lost, as on any bad link. */
const linkBytesMax = 8 * 1_024 * 1_024
/** Proposals that an observer has a voter propose at a time, and that a voter has under way for others. */
const forwardMax = 1_024
/** Payload bytes that share an instance. */
const batchBytesMax = 64 * 1_024
const tickMs = 100
/** While something is under way that the fast-path timeout may have to end. */
const busyTickMs = 15
/** Between repeats of requests for membership, forwards and checkpoint chunks. */
const requestMs = 1_000
/** A frame of a later epoch usually comes just before the barrier that ends this one is executed here. */
const behindMs = 250

export class Engine {
  readonly #options: EngineOptions
  readonly #queue: WriteQueue
  readonly #outbox: Outbox
  readonly #fetcher = new CheckpointFetcher()
  readonly #peers = new Map<ReplicaId, Peer>()
  readonly #reads: Reads
  readonly #refused = new Map<string, number>()
  readonly #membership: MembershipKeeper
  readonly #divergence = new Divergence()
  readonly #checkpointWaiters: { resolve(info: CheckpointInfo): void; reject(error: WepaxosError): void }[] = []

  readonly self: ReplicaId
  #state: EngineState = { kind: 'joining' }
  #running: EpochRun | null = null
  #proposals: Proposals
  #channel: Channel | null = null
  #stopTimer: (() => void) | null = null
  #armedBusy = false
  /** When everything that had gathered was last sent to the disk. */
  #keptAt = Number.NEGATIVE_INFINITY
  #inbox: Input[] = []
  #turning = false
  /** Set while the rest of a backlog is due. */
  #stopExecution: (() => void) | null = null
  #turnDue = false
  #flushDue = false
  /** Ends the waiting for the founding to be durable. */
  #founding: ((why: WepaxosError) => void) | null = null
  #tickedAt = 0
  #changed = false
  #executedNew = false
  /** Frames of the next epoch that came before this replica was there. */
  #early: { readonly from: ReplicaId; readonly epoch: Epoch; readonly frame: Uint8Array }[] = []
  #behindSince: number | null = null
  #requestedAt = Number.NEGATIVE_INFINITY
  #forwardedAt = Number.NEGATIVE_INFINITY
  #requestTurn = 0
  #forwardTurn = 0
  /** The epoch in which this replica's session was opened, as far as it has one. */
  #sessionOpenedIn: Epoch | null = null
  #leaving = false
  #wasMember = false
  #counts = { fastPath: 0, slowPath: 0, recoveries: 0 }
  #checkpoints: CheckpointInfo[] = []

  private constructor(options: EngineOptions, self: ReplicaId, numbersUsedUpTo: number) {
    this.#options = options
    this.self = self
    this.#proposals = new Proposals(self, numbersUsedUpTo)
    this.#queue = new WriteQueue(
      options.storage,
      (waiting) =>
        this.#turn(() => {
          for (const action of waiting) action()
        }),
      (reason) => this.#fail(storageFailure(reason)),
    )
    this.#membership = new MembershipKeeper(self, options.membership)
    // [RD1] 40 bits, and room for the reads of a life
    const firstRound = options.randomBytes(5).reduce((number, byte) => number * 256 + byte, 0) * 4_096 + 1
    this.#reads = new Reads(
      {
        run: () => this.#running,
        ask: (read, footprint) => this.#inbox.push({ kind: 'read', read, footprint }),
        order: (footprint, done, failed) => {
          try {
            this.#proposals.create(footprint, readPayload, { committed: () => {}, done, failed })
          } catch (error) {
            if (!(error instanceof WepaxosError)) throw error
            failed(error) // Overloaded
          }
        },
      },
      firstRound,
    )
    this.#outbox = new Outbox((to, frame, priority) => this.#sendFrame(to, frame, priority))
    options.storage.onLost = (reason) => this.#fail(storageFailure(reason))
  }

  /** Reads the storage and goes on from there; founds or joins where there is nothing. Throws WepaxosErrors. */
  static async open(options: EngineOptions): Promise<Engine> {
    const contents = await options.storage.read()
    const identityBytes = contents.meta.get(identityName)
    let engine: Engine
    if (identityBytes === undefined) {
      engine = new Engine(options, replicaIdFromBytes(options.randomBytes(16)), 0)
      if (options.start === 'found') engine.#found()
    } else {
      engine = Engine.#resume(options, contents, identityBytes)
    }
    engine.#channel = options.transport.attach(engine.#endpoint())
    engine.#turn(() => {})
    engine.#arm()
    if (identityBytes === undefined && options.start === 'found') {
      // the invite must not be shown before the founding is durable: an invitation to nothing
      await new Promise<void>((resolve, reject) => {
        engine.#founding = reject
        engine.#queue.after(resolve)
      })
      engine.#founding = null
    }
    return engine
  }

  static #resume(options: EngineOptions, contents: StorageContents, identityBytes: Uint8Array): Engine {
    try {
      const identity = decodeIdentity(identityBytes)
      const reservation = decodeReservation(
        must(contents.meta.get(reservationName), 'every replica has reserved numbers'),
      )
      const newest = must(contents.checkpoints.at(-1), 'every replica has a checkpoint')
      const { application, checkpoint } = Application.restore(options.machine, newest.bytes)
      const { voters } = checkpoint.members
      const instances: Instance[] = []
      for (const stored of contents.instances) {
        if (stored.epoch === checkpoint.epoch) instances.push(decodeInstance(stored.bytes, voters))
      }
      const engine = new Engine(options, identity.self, reservation.sessionNumber)
      const start = { epoch: checkpoint.epoch, bytes: newest.bytes, hash: checkpointHash(newest.bytes) }
      const reservedSeq = reservation.epoch === checkpoint.epoch ? reservation.seq : 0
      engine.#begin(application, checkpoint.members, start, { instances, reservedSeq })
      return engine
    } catch (error) {
      if (error instanceof WepaxosError) throw error
      throw new WepaxosError('DamagedStorage', 'the stored state of this replica can not be read', {}, error)
    }
  }

  #found(): void {
    const cluster = replicaIdFromBytes(this.#options.randomBytes(16))
    const members: Membership = { voters: [this.self], observers: [] }
    const application = Application.found(this.#options.machine, cluster, this.self)
    const bytes = application.firstCheckpoint(members)
    this.#queue.putMeta(identityName, encodeIdentity({ self: this.self, cluster }))
    this.#begin(application, members, { epoch: 1, bytes, hash: checkpointHash(bytes) }, null)
  }

  // --- what the owner asks ------------------------------------------------------------------------------------------

  get state(): EngineState {
    return this.#state
  }

  get application(): Application | null {
    return this.#running?.application ?? null
  }

  get protocol(): ReplicaState | null {
    return this.#running?.protocol ?? null
  }

  get epoch(): Epoch {
    return this.#running?.start.epoch ?? 0
  }

  get members(): Membership {
    return this.#running?.members ?? { voters: [], observers: [] }
  }

  get role(): Role {
    return this.#running?.role ?? 'none'
  }

  /** Whether it was a member and is none any more. */
  get removed(): boolean {
    return this.#running !== null && this.#running.role === 'none' && this.#wasMember
  }

  /** Replicas of the partition that can be reached and belong to the same founding. */
  get acceptedPeers(): readonly ReplicaId[] {
    return [...this.#peers].filter(([, peer]) => peer.accepted).map(([id]) => id)
  }

  get counts(): { readonly fastPath: number; readonly slowPath: number; readonly recoveries: number } {
    return this.#counts
  }

  get refused(): Readonly<Record<string, number>> {
    return Object.fromEntries([...this.#refused].sort(([a], [b]) => (a < b ? -1 : 1)))
  }

  get pendingCount(): number {
    return this.#proposals.size
  }

  /** Throws NotReady without state, Removed, Closed, Overloaded. Returns the number in this replica's session. */
  propose(footprint: Footprint, payload: Uint8Array, listener: ProposalListener): number {
    this.#mustBeOpen()
    if (this.#running === null) throw new WepaxosError('NotReady', 'this replica has no state yet: wait for ready()')
    if (this.removed) throw new WepaxosError('Removed', 'this replica is no member any more')
    const pending = this.#proposals.create(footprint, payload, listener)
    this.#soon()
    return pending.number
  }

  /**
   * Calls `ready` when the executed state here may be shown as a linearizable read of `footprint`: it holds all that was
   * answered anywhere before the call, and is a state that all replicas could have shown. Throws Overloaded.
   */
  read(footprint: Footprint, ready: () => void, failed: (error: WepaxosError) => void): void {
    this.#mustBeOpen()
    if (this.removed) throw new WepaxosError('Removed', 'this replica is no member any more')
    this.#turn(() => this.#reads.start(footprint, ready, failed))
  }

  /** Resolves with the checkpoint that ends the present epoch. */
  checkpoint(): Promise<CheckpointInfo> {
    this.#mustBeOpen()
    if (this.role !== 'voter') {
      return Promise.reject(new WepaxosError('NotSupported', 'only a voter can ask for a checkpoint'))
    }
    return new Promise((resolve, reject) => {
      this.#checkpointWaiters.push({ resolve, reject })
      this.#turn(() => {})
    })
  }

  /** From now on the replica tries to get out of the member list. */
  startLeaving(): void {
    this.#mustBeOpen()
    const running = this.#running
    if (running?.role === 'voter') {
      const next = this.#membership.without(running)
      if (next === null) {
        throw new WepaxosError(
          'LastMember',
          'the last member can not leave: close() keeps its state, and the room with it',
        )
      }
      const { reachable, needed } = this.#membership.quorumOf(running, next)
      if (reachable < needed) {
        throw new WepaxosError(
          'QuorumUnavailable',
          `without this replica ${reachable} of the ${next.voters.length} other voters could be reached, and ${needed} are needed`,
          { reachable, needed, members: next.voters.length },
        )
      }
    }
    this.#leaving = true
    this.#turn(() => {})
  }

  /** It stays after all, unless the barrier is under way already. */
  stopLeaving(): void {
    this.#leaving = false
  }

  /** Whether the others can do without what this replica holds. */
  get hasLeft(): boolean {
    const running = this.#running
    return running === null || (running.role === 'none' && running.established)
  }

  /** Stops. Pending proposals end with OutcomeUnknown; what is being written is waited for. */
  async close(): Promise<void> {
    if (this.#state.kind === 'closed') return
    const failed = this.#state.kind === 'failed'
    this.#outbox.flush()
    this.#queue.flush(true)
    this.#stop({ kind: 'closed' }, new WepaxosError('Closed', 'the replica was closed'))
    if (!failed) await this.#options.storage.close()
  }

  /** Stops, and forgets everything that was stored. */
  async erase(): Promise<void> {
    if (this.#state.kind === 'closed') return
    this.#stop({ kind: 'closed' }, new WepaxosError('Closed', 'the replica left'))
    await this.#queue.whenIdle()
    await this.#options.storage.erase()
  }

  #mustBeOpen(): void {
    if (this.#state.kind === 'closed') throw new WepaxosError('Closed', 'the replica is closed')
    if (this.#state.kind === 'failed') throw this.#state.error
  }

  // --- turns --------------------------------------------------------------------------------------------------------

  /** Everything that happens to the replica happens in a turn: the action, then all that follows from it. */
  #turn(action: () => void): void {
    if (this.#state.kind === 'closed' || this.#state.kind === 'failed') return
    if (this.#turning) {
      action()
      return
    }
    this.#turning = true
    try {
      action()
      do {
        this.#drain()
        this.#execute()
        this.#pump()
      } while (this.#inbox.length > 0)
      this.#afterwards()
      this.#flushSoon()
    } catch (error) {
      this.#fail(
        error instanceof WepaxosError
          ? error
          : new WepaxosError('InternalError', `the replica stopped: ${describeError(error)}`, {}, error),
      )
    } finally {
      this.#turning = false
    }
    this.#notify()
  }

  #notify(): void {
    const { listener } = this.#options
    for (const info of this.#checkpoints.length > 0 ? this.#checkpoints.splice(0) : this.#checkpoints) {
      for (const { resolve } of this.#checkpointWaiters.splice(0)) resolve(info)
      listener.onCheckpoint(info)
    }
    if (this.#executedNew) {
      this.#executedNew = false
      listener.onExecuted()
    }
    if (this.#changed) {
      this.#changed = false
      listener.onChanged()
    }
  }

  #drain(): void {
    while (this.#inbox.length > 0) {
      const inbox = this.#inbox
      this.#inbox = []
      for (const input of inbox) {
        const running = this.#running
        if (running === null) return
        this.#step(running, input)
      }
    }
  }

  #step(running: EpochRun, input: Input): void {
    const effects = step(running.protocol, input, this.#options.clock.now())
    this.#options.onStep?.(running.protocol)
    this.#carryOut(running, effects)
  }

  /** The order of the effects is the contract: see protocol/effect.ts. */
  #carryOut(running: EpochRun, effects: readonly Effect[]): void {
    const { epoch } = running.start
    const { voters } = running.members
    let gated = !running.durable
    let later: PerformedEffect[] | null = null
    for (const effect of effects) {
      switch (effect.kind) {
        case 'persist':
          this.#queue.putInstance(epoch, voters, effect.instance)
          gated = true
          break
        case 'keep':
          this.#queue.putInstance(epoch, voters, effect.instance, true)
          break
        case 'reserve':
          this.#reserve(running, effect.upTo)
          gated = true
          break
        case 'sync':
          gated = true
          break
        default:
          if (!gated) this.#perform(running, effect)
          else if (later === null) later = [effect]
          else later.push(effect)
      }
    }
    if (later !== null) this.#performDurable(running, later)
  }

  /** The effects that wait until all of their step is durable. */
  #performDurable(running: EpochRun, effects: readonly PerformedEffect[]): void {
    this.#queue.after(() => {
      for (const effect of effects) if (this.#running === running) this.#perform(running, effect)
    })
  }

  #perform(running: EpochRun, effect: PerformedEffect): void {
    switch (effect.kind) {
      case 'send':
        if (effect.message.type === 'Recover') this.#counts.recoveries++
        this.#outbox.add(effect.to, running.start.epoch, effect.message, running.members.voters)
        return
      case 'then':
        this.#inbox.push(effect.input)
        return
      case 'committed':
        this.#committed(running, effect.instance, effect.path)
        return
      case 'readable':
        this.#reads.answered(effect.read, effect.deps)
        return
      case 'refused':
        this.#refuse(effect.reason)
        return
      default:
        effect satisfies never
    }
  }

  #reserve(running: EpochRun, seq: Seq): void {
    const sessionNumber = this.#proposals.reservedNumber
    this.#queue.putReservation({ epoch: running.start.epoch, seq, sessionNumber })
  }

  #refuse(reason: string): void {
    this.#refused.set(reason, (this.#refused.get(reason) ?? 0) + 1)
    this.#changed = true
  }

  // --- proposals, from the queue to the result ----------------------------------------------------------------------

  #pump(): void {
    const running = this.#running
    if (running === null || running.executor.endedBy !== null) return
    const due = this.#proposals.reservationDue()
    if (due !== null) {
      this.#queue.putReservation({ epoch: running.start.epoch, seq: running.protocol.reservedSeq, sessionNumber: due })
      this.#queue.after(() => this.#turn(() => this.#proposals.reservationDurable(due)))
    }
    if (!running.durable || !this.#proposals.hasQueued) return
    if (running.role === 'voter') {
      // Each command has an instance of its own while there is room, so that those which touch different keys do not wait
      // for each other; what finds the pipe full waits, and then shares an instance.
      const { instancesMax, batchMax } = this.#options
      while (canPropose(running.protocol) && running.pipe.size < instancesMax) {
        const fits = this.#proposals.queuedCount <= instancesMax - running.pipe.size
        const batch = this.#proposals.take(fits ? 1 : batchMax, batchBytesMax)
        if (batch.length === 0) return
        this.#proposeInstance(
          running,
          batch.map((pending) => this.#proposals.toProposal(pending)),
        )
      }
    } else if (running.role === 'observer') {
      this.#forward(running)
    }
  }

  #proposeInstance(running: EpochRun, proposals: readonly Proposal[]): void {
    running.own.set(running.protocol.nextSeq, proposals)
    running.pipe.add(running.protocol.nextSeq)
    this.#step(running, { kind: 'propose', command: { kind: 'application', proposals } })
  }

  /** An observer proposes through a voter; the session makes repeating harmless. */
  #forward(running: EpochRun): void {
    const voter = this.#reachableVoter(running, this.#forwardTurn)
    if (voter === undefined) return
    for (const pending of this.#proposals.take(forwardMax, batchBytesMax)) {
      this.#outbox.control(voter, { type: 'Forward', proposal: this.#proposals.toProposal(pending) })
    }
  }

  /** A connected voter; different ones for different turns, so that one that does not act is passed over. */
  #reachableVoter(running: EpochRun, turn: number): ReplicaId | undefined {
    const { voters } = running.members
    const reachable = voters.filter((id, row) => id !== this.self && !isSuspected(running.protocol, row))
    return reachable[turn % Math.max(1, reachable.length)]
  }

  #committed(running: EpochRun, instance: CommittedInstance, path: 'fast' | 'slow' | 'learned' | 'recovered'): void {
    running.executor.commit(instance)
    const { command, id } = instance
    const own = id.row === running.protocol.row
    if (command.kind === 'application') {
      for (const proposal of command.proposals) {
        if (proposal.session !== this.self) continue
        if (own && path === 'fast') this.#counts.fastPath++
        if (own && path === 'slow') this.#counts.slowPath++
        this.#proposals.markCommitted(proposal.number)
      }
    }
    if (!own) return
    const proposals = running.own.get(id.seq)
    running.own.delete(id.seq)
    if (command.kind === 'nop') {
      running.pipe.delete(id.seq) // nothing will be executed for it
      if (running.barrierSeq === id.seq) running.barrierSeq = null
    }
    if (proposals === undefined || command.kind !== 'nop') return
    // [SE1] ended as Nop: proposed again under its old number; what was forwarded is repeated by its owner
    for (const { session, number } of proposals) {
      if (session === this.self) this.#proposals.again(number)
      else running.forwarded.delete(`${session}/${number}`)
    }
  }

  #execute(): void {
    const running = this.#running
    if (running === null) return
    this.#runExecutor(running)
    const { endedBy } = running.executor
    if (endedBy !== null) this.#endEpoch(running, endedBy)
    else this.#reads.serve()
  }

  /** In slices: a long backlog must not hold the page up. */
  #runExecutor(running: EpochRun): void {
    const { clock } = this.#options
    const until = clock.now() + executionMs
    while (running.executor.run(executionSteps)) {
      if (clock.now() < until) continue
      if (this.#stopExecution === null) {
        this.#stopExecution = clock.after(0, () => {
          this.#stopExecution = null
          this.#turn(() => {})
        })
      }
      return
    }
  }

  #executeInstance(application: Application, instance: CommittedInstance): void {
    const running = this.#running
    if (running !== null && instance.id.row === running.protocol.row) running.pipe.delete(instance.id.seq)
    if (instance.command.kind !== 'application') return
    for (const proposal of instance.command.proposals) {
      const before = application.executed
      let result: ReturnType<Application['execute']>
      try {
        result = application.execute(proposal)
      } catch (error) {
        // every replica would come to the same point: stopping is all that is safe
        throw error instanceof AssertionError
          ? error
          : new WepaxosError('MachineFailed', `the state machine threw: ${describeError(error)}`, {}, error)
      }
      if (application.executed > before) {
        this.#executedNew = true
        if (running !== null) {
          running.executedInEpoch++
          running.executedBytes += proposal.payload.length
        }
        this.#reads.executed(proposal.footprint)
        this.#options.listener.onApplied?.(proposal)
      }
      if (proposal.session === this.self && result !== undefined) this.#proposals.settle(proposal.number, result)
    }
  }

  // --- epochs -------------------------------------------------------------------------------------------------------

  /** [EP1] The barrier was executed: the state is the checkpoint, and the next epoch begins with an empty instance space. */
  #endEpoch(running: EpochRun, barrier: CommittedInstance): void {
    if (barrier.command.kind !== 'barrier') throw new AssertionError('an epoch is ended by a barrier')
    const { next } = barrier.command
    const epoch = running.start.epoch + 1
    const bytes = running.application.endEpoch(epoch, next)
    this.#begin(running.application, next, { epoch, bytes, hash: checkpointHash(bytes) }, null)
    this.#tellCheckpoint(running.application, epoch, bytes)
  }

  #tellCheckpoint(application: Application, epoch: Epoch, bytes: Uint8Array): void {
    this.#checkpoints.push({
      epoch,
      executed: application.executed,
      snapshotBytes: bytes.length,
      hash: checkpointHash(bytes),
    })
  }

  /**
   * Starts an epoch: fresh (`stored` is null: its start is to be written), or as it was before a restart. What was proposed
   * in the epoch before and not executed is void, and is proposed again.
   */
  #begin(
    application: Application,
    members: Membership,
    start: ServableCheckpoint,
    stored: { readonly instances: readonly Instance[]; readonly reservedSeq: Seq } | null,
  ): void {
    const { clock, timeouts } = this.#options
    const { epoch } = start
    const role = roleOf(this.self, members.voters, members.observers)
    const protocol = createReplicaState({
      self: this.self,
      config: { epoch, members },
      timeouts,
      now: clock.now(),
      instances: stored?.instances ?? [],
      reservedSeq: stored?.reservedSeq ?? seqBlock,
      durableSeq: stored?.reservedSeq ?? 0,
      restarted: stored !== null,
    })
    const executor = new Executor(members.voters.length, (instance) => this.#executeInstance(application, instance))
    const running = createEpochRun({
      protocol,
      executor,
      application,
      members,
      role,
      start,
      durable: stored !== null,
    })
    const before = this.#running
    this.#running = running
    this.#state = { kind: 'running' }
    this.#behindSince = null
    this.#fetcher.stop()
    if (role !== 'none') this.#wasMember = true
    this.#membership.begin(members)
    for (const peer of this.#peers.values()) peer.odd = false
    this.#inbox = []
    if (stored === null) {
      this.#writeStart(running)
    } else {
      for (const instance of protocol.log.all()) if (isCommitted(instance)) executor.commit(instance)
      if (role === 'voter') running.holders.add(this.self)
    }
    for (const [peer, { accepted }] of this.#peers) if (accepted) this.#inbox.push({ kind: 'connected', peer })
    if (this.removed) this.#reads.failAll(new WepaxosError('Removed', 'this replica is no member any more'))
    else this.#reads.startOver()
    this.#settleOld(running)
    this.#followSession(application)
    if (this.removed) this.#endPendingOfRemoved(before?.role === 'voter' && before.application === application)
    this.#proposals.allAgain()
    this.#requestedAt = Number.NEGATIVE_INFINITY
    this.#changed = true
    this.#executedNew = true
    const early = this.#early.filter((one) => one.epoch === epoch)
    this.#early = this.#early.filter((one) => one.epoch > epoch)
    for (const { from, frame } of early) this.#receiveFrame(from, frame)
  }

  /** A checkpoint that was fetched may hold the results of proposals that are still waited for. */
  #settleOld(running: EpochRun): void {
    for (const { number } of [...this.#proposals.pending()]) {
      const result = running.application.recordedResult(this.self, number)
      if (result !== undefined) this.#proposals.settle(number, result)
    }
  }

  /** [SE3] Numbers of a session that was forgotten must not be proposed in the one that took its place. */
  #followSession(application: Application): void {
    const openedIn = application.sessionOpenedIn(this.self)
    if (openedIn === undefined) return
    if (this.#sessionOpenedIn !== null && openedIn !== this.#sessionOpenedIn) {
      this.#proposals.failAll(
        (number) =>
          new WepaxosError('OutcomeUnknown', 'this replica was no member for so long that its session is forgotten', {
            key: `${this.self}:${number}`,
          }),
      )
    }
    this.#sessionOpenedIn = openedIn
  }

  /**
   * Nothing can be proposed any more. What a voter proposed is void where it saw the epoch to its end; what it missed the
   * end of may have been executed, and what was forwarded may still be on its way.
   */
  #endPendingOfRemoved(sawAll: boolean): void {
    this.#proposals.failAll((number) => {
      const details = { key: `${this.self}:${number}` }
      return sawAll
        ? new WepaxosError('Removed', 'no member any more: the command had no effect', details)
        : new WepaxosError(
            'OutcomeUnknown',
            'no member any more: whether the command takes effect is not known',
            details,
          )
    })
  }

  /** [EP2] A voter votes only once the epoch's start is on its own disk. */
  #writeStart(running: EpochRun): void {
    const { epoch, bytes } = running.start
    this.#queue.putCheckpoint(epoch, bytes)
    const due = this.#proposals.reservationDue() ?? this.#proposals.reservedNumber
    this.#queue.putReservation({ epoch, seq: seqBlock, sessionNumber: due })
    this.#queue.after(() =>
      this.#turn(() => {
        this.#proposals.reservationDurable(due)
        if (this.#running !== running) return
        running.durable = true
        if (running.role === 'voter') running.holders.add(this.self)
        this.#inbox.push({ kind: 'reserved', upTo: seqBlock })
        for (const peer of this.#peers.keys()) this.#sayHello(peer)
        this.#changed = true
      }),
    )
  }

  /** [EP3] A slow quorum of voters holds the start: what is older may go. */
  #noteHolder(running: EpochRun, voter: ReplicaId, epoch: Epoch): void {
    if (epoch >= running.start.epoch && running.members.voters.includes(voter)) running.holders.add(voter)
  }

  #checkEstablished(running: EpochRun): void {
    if (running.established || !running.durable || running.holders.size < running.protocol.quorums.slow) return
    running.established = true
    this.#queue.dropEpochsBefore(running.start.epoch)
    this.#changed = true
  }

  #install(checkpoint: ServableCheckpoint): void {
    const { application, checkpoint: decoded } = Application.restore(this.#options.machine, checkpoint.bytes)
    const before = this.#running
    if (decoded.epoch !== checkpoint.epoch || (before !== null && decoded.epoch <= before.start.epoch)) return
    if (before !== null && before.application.cluster !== decoded.cluster) {
      throw new WepaxosError('WrongPartition', 'a peer offered the state of another founding')
    }
    if (before === null) {
      this.#queue.putMeta(identityName, encodeIdentity({ self: this.self, cluster: decoded.cluster }))
    }
    this.#begin(application, decoded.members, checkpoint, null)
    this.#tellCheckpoint(application, decoded.epoch, checkpoint.bytes)
  }

  // --- membership ---------------------------------------------------------------------------------------------------

  /** From now on this replica tries to make `id` what its owner wants it to be. */
  orderRole(id: ReplicaId, role: Role): void {
    this.#mustBeOpen()
    this.#membership.order(id, role)
    this.#turn(() => {})
  }

  cancelOrder(id: ReplicaId): void {
    this.#membership.cancelOrder(id)
  }

  /** What this replica would like to be, as far as the others let it. */
  #wantedRole(running: EpochRun): Role {
    if (this.#leaving) return 'none'
    if (running.role === 'none' && this.#wasMember) return 'none' // removed: the application decides what then
    return this.#membership.wish(running.members, running.role)
  }

  #askForRole(running: EpochRun, now: number): void {
    const wanted = this.#wantedRole(running)
    const patienceMs = this.#membership.hasFreeSeat(running.members) ? requestMs : 5 * requestMs
    if (wanted === running.role || !running.durable || now - this.#requestedAt < patienceMs) return
    if (wanted !== 'none' && !this.#caughtUp(running)) return
    if (running.role === 'voter' && (wanted === 'none' || wanted === 'observer')) {
      this.#membership.request(this.self, wanted)
      return
    }
    const voter = this.#reachableVoter(running, this.#requestTurn)
    if (voter === undefined) return
    this.#requestedAt = now
    this.#requestTurn++
    this.#outbox.control(voter, { type: 'MembershipRequest', wanted })
  }

  #caughtUp(running: EpochRun): boolean {
    const { log, lagSeen, pull } = running.protocol
    if (lagSeen.size === 0 || pull !== null) return false
    for (const seen of lagSeen.values()) if (!coversDeps(log.committedUpTo, seen)) return false
    return true
  }

  /** Proposes a barrier where there is a reason for one. */
  #considerBarrier(running: EpochRun): void {
    if (running.role !== 'voter' || !running.durable || running.barrierSeq !== null || !canPropose(running.protocol))
      return
    const now = this.#options.clock.now()
    const long = this.#isLong(running)
    if (!long && this.#checkpointWaiters.length === 0 && this.#membership.isSettled(running.members)) return
    const first = this.#isFirstReachable(running)
    const next = this.#membership.next(running, now, first)
    if (next === null && !(first && long) && this.#checkpointWaiters.length === 0) return
    if (reachableVoters(running.protocol) < running.protocol.quorums.slow) return
    if (next !== null) {
      const { reachable, needed } = this.#membership.quorumOf(running, next)
      if (reachable < needed) return
    }
    running.barrierSeq = running.protocol.nextSeq
    this.#step(running, { kind: 'propose', command: { kind: 'barrier', next: next ?? running.members } })
  }

  /** Whether the epoch's log is long enough to end it in a checkpoint. Instances that came to nothing count too. */
  #isLong(running: EpochRun): boolean {
    const { checkpointEvery, checkpointBytes } = this.#options
    return (
      (checkpointEvery > 0 &&
        (running.executedInEpoch >= checkpointEvery || running.protocol.log.size >= 2 * checkpointEvery)) ||
      (checkpointBytes > 0 && running.executedBytes >= checkpointBytes)
    )
  }

  /** One of the voters is enough to end an epoch that is long enough. */
  #isFirstReachable(running: EpochRun): boolean {
    for (let row = 0; row < running.protocol.quorums.n; row++) {
      if (!isSuspected(running.protocol, row)) return row === running.protocol.row
    }
    return false
  }

  // --- the network --------------------------------------------------------------------------------------------------

  #endpoint(): Endpoint {
    return {
      partition: this.#options.partition,
      replica: this.self,
      onConnected: (peer) =>
        this.#turn(() => {
          const helloAt = this.#options.clock.now()
          this.#peers.set(peer, {
            accepted: false,
            odd: false,
            epoch: 0,
            toldEndedAt: Number.NEGATIVE_INFINITY,
            helloAt,
          })
          this.#sayHello(peer)
          this.#changed = true
        }),
      onDisconnected: (peer) =>
        this.#turn(() => {
          this.#peers.delete(peer)
          this.#outbox.forget(peer)
          this.#inbox.push({ kind: 'disconnected', peer })
          if (this.#fetcher.peer === peer) this.#fetcher.stop()
          if (this.#running?.role === 'observer') this.#proposals.allAgain()
          this.#changed = true
        }),
      onFrame: (from, frame) =>
        this.#turn(() => {
          // the timers of a page in the background are throttled; what comes from others tells the time too
          if (this.#options.clock.now() - this.#tickedAt > 2 * tickMs) this.#tick()
          this.#receiveFrame(from, frame)
        }),
    }
  }

  #sendFrame(to: ReplicaId, frame: Uint8Array, priority: 'normal' | 'bulk'): void {
    const channel = this.#channel
    if (channel === null) return
    if (channel.queuedBytes(to) > linkBytesMax) this.#refuse('link-full')
    else channel.send(to, frame, priority)
  }

  #sayHello(to: ReplicaId): void {
    const running = this.#running
    const durable = running?.durable === true
    const { machine } = this.#options
    const hello: Hello = {
      type: 'Hello',
      cluster: running?.application.cluster ?? null,
      machine: machine.name,
      machineVersion: machine.version,
      epoch: durable ? running.start.epoch : 0,
      checkpointHash: durable ? running.start.hash : null,
      heard: this.#peers.get(to)?.accepted === true,
    }
    this.#outbox.control(to, hello)
  }

  /** Never throws on what a peer sent: refuses and counts. */
  #receiveFrame(from: ReplicaId, frame: Uint8Array): void {
    const peer = this.#peers.get(from)
    if (peer === undefined) {
      this.#refuse('stranger')
      return
    }
    try {
      const reader = new Reader(frame)
      const epoch = readFrameHead(reader)
      if (epoch === controlEpoch) {
        while (reader.remaining > 0) this.#receiveControl(from, peer, readControlMessage(reader))
        return
      }
      if (!peer.accepted) {
        this.#refuse('no-hello')
        return
      }
      const running = this.#running
      if (running === null) return
      if (peer.odd && epoch === running.start.epoch) {
        this.#refuse('diverged')
        return
      }
      peer.epoch = Math.max(peer.epoch, epoch)
      if (epoch < running.start.epoch) {
        this.#tellEnded(from, peer, running)
      } else if (epoch > running.start.epoch) {
        this.#hearLaterEpoch(from, epoch, frame)
      } else {
        this.#noteHolder(running, from, epoch)
        while (reader.remaining > 0) {
          this.#inbox.push({ kind: 'receive', from, message: readMessage(reader, running.members.voters) })
        }
      }
    } catch (error) {
      if (!(error instanceof DecodeError)) throw error
      this.#refuse('garbage')
      this.#options.logger.warn('a frame could not be read', { from, reason: error.message })
    }
  }

  /** [EP4] */
  #tellEnded(from: ReplicaId, peer: Peer, running: EpochRun): void {
    const now = this.#options.clock.now()
    if (now - peer.toldEndedAt < behindMs) return
    peer.toldEndedAt = now
    this.#outbox.control(from, { type: 'EpochEnded', epoch: running.start.epoch })
  }

  #hearLaterEpoch(from: ReplicaId, epoch: Epoch, frame: Uint8Array): void {
    this.#behindSince ??= this.#options.clock.now()
    if (this.#early.length < earlyFramesMax) this.#early.push({ from, epoch, frame })
  }

  #receiveControl(from: ReplicaId, peer: Peer, message: ControlMessage): void {
    if (message.type === 'Hello') {
      this.#receiveHello(from, peer, message)
      return
    }
    if (!peer.accepted) {
      this.#refuse('no-hello')
      return
    }
    const running = this.#running
    switch (message.type) {
      case 'EpochEnded':
        peer.epoch = Math.max(peer.epoch, message.epoch)
        if (message.epoch > this.epoch) this.#behindSince ??= this.#options.clock.now()
        return
      case 'FetchCheckpoint':
        if (running !== null) this.#outbox.control(from, serveChunk(running.start, message), 'bulk')
        return
      case 'CheckpointChunk':
        this.#receiveChunk(from, message)
        return
      case 'MembershipRequest':
        if (running?.role === 'voter') this.#membership.request(from, message.wanted)
        else this.#refuse('not-a-voter')
        return
      case 'Forward':
        this.#receiveForward(from, message.proposal)
        return
      default:
        message satisfies never
    }
  }

  #receiveHello(from: ReplicaId, peer: Peer, hello: Hello): void {
    const { machine } = this.#options
    const running = this.#running
    if (hello.machine !== machine.name || hello.machineVersion !== machine.version) {
      this.#refuse('another-machine')
      const theirs = `${hello.machine}@${hello.machineVersion}`
      this.#options.logger.warn('a peer runs another state machine', {
        from,
        theirs,
        ours: `${machine.name}@${machine.version}`,
      })
      return
    }
    if (hello.cluster !== null && running !== null && hello.cluster !== running.application.cluster) {
      this.#refuse('another-founding')
      this.#options.logger.warn('a peer belongs to another founding of this partition', { from })
      return
    }
    if (running !== null && !this.#compareStarts(running, from, peer, hello)) return
    peer.epoch = Math.max(peer.epoch, hello.epoch)
    if (running !== null) this.#noteHolder(running, from, hello.epoch)
    if (!peer.accepted) {
      peer.accepted = true
      this.#inbox.push({ kind: 'connected', peer: from })
    }
    if (!hello.heard) this.#sayHello(from)
    if (hello.epoch > this.epoch) {
      if (running === null) this.#fetch(from)
      else this.#behindSince ??= this.#options.clock.now()
    }
    this.#changed = true
  }

  /** [EP6] Rather stop than go on with a state that the others do not share, and rather go on without the odd one. */
  #compareStarts(running: EpochRun, from: ReplicaId, peer: Peer, hello: Hello): boolean {
    const { epoch, hash } = running.start
    const ours = { epoch, hash, voters: running.members.voters }
    const comparison = this.#divergence.compare(ours, from, { epoch: hello.epoch, hash: hello.checkpointHash })
    if (comparison === 'same' || comparison === 'unknown') return true
    if (comparison === 'self-is-odd') {
      throw new WepaxosError('Diverged', `the state at the start of epoch ${epoch} differs from that of other voters`, {
        peer: from,
        ours: hash,
        theirs: hello.checkpointHash,
      })
    }
    if (!peer.odd) {
      peer.odd = true
      this.#refuse('diverged')
      this.#options.logger.warn('a peer holds another state than this replica: nothing of it counts in this epoch', {
        from,
        epoch,
      })
      if (!hello.heard) this.#sayHello(from) // so that it can see for itself
      if (peer.accepted) this.#inbox.push({ kind: 'disconnected', peer: from })
      peer.accepted = false
    }
    return false
  }

  #fetch(from: ReplicaId): void {
    if (this.#fetcher.peer !== null) return
    this.#outbox.control(from, this.#fetcher.start(from, this.#options.clock.now()))
  }

  #receiveChunk(from: ReplicaId, chunk: Extract<ControlMessage, { type: 'CheckpointChunk' }>): void {
    const outcome = this.#fetcher.receive(from, chunk, this.#options.clock.now())
    switch (outcome.kind) {
      case 'more':
        this.#outbox.control(from, outcome.ask)
        return
      case 'whole':
        this.#install(outcome.checkpoint)
        if (this.#running !== null) this.#inbox.push({ kind: 'catchUp', from })
        return
      case 'repeated':
        return
      default:
        this.#refuse('checkpoint-chunk')
    }
  }

  /** A proposal of a replica that does not vote. */
  #receiveForward(from: ReplicaId, proposal: Proposal): void {
    const running = this.#running
    if (proposal.session !== from) {
      this.#refuse('another-session')
      return
    }
    if (running === null || running.role !== 'voter' || !running.durable || !canPropose(running.protocol)) return
    if (running.pipe.size >= this.#options.instancesMax + forwardMax) return // it is repeated by its owner
    const name = `${proposal.session}/${proposal.number}`
    if (running.forwarded.has(name) || running.application.wasExecuted(from, proposal.number)) return
    running.forwarded.add(name)
    this.#proposeInstance(running, [proposal])
  }

  // --- time ---------------------------------------------------------------------------------------------------------

  /** At the end of the present task, so that what a caller proposes in one go leaves in one go. */
  #soon(): void {
    if (this.#turnDue) return
    this.#turnDue = true
    queueMicrotask(() => {
      this.#turnDue = false
      this.#turn(() => {})
    })
  }

  /** What the turns of one task have to say and to write goes out together: a frame and a write cost far more than what is in them. */
  #flushSoon(): void {
    if (this.#flushDue) return
    this.#flushDue = true
    queueMicrotask(() => {
      this.#flushDue = false
      this.#flush()
    })
  }

  #flush(): void {
    this.#outbox.flush()
    this.#queue.flush()
  }

  #arm(): void {
    this.#stopTimer?.()
    const busy = (this.#running?.protocol.attempts.size ?? 0) > 0
    this.#armedBusy = busy
    this.#stopTimer = this.#options.clock.after(busy ? busyTickMs : tickMs, () => {
      this.#turn(() => this.#tick())
      if (this.#state.kind === 'joining' || this.#state.kind === 'running') this.#arm()
    })
  }

  #tick(): void {
    const running = this.#running
    const now = this.#options.clock.now()
    this.#tickedAt = now
    if (now - this.#keptAt >= tickMs) {
      this.#keptAt = now
      this.#queue.flush(true)
    }
    for (const [id, peer] of this.#peers) {
      if (peer.accepted || peer.odd || now - peer.helloAt < requestMs) continue
      peer.helloAt = now
      this.#sayHello(id)
    }
    if (this.#fetcher.isStale(now, requestMs)) this.#fetcher.stop()
    if (running === null) {
      this.#fetchFromAhead()
      return
    }
    if (this.#behindSince !== null) {
      if (![...this.#peers.values()].some((peer) => peer.accepted && peer.epoch > running.start.epoch)) {
        this.#behindSince = null
      } else if (now - this.#behindSince > behindMs) {
        this.#fetchFromAhead()
      }
    }
    const needs = mergeDeps(running.executor.needs, this.#reads.needs(running.executor.executedUpTo.length))
    this.#inbox.push({ kind: 'execution', needs, executed: running.application.executed }, { kind: 'tick' })
    if (now - this.#forwardedAt > requestMs) {
      // what was forwarded may have come to nothing, and the voter may not get through: all of it again, through another
      this.#forwardedAt = now
      if (running.role === 'observer' && this.#proposals.size > 0) {
        this.#forwardTurn++
        this.#proposals.allAgain()
      }
    }
    this.#membership.tick(running.protocol, now)
    this.#askForRole(running, now)
    // whether a quorum can be reached may have changed with nothing but time
    this.#changed = true
  }

  #fetchFromAhead(): void {
    if (this.#fetcher.peer !== null) return
    let best: ReplicaId | undefined
    let bestEpoch = this.epoch
    for (const [id, peer] of this.#peers) {
      if (peer.accepted && peer.epoch > bestEpoch) {
        best = id
        bestEpoch = peer.epoch
      }
    }
    if (best !== undefined) this.#fetch(best)
  }

  /** At the end of a turn: what depends on all of it. */
  #afterwards(): void {
    const running = this.#running
    if (running === null || running.executor.endedBy !== null) return
    this.#checkEstablished(running)
    this.#considerBarrier(running)
    this.#drain()
    if (running.protocol.attempts.size > 0 && !this.#armedBusy && this.#stopTimer !== null) this.#arm()
  }

  // --- the end ------------------------------------------------------------------------------------------------------

  #fail(error: WepaxosError): void {
    if (this.#state.kind === 'closed' || this.#state.kind === 'failed') return
    this.#options.logger.warn('the replica stopped', { code: error.code, reason: error.message })
    this.#stop({ kind: 'failed', error }, error)
    this.#options.storage.close().catch(() => {})
    if (!this.#turning) this.#notify()
  }

  #stop(state: EngineState, why: WepaxosError): void {
    this.#state = state
    this.#stopTimer?.()
    this.#stopExecution?.()
    this.#channel?.close()
    this.#channel = null
    this.#queue.stop()
    this.#inbox = []
    this.#proposals.failAll(
      (number) =>
        new WepaxosError(
          'OutcomeUnknown',
          `the replica stopped before the result was known: ${why.message}`,
          { key: `${this.self}:${number}` },
          why,
        ),
    )
    this.#reads.failAll(why)
    this.#founding?.(why)
    for (const { reject } of this.#checkpointWaiters.splice(0)) reject(why)
    this.#changed = true
  }
}

function storageFailure(reason: unknown): WepaxosError {
  if (reason instanceof WepaxosError) return reason
  return new WepaxosError('StorageFailed', `the storage failed: ${describeError(reason)}`, {}, reason)
}

function describeError(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
