// One replica at work: takes what comes from the network, the disk, the clock and the caller, steps the protocol, carries
// out its effects in order, feeds execution, and goes from epoch to epoch. The only place where these meet; each of them
// is elsewhere. Knows commands as bytes and footprints; open-replica.ts puts names and types on it.
import { encodeDisksHeard, encodeIdentity, encodeOutboxEntry, encodeReplicaKey } from '../codec/record.ts'
import { Application } from '../execution/application.ts'
import { checkpointHash } from '../execution/checkpoint.ts'
import type { BoundMachine } from '../execution/define-machine.ts'
import { Executor } from '../execution/executor.ts'
import { AssertionError } from '../lib/assert.ts'
import { WepaxosError } from '../lib/errors.ts'
import { microtask } from '../lib/microtask.ts'
import type { Footprint, Membership, Proposal } from '../protocol/command.ts'
import type { Role } from '../protocol/control-message.ts'
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
import type { Storage } from '../storage/storage.ts'
import type { CheckpointInfo, Logger } from './api.ts'
import type { ServableCheckpoint } from './checkpoint-transfer.ts'
import type { Clock } from './clock.ts'
import { DiskSeal } from './disk-seal.ts'
import { DisksHeard } from './disks-heard.ts'
import { createEpochRun, type EpochRun } from './epoch-run.ts'
import { type FoundReplica, findOnDisk } from './found-on-disk.ts'
import { MembershipKeeper, type MembershipOptions } from './membership-keeper.ts'
import { Outbox } from './outbox.ts'
import { OwnRuns } from './own-runs.ts'
import { Peers } from './peers.ts'
import {
  type CarriedProposal,
  type PendingProposal,
  type ProposalListener,
  Proposals,
  pendingMax,
} from './proposals.ts'
import { Reads } from './reads.ts'
import type { Channel, Endpoint, Transport } from './transport.ts'
import {
  disksHeardName,
  identityName,
  lostName,
  outboxName,
  replicaKeyName,
  returnsName,
  runsName,
  WriteQueue,
} from './write-queue.ts'

export interface EngineOptions {
  readonly machine: BoundMachine
  readonly storage: Storage
  readonly transport: Transport
  readonly partition: string
  readonly clock: Clock
  readonly timeouts: ProtocolTimeouts
  readonly start: 'found' | 'join'
  /** It lost its own page and is run beside another replica: it stays what it was, whatever that one is. */
  readonly isHosted: boolean
  /** Replicas whose disks were lost, and whose place this one takes: the others are asked to take them out. */
  readonly inPlaceOf: readonly ReplicaId[]
  readonly membership: MembershipOptions
  /** Whether what replicas of readers forward is proposed. */
  readonly readersPropose: boolean
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
  /** A command of before the restart that may have no result yet; who waits for it from now on. */
  onCarriedOver(session: ReplicaId, carried: CarriedProposal): ProposalListener
}

/** What a replica is doing; `runtime/api.ts` has the public view of it. */
export type EngineState =
  | { readonly kind: 'joining' }
  | { readonly kind: 'running' }
  | { readonly kind: 'closed' }
  | { readonly kind: 'failed'; readonly error: WepaxosError }

/** Effects that say or do something, unlike those that write. */
type PerformedEffect = Exclude<Effect, { kind: 'persist' | 'keep' | 'reserve' | 'sync' }>

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
/**
 * Microtasks that a caller has, from the result of a command to its next one, to leave in one frame with what the turn of the
 * result has to say: an await or two of its own, and those of a wrapper around them.
 */
const callerTicks = 8
const tickMs = 100
/** Without a tick for so long the page stood still. */
const asleepMs = 2_000
/** So much less than after what time another page takes its replica over, where that is sooner. */
const asleepShare = 0.25
/** How long after the first peer a restarted voter waits for the others before it takes part. */
export const hesitateMs = 300
/** While the replica is busy. */
const busyTickMs = 15
/** Between repeats of requests for membership and of forwards. */
const requestMs = 1_000

