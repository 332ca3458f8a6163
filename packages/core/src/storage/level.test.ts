// The LevelDB storage on a real disk: the contract, with processes that are killed and a disk that takes no more; who gets
// which replica between processes and within one; folders, space, damage, and a newer version's databases.
import { execFileSync, fork } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { ClassicLevel } from 'classic-level'
import { afterAll, afterEach, describe, expect, test, vi } from 'vitest'
import type { CrashNews, CrashOrder } from '../../testing/level-crash-child.ts'
import { createMemoryNetwork } from '../../testing/memory-transport.ts'
import { named, nameIn, write } from '../../testing/storage-batches.ts'
import { describeStorageContract } from '../../testing/storage-contract.ts'
import type { CrashableDisk } from '../../testing/storage-contract-crashes.ts'
import { openReplica } from '../runtime/open-replica.ts'
import { kv } from '../state-machines/kv.ts'
import { levelStorage } from './level.ts'
import { memoryStorage } from './memory.ts'
import type { Storage, StorageProvider } from './storage.ts'

const scope = { room: 'room', partition: 'p' }
const here = fileURLToPath(new URL('.', import.meta.url))
const childProgram = fileURLToPath(new URL('../../testing/level-crash-child.ts', import.meta.url))
const runFromSources = ['--conditions=wepaxos:source', '--import', 'tsx']

const directories: string[] = []
const cleanUps: (() => unknown)[] = []
afterEach(async () => {
  while (cleanUps.length > 0) await cleanUps.pop()?.()
})
afterAll(async () => {
  for (const directory of directories) await rm(directory, { recursive: true, force: true })
})

async function freshDirectory(): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'wepaxos-level-'))
  directories.push(directory)
  return directory
}

async function openIn(directory: string, which = scope): Promise<Storage> {
  const storage = await levelStorage({ directory, durability: 'relaxed' }).open(which)
  cleanUps.push(() => storage.close())
  return storage
}

/** Where the replica of `scope` with the number lies. */
function slotDirectory(directory: string, slot: number): string {
  return join(directory, 'n-room', 'n-p', String(slot))
}

/** The replica of `scope` is stored, and nobody has it. */
async function storedReplica(name: string): Promise<string> {
  const directory = await freshDirectory()
  const storage = await openIn(directory)
  await storage.write(named(name))
  await storage.close()
  return directory
}

/** Owners are processes, and are killed with SIGKILL. */
async function crashableDisk(durability: 'strict' | 'relaxed'): Promise<CrashableDisk> {
  const directory = await freshDirectory()
  return {
    provider: levelStorage({ directory, durability }),
    crashWhileWriting(death) {
      const child = fork(childProgram, [], { execArgv: runFromSources, serialization: 'advanced', cwd: here })
      return new Promise((resolve, reject) => {
        let acknowledged = 0
        child.on('message', (news: CrashNews) => {
          acknowledged = news.acknowledged
          if (news.acknowledged >= death.acknowledged && news.asked > death.acknowledged) child.kill('SIGKILL')
        })
        child.once('error', reject)
        child.once('exit', (code, signal) => {
          if (signal === 'SIGKILL') resolve(acknowledged)
          else reject(new Error(`the child ended by itself, with ${code ?? signal}`))
        })
        const order: CrashOrder = { directory, durability, death }
        child.send(order)
      })
    },
  }
}

/** From now on the system lets this process make no file longer than that; undefined: as long as it likes. */
function limitFiles(bytes: number | undefined): void {
  execFileSync('prlimit', ['--pid', String(process.pid), `--fsize=${bytes ?? 'unlimited'}:unlimited`])
}

function canLimitFiles(): boolean {
  try {
    limitFiles(undefined)
    return true
  } catch {
    return false
  }
}

const nearlyFull = {
  async provider() {
    limitFiles(1_000_000)
    cleanUps.push(() => limitFiles(undefined))
    return levelStorage({ directory: await freshDirectory() })
  },
  refusedBytes: 2_000_000,
  makeRoom: async () => limitFiles(undefined),
}

