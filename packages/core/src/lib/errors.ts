// The one error class that callers of wepaxos see. Each code has a section in docs/errors.md.

/** What went wrong, for programs. docs/errors.md says for each what it means and what to do. */
export type ErrorCode =
  | 'Aborted'
  | 'Closed'
  | 'DamagedStorage'
  | 'Diverged'
  | 'InvalidArgument'
  | 'InternalError'
  | 'InvalidInvite'
  | 'LastMember'
  | 'MachineFailed'
  | 'MachineMismatch'
  | 'NoRoute'
  | 'NotReady'
  | 'NotSupported'
  | 'OutcomeUnknown'
  | 'Overloaded'
  | 'QuorumUnavailable'
  | 'ReadOnly'
  | 'Removed'
  | 'StorageFailed'
  | 'StorageInUse'
  | 'Timeout'
  | 'WrongPartition'

/** Every error that wepaxos gives to its caller. `code` is stable; `message` is for people and may change. */
export class WepaxosError extends Error {
  readonly code: ErrorCode
  /** Facts that go with the code, for example `{reachable, needed, members}` for `QuorumUnavailable`. */
  readonly details: Readonly<Record<string, unknown>>

  constructor(code: ErrorCode, message: string, details: Readonly<Record<string, unknown>> = {}, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause })
    this.name = 'WepaxosError'
    this.code = code
    this.details = details
  }
}
