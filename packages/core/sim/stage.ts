// Replicas on simulated time for tests that tell one story: nothing goes wrong here but what the test does.
import type { Commands, MachineDefinition, Queries } from '../src/execution/machine.ts'
import type { OpenReplicaOptions, Replica } from '../src/runtime/api.ts'
import { openReplicaIn } from '../src/runtime/open-replica.ts'
import { type KvCommands, type KvQueries, kv } from '../src/state-machines/kv.ts'
import { AgreementChecker } from './agreement.ts'
import { type DiskFaults, SimulatedDisk } from './disk.ts'
import { SimulatedNetwork } from './network.ts'
import { ProcessClock, World } from './world.ts'

export type KvReplica = Replica<KvCommands, KvQueries>

export class Stage {
  readonly world: World
  readonly network: SimulatedNetwork
  readonly diskFaults: DiskFaults = { writeMaxMs: 1, failure: 0 }
  readonly #disks = new Map<string, SimulatedDisk>()
  readonly #lives = new Map<string, number>()
  readonly #clocks = new Map<string, ProcessClock>()
  readonly #agreement = new AgreementChecker()

  constructor(seed = 1) {
    this.world = new World(seed)
    this.network = new SimulatedNetwork(this.world, { loss: 0, duplication: 0, delayMaxMs: 1 })
  }

  /** The timers of the process stand still for so long, as those of a page in the background. */
  freezeTimers(name: string, ms: number): void {
    const clock = this.#clocks.get(name)
    if (clock !== undefined) clock.frozenUntil = this.world.now + ms
  }

  disk(name: string): SimulatedDisk {
    let disk = this.#disks.get(name)
    if (disk === undefined) {
      disk = new SimulatedDisk(this.world, this.diskFaults, this.#agreement, name)
      this.#disks.set(name, disk)
    }
    return disk
  }

  /** Opens the replica of the process `name`; the first process founds. */
  open(name: string, options: Partial<OpenReplicaOptions<KvCommands, KvQueries>> = {}): Promise<KvReplica> {
    return this.openWith(name, kv(), options)
  }

  openWith<C extends Commands, Q extends Queries>(
    name: string,
    machine: MachineDefinition<C, Q>,
    options: Partial<OpenReplicaOptions<C, Q>> = {},
  ): Promise<Replica<C, Q>> {
    const life = (this.#lives.get(name) ?? 0) + 1
    this.#lives.set(name, life)
    const dice = this.world.random.fork()
    const clock = new ProcessClock(this.world, () => this.#lives.get(name) === life)
    this.#clocks.set(name, clock)
    const opening = openReplicaIn(
      {
        partition: 'p',
        transport: this.network.transport(name, this.#lives.size === 1),
        storage: this.disk(name),
        machine,
        ...options,
      },
      {
        clock,
        randomBytes: (count) => Uint8Array.from({ length: count }, () => dice.integer(256)),
      },
    )
    return this.when(opening)
  }

  /** `count` replicas named a, b, c, …, all of them voters. */
  async cluster(count: number, options: Partial<OpenReplicaOptions<KvCommands, KvQueries>> = {}): Promise<KvReplica[]> {
    const replicas: KvReplica[] = []
    for (const name of ['a', 'b', 'c', 'd', 'e', 'f', 'g'].slice(0, count)) {
      replicas.push(await this.open(name, options))
    }
    await this.until(() =>
      replicas.every(
        ({ status, members }) =>
          status.kind === 'ready' && members.filter((one) => one.role === 'voter' && one.connected).length === count,
      ),
    )
    return replicas
  }

  /** The process is gone, without a word. */
  kill(name: string): void {
    this.#lives.set(name, (this.#lives.get(name) ?? 0) + 1)
    this.disk(name).crash()
    this.network.detach(name)
  }

  /** Lets time go on until the promise is settled. */
  async when<T>(promise: Promise<T>): Promise<T> {
    let settled = false
    const done = () => {
      settled = true
    }
    promise.then(done, done)
    await this.until(() => settled)
    return promise
  }

  async until(condition: () => boolean, withinMs = 60_000): Promise<void> {
    const deadline = this.world.now + withinMs
    while (!condition()) {
      if (this.world.now > deadline) throw new Error(`not within ${withinMs} simulated ms`)
      if (!(await this.world.step()) && !condition()) throw new Error('nothing is left to happen')
    }
  }

  async pass(ms: number): Promise<void> {
    const deadline = this.world.now + ms
    this.world.at(ms, () => {})
    while (this.world.now < deadline) await this.world.step()
  }
}

/** Whether all have executed the same. */
export function agree(replicas: readonly KvReplica[]): boolean {
  return new Set(replicas.map((replica) => replica.stats().stateHash)).size === 1
}
