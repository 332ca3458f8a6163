// A server in a process of its own that can be asked how much memory it holds, after its garbage is collected. Both ends
// are here: run as a program it is the server, imported it starts one.
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { createSignalingServer, type GivenOptions } from '../src/index.ts'

export interface Measure {
  readonly residentBytes: number
  readonly heapBytes: number
}

export interface MeasuredServer {
  readonly url: string
  readonly port: number
  readonly pid: number
  measure(): Promise<Measure>
  /** True until it ends by itself, which no peer may bring about. */
  isAlive(): boolean
  stop(): Promise<void>
}

const isProgram = process.argv[1] === fileURLToPath(import.meta.url)
if (isProgram) await serve(JSON.parse(process.argv[2] ?? '{}') as GivenOptions)

export async function startMeasuredServer(options: GivenOptions): Promise<MeasuredServer> {
  const nodeFlags = ['--expose-gc', '--conditions=wepaxos:source', '--import', 'tsx']
  const child = spawn(process.execPath, [...nodeFlags, fileURLToPath(import.meta.url), JSON.stringify(options)], {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  })
  const onExit = () => child.kill('SIGKILL')
  process.once('exit', onExit)
  const { url, port } = await reply<{ url: string; port: number }>(child)
  return {
    url,
    port,
    pid: child.pid ?? 0,
    measure() {
      const answer = reply<Measure>(child)
      child.send('measure')
      return answer
    },
    isAlive: () => child.exitCode === null && child.signalCode === null,
    async stop() {
      process.off('exit', onExit)
      if (child.exitCode !== null || child.signalCode !== null) return
      const ended = once(child, 'exit')
      child.kill('SIGKILL')
      await ended
    },
  }
}

async function serve(options: GivenOptions): Promise<void> {
  const server = createSignalingServer({ ...options, port: 0 })
  const { url, port } = await server.listen()
  process.on('message', () => {
    globalThis.gc?.()
    globalThis.gc?.()
    const { rss, heapUsed } = process.memoryUsage()
    process.send?.({ residentBytes: rss, heapBytes: heapUsed } satisfies Measure)
  })
  process.on('disconnect', () => process.exit(0))
  process.send?.({ url, port })
}

function reply<Answer>(child: ChildProcess): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const onExit = (code: number | null) => reject(new Error(`the server ended with ${code}`))
    child.once('exit', onExit)
    child.once('message', (message) => {
      child.off('exit', onExit)
      resolve(message as Answer)
    })
  })
}
