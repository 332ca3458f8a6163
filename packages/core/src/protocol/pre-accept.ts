// Propose, PreAccept, PreAcceptOk (docs/protocol.md, section 4, rules 1 to 3): the first round at ballot 0.
import { assert, must } from '../lib/assert.ts'
import { startAccept } from './accept.ts'
import type { Command } from './command.ts'
import { commitOnFastPath, refusePassed } from './commit.ts'
import { type Deps, equalDeps, mergeDeps, noDeps } from './deps.ts'
import type { Effect } from './effect.ts'
import type { ReplicaId, Row, Seq } from './ids.ts'
import { instanceKey, type KnownInstance } from './instance.ts'
import type { PreAccept, PreAcceptOk } from './message.ts'
import { isSuspected, isWedged, learn, type PreAccepting, type ReplicaState, seqBlock } from './state.ts'

/** Whether `propose` is possible: a voter, and no barrier in the way. */
export function canPropose(state: ReplicaState): boolean {
  return state.row !== null && !isWedged(state)
}

/** [CO1] Take the next seq, record, send PreAccept. */
export function propose(state: ReplicaState, command: Command, effects: Effect[]): void {
  const row = must(state.row, 'only a voter proposes')
  assert(!isWedged(state), 'nothing is proposed while a barrier is undecided')
  const id = { row, seq: state.nextSeq++ }
  const deps = state.index.conflicts(command)
  const instance: KnownInstance = {
    id,
    phase: 'preaccepted',
    promisedBallot: 0,
    acceptedBallot: 0,
    command,
    deps,
    initCommand: command,
    initDeps: deps,
  }
  learn(state, instance)
  if (state.otherVoters.length === 0) {
    // its own vote is all there is to wait for, and the record of the commit holds it too: one write instead of two
    commitOnFastPath(state, { id, ballot: 0, command, deps }, effects)
    reserveAhead(state, id.seq, effects)
    return
  }
  state.attempts.set(instanceKey(id), {
    kind: 'preaccepting',
    id,
    ballot: 0,
    command,
    initDeps: deps,
    answers: new Array<Deps | undefined>(state.quorums.n).fill(undefined),
    refusals: new Set(),
    answered: 0,
    unchanged: 0,
    slowSince: undefined,
    sentAt: state.now,
  })
  // [DU1] PreAccept may overlap the write of the own record, but its seq must never be used again after a crash
  const reserved = id.seq <= state.durableSeq
  if (reserved) sendPreAccept(state, instance, effects)
  effects.push({ kind: 'persist', instance })
  reserveAhead(state, id.seq, effects)
  if (!reserved) sendPreAccept(state, instance, effects)
  // [DU2] the coordinator counts itself only once its own record is durable
  const message: PreAcceptOk = { type: 'PreAcceptOk', id, deps }
  effects.push({ kind: 'then', input: { kind: 'receive', from: state.self, message } })
}

/** [DU1] */
function reserveAhead(state: ReplicaState, seq: Seq, effects: Effect[]): void {
  if (seq + seqBlock / 2 <= state.reservedSeq) return
  state.reservedSeq = Math.max(state.reservedSeq, seq) + seqBlock
  effects.push({ kind: 'reserve', upTo: state.reservedSeq })
  effects.push({ kind: 'then', input: { kind: 'reserved', upTo: state.reservedSeq } })
}

function sendPreAccept(state: ReplicaState, instance: KnownInstance, effects: Effect[]): void {
  const { id, command } = instance
  const deps = must(instance.initDeps, 'a proposed instance has its first deps')
  effects.push({ kind: 'send', to: state.otherVoters, message: { type: 'PreAccept', id, command, deps } })
}

/** [CO2] */
export function receivePreAccept(state: ReplicaState, from: ReplicaId, message: PreAccept, effects: Effect[]): void {
  const { id, command } = message
  if (refusePassed(state, from, id, 0, effects)) return
  const before = state.log.get(id)
  if (before?.phase === 'accepted') return // the coordinator itself is past this round
  if (before?.phase === 'preaccepted') {
    // a repeat gets the stored answer, never a recomputed one
    effects.push({ kind: 'sync' })
    effects.push({ kind: 'send', to: [from], message: { type: 'PreAcceptOk', id, deps: before.deps } })
    return
  }
  const deps = mergeDeps(message.deps, state.index.conflicts(command))
  const instance: KnownInstance = {
    id,
    phase: 'preaccepted',
    promisedBallot: 0,
    acceptedBallot: 0,
    command,
    deps,
    initCommand: command,
    initDeps: message.deps,
  }
  learn(state, instance)
  effects.push({ kind: 'persist', instance })
  effects.push({ kind: 'send', to: [from], message: { type: 'PreAcceptOk', id, deps } })
}

/** [CO3] */
export function receivePreAcceptOk(state: ReplicaState, row: Row, message: PreAcceptOk, effects: Effect[]): void {
  const attempt = state.attempts.get(instanceKey(message.id))
  if (attempt?.kind !== 'preaccepting' || attempt.answers[row] !== undefined) return
  attempt.answers[row] = message.deps
  attempt.answered++
  if (equalDeps(message.deps, attempt.initDeps)) attempt.unchanged++
  decidePath(state, attempt, effects)
}

/** [CO3] Commit on the fast path, go to the slow one, or wait on. Called again when time passes or a voter is lost. */
export function decidePath(state: ReplicaState, attempt: PreAccepting, effects: Effect[]): void {
  const { quorums } = state
  const own = attempt.answers[must(state.row, 'only a voter coordinates')] !== undefined
  if (own && attempt.unchanged >= quorums.fast) {
    const { id, command, initDeps } = attempt
    commitOnFastPath(state, { id, ballot: 0, command, deps: initDeps }, effects)
    return
  }
  if (attempt.answered < quorums.slow) return
  attempt.slowSince ??= state.now
  const waitedLong = state.now - attempt.slowSince >= state.timeouts.fastPathMs
  if (waitedLong || !fastPathInReach(state, attempt)) {
    let deps: Deps = noDeps(quorums.n)
    for (const answer of attempt.answers) if (answer !== undefined) deps = mergeDeps(deps, answer)
    startAccept(state, { id: attempt.id, ballot: 0, command: attempt.command, deps }, effects)
  }
}

function fastPathInReach(state: ReplicaState, attempt: PreAccepting): boolean {
  let possible = attempt.unchanged
  for (let row = 0; row < state.quorums.n; row++) {
    if (attempt.answers[row] === undefined && !attempt.refusals.has(row) && !isSuspected(state, row)) possible++
  }
  return possible >= state.quorums.fast
}
