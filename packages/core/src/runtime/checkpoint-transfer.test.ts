// A checkpoint in chunks: it arrives whole or not at all, goes on from another peer, and no chunk that does not fit is taken.
import { describe, expect, test } from 'vitest'
import { createRandom } from '../lib/random.ts'
import { sha256Hex } from '../lib/sha256.ts'
import type { CheckpointChunk } from '../protocol/control-message.ts'
import { replicaId } from '../protocol/ids.ts'
import {
  CheckpointFetcher,
  checkpointBytesMax,
  chunkBytes,
  type ServableCheckpoint,
  serveChunk,
} from './checkpoint-transfer.ts'

const ann = replicaId('a'.repeat(32))
const bob = replicaId('b'.repeat(32))

function checkpoint(epoch: number, size: number, seed = epoch): ServableCheckpoint {
  const random = createRandom(seed)
  const bytes = Uint8Array.from({ length: size }, () => random.integer(256))
  return { epoch, bytes, hash: sha256Hex(bytes) }
}

const large = checkpoint(3, 2 * chunkBytes + 5)

/** A fetcher that has the first chunk of `large` from ann. */
function underWay(): CheckpointFetcher {
  const fetcher = new CheckpointFetcher()
  const reply = fetcher.receive(ann, serveChunk(large, fetcher.start(ann, 0)), 0)
  expect(reply).toEqual({ kind: 'more', ask: { type: 'FetchCheckpoint', epoch: 3, offset: chunkBytes } })
  return fetcher
}

/** Asks on until the checkpoint is whole; how many chunks that took. */
function fetchAll(fetcher: CheckpointFetcher, from: ServableCheckpoint): { whole: ServableCheckpoint; chunks: number } {
  let ask = fetcher.start(bob, 0)
  for (let chunks = 1; chunks <= 10; chunks++) {
    const reply = fetcher.receive(bob, serveChunk(from, ask), 0)
    if (reply.kind === 'whole') return { whole: reply.checkpoint, chunks }
    if (reply.kind !== 'more') return expect.fail('a good chunk was not taken')
    ask = reply.ask
  }
  return expect.fail('it never ends')
}

describe('a transfer', () => {
  test.each([1, chunkBytes - 1, chunkBytes, chunkBytes + 1, 3 * chunkBytes])('brings %i bytes as they were', (size) => {
    const { whole, chunks } = fetchAll(new CheckpointFetcher(), checkpoint(2, size))
    expect(sha256Hex(whole.bytes)).toBe(checkpoint(2, size).hash)
    expect(whole.epoch).toBe(2)
    expect(chunks).toBe(Math.ceil(size / chunkBytes))
  })

  test('goes on from another peer that has the same checkpoint, without what is there already', () => {
    expect(fetchAll(underWay(), large).chunks).toBe(2)
  })

  test('starts over when the other peer has a newer checkpoint', () => {
    const newer = checkpoint(4, chunkBytes + 9)
    const { whole, chunks } = fetchAll(underWay(), newer)
    expect(whole).toEqual(newer)
    expect(chunks).toBe(2)
  })

  test('listens to the peer that it asked only, and to nobody after the end', () => {
    const fetcher = underWay()
    const second = serveChunk(large, { type: 'FetchCheckpoint', epoch: 3, offset: chunkBytes })
    expect(fetcher.receive(bob, second, 0)).toEqual({ kind: 'refused' })
    expect(fetcher.peer).toBe(ann)
    expect(fetcher.receive(ann, second, 0).kind).toBe('more')
    fetcher.stop()
    expect(fetcher.peer).toBeNull()
    expect(fetcher.receive(ann, second, 0)).toEqual({ kind: 'refused' })
  })

  test('that waits too long is stale; an answer makes it fresh again', () => {
    const fetcher = new CheckpointFetcher()
    expect(fetcher.isStale(1_000, 50)).toBe(false)
    const ask = fetcher.start(ann, 100)
    expect(fetcher.isStale(150, 50)).toBe(false)
    expect(fetcher.isStale(151, 50)).toBe(true)
    fetcher.receive(ann, serveChunk(large, ask), 151)
    expect(fetcher.isStale(201, 50)).toBe(false)
    fetcher.stop()
    expect(fetcher.isStale(1_000, 50)).toBe(false)
  })

  test('of bytes whose hash is another is refused at the end, and begins again from nothing', () => {
    const fetcher = new CheckpointFetcher()
    const good = checkpoint(2, 10)
    const chunk = serveChunk(good, fetcher.start(ann, 0))
    const damaged = { ...chunk, bytes: chunk.bytes.map((byte) => byte ^ 1) }
    expect(fetcher.receive(ann, damaged, 0)).toEqual({ kind: 'refused' })
    expect(fetcher.start(ann, 0)).toEqual({ type: 'FetchCheckpoint', epoch: 0, offset: 0 })
    expect(fetchAll(fetcher, good).whole).toEqual(good)
  })

  const fits = serveChunk(large, { type: 'FetchCheckpoint', epoch: 3, offset: chunkBytes })
  test.each<[string, Partial<CheckpointChunk>]>([
    ['no bytes', { bytes: new Uint8Array() }],
    ['a total of nothing', { totalBytes: 0 }],
    ['another total', { totalBytes: large.bytes.length + 1 }],
    ['a total beyond the limit', { totalBytes: checkpointBytesMax + 1 }],
    ['a gap before it', { offset: chunkBytes + 1 }],
    ['more bytes than the total', { bytes: new Uint8Array(chunkBytes + 6) }],
    ['the middle of another checkpoint', { hash: 'f'.repeat(64) }],
    ['the middle of another epoch', { epoch: 4 }],
  ])('refuses a chunk with %s, and forgets the transfer', (_, change) => {
    const fetcher = underWay()
    expect(fetcher.receive(ann, { ...fits, ...change }, 0)).toEqual({ kind: 'refused' })
    expect(fetcher.peer).toBeNull()
    expect(fetcher.start(ann, 0)).toEqual({ type: 'FetchCheckpoint', epoch: 0, offset: 0 })
  })
})

test('a chunk that comes a second time, over a slow link, changes nothing', () => {
  const fetcher = underWay()
  const first = serveChunk(large, { type: 'FetchCheckpoint', epoch: 3, offset: 0 })
  expect(fetcher.receive(ann, first, 0)).toEqual({ kind: 'repeated' })
  expect(fetcher.peer).toBe(ann)
  expect(fetcher.start(ann, 0)).toEqual({ type: 'FetchCheckpoint', epoch: 3, offset: chunkBytes })
})

describe('serving', () => {
  test('goes on where the asker is, if it is at this checkpoint, and else from the start', () => {
    const ask = { type: 'FetchCheckpoint', epoch: 3, offset: chunkBytes } as const
    expect(serveChunk(large, ask).offset).toBe(chunkBytes)
    expect(serveChunk(large, { ...ask, epoch: 2 }).offset).toBe(0)
    expect(serveChunk(large, { ...ask, offset: large.bytes.length }).offset).toBe(0)
  })

  test('gives what is left in the last chunk', () => {
    const last = serveChunk(large, { type: 'FetchCheckpoint', epoch: 3, offset: 2 * chunkBytes })
    expect(last.bytes).toEqual(large.bytes.subarray(2 * chunkBytes))
    expect(last.totalBytes).toBe(large.bytes.length)
    expect(last.hash).toBe(large.hash)
  })
})
