// How the IndexedDB storage fails: the reasons, and which of the browser's errors mean which of them.
import { WepaxosError } from '../lib/errors.ts'

/**
 * Why a storage can not go on, in `details.reason` of its `StorageFailed` errors.
 * - `quota`: the browser gives this site no more space
 * - `newer-version`: a newer version of the program wrote the database
 * - `denied`: the browser lets this page store nothing (private windows, blocked site data)
 * - `blocked`: another page keeps the database open, and can not be waited for
 * - `deleted`: the user or another page deleted the database
 * - `upgraded`: another page with a newer version of the program needs it
 * - `terminated`: the connection was lost, and what came back is not what was there
 * - `taken-over`: another page owns the replica now
 * - `disk`: anything else that the browser could not do; `cause` is its error
 */
export type StorageFailure =
  | 'quota'
  | 'newer-version'
  | 'denied'
  | 'blocked'
  | 'deleted'
  | 'upgraded'
  | 'terminated'
  | 'taken-over'
  | 'disk'

const hints: Partial<Record<StorageFailure, string>> = {
  quota: ': the browser gives this site no more space',
  'newer-version': ': a newer version of wepaxos wrote it, and this one does not know its layout',
  denied: ': the browser lets this page store nothing, as in some private windows and where site data is blocked',
}

export function storageFailure(
  reason: StorageFailure,
  databaseName: string,
  what: string,
  cause?: unknown,
): WepaxosError {
  const message = `the database ${databaseName} ${what}${hints[reason] ?? ''}`
  return new WepaxosError('StorageFailed', message, { reason, databaseName }, cause)
}

/** `error` as callers see it. Errors of ours stay what they are. */
export function failed(what: string, databaseName: string, error: unknown): WepaxosError {
  if (error instanceof WepaxosError) return error
  return storageFailure(failureOf(error), databaseName, what, error)
}

/** The same for an error that the opening of a connection ended with. */
export function openingFailed(databaseName: string, error: unknown): WepaxosError {
  if (error instanceof WepaxosError) return error
  const name = nameOf(error)
  // Firefox says InvalidStateError in private windows, others SecurityError where site data is blocked, or UnknownError.
  const denied = name === 'SecurityError' || name === 'InvalidStateError' || name === 'UnknownError'
  return storageFailure(denied ? 'denied' : failureOf(error), databaseName, 'could not be opened', error)
}

/** Whether the connection was closed before anything was asked of it. */
export function isClosedConnection(error: unknown): boolean {
  return nameOf(error) === 'InvalidStateError'
}

/** Whether another connection could succeed where this one ended with `error`. */
export function mayBeLostConnection(error: unknown): boolean {
  // A closed connection throws InvalidStateError. Transactions on one that just broke end with AbortError, without an error
  // at all, or (Safari: "Connection to Indexed Database server lost") with UnknownError.
  const name = nameOf(error)
  return name === 'InvalidStateError' || name === 'AbortError' || name === 'UnknownError'
}

/**
 * Whether a record is lost for good, and the others may be there: Chromium keeps large values in files of their own, which a
 * power cut can take away where they were not written strictly.
 */
export function isLostRecord(error: unknown): boolean {
  return nameOf(error) === 'NotReadableError'
}

function failureOf(error: unknown): StorageFailure {
  const name = nameOf(error)
  if (name === 'QuotaExceededError') return 'quota'
  if (name === 'VersionError') return 'newer-version'
  return 'disk'
}

function nameOf(error: unknown): string {
  return error instanceof Error || error instanceof DOMException ? error.name : ''
}
