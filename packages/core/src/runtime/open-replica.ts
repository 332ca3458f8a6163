// openReplica: the typed face of one replica. Names and types for commands and queries, promises for results, the optimistic
// view, subscriptions, status and events; everything that is agreed on happens in engine.ts.

import { proposalsMax } from '../codec/parts.ts'
import { type BoundMachine, bindMachine } from '../execution/define-machine.ts'
import type { CommandResult, Commands, DeclaredFootprint, Queries, ReadTransaction } from '../execution/machine.ts'
import { Overlay, Store } from '../execution/store.ts'
import { WepaxosError } from '../lib/errors.ts'
import { hashString } from '../lib/hash.ts'
import { microtask } from '../lib/microtask.ts'
import { sha256Hex } from '../lib/sha256.ts'
import type { Footprint, Proposal } from '../protocol/command.ts'
import { type Role, roleOf } from '../protocol/control-message.ts'
import { type ReplicaId, replicaId } from '../protocol/ids.ts'
import { votersMax as votersLimit } from '../protocol/quorum.ts'
import { defaultTimeouts, isSuspected, type ReplicaState, reachableVoters } from '../protocol/state.ts'
import type { Storage, StorageSpace } from '../storage/storage.ts'
import type {
  CheckpointInfo,
  Handle,
  Logger,
  Member,
  Mutators,
  OpenReplicaOptions,
  ProposeOptions,
  Reads,
  Replica,
  ReplicaEvents,
  ReplicaStats,
  Status,
  SubscribeOptions,
  Timeouts,
  View,
  WaitOptions,
} from './api.ts'
import { type Clock, systemClock } from './clock.ts'
import { Engine, type EngineOptions } from './engine.ts'
import { OrphanHost } from './orphan-host.ts'
import type { CarriedProposal, ProposalListener } from './proposals.ts'
import type { Presence } from './transport.ts'

const partitionPattern = /^[A-Za-z0-9._/-]{1,64}$/
const timeoutsDefault: Timeouts = { ...defaultTimeouts, silentMs: 30_000 }
const silent: Logger = { debug() {}, warn() {} }

/** The dice and the clock that a replica runs on; a simulation brings its own. */
export interface Surroundings {
  readonly clock: Clock
  readonly randomBytes: (count: number) => Uint8Array
  /** Sees the protocol's state after each step: for tests that check what must always hold. */
  readonly onStep?: (state: ReplicaState) => void
}

const realSurroundings: Surroundings = {
  clock: systemClock,
  randomBytes: (count) => crypto.getRandomValues(new Uint8Array(count)),
}

/**
 * Opens a replica of a partition: the one that this storage holds, else a new one that founds the partition or joins it.
 * Resolves when the replica runs (a founder's or returning replica's state is there; a joiner may still be on its way:
 * see `status` and `ready`). Rejects with InvalidArgument, StorageInUse, StorageFailed, DamagedStorage, MachineMismatch.
 */
export function openReplica<C extends Commands, Q extends Queries>(
  options: OpenReplicaOptions<C, Q>,
): Promise<Replica<C, Q>> {
  return openReplicaIn(options, realSurroundings)
}

/** The same with a clock and dice of the caller's. */
export async function openReplicaIn<C extends Commands, Q extends Queries>(
  options: OpenReplicaOptions<C, Q>,
  surroundings: Surroundings,
): Promise<Replica<C, Q>> {
  const machine = bindMachine(options.machine)
  checkOptions(options)
  const timeouts: Timeouts = { ...timeoutsDefault, ...options.timeouts }
  refuseAborted(options.signal)
  const replica = new LocalReplica<C, Q>(machine, options, timeouts, surroundings)
  try {
    await replica.start()
    if (options.signal !== undefined) await replica.closeOn(options.signal)
  } catch (error) {
    await replica.close().catch(ignore) // what went wrong first is what the caller hears
    throw error
  }
  return replica
}

function refuseAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw new WepaxosError('Aborted', 'the signal was aborted before the call', {}, signal.reason)
}

function checkOptions(options: OpenReplicaOptions<Commands, Queries>): void {
  const { partition, votersMax, timeouts, membership, offlineWrites, orphans, readers } = options
  if (typeof partition !== 'string' || !partitionPattern.test(partition)) {
    throw invalid('partition: 1 … 64 letters, digits, `.`, `_`, `-` or `/`', partition)
  }
  if (typeof options.transport?.attach !== 'function') throw invalid('transport: a Transport', options.transport)
  if (typeof options.storage?.open !== 'function') throw invalid('storage: a StorageProvider', options.storage)
  if (votersMax !== undefined && !(Number.isInteger(votersMax) && votersMax >= 1 && votersMax <= votersLimit)) {
    throw invalid(`votersMax: a whole number 1 … ${votersLimit}`, votersMax)
  }
  if (membership !== undefined && membership !== 'auto' && membership !== 'manual') {
    throw invalid("membership: 'auto' or 'manual'", membership)
  }
  if (offlineWrites !== undefined && offlineWrites !== 'queue' && offlineWrites !== 'reject') {
    throw invalid("offlineWrites: 'queue' or 'reject'", offlineWrites)
  }
  if (orphans !== undefined && orphans !== 'host' && orphans !== 'ignore') {
    throw invalid("orphans: 'host' or 'ignore'", orphans)
  }
  if (readers !== undefined && readers !== 'follow' && readers !== 'propose') {
    throw invalid("readers: 'follow' or 'propose'", readers)
  }
  for (const [name, least, most] of wholeOptions) {
    const value = options[name]
    if (value !== undefined && !(Number.isSafeInteger(value) && value >= least && value <= most)) {
      throw invalid(`${name}: a whole number from ${least} on`, value)
    }
  }
  for (const [name, value] of Object.entries(timeouts ?? {})) {
    if (!(name in timeoutsDefault)) throw invalid('timeouts: only names of Timeouts', name)
    if (!(Number.isFinite(value) && value > 0)) throw invalid(`timeouts.${name}: milliseconds above 0`, value)
  }
}

