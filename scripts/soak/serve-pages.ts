// The harness's own pages, with a signaling server beside them. Everything is imported by path, for Playwright, which runs
// small rounds of the long checks, knows nothing of the workspace's export condition.
import { fileURLToPath } from 'node:url'
import { createSignalingServer } from '../../signaling-server/src/index.ts'
import { buildAndServe, type ServedPages } from '../build-and-serve.ts'

export type { ServedPages }

const root = fileURLToPath(new URL('./pages', import.meta.url))

export function servePages(): Promise<ServedPages> {
  return buildAndServe(root, ['replica.html', 'storage.html', 'raw.html'], (server) =>
    createSignalingServer({
      server,
      path: '/signal',
      addressSocketsMax: 1_000,
      addressConnectsPerMinute: 100_000,
      logLevel: 'silent',
    }),
  )
}