export class Engine {
  readonly #options: EngineOptions
  /** [MB3] Whether anybody would agree on what it proposes. */
  readonly #mayPropose: boolean
  readonly #queue: WriteQueue
  readonly #outbox: Outbox
  readonly #peers: Peers
  readonly #reads: Reads
  readonly #refused = new Map<string, number>()
  readonly #membership: MembershipKeeper
  readonly #checkpointWaiters: { resolve(info: CheckpointInfo): void; reject(error: WepaxosError): void }[] = []

  readonly self: ReplicaId
  /** What proves `self` to the peers; null where the transport asks for nothing. */
  readonly #key: Uint8Array | null
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
  /** When the present turn began, or the last one: one look at the clock for all that follows from one event. */
  #now: number
  /** Set while the rest of a backlog is due. */
  #stopExecution: (() => void) | null = null
  #turnDue = false
  #flushDue = false
  /** A caller was given a result since the last flush. */
  #answered = false
  /** Ends the waiting for what has to be durable before the replica is open. */
  #opening: ((why: WepaxosError) => void) | null = null
  #tickedAt: number
  /** After a sleep, until a write has shown that the disk is still this page's. */
  #mayBeTakenOver = false
  #proofAskedAt = Number.NEGATIVE_INFINITY
  #changed = false
  #executedNew = false
  #requestedAt = Number.NEGATIVE_INFINITY
  #forwardedAt = Number.NEGATIVE_INFINITY
  #requestTurn = 0
  #toldRetiredAt = Number.NEGATIVE_INFINITY
  #retiredTurn = 0
  #forwardTurn = 0
  /** The epoch in which this replica's session was opened, as far as it has one. */
  #sessionOpenedIn: Epoch | null = null
  #leaving = false
  #wasMember = false
  /** Whoever ran it before had begun to take it out of the list: what becomes of that is not what its page wants. */
  #returns: boolean
  #closing: Promise<void> | null = null
  #counts = { fastPath: 0, slowPath: 0, recoveries: 0 }
  #checkpoints: CheckpointInfo[] = []
  /** [DU7] After a restart, until it is clear that the disk has not come back older, or nobody is there to say. */
  #hesitates = false
  #hesitatesSince: number | null = null
  readonly #disks: DisksHeard
  readonly #runs: OwnRuns
  #disksKeptAt = Number.NEGATIVE_INFINITY

  private constructor(options: EngineOptions, self: ReplicaId, key: Uint8Array | null, found: FoundReplica | null) {
    const seal = found?.seal ?? new DiskSeal()
    this.#options = options
    this.#mayPropose = options.transport.mayVote !== false || options.readersPropose
    this.self = self
    this.#key = key
    this.#returns = found?.returns ?? false
    this.#now = options.clock.now()
    this.#tickedAt = this.#now
    this.#disks = new DisksHeard(found?.disks ?? [], (id) => roleOf(id, this.members.voters, this.members.observers))
    const run = options.randomBytes(6).reduce((number, byte) => number * 256 + byte, 0)
    this.#runs = new OwnRuns(self, found?.runs ?? [], run, seal.writes)
    // callers of the run before hold keys of numbers that no disk knows: as many as may have waited are left out
    const usedUpTo = found === null ? 0 : found.numbersUsedUpTo + pendingMax
    this.#proposals = new Proposals(self, usedUpTo, (number) => this.#queue.dropMeta(outboxName(number)))
    this.#queue = new WriteQueue(
      options.storage,
      seal,
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
        mayOrder: this.#mayPropose,
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
    this.#outbox = new Outbox(
      (to, frame, priority) => this.#sendFrame(to, frame, priority),
      () => this.#queue.durableWrites,
    )
    this.#peers = new Peers(
      {
        run: () => this.#running,
        hesitates: () => this.#hesitates,
        push: (input) => this.#inbox.push(input),
        refuse: (reason) => this.#refuse(reason),
        changed: () => {
          this.#changed = true
        },
        install: (checkpoint) => this.#install(checkpoint),
        holds: (peer, epoch) => {
          if (this.#running !== null) this.#noteHolder(this.#running, peer, epoch)
        },
        requested: (from, wanted) => this.#membership.request(from, wanted),
        described: (peer, what) => this.#membership.describe(peer, what),
        forwarded: (from, proposal) => this.#receiveForward(from, proposal),
        lost: (replica) => this.#takeOut(replica),
        disconnected: () => {
          if (this.#running?.role === 'observer') this.#proposals.allAgain()
        },
      },
      this.#outbox,
      {
        self,
        machine: options.machine,
        clock: options.clock,
        logger: options.logger,
        disks: this.#disks,
        runs: this.#runs,
        steady: options.membership.steady,
        readersPropose: options.readersPropose,
      },
    )
    options.storage.onLost = (reason) => this.#fail(storageFailure(reason))
  }

