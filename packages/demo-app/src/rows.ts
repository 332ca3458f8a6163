// The rows of the table, from the two views of the store: what is agreed on, and what this page expects on top of it.
import type { Entry } from '@wepaxos/core'
import type { Row } from './components/store-row.ts'

/** Rows in the order of their keys' code units. Both lists are in that order already. */
export function mergeViews(optimistic: readonly Entry[], committed: readonly Entry[]): readonly Row[] {
  const agreed = new Map(committed.map((entry) => [entry.key, entry]))
  const rows = optimistic.map((entry): Row => {
    const { key, value, version } = entry
    const base = agreed.get(key)
    agreed.delete(key)
    return { key, value, version, state: base?.version === version ? 'agreed' : 'writing' }
  })
  // What is left is agreed on, and this page expects it to go.
  if (agreed.size === 0) return rows
  for (const { key, value, version } of agreed.values()) rows.push({ key, value, version, state: 'deleting' })
  return rows.sort((a, b) => (a.key < b.key ? -1 : 1))
}

export interface Selection {
  readonly rows: readonly Row[]
  /** How many match, shown or not. */
  readonly matching: number
}

/**
 * The rows that are shown: those whose key or text contains `filter`, at most `limit`, and in any case those that are being
 * edited here, even if they do not match or were deleted by others: what a person is typing does not vanish.
 */
export function selectRows(
  rows: readonly Row[],
  filter: string,
  textOf: (row: Row) => string,
  limit: number,
  edited: ReadonlySet<string>,
): Selection {
  const wanted = filter.trim().toLowerCase()
  const matches = (row: Row): boolean =>
    wanted === '' || row.key.toLowerCase().includes(wanted) || textOf(row).toLowerCase().includes(wanted)
  const matching = rows.filter(matches)
  const shown = matching.slice(0, limit)
  if (edited.size === 0) return { rows: shown, matching: matching.length }
  const shownKeys = new Set(shown.map((row) => row.key))
  const known = new Map(rows.map((row) => [row.key, row]))
  for (const key of edited) {
    if (shownKeys.has(key)) continue
    shown.push(known.get(key) ?? { key, value: undefined, version: 0, state: 'agreed' })
  }
  return { rows: shown.sort((a, b) => (a.key < b.key ? -1 : 1)), matching: matching.length }
}
