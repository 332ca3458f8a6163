// The processes of a simulated cluster: started, crashed (also in the middle of a call to a port), robbed of their disks.
// What they do is looked at from here: invariants after each step, executions as they happen, failures.
import { Reader } from '../src/codec/bytes.ts'
import { controlEpoch, readControlMessage, readFrameHead } from '../src/codec/message.ts'
import { AssertionError } from '../src/lib/assert.ts'
import { WepaxosError } from '../src/lib/errors.ts'
import type { Random } from '../src/lib/random.ts'
import { checkInvariants } from '../src/protocol/invariants.ts'
import { quorumsOf } from '../src/protocol/quorum.ts'
import { defaultTimeouts, type ReplicaState } from '../src/protocol/state.ts'
import type { Replica, Status } from '../src/runtime/api.ts'
import { openReplicaIn } from '../src/runtime/open-replica.ts'
import { type AgreementChecker, Violation } from './agreement.ts'
import { type Damage, type DiskFaults, type DiskObserver, SimulatedDisk, type WritePoint } from './disk.ts'
import { type ExecutionChecker, LifeRecord } from './executions.ts'
import { type NetworkObserver, SimulatedNetwork } from './network.ts'
import { type Execution, type RecordedCommands, type RecordedQueries, recordedKv, type Sight } from './recorded-kv.ts'
import { ProcessClock, type World } from './world.ts'

export type RecordedReplica = Replica<RecordedCommands, RecordedQueries>

/** Where a process may die in the middle of what it does: at each call to a port. */
export const boundaries = [
  'frame leaves',
  'frame left',
  'begins',
  'is not durable yet',
  'is durable, untold',
  'is durable, told',
] as const
export type Boundary = (typeof boundaries)[number]

/** One process of the cluster, running or not. */
export interface Process {
  readonly name: string
  readonly disk: SimulatedDisk
  readonly founder: boolean
  /** Changes with every start and crash: what belongs to an earlier life is dead. */
  life: number
  replica: RecordedReplica | null
  clock: ProcessClock | null
  starting: boolean
  leaving: boolean
  /** Left for good, or lost its disk. */
  gone: boolean
  /** A barrier is undecided or not executed here: the members may be about to change. */
  knowsBarrier: boolean
  /** The command that is being forecast: what runs until then is no execution. */
  forecasting: number | null
  /** It dies at the boundary when it comes there for the `left`th time. */
  armed: { readonly boundary: Boundary; left: number } | null
  /** What local reads of this life showed, by key. */
  readonly shown: Map<string, Sight>
}

/** In relation to it runs the time after which a silent voter loses its seat. */
const silentMs = 20_000

export interface ClusterOptions {
  readonly votersMax: number
  readonly checkpointEvery: number
  /** Timeouts in relation to the usual ones. */
  readonly patience: number
}

export interface ClusterCounts {
  crashes: number
  boundaryCrashes: number
  writeFailures: number
  lostDisks: number
  olderDisks: number
  damagedDisks: number
  retired: number
  fastPath: number
  slowPath: number
  recoveries: number
  logPulls: number
  checkpointTransfers: number
}

export class SimulatedCluster implements NetworkObserver, DiskObserver {
  readonly processes: Process[] = []
  readonly network: SimulatedNetwork
  readonly counts: ClusterCounts = {
    crashes: 0,
    boundaryCrashes: 0,
    writeFailures: 0,
    lostDisks: 0,
    olderDisks: 0,
    damagedDisks: 0,
    retired: 0,
    fastPath: 0,
    slowPath: 0,
    recoveries: 0,
    logPulls: 0,
    checkpointTransfers: 0,
  }
  /** What went wrong that must not: looked at after each event. */
  failure: unknown = null
  readonly #world: World
  readonly #options: ClusterOptions
  readonly #diskFaults: DiskFaults
  readonly #agreement: AgreementChecker
  readonly #executions: ExecutionChecker

  constructor(
    world: World,
    faults: { readonly loss: number; readonly duplication: number; readonly delayMaxMs: number },
    diskFaults: DiskFaults,
    options: ClusterOptions,
    checkers: { readonly agreement: AgreementChecker; readonly executions: ExecutionChecker },
  ) {
    this.#world = world
    this.#options = options
    this.#diskFaults = diskFaults
    this.#agreement = checkers.agreement
    this.#executions = checkers.executions
    this.network = new SimulatedNetwork(world, { ...faults }, this)
  }

