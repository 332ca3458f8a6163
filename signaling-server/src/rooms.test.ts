import { describe, expect, it } from 'vitest'
import { peerId, roomId } from './fixtures.ts'
import { type RoomLimits, Rooms } from './rooms.ts'

const room = roomId('a')
const [ada, bob, cyd] = [peerId('ada'), peerId('bob'), peerId('cyd')]

function makeRooms(limits: Partial<RoomLimits> = {}): Rooms<string> {
  let tokens = 0
  const full = { roomSocketsMax: 2, roomsMax: 2, resumeMs: 100, keptIdsMax: 10, ...limits }
  return new Rooms<string>(full, () => `token-${++tokens}`)
}

describe('Rooms', () => {
  it('tells a newcomer who is there, in its own room only', () => {
    const rooms = makeRooms()
    rooms.join({ room, id: ada }, 'socket 1', 0)
    expect(rooms.join({ room: roomId('b'), id: cyd }, 'socket 2', 0)).toMatchObject({ outcome: 'joined', peers: [] })
    expect(rooms.join({ room, id: bob }, 'socket 3', 0)).toMatchObject({ outcome: 'joined', peers: [ada] })
    expect(rooms.find(room, cyd)).toBeUndefined()
    expect(rooms.othersOf(room, ada)).toEqual(['socket 3'])
  })

  it('refuses an id that is present, without its token or with another', () => {
    const rooms = makeRooms()
    rooms.join({ room, id: ada }, 'socket 1', 0)
    const refused = { outcome: 'refused', reason: 'id-in-use' }
    expect(rooms.join({ room, id: ada }, 'socket 2', 0)).toEqual(refused)
    expect(rooms.join({ room, id: ada, resume: 'token-2' }, 'socket 2', 0)).toEqual(refused)
    expect(rooms.find(room, ada)).toBe('socket 1')
  })

  it('lets the token replace the socket, even in a full room, and a late leave of the old socket changes nothing', () => {
    const rooms = makeRooms()
    rooms.join({ room, id: ada }, 'socket 1', 0)
    rooms.join({ room, id: bob }, 'socket 2', 0)
    const replaced = { outcome: 'replaced', resume: 'token-1', peers: [bob], old: 'socket 1' }
    expect(rooms.join({ room, id: ada, resume: 'token-1' }, 'socket 3', 0)).toEqual(replaced)
    expect(rooms.leave(room, ada, 'socket 1', true, 0)).toBe(false)
    expect(rooms.find(room, ada)).toBe('socket 3')
    expect(rooms.memberCount).toBe(2)
  })

  it('keeps the id of a lost peer for its token until the time is over', () => {
    const rooms = makeRooms()
    rooms.join({ room, id: ada }, 'socket 1', 0)
    expect(rooms.leave(room, ada, 'socket 1', true, 1_000)).toBe(true)
    expect(rooms.join({ room, id: ada }, 'socket 2', 1_099)).toMatchObject({ reason: 'id-in-use' })
    const joined = rooms.join({ room, id: ada, resume: 'token-1' }, 'socket 2', 1_099)
    expect(joined).toMatchObject({ outcome: 'joined', resume: 'token-1' })
    rooms.leave(room, ada, 'socket 2', true, 2_000)
    expect(rooms.join({ room, id: ada }, 'socket 3', 2_100)).toMatchObject({ outcome: 'joined', resume: 'token-2' })
  })

  it('frees the id of a peer that left politely', () => {
    const rooms = makeRooms()
    rooms.join({ room, id: ada }, 'socket 1', 0)
    rooms.leave(room, ada, 'socket 1', false, 0)
    expect(rooms.join({ room, id: ada }, 'socket 2', 0)).toMatchObject({ outcome: 'joined' })
  })

  it('binds an id to the token that its peer brings, while there and while it is kept', () => {
    const rooms = makeRooms()
    const own = { room, id: ada, resume: "ada's own" }
    expect(rooms.join(own, 'socket 1', 0)).toMatchObject({ outcome: 'joined', resume: "ada's own" })
    expect(rooms.join({ ...own, resume: "another's" }, 'socket 2', 0)).toMatchObject({ reason: 'id-in-use' })
    expect(rooms.join(own, 'socket 3', 0)).toMatchObject({ outcome: 'replaced', resume: "ada's own", old: 'socket 1' })
    rooms.leave(room, ada, 'socket 3', true, 0)
    expect(rooms.join({ room, id: ada }, 'socket 4', 0)).toMatchObject({ reason: 'id-in-use' })
    expect(rooms.join(own, 'socket 4', 0)).toMatchObject({ outcome: 'joined', resume: "ada's own" })
  })

  it('refuses one peer too many and one room too many, and forgets empty rooms', () => {
    const rooms = makeRooms()
    rooms.join({ room, id: ada }, 'socket 1', 0)
    rooms.join({ room, id: bob }, 'socket 2', 0)
    expect(rooms.join({ room, id: cyd }, 'socket 3', 0)).toMatchObject({ reason: 'room-full' })
    rooms.join({ room: roomId('b'), id: ada }, 'socket 4', 0)
    const third = { room: roomId('c'), id: ada }
    expect(rooms.join(third, 'socket 5', 0)).toMatchObject({ reason: 'server-full' })
    rooms.leave(roomId('b'), ada, 'socket 4', true, 0)
    expect(rooms.join(third, 'socket 5', 0)).toMatchObject({ outcome: 'joined' })
    expect(rooms.roomCount).toBe(2)
  })

  it('keeps only so many ids, and drops the oldest first', () => {
    const rooms = makeRooms({ keptIdsMax: 1 })
    for (const id of [ada, bob]) {
      rooms.join({ room, id }, `socket of ${id}`, 0)
      rooms.leave(room, id, `socket of ${id}`, true, 0)
    }
    expect(rooms.keptIdCount).toBe(1)
    expect(rooms.join({ room, id: ada }, 'socket 3', 0)).toMatchObject({ outcome: 'joined' })
    expect(rooms.join({ room, id: bob }, 'socket 4', 0)).toMatchObject({ reason: 'id-in-use' })
  })
})
