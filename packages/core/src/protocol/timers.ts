// What a replica does because time passed: heartbeats, repeats, the end of waiting for the fast path, and recoveries that
// are due. Time is what the inputs say; jitter is a function of names, so that a run can be repeated.
import { hashString } from '../lib/hash.ts'
import type { Effect } from './effect.ts'
import type { InstanceId, ReplicaId } from './ids.ts'
import { instanceIdOf, instanceKey, isCommitted } from './instance.ts'
import type { Message } from './message.ts'
import { decidePath } from './pre-accept.ts'
import { resendReads } from './read.ts'
import { startRecovery, tellWaiting } from './recovery.ts'
import {
  type Attempt,
  isSuspected,
  type PreAccepting,
  type ReplicaState,
  reachableVoters,
  type Watch,
} from './state.ts'

/** Recoveries started in one tick at most, so that a long list of them comes in portions. */
const recoveriesPerTick = 256
/** Instances looked at per row and tick at most. */
const scanMax = 4_096

export function tick(state: ReplicaState, effects: Effect[]): void {
  // A page that was frozen, or whose timers were throttled, can not judge others by its own silence: start anew.
  if (state.now - state.tickedAt > state.timeouts.suspectMs / 2) {
    for (const id of state.heardAt.keys()) state.heardAt.set(id, state.now)
  }
  state.tickedAt = state.now
  for (const attempt of [...state.attempts.values()]) tend(state, attempt, effects)
  resendReads(state, effects)
  if (state.row !== null) recoverWhatIsDue(state, effects)
  beat(state, effects)
}

function beat(state: ReplicaState, effects: Effect[]): void {
  if (state.now < state.heartbeatAt) return
  state.heartbeatAt = state.now + state.timeouts.heartbeatMs
  if (state.pull !== null && state.now - state.pull.sentAt > state.timeouts.resendMs) state.pull = null
  if (state.connected.size === 0) return
  const committedUpTo = state.log.committedUpTo.slice()
  const message: Message = { type: 'Heartbeat', committedUpTo, executed: state.executed }
  effects.push({ kind: 'send', to: [...state.connected].sort(), message })
}

function tend(state: ReplicaState, attempt: Attempt, effects: Effect[]): void {
  if (state.attempts.get(instanceKey(attempt.id)) !== attempt) return // ended by what another attempt did in this tick
  if (attempt.kind === 'preaccepting') {
    decidePath(state, attempt, effects)
    if (state.attempts.get(instanceKey(attempt.id)) !== attempt) return
    if (attempt.refusals.size > 0 && !slowPathInReach(state, attempt)) {
      // [RC0] who refused has promised it to a recovery, and the recoverer may have died: see it through
      state.attempts.delete(instanceKey(attempt.id))
      retryLater(state, attempt.id)
      return
    }
  }
  if (attempt.kind === 'validating' && silentQuorum(state, attempt.quorum)) {
    // [RC5] exactly Q has to answer: with one of it silent, start over with another Q
    if (state.now - attempt.startedAt > state.timeouts.recoveryMs) {
      state.attempts.delete(instanceKey(attempt.id))
      retryLater(state, attempt.id)
      return
    }
  }
  if (state.now - attempt.sentAt < state.timeouts.resendMs) return
  attempt.sentAt = state.now
  resend(state, attempt, state.otherVoters, effects)
  if (attempt.kind === 'waiting') tellWaiting(state, attempt, effects)
}

/** Whether a slow quorum may still answer in the first round. */
function slowPathInReach(state: ReplicaState, attempt: PreAccepting): boolean {
  let possible = attempt.answered
  for (let row = 0; row < state.quorums.n; row++) {
    if (attempt.answers[row] === undefined && !attempt.refusals.has(row) && !isSuspected(state, row)) possible++
  }
  return possible >= state.quorums.slow
}

function silentQuorum(state: ReplicaState, quorum: ReadonlySet<number>): boolean {
  for (const row of quorum) if (isSuspected(state, row)) return true
  return false
}

/** Says again what was not answered yet, to those of `to` that did not answer. */
function resend(state: ReplicaState, attempt: Attempt, to: readonly ReplicaId[], effects: Effect[]): void {
  const { id, ballot } = attempt
  const silent = (answered: (row: number) => boolean) =>
    to.filter((peer) => {
      const row = state.rows.get(peer)
      return row !== undefined && state.connected.has(peer) && !answered(row)
    })
  const say = (recipients: readonly ReplicaId[], message: Message) => {
    if (recipients.length === 0) return
    effects.push({ kind: 'sync' }, { kind: 'send', to: recipients, message })
  }
  switch (attempt.kind) {
    case 'preaccepting': {
      const { command, initDeps } = attempt
      const recipients = silent((row) => attempt.answers[row] !== undefined || attempt.refusals.has(row))
      say(recipients, { type: 'PreAccept', id, command, deps: initDeps })
      return
    }
    case 'accepting': {
      const { command, deps } = attempt
      say(
        silent((row) => attempt.acks.has(row)),
        { type: 'Accept', id, ballot, command, deps },
      )
      return
    }
    case 'recovering':
      say(
        silent((row) => attempt.answers.has(row)),
        { type: 'Recover', id, ballot },
      )
      return
    case 'validating': {
      const { command, deps, quorum } = attempt
      say(
        silent((row) => !quorum.has(row) || attempt.answers.has(row)),
        { type: 'Validate', id, ballot, command, deps },
      )
      return
    }
    case 'waiting':
      say(
        silent((row) => attempt.quorum.has(row)),
        { type: 'Recover', id, ballot },
      )
  }
}