  add(founder: boolean): Process {
    const name = `p${this.processes.length}`
    const process: Process = {
      name,
      disk: new SimulatedDisk(this.#world, this.#diskFaults, this.#agreement, name, this),
      founder,
      life: 0,
      replica: null,
      clock: null,
      starting: false,
      leaving: false,
      knowsBarrier: false,
      gone: false,
      forecasting: null,
      armed: null,
      shown: new Map(),
    }
    this.processes.push(process)
    this.start(process)
    return process
  }

  start(process: Process): void {
    const life = ++process.life
    process.starting = true
    process.shown.clear()
    const isAlive = () => process.life === life
    const clock = new ProcessClock(this.#world, isAlive)
    process.clock = clock
    const dice = this.#world.random.fork()
    let anew = false
    const look = (status: Status) => {
      if (status.kind !== 'joining' || status.lost === undefined || anew) return
      // another replica in the same process: it executes from a checkpoint on
      anew = true
      this.counts.retired++
      record = new LifeRecord(`${process.name} (life ${life}, anew)`)
    }
    let record = new LifeRecord(`${process.name} (life ${life})`)
    const { votersMax, checkpointEvery, patience } = this.#options
    const { recoveryMs, patienceMs, suspectMs } = defaultTimeouts
    openReplicaIn(
      {
        partition: 'p',
        transport: this.network.transport(process.name, process.founder),
        storage: process.disk,
        machine: recordedKv((execution) => {
          if (isAlive()) this.#executed(process, record, execution)
        }),
        checkpointEvery,
        votersMax,
        timeouts: {
          recoveryMs: recoveryMs * patience,
          patienceMs: patienceMs * patience,
          suspectMs: suspectMs * patience,
          silentMs: silentMs * patience,
        },
      },
      {
        clock,
        randomBytes: (count) => Uint8Array.from({ length: count }, () => dice.integer(256)),
        onStep: this.#watch(process, isAlive),
      },
    ).then(
      (replica) => {
        if (!isAlive()) return
        process.replica = replica
        process.starting = false
        // its first write, before it says anything, may fail like any other
        if (replica.status.kind === 'failed') this.#failed(process, replica.status.error)
        look(replica.status)
        replica.addEventListener('status', ({ detail }) => {
          if (!isAlive()) return
          if (detail.kind === 'failed') this.#failed(process, detail.error)
          look(detail)
        })
      },
      (error: unknown) => {
        if (!isAlive()) return
        // that of a founder, too
        if (error instanceof WepaxosError && error.code === 'StorageFailed') this.#failed(process, error)
        else this.failure ??= error
      },
    )
  }

  /**
   * Looks at the protocol's state after each step of one life. The invariants go over the whole log, so in a long one they
   * are looked at less often: the work stays in proportion to the steps.
   */
  #watch(process: Process, isAlive: () => boolean): (state: ReplicaState) => void {
    let wait = 0
    let pull: ReplicaState['pull'] = null
    return (state) => {
      if (!isAlive()) return
      process.knowsBarrier = state.barriers.size > 0
      if (state.pull !== pull && state.pull !== null) this.counts.logPulls++
      pull = state.pull
      if (--wait > 0) return
      wait = state.log.knownUpTo.reduce((sum, seq) => sum + seq, 0) >> 2
      try {
        checkInvariants(state)
      } catch (error) {
        const why = error instanceof Error ? error.message : String(error)
        this.failure ??= new Violation(`Invariant: ${why}`, { cause: error })
      }
    }
  }

  #executed(process: Process, record: LifeRecord, execution: Execution): void {
    if (process.forecasting !== null) {
      // the forecast of a command follows those of the commands before it, and ends them
      if (execution.tag === process.forecasting) process.forecasting = null
      return
    }
    try {
      this.#executions.executed(record, execution)
    } catch (error) {
      this.failure ??= error
    }
  }

