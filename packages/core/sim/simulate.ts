// One simulated life of a cluster, from one seed: the runtime that ships, on a simulated network, disk and clock. First a
// time in which everything goes wrong, then all is healed and everything has to finish; then the history is judged.
import type { WepaxosError } from '../src/lib/errors.ts'
import type { Random } from '../src/lib/random.ts'
import type { Value } from '../src/lib/value.ts'
import type { Replica } from '../src/runtime/api.ts'
import { openReplicaIn } from '../src/runtime/open-replica.ts'
import { type KvCommands, type KvQueries, kv } from '../src/state-machines/kv.ts'
import { AgreementChecker, Violation } from './agreement.ts'
import { type DiskFaults, SimulatedDisk } from './disk.ts'
import { type HistoryEntry, judgeHistory, type Operation } from './linearizability.ts'
import { type NetworkFaults, SimulatedNetwork } from './network.ts'
import { ProcessClock, World } from './world.ts'

export interface SimulationOptions {
  readonly seed: number
  /** Steps of the time in which things go wrong: each proposes, breaks or mends something. */
  readonly steps: number
  readonly replicas: number
}

/** What happened, so that a run that did nothing can be told from one that stood the test. */
export interface SimulationReport {
  readonly seed: number
  readonly events: number
  readonly simulatedMs: number
  readonly proposed: number
  readonly answered: number
  readonly unknown: number
  readonly crashes: number
  readonly cuts: number
  readonly joins: number
  readonly leaves: number
  readonly writeFailures: number
  readonly framesLost: number
  readonly fastPath: number
  readonly slowPath: number
  readonly recoveries: number
  readonly epochs: number
  readonly nops: number
  /** Keys whose history was too long to be judged. */
  readonly undecided: number
}

type KvReplica = Replica<KvCommands, KvQueries>

/** One process of the cluster, running or not. */
interface Process {
  readonly name: string
  readonly disk: SimulatedDisk
  readonly founder: boolean
  /** Changes with every start and crash: what belongs to an earlier life is dead. */
  life: number
  replica: KvReplica | null
  clock: ProcessClock | null
  starting: boolean
  gone: boolean
}

const keys = ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h']
/** After healing everything has to be finished within this. */
const settleMs = 180_000

export async function simulate(options: SimulationOptions): Promise<SimulationReport> {
  return new Simulation(options).run()
}

class Simulation {
  readonly #options: SimulationOptions
  readonly #world: World
  readonly #random: Random
  readonly #network: SimulatedNetwork
  readonly #diskFaults: DiskFaults
  readonly #writeFailure: number
  readonly #agreement = new AgreementChecker()
  readonly #processes: Process[] = []
  readonly #history: HistoryEntry[] = []
  /** More keys make fewer conflicts; drawn once a run. */
  readonly #keysUsed: number
  #failure: unknown = null
  #events = 0
  #values = 0
  #undecided = 0
  #counts = { crashes: 0, cuts: 0, joins: 0, leaves: 0, writeFailures: 0, fastPath: 0, slowPath: 0, recoveries: 0 }

  constructor(options: SimulationOptions) {
    this.#options = options
    this.#world = new World(options.seed)
    this.#random = this.#world.random.fork()
    const { random } = this.#world
    const faults: NetworkFaults = {
      loss: random.pick([0, 0, 0.01, 0.05, 0.2]),
      duplication: random.pick([0, 0.03, 0.1]),
      delayMaxMs: random.pick([1, 5, 30]),
    }
    this.#network = new SimulatedNetwork(this.#world, faults)
    this.#diskFaults = { writeMaxMs: random.pick([0, 1, 10]), failure: 0 }
    this.#writeFailure = random.pick([0, 0, 0.002])
    this.#keysUsed = random.pick([1, 2, 8])
  }

