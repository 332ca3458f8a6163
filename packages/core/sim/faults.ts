// What can go wrong in a simulated cluster, and how often it does: drawn once a run, so that runs differ in kind and not
// only in detail.
import type { Random } from '../src/lib/random.ts'

/** Things that go wrong at some moment, and what else interrupts the quiet life of a cluster. */
export const adventureKinds = [
  'crash',
  'boundary crash',
  'full disk',
  'slow disk',
  'cut',
  'one-way cut',
  'split',
  'flapping link',
  'frozen timers',
  'clock jump',
  'join',
  'leave',
  'checkpoint',
  'lost disk',
  'older disk',
  'damaged disk',
] as const
export type AdventureKind = (typeof adventureKinds)[number]

/** Conditions that last for the whole run. */
export const conditionKinds = ['loss', 'duplication', 'reordering', 'write error'] as const
export type ConditionKind = (typeof conditionKinds)[number]

export type FaultKind = AdventureKind | ConditionKind
export const faultKinds: readonly FaultKind[] = [...adventureKinds, ...conditionKinds]

/** How likely a step is each adventure, before the draw. */
const usualChance: Readonly<Record<AdventureKind, number>> = {
  crash: 0.006,
  'boundary crash': 0.008,
  'full disk': 0.0008,
  'slow disk': 0.002,
  cut: 0.006,
  'one-way cut': 0.004,
  split: 0.002,
  'flapping link': 0.002,
  'frozen timers': 0.003,
  'clock jump': 0.002,
  join: 0.0015,
  leave: 0.0015,
  checkpoint: 0.003,
  'lost disk': 0.0008,
  'older disk': 0.002,
  'damaged disk': 0.001,
}

export interface FaultPlan {
  readonly chances: ReadonlyMap<AdventureKind, number>
  readonly loss: number
  readonly duplication: number
  readonly delayMaxMs: number
  readonly diskMaxMs: number
  readonly writeFailure: number
  /** A checkpoint after so many executed commands; 0: only when asked for. */
  readonly checkpointEvery: number
  /** Timeouts of the replicas, in relation to the usual ones. */
  readonly patience: number
}

/** Draws the same whatever is left out, so that leaving out one thing does not shift the rest. */
export function drawPlan(dice: Random, without: ReadonlySet<FaultKind>): FaultPlan {
  const chances = new Map<AdventureKind, number>()
  for (const kind of adventureKinds) {
    const factor = dice.pick([0, 0, 0.5, 1, 1, 2])
    chances.set(kind, without.has(kind) ? 0 : usualChance[kind] * factor)
  }
  const loss = dice.pick([0, 0, 0.01, 0.05, 0.2])
  const duplication = dice.pick([0, 0.03, 0.1])
  const delayMaxMs = dice.pick([1, 5, 30])
  const diskMaxMs = dice.pick([0, 1, 10])
  const writeFailure = dice.pick([0, 0, 0.001])
  const checkpointEvery = dice.pick([0, 0, 25, 80])
  const patience = dice.pick([1, 0.2])
  return {
    chances,
    loss: without.has('loss') ? 0 : loss,
    duplication: without.has('duplication') ? 0 : duplication,
    delayMaxMs: without.has('reordering') ? 0 : delayMaxMs,
    diskMaxMs,
    writeFailure: without.has('write error') ? 0 : writeFailure,
    checkpointEvery: without.has('checkpoint') ? 0 : checkpointEvery,
    patience,
  }
}

/** The adventure of a step, or null for an ordinary one. Takes one draw. */
export function drawAdventure(dice: Random, { chances }: FaultPlan): AdventureKind | null {
  let roll = dice.next()
  for (const [kind, chance] of chances) {
    if (roll < chance) return kind
    roll -= chance
  }
  return null
}
