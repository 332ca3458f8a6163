// A real Redis server for tests: found on the path, started on a free port of loopback with nothing on disk, and ended with
// who started it.
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { createServer } from 'node:net'
import { delimiter, join } from 'node:path'
import { createInterface } from 'node:readline'

export interface RunningRedis {
  readonly url: string
  readonly port: number
  /** Kills it: nothing that it held is there when it starts again. */
  stop(): Promise<void>
  /** After `stop`: an empty one on the same port. */
  start(): Promise<void>
  /** It takes connections, and answers none, until `thaw`. */
  freeze(): void
  thaw(): void
}

/** Undefined where none is installed. */
export function findRedisServer(): string | undefined {
  return (process.env['PATH'] ?? '')
    .split(delimiter)
    .map((folder) => join(folder, 'redis-server'))
    .find((file) => existsSync(file))
}

/** Installs Debian's package where there is none, when root on Debian. */
export function ensureRedisServer(): string {
  const present = findRedisServer()
  if (present !== undefined) return present
  if (process.getuid?.() === 0) {
    process.stderr.write('no redis-server here: installing the package "redis-server" with apt-get …\n')
    // Without a runlevel the package does not start a service.
    const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive', RUNLEVEL: '1' }
    const quiet = { stdio: ['ignore', 2, 2] as ['ignore', number, number], env }
    if (spawnSync('apt-get', ['update'], quiet).status === 0) {
      spawnSync('apt-get', ['install', '-y', '--no-install-recommends', 'redis-server'], quiet)
    }
  }
  const installed = findRedisServer()
  if (installed !== undefined) return installed
  throw new Error('a redis-server on the path is needed (for example "sudo apt-get install redis-server")')
}

export async function startRedis(binary: string): Promise<RunningRedis> {
  const port = await freePort()
  let child = await launch(binary, port)
  // A run that is broken off leaves no server behind.
  const onExit = () => child.kill('SIGKILL')
  process.once('exit', onExit)
  const stop = async () => {
    const ended = new Promise((resolve) => child.once('exit', resolve))
    if (child.exitCode !== null || child.signalCode !== null) return
    child.kill('SIGKILL')
    await ended
  }
  return {
    url: `redis://127.0.0.1:${port}`,
    port,
    async stop() {
      await stop()
      process.off('exit', onExit)
    },
    async start() {
      child = await launch(binary, port)
      process.once('exit', onExit)
    },
    freeze: () => void child.kill('SIGSTOP'),
    thaw: () => void child.kill('SIGCONT'),
  }
}

async function launch(binary: string, port: number): Promise<ChildProcess> {
  const flags = ['--bind', '127.0.0.1', '--port', String(port), '--save', '', '--appendonly', 'no', '--daemonize', 'no']
  const child = spawn(binary, flags, { stdio: ['ignore', 'pipe', 'inherit'] })
  const said: string[] = []
  const lines = createInterface(child.stdout)
  await new Promise<void>((resolve, reject) => {
    lines.on('line', (line) => {
      said.push(line)
      if (line.includes('Ready to accept connections')) resolve()
    })
    child.once('error', reject)
    child.once('exit', () => reject(new Error(`redis-server ended:\n${said.join('\n')}`)))
  })
  return child
}

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
