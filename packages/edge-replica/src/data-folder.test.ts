import { mkdtemp, readdir, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it, onTestFinished } from 'vitest'
import { openDataFolder } from './data-folder.ts'

async function emptyFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'wepaxos-edge-data-'))
  onTestFinished(() => rm(folder, { recursive: true, force: true }))
  return join(folder, 'made', 'when-missing')
}

async function publicKey({ publicKey: key }: CryptoKeyPair): Promise<string> {
  return Buffer.from(await crypto.subtle.exportKey('raw', key)).toString('hex')
}

it('is made where it is missing, for its owner alone', async () => {
  const directory = await emptyFolder()
  const folder = await openDataFolder(directory)
  await folder.close()
  expect((await stat(directory)).mode & 0o777).toBe(0o700)
  expect(await readdir(directory)).toEqual(['holder'])
})

it('keeps its key pair, which signs and whose private half does not come out', async () => {
  const directory = await emptyFolder()
  const first = await openDataFolder(directory)
  await first.close()
  const second = await openDataFolder(directory)
  await second.close()
  expect(await publicKey(second.identity)).toBe(await publicKey(first.identity))
  const algorithm = { name: 'ECDSA', hash: 'SHA-256' }
  const text = new TextEncoder().encode('text')
  const signature = await crypto.subtle.sign(algorithm, second.identity.privateKey, text)
  expect(await crypto.subtle.verify(algorithm, first.identity.publicKey, signature, text)).toBe(true)
  await expect(crypto.subtle.exportKey('pkcs8', second.identity.privateKey)).rejects.toThrow()
})

it('gives two folders two key pairs', async () => {
  const folders = [await openDataFolder(await emptyFolder()), await openDataFolder(await emptyFolder())]
  const [one, other] = await Promise.all(folders.map(({ identity }) => publicKey(identity)))
  await Promise.all(folders.map((folder) => folder.close()))
  expect(one).not.toBe(other)
})

it('is held by one at a time', async () => {
  const directory = await emptyFolder()
  const holder = await openDataFolder(directory)
  await expect(openDataFolder(directory)).rejects.toMatchObject({ code: 'StorageInUse' })
  await holder.close()
  await (await openDataFolder(directory)).close()
})

it('says when the disk is the trouble', async () => {
  await expect(openDataFolder('/dev/null/folder')).rejects.toThrow('ENOTDIR')
})
