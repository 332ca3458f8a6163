// Looks for a broken promise until one is found or the time is over: small explorations first, then random walks of both kinds
// with 3, 5 and 7 replicas in turn, from given seeds. The real code or a mutant, whichever is loaded.
import { explore, reasonOf } from './explore.ts'
import { preparedScenarios } from './explore-prepared.ts'
import { scenarios } from './explore-scenarios.ts'
import { walk } from './walk.ts'

export interface Found {
  /** The scenario or the kind of walk. */
  readonly by: string
  /** States explored, or walks with so many replicas until then. */
  readonly after: number
  /** Of the walk. */
  readonly seed: number | null
  readonly reason: string
}

export interface HuntOptions {
  readonly firstSeed: number
  /** Names of scenarios to explore first. */
  readonly explore: readonly string[]
  readonly walksMax: number
  /** For the walks. */
  readonly seconds: number
}

export interface Hunt {
  readonly found: Found | null
  readonly walks: number
  readonly seconds: number
}

const sizes = [3, 5, 7]

export function hunt({ firstSeed, explore: names, walksMax, seconds }: HuntOptions): Hunt {
  const startedAt = performance.now()
  const passed = () => (performance.now() - startedAt) / 1_000
  let walks = 0
  const end = (found: Found | null): Hunt => ({ found, walks, seconds: Math.round(passed() * 10) / 10 })
  for (const scenario of [...preparedScenarios, ...scenarios].filter(({ name }) => names.includes(name))) {
    const { states, violation } = explore(scenario, { statesMax: 100_000, finishes: 20 })
    if (violation !== null) {
      return end({ by: `explore ${scenario.name}`, after: states, seed: null, reason: violation.reason })
    }
  }
  const walkUntil = passed() + seconds
  for (let round = 0; walks < walksMax && passed() < walkUntil; round++) {
    const kind = round % 2 === 0 ? 'broad' : 'duels'
    for (const n of sizes) {
      const seed = firstSeed + round
      walks++
      try {
        walk({ seed, n, kind })
      } catch (error) {
        return end({ by: `${kind} walks, n = ${n}`, after: round + 1, seed, reason: reasonOf(error) })
      }
    }
  }
  return end(null)
}
