// The command `wepaxos-signaling`: flags and environment in, one JSON log line an event out, a polite end on SIGTERM.
import { readFileSync } from 'node:fs'
import type { LogRecord } from './log.ts'
import { type CommandLine, helpText, OptionError, readCommandLine } from './options.ts'
import { createSignalingServer, type SignalingServer } from './server.ts'

export interface Surroundings {
  readonly argv: readonly string[]
  readonly env: Readonly<Record<string, string | undefined>>
  readonly out?: (text: string) => void
  readonly err?: (text: string) => void
}

/** Runs until a signal ends it. Resolves with the exit code: 0, 1 when it can not listen, 2 for wrong flags. */
export async function main({ argv, env, out = writeOut, err = writeErr }: Surroundings): Promise<number> {
  let commandLine: CommandLine
  try {
    commandLine = readCommandLine(argv, env)
  } catch (error) {
    if (!(error instanceof OptionError)) throw error
    err(`wepaxos-signaling: ${error.message}\n`)
    return 2
  }
  if (commandLine.command === 'help') {
    out(helpText())
    return 0
  }
  if (commandLine.command === 'version') {
    out(`${packageVersion()}\n`)
    return 0
  }
  const log = ({ event, level, ...facts }: LogRecord) => {
    out(`${JSON.stringify({ event, level, time: new Date().toISOString(), ...facts })}\n`)
  }
  let server: SignalingServer
  try {
    server = createSignalingServer({ ...commandLine.options, log })
  } catch (error) {
    if (!(error instanceof OptionError)) throw error
    err(`wepaxos-signaling: ${error.message}\n`)
    return 2
  }
  const reload = () => {
    try {
      server.reloadCertificate()
    } catch (error) {
      log({
        event: 'certificate-refused',
        level: 'info',
        reason: error instanceof Error ? error.message : typeof error,
      })
    }
  }
  process.on('SIGHUP', reload)
  try {
    return await serve(server, err)
  } finally {
    process.off('SIGHUP', reload)
  }
}

async function serve(server: SignalingServer, err: (text: string) => void): Promise<number> {
  const stopped = nextSignal()
  try {
    await server.listen()
  } catch (error) {
    stopped.cancel()
    await server.close()
    err(`wepaxos-signaling: can not listen: ${error instanceof Error ? error.message : String(error)}\n`)
    return 1
  }
  await stopped.signal
  // A second signal does not wait for the peers.
  const again = nextSignal()
  await Promise.race([server.drain(), again.signal])
  again.cancel()
  await server.close()
  return 0
}

function nextSignal(): { readonly signal: Promise<void>; cancel(): void } {
  let cancel = (): void => undefined
  const signal = new Promise<void>((resolve) => {
    const onSignal = () => {
      cancel()
      resolve()
    }
    cancel = () => {
      process.off('SIGTERM', onSignal)
      process.off('SIGINT', onSignal)
    }
    process.on('SIGTERM', onSignal)
    process.on('SIGINT', onSignal)
  })
  return { signal, cancel }
}

function packageVersion(): string {
  const text = readFileSync(new URL('../package.json', import.meta.url), 'utf8')
  const { version } = JSON.parse(text) as { readonly version: string }
  return version
}

function writeOut(text: string): void {
  process.stdout.write(text)
}

function writeErr(text: string): void {
  process.stderr.write(text)
}
