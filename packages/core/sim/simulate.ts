// One simulated life of a cluster, from one seed: the runtime that ships, on a simulated network, disk and clock. First a
// time in which everything goes wrong, then all is healed and everything has to finish; then the history is judged.

import { WepaxosError } from '../src/lib/errors.ts'
import { createRandom, type Random } from '../src/lib/random.ts'
import type { Value } from '../src/lib/value.ts'
import { AgreementChecker, Violation } from './agreement.ts'
import { boundaries, oneOf, type Process, type RecordedReplica, SimulatedCluster } from './cluster.ts'
import { type DiskFaults, damages } from './disk.ts'
import { ExecutionChecker } from './executions.ts'
import { type AdventureKind, drawAdventure, drawPlan, type FaultKind, type FaultPlan } from './faults.ts'
import type { Call, Command, CommandCall, Read, ReadCall } from './history.ts'
import { judgeOrder } from './order-judge.ts'
import type { Sight } from './recorded-kv.ts'
import { type Figure, type Figures, noFigures } from './report.ts'
import { Workload, type WorkloadName, workloadNames } from './workload.ts'
import { World } from './world.ts'

export interface SimulationOptions {
  readonly seed: number
  /** Steps of the time in which things go wrong: each proposes, breaks or mends something. */
  readonly steps: number
  readonly replicas: number
  /** What is not to happen. Leaving one thing out does not shift the rest. */
  readonly without?: ReadonlySet<FaultKind>
  /** Instead of the seed's own. */
  readonly workload?: WorkloadName
  /** Only these steps do anything; in the others time passes. */
  readonly only?: ReadonlySet<number>
  /** Judges more than what every run has to keep: called when all is over; throws what it finds. */
  readonly alsoJudge?: (calls: readonly Call[]) => void
}

export interface SimulationReport {
  readonly seed: number
  readonly workload: WorkloadName
  readonly figures: Figures
  readonly calls: readonly Call[]
}

/** A run that broke a promise. The message names the seed; `trace` says what was done when. */
export class SimulationFailure extends Error {
  readonly options: SimulationOptions
  /** Which promise: see Violation. */
  readonly promise: string
  readonly trace: readonly TraceEntry[]
  readonly calls: readonly Call[]

  constructor(
    options: SimulationOptions,
    at: number,
    cause: unknown,
    trace: readonly TraceEntry[],
    calls: readonly Call[],
  ) {
    const why = cause instanceof Error ? cause.message : String(cause)
    super(
      `seed ${options.seed}, ${options.replicas} replicas, ${options.steps} steps, at ${Math.round(at)} ms: ${why}`,
      {
        cause,
      },
    )
    this.options = options
    this.promise = promiseOf(cause)
    this.trace = trace
    this.calls = calls
  }
}

function promiseOf(cause: unknown): string {
  if (cause instanceof Violation) return cause.promise
  if (cause instanceof WepaxosError) return cause.code
  return cause instanceof Error ? cause.name : 'unknown'
}

export interface TraceEntry {
  readonly step: number
  readonly atMs: number
  readonly what: string
}

/** After healing everything has to be finished within this. */
const settleMs = 180_000
/** Commands of one replica without an answer; a client waits rather than add to them. */
const pendingMax = 12

/** Throws a SimulationFailure. */
export async function simulate(options: SimulationOptions): Promise<SimulationReport> {
  return new Simulation(options).run()
}

class Simulation {
  readonly #options: SimulationOptions
  readonly #world: World
  readonly #cluster: SimulatedCluster
  readonly #diskFaults: DiskFaults
  readonly #plan: FaultPlan
  readonly #workload: Workload
  readonly #agreement = new AgreementChecker()
  readonly #executions = new ExecutionChecker()
  readonly #calls: Call[] = []
  /** Reads that were refused: they say nothing. */
  readonly #failedReads = new Set<ReadCall>()
  readonly #trace: TraceEntry[] = []
  readonly #figures = noFigures()
  #step = 0
  #tags = 0
  #healing = false

