// The pages of the long checks of links, built and served on the loopback interface. There is no signaling server beside
// them: that one lives, and is killed, in a process of its own.
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import sirv from 'sirv'
import { build, defaultClientConditions } from 'vite'
import type { ServedPages } from '../soak/serve-pages.ts'

const root = fileURLToPath(new URL('./pages', import.meta.url))

export async function serveLinkPages(): Promise<ServedPages> {
  const folder = await mkdtemp(join(tmpdir(), 'wepaxos-soak-links-'))
  await build({
    root,
    resolve: { conditions: ['wepaxos:source', ...defaultClientConditions] },
    build: {
      target: 'es2022',
      outDir: folder,
      emptyOutDir: true,
      rolldownOptions: { input: [`${root}/links.html`, `${root}/leaks.html`, `${root}/speed.html`] },
    },
    logLevel: 'warn',
  })
  const pages = sirv(folder)
  const server = createServer((request, response) => {
    pages(request, response, () => {
      response.writeHead(404).end()
    })
  })
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(0, '127.0.0.1', resolve)
  })
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('the server has no port')
  return {
    url: `http://127.0.0.1:${address.port}/`,
    async close() {
      server.closeAllConnections()
      await new Promise<void>((resolve) => server.close(() => resolve()))
      await rm(folder, { recursive: true, force: true })
    },
  }
}