const wholeOptions = [
  ['checkpointEvery', 0, Number.MAX_SAFE_INTEGER],
  ['checkpointBytes', 0, Number.MAX_SAFE_INTEGER],
  ['instancesMax', 1, 100_000],
  ['batchMax', 1, proposalsMax],
] as const

function invalid(expected: string, came: unknown): WepaxosError {
  return new WepaxosError('InvalidArgument', `${expected}; got ${String(came)}`)
}

/** Keys become hashes: see protocol/command.ts. */
function toFootprint(declared: DeclaredFootprint): Footprint {
  if (declared === 'everything') return declared
  return declared.map(({ key, mode }) => ({ key: hashString(key), mode }))
}

/** A query reads, whatever its machine says it does with a key. */
function toReadFootprint(declared: DeclaredFootprint): Footprint {
  if (declared === 'everything') return declared
  return toFootprint(declared.map(({ key }) => ({ key, mode: 'read' })))
}

interface PendingCommand {
  readonly payload: Uint8Array
  readonly footprint: Footprint
  local: CommandResult | undefined
}

/** The executed state with this replica's pending commands on top, as long as it is what making it anew would give. */
interface Optimistic {
  readonly overlay: Overlay
  readonly base: Store
  /** Hashes of the keys that a command on top read or wrote: who else writes one of them makes it out of date. */
  readonly keys: Set<number>
  everything: boolean
}

/** A long life leaves the overlay with entries that are below it too by now: it is made anew after so many keys. */
const overlayKeysMax = 4_096

interface Subscription {
  notify(): void
}

/** A disk that is of no use any more, kept and owned until the replica that takes its place has a state of its own. */
interface LostDisk {
  readonly storage: Storage
  readonly error: WepaxosError
}

/** More lost disks than this, one after the other, are something else than bad luck. */
const lostDisksMax = 16
/** Between looks at the space of the disk. */
const spaceMs = 30_000
const spaceUnknown: StorageSpace = { persisted: null, usedBytes: null, quotaBytes: null }

class LocalReplica<C extends Commands, Q extends Queries> implements Replica<C, Q> {
  readonly partition: string
  readonly presence: Presence
  readonly mutate: Mutators<C>
  readonly read: Reads<Q>
  readonly view: { readonly optimistic: View<Q>; readonly committed: View<Q> }
  readonly listener = {
    onChanged: () => this.#onChanged(),
    onApplied: (proposal: Proposal) => this.#onApplied(proposal),
    onExecuted: () => this.#onStateChanged(),
    onCheckpoint: (info: CheckpointInfo) => this.#dispatch('checkpoint', info),
    onCarriedOver: (session: ReplicaId, carried: CarriedProposal) => this.#carryOver(session, carried),
  }

  readonly #machine: BoundMachine
  readonly #options: OpenReplicaOptions<C, Q>
  readonly #timeouts: Timeouts
  readonly #surroundings: Surroundings
  readonly #clock: Clock
  readonly #events = new EventTarget()
  readonly #subscriptions = new Set<Subscription>()
  /** Own commands without a result yet, by number: what the optimistic view adds to the executed state. */
  readonly #pending = new Map<number, PendingCommand>()
  #engine: Engine | null = null
  #storage: Storage | null = null
  /** Oldest first. */
  readonly #lostDisks: LostDisk[] = []
  #replacing = false
  #replacement: Promise<void> | null = null
  #failedForGood = false
  #closed = false
  #space: StorageSpace = spaceUnknown
  #stopSpaceTimer: (() => void) | null = null
  readonly #orphans: OrphanHost
  #stopWatchingOrphans: (() => void) | null = null
  #forgetSignal: (() => void) | null = null
  #carriedOver: readonly LocalHandle[] = []
  #optimistic: Optimistic | null = null
  #status: Status = { kind: 'joining', peers: 0 }
  #members: readonly Member[] = []
  #notifying = false
  #leaving: Promise<void> | null = null
  /** What queries are answered from before there is any state. */
  readonly #nothing: Store

