// One HTTP server that serves the built demo, and a signaling server at /signal on it: what `npm start`, the end-to-end
// tests and the browser benchmarks run.
import { createServer, type Server } from 'node:http'
import { fileURLToPath } from 'node:url'
import { createSignalingServer, type SignalingServer } from '@wepaxos/signaling-server'
import sirv from 'sirv'
import { build } from 'vite'
import { contentSecurityPolicy } from '../packages/demo-app/content-security-policy.ts'

const demoRoot = fileURLToPath(new URL('../packages/demo-app', import.meta.url))

/** Builds the demo into its dist folder. */
export async function buildDemo(): Promise<void> {
  await build({ root: demoRoot, logLevel: 'warn' })
}

export interface ServedDemo {
  readonly url: string
  readonly signaling: SignalingServer
  close(): Promise<void>
}

/** Listens on the loopback interface. Rejects when the port is taken; port 0 takes any that is free. */
export function serveDemo(port: number): Promise<ServedDemo> {
  return servePages(`${demoRoot}/dist`, port)
}

/** The same for any folder of built pages. `isolated`: no other origin has a part in them, which gives them an exact clock. */
export async function servePages(folder: string, port: number, isolated = false): Promise<ServedDemo> {
  const pages = sirv(folder, {
    setHeaders(response) {
      response.setHeader('Content-Security-Policy', contentSecurityPolicy('header'))
      response.setHeader('Referrer-Policy', 'no-referrer')
      response.setHeader('X-Content-Type-Options', 'nosniff')
      if (!isolated) return
      response.setHeader('Cross-Origin-Opener-Policy', 'same-origin')
      response.setHeader('Cross-Origin-Embedder-Policy', 'require-corp')
    },
  })
  const server: Server = createServer((request, response) => {
    pages(request, response, () => {
      response.writeHead(404, { 'Content-Type': 'text/plain' }).end('There is nothing here.\n')
    })
  })
  // all tabs of one machine come from one address
  const signaling = createSignalingServer({
    server,
    path: '/signal',
    addressSocketsMax: 1_000,
    addressConnectsPerMinute: 10_000,
  })
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, '127.0.0.1', resolve)
  })
  await signaling.listen()
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('the server has no port')
  return {
    url: `http://127.0.0.1:${address.port}/`,
    signaling,
    async close() {
      await signaling.close()
      server.closeAllConnections()
      await new Promise<void>((resolve) => server.close(() => resolve()))
    },
  }
}
