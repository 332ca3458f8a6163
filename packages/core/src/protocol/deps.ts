// Dependency vectors: for each row of the epoch one watermark, `deps[q] = s` meaning "all instances q.1 … q.s".
import type { InstanceId } from './ids.ts'

/** One watermark a row, as many as the epoch has voters. Never changed once it is part of a value. */
export type Deps = readonly number[]

export function noDeps(rows: number): number[] {
  return new Array<number>(rows).fill(0)
}

export function equalDeps(a: Deps, b: Deps): boolean {
  if (a.length !== b.length) return false
  for (let row = 0; row < a.length; row++) if (a[row] !== b[row]) return false
  return true
}

/** The pointwise maximum. */
export function mergeDeps(a: Deps, b: Deps): number[] {
  const merged = new Array<number>(a.length)
  for (let row = 0; row < a.length; row++) merged[row] = Math.max(a[row] ?? 0, b[row] ?? 0)
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
