// openReplica: the typed face of one replica. Names and types for commands and queries, promises for results, the optimistic
// view, subscriptions, status and events; everything that is agreed on happens in engine.ts.
import { type BoundMachine, bindMachine } from '../execution/define-machine.ts'
import type { CommandResult, Commands, DeclaredFootprint, Queries, ReadTransaction } from '../execution/machine.ts'
import { Overlay, Store } from '../execution/store.ts'
import { WepaxosError } from '../lib/errors.ts'
import { hashString } from '../lib/hash.ts'
import { sha256Hex } from '../lib/sha256.ts'
import type { Footprint } from '../protocol/command.ts'
import type { ReplicaId } from '../protocol/ids.ts'
import { votersMax as votersLimit } from '../protocol/quorum.ts'
import { defaultTimeouts, isSuspected, reachableVoters } from '../protocol/state.ts'
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
  View,
} from './api.ts'
import { type Clock, systemClock } from './clock.ts'
import { Engine } from './engine.ts'
import type { Presence } from './transport.ts'

const partitionPattern = /^[A-Za-z0-9._/-]{1,64}$/
const silent: Logger = { debug() {}, warn() {} }

/** The dice and the clock that a replica runs on; a simulation brings its own. */
export interface Surroundings {
  readonly clock: Clock
  readonly randomBytes: (count: number) => Uint8Array
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
  refuseAborted(options.signal)
  const { partition, transport } = options
  const storage = await options.storage.open({ room: transport.room, partition })
  const replica = new LocalReplica<C, Q>(machine, partition, transport.presence, surroundings.clock)
  try {
    replica.start(
      await Engine.open({
        machine,
        storage,
        transport,
        partition,
        clock: surroundings.clock,
        randomBytes: surroundings.randomBytes,
        timeouts: { ...defaultTimeouts, ...options.timeouts },
        start: options.start ?? (transport.founded ? 'found' : 'join'),
        wanted: options.role ?? 'voter',
        votersMax: options.votersMax ?? 7,
        checkpointEvery: options.checkpointEvery ?? 10_000,
        logger: options.logger ?? silent,
        listener: replica.listener,
      }),
    )
  } catch (error) {
    await storage.close()
    throw error
  }
  options.signal?.addEventListener('abort', () => void replica.close(), { once: true })
  if (options.signal?.aborted) await replica.close()
  return replica
}

function refuseAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw new WepaxosError('Aborted', 'the signal was aborted before the call', {}, signal.reason)
}

function checkOptions(options: OpenReplicaOptions<Commands, Queries>): void {
  const { partition, votersMax, checkpointEvery, timeouts } = options
  if (typeof partition !== 'string' || !partitionPattern.test(partition)) {
    throw invalid('partition: 1 … 64 letters, digits, `.`, `_`, `-` or `/`', partition)
  }
  if (typeof options.transport?.attach !== 'function') throw invalid('transport: a Transport', options.transport)
  if (typeof options.storage?.open !== 'function') throw invalid('storage: a StorageProvider', options.storage)
  if (votersMax !== undefined && !(Number.isInteger(votersMax) && votersMax >= 1 && votersMax <= votersLimit)) {
    throw invalid(`votersMax: a whole number 1 … ${votersLimit}`, votersMax)
  }
  if (checkpointEvery !== undefined && !(Number.isSafeInteger(checkpointEvery) && checkpointEvery >= 0)) {
    throw invalid('checkpointEvery: a whole number from 0 on', checkpointEvery)
  }
  for (const [name, value] of Object.entries(timeouts ?? {})) {
    if (!(name in defaultTimeouts)) throw invalid('timeouts: only names of Timeouts', name)
    if (!(Number.isFinite(value) && value > 0)) throw invalid(`timeouts.${name}: milliseconds above 0`, value)
  }
}

function invalid(expected: string, came: unknown): WepaxosError {
  return new WepaxosError('InvalidArgument', `${expected}; got ${String(came)}`)
}

/** Keys become hashes: see protocol/command.ts. */
function toFootprint(declared: DeclaredFootprint): Footprint {
  if (declared === 'everything') return declared
  return declared.map(({ key, mode }) => ({ key: hashString(key), mode }))
}

