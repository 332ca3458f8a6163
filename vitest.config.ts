// How every test of the workspace but e2e is run: `*.test.ts` in Node (project "node"), `*.browser-test.ts` in a headless
// Chromium (project "browser"). Packages of the workspace resolve to their sources, so no build is needed. The e2e journeys
// have Playwright's own runner.
import { createServer } from 'node:net'
import { playwright } from '@vitest/browser-playwright'
import { defaultClientConditions, defaultServerConditions } from 'vite'
import { defineConfig } from 'vitest/config'
import { chromiumArguments } from './scripts/chromium-arguments.ts'
import { findBrowser } from './scripts/setup.mjs'

/** Modules that start what browser tests talk to, such as a signaling server, and `provide` its address to them. */
const browserGlobalSetup = ['./packages/webrtc-transport/testing/signaling-global-setup.ts']

const sourceCondition = 'wepaxos:source'
const neverTests = ['**/node_modules/**', '**/dist/**', 'e2e/**']

/** A port that the system just had free, so that runs side by side do not meet. */
async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(0, '127.0.0.1', resolve)
  })
  const address = server.address()
  await new Promise<void>((resolve) => server.close(() => resolve()))
  if (address === null || typeof address === 'string') throw new Error('the system gave no port')
  return address.port
}

export default defineConfig(async () => {
  const chromium = findBrowser()
  return {
    resolve: { conditions: [sourceCondition, ...defaultClientConditions] },
    // Without "module", as vitest has it: Node itself does not know that condition and would load bundlers' files.
    ssr: { resolve: { conditions: [sourceCondition, ...defaultServerConditions.filter((name) => name !== 'module')] } },
    test: {
      projects: [
        {
          extends: true as const,
          test: {
            name: 'node',
            environment: 'node',
            // Only what hangs is ended: no test is to fail because the machine was busy.
            testTimeout: 120_000,
            include: ['packages/**/*.test.ts', 'signaling-server/**/*.test.ts'],
            exclude: neverTests,
          },
        },
        {
          extends: true as const,
          // A dependency that is found only while tests run makes Vite reload the page under them. So the search starts
          // from the sources too, not only from the tests. (`include` can not name them: under pnpm the dependencies of
          // the packages do not resolve from the root.)
          optimizeDeps: {
            entries: [
              'packages/{core,webrtc-transport}/{src,testing}/**/*.ts',
              'signaling-server/testing/y-webrtc-client.ts',
              '!**/*.test.ts',
            ],
          },
          test: {
            name: 'browser',
            include: ['**/*.browser-test.ts'],
            exclude: neverTests,
            globalSetup: browserGlobalSetup,
            testTimeout: 20_000,
            browser: {
              enabled: true,
              headless: true,
              screenshotFailures: false,
              // Tests of real connections and disks have deadlines: they do not compete for the processor.
              fileParallelism: false,
              api: { host: '127.0.0.1', port: await freePort() },
              provider: playwright({
                launchOptions: {
                  args: [...chromiumArguments],
                  ...(chromium === undefined ? {} : { executablePath: chromium }),
                },
              }),
              instances: [{ browser: 'chromium' as const }],
            },
          },
        },
      ],
    },
  }
})
