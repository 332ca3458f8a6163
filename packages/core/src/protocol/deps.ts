// Dependency vectors: for each row of the epoch one watermark, `deps[q] = s` meaning "all instances q.1 … q.s".
import type { InstanceId } from './ids.ts'

/** One watermark a row, as many as the epoch has voters. Never changed once it is part of a value. */
export type Deps = readonly number[]

/** By number of rows. Copies of a literal stay in the engine's compact form, which `new Array(n)` never has. */
const zeros: readonly (readonly number[])[] = Array.from({ length: 10 }, (_, rows) =>
  Array.from({ length: rows }, () => 0),
)

export function noDeps(rows: number): number[] {
  return zeros[rows]?.slice() ?? Array.from({ length: rows }, () => 0)
}

export function equalDeps(a: Deps, b: Deps): boolean {
  if (a === b) return true
  if (a.length !== b.length) return false
  for (let row = 0; row < a.length; row++) if (a[row] !== b[row]) return false
  return true
}

/** The pointwise maximum: `a` itself where that covers `b`, so that equal vectors are usually one. */
export function mergeDeps(a: Deps, b: Deps): Deps {
  if (coversDeps(a, b)) return a
  const merged = a.slice()
  for (let row = 0; row < merged.length; row++) merged[row] = Math.max(merged[row] ?? 0, b[row] ?? 0)
  return merged
}

/** Whether `id` is among what `deps` stands for. */
export function dependsOn(deps: Deps, id: InstanceId): boolean {
  return id.seq <= (deps[id.row] ?? 0)
}

/** Whether everything that `inner` stands for is among what `outer` stands for. */
export function coversDeps(outer: Deps, inner: Deps): boolean {
  for (let row = 0; row < inner.length; row++) if ((outer[row] ?? 0) < (inner[row] ?? 0)) return false
  return true
}
