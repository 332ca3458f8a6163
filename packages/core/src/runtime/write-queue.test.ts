// Group commit: what goes into which batch, what is called when, and that nothing goes on after a failed write. The storage
// is the memory one, with its writes held until the test lets them go.
import { describe, expect, test } from 'vitest'
import { decodeInstance, decodeReservation } from '../codec/record.ts'
import { WepaxosError } from '../lib/errors.ts'
import { nop } from '../protocol/command.ts'
import { replicaId } from '../protocol/ids.ts'
import type { Instance } from '../protocol/instance.ts'
import { memoryStorage } from '../storage/memory.ts'
import type { Storage, WriteBatch } from '../storage/storage.ts'
import { DiskSeal, sealName } from './disk-seal.ts'
import { reservationName, WriteQueue } from './write-queue.ts'

const voters = [replicaId('a'.repeat(32))]

function instance(seq: number, promisedBallot = 0): Instance {
  return { id: { row: 0, seq }, phase: 'none', promisedBallot, initCommand: nop, initDeps: [seq] }
}

interface Held {
  readonly batch: WriteBatch
  release(): Promise<void>
  fail(): Promise<void>
}

/** The given storage, but each write waits to be released or failed; after a failure all fail, as the port says. */
function holding(storage: Storage, held: Held[]): Storage {
  return {
    durability: storage.durability,
    onLost: null,
    read: () => storage.read(),
    erase: () => storage.erase(),
    close: () => storage.close(),
    write: (batch) =>
      new Promise((resolve, reject) => {
        held.push({
          batch,
          release: async () => {
            await storage.write(batch)
            resolve()
            await settled()
          },
          fail: async () => {
            reject(new WepaxosError('StorageFailed', 'the disk is full'))
            await settled()
          },
        })
      }),
  }
}

/** Lets the reactions to a settled promise run. */
async function settled(): Promise<void> {
  for (let turn = 0; turn < 5; turn++) await Promise.resolve()
}

async function start() {
  const storage = await memoryStorage().open({ room: 'room', partition: 'partition' })
  const writes: Held[] = []
  const called: string[] = []
  const failures: unknown[] = []
  const queue = new WriteQueue(
    holding(storage, writes),
    new DiskSeal(),
    (waiting) => {
      called.push('written')
      for (const action of waiting) action()
    },
    (reason) => failures.push(reason),
  )
  return { storage, writes, called, failures, queue, call: (name: string) => () => called.push(name) }
}

function seqs(held: Held | undefined): number[] | undefined {
  return held?.batch.instances.map(({ seq }) => seq)
}

