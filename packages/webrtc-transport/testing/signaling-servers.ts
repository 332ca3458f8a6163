// The page's hand on real signaling servers: see signaling-global-setup.ts, which runs on the Node side.
import { inject } from 'vitest'

export interface SignalingServerHandle {
  readonly url: string
  /** Ends it as if it were killed. */
  stop(): Promise<void>
  /** Starts it again, on the same port. */
  start(): Promise<void>
}

/** Starts a signaling server of the test's own. It ends with the test run. */
export async function startSignalingServer(): Promise<SignalingServerHandle> {
  const { name, url } = (await ask('create')) as { readonly name: string; readonly url: string }
  return {
    url,
    stop: async () => void (await ask(`stop/${name}`)),
    start: async () => void (await ask(`start/${name}`)),
  }
}

async function ask(path: string): Promise<unknown> {
  const response = await fetch(`${inject('signalingControlUrl')}/${path}`)
  if (!response.ok) throw new Error(`the signaling helper answers ${response.status}: ${await response.text()}`)
  return response.json()
}
