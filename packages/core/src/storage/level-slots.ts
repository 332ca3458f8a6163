// Where a directory keeps its replicas: slots numbered 0, 1, 2, …, a folder with one LevelDB for each. Here are the names of
// the folders, who in this process holds which slot, and how a slot comes and goes as a whole. LevelDB's own lock decides
// between processes; the databases, and the choice among them, are in level.ts.
import { randomUUID } from 'node:crypto'
import { mkdir, open, readdir, realpath, rename, rm, stat } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import { WepaxosError } from '../lib/errors.ts'
import { sha256Hex } from '../lib/sha256.ts'
import type { StorageScope } from './storage.ts'

/**
 * The folders that this process holds. LevelDB must not be asked for one a second time: refusing, it closes its second handle
 * of the lock's file, and by the rules of POSIX that ends the lock of the whole process. So this is one set for all copies of
 * this module. (Threads do not share it: a replica's directory belongs to one thread of a process.)
 */
const held: Set<string> = heldByThisProcess()

function heldByThisProcess(): Set<string> {
  const shared: { [key: symbol]: unknown } = globalThis
  const key = Symbol.for('@wepaxos/core: the LevelDB folders that this process holds')
  const known = shared[key]
  if (known instanceof Set) return known
  const made = new Set<string>()
  shared[key] = made
  return made
}

/** What folders are called that are about to be deleted. */
const retiredPrefix = 'erased-'

/** The right of this process's present caller to one slot, until released. What other processes do is LevelDB's matter. */
export class SlotClaim {
  readonly slot: number
  readonly directory: string

  constructor(slot: number, directory: string) {
    this.slot = slot
    this.directory = directory
    held.add(directory)
  }

  release(): void {
    held.delete(this.directory)
  }
}

/** What can be told of a slot's folder without opening it. */
export type SlotState = 'absent' | 'without a database' | 'with a database' | 'with half a database'

/** The slots of one scope. */
export class LevelSlots {
  readonly #root: string

  private constructor(root: string) {
    this.#root = root
  }

  /** Makes the folder of the scope where it is missing. */
  static async of(directory: string, scope: StorageScope): Promise<LevelSlots> {
    const wished = join(resolve(directory), folderName(scope.room), folderName(scope.partition))
    await makeDurably(wished)
    // By its real path, so that two ways to one folder are one.
    return new LevelSlots(await realpath(wished))
  }

  /** The slots that have a folder, lowest first. What was left of erased ones is deleted. */
  async stored(): Promise<number[]> {
    const slots: number[] = []
    for (const name of await readdir(this.#root)) {
      if (/^(?:0|[1-9]\d{0,8})$/.test(name)) slots.push(Number(name))
      else if (name.startsWith(retiredPrefix)) await rm(join(this.#root, name), { recursive: true, force: true })
    }
    return slots.sort((left, right) => left - right)
  }

  /** Undefined when this process holds the slot already. */
  claim(slot: number): SlotClaim | undefined {
    const directory = join(this.#root, String(slot))
    return held.has(directory) ? undefined : new SlotClaim(slot, directory)
  }
}

export async function makeFolder(claim: SlotClaim): Promise<void> {
  await makeDurably(claim.directory)
}

export async function stateOf({ directory }: SlotClaim): Promise<SlotState> {
  const names = await unlessMissing(readdir(directory))
  if (names === undefined) return 'absent'
  if (names.includes('CURRENT')) return 'with a database'
  // LevelDB makes CURRENT before it makes these, and replaces it at one stroke.
  if (!names.some((name) => /\.(?:log|ldb|sst)$/.test(name))) return 'without a database'
  // Another process may have made it while the folder was listed.
  const current = await unlessMissing(stat(join(directory, 'CURRENT')))
  return current === undefined ? 'with half a database' : 'with a database'
}

/**
 * Which folder the slot's name leads to; it changes when another process erases the slot and makes it anew. LevelDB looks
 * for its lock and for its files by name: only if the answer is the same before and after, both are in one folder.
 */
export async function identityOf({ directory }: SlotClaim): Promise<string | undefined> {
  const found = await unlessMissing(stat(directory, { bigint: true }))
  return found === undefined ? undefined : `${found.dev}/${found.ino}/${found.birthtimeNs}`
}

/** Takes the slot's folder away at one stroke, so that nobody finds half of it; resolves to where it is now. */
export async function retireFolder({ directory }: SlotClaim): Promise<string> {
  const retired = join(dirname(directory), `${retiredPrefix}${randomUUID()}`)
  await rename(directory, retired)
  await syncFolder(dirname(directory))
  return retired
}

export async function deleteFolder(directory: string): Promise<void> {
  await rm(directory, { recursive: true, force: true })
}

/** What the files of the slot take. Files that vanish meanwhile count nothing. */
export async function bytesIn({ directory }: SlotClaim): Promise<number> {
  const names = (await unlessMissing(readdir(directory))) ?? []
  const files = await Promise.all(names.map((name) => unlessMissing(stat(join(directory, name)))))
  return files.reduce((sum, file) => sum + (file?.size ?? 0), 0)
}

/** What can be seen of the name in a folder's name, at most. */
const readableMax = 48

/**
 * Plain names stay readable. All others become their hash: then no name leads out of the directory, is too long, or is
 * another's on a file system that takes upper and lower case for the same. The letter in front tells the two apart, and
 * keeps off the names that some systems reserve.
 */
function folderName(part: string): string {
  if (part.length <= readableMax && /^[a-z0-9_-]+$/.test(part)) return `n-${part}`
  let text: string
  try {
    text = encodeURIComponent(part)
  } catch (error) {
    const given = JSON.stringify(part)
    throw new WepaxosError(
      'InvalidArgument',
      `a name of a storage must be well-formed Unicode, not ${given}`,
      {},
      error,
    )
  }
  return `h-${sha256Hex(new TextEncoder().encode(text))}`
}

/** Makes the folder, and has the names of all new folders on disk: LevelDB does that for the files inside only. */
async function makeDurably(directory: string): Promise<void> {
  const first = await mkdir(directory, { recursive: true })
  if (first === undefined) return
  const last = dirname(resolve(first))
  for (let parent = dirname(directory); parent.length >= last.length; parent = dirname(parent)) {
    await syncFolder(parent)
    if (parent === dirname(parent)) return
  }
}

async function syncFolder(directory: string): Promise<void> {
  // Windows opens no folders, and keeps names safe by its file system's journal.
  if (process.platform === 'win32') return
  const handle = await open(directory, 'r')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}

async function unlessMissing<Found>(looking: Promise<Found>): Promise<Found | undefined> {
  try {
    return await looking
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined
    throw error
  }
}
