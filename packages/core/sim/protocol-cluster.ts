// A cluster of the real ReplicaStates of one epoch, with every message in flight in the caller's hand: what is delivered,
// lost, repeated, what crashes and when time passes is decided call by call, and nothing else happens. Checks after each
// operation what must hold at every replica and of everything committed. Observers and epochs are not here: sim/simulate.ts
// runs the whole runtime.
import { assert, must } from '../src/lib/assert.ts'
import type { AccessMode, BarrierCommand, Command, Footprint, Proposal } from '../src/protocol/command.ts'
import type { Input } from '../src/protocol/effect.ts'
import type { InstanceId, Row, Seq } from '../src/protocol/ids.ts'
import type { CommittedInstance } from '../src/protocol/instance.ts'
import type { Message } from '../src/protocol/message.ts'
import { defaultTimeouts, type ProtocolTimeouts, type ReplicaState } from '../src/protocol/state.ts'
import { ProtocolPromises } from './protocol-promises.ts'
import {
  type CommitPath,
  type DiskMode,
  deafSink,
  epochOf,
  type HostOperation,
  type HostSink,
  ReplicaHost,
  voterOf,
} from './replica-host.ts'

export { type CommitPath, type DiskMode, type HostSink, ReplicaHost, rowOf, voterOf } from './replica-host.ts'

/** A message on its way. `number` counts the messages of the cluster in the order in which they were sent. */
export interface Flight {
  readonly number: number
  readonly from: Row
  readonly to: Row
  readonly message: Message
}

export interface ClusterOptions {
  readonly n: number
  readonly disk?: DiskMode
  /** What is not said is as `defaultTimeouts` has it. */
  readonly timeouts?: Partial<ProtocolTimeouts>
  /** Without them nothing is caught up with but by recovery; a lost message is all that their absence can be. Default true. */
  readonly heartbeats?: boolean
  /** See HostOptions. Default Infinity: a restarted replica counts all of its reserved seqs as used. */
  readonly unusedSeqsMax?: number
  /** Called for what the replicas do, after the cluster has taken note of it. */
  readonly listener?: Partial<HostSink>
  /** Called for the state of the replica after each operation on it; throws where something is wrong. */
  readonly check?: (state: ReplicaState) => void
  /** Whether `clone` is possible: it costs memory for each operation. Default false. */
  readonly cloneable?: boolean
}

export interface Recorded {
  readonly operation: HostOperation
  readonly now: number
}

export class ProtocolCluster {
  readonly n: number
  readonly promises: ProtocolPromises
  readonly #options: ClusterOptions
  readonly #timeouts: { -readonly [Name in keyof ProtocolTimeouts]: ProtocolTimeouts[Name] }
  readonly #hosts: ReplicaHost[]
  readonly #history: Recorded[][]
  /** In the order in which they were sent. */
  #flights: Flight[] = []
  /** Of a cluster that can be cloned: all that was ever sent. */
  readonly #everSent: Flight[] = []
  #sent = 0
  #now = 0
  /** Links that are cut, as `a * n + b` with a < b. */
  readonly #cut: Set<number>

  /** All replicas are up and connected. */
  constructor(options: ClusterOptions, copyOf?: ProtocolCluster) {
    this.n = options.n
    this.#options = options
    this.#timeouts = { ...defaultTimeouts, ...options.timeouts }
    this.promises = new ProtocolPromises(copyOf?.promises)
    const rows = Array.from({ length: options.n }, (_, row) => row)
    this.#history = rows.map(() => [])
    this.#cut = new Set(copyOf?.cutLinks)
    const config = epochOf(options.n)
    this.#hosts = rows.map(
      (row) =>
        new ReplicaHost(
          {
            row,
            config,
            timeouts: this.#timeouts,
            disk: options.disk ?? 'instant',
            unusedSeqsMax: options.unusedSeqsMax ?? Number.POSITIVE_INFINITY,
          },
          deafSink,
        ),
    )
    if (copyOf === undefined) {
      for (const a of rows) {
        for (const b of rows) if (a !== b) this.#input(a, { kind: 'connected', peer: voterOf(b) })
        // the first heartbeats, which say nothing, are said to nobody
        this.#input(a, { kind: 'tick' })
      }
    } else {
      this.#now = copyOf.now
      this.#sent = copyOf.#sent
      this.#flights = [...copyOf.flights]
      this.#everSent.push(...copyOf.#everSent)
      for (const row of rows) {
        const host = this.host(row)
        for (const recorded of copyOf.#history[row] ?? []) {
          this.#history[row]?.push(recorded)
          host.perform(recorded.operation, recorded.now)
        }
      }
    }
    const sink = this.#sink()
    for (const host of this.#hosts) host.attach(sink)
  }

