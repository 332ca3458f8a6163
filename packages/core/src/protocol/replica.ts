// The protocol of one epoch behind one function: step(input) → effects. It never waits, and knows no clock but what the
// inputs say. Checks here what a sender may say; the handlers then trust the shape and decide.
import { unreachable } from '../lib/assert.ts'
import { receiveAccept, receiveAcceptOk } from './accept.ts'
import { ballotOwner } from './ballot.ts'
import { receiveHeartbeat, receivePull, receivePulled, requestPull } from './catch-up.ts'
import { receiveCommit } from './commit.ts'
import type { Deps } from './deps.ts'
import type { Effect, Input, Refusal } from './effect.ts'
import type { InstanceId, ReplicaId } from './ids.ts'
import type { Message } from './message.ts'
import { propose, receivePreAccept, receivePreAcceptOk } from './pre-accept.ts'
import { receiveReadIndex, receiveReadIndexOk, startRead } from './read.ts'
import {
  receiveNack,
  receiveRecover,
  receiveRecoverOk,
  receiveValidate,
  receiveValidateOk,
  receiveWaiting,
  reconsiderAllWaiting,
} from './recovery.ts'
import { receiveShortCommit } from './short-commit.ts'
import { type ReplicaState, setConnected } from './state.ts'
import { reconsiderPaths, resendTo, retryLater, tick } from './timers.ts'

/** How far a seq may be ahead of what is known of its row: nobody fills memory with names of instances. */
const seqAheadMax = 1_000_000

/** One step. `now` is the caller's clock in milliseconds; it never goes back. */
export function step(state: ReplicaState, input: Input, now: number): Effect[] {
  state.now = Math.max(state.now, now)
  const effects: Effect[] = []
  switch (input.kind) {
    case 'propose':
      propose(state, input.command, effects)
      break
    case 'receive':
      receive(state, input.from, input.message, effects)
      break
    case 'connected':
      setConnected(state, input.peer, true)
      resendTo(state, input.peer, effects)
      state.heartbeatAt = state.now // so that it hears at once what is committed here
      break
    case 'disconnected':
      setConnected(state, input.peer, false)
      reconsiderPaths(state, effects)
      break
    case 'tick':
      tick(state, effects)
      break
    case 'execution':
      state.needs = input.needs
      state.executed = input.executed
      break
    case 'reserved':
      state.durableSeq = Math.max(state.durableSeq, input.upTo)
      break
    case 'catchUp':
      requestPull(state, input.from, effects)
      break
    case 'read':
      startRead(state, input.read, input.footprint, effects)
      break
    default:
      unreachable(input)
  }
  // who waits for others has said so, to itself too: usually nobody does, and there is nothing to go through
  if (state.waitings.size > 0 && committedAny(effects)) reconsiderAllWaiting(state, effects)
  return effects
}

function committedAny(effects: readonly Effect[]): boolean {
  for (const { kind } of effects) if (kind === 'committed') return true
  return false
}

function receive(state: ReplicaState, from: ReplicaId, message: Message, effects: Effect[]): void {
  const reason = refusal(state, from, message)
  if (reason !== null) {
    effects.push({ kind: 'refused', from, reason, message })
    return
  }
  state.heardAt.set(from, state.now)
  dispatch(state, from, message, effects)
}

