// Checks of what wepaxos itself promises. A failed one is a bug of ours: the replica stops, because a stopped replica is
// safe and a wrong one is not. What callers, peers or disks get wrong is not checked here: that is WepaxosError,
// DecodeError and counted refusals.

/** A broken invariant of wepaxos itself. */
export class AssertionError extends Error {
  constructor(message: string) {
    super(message)
    this.name = 'AssertionError'
  }
}

/** Throws AssertionError unless `condition` holds. `message` says what should have been true. */
export function assert(condition: unknown, message: string): asserts condition {
  if (!condition) throw new AssertionError(message)
}

/** `value`, which is known to be there; `why` says how that is known. */
export function must<T>(value: T | null | undefined, why: string): T {
  if (value === undefined || value === null) throw new AssertionError(`missing, although ${why}`)
  return value
}

/** Marks a branch that the types rule out, so that a new member of a union is a compile error there. */
export function unreachable(value: never): never {
  throw new AssertionError(`a case that the types rule out: ${describe(value)}`)
}

function describe(value: unknown): string {
  try {
    return JSON.stringify(value) ?? String(value)
  } catch {
    return String(value)
  }
}