  constructor(options: SimulationOptions) {
    const { seed, replicas } = options
    this.#options = options
    this.#world = new World(seed)
    const plan = drawPlan(createRandom(seed + 0.5), options.without ?? new Set())
    this.#plan = plan
    this.#workload = new Workload(options.workload ?? createRandom(seed + 0.25).pick(workloadNames))
    this.#diskFaults = { writeMaxMs: plan.diskMaxMs, failure: 0 }
    const { loss, duplication, delayMaxMs, checkpointEvery, patience } = plan
    this.#cluster = new SimulatedCluster(
      this.#world,
      { loss, duplication, delayMaxMs },
      this.#diskFaults,
      { votersMax: replicas, checkpointEvery, patience },
      { agreement: this.#agreement, executions: this.#executions },
    )
  }

  async run(): Promise<SimulationReport> {
    const { seed, steps, replicas } = this.#options
    try {
      await this.#assemble(replicas)
      await this.#misadventure(steps)
      await this.#heal()
      this.#judge()
      this.#options.alsoJudge?.(this.#calls)
    } catch (error) {
      throw new SimulationFailure(this.#options, this.#world.now, error, this.#trace, this.#calls)
    }
    return { seed, workload: this.#workload.name, figures: this.#count(), calls: this.#calls }
  }

  #count(): Figures {
    const figures = this.#figures
    const answered = this.#calls.filter((call) => call.return !== null)
    const commands = answered.filter((call) => call.kind === 'command')
    const sum = (pick: (failures: { error: number; quota: number }) => number) =>
      this.#cluster.processes.reduce((all, { disk }) => all + pick(disk.failures), 0)
    return {
      ...figures,
      ...this.#agreement.counts(),
      crashes: this.#cluster.counts.crashes,
      boundaryCrashes: this.#cluster.counts.boundaryCrashes,
      lostDisks: this.#cluster.counts.lostDisks,
      olderDisks: this.#cluster.counts.olderDisks,
      damagedDisks: this.#cluster.counts.damagedDisks,
      retired: this.#cluster.counts.retired,
      fastPath: this.#cluster.counts.fastPath,
      slowPath: this.#cluster.counts.slowPath,
      recoveries: this.#cluster.counts.recoveries,
      logPulls: this.#cluster.counts.logPulls,
      checkpointTransfers: this.#cluster.counts.checkpointTransfers,
      events: this.#world.ran,
      simulatedMs: Math.round(this.#world.now),
      framesSent: this.#cluster.network.frames,
      framesLost: this.#cluster.network.lost,
      commands: this.#tags,
      commandsAnswered: commands.length,
      transactions: commands.filter(({ command }) => command.op === 'transact').length,
      additions: commands.filter(({ command }) => command.op === 'add').length,
      reads: answered.length - commands.length,
      listReads: answered.filter((call) => call.kind === 'read' && call.read.op === 'list').length,
      executions: this.#executions.count,
      writeErrors: sum(({ error }) => error),
      quotaErrors: sum(({ quota }) => quota),
      epochs: this.#agreement.epochs,
    }
  }

  // --- time ---------------------------------------------------------------------------------------------------------

  async #until(condition: () => boolean, withinMs: number, what: () => string): Promise<void> {
    const deadline = this.#world.now + withinMs
    let done = false
    const ended = await this.#world.run(() => {
      if (this.#cluster.failure !== null || this.#world.now > deadline) return true
      done = condition()
      return done
    })
    if (this.#cluster.failure !== null) throw this.#cluster.failure
    if (done) return
    const limit = ended === 'stopped' ? `not within ${withinMs} ms` : 'and nothing is left to happen'
    throw new Violation(`Liveness: ${limit}: ${what()}`)
  }

  async #pass(ms: number): Promise<void> {
    let over = false
    this.#world.at(ms, () => {
      over = true
    })
    await this.#world.run(() => over || this.#cluster.failure !== null)
    if (this.#cluster.failure !== null) throw this.#cluster.failure
  }

  // --- phases -------------------------------------------------------------------------------------------------------

  async #assemble(replicas: number): Promise<void> {
    const cluster = this.#cluster
    cluster.add(true)
    // the founder's process comes up first; the others join at once
    await this.#until(
      () => cluster.running().length === 1,
      10_000,
      () => 'the founding',
    )
    for (let index = 1; index < replicas; index++) cluster.add(false)
    const seats = replicas - (1 - (replicas % 2)) // the number of voters is kept odd
    const isReady = ({ replica }: Process) => {
      const voters = replica?.members.filter(({ role }) => role === 'voter').length
      return replica?.status.kind === 'ready' && voters === seats
    }
    await this.#until(
      () => cluster.running().filter(isReady).length === replicas,
      settleMs,
      () => `${replicas} voters: ${cluster.describe()}`,
    )
  }

  async #misadventure(steps: number): Promise<void> {
    const { only } = this.#options
    this.#diskFaults.failure = this.#plan.writeFailure
    const dice = createRandom(this.#options.seed + 0.75)
    for (this.#step = 0; this.#step < steps; this.#step++) {
      // dice of its own for each step: to leave one out does not change the others
      const own = dice.fork()
      const pauseMs = own.chance(0.03) ? own.next() * 400 : own.next() * 6
      if (only === undefined || only.has(this.#step)) this.#act(own)
      await this.#pass(pauseMs)
    }
  }

  #act(dice: Random): void {
    const kind = drawAdventure(dice, this.#plan)
    if (kind !== null) this.#adventure(kind, dice)
    else if (dice.chance(0.04)) this.#lookLocally(dice)
    else this.#call(dice)
  }

  #note(what: string, figure?: Figure): void {
    this.#trace.push({ step: this.#step, atMs: this.#world.now, what })
    this.#figures.adventures++
    if (figure !== undefined) this.#figures[figure]++
  }

  /** Mends what an adventure broke, unless all is mended already. */
  #later(ms: number, mend: () => void): void {
    this.#world.at(ms, () => {
      if (!this.#healing) mend()
    })
  }

  // --- adventures ---------------------------------------------------------------------------------------------------

  #adventure(kind: AdventureKind, dice: Random): void {
    const cluster = this.#cluster
    const process = oneOf(dice, cluster.running())
    const [one, other] = dice.shuffle(cluster.processes.filter(({ gone }) => !gone))
    switch (kind) {
      case 'crash':
      case 'boundary crash':
        if (process !== null) this.#crash(process, kind, dice)
        return
      case 'full disk':
        if (process === null) return
        this.#note(`the disk of ${process.name} is full`)
        process.disk.fullUntil = this.#world.now + 50 + dice.next() * 1_000
        this.#revive(process, 100 + dice.next() * 2_000)
        return
      case 'slow disk':
        if (process === null) return
        this.#note(`the disk of ${process.name} is slow`, 'slowDisks')
        process.disk.slowUntil = this.#world.now + dice.next() * 3_000
        process.disk.slowMs = dice.pick([50, 200, 1_000])
        return
      case 'cut':
      case 'one-way cut':
      case 'flapping link':
        if (one !== undefined && other !== undefined) this.#breakLink(kind, one.name, other.name, dice)
        return
      case 'split':
        this.#split(dice)
        return
      case 'frozen timers':
        if (process === null || process.clock === null) return
        this.#note(`the timers of ${process.name} stand still`, 'frozenTimers')
        process.clock.frozenUntil = this.#world.now + dice.next() * 6_000
        return
      case 'clock jump':
        if (process === null || process.clock === null) return
        this.#note(`the clock of ${process.name} jumps ahead`, 'clockJumps')
        process.clock.jump(dice.pick([100, 1_000, 10_000, 3_600_000]))
        return
      case 'join':
        if (cluster.processes.filter(({ gone }) => !gone).length >= this.#options.replicas + 3) return
        this.#note(`${cluster.add(false).name} joins`, 'joins')
        return
      case 'leave': {
        const members = cluster.running().filter(({ replica }) => replica?.status.kind === 'ready')
        if (process === null || members.length <= 2 || process.replica?.status.kind !== 'ready') return
        this.#note(`${process.name} leaves`)
        this.#leave(process)
        return
      }
      case 'checkpoint':
        if (process === null || process.replica?.status.kind !== 'ready') return
        this.#note(`${process.name} asks for a checkpoint`, 'checkpoints')
        process.replica.checkpoint().catch((error: unknown) => this.#mayFail(process, process.life, error))
        return
      case 'lost disk':
        if (process === null || !cluster.canLose(process)) return
        this.#note(`${process.name} loses its disk and comes back as ${cluster.loseDisk(process).name}`)
        return
      case 'older disk':
      case 'damaged disk': {
        if (process === null || !cluster.canLose(process)) return
        const how = dice.pick(damages)
        const done = kind === 'older disk' ? cluster.takeBackDisk(process) : cluster.damageDisk(process, how)
        const came = kind === 'older disk' ? 'older' : `damaged (${how})`
        this.#note(`${process.name} crashes${done ? `, and its disk comes back ${came}` : ''}`)
        this.#revive(process, dice.next() * 2_000)
        return
      }
      default:
        kind satisfies never
    }
  }

  #crash(process: Process, kind: 'crash' | 'boundary crash', dice: Random): void {
    if (kind === 'crash') {
      this.#note(`${process.name} crashes`)
      this.#cluster.crash(process)
    } else {
      const boundary = dice.pick(boundaries)
      const left = 1 + dice.integer(12)
      this.#note(`${process.name} is to crash when "${boundary}" comes for time ${left}`)
      this.#cluster.arm(process, boundary, left)
    }
    this.#revive(process, dice.chance(0.7) ? dice.next() * 800 : dice.next() * 6_000)
  }

  /** If it is down by then, it starts again. */
  #revive(process: Process, afterMs: number): void {
    this.#later(afterMs, () => {
      for (const down of this.#cluster.down()) if (down === process) this.#cluster.start(down)
    })
  }

  #breakLink(kind: 'cut' | 'one-way cut' | 'flapping link', one: string, other: string, dice: Random): void {
    const { network } = this.#cluster
    const lastsMs = dice.chance(0.5) ? dice.next() * 300 : dice.next() * 5_000
    if (kind === 'cut') {
      this.#note(`the link ${one}–${other} breaks`, 'cuts')
      network.cut(one, other)
      this.#later(lastsMs, () => network.mend(one, other))
    } else if (kind === 'one-way cut') {
      this.#note(`frames ${one} → ${other} vanish`, 'oneWayCuts')
      network.cutSilently(one, other)
      this.#later(lastsMs, () => network.mendSilently(one, other))
    } else {
      this.#note(`the link ${one}–${other} flaps`, 'flaps')
      const everyMs = dice.pick([5, 40, 300])
      const flap = (times: number) => {
        if (times % 2 === 1) network.cut(one, other)
        else network.mend(one, other)
        if (times > 0) this.#later(everyMs, () => flap(times - 1))
      }
      flap(1 + 2 * dice.integer(6))
    }
  }

  #split(dice: Random): void {
    const names = dice.shuffle(this.#cluster.processes.filter(({ gone }) => !gone).map(({ name }) => name))
    if (names.length < 2) return
    const left = names.slice(0, 1 + dice.integer(names.length - 1))
    const right = names.slice(left.length)
    const silent = dice.chance(0.4)
    this.#note(`${left} and ${right} are split${silent ? ' silently' : ''}`, silent ? 'silentSplits' : 'splits')
    const { network } = this.#cluster
    const both = (act: (a: string, b: string) => void) => {
      for (const one of left) for (const other of right) act(one, other)
    }
    both((a, b) => {
      if (!silent) network.cut(a, b)
      else {
        network.cutSilently(a, b)
        network.cutSilently(b, a)
      }
    })
    this.#later(dice.next() * 4_000, () =>
      both((a, b) => {
        network.mend(a, b)
        network.mendSilently(a, b)
        network.mendSilently(b, a)
      }),
    )
  }

  #leave(process: Process): void {
    const { life, replica } = process
    if (replica === null || process.leaving) return
    process.leaving = true
    const wasRemoved = replica.status.kind === 'removed'
    replica.leave({ timeoutMs: 20_000 }).then(
      () => {
        if (process.life !== life) return
        if (!wasRemoved) this.#figures.leaves++
        this.#cluster.retire(process)
      },
      (error: unknown) => {
        if (process.life === life) process.leaving = false
        this.#mayFail(process, life, error)
      },
    )
  }

  /** What may come of a request for a barrier when things go wrong. */
  #mayFail(process: Process, life: number, error: unknown): void {
    const expected: ReadonlySet<string> = new Set([
      'Closed',
      'LastMember',
      'NotSupported',
      'QuorumUnavailable',
      'Removed',
      'StorageFailed',
      'Timeout',
    ])
    const known = error instanceof WepaxosError && expected.has(error.code)
    if (process.life === life && !known) this.#cluster.failure ??= error
  }

  // --- clients ------------------------------------------------------------------------------------------------------

  #call(dice: Random): void {
    const process = oneOf(dice, this.#cluster.running())
    const replica = process?.replica
    const next = this.#workload.next(dice, (key) => this.#believed(key, dice))
    if (process === null || replica === null || replica === undefined) return
    const { kind } = replica.status
    if (kind !== 'ready' && kind !== 'no-quorum') return
    if (replica.stats().pending >= (kind === 'ready' ? pendingMax : 3)) return
    if (next.op === 'get' || next.op === 'list') this.#read(process, replica, next)
    else this.#command(process, replica, next)
  }

  /** What some replica takes a key to be: often right, sometimes not any more. */
  #believed(key: string, dice: Random): Value {
    return oneOf(dice, this.#cluster.running())?.replica?.view.committed.get(key).value ?? null
  }

  #command(process: Process, replica: RecordedReplica, command: Command): void {
    const tag = ++this.#tags
    const { life } = process
    const call: CommandCall = {
      kind: 'command',
      client: process.name,
      tag,
      command,
      call: this.#world.now,
      return: null,
      result: null,
    }
    this.#calls.push(call)
    this.#trace.push({
      step: this.#step,
      atMs: this.#world.now,
      what: `${process.name}: ${JSON.stringify({ tag, ...command })}`,
    })
    process.forecasting = tag
    const handle = propose(replica, tag, command)
    if (process.life === life) process.forecasting = null
    handle.done.then(
      (result) => {
        // what a process that died in this very moment still heard, nobody was told
        if (process.life !== life) return
        call.return = this.#world.now
        call.result = resultOf(command, result)
      },
      () => {}, // unknown
    )
  }

  #read(process: Process, replica: RecordedReplica, read: Read): ReadCall {
    const { life } = process
    const call: ReadCall = {
      kind: 'read',
      client: process.name,
      read,
      call: this.#world.now,
      return: null,
      sights: [],
    }
    this.#calls.push(call)
    if (!this.#healing) {
      this.#trace.push({ step: this.#step, atMs: this.#world.now, what: `${process.name}: ${JSON.stringify(read)}` })
    }
    const answer = read.op === 'get' ? replica.read.get(read.key).then((one) => [one]) : replica.read.list()
    answer.then(
      (sights) => {
        if (process.life !== life) return
        call.return = this.#world.now
        call.sights = sights
      },
      () => this.#failedReads.add(call),
    )
    return call
  }

  /** Local reads at one replica never go back. */
  #lookLocally(dice: Random): void {
    const process = oneOf(dice, this.#cluster.running())
    if (process?.replica == null) return
    this.#figures.localReads++
    for (const sight of process.replica.view.committed.list()) {
      const before = process.shown.get(sight.key)
      if (before !== undefined && !covers(sight, before)) {
        throw new Violation(
          `Monotonic views: ${process.name} showed ${sight.key} as it was before it showed it otherwise`,
        )
      }
      process.shown.set(sight.key, sight)
    }
  }

  // --- the end ------------------------------------------------------------------------------------------------------

  async #heal(): Promise<void> {
    const cluster = this.#cluster
    this.#healing = true
    const { faults } = cluster.network
    faults.loss = 0
    faults.duplication = 0
    this.#diskFaults.failure = 0
    cluster.network.healAll()
    for (const process of cluster.processes) {
      process.armed = null
      process.disk.fullUntil = 0
      process.disk.slowUntil = 0
      if (process.clock !== null) process.clock.frozenUntil = 0
    }
    const settled = () => {
      // replicas that stopped after a failed write get their restart too
      for (const process of cluster.down()) cluster.start(process)
      if (cluster.processes.some(({ starting, gone }) => starting && !gone)) return false
      return cluster.running().every((process) => {
        const { replica } = process
        if (replica === null) return true
        if (replica.status.kind === 'removed') this.#leave(process)
        return replica.status.kind === 'ready' && replica.stats().pending === 0
      })
    }
    await this.#until(settled, settleMs, () => `everything finished: ${cluster.describe()}`)
    // after a restart, what was answered before may not be executed again yet: a linearizable read waits for it
    const isMember = ({ replica }: Process) => replica?.status.kind === 'ready'
    const reads = cluster
      .running()
      .filter(isMember)
      .flatMap((process) => {
        const { replica } = process
        return replica === null ? [] : [{ process, call: this.#read(process, replica, { op: 'list' }) }]
      })
    const answered = () =>
      reads.every(({ process, call }) => call.return !== null || this.#failedReads.has(call) || !isMember(process))
    await this.#until(answered, settleMs, () => `reads of all keys: ${cluster.describe()}`)
    const equal = () => new Set(cluster.running().map(({ replica }) => replica?.stats().stateHash)).size <= 1
    await this.#until(equal, settleMs, () => `equal states: ${cluster.describe()}`)
    for (const { replica } of cluster.running()) if (replica !== null) cluster.collect(replica)
  }

  #judge(): void {
    this.#agreement.checkVisibility()
    // all is read at last, at every replica, after everything: nothing that was answered may be lost
    const calls: Call[] = [...this.#calls]
    for (const { name, replica } of this.#cluster.running()) {
      if (replica === null) continue
      const call = this.#world.now + 1
      const sights = replica.view.committed.list()
      calls.push({ kind: 'read', client: `${name}, at last`, read: { op: 'list' }, call, return: call + 1, sights })
    }
    judgeOrder(calls, this.#executions)
  }
}

function propose(replica: RecordedReplica, tag: number, command: Command) {
  const { mutate } = replica
  switch (command.op) {
    case 'set':
      return mutate.set(tag, command.key, command.value)
    case 'create':
      return mutate.create(tag, command.key, command.value)
    case 'delete':
      return mutate.delete(tag, command.key)
    case 'compareAndSet':
      return mutate.compareAndSet(tag, command.key, command.expected, command.value)
    case 'increment':
      return mutate.increment(tag, command.key, command.by)
    case 'add':
      return mutate.add(tag, command.key, command.by)
    case 'transact':
      return mutate.transact(tag, command.checks, command.operations)
  }
}

/** What a client makes of the machine's result: a sum, whether there was something to delete, else whether it happened. */
function resultOf({ op }: Command, result: Awaited<ReturnType<typeof propose>['done']>): Value {
  return result.ok && (op === 'increment' || op === 'delete') ? result.value : result.ok
}

/** Whether the key was seen as it was then, or later. */
function covers(later: Sight, earlier: Sight): boolean {
  if (later.generation !== earlier.generation) return later.generation > earlier.generation
  return earlier.adds.every((tag) => later.adds.includes(tag))
}
