// The command as a process of its own, as an operator runs it, for tests and long checks: its log as records, its health
// answers, its signals and how it ended.
import { type ChildProcess, spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'

export interface EdgeRecord {
  readonly event: string
  readonly level: string
  readonly [fact: string]: unknown
}

export interface EdgeExit {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  /** From the signal that `stop` sent to the end. */
  readonly afterMs: number
}

/** What /status says of one partition. */
export interface EdgePartition {
  readonly partition: string
  readonly replica: string
  readonly status: string
  readonly members: readonly { readonly id: string; readonly role: string; readonly connected: boolean }[]
  readonly stats: { readonly executed: number; readonly stateHash: string; readonly voters: number }
}

const root = fileURLToPath(new URL('../../..', import.meta.url))
const cli = new URL('../src/cli.ts', import.meta.url).href
const script = `
  import { main } from ${JSON.stringify(cli)}
  process.exit(await main({ argv: process.argv.slice(1), env: process.env }))
`

export class EdgeProgram {
  readonly records: EdgeRecord[] = []
  readonly exited: Promise<EdgeExit>
  /** All that it wrote. */
  out = ''
  err = ''
  readonly #child: ChildProcess
  readonly #waiting = new Set<() => void>()
  #stoppedAtMs = performance.now()
  #hasExited = false

  /** `env` comes on top of this process's own environment. */
  constructor(flags: readonly string[], env: Readonly<Record<string, string>> = {}) {
    const nodeFlags = ['--conditions=wepaxos:source', '--import', 'tsx', '--input-type=module', '--eval', script, '--']
    this.#child = spawn(process.execPath, [...nodeFlags, ...flags], {
      cwd: root,
      env: { ...process.env, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    let line = ''
    this.#child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      this.out += text
      const lines = (line + text).split('\n')
      line = lines.pop() ?? ''
      this.records.push(...lines.map((one) => JSON.parse(one) as EdgeRecord))
      this.#wake()
    })
    this.#child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.err += text
    })
    this.exited = new Promise((resolve) => {
      this.#child.once('close', (code, signal) => {
        this.#hasExited = true
        this.#wake()
        resolve({ code, signal, afterMs: performance.now() - this.#stoppedAtMs })
      })
    })
  }

  get hasExited(): boolean {
    return this.#hasExited
  }

  /** Sends a signal; resolves when the process is gone. */
  stop(signal: NodeJS.Signals): Promise<EdgeExit> {
    this.#stoppedAtMs = performance.now()
    this.#child.kill(signal)
    return this.exited
  }

  /** The first record that fits, also one that was there before. Rejects when the process ends without. */
  async record(fits: (record: EdgeRecord) => boolean): Promise<EdgeRecord> {
    for (;;) {
      const found = this.records.find(fits)
      if (found !== undefined) return found
      if (this.#hasExited) throw new Error(`the edge replica ended: ${this.out}${this.err}`)
      await new Promise<void>((resolve) => this.#waiting.add(resolve))
    }
  }

  /** The answer to a health question. */
  async ask(path: string): Promise<{ readonly status: number; readonly text: string }> {
    const { url } = await this.record(({ event }) => event === 'listening')
    const response = await fetch(new URL(path, String(url)))
    return { status: response.status, text: await response.text() }
  }

  /** Of its one partition. Undefined while that is not open. */
  async partition(): Promise<EdgePartition | undefined> {
    const { text } = await this.ask('/status')
    const { partitions } = JSON.parse(text) as { readonly partitions: readonly EdgePartition[] }
    return partitions[0]
  }

  #wake(): void {
    for (const resolve of this.#waiting) resolve()
    this.#waiting.clear()
  }
}
