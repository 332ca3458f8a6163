// Pages of the harness, built from the workspace's sources and served on the loopback interface at a port that is free.
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer, type Server } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import sirv from 'sirv'
import { build, defaultClientConditions } from 'vite'

export interface ServedPages {
  /** Ends in a slash. */
  readonly url: string
  close(): Promise<void>
}

/** `pages`: their HTML files in `root`. `beside` may add to the server before it listens. */
export async function buildAndServe(
  root: string,
  pages: readonly string[],
  beside: (server: Server) => { listen(): Promise<unknown>; close(): Promise<unknown> } | null = () => null,
): Promise<ServedPages> {
  const folder = await mkdtemp(join(tmpdir(), 'wepaxos-pages-'))
  await build({
    root,
    // as a browser test would have it: the workspace's sources, not what was built from them some day
    resolve: { conditions: ['wepaxos:source', ...defaultClientConditions] },
    build: {
      target: 'es2022',
      outDir: folder,
      emptyOutDir: true,
      rolldownOptions: { input: pages.map((page) => join(root, page)) },
    },
    logLevel: 'warn',
  })
  const files = sirv(folder)
  const server = createServer((request, response) => {
    files(request, response, () => {
      response.writeHead(404).end()
    })
  })
  const other = beside(server)
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(0, '127.0.0.1', resolve)
  })
  await other?.listen()
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('the server has no port')
  return {
    url: `http://127.0.0.1:${address.port}/`,
    async close() {
      await other?.close()
      server.closeAllConnections()
      await new Promise<void>((resolve) => server.close(() => resolve()))
      await rm(folder, { recursive: true, force: true })
    },
  }
}
