// What every RoomDirectory promises to the connections that use it, whether its rooms live in one process or in many.
import { describe, expect, it } from 'vitest'
import type { JoinRefusal, RoomDirectory, RoomMember } from '../src/room-directory.ts'
import { isPeerId, isRoomId, type SignalPeerId, type SignalRoomId } from '../src/wire.ts'

export interface DirectoryLimits {
  readonly roomSocketsMax: number
  readonly roomsMax: number
  readonly resumeMs: number
  readonly socketsMax: number
}

/** A connection that writes down what it is told. */
class Listener implements RoomMember {
  readonly heard: string[] = []
  resume = ''
  isGone = false
  #wake: (() => void)[] = []

  isWaiting(): boolean {
    return !this.isGone && this.heard.length === 0
  }

  admitted(peers: readonly SignalPeerId[], resume: string, isResumed: boolean): void {
    this.resume = resume
    this.#hear(`${isResumed ? 'resumed' : 'admitted'} beside ${[...peers].sort().join(', ') || 'nobody'}`)
  }

  refused(reason: JoinRefusal): void {
    this.#hear(`refused: ${reason}`)
  }

  replaced(): void {
    this.#hear('replaced')
  }

  tell(text: string): void {
    this.#hear(text)
  }

  /** The first `count` things that it was told, once there are as many. */
  async first(count: number): Promise<readonly string[]> {
    while (this.heard.length < count) await new Promise<void>((resolve) => this.#wake.push(resolve))
    return this.heard.slice(0, count)
  }

  #hear(what: string): void {
    this.heard.push(what)
    for (const wake of this.#wake.splice(0)) wake()
  }
}

function room(name: string): SignalRoomId {
  const id = `room-${name}`.padEnd(16, '0')
  if (!isRoomId(id)) throw new Error(`no room id: ${id}`)
  return id
}

function peer(name: string): SignalPeerId {
  const id = `peer-${name}`.padEnd(16, '0')
  if (!isPeerId(id)) throw new Error(`no peer id: ${id}`)
  return id
}

const [ada, bob, cyd] = [peer('ada'), peer('bob'), peer('cyd')]
const joined = (id: string) => JSON.stringify({ type: 'peer-joined', id })
const left = (id: string, reason: string) => JSON.stringify({ type: 'peer-left', id, reason })

/** `start` makes one that is started, with these limits, and ends it with the test. */
export function describeRoomDirectory(name: string, start: (limits: DirectoryLimits) => Promise<RoomDirectory>): void {
  const limits: DirectoryLimits = { roomSocketsMax: 8, roomsMax: 8, resumeMs: 60_000, socketsMax: 100 }

  async function enter(directory: RoomDirectory, id: SignalPeerId, resume?: string, name = 'a'): Promise<Listener> {
    const listener = new Listener()
    directory.join({ room: room(name), id, resume }, listener)
    await listener.first(1)
    return listener
  }

  describe(`${name} as a RoomDirectory`, () => {
    it('admits, names who is there, and tells those of the newcomer', async () => {
      const directory = await start(limits)
      const first = await enter(directory, ada)
      const second = await enter(directory, bob)
      expect(first.heard[0]).toBe('admitted beside nobody')
      expect(second.heard).toEqual([`admitted beside ${ada}`])
      expect(await first.first(2)).toEqual(['admitted beside nobody', joined(bob)])
      expect(directory.gauges()).toMatchObject({ rooms: 1, members: 2 })
    })

    it('relays within the room only, and knows whom it can not reach', async () => {
      const directory = await start(limits)
      await enter(directory, ada)
      const receiver = await enter(directory, bob)
      await enter(directory, cyd, undefined, 'b')
      expect(directory.relay(room('a'), ada, bob, 'a text')).toBe(true)
      expect(await receiver.first(2)).toContain('a text')
      expect(directory.relay(room('a'), ada, cyd, 'a text')).toBe(false)
      expect(directory.relay(room('c'), ada, bob, 'a text')).toBe(false)
    })

    it('tells why a peer left, once, and forgets a room with its last one', async () => {
      const directory = await start(limits)
      const watcher = await enter(directory, ada)
      const leaver = await enter(directory, bob)
      directory.leave(room('a'), bob, leaver, 'removed')
      directory.leave(room('a'), bob, leaver, 'gone')
      expect(await watcher.first(3)).toEqual(['admitted beside nobody', joined(bob), left(bob, 'removed')])
      directory.leave(room('a'), ada, watcher, 'left')
      const other = await enter(directory, cyd)
      expect(other.heard).toEqual(['admitted beside nobody'])
      expect(watcher.heard).toHaveLength(3)
      directory.leave(room('a'), cyd, other, 'left')
      // An own question to it is answered after what was asked before.
      await enter(directory, cyd, undefined, 'b')
      expect(directory.gauges()).toMatchObject({ rooms: 1, members: 1 })
    })

    it('lets only the bearer of its token take an id that is present or kept, and everybody one that was left', async () => {
      const directory = await start(limits)
      const watcher = await enter(directory, bob)
      const old = await enter(directory, ada)
      expect((await enter(directory, ada)).heard).toEqual(['refused: id-in-use'])
      expect((await enter(directory, ada, 'guessed')).heard).toEqual(['refused: id-in-use'])
      const fresh = await enter(directory, ada, old.resume)
      expect(fresh.heard).toEqual([`resumed beside ${bob}`])
      expect(old.heard.at(-1)).toBe('replaced')
      // The older one's end is no leave of the newer one.
      directory.leave(room('a'), ada, old, 'gone')
      directory.leave(room('a'), ada, fresh, 'gone')
      expect((await enter(directory, ada)).heard).toEqual(['refused: id-in-use'])
      const back = await enter(directory, ada, fresh.resume)
      expect(back.heard).toEqual([`admitted beside ${bob}`])
      directory.leave(room('a'), ada, back, 'left')
      expect((await enter(directory, ada)).heard).toEqual([`admitted beside ${bob}`])
      const told = [joined(ada), left(ada, 'replaced'), joined(ada), left(ada, 'gone'), joined(ada), left(ada, 'left')]
      expect(await watcher.first(8)).toEqual(['admitted beside nobody', ...told, joined(ada)])
    })

    it('binds an id to the token that its peer brings, so that no welcome is needed to come back', async () => {
      const directory = await start(limits)
      const own = 'a-token-of-its-own'
      const old = await enter(directory, ada, own)
      expect([old.heard, old.resume]).toEqual([['admitted beside nobody'], own])
      expect((await enter(directory, ada, 'another-peer-s-token')).heard).toEqual(['refused: id-in-use'])
      const fresh = await enter(directory, ada, own)
      expect([fresh.heard, old.heard.at(-1)]).toEqual([['resumed beside nobody'], 'replaced'])
      directory.leave(room('a'), ada, fresh, 'gone')
      expect((await enter(directory, ada)).heard).toEqual(['refused: id-in-use'])
      expect((await enter(directory, ada, own)).heard).toEqual(['admitted beside nobody'])
    })

    it('keeps to the size of a room and the number of rooms', async () => {
      const directory = await start({ ...limits, roomSocketsMax: 2, roomsMax: 1 })
      await enter(directory, ada)
      await enter(directory, bob)
      expect((await enter(directory, cyd)).heard).toEqual(['refused: room-full'])
      expect((await enter(directory, cyd, undefined, 'b')).heard).toEqual(['refused: server-full'])
    })

    it('admits many at once, each told of all the others in one way or the other', async () => {
      const directory = await start(limits)
      const ids = ['d', 'e', 'f', 'g', 'h', 'i'].map(peer)
      const all = await Promise.all(ids.map((id) => enter(directory, id)))
      for (const [at, listener] of all.entries()) {
        const before = (listener.heard[0] ?? '').split(/beside |, /).filter((id) => ids.some((one) => one === id))
        const after = (await listener.first(ids.length - before.length)).slice(1)
        const others = ids.filter((_, other) => other !== at)
        expect([...before.map(joined), ...after].sort()).toEqual(others.map(joined).sort())
      }
    })
  })
}
