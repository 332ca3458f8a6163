// `npm start [-- --port N]`: builds the demo, serves it together with a signaling server, and prints one URL.
import { parseArgs } from 'node:util'
import { buildDemo, type ServedDemo, serveDemo } from './serve-demo.ts'

/** Where the demo is by default: always the same, for a browser keeps a page's data by its address. */
const defaultPort = 4_180

const { values } = parseArgs({ options: { port: { type: 'string' } } })
const port = values.port === undefined ? defaultPort : Number(values.port)
if (!Number.isInteger(port) || port < 0 || port > 65_535) {
  console.error(`--port: a whole number 0 … 65535, not ${values.port}`)
  process.exit(2)
}

async function serve(): Promise<ServedDemo> {
  try {
    return await serveDemo(port)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE' || values.port !== undefined) throw error
    console.error(
      `Port ${port} is taken; another one is used. A page keeps its data by its address: what was stored under`,
    )
    console.error(`http://127.0.0.1:${port}/ is not seen under another port.`)
    return await serveDemo(0)
  }
}

await buildDemo()
const demo = await serve()
console.log(
  `\nwepaxos demo: ${demo.url}\n\nOpen it, then open the link in its address bar in two more tabs. Ctrl+C ends it.`,
)

let ending = false
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.on(signal, () => {
    if (ending) return
    ending = true
    void demo.close().then(() => process.exit(0))
  })
}
