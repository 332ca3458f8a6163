// The harness's own pages, built and served with a signaling server beside them. Everything is imported by path, for
// Playwright, which runs small rounds of the long checks, knows nothing of the workspace's export condition.
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import sirv from 'sirv'
import { build, defaultClientConditions } from 'vite'
import { createSignalingServer } from '../../signaling-server/src/index.ts'

const root = fileURLToPath(new URL('./pages', import.meta.url))

export interface ServedPages {
  /** Ends in a slash. */
  readonly url: string
  close(): Promise<void>
}

/** On the loopback interface, at a port that is free. */
export async function servePages(): Promise<ServedPages> {
  const folder = await mkdtemp(join(tmpdir(), 'wepaxos-soak-pages-'))
  await build({
    root,
    // as a browser test would have it: the workspace's sources, not what was built from them some day
    resolve: { conditions: ['wepaxos:source', ...defaultClientConditions] },
    build: {
      target: 'es2022',
      outDir: folder,
      emptyOutDir: true,
      rolldownOptions: { input: [`${root}/replica.html`, `${root}/storage.html`, `${root}/raw.html`] },
    },
    logLevel: 'warn',
  })
  const pages = sirv(folder)
  const server = createServer((request, response) => {
    pages(request, response, () => {
      response.writeHead(404).end()
    })
  })
  const signaling = createSignalingServer({
    server,
    path: '/signal',
    addressSocketsMax: 1_000,
    addressConnectsPerMinute: 100_000,
    logLevel: 'silent',
  })
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(0, '127.0.0.1', resolve)
  })
  await signaling.listen()
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('the server has no port')
  return {
    url: `http://127.0.0.1:${address.port}/`,
    async close() {
      await signaling.close()
      server.closeAllConnections()
      await new Promise<void>((resolve) => server.close(() => resolve()))
      await rm(folder, { recursive: true, force: true })
    },
  }
}
