// A real signaling server that a test may stop and start again on the same port. Imported by path: Playwright knows nothing
// of the workspace's export condition.
import { createSignalingServer, type SignalingServer } from '../../signaling-server/src/index.ts'

// All pages of all journeys come from one address, and quickly.
const settings = {
  host: '127.0.0.1',
  addressSocketsMax: 1_000,
  addressConnectsPerMinute: 10_000,
  logLevel: 'silent',
} as const

export class Signaling {
  #server: SignalingServer | undefined
  #port = 0
  #url = ''

  /** For the pages. */
  get url(): string {
    return this.#url
  }

  async start(): Promise<void> {
    this.#server = createSignalingServer({ ...settings, port: this.#port })
    const { port, url } = await this.#server.listen()
    this.#port = port
    this.#url = url
  }

  async stop(): Promise<void> {
    await this.#server?.close()
    this.#server = undefined
  }
}
