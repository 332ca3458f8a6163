// Catching up within an epoch (docs/protocol.md, section 9): heartbeats say what is committed elsewhere, and who is behind
// pulls it from one peer, in bounded portions. Across epochs the runtime fetches a checkpoint.
import { commitMessage, receiveCommit } from './commit.ts'
import { coversDeps, type Deps, mergeDeps } from './deps.ts'
import type { Effect } from './effect.ts'
import type { ReplicaId } from './ids.ts'
import { isCommitted } from './instance.ts'
import type { Commit, Heartbeat, Pull, Pulled } from './message.ts'
import type { ReplicaState } from './state.ts'

/** Commits in one answer, at most … */
const pulledMax = 512
/** … and bytes of commands in it, about. */
const pulledBytesMax = 256 * 1_024
/** Lagging by so many instances is not explained by what is on the way. */
const lagMax = 128

/** [CU1] Pull what was missing at the last heartbeat of the peer already; less may just be on the way. */
export function receiveHeartbeat(state: ReplicaState, from: ReplicaId, message: Heartbeat, effects: Effect[]): void {
  const here = state.log.committedUpTo
  const before = state.lagSeen.get(from)
  state.lagSeen.set(from, message.committedUpTo)
  if (coversDeps(here, message.committedUpTo)) return
  let lag = 0
  for (let row = 0; row < here.length; row++) lag += Math.max(0, (message.committedUpTo[row] ?? 0) - (here[row] ?? 0))
  if (lag > lagMax || (before !== undefined && !coversDeps(here, before))) requestPull(state, from, effects)
}

export function requestPull(state: ReplicaState, from: ReplicaId, effects: Effect[], after?: Deps): void {
  if (state.pull !== null) return
  // where one instance is undecided everywhere, the portions go on behind it
  const committedUpTo =
    after === undefined ? state.log.committedUpTo.slice() : mergeDeps(after, state.log.committedUpTo)
  state.pull = { from, sentAt: state.now, after: committedUpTo }
  effects.push({ kind: 'send', to: [from], message: { type: 'Pull', committedUpTo } })
}

/** [CU2] Committed instances only. */
export function receivePull(state: ReplicaState, from: ReplicaId, message: Pull, effects: Effect[]): void {
  const commits: Commit[] = []
  const { knownUpTo } = state.log
  let bytes = 0
  let more = false
  for (let row = 0; row < knownUpTo.length && !more; row++) {
    for (let seq = (message.committedUpTo[row] ?? 0) + 1; seq <= (knownUpTo[row] ?? 0); seq++) {
      const instance = state.log.at(row, seq)
      if (!isCommitted(instance)) continue
      if (commits.length >= pulledMax || bytes >= pulledBytesMax) {
        more = true
        break
      }
      commits.push(commitMessage(instance))
      if (instance.command.kind === 'application') {
        for (const proposal of instance.command.proposals) bytes += proposal.payload.length + 64
      }
    }
  }
  effects.push({ kind: 'sync' }) // a fast-path commit of this coordinator must be durable before anyone hears of it
  effects.push({ kind: 'send', to: [from], message: { type: 'Pulled', commits, more } })
}

export function receivePulled(state: ReplicaState, from: ReplicaId, message: Pulled, effects: Effect[]): void {
  for (const commit of message.commits) receiveCommit(state, commit, effects)
  if (state.pull?.from !== from) return
  const after = state.pull.after.slice()
  state.pull = null
  for (const { id } of message.commits) after[id.row] = Math.max(after[id.row] ?? 0, id.seq)
  if (message.more && message.commits.length > 0) requestPull(state, from, effects, after)
}
