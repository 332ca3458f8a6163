// Ballots, ordered, as single numbers: ballot 0 is the coordinator's first attempt, every other one is
// `number * 16 + row` with number ≥ 1, so that comparing numbers compares (number, replica).
import type { Row } from './ids.ts'

/** See the head of this file. Ballot 0 belongs to the coordinator of the instance. */
export type Ballot = number

export const initialBallot: Ballot = 0

/** The lowest ballot of `row` above `floor`. A replica only ever starts ballots of its own row. */
export function ballotAbove(floor: Ballot, row: Row): Ballot {
  return (Math.floor(floor / 16) + 1) * 16 + row
}

/** Who may speak for `ballot` on an instance that `coordinator` coordinates. */
export function ballotOwner(ballot: Ballot, coordinator: Row): Row {
  return ballot === initialBallot ? coordinator : ballot % 16
}
