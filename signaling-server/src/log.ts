// What a log record is. Records hold no payloads, no tokens and no room ids: a room appears as the start of its hash, so that
// an operator can follow one room without learning its name.
import { createHash } from 'node:crypto'
import type { SignalingOptions } from './options.ts'
import type { SignalRoomId } from './wire.ts'

export interface LogRecord {
  readonly event: string
  readonly level: 'debug' | 'info'
  readonly [fact: string]: string | number | boolean | undefined
}

export type Log = (record: LogRecord) => void

/** Passes on to `log` what the operator wants to see. */
export function filteredLog(log: Log, level: SignalingOptions['logLevel']): Log {
  if (level === 'silent') return () => undefined
  return (record) => {
    if (level === 'debug' || record.level === 'info') log(record)
  }
}

export function roomLabel(room: SignalRoomId): string {
  return createHash('sha256').update(room).digest('hex').slice(0, 8)
}