interface PendingCommand {
  readonly payload: Uint8Array
  local: CommandResult | undefined
}

interface Subscription {
  notify(): void
}

class LocalReplica<C extends Commands, Q extends Queries> implements Replica<C, Q> {
  readonly partition: string
  readonly presence: Presence
  readonly mutate: Mutators<C>
  readonly read: Reads<Q>
  readonly view: { readonly optimistic: View<Q>; readonly committed: View<Q> }
  readonly listener = {
    onChanged: () => this.#onChanged(),
    onExecuted: () => this.#onStateChanged(),
    onCheckpoint: (info: CheckpointInfo) => this.#dispatch('checkpoint', info),
  }

  readonly #machine: BoundMachine
  readonly #clock: Clock
  readonly #events = new EventTarget()
  readonly #subscriptions = new Set<Subscription>()
  /** Own commands without a result yet, by number: what the optimistic view adds to the executed state. */
  readonly #pending = new Map<number, PendingCommand>()
  #engine: Engine | null = null
  #optimistic: { readonly overlay: Overlay; readonly base: Store; readonly revision: number } | null = null
  #status: Status = { kind: 'joining', peers: 0 }
  #members: readonly Member[] = []
  #notifying = false
  #leaving: Promise<void> | null = null
  /** What queries are answered from before there is any state. */
  readonly #nothing: Store

