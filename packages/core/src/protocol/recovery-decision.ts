// The decisions of recovery (docs/protocol.md, section 5, rules 3 and 5) as pure functions from answers to what to do.
import { type Command, nop } from './command.ts'
import { type Deps, equalDeps, noDeps } from './deps.ts'
import type { Row } from './ids.ts'
import type { Invalidating, RecoverOk } from './message.ts'
import type { Quorums } from './quorum.ts'

export interface RecoveredValue {
  readonly command: Command
  readonly deps: Deps
}

export type RecoveryDecision =
  | { readonly kind: 'commit'; readonly value: RecoveredValue; readonly acceptedBallot: number }
  | { readonly kind: 'accept'; readonly value: RecoveredValue }
  | { readonly kind: 'validate'; readonly value: RecoveredValue; readonly supporters: number }

export function nopValue(rows: number): RecoveredValue {
  return { command: nop, deps: noDeps(rows) }
}

/** Rule 5.3, for the answers of a set Q of at least n - f voters. */
export function decideRecovery(
  answers: ReadonlyMap<Row, RecoverOk>,
  coordinator: Row,
  quorums: Quorums,
): RecoveryDecision {
  // [RC3.2] one of those with the highest accepted ballot: promises do not count here
  let accepted: { ballot: number; value: RecoveredValue } | undefined
  for (const { known } of answers.values()) {
    // [RC3.1]
    if (known.phase === 'committed') return { kind: 'commit', value: known, acceptedBallot: known.acceptedBallot }
    if (known.phase === 'accepted' && (accepted === undefined || known.acceptedBallot > accepted.ballot)) {
      accepted = { ballot: known.acceptedBallot, value: known }
    }
  }
  if (accepted !== undefined) return { kind: 'accept', value: accepted.value }
  // [RC3.3] the coordinator answered, so it has not committed on the fast path and now never will
  if (answers.has(coordinator)) return { kind: 'accept', value: nopValue(quorums.n) }
  // [RC3.4] too few that may have been part of a fast quorum
  let supporters = 0
  let value: RecoveredValue | undefined
  for (const { known } of answers.values()) {
    if (known.phase === 'preaccepted' && equalDeps(known.deps, known.initDeps)) {
      supporters++
      value = { command: known.command, deps: known.initDeps }
    }
  }
  if (value === undefined || supporters < answers.size - quorums.e) {
    return { kind: 'accept', value: nopValue(quorums.n) }
  }
  // [RC3.5]
  return { kind: 'validate', value, supporters }
}

export type ValidationDecision = 'accept' | 'nop' | 'wait'

/** Rule 5.5, for the answers of exactly Q. */
export function decideValidation(
  invalidating: readonly Invalidating[],
  quorum: ReadonlySet<Row>,
  supporters: number,
  quorums: Quorums,
): ValidationDecision {
  if (invalidating.length === 0) return 'accept' // [RC5.1]
  if (invalidating.some((one) => one.committed)) return 'nop' // [RC5.2]
  if (supporters === quorum.size - quorums.e && invalidating.some((one) => !quorum.has(one.id.row))) return 'nop' // [RC5.2]
  return 'wait' // [RC5.3]
}
