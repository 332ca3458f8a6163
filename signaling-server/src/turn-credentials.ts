// Credentials for a TURN server, in the form that coturn calls its REST API (`use-auth-secret`): the name says when it
// expires, and the password is the name's HMAC under a secret that only the two servers share.
import { createHmac } from 'node:crypto'
import type { IceServer } from './wire.ts'

export interface TurnSettings {
  readonly secret: string
  readonly urls: readonly string[]
  readonly ttlSeconds: number
}

export class TurnCredentials {
  readonly #settings: TurnSettings
  readonly #unixSeconds: () => number

  constructor(settings: TurnSettings, unixSeconds: () => number) {
    this.#settings = settings
    this.#unixSeconds = unixSeconds
  }

  /** How often members need new ones, so that those they have are good for half of their time at least. */
  get refreshMs(): number {
    return this.#settings.ttlSeconds * 500
  }

  mint(user: string): readonly IceServer[] {
    const { secret, urls, ttlSeconds } = this.#settings
    const username = `${Math.floor(this.#unixSeconds()) + ttlSeconds}:${user}`
    const credential = createHmac('sha1', secret).update(username).digest('base64')
    return [{ urls, username, credential }]
  }
}