for (const durability of ['strict', 'relaxed'] as const) {
  describeStorageContract(`LevelDB, ${durability}`, {
    provider: async () => levelStorage({ directory: await freshDirectory(), durability }),
    durability,
    faults: { crash: () => crashableDisk(durability), lives: 3 },
    ...(durability === 'strict' && canLimitFiles() ? { nearlyFull } : {}),
  })
}

/** Opens the replica of `scope` in a process of its own, and tells the name in it. */
function nameSeenByOtherProcess(directory: string): string {
  const program = `
    const { levelStorage } = await import(${JSON.stringify(pathToFileURL(join(here, 'level.ts')).href)})
    const storage = await levelStorage({ directory: ${JSON.stringify(directory)} }).open(${JSON.stringify(scope)})
    const name = (await storage.read()).meta.get('name')
    console.log(name === undefined ? 'a new replica' : new TextDecoder().decode(name))
    await storage.close()`
  const options = ['--input-type=module', '--eval', program]
  return execFileSync(process.execPath, [...runFromSources, ...options], { cwd: here, encoding: 'utf8' }).trim()
}

describe('who gets which replica', () => {
  test('a process gets no replica that another process has, and gets it when that is closed', async () => {
    const directory = await storedReplica('mine')
    const storage = await openIn(directory)
    expect(nameSeenByOtherProcess(directory)).toBe('a new replica')
    await storage.close()
    expect(nameSeenByOtherProcess(directory)).toBe('mine')
  })

  test('asking a second time in one process does not end the lock towards other processes', async () => {
    const directory = await storedReplica('mine')
    await openIn(directory)
    await openIn(directory)
    expect(nameSeenByOtherProcess(directory)).toBe('a new replica')
  })

  test('a second copy of the module, and another way to the directory, do not end it either', async () => {
    const directory = await storedReplica('mine')
    await openIn(directory)
    const link = join(await freshDirectory(), 'link')
    await symlink(directory, link)
    vi.resetModules()
    const copy: typeof import('./level.ts') = await import('./level.ts')
    expect(copy.levelStorage).not.toBe(levelStorage)
    const other = await copy.levelStorage({ directory: link }).open(scope)
    cleanUps.push(() => other.close())
    expect(await nameIn(other)).toBe(undefined)
    expect(nameSeenByOtherProcess(directory)).toBe('a new replica')
  })

  test('many openings at the same moment give each a replica of its own', async () => {
    const directory = await freshDirectory()
    const storages = await Promise.all(Array.from({ length: 5 }, () => openIn(directory)))
    await Promise.all(storages.map((storage, at) => storage.write(named(`replica ${at}`))))
    expect(await Promise.all(storages.map(nameIn))).toEqual(storages.map((_, at) => `replica ${at}`))
  })

  test('the lowest free number is taken again when its replica is erased, and its folder was gone', async () => {
    const directory = await freshDirectory()
    const first = await openIn(directory)
    const second = await openIn(directory)
    await first.write(named('first'))
    await second.write(named('second'))
    await first.erase()
    expect(await readdir(join(directory, 'n-room', 'n-p'))).toEqual(['1'])
    const third = await openIn(directory)
    expect(await nameIn(third)).toBe(undefined)
    expect((await readdir(join(directory, 'n-room', 'n-p'))).sort()).toEqual(['0', '1'])
  })

  test('what an erasing process left behind when it was killed is deleted by the next opening', async () => {
    const directory = await storedReplica('kept')
    const left = join(directory, 'n-room', 'n-p', 'erased-0')
    await mkdir(left)
    await writeFile(join(left, '000003.log'), 'x')
    expect(await nameIn(await openIn(directory))).toBe('kept')
    expect(existsSync(left)).toBe(false)
  })
})

