// One real replica of one epoch with its disk and its executor: carries out effects under the contract of
// protocol/effect.ts, synchronously. What it does is a function of the operations it was given, so a copy is made by
// giving another the same ones. What it says to others goes to a sink; protocol-cluster.ts makes a cluster of these.
import { Executor } from '../src/execution/executor.ts'
import { assert, must, unreachable } from '../src/lib/assert.ts'
import type { Command } from '../src/protocol/command.ts'
import type { Effect, Input } from '../src/protocol/effect.ts'
import { type InstanceId, type ReplicaId, type Row, replicaId, type Seq } from '../src/protocol/ids.ts'
import {
  type CommittedInstance,
  type Instance,
  type InstanceKey,
  instanceKey,
  isCommitted,
} from '../src/protocol/instance.ts'
import type { Message } from '../src/protocol/message.ts'
import { canPropose } from '../src/protocol/pre-accept.ts'
import { startRecovery } from '../src/protocol/recovery.ts'
import { step } from '../src/protocol/replica.ts'
import {
  createReplicaState,
  type EpochConfig,
  type ProtocolTimeouts,
  type ReplicaState,
  seqBlock,
} from '../src/protocol/state.ts'

/** The voter of `row`: 32 times the digit of its row. */
export function voterOf(row: Row): ReplicaId {
  return replicaId(String(row).repeat(32))
}

/** The row that `voterOf` gave the id for. */
export function rowOf(id: ReplicaId): Row {
  return Number(id[0])
}

/** Of an epoch of n voters and no observers. */
export function epochOf(n: number): EpochConfig {
  return { epoch: 1, members: { voters: Array.from({ length: n }, (_, row) => voterOf(row)), observers: [] } }
}

/**
 * `instant`: each persist is durable at once, and what is only kept with the next of them. `held`: what was written
 * gathers, with all that waits for it, until `write`.
 */
export type DiskMode = 'instant' | 'held'

export interface HostOptions {
  readonly row: Row
  readonly config: EpochConfig
  readonly timeouts: ProtocolTimeouts
  readonly disk: DiskMode
  /**
   * How many of the seqs that were reserved and never used are still counted at a restart. A replica does nothing with
   * unused seqs but have them end as Nop, so that a small number leaves out only more of the same. Infinity: as on disk.
   */
  readonly unusedSeqsMax: number
}

/** All that can happen to a host. */
export type HostOperation =
  | { readonly kind: 'input'; readonly input: Input }
  /** Start a recovery now, whatever the timers say. */
  | { readonly kind: 'recover'; readonly id: InstanceId }
  /** What has gathered becomes durable, and what waited for it happens. */
  | { readonly kind: 'write' }
  /** `written`: the batch still reached the disk, but nothing that waited for it happened. */
  | { readonly kind: 'crash'; readonly written: boolean }
  | { readonly kind: 'restart' }

/** Where a host tells what others can see. */
export interface HostSink {
  sent(from: Row, to: Row, message: Message): void
  committed(by: Row, instance: CommittedInstance, path: CommitPath): void
  /** `before` is what this replica executed before, in order. */
  executed(by: Row, instance: CommittedInstance, before: readonly CommittedInstance[]): void
  refused(by: Row, effect: Extract<Effect, { kind: 'refused' }>): void
  readable(by: Row, effect: Extract<Effect, { kind: 'readable' }>): void
}

export type CommitPath = Extract<Effect, { kind: 'committed' }>['path']

/** Hears nothing. */
export const deafSink: HostSink = { sent() {}, committed() {}, executed() {}, refused() {}, readable() {} }

type Write = Extract<Effect, { kind: 'persist' | 'keep' | 'reserve' }>
type Action = Exclude<Effect, { kind: 'persist' | 'keep' | 'reserve' | 'sync' }>

