// What this page calls itself, and its colour. A name and a colour belong to a replica, not to the browser, because several
// tabs of one browser are several replicas; they are kept in localStorage so that a reopened tab is called as before.
import type { ReplicaId } from '@wepaxos/core'

export interface Profile {
  readonly name: string
  /** 0 … 7: an index into the colours of styles.css. */
  readonly hue: number
  /** Typed by a person: then it is never changed to be unlike the others'. */
  readonly chosen: boolean
}

/** What of `localStorage` is used here. */
export type ProfileStore = Pick<globalThis.Storage, 'getItem' | 'setItem' | 'removeItem'>

export const hueCount = 8
export const nameLengthMax = 24
const prefix = 'wepaxos-demo/profile/'

const names = [
  ...[
    'Ada',
    'Bo',
    'Cleo',
    'Dara',
    'Eli',
    'Fay',
    'Gus',
    'Hana',
    'Ivo',
    'Jun',
    'Kit',
    'Lena',
    'Milo',
    'Nour',
    'Ona',
    'Pim',
  ],
  ...['Quinn', 'Rosa', 'Sol', 'Tove', 'Uma', 'Vik', 'Wren', 'Xan', 'Yara', 'Zoe'],
] as const

/** A name and a colour that follow from the replica's id, and that none of `taken` has as long as there are others. */
export function defaultProfile(id: ReplicaId, taken: readonly Pick<Profile, 'name' | 'hue'>[] = []): Profile {
  const takenNames = new Set(taken.map((profile) => profile.name))
  const takenHues = new Set(taken.map((profile) => profile.hue))
  const name = firstFree(names, Number.parseInt(id.slice(0, 6), 16), takenNames)
  const hues = Array.from({ length: hueCount }, (_, hue) => hue)
  const hue = firstFree(hues, Number.parseInt(id.slice(6, 12), 16), takenHues)
  return { name: name ?? id.slice(0, 6), hue: hue ?? 0, chosen: false }
}

function firstFree<T>(choices: readonly T[], from: number, taken: ReadonlySet<T>): T | undefined {
  const rotated = choices.map((_, step) => choices[(from + step) % choices.length])
  return rotated.find((choice) => choice !== undefined && !taken.has(choice)) ?? rotated[0]
}

/** Text as a name: one line, without control characters, not too long. Undefined when nothing is left of it. */
export function cleanName(text: string): string | undefined {
  const name = Array.from(text.replace(/[\p{C}\s]+/gu, ' ').trim())
    .slice(0, nameLengthMax)
    .join('')
    .trim()
  return name === '' ? undefined : name
}

export function loadProfile(store: ProfileStore, id: ReplicaId): Profile | undefined {
  try {
    const found: unknown = JSON.parse(store.getItem(prefix + id) ?? 'null')
    if (typeof found !== 'object' || found === null || !('name' in found) || !('hue' in found)) return undefined
    const name = typeof found.name === 'string' ? cleanName(found.name) : undefined
    if (name === undefined || !isHue(found.hue)) return undefined
    return { name, hue: found.hue, chosen: 'chosen' in found && found.chosen === true }
  } catch {
    // Not ours, or storage is switched off: there is a default for that.
    return undefined
  }
}

export function saveProfile(store: ProfileStore, id: ReplicaId, profile: Profile): void {
  try {
    store.setItem(prefix + id, JSON.stringify(profile))
  } catch {
    // Full or switched off: the name then lasts as long as the page.
  }
}

export function forgetProfile(store: ProfileStore, id: ReplicaId): void {
  try {
    store.removeItem(prefix + id)
  } catch {
    // Switched off: then there is nothing to forget.
  }
}

export function isHue(input: unknown): input is number {
  return typeof input === 'number' && Number.isInteger(input) && input >= 0 && input < hueCount
}
