// Breadth-first over everything that can happen to a tiny cluster of real replicas, with each state visited once.
//
// The network is the set of all messages that were ever sent: each may arrive at any time, again and again, or never. That
// is every loss, repetition and order at once, without budgets: what is lost is what never arrives. So nothing has to be
// explored for a loss, nor for a message to a replica that is down, nor for one whose handling changes and says nothing.
//
// A replica is a function of the operations that it was given, so its states are named and kept once, and what an operation
// does to one is found out once (by doing it) and looked up from then on. A state of the cluster is a tuple of numbers.
//
// Time: all timeouts but the fast path's are out of reach, and recoveries start at will instead. The timeout of the fast
// path is a tick after its length. No time passes otherwise, so that of `slowSince` only matters whether it is set: each
// such tick ends all waiting that has begun.
import { assert, must } from '../src/lib/assert.ts'
import { type Command, nop } from '../src/protocol/command.ts'
import { formatInstanceId, type InstanceId, type Row, type Seq } from '../src/protocol/ids.ts'
import { type CommittedInstance, type InstanceKey, instanceKey, isCommitted } from '../src/protocol/instance.ts'
import { checkInvariants } from '../src/protocol/invariants.ts'
import type { Message } from '../src/protocol/message.ts'
import type { ProtocolTimeouts } from '../src/protocol/state.ts'
import { type ClusterOptions, ProtocolCluster } from './protocol-cluster.ts'
import { BrokenPromise, ProtocolPromises } from './protocol-promises.ts'
import { type DiskMode, epochOf, type HostOperation, type HostSink, ReplicaHost, voterOf } from './replica-host.ts'
import { settle } from './settle.ts'
import { nameOfCommand, nameOfHost, nameOfMessage, nameOfPromises } from './state-key.ts'

/** One thing that happens to the cluster. */
export type Action =
  | { readonly kind: 'propose'; readonly command: number }
  | {
      readonly kind: 'deliver'
      readonly from: Row
      readonly to: Row
      readonly message: Message
      /** The explorer's for the message. */
      readonly number: number
    }
  | { readonly kind: 'fastPathTimeout'; readonly row: Row }
  | { readonly kind: 'recover'; readonly row: Row; readonly id: InstanceId }
  | { readonly kind: 'write'; readonly row: Row }
  | { readonly kind: 'crash'; readonly row: Row; readonly written: boolean }
  | { readonly kind: 'restart'; readonly row: Row }

export interface Scenario {
  readonly name: string
  readonly n: number
  readonly disk?: DiskMode
  /** Each is proposed once, at any time, by its row. */
  readonly commands: readonly { readonly row: Row; readonly command: Command }[]
  /** Recoveries started at will, in all. */
  readonly recoveries?: number
  /** Who starts them; all if it is not said. */
  readonly recoverers?: readonly Row[]
  /** What they are started for; any command of the scenario if it is not said. */
  readonly recoverable?: readonly InstanceId[]
  readonly crashes?: number
  /** Who crashes; all if it is not said. */
  readonly crashing?: readonly Row[]
  /** Whether who crashed may come back. Default true. */
  readonly restarts?: boolean
  /** Whether the fast path may time out. Default true. */
  readonly fastPathTimeouts?: boolean
  readonly unusedSeqsMax?: number
  /** Messages that are never sent: a loss of all of their kind. */
  readonly lost?: (from: Row, to: Row, message: Message) => boolean
  /** What happened before the exploration begins. */
  readonly prefix?: (cluster: ProtocolCluster) => void
}

export interface Exploration {
  readonly name: string
  /** Distinct states of the cluster. */
  readonly states: number
  /** Steps from one to another that were looked at. */
  readonly transitions: number
  /** Distinct states of the cluster but for the messages. */
  readonly situations: number
  /** Distinct states of single replicas. */
  readonly replicaStates: number
  /** Actions of the longest of the shortest ways to a state. */
  readonly depth: number
  /** Every state that so many actions lead to was visited, with all that may happen there. */
  readonly wholeDepth: number
  /** Whether every state within the scenario's bounds was visited. */
  readonly complete: boolean
  /** States from which a fair run was made to its end. */
  readonly finishes: number
  readonly seconds: number
  readonly violation: Counterexample | null
}