  constructor(
    machine: BoundMachine,
    options: OpenReplicaOptions<C, Q>,
    timeouts: Timeouts,
    surroundings: Surroundings,
  ) {
    this.#machine = machine
    this.#options = options
    this.#timeouts = timeouts
    this.#surroundings = surroundings
    this.#clock = surroundings.clock
    this.partition = options.partition
    this.presence = options.transport.presence
    this.#nothing = new Store()
    machine.init(this.#nothing)
    this.mutate = this.mutateWith({})
    this.read = this.#bindReads()
    this.view = {
      optimistic: this.#bindView(() => this.#optimisticState()),
      committed: this.#bindView(() => this.#committedState()),
    }
    this.#orphans = new OrphanHost({
      open: (storage, changed) => this.#openHosted(storage, changed),
      clock: this.#clock,
      logger: options.logger ?? silent,
      // where seats are given by hand, nobody gives one up by itself
      patienceMs: options.membership === 'manual' ? Number.POSITIVE_INFINITY : timeouts.silentMs,
      onChanged: () => this.#onChanged(),
    })
  }

  // --- opening, and opening anew ------------------------------------------------------------------------------------

  async start(): Promise<void> {
    this.#engine = await this.#openEngine()
    this.#onChanged()
    this.#watchSpace()
    const { storage, transport, partition, orphans } = this.#options
    if (orphans === 'ignore' || transport.mayVote === false || storage.watchOrphans === undefined) return
    if (this.#closed || this.#engine.state.kind === 'failed') return
    const scope = { room: transport.room, partition }
    this.#stopWatchingOrphans = storage.watchOrphans(scope, (orphan) => this.#orphans.adopt(orphan))
  }

  /** Closes when the signal is aborted; a signal that outlives the replica is not to keep it. */
  async closeOn(signal: AbortSignal): Promise<void> {
    const aborted = () => {
      this.close().catch((error: unknown) => {
        this.#options.logger?.warn('the replica did not close as it should', { reason: String(error) })
      })
    }
    signal.addEventListener('abort', aborted, { once: true })
    this.#forgetSignal = () => signal.removeEventListener('abort', aborted)
    if (signal.aborted) await this.close()
  }

  /** [DU8] A lost disk is put aside, still owned, and a new replica begins on another. */
  async #openEngine(): Promise<Engine> {
    const { storage: provider, transport, partition } = this.#options
    for (;;) {
      let storage: Storage | undefined
      try {
        storage = await provider.open({ room: transport.room, partition })
        const engine = await Engine.open(this.#engineOptions(storage))
        this.#storage = storage
        return engine
      } catch (error) {
        if (storage !== undefined && isLostDisk(error) && this.#lostDisks.length < lostDisksMax) {
          this.#putAside(storage, error)
          continue
        }
        const open = [
          ...(storage === undefined ? [] : [storage]),
          ...this.#lostDisks.splice(0).map((lost) => lost.storage),
        ]
        await Promise.allSettled(open.map((one) => one.close()))
        throw error
      }
    }
  }

  #engineOptions(storage: Storage): EngineOptions {
    const { partition, transport, start, membership, role, votersMax, logger } = this.#options
    const { checkpointEvery, checkpointBytes, instancesMax, batchMax, steady, readers } = this.#options
    const { clock, randomBytes, onStep } = this.#surroundings
    const isNew = this.#lostDisks.length === 0
    return {
      machine: this.#machine,
      storage,
      transport,
      partition,
      clock,
      randomBytes,
      timeouts: this.#timeouts,
      // who was here before has peers that know the partition, or else nobody does: never a second founding
      isHosted: false,
      start: isNew ? (start ?? (transport.founded ? 'found' : 'join')) : 'join',
      inPlaceOf: this.#lostDisks.flatMap(({ error }) => {
        const { replica } = error.details
        return typeof replica === 'string' ? [replicaId(replica)] : []
      }),
      membership: {
        membership: membership ?? 'auto',
        wanted: transport.mayVote === false ? 'observer' : (role ?? 'voter'),
        steady: steady ?? false,
        votersMax: votersMax ?? 7,
        silentMs: this.#timeouts.silentMs,
      },
      readersPropose: readers === 'propose',
      checkpointEvery: checkpointEvery ?? 10_000,
      checkpointBytes: checkpointBytes ?? 16 * 1_024 * 1_024,
      instancesMax: instancesMax ?? 32,
      batchMax: batchMax ?? 100,
      onStep,
      logger: logger ?? silent,
      listener: this.listener,
    }
  }

  /** A replica that lost its own page. What it has to tell its callers, nobody hears. */
  #openHosted(storage: Storage, changed: () => void): Promise<Engine> {
    const unheard: ProposalListener = { committed: ignore, done: ignore, failed: ignore }
    return Engine.open({
      ...this.#engineOptions(storage),
      isHosted: true,
      inPlaceOf: [],
      listener: { onChanged: changed, onExecuted: ignore, onCheckpoint: ignore, onCarriedOver: () => unheard },
    })
  }

  #putAside(storage: Storage, error: WepaxosError): void {
    this.#options.logger?.warn('the disk of this replica is lost: it begins anew', {
      reason: error.message,
      ...error.details,
    })
    this.#lostDisks.push({ storage, error })
  }

  /** The engine found out, from its peers, that its disk came back older. */
  async #replaceEngine(before: Engine): Promise<void> {
    const storage = this.#storage
    if (storage === null || before.state.kind !== 'failed') return
    const { error } = before.state
    if (!before.givesDiskUp) {
      this.#failedForGood = true
      void this.#endHosting()
      await storage.close()
      return
    }
    this.#replacing = true
    this.#storage = null
    this.#carriedOver = []
    this.#optimistic = null
    const details = { ...error.details, replica: before.self }
    this.#putAside(storage, new WepaxosError(error.code, error.message, details, error))
    // else whoever opens it next, with nobody near who knows, would go on with it
    await before.noteLost().catch((failure: unknown) => {
      this.#options.logger?.warn('a lost disk could not be marked', { reason: String(failure) })
    })
    try {
      const engine = await this.#openEngine()
      this.#engine = engine
      this.#replacing = false
      if (this.#closed) await engine.close()
    } catch (failure) {
      // the old engine stays, failed, with what is behind it all
      this.#options.logger?.warn('no new replica could be opened', { reason: String(failure) })
      this.#replacing = false
      this.#failedForGood = true
      void this.#endHosting()
    }
    this.#onChanged()
  }

  /** The new replica has the place of the old one: what was put aside is of no use to anybody. Before, it may be the last copy. */
  #eraseLostDisks(): void {
    if (this.#lostDisks.length === 0 || this.#replacing || this.#engine?.isInPlace !== true) return
    for (const { storage } of this.#lostDisks.splice(0)) {
      storage.erase().catch((error: unknown) => {
        this.#options.logger?.warn('a lost disk was not erased', { reason: String(error) })
      })
    }
  }

  #watchSpace(): void {
    const again = () => {
      if (!this.#closed) this.#stopSpaceTimer = this.#clock.after(spaceMs, () => this.#watchSpace())
    }
    const storage = this.#storage
    if (storage === null) again()
    else {
      void storage.space?.().then((space) => {
        this.#space = space
        again()
      })
    }
  }

  get #running(): Engine {
    if (this.#engine === null) throw new WepaxosError('NotReady', 'the replica is being opened')
    return this.#engine
  }

  get id(): ReplicaId {
    return this.#running.self
  }

  get status(): Status {
    return this.#status
  }

  get members(): readonly Member[] {
    return this.#members
  }

  // --- states and views ---------------------------------------------------------------------------------------------

  #committedState(): Store {
    return this.#engine?.application?.store ?? this.#nothing
  }

  #optimisticState(): ReadTransaction {
    if (this.#pending.size === 0) return this.#committedState()
    return this.#currentOptimistic().overlay
  }

  #currentOptimistic(): Optimistic {
    const base = this.#committedState()
    if (this.#optimistic?.base === base) return this.#optimistic
    const made: Optimistic = { overlay: new Overlay(base), base, keys: new Set(), everything: false }
    for (const pending of this.#pending.values()) {
      pending.local = this.#forecastAgain(made.overlay, pending)
      noteKeys(made, pending.footprint)
    }
    this.#optimistic = made
    return made
  }

  /** On another state than when it was proposed: a command that throws on it has no forecast. */
  #forecastAgain(overlay: Overlay, pending: PendingCommand): CommandResult | undefined {
    try {
      return this.#machine.apply(overlay, pending.payload)
    } catch {
      return pending.local
    }
  }

  /**
   * What is executed goes into the state below. The overlay still fits when it was the oldest pending command, for that is
   * how the overlay began, or when it touches nothing that the overlay has looked at.
   */
  #onApplied(proposal: Proposal): void {
    const optimistic = this.#optimistic
    if (optimistic === null) return
    const [oldest] = this.#pending.keys()
    if (proposal.session === this.#engine?.self && proposal.number === oldest) {
      this.#pending.delete(oldest)
      if (this.#pending.size === 0 || optimistic.keys.size > overlayKeysMax) this.#optimistic = null
    } else if (touches(optimistic, proposal.footprint)) {
      this.#optimistic = null
    }
  }

  #bindView(state: () => ReadTransaction): View<Q> {
    const view: Record<string, (...args: unknown[]) => unknown> = {}
    for (const name of this.#machine.queryNames) {
      view[name] = (...args) => this.#machine.query(name, state(), args)
    }
    return Object.freeze(view) as View<Q>
  }

  #bindReads(): Reads<Q> {
    const reads: Record<string, (...args: unknown[]) => Promise<unknown>> = {}
    for (const name of this.#machine.queryNames) {
      reads[name] = (...args) =>
        new Promise((resolve, reject) => {
          const footprint = toReadFootprint(this.#machine.queryFootprint(name, args))
          this.#running.read(
            footprint,
            () => {
              try {
                resolve(this.#machine.query(name, this.#committedState(), args))
              } catch (error) {
                reject(error)
              }
            },
            reject,
          )
        })
    }
    return Object.freeze(reads) as Reads<Q>
  }

  // --- commands -----------------------------------------------------------------------------------------------------

  mutateWith(options: ProposeOptions): Mutators<C> {
    const mutators: Record<string, (...args: unknown[]) => Handle<CommandResult>> = {}
    for (const name of this.#machine.commandNames) mutators[name] = (...args) => this.#propose(name, args, options)
    return Object.freeze(mutators) as Mutators<C>
  }

  #propose(name: string, args: readonly unknown[], options: ProposeOptions): Handle<CommandResult> {
    refuseAborted(options.signal)
    const prepared = this.#machine.prepareCommand(name, args)
    const payload = prepared.bytes
    const footprint = toFootprint(prepared.footprint)
    const engine = this.#running
    if (this.#isReader) throw new WepaxosError('ReadOnly', "this page has a reader's link: it may not propose")
    if (this.#options.offlineWrites === 'reject' && this.#status.kind === 'no-quorum') {
      const { reachable, needed, members } = this.#status
      const what = `${reachable} of ${members} voters can be reached, and ${needed} are needed`
      throw new WepaxosError('QuorumUnavailable', what, { reachable, needed, members })
    }
    // before the forecast, which nothing would take out of the optimistic view again
    engine.mustTake(payload)
    // a command that throws here would throw at every replica: it is refused before anybody hears of it
    const local = this.#forecast(payload, footprint)
    const pending: PendingCommand = { payload, footprint, local }
    const handle = new LocalHandle(this.id, pending)
    const number = engine.propose(footprint, payload, this.#listenerOf(handle))
    handle.number = number
    handle.waitAtMost(options, this.#clock)
    if (handle.state === 'pending' || handle.state === 'committed') this.#pending.set(number, pending)
    this.#onStateChanged()
    return handle
  }

  #listenerOf(handle: LocalHandle): ProposalListener {
    return {
      committed: () => handle.settleCommitted(),
      done: (result) => {
        this.#forget(handle)
        handle.settleDone(result)
      },
      failed: (error) => {
        this.#forget(handle)
        handle.settleFailed(error)
      },
    }
  }

  /** [SE4] */
  #carryOver(session: ReplicaId, { number, footprint, payload }: CarriedProposal): ProposalListener {
    const pending: PendingCommand = { payload, footprint, local: undefined }
    const handle = new LocalHandle(session, pending)
    handle.number = number
    this.#pending.set(number, pending)
    this.#carriedOver = [...this.#carriedOver, handle]
    return this.#listenerOf(handle)
  }

  get carriedOver(): readonly Handle<CommandResult>[] {
    return this.#carriedOver
  }

  #forecast(payload: Uint8Array, footprint: Footprint): CommandResult {
    const optimistic = this.#currentOptimistic()
    try {
      const result = this.#machine.apply(optimistic.overlay, payload)
      noteKeys(optimistic, footprint)
      return result
    } catch (error) {
      this.#optimistic = null
      throw new WepaxosError(
        'MachineFailed',
        'the command throws on the present state, so it was not proposed',
        {},
        error,
      )
    }
  }

  #forget(handle: LocalHandle): void {
    if (this.#pending.delete(handle.number)) this.#optimistic = null // it did not go the way of #onApplied
    this.#onStateChanged()
  }

  outcome(key: string): CommandResult | undefined {
    const [session, number] = key.split(':')
    const application = this.#engine?.application
    if (session === undefined || number === undefined || !application) return undefined
    return application.recordedResult(session as ReplicaId, Number(number))
  }

  // --- subscriptions and events -------------------------------------------------------------------------------------

  subscribe<T>(
    selector: (view: View<Q>) => T,
    listener: (value: T) => void,
    options: SubscribeOptions<T> = {},
  ): () => void {
    const view = options.view === 'committed' ? this.view.committed : this.view.optimistic
    const equal = options.equal ?? Object.is
    let last = selector(view)
    const subscription: Subscription = {
      notify: () => {
        const value = selector(view)
        if (equal(last, value)) return
        last = value
        listener(value)
      },
    }
    this.#subscriptions.add(subscription)
    const stop = () => void this.#subscriptions.delete(subscription)
    options.signal?.addEventListener('abort', stop, { once: true })
    if (options.signal?.aborted) stop()
    listener(last)
    return stop
  }

  /** Subscribers hear once for all that happens in one go. */
  #onStateChanged(): void {
    if (this.#notifying) return
    this.#notifying = true
    microtask(() => {
      this.#notifying = false
      for (const subscription of [...this.#subscriptions]) {
        try {
          subscription.notify()
        } catch (error) {
          // the listener's own fault: said where uncaught errors are said, and the other listeners still hear
          queueMicrotask(() => {
            throw error
          })
        }
      }
    })
  }

  addEventListener<K extends keyof ReplicaEvents>(
    type: K,
    listener: (event: ReplicaEvents[K]) => void,
    options?: { readonly signal?: AbortSignal; readonly once?: boolean },
  ): void {
    this.#events.addEventListener(type, listener as (event: Event) => void, options)
  }

  removeEventListener<K extends keyof ReplicaEvents>(type: K, listener: (event: ReplicaEvents[K]) => void): void {
    this.#events.removeEventListener(type, listener as (event: Event) => void)
  }

  #dispatch<K extends keyof ReplicaEvents>(type: K, detail: ReplicaEvents[K]['detail']): void {
    this.#events.dispatchEvent(new CustomEvent(type, { detail }))
  }

  // --- status -------------------------------------------------------------------------------------------------------

  #onChanged(): void {
    const engine = this.#engine
    if (engine === null) return
    if (engine.state.kind === 'failed' && !this.#closed) {
      if (!isLostDisk(engine.state.error)) void this.#endHosting()
      else if (!this.#replacing && !this.#failedForGood) this.#replacement = this.#replaceEngine(engine)
    }
    this.#eraseLostDisks()
    const known = this.#replacing || this.#lostDisks.length > 0 ? this.#statusWithout(engine) : statusOf(engine)
    const status: Status = known.kind === 'ready' && this.#isReader ? { kind: 'read-only' } : known
    if (!sameStatus(status, this.#status)) {
      this.#status = status
      this.#dispatch('status', status)
    }
    const members = membersOf(engine)
    if (!sameMembers(members, this.#members)) {
      this.#members = members
      this.#dispatch('members', members)
    }
  }

  get #isReader(): boolean {
    return this.#options.transport.mayVote === false && this.#options.readers !== 'propose'
  }

  /** While a new replica takes the place of one that lost its disk. */
  #statusWithout(engine: Engine): Status {
    const lost = this.#lostDisks.at(-1)?.error
    const status = this.#replacing ? ({ kind: 'joining', peers: 0 } as const) : statusOf(engine)
    return status.kind === 'joining' && lost !== undefined ? { ...status, lost } : status
  }

  async ready(options: WaitOptions & { readonly members?: 'quorum' | 'all' } = {}): Promise<void> {
    const all = options.members === 'all'
    const isReady = () =>
      (this.#status.kind === 'ready' || this.#status.kind === 'read-only') &&
      (!all || this.#members.every((member) => member.connected))
    await this.#until(isReady, options, () => {
      const missing = this.#members.filter((member) => !member.connected && member.role === 'voter').map(({ id }) => id)
      return new WepaxosError('Timeout', `not ready in time: ${describeStatus(this.#status)}`, {
        status: this.#status,
        missing,
      })
    })
  }

  /** Waits until `condition` holds; rejects when the replica ends, the signal aborts, or the time is over. */
  #until(condition: () => boolean, { timeoutMs, signal }: WaitOptions, tooLate: () => WepaxosError): Promise<void> {
    return new Promise((resolve, reject) => {
      const ended = new AbortController()
      const finish = (act: () => void) => {
        ended.abort()
        stopTimer()
        act()
      }
      const stopTimer =
        timeoutMs === undefined ? () => {} : this.#clock.after(timeoutMs, () => finish(() => reject(tooLate())))
      const check = () => {
        if (condition()) finish(resolve)
        else if (this.#status.kind === 'failed') {
          const { error } = this.#status
          finish(() => reject(error))
        } else if (this.#status.kind === 'closed') {
          finish(() => reject(new WepaxosError('Closed', 'the replica was closed')))
        } else if (this.#status.kind === 'removed') {
          finish(() => reject(new WepaxosError('Removed', 'the replica is no member any more')))
        }
      }
      const aborted = () => finish(() => reject(new WepaxosError('Aborted', 'waiting was aborted', {}, signal?.reason)))
      signal?.addEventListener('abort', aborted, { signal: ended.signal })
      this.addEventListener('status', check, { signal: ended.signal })
      this.addEventListener('members', check, { signal: ended.signal })
      if (signal?.aborted) aborted()
      else check()
    })
  }

  stats(): ReplicaStats {
    const engine = this.#running
    const { protocol } = engine
    const quorums = protocol?.quorums
    const { application } = engine
    // linear in the state: whoever does not ask for it does not pay for it
    let hash: string | undefined
    const stateHash = () => {
      hash ??= application?.stateHash() ?? sha256Hex(this.#nothing.snapshot())
      return hash
    }
    return {
      epoch: engine.epoch,
      executed: application?.executed ?? 0,
      get stateHash() {
        return stateHash()
      },
      voters: quorums?.n ?? 0,
      slowQuorum: quorums?.slow ?? 0,
      fastQuorum: quorums?.fast ?? 0,
      ...engine.counts,
      pending: engine.pendingCount,
      hosted: this.#orphans.ids,
      storage: { durability: this.#storage?.durability ?? 'memory', writes: engine.durableWrites, ...this.#space },
      refused: engine.refused,
    }
  }

  async checkpoint(): Promise<CheckpointInfo> {
    return this.#running.checkpoint()
  }

  async setRole(id: string, role: Role, options: WaitOptions = {}): Promise<void> {
    const engine = this.#running
    const member = replicaId(id)
    if (role !== 'voter' && role !== 'observer' && role !== 'none')
      throw invalid("role: 'voter', 'observer' or 'none'", role)
    const { voters, observers } = engine.members
    if (engine.role !== 'voter') throw new WepaxosError('NotSupported', 'only a voter can change the role of a member')
    if (role !== 'voter' && voters.every((voter) => voter === member) && observers.length === 0) {
      throw new WepaxosError('LastMember', 'the last voter can not be taken away')
    }
    const cancel = engine.orderRole(member, role)
    const isDone = () => roleOf(member, engine.members.voters, engine.members.observers) === role
    try {
      await this.#until(isDone, { timeoutMs: 10_000, ...options }, () => {
        return new WepaxosError(
          'Timeout',
          `${member} is still ${roleOf(member, engine.members.voters, engine.members.observers)}`,
        )
      })
    } finally {
      cancel()
    }
  }

  leave(options: { readonly timeoutMs?: number } = {}): Promise<void> {
    this.#leaving ??= this.#leave(options).catch((error: unknown) => {
      this.#leaving = null
      throw error
    })
    return this.#leaving
  }

  async #leave({ timeoutMs = 10_000 }: { readonly timeoutMs?: number }): Promise<void> {
    const engine = this.#running
    engine.startLeaving()
    await new Promise<void>((resolve, reject) => {
      const finish = (act: () => void) => {
        stopTimer()
        stopPolling()
        act()
      }
      const stopTimer = this.#clock.after(timeoutMs, () =>
        finish(() => reject(new WepaxosError('Timeout', `not out of the member list after ${timeoutMs} ms`))),
      )
      let stopPolling = () => {}
      const check = () => {
        if (engine.state.kind === 'failed') {
          const { error } = engine.state
          finish(() => reject(error))
        } else if (engine.state.kind === 'closed') {
          finish(() => reject(new WepaxosError('Closed', 'the replica was closed')))
        } else if (engine.hasLeft) finish(resolve)
        else stopPolling = this.#clock.after(20, check)
      }
      check()
    })
    // beside each other: a hosted one may wait for a page that stands still
    const rest = this.#closeRest()
    const { isInPlace } = engine
    await engine.erase()
    for (const { storage } of this.#lostDisks.splice(0)) await (isInPlace ? storage.erase() : storage.close())
    await rest
    this.#onChanged()
  }

  async close(): Promise<void> {
    try {
      const rest = this.#closeRest()
      await this.#replacement
      await this.#engine?.close()
      await this.#storage?.close() // where the engine failed, and left it to its owner
      this.#onChanged()
      await rest
    } finally {
      await Promise.allSettled(this.#lostDisks.splice(0).map(({ storage }) => storage.close()))
      this.#onChanged()
    }
  }

  /** What is here beside the replica itself. */
  async #closeRest(): Promise<void> {
    this.#closed = true
    this.#forgetSignal?.()
    this.#stopSpaceTimer?.()
    await this.#endHosting()
  }

  /** Nor adopts any more: a replica that failed has no page either, and is for whoever opens it again. */
  async #endHosting(): Promise<void> {
    this.#stopWatchingOrphans?.()
    await this.#orphans.close()
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }
}

