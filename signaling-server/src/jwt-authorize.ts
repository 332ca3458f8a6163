// The authorize hook behind `--jwt-secret-file` and `--jwt-jwks`: the hello's token is a JWT that names the rooms it is
// good for. Checked when a peer joins; a token that expires later ends nobody's membership.
import { readFileSync } from 'node:fs'
import {
  createLocalJWKSet,
  createRemoteJWKSet,
  errors,
  type JSONWebKeySet,
  type JWTPayload,
  type JWTVerifyOptions,
  jwtVerify,
} from 'jose'
import type { Authorize, AuthorizeVerdict } from './authorize.ts'
import { OptionError } from './options.ts'

/** A clock of the issuer's that is so much ahead or behind does no harm. */
const clockToleranceSeconds = 5
/** HS256's own output; a shorter secret can be guessed from one token. */
const secretBytesMin = 32
const symmetric = ['HS256', 'HS384', 'HS512']
/** Never the symmetric ones: a public key must not be taken for a shared secret. */
const asymmetric = ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA', 'Ed25519']
const userPattern = /^[^:\s\p{Cc}]{1,128}$/u

/** Claims that the issuer has to have set; an empty one may be anything. */
export interface RequiredClaims {
  readonly jwtIssuer: string
  readonly jwtAudience: string
}

type Verify = (token: string) => Promise<JWTPayload>

/** Tokens that are signed with a shared secret, which is the file's text without spaces around it. Throws OptionError. */
export function secretAuthorize(file: string, required: RequiredClaims): Authorize {
  const secret = new TextEncoder().encode(readSecret('jwtSecretFile', file))
  if (secret.length < secretBytesMin) {
    throw new OptionError('jwtSecretFile', `expected at least ${secretBytesMin} bytes in it, got ${secret.length}`)
  }
  const options = verifyOptions(symmetric, required)
  return authorizeWith(async (token) => (await jwtVerify(token, secret, options)).payload)
}

/** Tokens that are signed with a key of a JSON Web Key Set: a file, or a URL that is asked when needed. Throws OptionError. */
export function jwksAuthorize(source: string, required: RequiredClaims): Authorize {
  const options = verifyOptions(asymmetric, required)
  const keys = /^https?:/.test(source) ? remoteKeys(source) : localKeys(source)
  return authorizeWith(async (token) => (await jwtVerify(token, keys, options)).payload)
}

/** A secret on its own in a file. Throws OptionError. */
export function readSecret(option: string, file: string): string {
  try {
    return readFileSync(file, 'utf8').trim()
  } catch (error) {
    throw new OptionError(option, `can not read the file: ${codeOf(error)}`)
  }
}

function verifyOptions(algorithms: string[], { jwtIssuer, jwtAudience }: RequiredClaims): JWTVerifyOptions {
  return {
    algorithms,
    clockTolerance: clockToleranceSeconds,
    requiredClaims: ['exp', 'room'],
    ...(jwtIssuer === '' ? {} : { issuer: jwtIssuer }),
    ...(jwtAudience === '' ? {} : { audience: jwtAudience }),
  }
}

function remoteKeys(url: string): ReturnType<typeof createRemoteJWKSet> {
  if (!URL.canParse(url)) throw new OptionError('jwtJwks', 'expected a file or an https:// URL')
  return createRemoteJWKSet(new URL(url))
}

function localKeys(file: string): ReturnType<typeof createLocalJWKSet> {
  const text = readSecret('jwtJwks', file)
  try {
    // jose checks what it is given.
    return createLocalJWKSet(JSON.parse(text) as JSONWebKeySet)
  } catch {
    throw new OptionError('jwtJwks', 'expected a file with a JSON Web Key Set')
  }
}

function authorizeWith(verify: Verify): Authorize {
  return async ({ room, token }): Promise<AuthorizeVerdict> => {
    if (token === undefined) return 'refuse-peer'
    let claims: JWTPayload
    try {
      claims = await verify(token)
    } catch (error) {
      if (isTokensFault(error)) return 'refuse-peer'
      throw error
    }
    const { room: rooms, sub } = claims
    const isForRoom = Array.isArray(rooms) ? rooms.includes(room) : rooms === room
    if (!isForRoom) return 'refuse-room'
    if (sub === undefined) return 'allow'
    // It goes into the name of TURN credentials, whose parts a colon separates.
    return userPattern.test(sub) ? { verdict: 'allow', user: sub } : 'refuse-peer'
  }
}

/** Anything else, such as a key server that is not there, is the server's trouble: the peer is to come later. */
function isTokensFault(error: unknown): boolean {
  if (!(error instanceof errors.JOSEError)) return false
  return !(
    error instanceof errors.JWKSTimeout ||
    error instanceof errors.JWKSInvalid ||
    error.code === 'ERR_JOSE_GENERIC'
  )
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : 'unknown trouble'
}
