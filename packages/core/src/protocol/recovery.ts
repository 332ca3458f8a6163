// Recovery (docs/protocol.md, section 5): any voter brings to its end an instance that it needs and that its coordinator
// left in doubt. The decisions themselves are in recovery-decision.ts and validation.ts.
import { assert, must } from '../lib/assert.ts'
import { startAccept } from './accept.ts'
import { ballotAbove } from './ballot.ts'
import { commandsConflict } from './command.ts'
import { commitOnSlowPath, refusePassed } from './commit.ts'
import { type Deps, dependsOn } from './deps.ts'
import type { Effect } from './effect.ts'
import { formatInstanceId, type InstanceId, type ReplicaId, type Row } from './ids.ts'
import { type Instance, instanceIdOf, instanceKey, isCommitted } from './instance.ts'
import type { Invalidating, Nack, Recover, RecoverOk, Validate, ValidateOk, Waiting } from './message.ts'
import { decidePath } from './pre-accept.ts'
import { decideRecovery, decideValidation, nopValue } from './recovery-decision.ts'
import { learn, type Recovering, type ReplicaState, type Validating, type WaitingForOthers } from './state.ts'
import { findInvalidating } from './validation.ts'

/** [RC1] Take a ballot of one's own above all that were seen, and ask everyone. */
export function startRecovery(state: ReplicaState, id: InstanceId, effects: Effect[]): void {
  const row = must(state.row, 'only a voter recovers')
  const key = instanceKey(id)
  const before = state.log.get(id)
  assert(!isCommitted(before), `${formatInstanceId(id)} is committed: there is nothing to recover`)
  const ballot = ballotAbove(Math.max(before?.promisedBallot ?? 0, state.ballotsSeen.get(key) ?? 0), row)
  const attempt: Recovering = { kind: 'recovering', id, ballot, answers: new Map(), sentAt: state.now }
  const promised = recordPromise(state, id, ballot)
  state.attempts.set(key, attempt)
  effects.push({ kind: 'persist', instance: promised })
  if (state.otherVoters.length > 0) {
    effects.push({ kind: 'send', to: state.otherVoters, message: { type: 'Recover', id, ballot } })
  }
  answerSelf(state, recoverOk(promised, ballot), effects)
}

function answerSelf(state: ReplicaState, message: RecoverOk | ValidateOk, effects: Effect[]): void {
  effects.push({ kind: 'then', input: { kind: 'receive', from: state.self, message } })
}

/** Records the promise. An own attempt that it forbids is over; one in the accept round may still reach its quorum. */
function recordPromise(state: ReplicaState, id: InstanceId, ballot: number): Instance {
  const key = instanceKey(id)
  const before = state.log.get(id)
  const promised: Instance =
    before === undefined
      ? { id, phase: 'none', promisedBallot: ballot, initCommand: null, initDeps: null }
      : { ...before, promisedBallot: ballot }
  learn(state, promised)
  const attempt = state.attempts.get(key)
  if (attempt !== undefined && attempt.kind !== 'accepting') state.attempts.delete(key)
  return promised
}

function recoverOk(instance: Instance, ballot: number): RecoverOk {
  const { id } = instance
  switch (instance.phase) {
    case 'none':
      return { type: 'RecoverOk', id, ballot, known: { phase: 'none' } }
    case 'preaccepted': {
      const { command, deps } = instance
      const initDeps = must(instance.initDeps, 'a pre-accepted instance has its first deps')
      return { type: 'RecoverOk', id, ballot, known: { phase: 'preaccepted', command, deps, initDeps } }
    }
    default: {
      const { phase, acceptedBallot, command, deps } = instance
      return { type: 'RecoverOk', id, ballot, known: { phase, acceptedBallot, command, deps } }
    }
  }
}

/** [RC2] */
export function receiveRecover(state: ReplicaState, from: ReplicaId, message: Recover, effects: Effect[]): void {
  const { id, ballot } = message
  if (refusePassed(state, from, id, ballot, effects)) return
  const before = state.log.get(id)
  // a repeat from the same recoverer is answered again, from what is now known
  const promised = before?.promisedBallot === ballot ? before : recordPromise(state, id, ballot)
  effects.push(promised === before ? { kind: 'sync' } : { kind: 'persist', instance: promised })
  effects.push({ kind: 'send', to: [from], message: recoverOk(promised, ballot) })
}

