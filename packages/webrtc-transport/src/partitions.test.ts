// A page hosts as many partitions as it likes: all of them are carried by its links.
import { afterEach, describe, expect, it, vi } from 'vitest'
import { createMemoryLinks } from '../testing/memory-links.ts'
import { MemorySignaling } from '../testing/memory-signaling.ts'
import {
  closePartitions,
  countInEach,
  type HostedPartition,
  hostPartitions,
  keysOfEach,
} from '../testing/partitions.ts'
import { isMesh } from '../testing/room-world.ts'
import { systemClock } from './clock.ts'
import type { CreatePeerLink } from './peer-link.ts'
import { joinRoom, type Room } from './room.ts'

const rooms: Room[] = []
let partitions: readonly HostedPartition[] = []

afterEach(async () => {
  await closePartitions(partitions)
  await Promise.all(rooms.splice(0).map((room) => room.close()))
})

/** Three pages that host so many partitions each: the links made, when commands have been through all of them. */
async function linksFor(count: number): Promise<{ made: number; open: number }> {
  const links = createMemoryLinks(systemClock)
  const { createSocket } = new MemorySignaling()
  let made = 0
  const createLink: CreatePeerLink = (options) => {
    made += 1
    return links.createLink(options)
  }
  const join = async (invite = '') => {
    const room = await joinRoom({ invite, signaling: 'ws://127.0.0.1:1', createSocket, createLink })
    rooms.push(room)
    return room
  }
  const { invite } = await join()
  await join(invite)
  await join(invite)
  await vi.waitFor(() => expect(isMesh(rooms)).toBe(true), 30_000)
  partitions = await hostPartitions(rooms, count)
  expect(await countInEach(partitions)).toEqual(Array.from({ length: count }, () => 3))
  expect(keysOfEach(partitions)).toEqual(partitions.map(({ name }) => name))
  const ids = partitions.flatMap(({ replicas }) => replicas.map(({ id }) => id))
  expect(new Set(ids).size).toBe(3 * count)
  return { made, open: links.open() }
}

describe('the partitions of a room', () => {
  it.each([1, 20])('share its links: %i in each of three pages need one link between each two', async (count) => {
    expect(await linksFor(count)).toEqual({ made: 6, open: 6 })
  })

  it('go on, each for itself, when links break and come back', async () => {
    await linksFor(5)
    rooms[0]?.faults.breakLinks()
    expect(await countInEach(partitions)).toEqual([6, 6, 6, 6, 6])
  })
})
