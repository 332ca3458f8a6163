// Accept, AcceptOk (docs/protocol.md, section 4, rules 4 and 5): the second round, at ballot 0 or in a recovery.
import type { Ballot } from './ballot.ts'
import type { Command } from './command.ts'
import { commitOnSlowPath, refusePassed } from './commit.ts'
import type { Deps } from './deps.ts'
import type { Effect } from './effect.ts'
import type { InstanceId, ReplicaId, Row } from './ids.ts'
import { instanceKey, type KnownInstance } from './instance.ts'
import type { Accept, AcceptOk } from './message.ts'
import { learn, type ReplicaState } from './state.ts'

interface Value {
  readonly id: InstanceId
  readonly ballot: Ballot
  readonly command: Command
  readonly deps: Deps
}

/** Accept the value here, in the same step, and ask the others to. One ballot carries one value, ever. */
export function startAccept(state: ReplicaState, value: Value, effects: Effect[]): void {
  const { id, ballot, command, deps } = value
  state.attempts.set(instanceKey(id), {
    kind: 'accepting',
    id,
    ballot,
    command,
    deps,
    acks: new Set(),
    sentAt: state.now,
  })
  effects.push({ kind: 'persist', instance: recordAccept(state, value) })
  if (state.otherVoters.length > 0) {
    effects.push({ kind: 'send', to: state.otherVoters, message: { type: 'Accept', id, ballot, command, deps } })
  }
  const message: AcceptOk = { type: 'AcceptOk', id, ballot }
  effects.push({ kind: 'then', input: { kind: 'receive', from: state.self, message } })
}

function recordAccept(state: ReplicaState, { id, ballot, command, deps }: Value): KnownInstance {
  const before = state.log.get(id)
  const instance: KnownInstance = {
    id,
    phase: 'accepted',
    promisedBallot: ballot,
    acceptedBallot: ballot,
    command,
    deps,
    initCommand: before?.initCommand ?? null,
    initDeps: before?.initDeps ?? null,
  }
  learn(state, instance)
  return instance
}

/** [CO4] */
export function receiveAccept(state: ReplicaState, from: ReplicaId, message: Accept, effects: Effect[]): void {
  const { id, ballot } = message
  if (refusePassed(state, from, id, ballot, effects)) return
  // an attempt of this replica at a lower ballot has been overtaken
  const attempt = state.attempts.get(instanceKey(id))
  if (attempt !== undefined && attempt.kind !== 'accepting') state.attempts.delete(instanceKey(id))
  effects.push({ kind: 'persist', instance: recordAccept(state, message) })
  effects.push({ kind: 'send', to: [from], message: { type: 'AcceptOk', id, ballot } })
}

/** [CO5] */
export function receiveAcceptOk(state: ReplicaState, row: Row, message: AcceptOk, effects: Effect[]): void {
  const attempt = state.attempts.get(instanceKey(message.id))
  if (attempt?.kind !== 'accepting' || attempt.ballot !== message.ballot) return
  attempt.acks.add(row)
  if (attempt.acks.size < state.quorums.slow) return
  commitOnSlowPath(state, attempt, attempt.ballot === 0 ? 'slow' : 'recovered', effects)
}