/** [RC3], and the last case of [RC5.3] */
export function receiveRecoverOk(state: ReplicaState, row: Row, message: RecoverOk, effects: Effect[]): void {
  const attempt = state.attempts.get(instanceKey(message.id))
  if (attempt === undefined || attempt.ballot !== message.ballot) return
  if (attempt.kind === 'recovering') {
    attempt.answers.set(row, message)
    // not held up for a full quorum: a committed value is final
    if (message.known.phase === 'committed' || attempt.answers.size >= state.quorums.slow) {
      decide(state, attempt, effects)
    }
  } else if (attempt.kind === 'waiting' && !attempt.quorum.has(row)) {
    hearLate(state, attempt, row, message, effects)
  }
}

function decide(state: ReplicaState, attempt: Recovering, effects: Effect[]): void {
  const { id, ballot, answers } = attempt
  const decision = decideRecovery(answers, id.row, state.quorums)
  switch (decision.kind) {
    case 'commit':
      commitOnSlowPath(state, { id, ballot: decision.acceptedBallot, ...pick(decision.value) }, 'recovered', effects)
      return
    case 'accept':
      startAccept(state, { id, ballot, ...pick(decision.value) }, effects)
      return
    case 'validate': {
      const { command, deps } = decision.value
      const quorum = new Set(answers.keys())
      const validating: Validating = {
        kind: 'validating',
        id,
        ballot,
        command,
        deps,
        quorum,
        supporters: decision.supporters,
        answers: new Map(),
        startedAt: state.now,
        sentAt: state.now,
      }
      state.attempts.set(instanceKey(id), validating)
      const message: Validate = { type: 'Validate', id, ballot, command, deps }
      const own = quorum.has(must(state.row, 'only a voter recovers'))
        ? validateHere(state, message, effects)
        : undefined
      const others = rowsToIds(state, quorum).filter((member) => member !== state.self)
      if (others.length > 0) effects.push({ kind: 'send', to: others, message })
      if (own !== undefined) answerSelf(state, own, effects)
    }
  }
}

function pick({ command, deps }: { command: Validate['command']; deps: Deps }): Pick<Validate, 'command' | 'deps'> {
  return { command, deps }
}

function rowsToIds(state: ReplicaState, rows: ReadonlySet<Row>): ReplicaId[] {
  return state.config.members.voters.filter((_, row) => rows.has(row))
}

/** [RC4] Records the value under validation and says what speaks against it. The caller has checked ballot and phase. */
function validateHere(state: ReplicaState, message: Validate, effects: Effect[]): ValidateOk {
  const { id, ballot, command, deps } = message
  const before = must(state.log.get(id), 'a validated instance was promised')
  const recorded: Instance =
    before.phase === 'none'
      ? { ...before, initCommand: command, initDeps: deps }
      : { ...before, command, initCommand: command, initDeps: deps }
  const invalidating = findInvalidating(state, id, command, deps)
  learn(state, recorded)
  effects.push({ kind: 'persist', instance: recorded })
  return { type: 'ValidateOk', id, ballot, invalidating }
}

/** [RC4] Only while the phase is none or preaccepted: else a repeated Validate could undo an Accept. */
export function receiveValidate(state: ReplicaState, from: ReplicaId, message: Validate, effects: Effect[]): void {
  const { id, ballot } = message
  if (refusePassed(state, from, id, ballot, effects)) return
  const before = state.log.get(id)
  if (before?.promisedBallot !== ballot || before.phase === 'accepted') return
  const answer = validateHere(state, message, effects)
  effects.push({ kind: 'send', to: [from], message: answer })
}

/** [RC5] */
export function receiveValidateOk(state: ReplicaState, row: Row, message: ValidateOk, effects: Effect[]): void {
  const attempt = state.attempts.get(instanceKey(message.id))
  if (attempt?.kind !== 'validating' || attempt.ballot !== message.ballot || !attempt.quorum.has(row)) return
  attempt.answers.set(row, message.invalidating)
  if (attempt.answers.size < attempt.quorum.size) return
  const { id, ballot, command, deps, quorum, supporters } = attempt
  const union = unite(attempt.answers)
  switch (decideValidation(union, quorum, supporters, state.quorums)) {
    case 'accept':
      startAccept(state, { id, ballot, command, deps }, effects)
      return
    case 'nop':
      startAccept(state, { id, ballot, ...nopValue(state.quorums.n) }, effects)
      return
    case 'wait': {
      const waiting: WaitingForOthers = {
        kind: 'waiting',
        id,
        ballot,
        command,
        deps,
        quorum,
        supporters,
        invalidating: union.map((one) => one.id),
        sentAt: state.now,
      }
      state.attempts.set(instanceKey(id), waiting)
      tellWaiting(state, waiting, effects)
      recoverOthers(state, waiting, effects)
      reconsiderAllWaiting(state, effects) // its own Waiting may also be what another recovery here waits for
    }
  }
}