/** A link came back: a healthy coordinator repeats its messages instead of waiting for a timer. */
export function resendTo(state: ReplicaState, peer: ReplicaId, effects: Effect[]): void {
  for (const attempt of state.attempts.values()) resend(state, attempt, [peer], effects)
}

/** Whether a voter was lost may decide which path is still in reach. */
export function reconsiderPaths(state: ReplicaState, effects: Effect[]): void {
  for (const attempt of [...state.attempts.values()]) {
    if (attempt.kind === 'preaccepting' && state.attempts.get(instanceKey(attempt.id)) === attempt) {
      decidePath(state, attempt, effects)
    }
  }
}

/** Puts the next recovery of `id` off: exponentially, with jitter, so that duels end. */
export function retryLater(state: ReplicaState, id: InstanceId): void {
  const key = instanceKey(id)
  const tries = state.watches.get(key)?.tries ?? 1
  const backOff = state.timeouts.recoveryMs * 2 ** Math.min(tries, 5)
  state.watches.set(key, { at: state.now + backOff * (0.5 + jitter(state, key, tries)), tries, suspected: true })
}

/** In [0, 1), different for each replica, instance and try. */
function jitter(state: ReplicaState, key: number, tries: number): number {
  return (hashString(`${state.self}/${key}/${tries}`) % 1_024) / 1_024
}

/** [RC0] Instances that block execution, or whose coordinator is suspected, are recovered after a while. */
function recoverWhatIsDue(state: ReplicaState, effects: Effect[]): void {
  if (reachableVoters(state) < state.quorums.slow) return // nothing could come of it
  let budget = recoveriesPerTick
  for (const id of inDoubt(state)) {
    const key = instanceKey(id)
    if (state.attempts.has(key)) continue
    const watch = watchFor(state, id)
    if (state.now < watch.at) continue
    if (budget-- === 0) return
    watch.tries++
    startRecovery(state, id, effects)
    retryAfter(state, id, watch)
  }
}

/** If this recovery does not come to an end either: when to try again. */
function retryAfter(state: ReplicaState, id: InstanceId, watch: Watch): void {
  const key = instanceKey(id)
  const backOff = state.timeouts.recoveryMs * 2 ** Math.min(watch.tries, 5)
  watch.at = state.now + backOff * (1 + jitter(state, key, watch.tries))
  state.watches.set(key, watch)
}

function watchFor(state: ReplicaState, id: InstanceId): Watch {
  const key = instanceKey(id)
  const suspected = id.row === state.row || isSuspected(state, id.row)
  const known = state.watches.get(key)
  if (known !== undefined && (known.suspected || !suspected)) return known
  const watch: Watch = { at: state.now + patience(state, id, suspected), tries: known?.tries ?? 0, suspected }
  state.watches.set(key, watch)
  return watch
}

/** Grows with the distance from the coordinator in the member order, so that one voter usually comes first. */
function patience(state: ReplicaState, id: InstanceId, suspected: boolean): number {
  const { recoveryMs, patienceMs } = state.timeouts
  // what it left in doubt itself before a restart, at once; what another took up to recover, only if that does not end
  if (id.row === state.row) return id.seq <= state.restartSeq ? 0 : 4 * recoveryMs
  const { n } = state.quorums
  const distance = ((state.row ?? 0) - id.row + n) % n
  const step = recoveryMs * (distance - 1 + jitter(state, instanceKey(id), 0) / 2)
  return (suspected ? recoveryMs : patienceMs) + step
}

/** Uncommitted instances that this replica has a reason to see through, in order of row and seq. */
function* inDoubt(state: ReplicaState): Generator<InstanceId> {
  const { committedUpTo, knownUpTo } = state.log
  for (let row = 0; row < state.quorums.n; row++) {
    const own = row === state.row
    const needed = Math.max(state.needs[row] ?? 0, own ? state.restartSeq : 0)
    // of a suspected coordinator all that is known; of the own row all that no attempt is running for
    const upTo = own || isSuspected(state, row) ? Math.max(needed, knownUpTo[row] ?? 0) : needed
    const from = (committedUpTo[row] ?? 0) + 1
    for (let seq = from; seq <= Math.min(upTo, from + scanMax); seq++) {
      if (!isCommitted(state.log.at(row, seq))) yield { row, seq }
    }
  }
  // a barrier in doubt holds up everyone
  for (const key of state.barriers) {
    const id = instanceIdOf(key)
    if (!isCommitted(state.log.get(id))) yield id
  }
}