  /** Reads the storage and goes on from there; founds or joins where there is nothing. Throws what findOnDisk throws. */
  static async open(given: EngineOptions): Promise<Engine> {
    const contents = await given.storage.read()
    const found = findOnDisk(given.machine, contents)
    const options = given.isHosted && found !== null ? asItWas(given, found) : given
    const { transport } = options
    const made = found === null && transport.newReplica !== undefined ? await transport.newReplica() : null
    const self = found?.self ?? made?.replica ?? replicaIdFromBytes(options.randomBytes(16))
    const engine = new Engine(options, self, found?.key ?? made?.key ?? null, found)
    if (found !== null) {
      engine.#resume(found)
      engine.#putRuns()
      // [DU7] nobody is to hear anything of a run that the disk does not know
      engine.#turn(() => {})
      if (!engine.#mayPropose) engine.#turn(() => engine.#leaveCarried())
      await engine.#whenDurable().catch(() => {})
      // what it holds can still be read; nobody is to hear of it
      if (engine.state.kind === 'failed') return engine
    } else if (options.start === 'found') engine.#found()
    engine.#channel = transport.attach(engine.#endpoint())
    engine.#turn(() => {})
    engine.#arm()
    // the invite must not be shown before the founding is durable: an invitation to nothing
    if (found === null && options.start === 'found') await engine.#whenDurable()
    return engine
  }

  /** Resolves when all that was put so far is on the disk. Rejects when the replica stops before. */
  async #whenDurable(): Promise<void> {
    if (this.#state.kind === 'failed') throw this.#state.error
    await new Promise<void>((resolve, reject) => {
      this.#opening = reject
      this.#queue.after(resolve)
      this.#queue.flush()
    })
    this.#opening = null
  }

  #putRuns(): void {
    this.#queue.putMeta(runsName, encodeDisksHeard(this.#runs.all()))
  }