function dispatch(state: ReplicaState, from: ReplicaId, message: Message, effects: Effect[]): void {
  const row = state.rows.get(from) ?? -1
  switch (message.type) {
    case 'PreAccept':
      return receivePreAccept(state, from, message, effects)
    case 'PreAcceptOk':
      return receivePreAcceptOk(state, row, message, effects)
    case 'Accept':
      return receiveAccept(state, from, message, effects)
    case 'AcceptOk':
      return receiveAcceptOk(state, row, message, effects)
    case 'Commit':
      return receiveCommit(state, message, effects)
    case 'ShortCommit':
      return receiveShortCommit(state, from, message, effects)
    case 'Recover':
      return receiveRecover(state, from, message, effects)
    case 'RecoverOk':
      return receiveRecoverOk(state, row, message, effects)
    case 'Validate':
      return receiveValidate(state, from, message, effects)
    case 'ValidateOk':
      return receiveValidateOk(state, row, message, effects)
    case 'Waiting':
      return receiveWaiting(state, message, effects)
    case 'Nack':
      return receiveNack(state, row, message, effects, retryLater)
    case 'Heartbeat':
      return receiveHeartbeat(state, from, message, effects)
    case 'Pull':
      return receivePull(state, from, message, effects)
    case 'Pulled':
      return receivePulled(state, from, message, effects)
    case 'ReadIndex':
      return receiveReadIndex(state, from, message, effects)
    case 'ReadIndexOk':
      return receiveReadIndexOk(state, row, message, effects)
    default:
      return unreachable(message)
  }
}

/** What the sender may not say (docs/protocol.md, end of section 4); null where all is well. */
function refusal(state: ReplicaState, from: ReplicaId, message: Message): Refusal | null {
  const row = state.rows.get(from)
  const voter = row !== undefined
  switch (message.type) {
    case 'Heartbeat':
    case 'Pull':
      return vectorRefusal(state, message.committedUpTo)
    case 'Pulled':
      if (!voter && state.pull?.from !== from) return 'not-a-member'
      for (const commit of message.commits) {
        const reason = instanceRefusal(state, commit.id) ?? vectorRefusal(state, commit.deps)
        if (reason !== null) return reason
      }
      return null
    case 'ReadIndex':
      return state.row === null ? 'not-a-voter' : null
    case 'ReadIndexOk':
      return voter ? vectorRefusal(state, message.deps) : 'not-a-member'
    default:
      break
  }
  if (!voter) return 'not-a-member'
  if (message.type !== 'Commit' && state.row === null) return 'not-a-voter'
  const reason = instanceRefusal(state, message.id)
  if (reason !== null) return reason
  switch (message.type) {
    case 'ShortCommit':
      return message.id.row !== row ? 'not-the-coordinator' : null
    case 'PreAccept':
      return message.id.row !== row ? 'not-the-coordinator' : vectorRefusal(state, message.deps)
    case 'Validate':
      if (message.ballot === 0) return 'not-the-ballots-owner' // only a recovery validates
      if (ballotOwner(message.ballot, message.id.row) !== row) return 'not-the-ballots-owner'
      return vectorRefusal(state, message.deps)
    case 'Accept':
      if (ballotOwner(message.ballot, message.id.row) !== row) return 'not-the-ballots-owner'
      return vectorRefusal(state, message.deps)
    case 'Recover':
      return message.ballot === 0 || ballotOwner(message.ballot, message.id.row) !== row
        ? 'not-the-ballots-owner'
        : null
    case 'PreAcceptOk':
    case 'Commit':
      return vectorRefusal(state, message.deps)
    case 'RecoverOk':
      if (message.known.phase === 'none') return null
      if (message.known.phase === 'preaccepted') {
        const initReason = vectorRefusal(state, message.known.initDeps)
        if (initReason !== null) return initReason
      }
      return vectorRefusal(state, message.known.deps)
    case 'ValidateOk':
      for (const { id } of message.invalidating) {
        const idReason = instanceRefusal(state, id)
        if (idReason !== null) return idReason
      }
      return null
    default:
      return null
  }
}

function vectorRefusal(state: ReplicaState, deps: Deps): Refusal | null {
  return deps.length === state.quorums.n ? null : 'wrong-vector-length'
}

function instanceRefusal(state: ReplicaState, id: InstanceId): Refusal | null {
  if (id.row >= state.quorums.n) return 'unknown-row'
  return id.seq > (state.log.knownUpTo[id.row] ?? 0) + seqAheadMax ? 'seq-too-far-ahead' : null
}
