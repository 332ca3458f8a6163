// What a disk holds after a power cut, made from the journal of synced-journal.c: the files of one folder as of their last
// sync before the cut. Names that changed and were not synced yet are there or not: a file system may do either.
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises'
import { basename, dirname, join, relative } from 'node:path'

export interface SyncRecord {
  /** Steady milliseconds: of a sync, when it returned. */
  readonly atMs: number
  readonly what: 'file' | 'folder' | 'rename' | 'unlink'
  readonly path: string
  /** Where it was renamed to. */
  readonly other: string
  /** The whole file's. */
  readonly size: number
  readonly offset: number
  readonly bytes: Buffer
}

/** The records of all processes that wrote a journal of this name, in the order of time. */
export async function readJournal(journal: string): Promise<SyncRecord[]> {
  const names = (await readdir(dirname(journal))).filter((name) => name.startsWith(`${basename(journal)}.`))
  const records: SyncRecord[] = []
  for (const name of names) records.push(...parse(await readFile(join(dirname(journal), name))))
  return records.sort((left, right) => left.atMs - right.atMs)
}

function parse(text: Buffer): SyncRecord[] {
  const records: SyncRecord[] = []
  for (let at = 0; at < text.length; ) {
    const end = text.indexOf('\n', at)
    // The browser was killed: the last record may be cut off.
    if (end < 0) break
    const [time, what, ...numbers] = text.toString('latin1', at, end).split(' ')
    const [size = 0, offset = 0, length = 0, pathLength = 0, otherLength = 0] = numbers.map(Number)
    if (what !== 'file' && what !== 'folder' && what !== 'rename' && what !== 'unlink') {
      throw new Error(`the journal has a record of ${what}`)
    }
    let from = end + 1
    const take = (count: number) => {
      from += count
      return text.subarray(from - count, from)
    }
    const path = take(pathLength).toString()
    const other = take(otherLength).toString()
    const bytes = take(length)
    if (from > text.length) break
    records.push({ atMs: Number(time) / 1e6, what, path, other, size, offset, bytes })
    at = from
  }
  return records
}

/** When a changed name is on the disk: as soon as it changed, or with the next sync of anything. */
export type NamesAre = 'at once' | 'with the next sync'

/** The folder as it was on the disk; moves forward in time. */
export class SyncedImage {
  readonly #files = new Map<string, Buffer>()
  readonly #names: NamesAre
  #pending: SyncRecord[] = []
  /** Files in the order of their last sync, the last one last. */
  readonly #order = new Set<string>()

  constructor(names: NamesAre) {
    this.#names = names
  }

  apply(record: SyncRecord): void {
    if (record.what === 'rename' || record.what === 'unlink') {
      this.#pending.push(record)
      if (this.#names === 'at once') this.#settleNames()
      return
    }
    this.#settleNames()
    if (record.what === 'folder') return
    const before = this.#files.get(record.path)
    const after = Buffer.alloc(record.size)
    before?.copy(after)
    record.bytes.copy(after, record.offset)
    this.#files.set(record.path, after)
    this.#touch(record.path)
  }

  /** Whether these bytes stand anywhere in it; looks first where the last syncs wrote. */
  has(bytes: Buffer): boolean {
    const newestFirst = [...this.#order].reverse().map((path) => this.#files.get(path))
    const tail = newestFirst.some((file) => file?.subarray(-tailBytes).includes(bytes) === true)
    return tail || newestFirst.some((file) => file?.includes(bytes) === true)
  }

  /** Writes it to the disk; `root`: the folder that was watched, which becomes `target`. */
  async write(root: string, target: string): Promise<void> {
    await mkdir(target, { recursive: true })
    for (const [path, bytes] of this.#files) {
      const file = join(target, relative(root, path))
      await mkdir(dirname(file), { recursive: true })
      await writeFile(file, bytes)
    }
  }

  #settleNames(): void {
    for (const { what, path, other } of this.#pending) {
      const file = this.#files.get(path)
      this.#files.delete(path)
      this.#order.delete(path)
      if (what !== 'rename') continue
      // One that was never synced has a name and no bytes.
      this.#files.set(other, file ?? Buffer.alloc(0))
      this.#touch(other)
    }
    this.#pending = []
  }

  #touch(path: string): void {
    this.#order.delete(path)
    this.#order.add(path)
  }
}

const tailBytes = 131_072
