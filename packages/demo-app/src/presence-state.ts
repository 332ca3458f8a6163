// What a page of the demo tells the others about itself, as the value that travels. It comes from other pages, so each
// field is looked at before it is used; a page that sends nonsense is shown without it.
import type { Value } from '@wepaxos/core'
import { cleanName, isHue } from './profile.ts'

export interface PresenceState {
  readonly name: string
  readonly hue: number
  /** When the page came to the room, in milliseconds: of two pages that look alike, the later one changes. */
  readonly since: number
  /** The key whose value is being edited; null for none. */
  readonly editing: string | null
  /** The newest write of this page: the key, and the version that it made of it. Says who won. */
  readonly wrote: { readonly key: string; readonly version: number } | null
}

/** Keys beyond this length are left out, since a page's presence is limited to 4 KiB. */
const keyLengthMax = 256

export function encodePresence({ name, hue, since, editing, wrote }: PresenceState): Value {
  return {
    name,
    hue,
    since,
    editing: editing !== null && editing.length <= keyLengthMax ? editing : null,
    wrote: wrote !== null && wrote.key.length <= keyLengthMax ? { key: wrote.key, version: wrote.version } : null,
  }
}

export function decodePresence(value: Value): PresenceState | undefined {
  if (!isRecord(value)) return undefined
  const { name, hue, since, editing, wrote } = value
  const cleaned = typeof name === 'string' ? cleanName(name) : undefined
  if (cleaned === undefined || !isHue(hue)) return undefined
  return {
    name: cleaned,
    hue,
    since: typeof since === 'number' ? since : 0,
    editing: typeof editing === 'string' && editing.length <= keyLengthMax ? editing : null,
    wrote: decodeWrite(wrote),
  }
}

function decodeWrite(value: unknown): PresenceState['wrote'] {
  if (!isRecord(value)) return null
  const { key, version } = value
  return typeof key === 'string' && typeof version === 'number' ? { key, version } : null
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