  /** Another cluster in the same state, that goes its own way. */
  clone(): ProtocolCluster {
    assert(this.#options.cloneable === true, 'only a cluster that was made for it is cloned')
    return new ProtocolCluster(this.#options, this)
  }

  // --- what is there ------------------------------------------------------------------------------------------------

  get now(): number {
    return this.#now
  }

  /** Messages on their way, in the order in which they were sent. */
  get flights(): readonly Flight[] {
    return this.#flights
  }

  get hosts(): readonly ReplicaHost[] {
    return this.#hosts
  }

  get cutLinks(): ReadonlySet<number> {
    return this.#cut
  }

  host(row: Row): ReplicaHost {
    return must(this.#hosts[row], 'a row of the cluster')
  }

  /** Of a cluster that can be cloned: what was done to the replica, in order. */
  historyOf(row: Row): readonly Recorded[] {
    return must(this.#history[row], 'a row of the cluster')
  }

  /** Of a cluster that can be cloned: every message that was ever sent. */
  get everSent(): readonly Flight[] {
    return this.#everSent
  }

  /** The state of a replica that is up. */
  state(row: Row): ReplicaState {
    return must(this.host(row).state, 'the replica is up')
  }

  isUp(row: Row): boolean {
    return this.host(row).isUp
  }

  /** What this life of the replica has executed, in order. */
  executed(row: Row): readonly CommittedInstance[] {
    return this.host(row).executed
  }

  areConnected(a: Row, b: Row): boolean {
    return this.isUp(a) && this.isUp(b) && !this.#cut.has(this.#link(a, b))
  }

  // --- what happens -------------------------------------------------------------------------------------------------

  canPropose(row: Row): boolean {
    return this.host(row).canPropose
  }

  propose(row: Row, command: Command): InstanceId {
    const id = { row, seq: this.state(row).nextSeq }
    this.promises.notePropose(id, command)
    this.#input(row, { kind: 'propose', command })
    return id
  }

  /** Starts a linearizable read, which the listener hears of as `readable`. */
  read(row: Row, read: number, footprint: Footprint): void {
    this.#input(row, { kind: 'read', read, footprint })
  }

  /** The message arrives: at a replica that is down it is lost. `keep`: it may arrive again. */
  deliver(flight: Flight, { keep = false } = {}): void {
    if (!keep) this.drop(flight)
    if (!this.isUp(flight.to)) return
    this.#input(flight.to, { kind: 'receive', from: voterOf(flight.from), message: flight.message })
  }

  /** The message is lost. */
  drop(flight: Flight): void {
    const at = this.#flights.indexOf(flight)
    assert(at >= 0, 'only what is on its way is delivered or lost')
    this.#flights.splice(at, 1)
  }

  /** Delivers what is on its way, oldest first, and what comes of it, as long as `wanted` says so. Says how many it were. */
  deliverAll(wanted: (flight: Flight) => boolean = () => true): number {
    let count = 0
    for (let next = this.#flights.find(wanted); next !== undefined; next = this.#flights.find(wanted)) {
      this.deliver(next)
      count++
    }
    return count
  }

  dropAll(wanted: (flight: Flight) => boolean = () => true): number {
    const before = this.#flights.length
    this.#flights = this.#flights.filter((flight) => !wanted(flight))
    return before - this.#flights.length
  }

  /** Time passes; no replica does anything for it before its tick. */
  advance(ms: number): void {
    this.#now += ms
  }

  /** The replica looks at the clock, and is told before what execution waits for. */
  tick(row: Row): void {
    const { executor, executed } = this.host(row)
    const needs = executor.needs.slice()
    if (needs.some((needed, of) => needed !== this.state(row).needs[of])) {
      this.#input(row, { kind: 'execution', needs, executed: executed.length })
    }
    this.#input(row, { kind: 'tick' })
  }

  /** Time passes, and every replica that is up looks at the clock. */
  tickAll(ms: number): void {
    this.advance(ms)
    for (const { row, isUp } of this.#hosts) if (isUp) this.tick(row)
  }

  canRecover(row: Row, id: InstanceId): boolean {
    return this.host(row).canRecover(id)
  }

  /** The replica starts to recover the instance now, whatever its timers say. */
  recover(row: Row, id: InstanceId): void {
    this.#operate(row, { kind: 'recover', id })
  }

  /** With a held disk: what has gathered becomes durable, and what waited for it happens. */
  write(row: Row): void {
    this.#operate(row, { kind: 'write' })
  }

  /**
   * The replica loses all that is not durable. `written`: what had gathered still reached the disk, though nobody heard of
   * it. `silently`: the others do not see that it is gone. What it sent stays on its way.
   */
  crash(row: Row, { written = false, silently = false } = {}): void {
    if (!silently) {
      for (const other of this.#others(row)) {
        if (this.areConnected(row, other)) this.#input(other, { kind: 'disconnected', peer: voterOf(row) })
      }
    }
    this.#operate(row, { kind: 'crash', written })
  }

  /** Starts again from its disk, and is connected again where no link is cut. */
  restart(row: Row): void {
    this.#operate(row, { kind: 'restart' })
    for (const other of this.#others(row)) {
      if (!this.areConnected(row, other)) continue
      this.#input(row, { kind: 'connected', peer: voterOf(other) })
      this.#input(other, { kind: 'connected', peer: voterOf(row) })
    }
  }

  /** Both see that the link is gone. What is on its way may still arrive. */
  disconnect(a: Row, b: Row): void {
    if (this.areConnected(a, b)) {
      this.#input(a, { kind: 'disconnected', peer: voterOf(b) })
      this.#input(b, { kind: 'disconnected', peer: voterOf(a) })
    }
    this.#cut.add(this.#link(a, b))
  }

  connect(a: Row, b: Row): void {
    if (!this.#cut.delete(this.#link(a, b)) || !this.areConnected(a, b)) return
    this.#input(a, { kind: 'connected', peer: voterOf(b) })
    this.#input(b, { kind: 'connected', peer: voterOf(a) })
  }

  /** From now on these hold for all replicas. */
  setTimeouts(timeouts: Partial<ProtocolTimeouts>): void {
    Object.assign(this.#timeouts, timeouts)
  }

  // --- inside -------------------------------------------------------------------------------------------------------

  #input(row: Row, input: Input): void {
    this.#operate(row, { kind: 'input', input })
  }

  #operate(row: Row, operation: HostOperation): void {
    const host = this.host(row)
    if (this.#options.cloneable === true) this.#history[row]?.push({ operation, now: this.#now })
    host.perform(operation, this.#now)
    if (host.state !== null) this.#options.check?.(host.state)
  }

  #others(row: Row): Row[] {
    return this.#hosts.map((host) => host.row).filter((other) => other !== row)
  }

  #link(a: Row, b: Row): number {
    return Math.min(a, b) * this.n + Math.max(a, b)
  }

  #sink(): HostSink {
    const { listener, heartbeats = true } = this.#options
    return {
      sent: (from: Row, to: Row, message: Message) => {
        if (message.type === 'Heartbeat' && !heartbeats) return
        const flight = { number: ++this.#sent, from, to, message }
        this.#flights.push(flight)
        if (this.#options.cloneable === true) this.#everSent.push(flight)
        listener?.sent?.(from, to, message)
      },
      committed: (by: Row, instance: CommittedInstance, path: CommitPath) => {
        this.promises.noteCommit(by, instance)
        listener?.committed?.(by, instance, path)
      },
      executed: (by: Row, instance: CommittedInstance, before: readonly CommittedInstance[]) => {
        this.promises.noteExecution(by, instance, before)
        listener?.executed?.(by, instance, before)
      },
      refused: (by, effect) => listener?.refused?.(by, effect),
      readable: (by, effect) => listener?.readable?.(by, effect),
    }
  }
}

// --- commands ---------------------------------------------------------------------------------------------------------

/** A command with one proposal, told apart from others by `number`. */
export function touching(number: number, footprint: Footprint): Command {
  const proposal: Proposal = {
    session: voterOf(0),
    number,
    ackedUpTo: 0,
    footprint,
    payload: new Uint8Array([number & 0xff, number >> 8]),
  }
  return { kind: 'application', proposals: [proposal] }
}

export function accessing(number: number, mode: AccessMode, key: number): Command {
  return touching(number, [{ key, mode }])
}

/** A barrier after which the first `n` voters go on. */
export function barrierFor(n: number): BarrierCommand {
  return { kind: 'barrier', next: epochOf(n).members }
}

/** The highest seq of the row that anybody knows of. */
export function knownSeq(cluster: ProtocolCluster, row: Row): Seq {
  return Math.max(0, ...cluster.hosts.map(({ state }) => state?.log.knownUpTo[row] ?? 0))
}