  async run(): Promise<SimulationReport> {
    const { seed, steps, replicas } = this.#options
    try {
      await this.#assemble(replicas)
      await this.#misadventure(steps)
      await this.#heal()
      this.#judge()
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error)
      throw new Violation(
        `seed ${seed}, ${replicas} replicas, ${steps} steps, at ${Math.round(this.#world.now)} ms: ${why}`,
        {
          cause: error,
        },
      )
    }
    const { instances: _, ...committed } = this.#agreement.counts()
    const answered = this.#history.filter((entry) => entry.return !== null).length
    return {
      seed,
      events: this.#events,
      simulatedMs: Math.round(this.#world.now),
      proposed: this.#history.length,
      answered,
      unknown: this.#history.length - answered,
      ...this.#counts,
      framesLost: this.#network.lost,
      epochs: this.#agreement.epochs,
      ...committed,
      undecided: this.#undecided,
    }
  }

  // --- processes ----------------------------------------------------------------------------------------------------

  #add(founder: boolean): Process {
    const name = `p${this.#processes.length}`
    const disk = new SimulatedDisk(this.#world, this.#diskFaults, this.#agreement, name)
    const process: Process = { name, disk, founder, life: 0, replica: null, clock: null, starting: false, gone: false }
    this.#processes.push(process)
    this.#start(process)
    return process
  }

  #start(process: Process): void {
    const life = ++process.life
    process.starting = true
    const isAlive = () => process.life === life
    const clock = new ProcessClock(this.#world, isAlive)
    process.clock = clock
    const dice = this.#world.random.fork()
    openReplicaIn(
      {
        partition: 'p',
        transport: this.#network.transport(process.name, process.founder),
        storage: process.disk,
        machine: kv(),
        checkpointEvery: this.#options.seed % 3 === 0 ? 40 : 0,
        votersMax: this.#options.replicas,
      },
      { clock, randomBytes: (count) => Uint8Array.from({ length: count }, () => dice.integer(256)) },
    ).then(
      (replica) => {
        if (!isAlive()) return
        process.replica = replica
        process.starting = false
        replica.addEventListener('status', ({ detail }) => {
          if (isAlive() && detail.kind === 'failed') this.#failed(process, detail.error)
        })
      },
      (error: unknown) => {
        if (isAlive()) this.#failure ??= error
      },
    )
  }

