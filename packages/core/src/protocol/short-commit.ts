// What a ShortCommit means to who receives it (docs/protocol.md, [CO8]): the Commit of a value that is held here already.
import { requestPull } from './catch-up.ts'
import { receiveCommit } from './commit.ts'
import type { Effect } from './effect.ts'
import type { ReplicaId } from './ids.ts'
import { type Instance, isCommitted } from './instance.ts'
import type { Commit, ShortCommit } from './message.ts'
import type { ReplicaState } from './state.ts'

/** [CO8] Taken like the Commit that it stands for; where the value is not held, that is pulled from the coordinator. */
export function receiveShortCommit(
  state: ReplicaState,
  from: ReplicaId,
  message: ShortCommit,
  effects: Effect[],
): void {
  const held = state.log.get(message.id)
  if (isCommitted(held)) return
  const commit = held === undefined ? null : fullCommit(held, message.value)
  if (commit !== null) receiveCommit(state, commit, effects)
  else requestPull(state, from, effects) // the message before it was lost, or refused for a recovery's promise
}

/** The Commit that is meant; null where what is held need not be its value. */
function fullCommit(held: Instance, value: ShortCommit['value']): Commit | null {
  const { id, initCommand, initDeps } = held
  if (value === 'initial') {
    // nothing but the coordinator's PreAccept, and a Validate that repeats it, ever sets these
    if (initCommand === null || initDeps === null) return null
    return { type: 'Commit', id, ballot: 0, command: initCommand, deps: initDeps }
  }
  // one ballot carries one value
  if (held.phase !== 'accepted' || held.acceptedBallot !== 0) return null
  return { type: 'Commit', id, ballot: 0, command: held.command, deps: held.deps }
}
