// How the journeys through real browsers are run: one at a time, for they start several pages each and have deadlines, and
// without a second chance, since a journey that fails now and then shows a fault.
import { defineConfig } from '@playwright/test'

export default defineConfig({
  testDir: 'tests',
  globalSetup: './support/build-and-serve-demo.ts',
  outputDir: 'test-results',
  workers: 1,
  retries: 0,
  // A journey takes some 10 s on a machine that has little else to do.
  timeout: 120_000,
  expect: { timeout: 30_000 },
  forbidOnly: Boolean(process.env['CI']),
  reporter: [['list']],
})
