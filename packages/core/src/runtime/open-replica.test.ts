import { describe, expect, it } from 'vitest'
import { createMemoryNetwork } from '../../testing/memory-transport.ts'
import { kv } from '../state-machines/kv.ts'
import { memoryStorage } from '../storage/memory.ts'
import { openReplica } from './open-replica.ts'

async function threeReplicas() {
  const network = createMemoryNetwork()
  const first = await openReplica({ partition: 'p', transport: network.transport('a'), storage: memoryStorage(), machine: kv(), start: 'found' })
  const second = await openReplica({ partition: 'p', transport: network.transport('b'), storage: memoryStorage(), machine: kv(), start: 'join' })
  const third = await openReplica({ partition: 'p', transport: network.transport('c'), storage: memoryStorage(), machine: kv(), start: 'join' })
  const all = [first, second, third] as const
  for (const replica of all) await replica.ready({ timeoutMs: 5_000 })
  return { network, all }
}

describe('openReplica', () => {
  it('a founder alone executes commands', async () => {
    const network = createMemoryNetwork()
    const replica = await openReplica({ partition: 'p', transport: network.transport('a'), storage: memoryStorage(), machine: kv(), start: 'found' })
    await replica.ready({ timeoutMs: 1_000 })
    const claim = replica.mutate.create('seat/A1', { by: 'ana' })
    expect(claim.local).toMatchObject({ ok: true })
    expect(await claim.done).toMatchObject({ ok: true })
    expect(replica.view.committed.get('seat/A1')).toEqual({ by: 'ana' })
    await replica.close()
  })

  it('three replicas agree on the order of conflicting commands', async () => {
    const { all } = await threeReplicas()
    const handles = []
    for (let i = 0; i < 100; i++) for (const replica of all) handles.push(replica.mutate.increment('n'))
    await Promise.all(handles.map((h) => h.done))
    for (let tries = 0; tries < 100 && new Set(all.map((r) => r.stats().stateHash)).size > 1; tries++) await new Promise((r) => setTimeout(r, 20))
    console.log(all.map((r) => r.stats()))
    expect(new Set(all.map((r) => r.stats().stateHash)).size).toBe(1)
    expect(all[0].view.committed.get('n')).toBe(300)
    expect(await all[1].read.get('n')).toBe(300)
    for (const r of all) await r.close()
  })
})
