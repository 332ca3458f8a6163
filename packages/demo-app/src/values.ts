// From what people type to values, and back to what people read. What a value may be is core's business; the limits on
// size and depth too.
import type { Value } from '@wepaxos/core'

export type ParsedValue =
  | { readonly ok: true; readonly value: Value }
  | { readonly ok: false; readonly problem: string }

export type ValueKind = 'text' | 'number' | 'boolean' | 'null' | 'list' | 'object' | 'bytes'

const numberPattern = /^-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?$/
const controlPattern = /\p{Cc}/u
const displayLengthMax = 2_000

/**
 * `42` is a number, `true`, `false` and `null` are themselves, what begins with `{`, `[` or `"` is JSON (or a problem), and
 * all else is text as it stands, without the spaces around it.
 */
export function parseValue(input: string): ParsedValue {
  const text = input.trim()
  if (text === '') return { ok: false, problem: 'Type a value. For an empty text, type "".' }
  if (text === 'true' || text === 'false') return { ok: true, value: text === 'true' }
  if (text === 'null') return { ok: true, value: null }
  if (numberPattern.test(text)) return parseNumber(text)
  if (!/^[{["]/.test(text)) return { ok: true, value: text }
  try {
    return { ok: true, value: JSON.parse(text) as Value }
  } catch (error) {
    return {
      ok: false,
      problem: `This begins like JSON but is not: ${jsonProblem(error)}. To store it as text, quote it.`,
    }
  }
}

function parseNumber(text: string): ParsedValue {
  const value = Number(text)
  if (!Number.isFinite(value) || (Number.isInteger(value) && !Number.isSafeInteger(value))) {
    return { ok: false, problem: `This number is too large to be kept exactly. As text it would be "${text}".` }
  }
  // Minus zero reads like zero and would be another value.
  return { ok: true, value: value === 0 ? 0 : value }
}

/** What the engine says, without the quoted input that some engines add to it. */
function jsonProblem(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error)
  return message
    .replace(/^JSON\.parse: /, '')
    .replace(/,? ?(?:\.\.\.)?".*" is not valid JSON$/s, '')
    .replace(/ in JSON/, '')
}

/** Text that `parseValue` turns into this value again, on one line; undefined for what can not be typed: bytes. */
export function formatForEdit(value: Value): string | undefined {
  if (holdsBytes(value)) return undefined
  if (typeof value !== 'string') return JSON.stringify(value)
  const parsed = parseValue(value)
  return parsed.ok && parsed.value === value && !controlPattern.test(value) ? value : JSON.stringify(value)
}

/** JSON for the eye: bytes as hex, and cut where it gets very long. */
export function formatForDisplay(value: Value): string {
  const text = JSON.stringify(value, (_, part: unknown) => (part instanceof Uint8Array ? describeBytes(part) : part))
  const shown = value instanceof Uint8Array ? text.slice(1, -1) : text
  return shown.length > displayLengthMax ? `${shown.slice(0, displayLengthMax)}…` : shown
}

function describeBytes(bytes: Uint8Array): string {
  const hex = Array.from(bytes.subarray(0, 16), (byte) => byte.toString(16).padStart(2, '0')).join('')
  return `${bytes.length} bytes: ${hex}${bytes.length > 16 ? '…' : ''}`
}

/** The same, at most `lengthMax` characters long, for messages. */
export function formatShort(value: Value, lengthMax = 60): string {
  const text = formatForDisplay(value)
  return text.length > lengthMax ? `${text.slice(0, lengthMax - 1)}…` : text
}

export function kindOf(value: Value): ValueKind {
  if (value === null) return 'null'
  if (value instanceof Uint8Array) return 'bytes'
  if (Array.isArray(value)) return 'list'
  switch (typeof value) {
    case 'string':
      return 'text'
    case 'number':
      return 'number'
    case 'boolean':
      return 'boolean'
    default:
      return 'object'
  }
}

/** Whether two values are the same, whatever the order of their objects' keys. */
export function sameValue(a: Value | undefined, b: Value | undefined): boolean {
  if (a === undefined || b === undefined) return a === b
  return a === b || canonical(a) === canonical(b)
}

function canonical(value: Value): string {
  return JSON.stringify(value, (_, part: unknown) => {
    if (part instanceof Uint8Array) return { bytes: Array.from(part) }
    if (typeof part !== 'object' || part === null || Array.isArray(part)) return part
    return Object.fromEntries(Object.entries(part).sort(([a], [b]) => (a < b ? -1 : 1)))
  })
}

function holdsBytes(value: Value): boolean {
  let found = false
  JSON.stringify(value, (_, part: unknown) => {
    if (!(part instanceof Uint8Array)) return part
    found = true
    return null
  })
  return found
}
