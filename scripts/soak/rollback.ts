// `npm run soak -- rollback`: disks that come back older, damaged or empty, one fresh seed a round.
import { rollbackRound } from '../../packages/core/sim/rollback.ts'

export async function soakRollback(rounds: number): Promise<Record<string, number>> {
  const first = Math.floor(Math.random() * 1e9)
  console.error(`seeds ${first} … ${first + rounds - 1}`)
  const figures: Record<string, number> = { firstSeed: first, answered: 0, writesBackMost: 0 }
  for (let seed = first; seed < first + rounds; seed++) {
    const { way, writesBack, answered } = await rollbackRound(seed)
    figures[way] = (figures[way] ?? 0) + 1
    figures['answered'] = (figures['answered'] ?? 0) + answered
    figures['writesBackMost'] = Math.max(figures['writesBackMost'] ?? 0, writesBack)
  }
  return figures
}