  #resume({ application, members, start, instances, reservation, carried, answered }: FoundReplica): void {
    for (const number of answered) this.#queue.dropMeta(outboxName(number))
    const openedIn = application.sessionOpenedIn(this.self) ?? 0
    for (const one of carried) {
      const listener = this.#options.listener.onCarriedOver(this.self, one)
      this.#proposals.carryOver(one, listener)
      // [SE3] its number belongs to a session that is forgotten
      if (one.openedIn !== null && one.openedIn !== openedIn) {
        this.#proposals.fail(one.number, this.#sessionForgotten(one.number))
      }
    }
    this.#hesitates = members.voters.includes(this.self) && members.voters.length > 1
    const reservedSeq = reservation.epoch === start.epoch ? reservation.seq : 0
    this.#begin(application, members, start, { instances, reservedSeq })
  }

  #found(): void {
    const cluster = replicaIdFromBytes(this.#options.randomBytes(16))
    const members: Membership = { voters: [this.self], observers: [] }
    const application = Application.found(this.#options.machine, cluster, this.self)
    const bytes = application.firstCheckpoint(members)
    this.#putIdentity(cluster)
    this.#begin(application, members, { epoch: 1, bytes, hash: checkpointHash(bytes) }, null)
  }

  /** With the first state, in its transaction: an id without its key could not be shown to anybody again. */
  #putIdentity(cluster: string): void {
    this.#queue.putMeta(identityName, encodeIdentity({ self: this.self, cluster }))
    this.#putRuns()
    if (this.#key !== null) this.#queue.putMeta(replicaKeyName, encodeReplicaKey(this.#key))
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
    return this.#running !== null && this.#running.role === 'none' && this.#wasMember && !this.#returns
  }

  /** Replicas of the partition that can be reached and belong to the same founding. */
  get acceptedPeers(): readonly ReplicaId[] {
    return this.#peers.accepted
  }

  /** Whether a state of this replica is on its disk. */
  get isStored(): boolean {
    return this.#state.kind === 'running' && this.#running?.durable === true
  }

  /** Whether it has taken the place of those whose disks were lost: they are out of the member list, and it is in. */
  get isInPlace(): boolean {
    const { voters, observers } = this.members
    const isMember = (id: ReplicaId) => roleOf(id, voters, observers) !== 'none'
    return this.isStored && isMember(this.self) && !this.#options.inPlaceOf.some(isMember)
  }

  get durableWrites(): number {
    return this.#queue.durableWrites
  }

  /** Whether enough voters can be reached to decide anything. */
  get reachesQuorum(): boolean {
    const { protocol } = this
    return protocol !== null && reachableVoters(protocol) >= protocol.quorums.slow
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

  /** Throws what `propose` would: NotReady without state, Removed, Closed, Overloaded. */
  mustTake(payload: Uint8Array): void {
    this.#mustBeOpen()
    if (this.#running === null) throw new WepaxosError('NotReady', 'this replica has no state yet: wait for ready()')
    if (this.removed) throw new WepaxosError('Removed', 'this replica is no member any more')
    this.#proposals.mustHaveRoom(payload)
  }

  /** Throws what `mustTake` throws. Returns the number in this replica's session. */
  propose(footprint: Footprint, payload: Uint8Array, listener: ProposalListener): number {
    this.mustTake(payload)
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

  /** From now on the replica tries to get out of the member list, whether or not somebody waits for it. */
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

  /** Its page takes it back: should the barrier be under way already, it asks for its place again. */
  giveBack(): void {
    if (!this.#leaving) return
    this.#leaving = false
    this.#queue.putMeta(returnsName, Uint8Array.of(1))
  }

  /** Whether the others can do without what this replica holds. */
  get hasLeft(): boolean {
    const running = this.#running
    return running === null || (running.role === 'none' && running.established)
  }

  /** Stops. Pending proposals end with OutcomeUnknown; what is being written is waited for. */
  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    const failed = this.#state.kind === 'failed'
    if (!failed) this.#keepProposals('queued')
    this.#outbox.flush()
    const finished = failed ? Promise.resolve() : this.#queue.finish()
    this.#stop({ kind: 'closed' }, new WepaxosError('Closed', 'the replica was closed'))
    // a write that failed in the end is said by nobody: the replica is closed, and what is not on disk was not answered
    await finished.catch(() => {})
    if (!failed) await this.#options.storage.close()
  }

  /** Stops, and forgets everything that was stored; but not what was closed before. */
  erase(): Promise<void> {
    if (this.#closing !== null) return this.#closing
    const erased = this.#erase()
    // whoever closes it later is not to hear of it again
    this.#closing = erased.catch(() => {})
    return erased
  }

  async #erase(): Promise<void> {
    this.#stop({ kind: 'closed' }, new WepaxosError('Closed', 'the replica left'))
    await this.#queue.whenIdle()
    await this.#options.storage.erase()
  }

  /**
   * [DU8] Whether it stopped because its disk is lost, and is to begin anew on another. Not where it was the only voter and its
   * list is no old one: nobody could let a new one in, and what is there is for the owner to judge.
   */
  get givesDiskUp(): boolean {
    if (this.#state.kind !== 'failed' || this.#state.error.code !== 'DamagedStorage') return false
    const isOnlyVoter = this.members.voters.every((id) => id === this.self)
    return !isOnlyVoter || Number(this.#state.error.details['epoch']) > this.epoch
  }

  /** [DU8] Once it has stopped: writes on the disk itself that it is lost, for whoever opens it next. */
  noteLost(): Promise<void> {
    return this.#queue.writeLast(lostName, Uint8Array.of(1))
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
    this.#now = this.#options.clock.now()
    try {
      this.#proveOwnership()
      action()
      do {
        this.#drain()
        this.#execute()
        this.#pump()
      } while (this.#inbox.length > 0 && !this.#hesitates)
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

  /**
   * Who slept for long may have lost its disk to another page and not have been told yet. A write is refused then; a read would
   * write nothing, and could show what was true before. So after a sleep everything waits for one write.
   */
  #proveOwnership(): void {
    if (this.#running === null) return
    const { takenOverAfterMs = Number.POSITIVE_INFINITY } = this.#options.storage
    const awakeAt = Math.max(this.#tickedAt, this.#proofAskedAt)
    if (this.#now - awakeAt <= Math.min(asleepMs, asleepShare * takenOverAfterMs)) return
    const askedAt = this.#now
    this.#proofAskedAt = askedAt
    this.#mayBeTakenOver = true
    this.#putRuns()
    this.#queue.after(() => {
      // else it has slept again since, and this write says nothing of after that
      if (this.#proofAskedAt === askedAt) this.#mayBeTakenOver = false
    })
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
    if (this.#hesitates && this.#stillHesitates()) return
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

  /** [DU7] */
  #stillHesitates(): boolean {
    const running = this.#running
    const others = running?.members.voters.filter((id) => id !== this.self) ?? []
    const accepted = new Set(this.#peers.accepted)
    if (!others.some((id) => accepted.has(id))) this.#hesitatesSince = null
    else this.#hesitatesSince ??= this.#now
    const waited = this.#hesitatesSince !== null && this.#now - this.#hesitatesSince >= hesitateMs
    this.#hesitates = !waited && others.some((id) => !accepted.has(id))
    return this.#hesitates
  }

  #step(running: EpochRun, input: Input): void {
    const effects = step(running.protocol, input, this.#now)
    this.#options.onStep?.(running.protocol)
    this.#carryOut(running, effects)
  }

  /** The order of the effects is the contract: see protocol/effect.ts. */
  #carryOut(running: EpochRun, effects: readonly Effect[]): void {
    const { epoch } = running.start
    const { voters } = running.members
    let gated = !running.durable || this.#mayBeTakenOver
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
    if (running === null || running.executor.endedBy !== null || this.#hesitates) return
    const due = this.#proposals.reservationDue()
    if (due !== null) {
      this.#queue.putReservation({ epoch: running.start.epoch, seq: running.protocol.reservedSeq, sessionNumber: due })
      this.#queue.after(() => this.#turn(() => this.#proposals.reservationDurable(due)))
    }
    // what waits for a voter has no instance here that a restart could find it in
    if (running.role !== 'voter') this.#keepProposals('all')
    if (!running.durable || !this.#proposals.hasQueued || !this.#mayPropose) return
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

  /** [SE4] What was carried over and has no result yet: here it can only get one from others. An opening that may propose goes on. */
  #leaveCarried(): void {
    this.#keepProposals('all')
    this.#proposals.leaveAll((number) => {
      const key = `${this.self}:${number}`
      const what =
        "this page has a reader's link: it can not propose again what had no result when the replica was opened"
      return new WepaxosError('OutcomeUnknown', what, { key })
    })
  }

  /** [SE4] */
  #keepProposals(which: 'all' | 'queued'): void {
    for (const proposal of this.#proposals.unstored(which)) this.#keepProposal(proposal)
  }

  #keepProposal(proposal: PendingProposal): void {
    proposal.stored = true
    const openedIn = this.#sessionOpenedIn ?? 0
    this.#queue.putMeta(outboxName(proposal.number), encodeOutboxEntry({ ...proposal, openedIn }))
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
    let until: number | null = null
    while (running.executor.run(executionSteps)) {
      // most turns end with the first slice, and need no look at the clock
      until ??= clock.now() + executionMs
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
      if (proposal.session !== this.self) continue
      this.#answered = true
      if (result !== undefined) this.#proposals.settle(proposal.number, result)
      else this.#answeredBefore(proposal.number)
    }
  }

  /** It was executed and its result acknowledged; only its record was still there. */
  #answeredBefore(number: number): void {
    const key = `${this.self}:${number}`
    this.#proposals.fail(
      number,
      new WepaxosError('OutcomeUnknown', 'it was answered before the restart, and its result is kept no longer', {
        key,
      }),
    )
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
    // what led here may have taken long: nobody is to seem silent since
    this.#now = clock.now()
    const role = roleOf(this.self, members.voters, members.observers)
    const protocol = createReplicaState({
      self: this.self,
      config: { epoch, members },
      timeouts,
      now: this.#now,
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
    if (role !== 'none') this.#wasMember = true
    if (this.#returns && role !== 'none' && before !== null) {
      this.#returns = false
      this.#queue.dropMeta(returnsName)
    }
    this.#membership.begin(members)
    this.#inbox = []
    if (stored === null) {
      this.#writeStart(running)
    } else {
      for (const instance of protocol.log.all()) if (isCommitted(instance)) executor.commit(instance)
      if (role === 'voter') running.holders.add(this.self)
    }
    this.#peers.beginEpoch()
    if (this.removed) this.#reads.failAll(new WepaxosError('Removed', 'this replica is no member any more'))
    else this.#reads.startOver()
    this.#settleOld(running)
    this.#followSession(application)
    if (this.removed) this.#endPendingOfRemoved(before?.role === 'voter' && before.application === application)
    this.#proposals.allAgain()
    this.#requestedAt = Number.NEGATIVE_INFINITY
    this.#changed = true
    this.#executedNew = true
    this.#peers.receiveEarly(epoch)
  }

  /** A checkpoint that was fetched may hold the results of proposals that are still waited for. */
  #settleOld(running: EpochRun): void {
    for (const { number } of [...this.#proposals.pending()]) {
      const result = running.application.recordedResult(this.self, number)
      if (result !== undefined) this.#proposals.settle(number, result)
      else if (running.application.wasExecuted(this.self, number)) this.#answeredBefore(number)
    }
  }

  /** [SE3] Numbers of a session that was forgotten must not be proposed in the one that took its place. */
  #followSession(application: Application): void {
    const openedIn = application.sessionOpenedIn(this.self)
    if (openedIn === undefined) return
    if (this.#sessionOpenedIn !== null && openedIn !== this.#sessionOpenedIn) {
      this.#proposals.failAll((number) => this.#sessionForgotten(number))
    }
    const isFirst = this.#sessionOpenedIn === null
    this.#sessionOpenedIn = openedIn
    // what was kept before says that there is no session yet
    if (isFirst) for (const proposal of this.#proposals.pending()) if (proposal.stored) this.#keepProposal(proposal)
  }

  #sessionForgotten(number: number): WepaxosError {
    const key = `${this.self}:${number}`
    return new WepaxosError('OutcomeUnknown', 'this replica was no member for so long that its session is forgotten', {
      key,
    })
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
    this.#keepProposals('all') // the old epoch's log, where they are, is about to go
    const due = this.#proposals.reservationDue() ?? this.#proposals.reservedNumber
    this.#queue.putReservation({ epoch, seq: seqBlock, sessionNumber: due })
    this.#queue.after(() =>
      this.#turn(() => {
        this.#proposals.reservationDurable(due)
        if (this.#running !== running) return
        running.durable = true
        if (running.role === 'voter') running.holders.add(this.self)
        this.#inbox.push({ kind: 'reserved', upTo: seqBlock })
        this.#peers.sayHelloToAll()
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
    if (before === null) this.#putIdentity(decoded.cluster)
    this.#begin(application, decoded.members, checkpoint, null)
    this.#tellCheckpoint(application, decoded.epoch, checkpoint.bytes)
  }

  // --- membership ---------------------------------------------------------------------------------------------------

  /** From now on this replica tries to make `id` what its owner wants it to be, until the returned function is called. */
  orderRole(id: ReplicaId, role: Role): () => void {
    this.#mustBeOpen()
    const cancel = this.#membership.order(id, role)
    this.#turn(() => {})
    return cancel
  }

  /** Its disk is lost: it will not come back under this id. */
  #takeOut(replica: ReplicaId): void {
    const { voters, observers } = this.members
    // where seats are given by hand, they are taken by hand too
    if (this.#options.membership.membership === 'manual' || this.#peers.isAround(replica)) return
    if (roleOf(replica, voters, observers) !== 'none') this.#membership.order(replica, 'none')
  }

  /** [DU8] Until the member list has none of them any more. */
  #tellRetired(running: EpochRun, now: number): void {
    const { voters, observers } = running.members
    const there = this.#options.inPlaceOf.filter((id) => roleOf(id, voters, observers) !== 'none')
    if (there.length === 0 || now - this.#toldRetiredAt < requestMs) return
    this.#toldRetiredAt = now
    const voter = this.#reachableVoter(running, this.#retiredTurn++)
    for (const replica of there) {
      if (running.role === 'voter') this.#takeOut(replica)
      else if (voter !== undefined) this.#outbox.control(voter, { type: 'Retired', replica })
    }
  }

  /** What this replica would like to be, as far as the others let it. */
  #wantedRole(running: EpochRun): Role {
    if (this.#leaving) return 'none'
    if (this.removed) return 'none' // the application decides what then
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
    const long = this.#isLong(running)
    // [OR1] an epoch later nothing can come of the wish to leave any more, and what takes it out then is meant
    const asked = this.#checkpointWaiters.length > 0 || this.#returns
    if (!long && !asked && this.#membership.isSettled(running.members)) return
    const first = this.#isFirstReachable(running)
    const next = this.#membership.next(running, this.#now, first)
    if (next === null && !(first && long) && !asked) return
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
      ...(this.#key === null ? {} : { key: this.#key }),
      onConnected: (peer, rights) => this.#turn(() => this.#peers.connected(peer, rights?.mayVote ?? true)),
      onDisconnected: (peer) => this.#turn(() => this.#peers.disconnected(peer)),
      onFrame: (from, frame) =>
        this.#turn(() => {
          // the timers of a page in the background are throttled; what comes from others tells the time too
          if (this.#now - this.#tickedAt > 2 * tickMs) this.#tick()
          this.#peers.receiveFrame(from, frame)
        }),
    }
  }

  #sendFrame(to: ReplicaId, frame: Uint8Array, priority: 'normal' | 'bulk'): void {
    const channel = this.#channel
    if (channel === null) return
    if (channel.queuedBytes(to) > linkBytesMax) this.#refuse('link-full')
    else channel.send(to, frame, priority)
  }

  /** A proposal of a replica that does not vote. */
  #receiveForward(from: ReplicaId, proposal: Proposal): void {
    const running = this.#running
    if (proposal.session !== from) {
      this.#refuse('another-session')
      return
    }
    if (running === null || running.role !== 'voter' || !running.durable || !canPropose(running.protocol)) return
    if (this.#hesitates) return
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
    microtask(() => {
      this.#turnDue = false
      this.#turn(() => {})
    })
  }

  /** What the turns of one task have to say and to write goes out together: a frame and a write cost far more than what is in them. */
  #flushSoon(): void {
    if (this.#flushDue) return
    this.#flushDue = true
    const ticks = this.#answered ? callerTicks : 0
    this.#answered = false
    if (ticks === 0) microtask(() => this.#flush())
    else void this.#flushAfter(ticks)
  }

  /** Still in this task: whoever waits for one result before the next command pays one frame for both. */
  async #flushAfter(ticks: number): Promise<void> {
    for (let left = ticks; left > 0; left--) await undefined
    this.#flush()
  }

  #flush(): void {
    this.#flushDue = false
    this.#outbox.flush()
    // behind the links' own flush: frames are on their way meanwhile
    microtask(() => {
      this.#rememberDisks()
      this.#queue.flush()
      if (this.#isBusy && !this.#armedBusy && this.#stopTimer !== null) this.#arm()
    })
  }

  /** [DU7] Rides with what is written anyhow: a write for it alone would be heard of by others, and have them write. */
  #rememberDisks(): void {
    if (!this.#disks.changed || !this.#queue.isGathering) return
    if (this.#now - this.#disksKeptAt < requestMs) return
    this.#disksKeptAt = this.#now
    this.#disks.changed = false
    this.#queue.putMeta(disksHeardName, encodeDisksHeard(this.#disks.all()), true)
  }

  /** Whether something is under way that the fast-path timeout may have to end. */
  get #isBusy(): boolean {
    return (this.#running?.protocol.attempts.size ?? 0) > 0
  }

  #arm(): void {
    this.#stopTimer?.()
    if (this.#state.kind === 'closed' || this.#state.kind === 'failed') return
    this.#armedBusy = this.#isBusy
    this.#stopTimer = this.#options.clock.after(this.#armedBusy ? busyTickMs : tickMs, () => {
      this.#turn(() => this.#tick())
      this.#arm()
    })
  }

  #tick(): void {
    const running = this.#running
    const now = this.#now
    this.#tickedAt = now
    if (now - this.#keptAt >= tickMs) {
      this.#keptAt = now
      this.#keepProposals('queued')
      this.#queue.flush(true)
    }
    this.#peers.tick(now)
    if (running === null) return
    if (!this.#hesitates) this.#tickProtocol(running)
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
    this.#tellRetired(running, now)
    // whether a quorum can be reached may have changed with nothing but time
    this.#changed = true
  }

  #tickProtocol(running: EpochRun): void {
    const needs = mergeDeps(running.executor.needs, this.#reads.needs(running.executor.executedUpTo.length))
    this.#inbox.push({ kind: 'execution', needs, executed: running.application.executed }, { kind: 'tick' })
  }

  /** At the end of a turn: what depends on all of it. */
  #afterwards(): void {
    const running = this.#running
    if (running === null || running.executor.endedBy !== null) return
    if (this.#hesitates) return
    this.#checkEstablished(running)
    this.#considerBarrier(running)
    this.#drain()
  }

  // --- the end ------------------------------------------------------------------------------------------------------

  #fail(error: WepaxosError): void {
    if (this.#state.kind === 'closed' || this.#state.kind === 'failed') return
    this.#options.logger.warn('the replica stopped', { code: error.code, reason: error.message })
    this.#stop({ kind: 'failed', error }, error)
    // a lost disk stays with its owner, who replaces it: nobody else is to open it
    if (error.code !== 'DamagedStorage') this.#options.storage.close().catch(() => {})
    if (!this.#turning) this.#notify()
  }

  #stop(state: EngineState, why: WepaxosError): void {
    this.#state = state
    this.#stopTimer?.()
    this.#stopTimer = null
    this.#stopExecution?.()
    this.#channel?.close()
    this.#channel = null
    this.#queue.stop()
    this.#inbox = []
    this.#reads.failAll(why)
    this.#proposals.failAll(
      (number) =>
        new WepaxosError(
          'OutcomeUnknown',
          `the replica stopped before the result was known: ${why.message}`,
          { key: `${this.self}:${number}` },
          why,
        ),
    )
    this.#opening?.(why)
    for (const { reject } of this.#checkpointWaiters.splice(0)) reject(why)
    this.#changed = true
  }
}

function asItWas(options: EngineOptions, { self, members }: FoundReplica): EngineOptions {
  const wanted = members.voters.includes(self) ? 'voter' : 'observer'
  return { ...options, start: 'join', membership: { ...options.membership, wanted, steady: false } }
}

function storageFailure(reason: unknown): WepaxosError {
  if (reason instanceof WepaxosError) return reason
  return new WepaxosError('StorageFailed', `the storage failed: ${describeError(reason)}`, {}, reason)
}

function describeError(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
