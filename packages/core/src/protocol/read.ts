// Linearizable reads that write nothing (docs/protocol.md, section 11): a slow quorum says what the read has to come after.
import { must } from '../lib/assert.ts'
import type { Footprint } from './command.ts'
import { type Deps, mergeDeps, noDeps } from './deps.ts'
import type { Effect } from './effect.ts'
import type { ReplicaId, Row } from './ids.ts'
import type { ReadIndex, ReadIndexOk } from './message.ts'
import type { ReplicaState } from './state.ts'

/** [RD1] Ask all voters, this replica among them if it votes. */
export function startRead(state: ReplicaState, read: number, footprint: Footprint, effects: Effect[]): void {
  state.reads.set(read, { footprint, answers: new Map(), sentAt: state.now })
  if (state.otherVoters.length > 0) {
    effects.push({ kind: 'send', to: state.otherVoters, message: { type: 'ReadIndex', read, footprint } })
  }
  if (state.row !== null) {
    noteAnswer(state, state.row, read, state.index.conflictsOfFootprint(footprint), effects)
  }
}

/** [RD1] Only a voter answers. What it knows need not be durable: it is committed, or accepted by a quorum, before it counts. */
export function receiveReadIndex(state: ReplicaState, from: ReplicaId, message: ReadIndex, effects: Effect[]): void {
  must(state.row, 'only a voter is asked')
  const deps = state.index.conflictsOfFootprint(message.footprint)
  // [DU1] a seq whose reservation may be lost in a crash must not be known elsewhere
  if (state.nextSeq - 1 > state.durableSeq) effects.push({ kind: 'sync' })
  effects.push({ kind: 'send', to: [from], message: { type: 'ReadIndexOk', read: message.read, deps } })
}

export function receiveReadIndexOk(state: ReplicaState, row: Row, message: ReadIndexOk, effects: Effect[]): void {
  noteAnswer(state, row, message.read, message.deps, effects)
}

function noteAnswer(state: ReplicaState, row: Row, read: number, deps: Deps, effects: Effect[]): void {
  const pending = state.reads.get(read)
  if (pending === undefined) return
  pending.answers.set(row, deps)
  if (pending.answers.size < state.quorums.slow) return
  let all: Deps = noDeps(state.quorums.n)
  for (const answer of pending.answers.values()) all = mergeDeps(all, answer)
  state.reads.delete(read)
  effects.push({ kind: 'readable', read, deps: all })
}

export function resendReads(state: ReplicaState, effects: Effect[]): void {
  for (const [read, pending] of state.reads) {
    if (state.now - pending.sentAt < state.timeouts.resendMs) continue
    pending.sentAt = state.now
    const silent = state.otherVoters.filter((id) => {
      const row = state.rows.get(id)
      return row !== undefined && state.connected.has(id) && !pending.answers.has(row)
    })
    if (silent.length > 0) {
      effects.push({ kind: 'send', to: silent, message: { type: 'ReadIndex', read, footprint: pending.footprint } })
    }
  }
}
