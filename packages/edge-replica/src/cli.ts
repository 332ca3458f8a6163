// The command `wepaxos-edge`: flags and environment in, one JSON log line an event out, a clean end on SIGTERM, and an exit
// code that tells a supervisor whether to start it again.
import { readFileSync } from 'node:fs'
import { constants } from 'node:os'
import { runEdgeReplica } from './edge-replica.ts'
import { hiding, jsonLog, type Log } from './log.ts'
import { type CommandLine, type EdgeOptions, helpText, OptionError, readCommandLine } from './options.ts'
import { readSettings, type Settings } from './settings.ts'

export interface Surroundings {
  readonly argv: readonly string[]
  readonly env: Readonly<Record<string, string | undefined>>
  /** Where relative paths start. Default: the current folder. */
  readonly folder?: string
  readonly out?: (text: string) => void
  readonly err?: (text: string) => void
}

export const exitCodes = { ended: 0, failed: 1, wrongInput: 2, removed: 3 } as const

/**
 * Runs until a signal ends it, or until it can not go on. Resolves with the exit code; 128 and the signal's number where a
 * second signal did not let it end cleanly. The caller then ends the process by `process.exit`: @roamhq/wrtc crashes in the
 * other way of ending, when Node takes its environment down (node-webrtc/node-webrtc#636).
 */
export async function main(surroundings: Surroundings): Promise<number> {
  const { argv, env, folder = process.cwd(), out = writeOut, err = writeErr } = surroundings
  let commandLine: CommandLine
  let settings: Settings
  try {
    commandLine = readCommandLine(argv, env)
    if (commandLine.command === 'help') {
      out(helpText())
      return exitCodes.ended
    }
    if (commandLine.command === 'version') {
      out(`${packageVersion()}\n`)
      return exitCodes.ended
    }
    settings = await readSettings(commandLine.options, folder)
  } catch (error) {
    if (!(error instanceof OptionError)) throw error
    err(`wepaxos-edge: ${error.message}\n`)
    return exitCodes.wrongInput
  }
  const { options } = commandLine
  const { secrets } = settings
  const log = jsonLog({ write: out, level: options.logLevel, secrets })
  const signals = new Signals()
  try {
    return await run(options, settings, signals, log)
  } catch (error) {
    log({ event: 'failed', level: 'warn', error })
    err(`wepaxos-edge: ${hiding(secrets)(error instanceof Error ? error.message : String(error))}\n`)
    return exitCodes.failed
  } finally {
    signals.close()
  }
}

async function run(options: EdgeOptions, settings: Settings, signals: Signals, log: Log): Promise<number> {
  const { signaling, data, partition: partitions, role, membership, votersMax, durability, shutdownMs } = options
  const { invite, iceServers, machine, http } = settings
  const starting = runEdgeReplica({
    ...{ invite, signaling, data, partitions, machine, role, membership, votersMax, durability, iceServers, http },
    log,
  })
  const first = await Promise.race([starting, signals.next()])
  const ending = typeof first === 'string' ? first : await Promise.race([first.ended, signals.next()])
  const code = typeof ending === 'string' ? exitCodes.ended : codeOf(ending, log)
  if (typeof ending === 'string') log({ event: 'stopping', level: 'info', signal: ending })
  const closed = await inTime(
    starting.then((edge) => edge.close()).then(() => 'closed' as const),
    signals.next(),
    shutdownMs,
  )
  if (closed === 'closed') {
    log({ event: 'stopped', level: 'info' })
    return code
  }
  if (closed === 'late') {
    log({ event: 'not-stopped-in-time', level: 'warn', shutdownMs })
    return exitCodes.failed
  }
  return 128 + constants.signals[closed]
}

function codeOf(ending: Awaited<Awaited<ReturnType<typeof runEdgeReplica>>['ended']>, log: Log): number {
  switch (ending.kind) {
    case 'closed':
      return exitCodes.ended
    case 'failed':
      log({ event: 'failed', level: 'warn', partition: ending.partition, error: ending.error })
      return exitCodes.failed
    case 'removed':
      log({
        event: 'removed',
        level: 'warn',
        partition: ending.partition,
        message: 'the members took this replica out of their list; started again, it asks to be one once more',
      })
      return exitCodes.removed
  }
}

/** The first of both, or `late` when neither came in time. */
async function inTime<A, B>(one: Promise<A>, other: Promise<B>, ms: number): Promise<A | B | 'late'> {
  let timer: ReturnType<typeof setTimeout> | undefined
  const late = new Promise<'late'>((resolve) => {
    timer = setTimeout(resolve, ms, 'late')
  })
  try {
    return await Promise.race([one, other, late])
  } finally {
    clearTimeout(timer)
  }
}

type EndingSignal = 'SIGTERM' | 'SIGINT'

/** The signals that end the program, one after the other. */
class Signals {
  #listener: (signal: EndingSignal) => void = () => undefined

  constructor() {
    process.on('SIGTERM', this.#onSignal)
    process.on('SIGINT', this.#onSignal)
  }

  /** Resolves with the next one from now on; a promise asked for earlier does not resolve any more. */
  next(): Promise<EndingSignal> {
    return new Promise((resolve) => {
      this.#listener = resolve
    })
  }

  close(): void {
    process.off('SIGTERM', this.#onSignal)
    process.off('SIGINT', this.#onSignal)
  }

  readonly #onSignal = (signal: EndingSignal): void => this.#listener(signal)
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
