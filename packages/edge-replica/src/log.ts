// What is logged: one JSON object a line. An invite's secret and a TURN server's credentials are taken out of every line
// here, at the one place where lines are made, whatever a message or an error may carry.
import type { Logger } from '@wepaxos/core'
import type { EdgeOptions } from './options.ts'

export interface LogRecord {
  readonly event: string
  readonly level: 'debug' | 'info' | 'warn'
  readonly [fact: string]: unknown
}

export type Log = (record: LogRecord) => void

const ranks = { debug: 0, info: 1, warn: 2, silent: 3 } as const

export interface JsonLogOptions {
  readonly write: (line: string) => void
  readonly level: EdgeOptions['logLevel']
  /** Texts that no line may hold. */
  readonly secrets: readonly string[]
  readonly now?: () => Date
}

export function jsonLog({ write, level, secrets, now = () => new Date() }: JsonLogOptions): Log {
  const hide = hiding(secrets)
  return ({ event, level: own, ...facts }) => {
    if (ranks[own] < ranks[level]) return
    write(`${hide(textOf({ event, level: own, time: now().toISOString(), ...facts }))}\n`)
  }
}

/** Takes the given texts out of any other, also where they stand escaped inside JSON. */
export function hiding(secrets: readonly string[]): (text: string) => string {
  const forms = secrets.filter((secret) => secret !== '').flatMap((secret) => [secret, escaped(secret)])
  return (text) => forms.reduce((rest, form) => rest.replaceAll(form, '[secret]'), text)
}

/** For what the core and the transport have to say, with facts of ours added to theirs. */
export function loggerOf(log: Log, ours: Readonly<Record<string, unknown>>): Logger {
  return {
    debug: (message, facts) => log({ ...facts, ...ours, event: 'note', level: 'debug', message }),
    warn: (message, facts) => log({ ...facts, ...ours, event: 'warning', level: 'warn', message }),
  }
}

function escaped(text: string): string {
  return JSON.stringify(text).slice(1, -1)
}

function textOf(record: LogRecord): string {
  try {
    return JSON.stringify(record, (_, value: unknown) => plain(value))
  } catch {
    // Facts that refer to themselves are not worth a crash.
    return JSON.stringify({ event: record.event, level: record.level, time: record['time'] })
  }
}

function plain(value: unknown): unknown {
  if (typeof value === 'bigint') return String(value)
  if (value instanceof Uint8Array) return `${value.length} bytes`
  if (!(value instanceof Error)) return value
  const code = 'code' in value ? { code: value.code } : {}
  const details = 'details' in value ? { details: value.details } : {}
  const cause = value.cause instanceof Error ? { cause: value.cause } : {}
  return { ...code, message: value.message, ...details, ...cause }
}
