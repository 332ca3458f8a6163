import { createServer } from 'node:http'
import { exportJWK, generateKeyPair, SignJWT } from 'jose'
import { describe, expect, it, onTestFinished } from 'vitest'
import { joinedPeer, openPeer, peerId, roomId, startServer, temporaryFile } from './fixtures.ts'
import { createSignalingServer, type SignalingSettings } from './server.ts'

const secret = 'a secret of thirty-two bytes and more'
const room = roomId('a')

interface Claims {
  readonly room?: unknown
  readonly sub?: string
  readonly expiresIn?: string | undefined
  readonly iss?: string
  readonly aud?: string | string[]
}

function unsigned({ room: rooms = room, expiresIn = '1h', ...claims }: Claims): SignJWT {
  const jwt = new SignJWT({ room: rooms, ...claims })
  return expiresIn === 'never' ? jwt : jwt.setExpirationTime(expiresIn)
}

function token(claims: Claims = {}, key = secret, alg = 'HS256'): Promise<string> {
  return unsigned(claims).setProtectedHeader({ alg }).sign(new TextEncoder().encode(key))
}

async function answerTo(url: string, shown: string | undefined): Promise<'welcome' | { code: number; reason: string }> {
  const peer = await openPeer(url)
  peer.say({ type: 'hello', room, id: peerId('ada'), ...(shown === undefined ? {} : { token: shown }) })
  const first = await peer.next()
  if (first.type !== 'welcome') return peer.closed
  peer.socket.close(1000)
  await peer.closed
  return 'welcome'
}

const notAuthorized = { code: 4401, reason: 'not-authorized' }
const elsewhere = { code: 4403, reason: 'room-refused' }

describe('a token that is signed with the shared secret', () => {
  const start = () => startServer({ jwtSecretFile: temporaryFile(`${secret}\n`) })

  it('lets its bearer into the room that it names, or into each of several', async () => {
    const { url } = await start()
    expect(await answerTo(url, await token())).toBe('welcome')
    expect(await answerTo(url, await token({ room: ['another-room-0000', room] }))).toBe('welcome')
    expect(await answerTo(url, await token({}, secret, 'HS512'))).toBe('welcome')
  })

  it.each<[string, () => Promise<string | undefined>]>([
    ['none at all', async () => undefined],
    ['no token', async () => 'ey.no.token'],
    ['one signed with another secret', () => token({}, 'another secret of thirty-two bytes')],
    ['one that has expired', () => token({ expiresIn: '-1m' })],
    ['one that never expires', () => token({ expiresIn: 'never' })],
    ['one whose signature is cut off', async () => (await token()).replace(/[^.]*$/, '')],
    ['one that says it needs no signature', async () => `${btoa('{"alg":"none"}')}.${(await token()).split('.')[1]}.`],
    ['one whose user could not be in a TURN name', () => token({ sub: 'ada:1' })],
  ])('%s is refused with 4401', async (_, make) => {
    const { url } = await start()
    expect(await answerTo(url, await make())).toEqual(notAuthorized)
  })

  it.each<[string, unknown]>([
    ['another room', 'another-room-0000'],
    ['a list of others', ['another-room-0000']],
    ['an empty list', []],
    ['the beginning of this room', room.slice(0, -1)],
    ['every room, as it may think', '*'],
    ['an object', { [room]: true }],
  ])('one for %s is refused with 4403', async (_, rooms) => {
    const { url } = await start()
    expect(await answerTo(url, await token({ room: rooms }))).toEqual(elsewhere)
  })

  it('one that names no room is refused with 4401', async () => {
    const { url } = await start()
    const jwt = new SignJWT({}).setProtectedHeader({ alg: 'HS256' }).setExpirationTime('1h')
    expect(await answerTo(url, await jwt.sign(new TextEncoder().encode(secret)))).toEqual(notAuthorized)
  })

  it('names the user of TURN credentials', async () => {
    const turn = { turnSecretFile: temporaryFile('north'), turnUrls: ['turn:turn.example:3478'] }
    const { url } = await startServer({ jwtSecretFile: temporaryFile(secret), ...turn })
    const peer = await openPeer(url)
    const welcome = await peer.join('a', 'ada', { token: await token({ sub: 'user-7' }) })
    expect(welcome.ice?.[0]?.username).toMatch(/^\d+:user-7$/)
  })

  it('never shows in the log, and neither does the secret', async () => {
    const { url, records } = await start()
    const shown = await token({}, 'another secret of thirty-two bytes')
    await answerTo(url, shown)
    expect(JSON.stringify(records)).toContain('not-authorized')
    expect(JSON.stringify(records)).not.toContain(shown.split('.')[1])
    expect(JSON.stringify(records)).not.toContain(secret)
  })
})