export interface Counterexample {
  readonly reason: string
  /** A shortest one. */
  readonly trace: readonly string[]
}

export interface ExploreOptions {
  readonly statesMax?: number
  /** Fair runs to the end from about so many of the states, evenly spread. Default 200. */
  readonly finishes?: number
  /** Whether messages that can do nothing any more are left out. Default true. */
  readonly leaveOutSpent?: boolean
}

/** Nothing is due by itself. */
export const patientTimeouts: ProtocolTimeouts = {
  fastPathMs: 1,
  recoveryMs: 1e12,
  patienceMs: 1e12,
  heartbeatMs: 1e12,
  suspectMs: 1e12,
  resendMs: 1e12,
}

/** What an operation does to a replica in a certain state. */
interface Outcome {
  readonly next: number
  /** Numbers of messages. */
  readonly sent: readonly number[]
  readonly events: readonly PromiseEvent[]
  readonly error: unknown
}

type PromiseEvent =
  | { readonly kind: 'committed'; readonly instance: CommittedInstance }
  | { readonly kind: 'executed'; readonly instance: CommittedInstance; readonly before: readonly CommittedInstance[] }

interface LocalState {
  readonly row: Row
  /** How it came about: from which state, by which operations. */
  readonly parent: number
  readonly operations: readonly TimedOperation[]
  readonly outcomes: Map<string, Outcome>
  /** The same for messages, by their numbers. */
  readonly deliveries: Map<number, Outcome>
  readonly isUp: boolean
  readonly canPropose: boolean
  readonly nextSeq: Seq
  /** By the place in the scenario's list of what may be recovered. */
  readonly canRecover: readonly boolean[]
  readonly hasPending: boolean
  /** Instances that are committed here, and those of them that stay so in a crash. */
  readonly committed: ReadonlySet<InstanceKey>
  readonly written: ReadonlySet<InstanceKey>
  /** The ballots of its attempts, and of those in the first round who has not answered. */
  readonly attempted: ReadonlyMap<InstanceKey, number>
  readonly unanswered: ReadonlyMap<InstanceKey, ReadonlySet<Row>>
  readonly isPulling: boolean
}

interface TimedOperation {
  readonly operation: HostOperation
  readonly now: number
}

interface GlobalState {
  readonly hosts: readonly number[]
  /** Sorted numbers of messages. */
  readonly messages: readonly number[]
  readonly promises: number
  /** A bit for each command that was proposed. */
  readonly proposed: number
  readonly recoveries: number
  readonly crashes: number
  readonly index: number
}

type Delivery = Action & { readonly kind: 'deliver' }

class Explorer {
  readonly #scenario: Scenario
  readonly #commands: readonly Command[]
  readonly #recoverable: readonly InstanceId[]
  readonly #locals: LocalState[] = []
  readonly #localByName = new Map<string, number>()
  readonly #messages: Delivery[] = []
  readonly #messageByName = new Map<string, number>()
  readonly #promises: ProtocolPromises[] = []
  readonly #promisesByName = new Map<string, number>()
  readonly #promisesAfter = new Map<string, number>()
  readonly #seen = new Map<string, number>()
  readonly #parents: number[] = []
  readonly #actions: Action[] = []
  readonly #situations = new Set<string>()
  #transitions = 0
  #leaveOutSpent = true
  /** Whether anybody may start from a disk, or waits for one. */
  readonly #readsDisk: boolean

  constructor(scenario: Scenario) {
    this.#scenario = scenario
    const { disk, crashes = 0, prefix, restarts = true } = scenario
    this.#readsDisk = disk === 'held' || crashes > 0 || (prefix !== undefined && restarts)
    this.#commands = [...scenario.commands.map(({ command }) => command), nop]
    const seqs = new Map<Row, number>()
    const own = scenario.commands.map(({ row }) => {
      const seq = (seqs.get(row) ?? 0) + 1
      seqs.set(row, seq)
      return { row, seq }
    })
    this.#recoverable = scenario.recoverable ?? own
  }

