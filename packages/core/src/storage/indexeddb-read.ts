// Reading a replica's database: all at once, or, where a record is lost, what is left. What is left then does not fit the seal
// that was written with it, so its replica is not opened with a hole, but can be told by its name that its disk is lost.
import type { ReplicaDatabase } from './indexeddb-database.ts'
import { allStores, ownerKey } from './indexeddb-database.ts'
import { isLostRecord } from './indexeddb-failure.ts'

/** All keys and all values of the state, in bulk: a cursor would cost a task for each record. */
export async function readAll(database: ReplicaDatabase) {
  const transaction = database.transaction(allStores)
  const meta = transaction.objectStore('meta')
  const instances = transaction.objectStore('instances')
  const checkpoints = transaction.objectStore('checkpoints')
  const [owner, metaKeys, metaValues, instanceKeys, instanceValues, checkpointKeys, checkpointValues] =
    await Promise.all([
      transaction.objectStore('owner').get(ownerKey),
      meta.getAllKeys(),
      meta.getAll(),
      instances.getAllKeys(),
      instances.getAll(),
      checkpoints.getAllKeys(),
      checkpoints.getAll(),
      transaction.done,
    ])
  return {
    owner,
    meta: { keys: metaKeys, values: metaValues },
    instances: { keys: instanceKeys, values: instanceValues },
    checkpoints: { keys: checkpointKeys, values: checkpointValues },
  }
}

/** One by one, without the records that are lost. */
export async function readWhatCanBeRead(database: ReplicaDatabase): Promise<Awaited<ReturnType<typeof readAll>>> {
  return {
    owner: await database.get('owner', ownerKey),
    meta: await readStore(database, 'meta'),
    instances: await readStore(database, 'instances'),
    checkpoints: await readStore(database, 'checkpoints'),
  }
}

async function readStore<Name extends 'meta' | 'instances' | 'checkpoints'>(database: ReplicaDatabase, name: Name) {
  const keys: Awaited<ReturnType<typeof database.getAllKeys<Name>>> = []
  const values: Uint8Array[] = []
  for (const key of await database.getAllKeys(name)) {
    try {
      const value = await database.get(name, key)
      if (value === undefined) continue
      keys.push(key)
      values.push(value)
    } catch (error) {
      if (!isLostRecord(error)) throw error
    }
  }
  return { keys, values }
}