  /** A replica stopped by itself: right after a failed write, wrong for any other reason. */
  #failed(process: Process, error: WepaxosError): void {
    if (error.code !== 'StorageFailed') {
      this.#failure ??= error
      return
    }
    this.#counts.writeFailures++
    this.#world.at(0, () => this.#crash(process))
  }

  #crash(process: Process): void {
    if (process.replica !== null) this.#collect(process.replica)
    process.life++
    process.replica = null
    process.starting = false
    process.disk.crash()
    this.#network.detach(process.name)
    this.#counts.crashes++
  }

  #collect(replica: KvReplica): void {
    const { fastPath, slowPath, recoveries } = replica.stats()
    this.#counts.fastPath += fastPath
    this.#counts.slowPath += slowPath
    this.#counts.recoveries += recoveries
  }

  #running(): Process[] {
    return this.#processes.filter((process) => process.replica !== null && !process.gone)
  }

  // --- phases -------------------------------------------------------------------------------------------------------

  async #step(): Promise<void> {
    this.#events++
    if (!(await this.#world.step())) throw new Violation('nothing is left to happen')
    if (this.#failure !== null) throw this.#failure
  }

  async #until(condition: () => boolean, withinMs: number, what: () => string): Promise<void> {
    const deadline = this.#world.now + withinMs
    while (!condition()) {
      if (this.#world.now > deadline) throw new Violation(`not within ${withinMs} ms: ${what()}`)
      await this.#step()
    }
  }

  async #for(ms: number): Promise<void> {
    const deadline = this.#world.now + ms
    this.#world.at(ms, () => {}) // time goes on, even when every process is down
    while (this.#world.now < deadline) await this.#step()
  }

  async #assemble(replicas: number): Promise<void> {
    for (let index = 0; index < replicas; index++) {
      this.#add(index === 0)
      // the founder's process comes up first; the others join at once
      if (index === 0)
        await this.#until(
          () => this.#running().length === 1,
          10_000,
          () => 'the founding',
        )
    }
    const voters = () => this.#running().filter((process) => process.replica?.status.kind === 'ready')
    await this.#until(
      () => voters().length === replicas,
      settleMs,
      () => `${replicas} voters: ${this.#describe()}`,
    )
  }

  async #misadventure(steps: number): Promise<void> {
    this.#diskFaults.failure = this.#writeFailure
    for (let index = 0; index < steps; index++) {
      this.#adventure()
      await this.#for(this.#random.next() * 8)
    }
  }

  #adventure(): void {
    const roll = this.#random.next()
    const running = this.#running()
    if (roll < 0.8) {
      if (running.length > 0) this.#propose(this.#random.pick(running))
    } else if (roll < 0.83) {
      const down = this.#processes.filter((process) => process.replica === null && !process.starting && !process.gone)
      if (down.length > 0) this.#start(this.#random.pick(down))
    } else if (roll < 0.845) {
      if (running.length > 0) this.#crash(this.#random.pick(running))
    } else if (roll < 0.87) {
      this.#cut()
    } else if (roll < 0.9) {
      this.#network.healAll()
    } else if (roll < 0.905) {
      const clock = running.length > 0 ? this.#random.pick(running).clock : null
      if (clock !== null) clock.frozenUntil = this.#world.now + this.#random.next() * 10_000
    } else if (roll < 0.908) {
      this.#leaveOrJoin(running)
    }
  }

  #cut(): void {
    const [a, b] = this.#random.shuffle(this.#processes)
    if (a === undefined || b === undefined) return
    this.#counts.cuts++
    if (this.#random.chance(0.3)) this.#network.cutSilently(a.name, b.name)
    else this.#network.cut(a.name, b.name)
  }

  #leaveOrJoin(running: readonly Process[]): void {
    const members = running.filter((process) => process.replica?.status.kind === 'ready')
    if (this.#random.chance(0.5) && this.#processes.length < this.#options.replicas + 4) {
      this.#counts.joins++
      this.#add(false)
    } else if (members.length > 2) {
      this.#leave(this.#random.pick(members))
    }
  }

  #leave(process: Process): void {
    const { life } = process
    process.replica?.leave({ timeoutMs: 20_000 }).then(
      () => {
        if (process.life !== life) return
        this.#counts.leaves++
        process.gone = true
        process.life++
      },
      (error: unknown) => {
        const { code } = error as WepaxosError
        const expected: ReadonlySet<string> = new Set(['Timeout', 'StorageFailed', 'QuorumUnavailable', 'LastMember'])
        // could not get out in time: it stays, or is asked again after healing
        if (process.life === life && !expected.has(code)) this.#failure ??= error
      },
    )
  }

  #propose(process: Process): void {
    const { replica } = process
    if (replica === null) return
    const { kind } = replica.status
    if (kind !== 'ready' && (kind !== 'no-quorum' || replica.stats().pending > 3)) return
    const key = keys[this.#random.integer(this.#keysUsed)] as string
    const operation = this.#randomOperation(key)
    const entry: HistoryEntry = {
      client: process.name,
      key,
      operation,
      call: this.#world.now,
      return: null,
      result: null,
      name: null,
    }
    this.#history.push(entry)
    const answered = (result: string) => {
      entry.return = this.#world.now
      entry.result = result
    }
    const { life } = process
    carryOut(replica, entry)
      .then((result) => {
        // what a process that died in this very moment still heard, nobody was told
        if (process.life === life) answered(result)
      })
      .catch(() => {}) // unknown
  }

  #randomOperation(key: string): Operation {
    const roll = this.#random.next()
    // a value says who wrote it, so that a wrong order shows at once
    const value = 1_000 * ++this.#values
    if (roll < 0.3) return { op: 'increment', by: 1 + this.#random.integer(3) }
    if (roll < 0.55) return { op: 'set', value }
    if (roll < 0.8) return { op: 'compareAndSet', expected: this.#expected(key), value }
    return { op: 'get' }
  }

  /** What some replica believes to be there: often right, sometimes not any more. */
  #expected(key: string): Value {
    const [any] = this.#random.shuffle(this.#running())
    return any?.replica?.view.committed.get(key) ?? 0
  }

  async #heal(): Promise<void> {
    const { faults } = this.#network
    faults.loss = 0
    faults.duplication = 0
    this.#diskFaults.failure = 0
    this.#network.healAll()
    for (const process of this.#processes) {
      if (process.clock !== null) process.clock.frozenUntil = 0
      if (process.replica === null && !process.starting && !process.gone) this.#start(process)
    }
    // give replicas that stopped after a failed write their restart too
    const settled = () => {
      for (const process of this.#processes) {
        if (process.replica === null && !process.starting && !process.gone) this.#start(process)
      }
      const running = this.#running()
      if (this.#processes.some((process) => process.starting)) return false
      return running.every((process) => {
        const { replica } = process
        if (replica === null) return true
        if (replica.status.kind === 'removed') this.#leave(process)
        return replica.status.kind === 'ready' && replica.stats().pending === 0
      })
    }
    await this.#until(settled, settleMs, () => `everything finished: ${this.#describe()}`)
    const equal = () => new Set(this.#running().map((process) => process.replica?.stats().stateHash)).size <= 1
    await this.#until(equal, settleMs, () => `equal states: ${this.#describe()}`)
    for (const process of this.#running()) if (process.replica !== null) this.#collect(process.replica)
  }

  #judge(): void {
    this.#agreement.checkVisibility()
    // every key is read at last, after everything: nothing that was answered may be lost
    const [survivor] = this.#running()
    if (survivor?.replica) {
      for (const key of keys.slice(0, this.#keysUsed)) {
        this.#history.push({
          client: 'judge',
          key,
          operation: { op: 'get' },
          call: this.#world.now + 1,
          return: this.#world.now + 2,
          result: canonical(survivor.replica.view.committed.get(key)),
          name: null,
        })
      }
    }
    const witness = this.#agreement.executionOrder().map(({ session, number }) => `${session}:${number}`)
    for (const [key, verdict] of judgeHistory(this.#history, witness)) {
      if (verdict === 'no') throw new Violation(`the history of key ${key} is not linearizable`)
      if (verdict === 'undecided') this.#undecided++
    }
  }

  #describe(): string {
    return this.#processes
      .map(({ name, replica, gone }) => {
        if (gone) return `${name} left`
        if (replica === null) return `${name} down`
        const { epoch, executed, pending, stateHash } = replica.stats()
        return `${name} ${replica.id.slice(0, 4)} ${replica.status.kind} epoch ${epoch} executed ${executed} pending ${pending} ${stateHash.slice(0, 6)}`
      })
      .join(', ')
  }
}

async function carryOut(replica: KvReplica, entry: HistoryEntry): Promise<string> {
  const { key, operation } = entry
  if (operation.op === 'get') return canonical(await replica.read.get(key))
  const handle =
    operation.op === 'set'
      ? replica.mutate.set(key, operation.value)
      : operation.op === 'increment'
        ? replica.mutate.increment(key, operation.by)
        : replica.mutate.compareAndSet(key, operation.expected, operation.value)
  entry.name = handle.key
  const result = await handle.done
  if (operation.op === 'increment') return result.ok ? String(result.value) : 'refused'
  return result.ok ? 'ok' : 'mismatch'
}

function canonical(value: unknown): string {
  return value === undefined ? 'absent' : JSON.stringify(value)
}
