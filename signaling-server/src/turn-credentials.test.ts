import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { joinedPeer, openPeer, startServer, TopicPeer, temporaryFile } from './fixtures.ts'
import { createSignalingServer, type SignalingSettings } from './server.ts'
import { TurnCredentials } from './turn-credentials.ts'

const urls = ['turn:turn.example:3478?transport=udp', 'turns:turn.example:5349']
const settings = () => ({ turnSecretFile: temporaryFile('north\n'), turnUrls: urls })

describe('TURN credentials', () => {
  it("are in coturn's form: expiry and user, and the name's HMAC-SHA1 in base64", () => {
    const turn = new TurnCredentials({ secret: 'north', urls, ttlSeconds: 3_600 }, () => 1_700_000_000.9)
    // printf 1700003600:ada | openssl dgst -sha1 -hmac north -binary | base64
    expect(turn.mint('ada')).toEqual([{ urls, username: '1700003600:ada', credential: 'xnSlQG4JwD6eDlwPBFdbTt6sTJk=' }])
  })

  it('come with the welcome, under the peer id', async () => {
    const { url } = await startServer({ ...settings(), turnTtl: 600 })
    const { welcome } = await joinedPeer(url, 'a', 'ada')
    const [server] = welcome.ice ?? []
    expect(server?.urls).toEqual(urls)
    const [expiry, user] = server?.username?.split(':') ?? []
    expect(Number(expiry)).toBeGreaterThan(Date.now() / 1_000 + 500)
    expect(user).toBe(welcome.you)
  })

  it('come only to who joined: a socket that did not, or speaks y-webrtc, gets none', async () => {
    const { url } = await startServer({ ...settings(), yWebrtcPath: '/y', roomSocketsMax: 2 })
    await joinedPeer(url, 'a', 'ada')
    await joinedPeer(url, 'a', 'bob')
    const refused = await openPeer(url)
    await expect(refused.join('a', 'cyd')).rejects.toThrow('room-full')
    expect((await refused.closed).code).toBe(1013)
    const topics = new TopicPeer(`${url}y`)
    await topics.opened()
    topics.say({ type: 'subscribe', topics: ['notes'] })
    expect(await topics.hearsNothingElse()).toBe(true)
  })

  it('come anew before they expire, for as long as the peer is in the room', async () => {
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval', 'Date'] })
    onTestFinished(() => void vi.useRealTimers())
    const { url } = await startServer({ ...settings(), turnTtl: 60, pingIntervalMs: 600_000 })
    const { peer, welcome } = await joinedPeer(url, 'a', 'ada')
    const waiting = await openPeer(url)
    const expiryOf = (username = '') => Number(username.split(':')[0])
    let last = expiryOf(welcome.ice?.[0]?.username)
    for (let round = 0; round < 3; round++) {
      vi.advanceTimersByTime(30_000)
      const { ice } = await peer.expect('ice')
      const expiry = expiryOf(ice[0]?.username)
      expect(expiry - last).toBe(30)
      // The earlier ones are still good when the new ones come.
      expect(last).toBeGreaterThan(Date.now() / 1_000)
      last = expiry
    }
    // Nothing came to the socket that has not joined: the first it hears is its welcome.
    expect((await waiting.join('a', 'bob')).type).toBe('welcome')
  })

  it.each<[string, () => SignalingSettings]>([
    ['URLs without a secret', () => ({ turnUrls: urls })],
    ['a secret without URLs', () => ({ turnSecretFile: temporaryFile('north') })],
    ['an empty secret', () => ({ turnSecretFile: temporaryFile('\n'), turnUrls: urls })],
    ['a URL that is no TURN server', () => ({ ...settings(), turnUrls: ['https://turn.example'] })],
  ])('%s can not be: a typed error', (_, make) => {
    expect(() => createSignalingServer(make())).toThrow(expect.objectContaining({ code: 'InvalidArgument' }))
  })
})
