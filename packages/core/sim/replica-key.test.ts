// Replicas whose transport gives them their ids and keys: the key is kept with the identity and comes back with it.
import { describe, expect, it } from 'vitest'
import { must } from '../src/lib/assert.ts'
import { replicaId } from '../src/protocol/ids.ts'
import type { Transport } from '../src/runtime/transport.ts'
import { identityName, replicaKeyName } from '../src/runtime/write-queue.ts'
import type { StorageProvider, WriteBatch } from '../src/storage/storage.ts'
import { FaultyDisk } from '../testing/faulty-disk.ts'
import { FaultyPage } from '../testing/faulty-page.ts'
import { Stage } from './stage.ts'

/** The simulated network, as one that gives ids with keys and takes replicas only with the right one. */
class KeyedNetwork {
  readonly #stage: Stage
  readonly keys = new Map<string, string>()
  /** Which replicas were attached, in which page. */
  readonly attached: string[] = []

  constructor(stage: Stage) {
    this.#stage = stage
  }

  transport(name: string): Transport {
    const inner = this.#stage.network.transport(name, name === 'a')
    return {
      ...inner,
      newReplica: async () => {
        const count = this.keys.size + 1
        const replica = replicaId(String(count).padStart(32, '0'))
        this.keys.set(replica, `key ${count}`)
        return { replica, key: new TextEncoder().encode(`key ${count}`) }
      },
      attach: (endpoint) => {
        const { replica, key } = endpoint
        const shown = key === undefined ? 'no key' : new TextDecoder().decode(key)
        if (shown !== this.keys.get(replica)) throw new Error(`${replica} came with ${shown}`)
        this.attached.push(`${replica.slice(-1)} in ${name}`)
        return inner.attach(endpoint)
      },
    }
  }
}

/** Keeps what is written on its way to the disk. */
function recording(inner: StorageProvider, batches: WriteBatch[]): StorageProvider {
  return {
    open: async (scope) => {
      const storage = await inner.open(scope)
      const write = storage.write.bind(storage)
      storage.write = (batch) => {
        batches.push(batch)
        return write(batch)
      }
      return storage
    },
  }
}

const namesOf = ({ meta }: WriteBatch) => meta.map(({ name }) => name)

describe('the key of a replica', () => {
  it('is written in the first transaction, with the identity: of who founds and of who joins', async () => {
    const stage = new Stage()
    const network = new KeyedNetwork(stage)
    for (const name of ['a', 'b']) {
      const batches: WriteBatch[] = []
      const storage = recording(stage.disk(name), batches)
      const replica = await stage.open(name, { transport: network.transport(name), storage })
      await stage.until(() => replica.status.kind === 'ready')
      await stage.when(replica.mutate.set('k', name).done)
      const [first, ...later] = batches.map(namesOf)
      expect(first).toEqual(expect.arrayContaining([identityName, replicaKeyName]))
      expect(later.flat()).not.toContain(replicaKeyName)
    }
    expect(network.attached).toEqual(['1 in a', '2 in b'])
  })

  it('comes back with the replica when it is opened again', async () => {
    const stage = new Stage()
    const network = new KeyedNetwork(stage)
    const before = await stage.open('a', { transport: network.transport('a') })
    await stage.when(before.mutate.set('k', 1).done)
    stage.kill('a')
    const after = await stage.open('a', { transport: network.transport('a') })
    expect([after.id, after.view.committed.get('k')]).toEqual([before.id, 1])
    expect([network.attached, network.keys.size]).toEqual([['1 in a', '1 in a'], 1])
  })

  it('[OR1] is what another page attaches the replica with, when it hosts it', async () => {
    const stage = new Stage()
    const network = new KeyedNetwork(stage)
    const disk = new FaultyDisk({ later: (task) => stage.world.at(1, task) })
    const pages = { a: new FaultyPage(disk), b: new FaultyPage(disk) }
    const a = await stage.open('a', { transport: network.transport('a'), storage: pages.a })
    const b = await stage.open('b', { transport: network.transport('b'), storage: pages.b })
    await stage.until(() => b.status.kind === 'ready' && a.members.length === 2)
    stage.kill('b')
    pages.b.die()
    await stage.until(() => a.stats().hosted.length === 1)
    expect([a.stats().hosted, network.attached]).toEqual([[b.id], ['1 in a', '2 in b', '2 in a']])
  })

  it('[DU8] is another one when the disk is lost and the replica begins anew, and so is its id', async () => {
    const stage = new Stage()
    const network = new KeyedNetwork(stage)
    const disk = new FaultyDisk({ later: (task) => stage.world.at(1, task) })
    const page = new FaultyPage(disk)
    const a = await stage.open('a', { transport: network.transport('a') })
    const b = await stage.open('b', { transport: network.transport('b'), storage: page })
    await stage.until(() => b.status.kind === 'ready' && a.members.length === 2)
    await stage.when(b.mutate.set('k', 1).done)
    stage.kill('b')
    page.die()
    disk.damage(0, 'all checkpoints are lost')
    const anew = await stage.open('b', { transport: network.transport('b'), storage: new FaultyPage(disk) })
    await stage.until(() => anew.status.kind === 'ready')
    expect([anew.id === b.id, network.attached]).toEqual([false, ['1 in a', '2 in b', '3 in b']])
    const stored = must(disk.contentsOf(1).meta.get(replicaKeyName), 'the new key is stored')
    expect(new TextDecoder().decode(stored)).toContain('key 3')
  })

  it('[DU8] that is damaged on the disk is a lost disk', async () => {
    const stage = new Stage()
    const network = new KeyedNetwork(stage)
    const disk = stage.disk('a')
    const first = await stage.open('a', { transport: network.transport('a') })
    stage.kill('a')
    const damaged: StorageProvider = {
      open: async () => {
        const storage = await disk.open()
        const read = storage.read.bind(storage)
        storage.read = async () => {
          const contents = await read()
          const key = contents.meta.get(replicaKeyName)
          // All but the checksum that the disk's seal looks at.
          key?.set([(key[2] ?? 0) ^ 1], 2)
          return contents
        }
        return storage
      },
    }
    const again = await stage.open('a', { transport: network.transport('a'), storage: damaged })
    expect(again.id).not.toBe(first.id)
    expect(again.status).toMatchObject({
      kind: 'joining',
      lost: { code: 'DamagedStorage', details: { replica: first.id } },
    })
  })

  it('is not there, and not missed, where the transport gives none', async () => {
    const stage = new Stage()
    const replica = await stage.open('a')
    await stage.when(replica.mutate.set('k', 1).done)
    const { meta } = await stage.disk('a').peek()
    expect([meta.has(identityName), meta.has(replicaKeyName)]).toEqual([true, false])
  })
})
