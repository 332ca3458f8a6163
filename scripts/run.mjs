// `npm start`, `npm test` and the other commands of the root: each brings what it needs, then does its work. Plain
// JavaScript, for it runs before anything is installed.
import { spawn } from 'node:child_process'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { checkNode, ensureBrowser, ensureInstalled, root, SetupError, say } from './setup.mjs'

const tsx = ['--conditions=wepaxos:source', '--import', 'tsx']
const plain = ['--conditions=wepaxos:source', '--import', './scripts/plain-typescript.mjs']
const tool = (name) => join(root, 'node_modules', name)

/** What each command runs, in order; `args` are the caller's. The first that fails ends it. */
const commands = {
  start: { browser: false, steps: (args) => [[...tsx, 'scripts/start.ts', ...args]] },
  check: {
    browser: false,
    steps: () => [
      [tool('typescript/bin/tsc'), '-p', 'tsconfig.json'],
      [tool('@biomejs/biome/bin/biome'), 'check', '--error-on-warnings', '.'],
    ],
  },
  format: { browser: false, steps: () => [[tool('@biomejs/biome/bin/biome'), 'check', '--write', '.']] },
  test: {
    browser: true,
    steps: (args) =>
      args.length > 0
        ? [[tool('vitest/vitest.mjs'), 'run', ...args]]
        : [
            [tool('vitest/vitest.mjs'), 'run', '--project', 'node'],
            [tool('vitest/vitest.mjs'), 'run', '--project', 'browser'],
            [tool('@playwright/test/cli.js'), 'test', '--config', 'e2e/playwright.config.ts'],
          ],
  },
  e2e: {
    browser: true,
    steps: (args) => [[tool('@playwright/test/cli.js'), 'test', '--config', 'e2e/playwright.config.ts', ...args]],
  },
  sim: { browser: false, steps: (args) => [[...tsx, 'packages/core/sim/main.ts', ...args]] },
  explore: { browser: false, steps: (args) => [[...tsx, 'packages/core/sim/explore-main.ts', ...args]] },
  mutants: { browser: false, steps: (args) => [[...tsx, 'packages/core/sim/mutants-main.ts', ...args]] },
  bench: { browser: true, steps: (args) => [[...plain, 'scripts/bench.ts', ...args]] },
  soak: { browser: true, steps: (args) => [[...tsx, 'scripts/soak.ts', ...args]] },
  build: { browser: false, steps: () => [['scripts/build.mjs']] },
}

/** Runs one step; signals go on to it, so that nothing is left behind. */
function runStep(args, env) {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, args, { cwd: root, stdio: 'inherit', env })
    const pass = (signal) => child.kill(signal)
    process.on('SIGINT', pass)
    process.on('SIGTERM', pass)
    child.on('exit', (code, signal) => {
      process.off('SIGINT', pass)
      process.off('SIGTERM', pass)
      resolve(signal === null ? (code ?? 1) : 128)
    })
  })
}

const [name, ...args] = process.argv.slice(2)
const command = Object.hasOwn(commands, name ?? '') ? commands[name] : undefined
if (command === undefined) {
  say(`there is no command ${name ?? ''}: ${Object.keys(commands).join(', ')}`)
  process.exit(2)
}
try {
  checkNode()
  ensureInstalled()
  // resolved here once, so that a missing installation shows before anything runs
  createRequire(join(root, 'package.json')).resolve('tsx')
  const env = command.browser ? { ...process.env, WEPAXOS_CHROMIUM: ensureBrowser() } : process.env
  for (const step of command.steps(args)) {
    const code = await runStep(step, env)
    if (code !== 0) process.exit(code)
  }
} catch (error) {
  if (!(error instanceof SetupError)) throw error
  say(error.message)
  process.exit(1)
}