  run({ statesMax = 5_000_000, finishes = 200, leaveOutSpent = true }: ExploreOptions): Exploration {
    this.#leaveOutSpent = leaveOutSpent
    const startedAt = performance.now()
    let level: GlobalState[]
    try {
      level = [this.#initial()]
    } catch (error) {
      return {
        ...this.#figures(startedAt),
        violation: { reason: reasonOf(error), trace: ['… in what happens before'] },
      }
    }
    let depth = 0
    let complete = true
    let violation = this.#finish(0)
    let wholeDepth = 0
    search: while (level.length > 0 && violation === null) {
      const next: GlobalState[] = []
      for (const state of level) {
        for (const action of this.#possible(state)) {
          this.#transitions++
          let after: GlobalState | null
          try {
            after = this.#after(state, action)
          } catch (error) {
            violation = { reason: reasonOf(error), trace: this.#trace(state.index, action) }
            break search
          }
          if (after === null) continue
          next.push(after)
          if (this.#seen.size >= statesMax) {
            complete = false
            depth++
            break search
          }
        }
      }
      wholeDepth = depth
      if (next.length > 0) depth++
      level = next
    }
    let finished = 1
    if (violation === null) {
      const every = Math.max(1, Math.floor(this.#seen.size / finishes))
      for (let index = this.#seen.size - 1; index > 0 && violation === null; index -= every) {
        violation = this.#finish(index)
        finished++
      }
    }
    return { ...this.#figures(startedAt), depth, wholeDepth, complete, finishes: finished, violation }
  }

  #figures(startedAt: number): Omit<Exploration, 'violation'> {
    return {
      name: this.#scenario.name,
      states: this.#seen.size,
      transitions: this.#transitions,
      situations: this.#situations.size,
      replicaStates: this.#locals.length,
      depth: 0,
      wholeDepth: 0,
      complete: false,
      finishes: 0,
      seconds: Math.round((performance.now() - startedAt) / 10) / 100,
    }
  }

  #initial(): GlobalState {
    const cluster = this.#newCluster()
    this.#scenario.prefix?.(cluster)
    const hosts = cluster.hosts.map((host) => {
      const operations = cluster.historyOf(host.row)
      return this.#internLocal(host, -1, operations)
    })
    const messages = new Set<number>()
    for (const { from, to, message } of cluster.everSent) {
      if (this.#isSent(from, to, message)) messages.add(this.#internMessage(from, to, message))
    }
    let proposed = 0
    this.#scenario.commands.forEach(({ command }, bit) => {
      for (const list of cluster.promises.proposed.values()) if (list.includes(command)) proposed |= 1 << bit
    })
    const state = {
      hosts,
      messages: [...messages].sort((a, b) => a - b),
      promises: this.#internPromises(cluster.promises),
      proposed,
      recoveries: 0,
      crashes: 0,
    }
    return must(this.#enter(state, -1, null), 'the first state is new')
  }

  *#possible(state: GlobalState): Generator<Action> {
    const scenario = this.#scenario
    const local = (row: Row) => must(this.#locals[must(state.hosts[row], 'a row')], 'a named state')
    for (let bit = 0; bit < scenario.commands.length; bit++) {
      const { row } = must(scenario.commands[bit], 'a command of the scenario')
      if ((state.proposed & (1 << bit)) === 0 && local(row).canPropose) yield { kind: 'propose', command: bit }
    }
    for (const number of state.messages) {
      const delivery = must(this.#messages[number], 'a named message')
      if (local(delivery.to).isUp) yield delivery
    }
    for (let row = 0; row < scenario.n; row++) {
      const { isUp, hasPending, canRecover } = local(row)
      if (!isUp) {
        if (scenario.restarts ?? true) yield { kind: 'restart', row }
        continue
      }
      if (hasPending && scenario.disk === 'held') yield { kind: 'write', row }
      if (scenario.fastPathTimeouts ?? true) yield { kind: 'fastPathTimeout', row }
      if (state.recoveries < (scenario.recoveries ?? 0) && (scenario.recoverers?.includes(row) ?? true)) {
        for (let at = 0; at < this.#recoverable.length; at++) {
          const id = must(this.#recoverable[at], 'an instance that may be recovered')
          const isProposed = this.#promises[state.promises]?.proposed.has(instanceKey(id)) === true
          if (canRecover[at] === true && isProposed) yield { kind: 'recover', row, id }
        }
      }
      if (state.crashes < (scenario.crashes ?? 0) && (scenario.crashing?.includes(row) ?? true)) {
        yield { kind: 'crash', row, written: false }
        if (hasPending) yield { kind: 'crash', row, written: true }
      }
    }
  }

  /** The state that follows; null where it was seen before. Throws what is wrong with it. */
  #after(state: GlobalState, action: Action): GlobalState | null {
    const hosts = [...state.hosts]
    const sent: number[] = []
    let promises = state.promises
    const perform = (row: Row, operation: HostOperation, ms = 0) => {
      follow(row, this.#outcome(must(hosts[row], 'a row'), operation, ms))
    }
    const follow = (row: Row, outcome: Outcome) => {
      if (outcome.error !== null) throw outcome.error
      hosts[row] = outcome.next
      sent.push(...outcome.sent)
      if (outcome.events.length > 0) promises = this.#notice(promises, row, outcome.events)
    }
    let { proposed, recoveries, crashes } = state
    switch (action.kind) {
      case 'propose': {
        const { row, command } = must(this.#scenario.commands[action.command], 'a command of the scenario')
        const { nextSeq } = must(this.#locals[must(hosts[row], 'a row')], 'a named state')
        promises = this.#noticeProposal(promises, { row, seq: nextSeq }, command)
        proposed |= 1 << action.command
        perform(row, { kind: 'input', input: { kind: 'propose', command } })
        break
      }
      case 'deliver': {
        const { to } = action
        const outcome = this.#delivery(must(hosts[to], 'a row'), action)
        if (changesNothing(outcome, state, to)) return null
        follow(to, outcome)
        break
      }
      case 'fastPathTimeout':
        perform(action.row, { kind: 'input', input: { kind: 'tick' } }, patientTimeouts.fastPathMs)
        break
      case 'recover':
        recoveries++
        perform(action.row, { kind: 'recover', id: action.id })
        break
      case 'write':
        perform(action.row, { kind: 'write' })
        break
      case 'crash':
        crashes++
        perform(action.row, { kind: 'crash', written: action.written })
        break
      case 'restart': {
        const { row } = action
        perform(row, { kind: 'restart' })
        for (let other = 0; other < hosts.length; other++) {
          if (other === row || !must(this.#locals[must(hosts[other], 'a row')], 'a named state').isUp) continue
          perform(row, { kind: 'input', input: { kind: 'connected', peer: voterOf(other) } })
          perform(other, { kind: 'input', input: { kind: 'connected', peer: voterOf(row) } })
        }
        break
      }
    }
    const all = sent.length === 0 ? state.messages : union(state.messages, sent)
    const messages = this.#leaveOutSpent
      ? all.filter((number) => !this.#isSpent(must(this.#messages[number], 'a named message'), hosts, crashes))
      : all
    return this.#enter({ hosts, messages, promises, proposed, recoveries, crashes }, state.index, action)
  }

  #enter(state: Omit<GlobalState, 'index'>, parent: number, action: Action | null): GlobalState | null {
    const { hosts, messages, promises, proposed, recoveries, crashes } = state
    const situation = `${hosts.join()};${promises};${proposed};${recoveries};${crashes}`
    const name = `${situation};${messages.join()}`
    if (this.#seen.has(name)) return null
    this.#situations.add(situation)
    const index = this.#seen.size
    this.#seen.set(name, index)
    this.#parents.push(parent)
    if (action !== null) this.#actions[index] = action
    return { ...state, index }
  }

  /**
   * Whether the message can do nothing any more, whenever it arrives: to leave it out then leaves nothing out.
   * - An answer to an attempt that is over, or that has counted its sender. An attempt begins before it is answered, and its
   *   ballot never comes again: what its request waited for is durable, and a seq is taken once ([DU1]).
   * - The value of what is committed there.
   * - A question about what is committed both there and at the asker: its answer would be such a value.
   * What a crash may still take back is not relied on.
   */
  #isSpent({ from, to, message }: Delivery, hosts: readonly number[], crashes: number): boolean {
    const receiver = must(this.#locals[must(hosts[to], 'a row')], 'a named state')
    const sender = must(this.#locals[must(hosts[from], 'a row')], 'a named state')
    const lasting = crashes >= (this.#scenario.crashes ?? 0)
    const isFinal = (local: LocalState, id: InstanceId) =>
      (lasting ? local.committed : local.written).has(instanceKey(id))
    switch (message.type) {
      case 'PreAcceptOk':
        return receiver.unanswered.get(instanceKey(message.id))?.has(from) !== true
      case 'AcceptOk':
      case 'RecoverOk':
      case 'ValidateOk':
      case 'Nack':
        return receiver.attempted.get(instanceKey(message.id)) !== message.ballot
      case 'Commit':
      case 'ShortCommit':
      case 'Waiting':
        return isFinal(receiver, message.id)
      case 'PreAccept':
      case 'Accept':
      case 'Recover':
      case 'Validate':
        return isFinal(receiver, message.id) && isFinal(sender, message.id)
      case 'Pulled':
        return message.commits.every(({ id }) => isFinal(receiver, id)) && !receiver.isPulling
      default:
        return false
    }
  }

  // --- single replicas ----------------------------------------------------------------------------------------------

  #delivery(at: number, { from, message, number }: Delivery): Outcome {
    const { deliveries } = must(this.#locals[at], 'a named state')
    let outcome = deliveries.get(number)
    if (outcome === undefined) {
      outcome = this.#outcome(at, { kind: 'input', input: { kind: 'receive', from: voterOf(from), message } }, 0)
      deliveries.set(number, outcome)
    }
    return outcome
  }

  #outcome(at: number, operation: HostOperation, ms: number): Outcome {
    const local = must(this.#locals[at], 'a named state')
    const name = this.#nameOfOperation(operation)
    const known = local.outcomes.get(name)
    if (known !== undefined) return known
    const { host, now } = this.#materialize(at)
    const sent: number[] = []
    const events: PromiseEvent[] = []
    host.attach({
      sent: (from, to, message) => {
        if (this.#isSent(from, to, message)) sent.push(this.#internMessage(from, to, message))
      },
      committed: (_, instance) => events.push({ kind: 'committed', instance }),
      executed: (_, instance, before) => events.push({ kind: 'executed', instance, before: [...before] }),
      refused() {},
      readable() {},
    })
    let outcome: Outcome
    try {
      host.perform(operation, now + ms)
      if (host.state !== null) checkInvariants(host.state)
      const next = this.#internLocal(host, at, [{ operation, now: now + ms }])
      outcome = { next, sent, events, error: null }
    } catch (error) {
      outcome = { next: at, sent: [], events: [], error }
    }
    local.outcomes.set(name, outcome)
    return outcome
  }

  #nameOfOperation(operation: HostOperation): string {
    if (operation.kind === 'input') {
      const { input } = operation
      switch (input.kind) {
        case 'receive':
          return `receive ${input.from} ${nameOfMessage(input.message)}`
        case 'propose':
          return `propose ${nameOfCommand(input.command)}`
        case 'connected':
          return `connected ${input.peer}`
        default:
          return input.kind
      }
    }
    if (operation.kind === 'recover') return `recover ${formatInstanceId(operation.id)}`
    return operation.kind === 'crash' ? `crash ${operation.written}` : operation.kind
  }

  /** A replica in the state: made by what led to it. */
  #materialize(at: number): { readonly host: ReplicaHost; readonly now: number } {
    const path: TimedOperation[][] = []
    let row: Row = 0
    for (let index = at; index >= 0; ) {
      const local = must(this.#locals[index], 'a named state')
      path.push([...local.operations])
      row = local.row
      index = local.parent
    }
    const host = new ReplicaHost(
      {
        row,
        config: epochOf(this.#scenario.n),
        timeouts: patientTimeouts,
        disk: this.#scenario.disk ?? 'instant',
        unusedSeqsMax: this.#scenario.unusedSeqsMax ?? 0,
      },
      silence,
    )
    let now = 0
    for (const { operation, now: at } of path.reverse().flat()) {
      now = at
      host.perform(operation, at)
    }
    return { host, now }
  }

  #internLocal(host: ReplicaHost, parent: number, operations: readonly TimedOperation[]): number {
    const name = `${host.row}\n${nameOfHost(host, this.#commands, this.#readsDisk)}`
    const known = this.#localByName.get(name)
    if (known !== undefined) return known
    const index = this.#locals.length
    this.#localByName.set(name, index)
    this.#locals.push({
      row: host.row,
      parent,
      operations,
      outcomes: new Map(),
      deliveries: new Map(),
      isUp: host.isUp,
      canPropose: host.canPropose,
      nextSeq: host.state?.nextSeq ?? 0,
      canRecover: this.#recoverable.map((id) => host.canRecover(id)),
      hasPending: host.pending.length > 0,
      committed: new Set([...(host.state?.log.all() ?? [])].filter(isCommitted).map(({ id }) => instanceKey(id))),
      written: new Set([...host.disk.values()].filter(isCommitted).map(({ id }) => instanceKey(id))),
      attempted: new Map([...(host.state?.attempts ?? [])].map(([key, { ballot }]) => [key, ballot])),
      unanswered: unansweredOf(host),
      isPulling: host.state !== null && host.state.pull !== null,
    })
    return index
  }

  #isSent(from: Row, to: Row, message: Message): boolean {
    return message.type !== 'Heartbeat' && this.#scenario.lost?.(from, to, message) !== true
  }

  #internMessage(from: Row, to: Row, message: Message): number {
    const name = `${from}>${to} ${nameOfMessage(message)}`
    const known = this.#messageByName.get(name)
    if (known !== undefined) return known
    const number = this.#messages.length
    this.#messageByName.set(name, number)
    this.#messages.push({ kind: 'deliver', from, to, message, number })
    return number
  }

  // --- promises -----------------------------------------------------------------------------------------------------

  #internPromises(promises: ProtocolPromises): number {
    const name = nameOfPromises(promises)
    const known = this.#promisesByName.get(name)
    if (known !== undefined) return known
    const index = this.#promises.length
    this.#promisesByName.set(name, index)
    this.#promises.push(promises)
    return index
  }

  #notice(at: number, row: Row, events: readonly PromiseEvent[]): number {
    const what = events.map(({ kind, instance: { id, command, deps } }, index) => {
      const event = events[index]
      const before = event?.kind === 'executed' ? event.before.map((other) => instanceKey(other.id)).join() : ''
      return `${kind} ${instanceKey(id)} ${nameOfCommand(command)} ${deps.join()} ${before}`
    })
    const name = `${at} ${what.join(';')}`
    const known = this.#promisesAfter.get(name)
    if (known !== undefined) return known
    const promises = new ProtocolPromises(this.#promises[at])
    for (const event of events) {
      if (event.kind === 'committed') promises.noteCommit(row, event.instance)
      else promises.noteExecution(row, event.instance, event.before)
    }
    const index = this.#internPromises(promises)
    this.#promisesAfter.set(name, index)
    return index
  }

  #noticeProposal(at: number, id: InstanceId, command: Command): number {
    const promises = new ProtocolPromises(this.#promises[at])
    promises.notePropose(id, command)
    return this.#internPromises(promises)
  }

  // --- traces and ends ----------------------------------------------------------------------------------------------

  #path(index: number): Action[] {
    const path: Action[] = []
    for (let at = index; (this.#parents[at] ?? -1) >= 0; at = this.#parents[at] ?? -1) {
      path.push(must(this.#actions[at], 'each state but the first came about by an action'))
    }
    return path.reverse()
  }

  #trace(index: number, last: Action): string[] {
    return [...this.#path(index), last].map((action) => describeAction(action, this.#scenario))
  }

  #newCluster(): ProtocolCluster {
    const { n, disk, unusedSeqsMax } = this.#scenario
    const options: ClusterOptions = {
      n,
      disk: disk ?? 'instant',
      timeouts: patientTimeouts,
      unusedSeqsMax: unusedSeqsMax ?? 0,
      heartbeats: true,
      cloneable: true,
      check: checkInvariants,
    }
    return new ProtocolCluster(options)
  }

  /** Goes the way to the state again, loses what is on its way, and lets a fair run follow: everything has to end. */
  #finish(index: number): Counterexample | null {
    const cluster = this.#newCluster()
    const path = this.#path(index)
    try {
      this.#scenario.prefix?.(cluster)
      for (const action of path) act(cluster, action, this.#scenario)
      settle(cluster)
      return null
    } catch (error) {
      const trace = path.map((action) => describeAction(action, this.#scenario))
      return {
        reason: reasonOf(error),
        trace: [...trace, '… then nothing is lost any more, and time passes; who is down comes back last'],
      }
    }
  }
}

function unansweredOf({ state }: ReplicaHost): Map<InstanceKey, Set<Row>> {
  const rows = new Map<InstanceKey, Set<Row>>()
  for (const [key, attempt] of state?.attempts ?? []) {
    if (attempt.kind !== 'preaccepting') continue
    rows.set(key, new Set(attempt.answers.flatMap((answer, row) => (answer === undefined ? [row] : []))))
  }
  return rows
}

function changesNothing({ next, sent, events, error }: Outcome, { hosts, messages }: GlobalState, row: Row): boolean {
  return error === null && next === hosts[row] && events.length === 0 && sent.every((one) => messages.includes(one))
}

const silence: HostSink = { sent() {}, committed() {}, executed() {}, refused() {}, readable() {} }

function union(sorted: readonly number[], more: readonly number[]): readonly number[] {
  const all = new Set(sorted)
  for (const number of more) all.add(number)
  return all.size === sorted.length ? sorted : [...all].sort((a, b) => a - b)
}

function act(cluster: ProtocolCluster, action: Action, scenario: Scenario): void {
  switch (action.kind) {
    case 'propose': {
      const { row, command } = must(scenario.commands[action.command], 'a command of the scenario')
      cluster.propose(row, command)
      return
    }
    case 'deliver': {
      const { from, to, message } = action
      cluster.deliver({ number: 0, from, to, message }, { keep: true })
      return
    }
    case 'fastPathTimeout':
      cluster.advance(patientTimeouts.fastPathMs)
      cluster.tick(action.row)
      return
    case 'recover':
      cluster.recover(action.row, action.id)
      return
    case 'write':
      cluster.write(action.row)
      return
    case 'crash':
      cluster.crash(action.row, { written: action.written, silently: true })
      return
    case 'restart':
      cluster.restart(action.row)
  }
}

export function describeAction(action: Action, scenario: Scenario): string {
  switch (action.kind) {
    case 'propose': {
      const { row, command } = must(scenario.commands[action.command], 'a command of the scenario')
      return `${row} proposes ${nameOfCommand(command)}`
    }
    case 'deliver':
      return `${action.from} → ${action.to} ${describeMessage(action.message)}`
    case 'fastPathTimeout':
      return `${action.row} waits no longer for the fast path`
    case 'recover':
      return `${action.row} recovers ${formatInstanceId(action.id)}`
    case 'write':
      return `${action.row} has written`
    case 'crash':
      return `${action.row} crashes${action.written ? ', its last batch is written' : ''}`
    case 'restart':
      return `${action.row} restarts`
  }
}

export function describeMessage(message: Message): string {
  const parts: string[] = [message.type]
  if ('id' in message) parts.push(formatInstanceId(message.id))
  if ('ballot' in message) parts.push(`ballot ${message.ballot}`)
  if ('command' in message) parts.push(nameOfCommand(message.command))
  if ('deps' in message) parts.push(`[${message.deps.join(' ')}]`)
  if (message.type === 'RecoverOk') {
    const { known } = message
    parts.push(known.phase)
    if (known.phase !== 'none') parts.push(nameOfCommand(known.command), `[${known.deps.join(' ')}]`)
    if (known.phase === 'preaccepted') parts.push(`first [${known.initDeps.join(' ')}]`)
    if ('acceptedBallot' in known) parts.push(`at ${known.acceptedBallot}`)
  }
  if (message.type === 'ValidateOk') {
    parts.push(
      message.invalidating.map(({ id, committed }) => `${formatInstanceId(id)}${committed ? '!' : ''}`).join(' '),
    )
  }
  if (message.type === 'Waiting') parts.push(`supporters ${message.supporters}`)
  if (message.type === 'Nack') parts.push(`promised ${message.promisedBallot}`)
  return parts.join(' ').trim()
}

export function reasonOf(error: unknown): string {
  if (error instanceof BrokenPromise) return error.message
  if (error instanceof Error) return `${error.name}: ${error.message}`
  return String(error)
}

export function explore(scenario: Scenario, options: ExploreOptions = {}): Exploration {
  assert(scenario.commands.length < 31, 'a bit for each command')
  return new Explorer(scenario).run(options)
}
