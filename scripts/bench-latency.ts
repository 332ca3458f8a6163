// How long a command takes from the call to its executed result in a real page, beside the round trip of a plain data
// channel that the same page has with the same other page.
import { fileURLToPath } from 'node:url'
import { type Browser, chromium, type Page } from 'playwright'
import { build, defaultClientConditions } from 'vite'
import { servePages } from './serve-demo.ts'
import { findBrowser } from './setup.mjs'

interface Figures {
  readonly median: number
  readonly p99: number
}

declare global {
  interface Window {
    bench?: { connection: RTCPeerConnection; channel?: RTCDataChannel }
  }
}

function figuresOf(samples: readonly number[]): Figures {
  const sorted = samples.toSorted((a, b) => a - b)
  const at = (part: number) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? 0
  return { median: at(0.5), p99: at(0.99) }
}

const pageRoot = fileURLToPath(new URL('./bench-page', import.meta.url))

/** Three pages that show nothing; commands from the first one, one at a time. */
export async function measureLatency(samples: number): Promise<Readonly<Record<string, Figures>>> {
  const conditions = ['wepaxos:source', ...defaultClientConditions]
  await build({ root: pageRoot, resolve: { conditions }, build: { target: 'es2022' }, logLevel: 'warn' })
  const served = await servePages(`${pageRoot}/dist`, 0)
  const root = process.getuid?.() === 0
  const browser = await chromium.launch({
    executablePath: findBrowser() ?? '',
    args: [
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
      '--no-first-run',
      '--disable-quic',
      ...(root ? ['--no-sandbox'] : []),
    ],
  })
  try {
    const strict = await openThree(browser, served.url)
    const memory = await openThree(browser, `${served.url}?storage=memory`)
    await connectRaw(memory.first, memory.second)
    return {
      'plain data channel, round trip': figuresOf(await timeEchoes(memory.first, samples)),
      'commit, three replicas, log in memory': figuresOf(await timeCommits(memory.first, samples)),
      'commit, three replicas, IndexedDB strict': figuresOf(await timeCommits(strict.first, samples)),
    }
  } finally {
    await browser.close()
    await served.close()
  }
}

async function openThree(browser: Browser, url: string): Promise<{ readonly first: Page; readonly second: Page }> {
  const context = await browser.newContext()
  const first = await context.newPage()
  await first.goto(url)
  await first.waitForFunction(() => window.wepaxos?.replica.status.kind === 'ready' && location.hash !== '')
  const second = await context.newPage()
  await second.goto(first.url())
  const third = await context.newPage()
  await third.goto(first.url())
  await first.waitForFunction(
    () => window.wepaxos?.replica.members.filter((one) => one.role === 'voter' && one.connected).length === 3,
  )
  return { first, second }
}

function timeCommits(page: Page, samples: number): Promise<number[]> {
  return page.evaluate(async (count) => {
    const { replica } = window.wepaxos ?? {}
    if (replica === undefined) throw new Error('the page has no replica')
    const times: number[] = []
    for (let index = 0; index < count + 20; index++) {
      const before = performance.now()
      await replica.mutate.set(`bench/${index % 10}`, index).done
      if (index >= 20) times.push(performance.now() - before)
    }
    return times
  }, samples)
}

function timeEchoes(page: Page, samples: number): Promise<number[]> {
  return page.evaluate(async (count) => {
    const channel = window.bench?.channel
    if (channel === undefined) throw new Error('there is no plain channel')
    const times: number[] = []
    const message = new Uint8Array(100)
    for (let index = 0; index < count + 20; index++) {
      const before = performance.now()
      await new Promise<void>((resolve) => {
        channel.onmessage = () => resolve()
        channel.send(message)
      })
      if (index >= 20) times.push(performance.now() - before)
    }
    return times
  }, samples)
}

/** A connection without wepaxos between two pages; this process carries the descriptions. */
async function connectRaw(from: Page, to: Page): Promise<void> {
  const gathered = `async (connection) => {
    if (connection.iceGatheringState === 'complete') return
    await new Promise((resolve) => connection.addEventListener('icegatheringstatechange', () => {
      if (connection.iceGatheringState === 'complete') resolve()
    }))
  }`
  const offer = (await from.evaluate(`(async () => {
    const connection = new RTCPeerConnection()
    const channel = connection.createDataChannel('bench')
    window.bench = { connection, channel }
    await connection.setLocalDescription(await connection.createOffer())
    await (${gathered})(connection)
    return connection.localDescription.toJSON()
  })()`)) as RTCSessionDescriptionInit
  const answer = (await to.evaluate(`(async () => {
    const connection = new RTCPeerConnection()
    window.bench = { connection }
    connection.ondatachannel = ({ channel }) => { channel.onmessage = ({ data }) => channel.send(data) }
    await connection.setRemoteDescription(${JSON.stringify(offer)})
    await connection.setLocalDescription(await connection.createAnswer())
    await (${gathered})(connection)
    return connection.localDescription.toJSON()
  })()`)) as RTCSessionDescriptionInit
  await from.evaluate(`(async () => {
    await window.bench.connection.setRemoteDescription(${JSON.stringify(answer)})
    if (window.bench.channel.readyState !== 'open') {
      await new Promise((resolve) => { window.bench.channel.onopen = resolve })
    }
  })()`)
}