describe('folders', () => {
  test.each([
    ['upward', '../../outside'],
    ['this folder', '.'],
    ['the root', '/etc'],
    ['nothing', ''],
    ['a NUL', 'a\0b'],
    ['a very long name', 'x'.repeat(5_000)],
    ['what Windows reserves', 'con'],
    ['a backslash', '..\\..\\outside'],
    ['a colon', 'c:'],
    ['an emoji', '😀'],
  ])('no name leads out of the directory: %s', async (_what, name) => {
    const outer = await freshDirectory()
    const directory = join(outer, 'inner')
    const strange = { room: name, partition: name }
    const storage = await openIn(directory, strange)
    await storage.write(named('strange'))
    await storage.close()
    expect(await readdir(outer)).toEqual(['inner'])
    const [room = '', ...others] = await readdir(directory)
    expect(others).toEqual([])
    expect(room.length).toBeLessThan(100)
    expect(await nameIn(await openIn(directory, strange))).toBe('strange')
  })

  test('names that differ in upper and lower case only have folders that differ in more', async () => {
    const directory = await freshDirectory()
    const names = ['room', 'Room', 'ROOM', 'h-room', 'n-room']
    for (const room of names) await (await openIn(directory, { room, partition: 'p' })).write(named(room))
    const folders = (await readdir(directory)).map((folder) => folder.toLowerCase())
    expect(new Set(folders).size).toBe(names.length)
  })

  test('a name that is no Unicode is an InvalidArgument error', async () => {
    const opened = levelStorage({ directory: await freshDirectory() }).open({ room: '\ud800', partition: 'p' })
    await expect(opened).rejects.toMatchObject({ code: 'InvalidArgument' })
  })
})

describe('space', () => {
  test('is what the files take, and what the file system has left besides', async () => {
    const storage = await openIn(await freshDirectory())
    await storage.write(write({ checkpoints: [{ epoch: 1, bytes: noise(3_000_000) }] }))
    const space = await storage.space?.()
    expect(space?.persisted).toBe(true)
    expect(space?.usedBytes).toBeGreaterThan(3_000_000)
    expect(space?.quotaBytes).toBeGreaterThan(space?.usedBytes ?? Number.POSITIVE_INFINITY)
  })

  test('what dropEpochsBefore forgets is given back at the latest when the storage is closed', async () => {
    const directory = await freshDirectory()
    const storage = await openIn(directory)
    for (let epoch = 1; epoch <= 4; epoch += 1) {
      const instances = Array.from({ length: 20 }, (_, at) => ({ epoch, row: 0, seq: at + 1, bytes: noise(200_000) }))
      await storage.write(write({ instances, checkpoints: [{ epoch, bytes: noise(1_000_000) }] }))
    }
    const before = (await storage.space?.())?.usedBytes ?? 0
    await storage.write(write({ dropEpochsBefore: 4 }))
    await storage.write(write({ dropEpochsBefore: 5 }))
    await storage.close()
    const next = await openIn(directory)
    const after = (await next.space?.())?.usedBytes ?? Number.POSITIVE_INFINITY
    expect(before).toBeGreaterThan(20_000_000)
    expect(after).toBeLessThan(1_000_000)
    expect((await next.read()).instances).toEqual([])
  })

  test('the files of an erased replica are gone', async () => {
    const directory = await freshDirectory()
    const storage = await openIn(directory)
    await storage.write(write({ checkpoints: [{ epoch: 1, bytes: noise(3_000_000) }] }))
    await storage.erase()
    expect(await readdir(join(directory, 'n-room', 'n-p'))).toEqual([])
  })
})