/** The union by instance; committed if anyone says so. In order of (seq, row), so that nothing depends on arrival. */
function unite(answers: ReadonlyMap<Row, readonly Invalidating[]>): Invalidating[] {
  const committedByKey = new Map<number, boolean>()
  for (const one of [...answers.values()].flat()) {
    const key = instanceKey(one.id)
    committedByKey.set(key, one.committed || committedByKey.get(key) === true)
  }
  return [...committedByKey].sort(([a], [b]) => a - b).map(([key, committed]) => ({ id: instanceIdOf(key), committed }))
}

/** [RC5.3] Repeated by the timers, for it may be lost. */
export function tellWaiting(state: ReplicaState, attempt: WaitingForOthers, effects: Effect[]): void {
  const message: Waiting = { type: 'Waiting', id: attempt.id, supporters: attempt.supporters }
  noteWaiting(state, message)
  if (state.otherVoters.length > 0) effects.push({ kind: 'send', to: state.otherVoters, message })
}

function noteWaiting(state: ReplicaState, { id, supporters }: Waiting): void {
  const key = instanceKey(id)
  if (isCommitted(state.log.get(id))) return
  state.waitings.set(key, Math.max(supporters, state.waitings.get(key) ?? 0))
}

/** [RC5.3] What has to be decided first is recovered, unless that is under way here. */
function recoverOthers(state: ReplicaState, attempt: WaitingForOthers, effects: Effect[]): void {
  for (const id of attempt.invalidating) {
    if (!isCommitted(state.log.get(id)) && !state.attempts.has(instanceKey(id))) startRecovery(state, id, effects)
  }
}

export function receiveWaiting(state: ReplicaState, message: Waiting, effects: Effect[]): void {
  noteWaiting(state, message)
  reconsiderAllWaiting(state, effects)
}

/** [RC5.3] After anything that may let a waiting recovery go on: a commit, a Waiting. */
export function reconsiderAllWaiting(state: ReplicaState, effects: Effect[]): void {
  for (const attempt of [...state.attempts.values()]) {
    if (attempt.kind === 'waiting' && state.attempts.get(instanceKey(attempt.id)) === attempt) {
      reconsiderWaiting(state, attempt, effects)
    }
  }
}

function reconsiderWaiting(state: ReplicaState, attempt: WaitingForOthers, effects: Effect[]): void {
  const { id, ballot, command, deps } = attempt
  const { n, f, e } = state.quorums
  let allHarmless = true
  for (const other of attempt.invalidating) {
    const instance = state.log.get(other)
    if (isCommitted(instance)) {
      if (commandsConflict(instance.command, command) && !dependsOn(instance.deps, id)) {
        startAccept(state, { id, ballot, ...nopValue(n) }, effects)
        return
      }
    } else {
      allHarmless = false
      if ((state.waitings.get(instanceKey(other)) ?? 0) > n - f - e) {
        startAccept(state, { id, ballot, ...nopValue(n) }, effects)
        return
      }
    }
  }
  if (allHarmless) startAccept(state, { id, ballot, command, deps }, effects)
}

/** [RC5.3] An answer from outside Q while waiting. */
function hearLate(
  state: ReplicaState,
  attempt: WaitingForOthers,
  row: Row,
  { known }: RecoverOk,
  effects: Effect[],
): void {
  const { id, ballot } = attempt
  if (known.phase === 'committed') {
    commitOnSlowPath(state, { id, ballot: known.acceptedBallot, ...pick(known) }, 'recovered', effects)
  } else if (known.phase === 'accepted') {
    startAccept(state, { id, ballot, ...pick(known) }, effects)
  } else if (row === id.row) {
    startAccept(state, { id, ballot, ...nopValue(state.quorums.n) }, effects)
  }
}

/** The attempt is refused somewhere: a recovery starts over later, above that ballot; a coordinator leaves it to the other. */
export function receiveNack(state: ReplicaState, row: Row, message: Nack, effects: Effect[], giveUp: GiveUp): void {
  const key = instanceKey(message.id)
  const attempt = state.attempts.get(key)
  if (attempt === undefined || attempt.ballot !== message.ballot || message.promisedBallot <= attempt.ballot) return
  state.ballotsSeen.set(key, Math.max(message.promisedBallot, state.ballotsSeen.get(key) ?? 0))
  if (attempt.kind === 'preaccepting') {
    attempt.refusals.add(row)
    if (state.quorums.n - attempt.refusals.size >= state.quorums.slow) {
      decidePath(state, attempt, effects) // the fast path may be out of reach now
      return
    }
  }
  state.attempts.delete(key)
  giveUp(state, message.id, effects)
}

/** What the timers do when an attempt was given up: see it through later. */
export type GiveUp = (state: ReplicaState, id: InstanceId, effects: Effect[]) => void