function isLostDisk(error: unknown): error is WepaxosError {
  return error instanceof WepaxosError && error.code === 'DamagedStorage'
}

function noteKeys(optimistic: Optimistic, footprint: Footprint): void {
  if (footprint === 'everything') optimistic.everything = true
  else for (const { key } of footprint) optimistic.keys.add(key)
}

function touches({ keys, everything }: Optimistic, footprint: Footprint): boolean {
  return everything || footprint === 'everything' || footprint.some(({ key }) => keys.has(key))
}

type HandleState =
  | { readonly kind: 'pending' }
  | { readonly kind: 'committed' }
  | { readonly kind: 'done'; readonly result: CommandResult }
  | { readonly kind: 'failed'; readonly error: WepaxosError }

const isPending: HandleState = { kind: 'pending' }
const isCommitted: HandleState = { kind: 'committed' }

/** A promise with its ends, made when somebody asks for it: most callers ask for one of a handle's two. */
class Deferred<T> {
  readonly promise: Promise<T>
  resolve: (value: T) => void = () => {}
  reject: (error: WepaxosError) => void = () => {}

  constructor() {
    this.promise = new Promise((resolve, reject) => {
      this.resolve = resolve
      this.reject = reject
    })
    // whoever cares awaits it, or the other of the two: it is no unhandled rejection
    this.promise.catch(ignore)
  }
}

