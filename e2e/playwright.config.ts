// How the journeys through real browsers are run: one at a time, for they start several pages each and have deadlines, and
// without a second chance, since a journey that fails now and then shows a fault.
import { defineConfig } from '@playwright/test'

export default defineConfig({
  testDir: 'tests',
  globalSetup: './support/build-and-serve-demo.ts',
  outputDir: 'test-results',
  workers: 1,
  retries: 0,
  timeout: 60_000,
  expect: { timeout: 20_000 },
  forbidOnly: Boolean(process.env['CI']),
  reporter: [['list']],
})