  /** A replica stopped by itself: right after a failed write, wrong for any other reason. */
  #failed(process: Process, error: WepaxosError): void {
    if (error.code === 'StorageFailed') {
      this.counts.writeFailures++
      this.#world.at(0, () => this.#die(process))
      return
    }
    const assertion = error.cause instanceof AssertionError ? 'Assertion' : error.code
    this.failure ??= new Violation(`${assertion}: ${process.name} stopped: ${error.message}`, { cause: error })
  }

  crash(process: Process): void {
    this.counts.crashes++
    this.#die(process)
  }

  #die(process: Process): void {
    if (process.replica !== null) this.collect(process.replica)
    process.life++
    process.replica = null
    process.starting = false
    process.leaving = false
    process.armed = null
    process.forecasting = null
    process.disk.crash()
    this.network.detach(process.name)
  }

  /** It is no more: its end of the network, its timers. */
  retire(process: Process): void {
    if (process.replica !== null) this.collect(process.replica)
    process.gone = true
    process.life++
    process.replica = null
    this.network.detach(process.name)
  }

  /** The disk is lost, and with it all that the replica was: what comes back in its place is another. */
  loseDisk(process: Process): Process {
    this.counts.lostDisks++
    this.#die(process)
    process.gone = true
    return this.add(false)
  }

  /**
   * The disk comes back as it was earlier, when everybody else's disk holds that it had come further: so whoever of them is
   * met first, after whatever, knows. False where there is no such moment.
   */
  takeBackDisk(process: Process): boolean {
    const { replica } = process
    if (replica === null) return false
    const { id } = replica
    const voters = replica.members.filter(({ role, self }) => role === 'voter' && !self).map((member) => member.id)
    const others = this.processes.filter((one) => one.replica !== null && voters.includes(one.replica.id))
    const remembered = Math.min(...others.map(({ disk }) => disk.remembersOf(id)))
    this.#die(process)
    const done = process.disk.comeBackOlder(id, remembered)
    if (done) this.counts.olderDisks++
    return done
  }

  /** Some records are lost or wrong. False where there was nothing to damage in that way. */
  damageDisk(process: Process, how: Damage): boolean {
    const { replica } = process
    if (replica === null) return false
    const { id } = replica
    this.#die(process)
    const done = process.disk.damage(id, how)
    if (done) this.counts.damagedDisks++
    return done
  }

  /**
   * Whether the others can go on for ever without this one: all seats are taken, all who sit there run, in one epoch whose
   * start they hold, and nobody is about to change that. So what is lost is one of the f that may be.
   */
  canLose(process: Process): boolean {
    const { replica } = process
    if (replica === null || replica.status.kind !== 'ready') return false
    const { epoch, voters } = replica.stats()
    const { votersMax } = this.#options
    const seats = votersMax - (1 - (votersMax % 2)) // the number of voters is kept odd
    const ids = replica.members.filter(({ role }) => role === 'voter').map(({ id }) => id)
    const holders = this.processes.filter(
      (one) =>
        one.replica !== null &&
        ids.includes(one.replica.id) &&
        one.replica.stats().epoch === epoch &&
        one.disk.newestEpoch === epoch,
    )
    return (
      voters === seats &&
      holders.length === voters &&
      holders.includes(process) &&
      voters - 1 >= quorumsOf(voters).slow &&
      !this.processes.some(({ leaving, knowsBarrier, gone }) => (leaving || knowsBarrier) && !gone)
    )
  }

  arm(process: Process, boundary: Boundary, left: number): void {
    process.armed = { boundary, left }
  }

  onFrame(name: string, frame: Uint8Array, when: 'leaves' | 'left'): void {
    if (when === 'leaves' && isEndOfCheckpoint(frame)) this.counts.checkpointTransfers++
    this.#reached(name, when === 'leaves' ? 'frame leaves' : 'frame left')
  }

  onWrite(name: string, point: WritePoint): void {
    this.#reached(name, point)
  }

  #reached(name: string, boundary: Boundary): void {
    const process = this.processes.find((one) => one.name === name)
    const armed = process?.armed
    if (process === undefined || armed === undefined || armed === null) return
    if (armed.boundary !== boundary || --armed.left > 0) return
    this.counts.boundaryCrashes++
    this.#die(process)
  }

  collect(replica: RecordedReplica): void {
    const { fastPath, slowPath, recoveries } = replica.stats()
    this.counts.fastPath += fastPath
    this.counts.slowPath += slowPath
    this.counts.recoveries += recoveries
  }

  running(): Process[] {
    return this.processes.filter((process) => process.replica !== null && !process.gone)
  }

  /** Down, and may come back. */
  down(): Process[] {
    return this.processes.filter((process) => process.replica === null && !process.starting && !process.gone)
  }

  describe(): string {
    return this.processes
      .map(({ name, replica, gone }) => {
        if (gone) return `${name} gone`
        if (replica === null) return `${name} down`
        const { epoch, executed, pending, stateHash } = replica.stats()
        return `${name} ${replica.id.slice(0, 4)} ${replica.status.kind} epoch ${epoch} executed ${executed} pending ${pending} ${stateHash.slice(0, 6)}`
      })
      .join(', ')
  }
}

export function oneOf(dice: Random, processes: readonly Process[]): Process | null {
  return processes.length === 0 ? null : dice.pick(processes)
}

/** Whether the frame carries the last chunk of a checkpoint. */
function isEndOfCheckpoint(frame: Uint8Array): boolean {
  const reader = new Reader(frame)
  if (readFrameHead(reader).epoch !== controlEpoch) return false
  const message = readControlMessage(reader)
  return message.type === 'CheckpointChunk' && message.offset + message.bytes.length === message.totalBytes
}