export class ReplicaHost {
  readonly row: Row
  readonly #options: HostOptions
  #sink: HostSink
  #state: ReplicaState | null
  #executor: Executor
  /** What this life has executed, in order. */
  #executed: CommittedInstance[] = []
  /** This life's commits, in the order in which execution heard of them. */
  #commits: CommittedInstance[] = []
  readonly #disk = new Map<InstanceKey, Instance>()
  #diskReservedSeq: Seq = seqBlock
  /** The highest own seq that was ever taken. */
  #usedSeq: Seq = 0
  /** Not yet durable, and what waits for that, in order. */
  #pending: (Write | Action)[] = []
  #writes = 0
  #inbox: Input[] = []
  #now = 0

  constructor(options: HostOptions, sink: HostSink) {
    this.row = options.row
    this.#options = options
    this.#sink = sink
    this.#executor = this.#newExecutor()
    this.#state = createReplicaState({
      self: voterOf(options.row),
      config: options.config,
      timeouts: options.timeouts,
      now: 0,
      reservedSeq: seqBlock,
      durableSeq: seqBlock,
      instances: [],
      restarted: false,
    })
  }

  /** Null while it is down. */
  get state(): ReplicaState | null {
    return this.#state
  }

  get isUp(): boolean {
    return this.#state !== null
  }

  get executed(): readonly CommittedInstance[] {
    return this.#executed
  }

  /** The order matters to nothing but a copy of the executor. */
  get commits(): readonly CommittedInstance[] {
    return this.#commits
  }

  /** The executor of this life. */
  get executor(): Executor {
    return this.#executor
  }

  /** What a restart would find. */
  get disk(): ReadonlyMap<InstanceKey, Instance> {
    return this.#disk
  }

  get diskReservedSeq(): Seq {
    return this.#diskReservedSeq
  }

  /** Seqs up to here count as used when it restarts. */
  get restartSeq(): Seq {
    return Math.min(this.#diskReservedSeq, this.#usedSeq + this.#options.unusedSeqsMax)
  }

  /** What is not durable yet, and what waits for that. */
  get pending(): readonly (Write | Action)[] {
    return this.#pending
  }

  /** Whether a coordinator may be asked for a new command: a live voter, no barrier known, the epoch not over. */
  get canPropose(): boolean {
    return this.#state !== null && this.#executor.endedBy === null && canPropose(this.#state)
  }

  /**
   * Whether a recovery may begin: not of what is committed, nor beside another attempt of this replica. A validation that
   * is not answered is given up for another recovery, as the timers do when one of its quorum is silent.
   */
  canRecover(id: InstanceId): boolean {
    const state = this.#state
    if (state === null || isCommitted(state.log.get(id))) return false
    const attempt = state.attempts.get(instanceKey(id))
    return attempt === undefined || attempt.kind === 'validating'
  }

  perform(operation: HostOperation, now: number): void {
    this.#now = Math.max(this.#now, now)
    switch (operation.kind) {
      case 'input':
        this.#carryOut(step(this.#up(), operation.input, this.#now))
        break
      case 'recover': {
        assert(this.canRecover(operation.id), 'a recovery begins only where one is possible')
        const state = this.#up()
        state.now = this.#now
        const effects: Effect[] = []
        startRecovery(state, operation.id, effects)
        this.#carryOut(effects)
        break
      }
      case 'write':
        this.#up()
        this.#complete()
        break
      case 'crash':
        this.#crash(operation.written)
        return
      case 'restart':
        this.#restart()
        return
      default:
        unreachable(operation)
    }
    this.#drain()
  }

  propose(command: Command, now: number): InstanceId {
    const state = this.#up()
    const id = { row: this.row, seq: state.nextSeq }
    this.perform({ kind: 'input', input: { kind: 'propose', command } }, now)
    return id
  }

  /** Speaks to another from now on: a copy is made in silence. */
  attach(sink: HostSink): void {
    this.#sink = sink
  }

  /** Answers to itself come after what the step that gave them wanted, as in the engine. */
  #drain(): void {
    for (let input = this.#inbox.shift(); input !== undefined; input = this.#inbox.shift()) {
      this.#carryOut(step(this.#up(), input, this.#now))
    }
  }

  #up(): ReplicaState {
    return must(this.#state, 'nothing is asked of a replica that is down')
  }

  #carryOut(effects: readonly Effect[]): void {
    const instant = this.#options.disk === 'instant'
    this.#usedSeq = Math.max(this.#usedSeq, this.#up().nextSeq - 1)
    let gated = false
    for (const effect of effects) {
      switch (effect.kind) {
        case 'persist':
        case 'reserve':
          this.#pending.push(effect)
          this.#writes++
          gated = true
          if (instant) this.#complete()
          break
        case 'keep':
          this.#pending.push(effect)
          this.#writes++
          break
        case 'sync':
          gated = true
          if (instant) this.#complete()
          break
        default:
          if (gated && this.#writes > 0) {
            this.#pending.push(effect)
            if (instant) this.#complete()
          } else this.#perform(effect)
      }
    }
  }

  /** All that has gathered is durable; what waited for it happens, in order. */
  #complete(): void {
    const batch = this.#pending
    if (batch.length === 0) return
    this.#pending = []
    this.#writes = 0
    for (const one of batch) this.#write(one)
    for (const one of batch) if (!isWrite(one)) this.#perform(one)
  }

  #write(one: Write | Action): void {
    if (one.kind === 'persist' || one.kind === 'keep') this.#disk.set(instanceKey(one.instance.id), one.instance)
    else if (one.kind === 'reserve') this.#diskReservedSeq = Math.max(this.#diskReservedSeq, one.upTo)
  }

  #perform(effect: Action): void {
    switch (effect.kind) {
      case 'send':
        this.#checkReserved(effect.message)
        for (const to of effect.to) this.#sink.sent(this.row, rowOf(to), effect.message)
        return
      case 'then':
        this.#inbox.push(effect.input)
        return
      case 'committed':
        this.#sink.committed(this.row, effect.instance, effect.path)
        this.#commits.push(effect.instance)
        this.#executor.commit(effect.instance)
        this.#executor.run()
        return
      case 'readable':
        this.#sink.readable(this.row, effect)
        return
      case 'refused':
        this.#sink.refused(this.row, effect)
        return
      default:
        unreachable(effect)
    }
  }

  /** [DU1] A seq is named to others only when its reservation is durable: else it could be taken twice. */
  #checkReserved(message: Message): void {
    if (message.type !== 'PreAccept') return
    assert(
      message.id.seq <= this.#diskReservedSeq,
      `[DU1] seq ${message.id.seq} left before its reservation was durable`,
    )
  }

  #crash(written: boolean): void {
    this.#up()
    if (written) for (const one of this.#pending) this.#write(one)
    this.#pending = []
    this.#writes = 0
    this.#inbox = []
    this.#state = null
    this.#executed = []
    this.#commits = []
    this.#executor = this.#newExecutor()
  }

  #restart(): void {
    assert(this.#state === null, 'only a replica that is down restarts')
    const { config, timeouts } = this.#options
    const { restartSeq } = this
    this.#usedSeq = restartSeq
    const state = createReplicaState({
      self: voterOf(this.row),
      config,
      timeouts,
      now: this.#now,
      reservedSeq: restartSeq,
      durableSeq: restartSeq,
      instances: [...this.#disk.values()],
      restarted: true,
    })
    this.#state = state
    for (const instance of state.log.all()) {
      if (!isCommitted(instance)) continue
      this.#commits.push(instance)
      this.#executor.commit(instance)
    }
    this.#executor.run()
  }

  #newExecutor(): Executor {
    return new Executor(this.#options.config.members.voters.length, (instance) => {
      this.#sink.executed(this.row, instance, this.#executed)
      this.#executed.push(instance)
    })
  }
}

function isWrite(one: Write | Action): one is Write {
  return one.kind === 'persist' || one.kind === 'keep' || one.kind === 'reserve'
}
