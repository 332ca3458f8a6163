// Commit (docs/protocol.md, section 4, from [CO5] on): the value of an instance becomes final, and others hear of it. In full
// or, where the receiver holds the value already, as the few bytes of a ShortCommit.
import type { Ballot } from './ballot.ts'
import type { Command } from './command.ts'
import type { Deps } from './deps.ts'
import type { Effect } from './effect.ts'
import type { InstanceId, ReplicaId } from './ids.ts'
import { type CommittedInstance, instanceKey, isCommitted } from './instance.ts'
import type { Commit, ShortCommit } from './message.ts'
import { learn, type ReplicaState } from './state.ts'

interface Value {
  readonly id: InstanceId
  readonly ballot: Ballot
  readonly command: Command
  readonly deps: Deps
}

function recordCommit(state: ReplicaState, value: Value): CommittedInstance {
  const before = state.log.get(value.id)
  const committed: CommittedInstance = {
    id: value.id,
    phase: 'committed',
    promisedBallot: Math.max(before?.promisedBallot ?? 0, value.ballot),
    acceptedBallot: value.ballot,
    command: value.command,
    deps: value.deps,
    initCommand: before?.initCommand ?? null,
    initDeps: before?.initDeps ?? null,
  }
  learn(state, committed)
  state.attempts.delete(instanceKey(value.id))
  return committed
}

export function commitMessage(instance: CommittedInstance): Commit {
  const { id, acceptedBallot, command, deps } = instance
  return { type: 'Commit', id, ballot: acceptedBallot, command, deps }
}

/** [CO3] The fast path: rule 5.3.3 relies on it that the coordinator's record is durable before anyone hears of it. */
export function commitOnFastPath(state: ReplicaState, value: Value, effects: Effect[]): void {
  const instance = recordCommit(state, value)
  effects.push({ kind: 'persist', instance })
  tellShort(state, instance, 'initial', effects)
  effects.push({ kind: 'committed', instance, path: 'fast' })
}

/** [CO5] A slow quorum holds the value durably: nothing more has to be. */
export function commitOnSlowPath(
  state: ReplicaState,
  value: Value,
  path: 'slow' | 'recovered',
  effects: Effect[],
): void {
  const instance = recordCommit(state, value)
  if (path === 'slow') tellShort(state, instance, 'accepted', effects)
  else tell(state.learners, commitMessage(instance), effects)
  effects.push({ kind: 'committed', instance, path })
  effects.push({ kind: 'keep', instance })
}

/** [CO6] A Commit from another replica is taken whatever was promised here. */
export function receiveCommit(state: ReplicaState, message: Commit, effects: Effect[]): void {
  const before = state.log.get(message.id)
  const instance = recordCommit(state, message)
  if (isCommitted(before)) return
  effects.push({ kind: 'committed', instance, path: 'learned' })
  effects.push({ kind: 'keep', instance })
}

/** [CO6] What a committed replica answers to whoever asks about the instance. */
function answerWithCommit(instance: CommittedInstance, to: ReplicaId, effects: Effect[]): void {
  effects.push({ kind: 'sync' })
  tell([to], commitMessage(instance), effects)
}

/**
 * What every message with a ballot meets first: a committed instance answers with its Commit, a higher promise with a Nack.
 * True when that was the answer.
 */
export function refusePassed(
  state: ReplicaState,
  from: ReplicaId,
  id: InstanceId,
  ballot: Ballot,
  effects: Effect[],
): boolean {
  const instance = state.log.get(id)
  if (isCommitted(instance)) {
    answerWithCommit(instance, from, effects)
    return true
  }
  if (instance === undefined || instance.promisedBallot <= ballot) return false
  const { promisedBallot } = instance
  effects.push({ kind: 'sync' })
  effects.push({ kind: 'send', to: [from], message: { type: 'Nack', id, ballot, promisedBallot } })
  return true
}

/** [CO8] Voters were sent the value in this round already; who only follows was not. */
function tellShort(
  state: ReplicaState,
  instance: CommittedInstance,
  value: ShortCommit['value'],
  effects: Effect[],
): void {
  if (state.otherVoters.length > 0) {
    effects.push({ kind: 'send', to: state.otherVoters, message: { type: 'ShortCommit', id: instance.id, value } })
  }
  if (state.followers.length > 0) tell(state.followers, commitMessage(instance), effects)
}

function tell(to: readonly ReplicaId[], message: Commit, effects: Effect[]): void {
  if (to.length > 0) effects.push({ kind: 'send', to, message })
}
