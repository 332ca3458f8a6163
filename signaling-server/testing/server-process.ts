// The command in a process of its own, for tests that kill it.
import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'

export interface LoggedEvent {
  readonly event: string
  readonly url?: string
  readonly port?: number
}

export interface ServerProcess {
  readonly pid: number
  readonly url: string
  readonly port: number
  /** What it logged so far. */
  readonly records: readonly LoggedEvent[]
  kill(signal: 'SIGTERM' | 'SIGKILL' | 'SIGHUP' | 'SIGSTOP' | 'SIGCONT'): void
  readonly ended: Promise<{ readonly code: number | null; readonly signal: string | null }>
}

/** Resolves when it listens. `nodeFlags`: such as `--expose-gc`. */
export async function startServerProcess(
  flags: readonly string[],
  nodeFlags: readonly string[] = [],
): Promise<ServerProcess> {
  const cli = JSON.stringify(new URL('../src/cli.ts', import.meta.url).href)
  const script = `import { main } from ${cli}; process.exitCode = await main({ argv: process.argv.slice(1), env: {} })`
  const own = [...nodeFlags, '--import', 'tsx', '--input-type=module', '--eval', script, '--']
  const child = spawn(process.execPath, [...own, '--port', '0', ...flags], { stdio: ['ignore', 'pipe', 'inherit'] })
  const onExit = () => child.kill('SIGKILL')
  process.once('exit', onExit)
  const ended = new Promise<{ code: number | null; signal: string | null }>((resolve) => {
    child.once('exit', (code, signal) => {
      process.off('exit', onExit)
      resolve({ code, signal })
    })
  })
  const records: LoggedEvent[] = []
  const listening = new Promise<LoggedEvent>((resolve, reject) => {
    createInterface(child.stdout).on('line', (line) => {
      const record = JSON.parse(line) as LoggedEvent
      records.push(record)
      if (record.event === 'listening') resolve(record)
    })
    child.once('error', reject)
    void ended.then(({ code }) => reject(new Error(`the server ended with ${code} before it listened`)))
  })
  const { url = '', port = 0 } = await listening
  return { pid: child.pid ?? 0, url, port, records, kill: (signal) => void child.kill(signal), ended }
}