describe('failures', () => {
  test('a database that a newer version wrote is refused with reason newer-version, and stays as it is', async () => {
    const directory = await storedReplica('newer')
    await changeDatabase(directory, (database) => database.put(Uint8Array.of(0), Uint8Array.of(2)))
    const opened = levelStorage({ directory }).open(scope)
    await expect(opened).rejects.toMatchObject({ code: 'StorageFailed', details: { reason: 'newer-version' } })
    await changeDatabase(directory, (database) => database.put(Uint8Array.of(0), Uint8Array.of(1)))
    expect(await nameIn(await openIn(directory))).toBe('newer')
  })

  test.each([
    ['the layout is missing', Uint8Array.of(0), undefined],
    ['the layout is nothing', Uint8Array.of(0), new Uint8Array(0)],
  ])('a database that was not written like this is DamagedStorage: %s', async (_what, key, value) => {
    const directory = await storedReplica('x')
    await changeDatabase(directory, (database) => (value === undefined ? database.del(key) : database.put(key, value)))
    const storage = await openIn(directory)
    await expect(storage.read()).rejects.toMatchObject({ code: 'DamagedStorage' })
  })

  test.each([
    ['of no kind', Uint8Array.of(9, 9)],
    ['too short', Uint8Array.of(3, 0, 0)],
    ['with a number that is none', new Uint8Array(18).fill(255).fill(3, 0, 1)],
  ])('a key that nobody wrote is DamagedStorage when it is read: %s', async (_what, key) => {
    const directory = await storedReplica('x')
    await changeDatabase(directory, (database) => database.put(key, Uint8Array.of(1)))
    const storage = await openIn(directory)
    await expect(storage.read()).rejects.toMatchObject({ code: 'DamagedStorage' })
  })

  test.each([
    ['CURRENT is missing', async (folder: string) => rm(join(folder, 'CURRENT'))],
    ['CURRENT leads nowhere', async (folder: string) => writeFile(join(folder, 'CURRENT'), 'MANIFEST-999999\n')],
    ['CURRENT is garbage', async (folder: string) => writeFile(join(folder, 'CURRENT'), 'x')],
    ['the list of tables is garbage', async (folder: string) => garble(folder, /^MANIFEST-/)],
    ['a table is missing', async (folder: string) => rm(join(folder, await fileOf(folder, /\.ldb$/)))],
  ])(
    '[DU8] a database that is not whole is DamagedStorage when it is read, and no replica is made in its place: %s',
    async (_what, damage) => {
      const directory = await freshDirectory()
      const storage = await openIn(directory)
      await storage.write(write({ checkpoints: [{ epoch: 1, bytes: noise(100_000) }] }))
      await storage.close()
      // Reopening makes a table of the log.
      await (await openIn(directory)).close()
      await damage(slotDirectory(directory, 0))
      const before = await readdir(slotDirectory(directory, 0))
      const damaged = await openIn(directory)
      const lost = { code: 'DamagedStorage', details: { reason: 'damaged', directory: slotDirectory(directory, 0) } }
      await expect(damaged.read()).rejects.toMatchObject(lost)
      await expect(damaged.write(named('x'))).rejects.toMatchObject(lost)
      await damaged.close()
      await expect((await openIn(directory)).read()).rejects.toMatchObject(lost)
      expect(await readdir(join(directory, 'n-room', 'n-p'))).toEqual(['0'])
      expect(await readdir(slotDirectory(directory, 0))).toEqual(expect.arrayContaining(before))
    },
  )

  test('[DU8] who has a damaged database owns it, and reaches the replicas behind it, until it erases it', async () => {
    const directory = await freshDirectory()
    const [first, second] = [await openIn(directory), await openIn(directory)]
    await first.write(named('first'))
    await second.write(named('second'))
    await first.close()
    await second.close()
    await rm(join(slotDirectory(directory, 0), 'CURRENT'))
    const damaged = await openIn(directory)
    await expect(damaged.read()).rejects.toMatchObject({ code: 'DamagedStorage' })
    expect(nameSeenByOtherProcess(directory)).toBe('second')
    const healthy = await openIn(directory)
    expect(await nameIn(healthy)).toBe('second')
    expect(nameSeenByOtherProcess(directory)).toBe('a new replica')
    await damaged.erase()
    await expect(damaged.read()).rejects.toMatchObject({ code: 'Closed' })
    const made = await openIn(directory)
    await made.write(named('made'))
    await made.close()
    expect(await readdir(slotDirectory(directory, 0))).not.toContain('damaged')
    expect(nameSeenByOtherProcess(directory)).toBe('made')
  })

  test('[DU8] a replica whose database is damaged begins anew beside it, and erases it when it is in its place', async () => {
    const directory = await freshDirectory()
    const network = createMemoryNetwork()
    const open = (name: string, storage: StorageProvider) =>
      openReplica({ partition: 'p', transport: network.transport(name), storage, machine: kv() })
    const level = levelStorage({ directory, durability: 'relaxed' })
    const a = await open('a', memoryStorage())
    const before = await open('b', level)
    await before.ready()
    await a.mutate.set('k', 1).done
    await before.close()
    const [room = ''] = await readdir(directory)
    const slots = join(directory, room, 'n-p')
    await rm(join(slots, '0', 'CURRENT'))
    const after = await open('b', level)
    cleanUps.push(
      () => a.close(),
      () => after.close(),
    )
    await after.ready()
    expect(after.id).not.toBe(before.id)
    expect(after.view.committed.get('k')).toBe(1)
    await vi.waitFor(async () => expect(await readdir(slots)).toEqual(['1']))
  })

  test('a table whose blocks are garbage is DamagedStorage when it is read', async () => {
    const directory = await freshDirectory()
    const storage = await openIn(directory)
    await storage.write({ ...named('x'), checkpoints: [{ epoch: 1, bytes: new Uint8Array(100_000) }] })
    await storage.close()
    await (await openIn(directory)).close()
    await garble(slotDirectory(directory, 0), /\.ldb$/)
    const read = async () => (await openIn(directory)).read()
    await expect(read()).rejects.toMatchObject({ code: 'DamagedStorage' })
  })

  test('a slot whose making was broken off is made anew', async () => {
    const directory = await freshDirectory()
    const slot = slotDirectory(directory, 0)
    await mkdir(slot, { recursive: true })
    await writeFile(join(slot, 'LOCK'), '')
    await writeFile(join(slot, 'MANIFEST-000001'), 'half')
    const storage = await openIn(directory)
    await storage.write(named('new'))
    await storage.close()
    expect(await nameIn(await openIn(directory))).toBe('new')
    expect(await readdir(join(directory, 'n-room', 'n-p'))).toEqual(['0'])
  })

  test('a file where the directory should be is StorageFailed with reason disk', async () => {
    const directory = join(await freshDirectory(), 'file')
    await writeFile(directory, 'x')
    await expect(levelStorage({ directory }).open(scope)).rejects.toMatchObject({
      code: 'StorageFailed',
      details: { reason: 'disk' },
    })
  })

  test.runIf(canMount())(
    'a file system without room is StorageFailed with reason quota, and nothing is lost',
    async () => {
      const directory = await freshDirectory()
      execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=2m', 'tmpfs', directory])
      cleanUps.push(() => execFileSync('umount', [directory]))
      const storage = await openIn(directory)
      await storage.write(named('kept'))
      const refused = storage.write(write({ checkpoints: [{ epoch: 1, bytes: noise(3_000_000) }] }))
      await expect(refused).rejects.toMatchObject({ code: 'StorageFailed', details: { reason: 'quota' } })
      await storage.close()
      execFileSync('mount', ['-o', 'remount,size=20m', directory])
      expect(await nameIn(await openIn(directory))).toBe('kept')
    },
  )

  test.each([
    ['a durability that does not exist', { directory: 'x', durability: 'eternal' }],
    ['no directory', { directory: '' }],
  ])('%s is an InvalidArgument error', (_what, options) => {
    const make: (options: never) => unknown = levelStorage
    expect(() => make(options as never)).toThrow(expect.objectContaining({ code: 'InvalidArgument' }))
  })

  test.each([
    ['is not installed', 'ERR_MODULE_NOT_FOUND', /not installed.*npm install classic-level/],
    ['has no binary for the platform', 'ERR_OTHER', /can not be loaded on this platform/],
  ])(
    'importing the module loads nothing, and where classic-level %s, open says NotSupported',
    async (_what, code, says) => {
      const hooks = `export async function resolve(name, context, next) {
      if (name === 'classic-level') throw Object.assign(new Error('refused by the test'), { code: '${code}' })
      return next(name, context)
    }`
      const register = `import { register } from 'node:module'; register(${JSON.stringify(dataUrl(hooks))})`
      const program = `
      const { levelStorage } = await import(${JSON.stringify(pathToFileURL(join(here, 'level.ts')).href)})
      const provider = levelStorage({ directory: '/never/made' })
      const error = await provider.open({ room: 'r', partition: 'p' }).catch((error) => error)
      console.log(JSON.stringify({ code: error.code, message: error.message, details: error.details }))`
      const given = [...runFromSources, '--import', dataUrl(register), '--input-type=module', '--eval', program]
      const told = JSON.parse(execFileSync(process.execPath, given, { cwd: here, encoding: 'utf8' }))
      expect(told).toMatchObject({ code: 'NotSupported', details: { missing: 'classic-level' } })
      expect(told.message).toMatch(says)
    },
  )
})

