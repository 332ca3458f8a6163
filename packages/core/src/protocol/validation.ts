// Validate (docs/protocol.md, section 5, rule 4): which instances known here speak against a value that a recovery would
// like to commit.
import { type Command, commandsConflict } from './command.ts'
import { type Deps, dependsOn } from './deps.ts'
import type { InstanceId } from './ids.ts'
import { type Instance, isCommitted } from './instance.ts'
import type { Invalidating } from './message.ts'
import type { ReplicaState } from './state.ts'

/** Whether `other` speaks against (id, command) with deps that leave it out: it conflicts and does not depend on id. */
export function invalidates(other: Instance, id: InstanceId, command: Command): boolean {
  if (isCommitted(other)) return commandsConflict(other.command, command) && !dependsOn(other.deps, id)
  const { initCommand, initDeps } = other
  return initCommand !== null && initDeps !== null && commandsConflict(initCommand, command) && !dependsOn(initDeps, id)
}

/** [RC4] The set I: in order of (row, seq). */
export function findInvalidating(state: ReplicaState, id: InstanceId, command: Command, deps: Deps): Invalidating[] {
  const found: Invalidating[] = []
  // whatever conflicts is at or below these watermarks: usually nothing is left to look at
  const conflicts = state.index.conflicts(command)
  for (let row = 0; row < conflicts.length; row++) {
    const upTo = conflicts[row] ?? 0
    for (let seq = (deps[row] ?? 0) + 1; seq <= upTo; seq++) {
      if (row === id.row && seq === id.seq) continue
      const other = state.log.at(row, seq)
      if (other !== undefined && invalidates(other, id, command)) {
        found.push({ id: other.id, committed: isCommitted(other) })
      }
    }
  }
  return found
}
