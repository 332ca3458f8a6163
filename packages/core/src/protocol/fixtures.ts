// What the handler tests of the protocol are built from: a replica of n voters, commands, instances, and the effects that
// a step is expected to give. Only tests import this file.
import type { AccessMode, ApplicationCommand, BarrierCommand, Command, Footprint } from './command.ts'
import { type Deps, noDeps } from './deps.ts'
import type { Effect, Input } from './effect.ts'
import { type InstanceId, type ReplicaId, type Row, replicaId, type Seq } from './ids.ts'
import type { CommittedInstance, Instance, KnownInstance, UnknownInstance } from './instance.ts'
import type { Message } from './message.ts'
import { step } from './replica.ts'
import { createReplicaState, defaultTimeouts, type ProtocolTimeouts, type ReplicaState } from './state.ts'

/** The voter of `row`: 32 times the digit of its row. */
export function voter(row: Row): ReplicaId {
  return replicaId(String(row).repeat(32))
}

export const observer: ReplicaId = replicaId('e'.repeat(32))
export const stranger: ReplicaId = replicaId('f'.repeat(32))

export function rowsBut(n: number, row: Row | null): Row[] {
  return Array.from({ length: n }, (_, index) => index).filter((index) => index !== row)
}

/** No heartbeats, so that the lists of effects hold only what a test is about. */
export const timeouts: ProtocolTimeouts = { ...defaultTimeouts, heartbeatMs: 1_000_000_000 }

export interface ReplicaOptions {
  readonly instances?: readonly Instance[]
  readonly timeouts?: ProtocolTimeouts
  readonly reservedSeq?: Seq
  readonly restarted?: boolean
  /** The rows that are connected; all of them where it is not said. */
  readonly connected?: readonly Row[]
}

/** A replica of an epoch of n voters at time 0: at `row`, or observing where that is null. */
export function replica(n: number, row: Row | null, options: ReplicaOptions = {}): ReplicaState {
  const reservedSeq = options.reservedSeq ?? 1_000
  const state = createReplicaState({
    self: row === null ? observer : voter(row),
    config: { epoch: 1, members: { voters: rowsBut(n, null).map(voter), observers: [observer] } },
    timeouts: options.timeouts ?? timeouts,
    now: 0,
    reservedSeq,
    durableSeq: reservedSeq,
    instances: options.instances ?? [],
    restarted: options.restarted ?? false,
  })
  for (const peer of options.connected ?? rowsBut(n, row)) step(state, { kind: 'connected', peer: voter(peer) }, 0)
  step(state, { kind: 'tick' }, 0)
  return state
}

export function id(row: Row, seq: Seq): InstanceId {
  return { row, seq }
}

let lastNumber = 0

/** A command with one proposal. Each call gives another command. */
export function touching(footprint: Footprint, session: Row = 0): ApplicationCommand {
  lastNumber++
  const payload = new Uint8Array([lastNumber & 0xff, lastNumber >> 8])
  return {
    kind: 'application',
    proposals: [{ session: voter(session), number: lastNumber, ackedUpTo: 0, footprint, payload }],
  }
}

export function command(mode: AccessMode, key: number): ApplicationCommand {
  return touching([{ key, mode }])
}

/** A command that writes `key`. */
export function write(key: number): ApplicationCommand {
  return command('write', key)
}

/** A barrier whose next epoch has the first n voters. */
export function barrier(n: number): BarrierCommand {
  return { kind: 'barrier', next: { voters: rowsBut(n, null).map(voter), observers: [] } }
}

export function promised(at: InstanceId, promisedBallot: number): UnknownInstance {
  return { id: at, phase: 'none', promisedBallot, initCommand: null, initDeps: null }
}

/** Pre-accepted at ballot 0. `initDeps` are `deps` where they are not said. */
export function preaccepted(at: InstanceId, cmd: Command, deps: Deps, initDeps: Deps = deps): KnownInstance {
  return {
    id: at,
    phase: 'preaccepted',
    promisedBallot: 0,
    acceptedBallot: 0,
    command: cmd,
    deps,
    initCommand: cmd,
    initDeps,
  }
}

interface Init {
  readonly initCommand: Command
  readonly initDeps: Deps
}

/** Accepted at `ballot`, and promised no other. `init` is what was first heard of it, if anything. */
export function accepted(at: InstanceId, ballot: number, cmd: Command, deps: Deps, init?: Init): KnownInstance {
  return {
    id: at,
    phase: 'accepted',
    promisedBallot: ballot,
    acceptedBallot: ballot,
    command: cmd,
    deps,
    initCommand: init?.initCommand ?? null,
    initDeps: init?.initDeps ?? null,
  }
}

export function committed(at: InstanceId, ballot: number, cmd: Command, deps: Deps, init?: Init): CommittedInstance {
  return { ...accepted(at, ballot, cmd, deps, init), phase: 'committed' }
}

export function receive(from: Row | ReplicaId, message: Message): Input {
  return { kind: 'receive', from: typeof from === 'number' ? voter(from) : from, message }
}

export const tick: Input = { kind: 'tick' }
export const sync: Effect = { kind: 'sync' }

export function persist(instance: Instance): Effect {
  return { kind: 'persist', instance }
}

export function keep(instance: Instance): Effect {
  return { kind: 'keep', instance }
}

export function send(to: readonly Row[], message: Message): Effect {
  return { kind: 'send', to: to.map(voter), message }
}

/** The replica's answer to itself. */
export function toSelf(row: Row, message: Message): Effect {
  return { kind: 'then', input: receive(row, message) }
}

/** The effects with which the replica of `row` starts the accept round of a value. */
export function acceptRound(
  state: ReplicaState,
  value: { readonly id: InstanceId; readonly ballot: number; readonly command: Command; readonly deps: Deps },
  init?: Init,
): Effect[] {
  const { id: at, ballot, command: cmd, deps } = value
  const row = state.row ?? 0
  return [
    persist(accepted(at, ballot, cmd, deps, init)),
    send(rowsBut(state.quorums.n, row), { type: 'Accept', id: at, ballot, command: cmd, deps }),
    toSelf(row, { type: 'AcceptOk', id: at, ballot }),
  ]
}

/** Lets time pass until this replica starts to recover `at`, which its coordinator left in doubt. Gives that step's effects. */
export function recover(state: ReplicaState, at: InstanceId): Effect[] {
  const { n } = state.quorums
  const distance = ((state.row ?? 0) - at.row + n) % n
  const needs = noDeps(n)
  needs[at.row] = at.seq
  step(state, { kind: 'disconnected', peer: voter(at.row) }, state.now)
  step(state, { kind: 'execution', needs, executed: 0 }, state.now)
  step(state, tick, state.now)
  return step(state, tick, state.now + (distance + 0.5) * state.timeouts.recoveryMs)
}

/** Every order of `items`. */
export function ordersOf<T>(items: readonly T[]): T[][] {
  if (items.length <= 1) return [[...items]]
  return items.flatMap((first, index) =>
    ordersOf(items.filter((_, other) => other !== index)).map((rest) => [first, ...rest]),
  )
}