function ignore(): void {}

class LocalHandle implements Handle<CommandResult> {
  number = 0
  readonly #replica: ReplicaId
  readonly #pending: PendingCommand
  #state: HandleState = isPending
  #committed: Deferred<void> | null = null
  #done: Deferred<CommandResult> | null = null
  /** The caller stopped waiting with this: what `done` says from then on, whatever becomes of the command. */
  #givenUp: WepaxosError | null = null
  #stopWaiting: (() => void) | null = null

  constructor(replica: ReplicaId, pending: PendingCommand) {
    this.#replica = replica
    this.#pending = pending
  }

  /** Once it is proposed: a call that was refused leaves no timer and no listener. */
  waitAtMost({ signal, timeoutMs }: ProposeOptions, clock: Clock): void {
    if (signal === undefined && timeoutMs === undefined) return
    const aborted = () => this.#giveUp('waiting was aborted', signal?.reason)
    signal?.addEventListener('abort', aborted, { once: true })
    const stopTimer =
      timeoutMs === undefined ? ignore : clock.after(timeoutMs, () => this.#giveUp(`no result after ${timeoutMs} ms`))
    this.#stopWaiting = () => {
      stopTimer()
      signal?.removeEventListener('abort', aborted)
    }
  }

  #giveUp(why: string, cause?: unknown): void {
    if (this.#givenUp !== null) return
    this.#givenUp = new WepaxosError('OutcomeUnknown', `${why}; the command itself goes on`, { key: this.key }, cause)
    this.#reject(this.#givenUp)
  }

