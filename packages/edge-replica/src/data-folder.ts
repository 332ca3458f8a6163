// The folder of one edge replica: held by one process at a time, and with the key pair by which the room knows it. The
// replicas' own state lies beside, under `replicas`, and is the storage's business.
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { WepaxosError } from '@wepaxos/core'
import { ClassicLevel } from 'classic-level'

export interface DataFolder {
  /** Where the storage may keep the replicas. */
  readonly replicas: string
  /**
   * The same after each restart: the others take a replica that comes back under the identity it had before at once, also
   * while the link of the process that was killed still seems alive.
   */
  readonly identity: CryptoKeyPair
  /** Lets another process have it. Idempotent. */
  close(): Promise<void>
}

const algorithm = { name: 'ECDSA', namedCurve: 'P-256' } as const
const privateName = 'identity/p256/pkcs8'
const publicName = 'identity/p256/raw'

/**
 * Rejects with StorageInUse while another process holds the folder: that one would give its replica away only to a storage
 * that then begins a second one here, which the room would have to count as one more member.
 */
export async function openDataFolder(directory: string): Promise<DataFolder> {
  // Others than the owner have no business here: it holds the state in the clear, and a private key.
  await mkdir(directory, { recursive: true, mode: 0o700 })
  const database = new ClassicLevel<string, Uint8Array>(join(directory, 'holder'), { valueEncoding: 'view' })
  try {
    await database.open()
  } catch (error) {
    const cause = error instanceof Error ? error.cause : undefined
    const isHeld = cause instanceof Error && 'code' in cause && cause.code === 'LEVEL_LOCKED'
    throw isHeld
      ? new WepaxosError('StorageInUse', `another process holds ${directory}`, { directory }, error)
      : new WepaxosError('StorageFailed', `${directory} can not be opened`, { directory, reason: 'disk' }, error)
  }
  try {
    const identity = await keptIdentity(database)
    return { replicas: join(directory, 'replicas'), identity, close: () => database.close() }
  } catch (error) {
    await database.close()
    throw error
  }
}

async function keptIdentity(database: ClassicLevel<string, Uint8Array>): Promise<CryptoKeyPair> {
  const [privateBytes, publicBytes] = await database.getMany([privateName, publicName])
  if (privateBytes !== undefined && publicBytes !== undefined) {
    const [privateKey, publicKey] = await Promise.all([
      crypto.subtle.importKey('pkcs8', privateBytes.slice(), algorithm, false, ['sign']),
      crypto.subtle.importKey('raw', publicBytes.slice(), algorithm, true, ['verify']),
    ])
    return { privateKey, publicKey }
  }
  const pair = await crypto.subtle.generateKey(algorithm, true, ['sign', 'verify'])
  const [pkcs8, raw] = await Promise.all([
    crypto.subtle.exportKey('pkcs8', pair.privateKey),
    crypto.subtle.exportKey('raw', pair.publicKey),
  ])
  const batch = [
    { type: 'put', key: privateName, value: new Uint8Array(pkcs8) },
    { type: 'put', key: publicName, value: new Uint8Array(raw) },
  ] as const
  await database.batch([...batch], { sync: true })
  return pair
}
