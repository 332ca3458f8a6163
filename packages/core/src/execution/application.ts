// The replicated state itself: the machine's store, and the sessions that let a command be proposed again without fear
// (docs/protocol.md, section 10). Fed by the executor in order; everything here is a function of what was fed.
import { WepaxosError } from '../lib/errors.ts'
import { sha256Hex } from '../lib/sha256.ts'
import type { Membership, Proposal } from '../protocol/command.ts'
import type { Epoch, ReplicaId } from '../protocol/ids.ts'
import { type Checkpoint, decodeCheckpoint, encodeCheckpoint, type SessionRecord } from './checkpoint.ts'
import type { BoundMachine } from './define-machine.ts'
import type { CommandResult } from './machine.ts'
import { Store } from './store.ts'

interface Session {
  readonly openedIn: Epoch
  trimmedTo: number
  /** The highest ackedUpTo that an executed command carried: applied at the next barrier, for before it the order of commuting commands may differ. */
  ackedUpTo: number
  absentEpochs: number
  readonly results: Map<number, CommandResult>
}

/** Barriers after which a replica that is no member any more is forgotten, and its session with it. */
const sessionGraceEpochs = 8

const sessionExpired: CommandResult = Object.freeze({ ok: false, code: 'SESSION_EXPIRED' })

export class Application {
  readonly machine: BoundMachine
  readonly cluster: string
  readonly #store: Store
  readonly #sessions: Map<ReplicaId, Session>
  #executed: number

  private constructor(machine: BoundMachine, cluster: string, store: Store, executed: number) {
    this.machine = machine
    this.cluster = cluster
    this.#store = store
    this.#sessions = new Map()
    this.#executed = executed
  }

  /** The state of a new partition with `founder` as its only member. */
  static found(machine: BoundMachine, cluster: string, founder: ReplicaId): Application {
    const application = new Application(machine, cluster, new Store(), 0)
    machine.init(application.#store)
    application.#openSessions(1, { voters: [founder], observers: [] })
    return application
  }

  /** Throws DecodeError, and MachineMismatch where the checkpoint is another machine's. */
  static restore(machine: BoundMachine, bytes: Uint8Array): { application: Application; checkpoint: Checkpoint } {
    const checkpoint = decodeCheckpoint(bytes)
    if (checkpoint.machine !== machine.name || checkpoint.machineVersion !== machine.version) {
      throw new WepaxosError(
        'MachineMismatch',
        `the state belongs to machine ${checkpoint.machine} version ${checkpoint.machineVersion}; this replica runs ${machine.name} version ${machine.version}`,
        { expected: `${machine.name}@${machine.version}`, found: `${checkpoint.machine}@${checkpoint.machineVersion}` },
      )
    }
    const store = Store.restore(checkpoint.snapshot)
    const application = new Application(machine, checkpoint.cluster, store, checkpoint.executed)
    for (const [id, record] of checkpoint.sessions) {
      const { openedIn, trimmedTo, absentEpochs, results } = record
      const session = { openedIn, trimmedTo, ackedUpTo: trimmedTo, absentEpochs, results: new Map(results) }
      application.#sessions.set(id, session)
    }
    return { application, checkpoint }
  }

  get store(): Store {
    return this.#store
  }

  /** Commands executed since the founding. */
  get executed(): number {
    return this.#executed
  }

  /** SHA-256 of the state machine's canonical bytes. Linear in the state. */
  stateHash(): string {
    return sha256Hex(this.#store.snapshot())
  }

  /**
   * Executes a proposal, once: a number that its session has executed already gives the recorded result (undefined where
   * the proposer had acknowledged it). Throws what the machine's command throws; then the replica has to stop.
   */
  execute(proposal: Proposal): CommandResult | undefined {
    const session = this.#sessions.get(proposal.session)
    // [SE3] which sessions exist was fixed when the epoch began: the same answer at every replica in any order
    if (session === undefined) return sessionExpired
    if (proposal.ackedUpTo > session.ackedUpTo) session.ackedUpTo = proposal.ackedUpTo
    if (proposal.number <= session.trimmedTo) return undefined
    const recorded = session.results.get(proposal.number)
    if (recorded !== undefined) return recorded
    const result = this.machine.apply(this.#store, proposal.payload)
    session.results.set(proposal.number, result)
    this.#executed++
    return result
  }

  /** What became of a number of a session, as far as it is still recorded. */
  recordedResult(session: ReplicaId, number: number): CommandResult | undefined {
    return this.#sessions.get(session)?.results.get(number)
  }

  /** Whether the number was executed, recorded or trimmed. */
  wasExecuted(session: ReplicaId, number: number): boolean {
    const known = this.#sessions.get(session)
    return known !== undefined && (number <= known.trimmedTo || known.results.has(number))
  }

  /** The epoch in which the replica's present session was opened; undefined while it has none. */
  sessionOpenedIn(id: ReplicaId): Epoch | undefined {
    return this.#sessions.get(id)?.openedIn
  }

  /** [EP1] The barrier was executed: settles the sessions, and gives the checkpoint from which `epoch` starts. */
  endEpoch(epoch: Epoch, members: Membership): Uint8Array {
    for (const session of this.#sessions.values()) {
      session.trimmedTo = Math.max(session.trimmedTo, session.ackedUpTo)
      for (const number of session.results.keys()) if (number <= session.trimmedTo) session.results.delete(number)
      session.absentEpochs++
    }
    this.#openSessions(epoch, members)
    for (const [id, session] of this.#sessions) if (session.absentEpochs > sessionGraceEpochs) this.#sessions.delete(id)
    return this.#encode(epoch, members)
  }

  /** The checkpoint of the founding. */
  firstCheckpoint(members: Membership): Uint8Array {
    return this.#encode(1, members)
  }

  #openSessions(epoch: Epoch, members: Membership): void {
    for (const id of [...members.voters, ...members.observers]) {
      const session = this.#sessions.get(id)
      if (session !== undefined) session.absentEpochs = 0
      else {
        const fresh = { openedIn: epoch, trimmedTo: 0, ackedUpTo: 0, absentEpochs: 0, results: new Map() }
        this.#sessions.set(id, fresh)
      }
    }
  }

  #encode(epoch: Epoch, members: Membership): Uint8Array {
    const { name, version } = this.machine
    const sessions: ReadonlyMap<ReplicaId, SessionRecord> = this.#sessions
    return encodeCheckpoint({
      cluster: this.cluster,
      machine: name,
      machineVersion: version,
      epoch,
      members,
      executed: this.#executed,
      sessions,
      snapshot: this.#store.snapshot(),
    })
  }
}