test('a log of 100,000 instances is read back whole and in order', async () => {
  const directory = await freshDirectory()
  const storage = await openIn(directory)
  const value = new Uint8Array(150).fill(7)
  for (let from = 1; from <= 100_000; from += 10_000) {
    const instances = Array.from({ length: 10_000 }, (_, at) => ({ epoch: 1, row: 0, seq: from + at, bytes: value }))
    await storage.write(write({ instances }))
  }
  await storage.close()
  const begin = performance.now()
  const next = await openIn(directory)
  const opened = performance.now()
  const { instances } = await next.read()
  console.info(
    `opened in ${Math.round(opened - begin)} ms, 100,000 read in ${Math.round(performance.now() - opened)} ms`,
  )
  expect(instances).toHaveLength(100_000)
  expect(instances.every(({ seq, bytes }, at) => seq === at + 1 && bytes.length === 150)).toBe(true)
})

/** Bytes that no compression makes smaller, the same ones each time. */
function noise(length: number): Uint8Array {
  const words = new Uint32Array(Math.ceil(length / 4))
  let state = 1
  for (let at = 0; at < words.length; at += 1) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    words[at] = Math.imul(state ^ (state >>> 15), 2_246_822_519)
  }
  return new Uint8Array(words.buffer, 0, length)
}

