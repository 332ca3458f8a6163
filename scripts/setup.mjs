// What a fresh machine lacks, brought by the project itself: pnpm and the dependencies (with nothing but npm), and a
// browser for the tests. Plain JavaScript without dependencies, for it runs before anything is installed.
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { delimiter, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

export const root = join(dirname(fileURLToPath(import.meta.url)), '..')
const nodeMinimum = [20, 19]

export function say(text) {
  process.stderr.write(`wepaxos: ${text}\n`)
}

export class SetupError extends Error {}

function run(command, args, options = {}) {
  const done = spawnSync(command, args, { cwd: root, stdio: ['ignore', 'inherit', 'inherit'], ...options })
  return done.status === 0
}

export function checkNode() {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number)
  if (major < nodeMinimum[0] || (major === nodeMinimum[0] && minor < nodeMinimum[1])) {
    throw new SetupError(`Node ${nodeMinimum.join('.')} or newer is needed; this is ${process.versions.node}`)
  }
}

/** Installs the dependencies when the lockfile is not the one that node_modules was made from. */
export function ensureInstalled() {
  const packageJson = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
  const stampFile = join(root, 'node_modules', '.wepaxos-installed')
  const lock = readFileSync(join(root, 'pnpm-lock.yaml'))
  const stamp = createHash('sha256').update(lock).update(packageJson.packageManager).digest('hex')
  if (existsSync(stampFile) && readFileSync(stampFile, 'utf8') === stamp) return
  say(`installing dependencies with ${packageJson.packageManager} …`)
  const pnpm = ['exec', '--yes', `--package=${packageJson.packageManager}`, '--', 'pnpm']
  const installed = run('npm', [...pnpm, 'install', '--frozen-lockfile', '--reporter=append-only'], {
    stdio: ['ignore', 2, 2],
    env: { ...process.env, CI: 'true' },
  })
  if (!installed) throw new SetupError('installing the dependencies failed (see above)')
  mkdirSync(dirname(stampFile), { recursive: true })
  writeFileSync(stampFile, stamp)
}

function onPath(name) {
  return (process.env.PATH ?? '')
    .split(delimiter)
    .map((folder) => join(folder, name))
    .find((file) => existsSync(file))
}

/** Playwright's own Chromium, where it is installed. */
function playwrightChromium() {
  try {
    const require = createRequire(join(root, 'package.json'))
    const file = require('playwright').chromium.executablePath()
    return file && existsSync(file) ? file : undefined
  } catch {
    return undefined
  }
}

/** First the caller's own choice, then Playwright's browser, then one of the system. */
export function findBrowser() {
  const chosen = process.env.WEPAXOS_CHROMIUM
  if (chosen) {
    if (!existsSync(chosen)) throw new SetupError(`WEPAXOS_CHROMIUM names ${chosen}, which does not exist`)
    return chosen
  }
  return playwrightChromium() ?? onPath('chromium') ?? onPath('chromium-browser') ?? onPath('google-chrome')
}

/** A path to Chromium; installs one where there is none: Playwright's own, or Debian's package when root on Debian. */
export function ensureBrowser() {
  const present = findBrowser()
  if (present) return present
  const quiet = { stdio: ['ignore', 2, 2] }
  const isRoot = process.getuid?.() === 0
  if (isRoot && onPath('apt-get')) {
    say('no Chromium here: installing the package "chromium" with apt-get …')
    if (run('apt-get', ['update'], quiet)) {
      const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' }
      run('apt-get', ['install', '-y', '--no-install-recommends', 'chromium'], { ...quiet, env })
    }
  }
  if (!findBrowser()) {
    say("no Chromium here: installing Playwright's own …")
    run(process.execPath, [join(root, 'node_modules/playwright/cli.js'), 'install', 'chromium'], quiet)
  }
  const browser = findBrowser()
  if (browser) return browser
  throw new SetupError(
    'no Chromium could be installed. Install one (for example "sudo apt-get install chromium") and put it on the PATH, or name it in WEPAXOS_CHROMIUM',
  )
}
