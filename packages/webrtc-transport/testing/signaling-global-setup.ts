// Runs on the Node side of the browser tests: starts signaling servers for them, the real ones, on loopback and random
// ports. A page can not start processes, so it asks for what it needs over HTTP: a server of its own, that it stops and
// starts again. `signaling-servers.ts` is the page's end of this.
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { TestProject } from 'vitest/node'
// By path: vitest loads global setups without the condition that leads from a package's name to its sources.
import { createSignalingServer, type SignalingServer } from '../../../signaling-server/src/index.ts'

interface Running {
  readonly port: number
  readonly url: string
  server: SignalingServer | undefined
}

declare module 'vitest' {
  export interface ProvidedContext {
    /** Where `testing/signaling-servers.ts` finds the helper. */
    readonly signalingControlUrl: string
  }
}

export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const running = new Map<string, Running>()

  async function answer(path: string): Promise<Readonly<Record<string, unknown>>> {
    const [, action, name = ''] = path.split('/')
    const known = running.get(name)
    switch (action) {
      case 'create': {
        const started = await start(0)
        const created = String(running.size + 1)
        running.set(created, started)
        return { name: created, url: started.url }
      }
      case 'stop':
        await known?.server?.close()
        if (known !== undefined) known.server = undefined
        return {}
      case 'start':
        if (known !== undefined) known.server ??= (await start(known.port)).server
        return {}
      default:
        throw new Error(`no such action: ${path}`)
    }
  }

  const control = createServer((request: IncomingMessage, response: ServerResponse) => {
    const headers = { 'access-control-allow-origin': '*', 'content-type': 'application/json' }
    answer(request.url ?? '').then(
      (result) => response.writeHead(200, headers).end(JSON.stringify(result)),
      (error: unknown) => response.writeHead(500, headers).end(JSON.stringify({ error: String(error) })),
    )
  })
  await new Promise<void>((resolve) => control.listen(0, '127.0.0.1', resolve))
  const address = control.address()
  if (address === null || typeof address === 'string') throw new Error('the helper listens nowhere')
  project.provide('signalingControlUrl', `http://127.0.0.1:${address.port}`)

  return async () => {
    await Promise.all([...running.values()].map(({ server }) => server?.close()))
    control.closeAllConnections()
    await new Promise((resolve) => control.close(resolve))
  }
}

async function start(port: number): Promise<Running> {
  // All pages of a test run come from one address, and faster than people do.
  const server = createSignalingServer({
    yWebrtcPath: '/y',
    host: '127.0.0.1',
    port,
    addressConnectsPerMinute: 10_000,
    addressSocketsMax: 500,
  })
  const { url, port: boundPort } = await server.listen()
  return { port: boundPort, url, server }
}