async function changeDatabase(
  directory: string,
  change: (database: ClassicLevel<Uint8Array, Uint8Array>) => Promise<void>,
): Promise<void> {
  const location = slotDirectory(directory, 0)
  const database = new ClassicLevel<Uint8Array, Uint8Array>(location, { keyEncoding: 'view', valueEncoding: 'view' })
  await database.open()
  await change(database)
  await database.close()
}

async function fileOf(folder: string, which: RegExp): Promise<string> {
  const name = (await readdir(folder)).find((candidate) => which.test(candidate))
  if (name === undefined) throw new Error(`${folder} has no file like ${which}`)
  return name
}

/** Turns all bits in the first half of the file. */
async function garble(folder: string, which: RegExp): Promise<void> {
  const path = join(folder, await fileOf(folder, which))
  const content = await readFile(path)
  for (let at = 0; at < content.length / 2; at += 1) content[at] = (content[at] ?? 0) ^ 0xff
  await writeFile(path, content)
}

function canMount(): boolean {
  return process.platform === 'linux' && process.getuid?.() === 0 && mountWorks()
}

function mountWorks(): boolean {
  try {
    execFileSync('unshare', ['--mount', 'mount', '-t', 'tmpfs', 'tmpfs', tmpdir()], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}

function dataUrl(code: string): string {
  return `data:text/javascript,${encodeURIComponent(code)}`
}