  constructor(machine: BoundMachine, partition: string, presence: Presence, clock: Clock) {
    this.#machine = machine
    this.#clock = clock
    this.partition = partition
    this.presence = presence
    this.#nothing = new Store()
    machine.init(this.#nothing)
    this.mutate = this.mutateWith({})
    this.read = this.#bindReads()
    this.view = {
      optimistic: this.#bindView(() => this.#optimisticState()),
      committed: this.#bindView(() => this.#committedState()),
    }
  }

  start(engine: Engine): void {
    this.#engine = engine
    this.#onChanged()
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
    return this.#optimisticOverlay()
  }

  /** The executed state with this replica's pending commands on top; made anew when one of both has changed. */
  #optimisticOverlay(): Overlay {
    const base = this.#committedState()
    const current = this.#optimistic
    if (current !== null && current.base === base && current.revision === base.revision) return current.overlay
    const overlay = new Overlay(base)
    for (const pending of this.#pending.values()) pending.local = this.#machine.apply(overlay, pending.payload)
    this.#optimistic = { overlay, base, revision: base.revision }
    return overlay
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
          const footprint = toFootprint(this.#machine.queryFootprint(name, args))
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
    // a command that throws here would throw at every replica: it is refused before anybody hears of it
    const local = this.#forecast(payload)
    const pending: PendingCommand = { payload, local }
    const handle = new LocalHandle(this.id, pending, options, this.#clock)
    const number = engine.propose(footprint, payload, {
      committed: () => handle.settleCommitted(),
      done: (result) => {
        this.#forget(handle)
        handle.settleDone(result)
      },
      failed: (error) => {
        this.#forget(handle)
        handle.settleFailed(error)
      },
    })
    handle.number = number
    if (handle.state === 'pending' || handle.state === 'committed') this.#pending.set(number, pending)
    this.#onStateChanged()
    return handle
  }

  #forecast(payload: Uint8Array): CommandResult {
    const overlay = this.#optimisticOverlay()
    try {
      return this.#machine.apply(overlay, payload)
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
    this.#pending.delete(handle.number)
    this.#optimistic = null
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
    queueMicrotask(() => {
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
    if (this.#engine === null) return
    const status = statusOf(this.#engine)
    if (!sameStatus(status, this.#status)) {
      this.#status = status
      this.#dispatch('status', status)
    }
    const members = membersOf(this.#engine)
    if (!sameMembers(members, this.#members)) {
      this.#members = members
      this.#dispatch('members', members)
    }
  }

  async ready(
    options: { readonly members?: 'quorum' | 'all'; readonly timeoutMs?: number; readonly signal?: AbortSignal } = {},
  ): Promise<void> {
    const all = options.members === 'all'
    const isReady = () => this.#status.kind === 'ready' && (!all || this.#members.every((member) => member.connected))
    await this.#until(isReady, options, () => {
      const missing = this.#members.filter((member) => !member.connected && member.role === 'voter').map(({ id }) => id)
      return new WepaxosError('Timeout', `not ready in time: ${describeStatus(this.#status)}`, {
        status: this.#status,
        missing,
      })
    })
  }

  /** Waits until `condition` holds; rejects when the replica ends, the signal aborts, or the time is over. */
  #until(
    condition: () => boolean,
    { timeoutMs, signal }: { readonly timeoutMs?: number; readonly signal?: AbortSignal },
    tooLate: () => WepaxosError,
  ): Promise<void> {
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
    return {
      epoch: engine.epoch,
      executed: engine.application?.executed ?? 0,
      stateHash: engine.application?.stateHash() ?? sha256Hex(this.#nothing.snapshot()),
      voters: quorums?.n ?? 0,
      slowQuorum: quorums?.slow ?? 0,
      fastQuorum: quorums?.fast ?? 0,
      ...engine.counts,
      pending: engine.pendingCount,
      refused: engine.refused,
    }
  }

  checkpoint(): Promise<CheckpointInfo> {
    return this.#running.checkpoint()
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
    await engine.erase()
    this.#onChanged()
  }

  async close(): Promise<void> {
    await this.#engine?.close()
    this.#onChanged()
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }
}

class LocalHandle implements Handle<CommandResult> {
  readonly committed: Promise<void>
  readonly done: Promise<CommandResult>
  number = 0
  readonly #replica: ReplicaId
  readonly #pending: PendingCommand
  #state: 'pending' | 'committed' | 'done' | 'failed' = 'pending'
  #resolveCommitted: () => void = () => {}
  #resolveDone: (result: CommandResult) => void = () => {}
  #reject: (error: WepaxosError) => void = () => {}
  #stopWaiting: () => void = () => {}

  constructor(replica: ReplicaId, pending: PendingCommand, options: ProposeOptions, clock: Clock) {
    this.#replica = replica
    this.#pending = pending
    let rejectCommitted: (error: WepaxosError) => void = () => {}
    this.committed = new Promise((resolve, reject) => {
      this.#resolveCommitted = resolve
      rejectCommitted = reject
    })
    this.done = new Promise((resolve, reject) => {
      this.#resolveDone = resolve
      this.#reject = (error) => {
        rejectCommitted(error)
        reject(error)
      }
    })
    // whoever cares awaits one of both; the other is no unhandled rejection
    this.committed.catch(() => {})
    this.done.catch(() => {})
    this.#waitAtMost(options, clock)
  }

  #waitAtMost({ signal, timeoutMs }: ProposeOptions, clock: Clock): void {
    const giveUp = (why: string, cause?: unknown) =>
      this.#reject(new WepaxosError('OutcomeUnknown', `${why}; the command itself goes on`, { key: this.key }, cause))
    const aborted = () => giveUp('waiting was aborted', signal?.reason)
    signal?.addEventListener('abort', aborted, { once: true })
    const stopTimer =
      timeoutMs === undefined ? () => {} : clock.after(timeoutMs, () => giveUp(`no result after ${timeoutMs} ms`))
    this.#stopWaiting = () => {
      stopTimer()
      signal?.removeEventListener('abort', aborted)
    }
  }

  get key(): string {
    return `${this.#replica}:${this.number}`
  }

  get local(): CommandResult {
    return this.#pending.local ?? { ok: false, code: 'UNKNOWN_COMMAND' }
  }

  get state(): 'pending' | 'committed' | 'done' | 'failed' {
    return this.#state
  }

  settleCommitted(): void {
    if (this.#state === 'pending') this.#state = 'committed'
    this.#resolveCommitted()
  }

  settleDone(result: CommandResult): void {
    this.#stopWaiting()
    if (!result.ok && result.code === 'SESSION_EXPIRED') {
      this.settleFailed(
        new WepaxosError('OutcomeUnknown', 'this replica was no member for so long that its session is forgotten', {
          key: this.key,
        }),
      )
      return
    }
    this.#state = 'done'
    this.#resolveCommitted()
    this.#resolveDone(result)
  }

  settleFailed(error: WepaxosError): void {
    this.#stopWaiting()
    this.#state = 'failed'
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
