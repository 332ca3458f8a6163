// The signaling server's command in a process of its own, that can be killed and started again where it was.
import { type ChildProcess, spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('../..', import.meta.url))
const cli = new URL('../../signaling-server/src/cli.ts', import.meta.url).href
const script = `import { main } from ${JSON.stringify(cli)}; process.exitCode = await main({ argv: process.argv.slice(1), env: {} })`
/** All pages come from one address, and faster than people do. */
const limits = ['--address-sockets-max', '1000', '--address-connects-per-minute', '10000']

export class SignalingProcess {
  #port = 0
  #child: ChildProcess | undefined
  #ended: Promise<unknown> = Promise.resolve()
  readonly #onExit = () => this.#child?.kill('SIGKILL')

  static async start(): Promise<SignalingProcess> {
    const signaling = new SignalingProcess()
    process.once('exit', signaling.#onExit)
    await signaling.start()
    return signaling
  }

  get url(): string {
    return `ws://127.0.0.1:${this.#port}`
  }

  /** Resolves when it listens; the second time at the port of the first. */
  async start(): Promise<void> {
    const flags = ['--host', '127.0.0.1', '--port', String(this.#port), ...limits]
    const own = ['--import', 'tsx', '--input-type=module', '--eval', script, '--']
    const child = spawn(process.execPath, [...own, ...flags], { cwd: root, stdio: ['ignore', 'pipe', 'inherit'] })
    this.#child = child
    const ended = new Promise((resolve) => child.once('exit', resolve))
    this.#ended = ended
    this.#port = await new Promise<number>((resolve, reject) => {
      createInterface(child.stdout).on('line', (line) => {
        const { event, port } = JSON.parse(line) as { readonly event: string; readonly port?: number }
        if (event === 'listening' && port !== undefined) resolve(port)
      })
      child.once('error', reject)
      void ended.then((code) => reject(new Error(`the signaling server ended with ${code} before it listened`)))
    })
  }

  /** SIGKILL. Resolves when it is gone. */
  async kill(): Promise<void> {
    this.#child?.kill('SIGKILL')
    await this.#ended
    this.#child = undefined
  }

  async close(): Promise<void> {
    await this.kill()
    process.off('exit', this.#onExit)
  }
}