describe('the write queue', () => {
  test('writes nothing before flush, and nothing at all when there is nothing', async () => {
    const { queue, writes } = await start()
    queue.flush()
    expect(writes).toEqual([])
    queue.putInstance(1, voters, instance(1))
    expect(writes).toEqual([])
    queue.flush()
    expect(writes.map(seqs)).toEqual([[1]])
  })

  test('gathers one batch while another is being written', async () => {
    const { queue, writes, called } = await start()
    queue.putInstance(1, voters, instance(1))
    queue.flush()
    queue.putInstance(1, voters, instance(2))
    queue.flush()
    queue.putInstance(1, voters, instance(3))
    queue.flush()
    expect(writes.length).toBe(1)
    await writes[0]?.release()
    expect(called).toEqual(['written'])
    queue.flush()
    expect(writes.map(seqs)).toEqual([[1], [2, 3]])
  })

  test('calls what waits once what was put before it is durable, and in order', async () => {
    const { queue, writes, called, call } = await start()
    queue.after(call('nothing to wait for'))
    expect(called).toEqual(['nothing to wait for'])
    queue.putInstance(1, voters, instance(1))
    queue.after(call('after 1'))
    queue.flush()
    queue.after(call('after 1 too'))
    queue.putInstance(1, voters, instance(2))
    queue.after(call('after 2'))
    queue.after(call('after 2 too'))
    queue.flush()
    expect(called).toEqual(['nothing to wait for'])
    await writes[0]?.release()
    expect(called.slice(1)).toEqual(['written', 'after 1', 'after 1 too'])
    queue.flush()
    await writes[1]?.release()
    expect(called.slice(4)).toEqual(['written', 'after 2', 'after 2 too'])
    expect(queue.idle).toBe(true)
  })

  test('calls what waits only when the bytes are in the storage', async () => {
    const { queue, storage, writes } = await start()
    queue.putInstance(1, voters, instance(1, 17))
    let found: unknown
    queue.after(() => {
      found = storage.read()
    })
    queue.flush()
    await writes[0]?.release()
    const { instances } = (await found) as Awaited<ReturnType<Storage['read']>>
    expect(instances.map(({ bytes }) => decodeInstance(bytes, voters))).toEqual([instance(1, 17)])
  })

  test('writes an instance once a batch, in its last state', async () => {
    const { queue, writes } = await start()
    for (const ballot of [0, 17, 33]) queue.putInstance(1, voters, instance(1, ballot))
    queue.putInstance(2, voters, instance(1, 1))
    queue.flush()
    const written = writes[0]?.batch.instances ?? []
    expect(written.map(({ epoch, bytes }) => [epoch, decodeInstance(bytes, voters).promisedBallot])).toEqual([
      [1, 33],
      [2, 1],
    ])
  })

  test('writes what is about one epoch together: the checkpoint, the dropping and the reservation, none of the dropped', async () => {
    const { queue, writes } = await start()
    queue.putInstance(1, voters, instance(1))
    queue.putInstance(2, voters, instance(1))
    queue.putCheckpoint(1, new Uint8Array([1]))
    queue.putCheckpoint(2, new Uint8Array([2]))
    queue.dropEpochsBefore(2)
    queue.dropEpochsBefore(1)
    queue.putReservation({ epoch: 2, seq: 64, sessionNumber: 256 })
    queue.flush()
    const batch = writes[0]?.batch
    expect(batch?.dropEpochsBefore).toBe(2)
    expect(batch?.instances.map(({ epoch }) => epoch)).toEqual([2])
    expect(batch?.checkpoints.map(({ epoch }) => epoch)).toEqual([2])
    expect(batch?.meta.map(({ name }) => name)).toEqual([reservationName, sealName])
    const bytes = batch?.meta[0]?.bytes ?? new Uint8Array()
    expect(decodeReservation(bytes)).toEqual({ epoch: 2, seq: 64, sessionNumber: 256 })
  })

  test('after a failed write says so once, and calls and writes nothing any more', async () => {
    const { queue, writes, called, failures, call } = await start()
    queue.putInstance(1, voters, instance(1))
    queue.after(call('never'))
    queue.flush()
    queue.putInstance(1, voters, instance(2))
    queue.after(call('never either'))
    await writes[0]?.fail()
    expect(failures).toEqual([expect.objectContaining({ code: 'StorageFailed' })])
    queue.putInstance(1, voters, instance(3))
    queue.after(call('nor this'))
    queue.flush()
    await settled()
    expect(writes.length).toBe(1)
    expect(called).toEqual([])
    expect(failures.length).toBe(1)
    await queue.whenIdle()
  })

  test('after stop calls nothing, although the write under way may still succeed', async () => {
    const { queue, writes, called, failures, call } = await start()
    queue.putInstance(1, voters, instance(1))
    queue.after(call('never'))
    queue.flush()
    queue.stop()
    let idle = false
    const whenIdle = queue.whenIdle().then(() => {
      idle = true
    })
    await settled()
    expect(idle).toBe(false)
    await writes[0]?.release()
    await whenIdle
    expect(called).toEqual([])
    expect(failures).toEqual([])
  })

  test('a write that fails after stop is no failure of the replica any more', async () => {
    const { queue, writes, failures } = await start()
    queue.putInstance(1, voters, instance(1))
    queue.flush()
    queue.stop()
    await writes[0]?.fail()
    await queue.whenIdle()
    expect(failures).toEqual([])
  })

  test('whenIdle waits for the batch under way', async () => {
    const { queue, writes } = await start()
    await queue.whenIdle()
    queue.putInstance(1, voters, instance(1))
    queue.flush()
    let idle = false
    const whenIdle = queue.whenIdle().then(() => {
      idle = true
    })
    await settled()
    expect(idle).toBe(false)
    await writes[0]?.release()
    await whenIdle
    expect(idle).toBe(true)
  })
})