describe('a token where --jwt-issuer and --jwt-audience are given', () => {
  const start = () =>
    startServer({ jwtSecretFile: temporaryFile(secret), jwtIssuer: 'https://login.example', jwtAudience: 'signaling' })
  const right = { iss: 'https://login.example', aud: 'signaling' }

  it('lets its bearer in when it is by that issuer and for that audience, or for others too', async () => {
    const { url } = await start()
    expect(await answerTo(url, await token(right))).toBe('welcome')
    expect(await answerTo(url, await token({ ...right, aud: ['mail', 'signaling'] }))).toBe('welcome')
  })

  it.each<[string, Claims]>([
    ['by another issuer', { ...right, iss: 'https://login.example.evil.example' }],
    ['by nobody', { aud: 'signaling' }],
    ['for another audience', { ...right, aud: 'mail' }],
    ['for no audience', { iss: right.iss }],
  ])('%s is refused with 4401', async (_, claims) => {
    const { url } = await start()
    expect(await answerTo(url, await token(claims))).toEqual(notAuthorized)
  })
})

describe('a token that is signed with a key of a set', () => {
  async function keys(alg = 'ES256') {
    const { publicKey, privateKey } = await generateKeyPair(alg, { extractable: true })
    const jwk = { ...(await exportJWK(publicKey)), kid: 'k1', alg }
    const sign = (claims: Claims = {}, kid = 'k1') => unsigned(claims).setProtectedHeader({ alg, kid }).sign(privateKey)
    return { set: JSON.stringify({ keys: [jwk] }), sign, jwk }
  }

  it.each(['ES256', 'RS256', 'EdDSA'])('of a file lets its bearer in (%s), and no other token', async (alg) => {
    const { set, sign, jwk } = await keys(alg)
    const stranger = await keys(alg)
    const { url } = await startServer({ jwtJwks: temporaryFile(set) })
    expect(await answerTo(url, await sign())).toBe('welcome')
    expect(await answerTo(url, await stranger.sign())).toEqual(notAuthorized)
    expect(await answerTo(url, await sign({}, 'k2'))).toEqual(notAuthorized)
    expect(await answerTo(url, await sign({ expiresIn: '-1m' }))).toEqual(notAuthorized)
    expect(await answerTo(url, await sign({ room: 'another-room-0000' }))).toEqual(elsewhere)
    // The public key as if it were a shared secret.
    expect(await answerTo(url, await token({}, JSON.stringify(jwk)))).toEqual(notAuthorized)
  })

  it('of a URL lets its bearer in; while the URL does not answer, peers are asked to come later', async () => {
    const { set, sign } = await keys()
    let answers = false
    const http = createServer((_, response) => {
      if (answers) response.writeHead(200, { 'content-type': 'application/json' }).end(set)
      else response.writeHead(503).end()
    })
    await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve))
    onTestFinished(() => void http.close())
    const address = http.address()
    if (address === null || typeof address === 'string') throw new Error('the key server listens nowhere')
    const { url } = await startServer({ jwtJwks: `http://127.0.0.1:${address.port}/keys` })
    expect(await answerTo(url, await sign())).toEqual({ code: 1013, reason: 'server-trouble' })
    answers = true
    expect(await answerTo(url, await sign())).toBe('welcome')
  })
})

describe('settings for tokens', () => {
  it.each<[string, () => SignalingSettings]>([
    ['a file that is not there', () => ({ jwtSecretFile: '/nowhere/at/all' })],
    ['a secret that is too short', () => ({ jwtSecretFile: temporaryFile('short') })],
    ['keys that are no set', () => ({ jwtJwks: temporaryFile('{"keys":7}') })],
    ['keys that are no JSON', () => ({ jwtJwks: temporaryFile('-----BEGIN') })],
    ['keys over http from elsewhere', () => ({ jwtJwks: 'http://keys.example/keys' })],
    ['keys at what is no URL', () => ({ jwtJwks: 'https://[' })],
    ['an issuer without keys', () => ({ jwtIssuer: 'https://login.example' })],
    ['an audience without keys', () => ({ jwtAudience: 'signaling' })],
    ['two kinds at once', () => ({ jwtSecretFile: temporaryFile(secret), jwtJwks: temporaryFile('{"keys":[]}') })],
    ['a hook beside them', () => ({ jwtSecretFile: temporaryFile(secret), authorize: () => 'allow' })],
  ])('%s can not be: a typed error', (_, settings) => {
    expect(() => createSignalingServer(settings())).toThrow(expect.objectContaining({ code: 'InvalidArgument' }))
  })

  it('without any, everybody may come', async () => {
    const { url } = await startServer()
    await joinedPeer(url, 'a', 'ada')
  })
})