  #reject(error: WepaxosError): void {
    this.#committed?.reject(error)
    this.#done?.reject(error)
  }

  get committed(): Promise<void> {
    if (this.#committed === null) {
      this.#committed = new Deferred()
      if (this.#state.kind === 'committed' || this.#state.kind === 'done') this.#committed.resolve()
      else if (this.#givenUp !== null) this.#committed.reject(this.#givenUp)
      else if (this.#state.kind === 'failed') this.#committed.reject(this.#state.error)
    }
    return this.#committed.promise
  }

  get done(): Promise<CommandResult> {
    if (this.#done === null) {
      this.#done = new Deferred()
      if (this.#givenUp !== null) this.#done.reject(this.#givenUp)
      else if (this.#state.kind === 'done') this.#done.resolve(this.#state.result)
      else if (this.#state.kind === 'failed') this.#done.reject(this.#state.error)
    }
    return this.#done.promise
  }

  get key(): string {
    return `${this.#replica}:${this.number}`
  }

  get local(): CommandResult {
    return this.#pending.local ?? { ok: false, code: 'UNKNOWN_COMMAND' }
  }

  get state(): 'pending' | 'committed' | 'done' | 'failed' {
    return this.#state.kind
  }

  settleCommitted(): void {
    if (this.#state.kind === 'pending') this.#state = isCommitted
    this.#committed?.resolve()
  }

  settleDone(result: CommandResult): void {
    this.#stopWaiting?.()
    if (!result.ok && result.code === 'SESSION_EXPIRED') {
      this.settleFailed(
        new WepaxosError('OutcomeUnknown', 'this replica was no member for so long that its session is forgotten', {
          key: this.key,
        }),
      )
      return
    }
    this.#state = { kind: 'done', result }
    this.#committed?.resolve()
    this.#done?.resolve(result)
  }

  settleFailed(error: WepaxosError): void {
    this.#stopWaiting?.()
    this.#state = { kind: 'failed', error }
    this.#reject(error)
  }
}

function statusOf(engine: Engine): Status {
  const { state, protocol, role } = engine
  if (state.kind === 'closed') return { kind: 'closed' }
  if (state.kind === 'failed') return { kind: 'failed', error: state.error }
  if (engine.removed) return { kind: 'removed' }
  if (protocol === null || role === 'none') return { kind: 'joining', peers: engine.acceptedPeers.length }
  const reachable = reachableVoters(protocol)
  const { n, slow } = protocol.quorums
  if (reachable >= slow) return { kind: 'ready' }
  const missing = protocol.config.members.voters.filter((_, row) => isSuspected(protocol, row))
  return { kind: 'no-quorum', reachable, needed: slow, members: n, missing }
}

function sameStatus(a: Status, b: Status): boolean {
  if (a.kind === 'failed' && b.kind === 'failed') return a.error === b.error
  return JSON.stringify(a) === JSON.stringify(b)
}

function membersOf(engine: Engine): readonly Member[] {
  const { voters, observers } = engine.members
  const connected = new Set(engine.acceptedPeers)
  const member = (id: ReplicaId, role: 'voter' | 'observer'): Member => {
    const self = id === engine.self
    return { id, role, self, connected: self || connected.has(id) }
  }
  return [...voters.map((id) => member(id, 'voter')), ...observers.map((id) => member(id, 'observer'))]
}

function sameMembers(a: readonly Member[], b: readonly Member[]): boolean {
  return (
    a.length === b.length &&
    a.every((one, index) => {
      const other = b[index]
      return other !== undefined && one.id === other.id && one.role === other.role && one.connected === other.connected
    })
  )
}

function describeStatus(status: Status): string {
  switch (status.kind) {
    case 'joining':
      return status.peers === 0 ? 'joining, and nobody answers' : `joining, ${status.peers} peers answer`
    case 'no-quorum':
      return `${status.reachable} of ${status.members} voters can be reached, ${status.needed} are needed`
    default:
      return status.kind
  }
}
