// Hunts mutants: each rule of mutations.ts, broken in a process of its own, and the explorer and the walks let loose on it.
import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { promisify } from 'node:util'
import type { Hunt } from './hunt.ts'
import { type Mutation, mutate, sourceOf } from './mutations.ts'

const run = promisify(execFile)
const here = (name: string) => fileURLToPath(new URL(name, import.meta.url))

export interface HuntBudget {
  readonly seed: number
  readonly seconds: number
  /** At most so many walks. */
  readonly walks: number
  readonly explore: readonly string[]
}

/** Hunts the mutant in a process of its own; with null, the code as it is. */
export async function huntMutant(
  mutation: Mutation | null,
  { seed, seconds, walks, explore }: HuntBudget,
): Promise<Hunt> {
  const folder = mkdtempSync(join(tmpdir(), 'wepaxos-mutant-'))
  try {
    const args = ['--conditions=wepaxos:source', '--import', 'tsx']
    const env = { ...process.env }
    if (mutation !== null) {
      const { url, text } = sourceOf(mutation)
      // `.mts`, for no package.json beside it says what it is; its imports go on from where the file was
      const copy = join(folder, 'mutant.mts')
      writeFileSync(
        copy,
        mutate(mutation, text).replace(/(from ')(\.[^']+)'/g, (_, head, to) => `${head}${new URL(to, url)}'`),
      )
      args.push('--import', pathToFileURL(here('mutant-loader.mjs')).href)
      env['WEPAXOS_MUTANT'] = JSON.stringify({ from: url, to: pathToFileURL(copy).href })
    }
    args.push(
      here('mutant-child.ts'),
      '--seed',
      String(seed),
      '--seconds',
      String(seconds),
      '--walks',
      String(walks),
      ...explore,
    )
    const { stdout } = await run(process.execPath, args, { env, maxBuffer: 1 << 20 })
    const hunt: Hunt = JSON.parse(stdout)
    return hunt
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}
