// Rooms against a real signaling server that lets in only who shows a token, and mints TURN credentials. The links are in
// memory: what they are made with is what is looked at.
import { createHmac } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createSignalingServer, type SignalingServer, type SignalingSettings } from '@wepaxos/signaling-server'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { createNodeSocket } from '../../edge-replica/src/node-links.ts'
import { createMemoryLinks } from '../testing/memory-links.ts'
import { openPeers } from '../testing/room-world.ts'
import { systemClock } from './clock.ts'
import type { CreatePeerLink } from './peer-link.ts'
import { type JoinRoomOptions, joinRoom, type Room } from './room.ts'

const jwtSecret = 'a secret of the application that is long enough'
const turnSecret = 'the secret of the TURN server'
const turnUrls = ['turn:turn.example:3478', 'stun:stun.example:3478']
const stun = { urls: 'stun:of-the-page.example' }

function tokenFor(room: string, { user = 'ana', secondsLeft = 60 } = {}): string {
  const part = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url')
  const expires = Math.floor(Date.now() / 1_000) + secondsLeft
  const signed = `${part({ alg: 'HS256', typ: 'JWT' })}.${part({ room, sub: user, exp: expires })}`
  return `${signed}.${createHmac('sha256', jwtSecret).update(signed).digest('base64url')}`
}

async function until(condition: () => boolean, what: string): Promise<void> {
  await vi.waitFor(
    () => {
      if (!condition()) throw new Error(`it did not come true that ${what}`)
    },
    { timeout: 30_000, interval: 10 },
  )
}

describe('a room whose signaling server wants tokens', () => {
  let folder: string
  let server: SignalingServer
  let url: string
  let rooms: Room[]
  let links: { readonly peer: string; readonly iceServers: readonly RTCIceServer[] }[]
  let createLink: CreatePeerLink

  async function startServer(settings: SignalingSettings = {}): Promise<void> {
    server = createSignalingServer({
      host: '127.0.0.1',
      port: 0,
      logLevel: 'silent',
      jwtSecretFile: join(folder, 'jwt'),
      turnSecretFile: join(folder, 'turn'),
      turnUrls,
      ...settings,
    })
    url = (await server.listen()).url
  }

  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), 'wepaxos-room-'))
    writeFileSync(join(folder, 'jwt'), jwtSecret)
    writeFileSync(join(folder, 'turn'), turnSecret)
    rooms = []
    links = []
    const memory = createMemoryLinks(systemClock)
    createLink = (options) => {
      links.push(options)
      return memory.createLink(options)
    }
  })

  afterEach(async () => {
    vi.useRealTimers()
    await Promise.all(rooms.map((room) => room.close()))
    await server.close()
    rmSync(folder, { recursive: true })
  })

  async function enter(options: Partial<JoinRoomOptions> = {}): Promise<Room> {
    const room = await joinRoom({ signaling: url, createSocket: createNodeSocket, createLink, ...options })
    rooms.push(room)
    return room
  }

  it('is entered by who shows a token for it, which can be made when its public id is known', async () => {
    await startServer()
    const asked: string[] = []
    const token = async (room: string) => {
      asked.push(room)
      return tokenFor(room)
    }
    const first = await enter({ token })
    const second = await enter({ invite: first.invite, token: tokenFor(first.room, { user: 'bo' }) })
    await until(() => openPeers(first).length === 1 && openPeers(second).length === 1, 'the two are connected')
    expect([asked, first.signaling, first.signalingProblem]).toEqual([[first.room], 'open', null])
  })

  it('says that it is unauthorized without a token, with an old one, or with a forged one', async () => {
    await startServer()
    const forged = `${tokenFor('room').slice(0, -8)}AAAAAAAA`
    const refused = [
      await enter(),
      await enter({ token: (room) => tokenFor(room, { secondsLeft: -60 }) }),
      await enter({ token: forged }),
    ]
    await until(() => refused.every(({ signaling }) => signaling !== 'connecting'), 'all have an answer')
    expect(refused.map(({ signaling }) => signaling)).toEqual(['unauthorized', 'unauthorized', 'unauthorized'])
    for (const { signalingProblem } of refused) expect(signalingProblem).toBe('the server says not-authorized')
    expect(server.gauges().rooms).toBe(0)
  })

  it('says that it is forbidden with a token for another room', async () => {
    await startServer()
    const room = await enter({ token: tokenFor('another-room-entirely') })
    await until(() => room.signaling === 'forbidden', 'it has an answer')
    expect(room.signalingProblem).toBe('the server says room-refused')
  })

  it('comes in with a new token when an old one was refused', async () => {
    await startServer()
    const secondsLeft = [-60, 60]
    // Of what it waits nobody wants to wait here.
    const clock = { ...systemClock, after: (delayMs: number, run: () => void) => systemClock.after(delayMs / 100, run) }
    const room = await enter({ clock, token: (id) => tokenFor(id, { secondsLeft: secondsLeft.shift() ?? 0 }) })
    const states: string[] = []
    room.addEventListener('signaling', () => states.push(room.signaling))
    await until(() => room.signaling === 'open', 'it is in')
    expect([states, secondsLeft]).toEqual([['unauthorized', 'open'], []])
  })

  it('makes links with the credentials that the server minted for it, besides its own servers', async () => {
    await startServer()
    const first = await enter({ token: (room) => tokenFor(room) })
    await enter({ invite: first.invite, token: tokenFor(first.room, { user: 'bo' }), iceServers: [stun] })
    await until(() => openPeers(first).length === 1, 'the two are connected')
    const [own, minted, ...more] = links.find(({ peer }) => peer === first.self)?.iceServers ?? []
    expect([own, minted, more]).toEqual([
      stun,
      { urls: turnUrls, username: expect.stringMatching(/^[0-9]{10}:bo$/), credential: expect.any(String) },
      [],
    ])
    const password = createHmac('sha1', turnSecret)
      .update(minted?.username ?? '')
      .digest('base64')
    expect(minted?.credential).toBe(password)
  })

  it('makes later links with the credentials that came later', async () => {
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval', 'Date'], now: Date.now() })
    await startServer({ turnTtl: 60 })
    const first = await enter({ token: (room) => tokenFor(room) })
    const second = await enter({ invite: first.invite, token: tokenFor(first.room) })
    const isConnected = () => openPeers(first).length === 1 && openPeers(second).length === 1
    await until(isConnected, 'the two are connected')
    const expiry = () => links.slice(-2).map(({ iceServers }) => Number(iceServers[0]?.username?.split(':')[0]))
    const before = expiry()
    // Members hear of new ones at half of their time.
    vi.advanceTimersByTime(30_000)
    await until(() => {
      if (isConnected()) first.faults.breakLinks()
      return expiry().every((seconds, index) => seconds >= (before[index] ?? Number.NaN) + 29)
    }, 'both ends are made with new ones')
    expect(links.at(-1)?.iceServers).toHaveLength(1)
  })
})

it.each([
  ['an empty one', ''],
  ['one that is too long', 'x'.repeat(4_097)],
  ['a number', 5 as unknown as string],
])('a token that no server takes is an error at once: %s', async (_what, token) => {
  const joining = joinRoom({ signaling: 'ws://127.0.0.1:1', createSocket: createNodeSocket, token })
  await expect(joining).rejects.toMatchObject({ code: 'InvalidArgument' })
})
