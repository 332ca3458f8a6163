// Before all journeys: builds the demo and serves it as it would be deployed, content security policy included. Its address
// goes to the tests by DEMO_URL.
import { fileURLToPath } from 'node:url'
import { build, preview } from 'vite'

const demo = fileURLToPath(new URL('../../packages/demo-app', import.meta.url))

export default async function buildAndServeDemo(): Promise<() => Promise<void>> {
  await build({ root: demo, logLevel: 'warn' })
  const server = await preview({ root: demo, logLevel: 'warn', preview: { port: await freePort(), strictPort: true } })
  const url = server.resolvedUrls?.local[0]
  if (url === undefined) throw new Error('the preview server gave no local address')
  process.env['DEMO_URL'] = url
  return () => server.close()
}

/** Vite takes 0 for "not given". */
async function freePort(): Promise<number> {
  const { createServer } = await import('node:net')
  const server = createServer()
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(0, '127.0.0.1', resolve)
  })
  const address = server.address()
  await new Promise((resolve) => server.close(resolve))
  if (address === null || typeof address === 'string') throw new Error('the system gave no port')
  return address.port
}
