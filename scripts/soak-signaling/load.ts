// `soak signaling-load`: what the signaling server bears. Many sockets and their memory, relayed messages a second, and
// guests of the worse kind while the good ones are there: slow-loris connections, silent sockets, a slow reader, a flood of
// pings, frames of garbage. None of them may cost the others anything. The server is a process of its own.
import { connect, type Socket } from 'node:net'
import { garbageFrames, seededRandom, upgradeRequest } from '../../signaling-server/testing/garbage.ts'
import { type MeasuredServer, startMeasuredServer } from '../../signaling-server/testing/measured-server.ts'
import { SoakPeer, soakId } from '../../signaling-server/testing/soak-peer.ts'

export interface LoadSize {
  readonly sockets: number
  readonly roomSockets: number
  readonly relayMs: number
  readonly slowLoris: number
  readonly silent: number
  readonly pings: number
  readonly garbageFrames: number
  /** The server's limits on headers and first messages. */
  readonly timeoutMs: number
  readonly messagesPerSecond: number
  readonly messagesBurst: number
}

/** What has to be reached; undefined: only told. */
export interface LoadGates {
  readonly socketKibMax?: number
  readonly relayedPerSecondMin?: number
  readonly goneMsMax?: number
  readonly growthMibMax?: number
}

export const fullLoad: LoadSize = {
  sockets: 5_000,
  roomSockets: 16,
  relayMs: 10_000,
  slowLoris: 500,
  silent: 200,
  pings: 100_000,
  garbageFrames: 50_000,
  timeoutMs: 5_000,
  messagesPerSecond: 20,
  messagesBurst: 60,
}

export const fullGates: LoadGates = {
  socketKibMax: 20,
  relayedPerSecondMin: 5_000,
  goneMsMax: 10_000,
  growthMibMax: 20,
}

const framesPerSocket = 5
const mib = 1_048_576
/** Connections that are being opened at the same time. */
const openingMax = 100

/** Throws when the server falls short of a gate, or a good peer is harmed. */
export async function soakSignalingLoad(
  size: LoadSize = fullLoad,
  gates: LoadGates = fullGates,
  seed = Math.floor(Math.random() * 1e9),
): Promise<Record<string, number>> {
  process.stderr.write(`signaling-load: seed ${seed}\n`)
  const server = await startMeasuredServer({
    socketsMax: size.sockets + size.slowLoris + size.silent + 1_000,
    roomsMax: size.sockets + 2_000,
    addressSocketsMax: 100_000,
    addressConnectsPerMinute: 1_000_000,
    headersTimeoutMs: size.timeoutMs,
    firstMessageTimeoutMs: size.timeoutMs,
    messagesPerSecond: size.messagesPerSecond,
    messagesBurst: size.messagesBurst,
    yWebrtcPath: '/y',
  })
  const peers: SoakPeer[] = []
  try {
    const figures: Record<string, number> = { seed, sockets: size.sockets }
    await warmUp(server)
    const empty = await server.measure()
    peers.push(...(await fillRooms(server, size)))
    const full = await server.measure()
    figures['socketKib'] = rounded((full.residentBytes - empty.residentBytes) / size.sockets / 1_024)
    figures['relayedPerSecond'] = Math.round(await relay(peers, size))
    figures['slowLorisGoneMs'] = Math.round(await slowLorisGoneMs(server, size.slowLoris))
    figures['silentGoneMs'] = Math.round(await silentGoneMs(server, size.silent))
    await slowReader(server, size)
    await pingFlood(server, size.pings)
    // The first garbage of all makes the heap as large as it will be; what follows must not make it larger.
    await garbage(server, Math.ceil(size.garbageFrames / 10), seed + 1)
    const before = await server.measure()
    await garbage(server, size.garbageFrames, seed)
    const after = await server.measure()
    figures['garbageFrames'] = size.garbageFrames
    figures['garbageGrowthMib'] = rounded((after.residentBytes - before.residentBytes) / mib)
    figures['garbageHeapGrowthMib'] = rounded((after.heapBytes - before.heapBytes) / mib)
    figures['residentMib'] = rounded(after.residentBytes / mib)
    if (!server.isAlive()) throw new Error('the server is gone')
    const lost = peers.filter(({ closeCode }) => closeCode !== undefined).length
    if (lost > 0) throw new Error(`${lost} peers that had done nothing wrong lost their sockets`)
    await canMeet(server, 'after-all')
    check(figures, 'socketKib', gates.socketKibMax, 'most')
    check(figures, 'relayedPerSecond', gates.relayedPerSecondMin, 'least')
    check(figures, 'slowLorisGoneMs', gates.goneMsMax, 'most')
    check(figures, 'silentGoneMs', gates.goneMsMax, 'most')
    check(figures, 'garbageGrowthMib', gates.growthMibMax, 'most')
    check(figures, 'garbageHeapGrowthMib', gates.growthMibMax, 'most')
    return figures
  } finally {
    for (const { socket } of peers) socket.terminate()
    await server.stop()
  }
}

/** So that code which runs for the first time is not counted as memory of the sockets. */
async function warmUp(server: MeasuredServer): Promise<void> {
  const peers = await inParallel(200, async (at) => {
    const { peer } = await SoakPeer.join(server.url, `warm-${at % 20}`, `peer-${at}`)
    peer.say({ type: 'signal', to: soakId(`peer-${at}`), data: 'x' })
    await peer.expect('signal')
    return peer
  })
  for (const peer of peers) peer.close()
  await Promise.all(peers.map(({ closed }) => closed))
}

async function fillRooms({ url }: MeasuredServer, { sockets, roomSockets }: LoadSize): Promise<SoakPeer[]> {
  return inParallel(sockets, async (at) => {
    const { peer } = await SoakPeer.join(url, `room-${Math.floor(at / roomSockets)}`, `peer-${at}`)
    // Only counted from here on.
    peer.onText = () => undefined
    return peer
  })
}

/** Everybody passes a message on to the next of the room as soon as one comes, as fast as the server relays. */
async function relay(peers: readonly SoakPeer[], { roomSockets, relayMs }: LoadSize): Promise<number> {
  let received = 0
  const data = 'x'.repeat(200)
  for (const [at, peer] of peers.entries()) {
    const first = Math.floor(at / roomSockets) * roomSockets
    const inRoom = Math.min(roomSockets, peers.length - first)
    const next = first + ((at - first + 1) % inRoom)
    const text = JSON.stringify({ type: 'signal', to: soakId(`peer-${next}`), data })
    peer.onText = (heard) => {
      if (!heard.startsWith('{"type":"signal"')) return
      received += 1
      peer.socket.send(text)
    }
    peer.socket.send(text)
  }
  // The first messages of all at once are no steady state.
  await passed(relayMs / 5)
  const startedAt = performance.now()
  const receivedBefore = received
  await passed(relayMs)
  const perSecond = ((received - receivedBefore) / (performance.now() - startedAt)) * 1_000
  for (const peer of peers) peer.onText = () => undefined
  if (received === receivedBefore) throw new Error('nothing was relayed')
  return perSecond
}

/** How long the longest-lived of many connections held that send their headers a letter at a time, or nothing at all. */
async function slowLorisGoneMs(server: MeasuredServer, count: number): Promise<number> {
  const lives = await inParallel(count, async (at) => {
    const socket = await openTcp(server.port)
    const life = lifeOf(socket)
    if (at % 2 === 0) {
      socket.write('GET / HTTP/1.1\r\nHost: localhost\r\nX-Slow: ')
      const trickle = setInterval(() => socket.write('x'), 500)
      socket.once('close', () => clearInterval(trickle))
    }
    return { life }
  })
  const [longest] = await Promise.all([Promise.all(lives.map(({ life }) => life)), canMeet(server, 'beside-loris')])
  return Math.max(...longest)
}

/** The same of WebSockets that never say hello, half of them on the y-webrtc path. */
async function silentGoneMs(server: MeasuredServer, count: number): Promise<number> {
  const lives = await inParallel(count, async (at) => {
    const socket = await openTcp(server.port)
    const life = lifeOf(socket)
    socket.write(at % 2 === 0 ? upgradeRequest('/', 'wepaxos.signal.v1') : upgradeRequest('/y', undefined))
    return { life }
  })
  const [longest] = await Promise.all([Promise.all(lives.map(({ life }) => life)), canMeet(server, 'beside-silent')])
  return Math.max(...longest)
}

/** One does not read while its whole room talks to it: it goes, they stay, and so does the memory. */
async function slowReader(server: MeasuredServer, { messagesBurst }: LoadSize): Promise<void> {
  const before = await server.measure()
  const { peer: reader } = await SoakPeer.join(server.url, 'slow-reader', 'reader')
  const senders = await inParallel(31, async (at) => {
    return (await SoakPeer.join(server.url, 'slow-reader', `sender-${at}`)).peer
  })
  reader.socket.pause()
  const text = JSON.stringify({ type: 'signal', to: soakId('reader'), data: 'x'.repeat(15_000) })
  const left = senders.map((sender) => sender.expect('peer-left', ({ id }) => id === soakId('reader')))
  const messages = Math.min(50, messagesBurst - 2)
  for (const { socket } of senders) for (let sent = 0; sent < messages; sent++) socket.send(text)
  await Promise.all(left)
  const after = await server.measure()
  const grownMib = (after.residentBytes - before.residentBytes) / mib
  if (grownMib > 64) throw new Error(`a slow reader cost the server ${grownMib} MiB`)
  for (const sender of senders) {
    if (sender.closeCode !== undefined) throw new Error("a slow reader's neighbor lost its socket")
    sender.close()
  }
  reader.socket.terminate()
  await Promise.all(senders.map(({ closed }) => closed))
}

/** Pings of the WebSocket itself are counted like messages: the flood ends, others are served meanwhile. */
async function pingFlood(server: MeasuredServer, pings: number): Promise<void> {
  const { peer } = await SoakPeer.join(server.url, 'flood', 'flooder')
  for (let sent = 0; sent < pings && peer.closeCode === undefined; sent++) {
    if (peer.socket.readyState !== peer.socket.OPEN) break
    peer.socket.ping()
    if (sent % 1_000 === 0) await new Promise(setImmediate)
  }
  const [code] = await Promise.all([Promise.race([peer.closed, passed(10_000)]), canMeet(server, 'beside-flood')])
  if (code !== 4429) throw new Error(`a flood of pings was closed with ${code ?? 'nothing'}, not 4429`)
}

async function garbage(server: MeasuredServer, frames: number, seed: number): Promise<void> {
  const random = seededRandom(seed)
  const sockets = Math.ceil(frames / framesPerSocket)
  await inParallel(sockets, async (at) => {
    // Each from another address of loopback, so that ports do not run out.
    const socket = await openTcp(server.port, `127.0.0.${2 + (at % 200)}`)
    const isWire = at % 3 !== 0
    const request = isWire ? upgradeRequest('/', 'wepaxos.signal.v1') : upgradeRequest('/y', undefined)
    const count = Math.min(framesPerSocket, frames - at * framesPerSocket)
    const ended = lifeOf(socket)
    // What the server leaves open (frames that were no garbage, or that wait for more) is ended from here.
    socket.once('data', () => setTimeout(() => socket.destroy(), 200))
    socket.write(request)
    socket.write(garbageFrames(random, count, soakId('garbage'), soakId(`garbage-${at % 20}`)))
    const outcome = await Promise.race([ended, passed(60_000)])
    if (outcome === undefined) throw new Error('a socket with garbage was neither answered nor closed')
  })
}

/** Two honest newcomers are served as if nothing was. */
async function canMeet({ url }: MeasuredServer, room: string): Promise<void> {
  const { peer: first } = await SoakPeer.join(url, room, 'first')
  const { peer: second } = await SoakPeer.join(url, room, 'second')
  second.say({ type: 'signal', to: soakId('first'), data: 'hello' })
  await first.expect('signal')
  first.close()
  second.close()
  await Promise.all([first.closed, second.closed])
}

function openTcp(port: number, localAddress?: string): Promise<Socket> {
  const socket = connect({ port, host: '127.0.0.1', ...(localAddress === undefined ? {} : { localAddress }) })
  return new Promise((resolve, reject) => {
    socket.once('connect', () => resolve(socket))
    socket.once('error', reject)
  })
}

/** How long until it is closed, in milliseconds. */
function lifeOf(socket: Socket): Promise<number> {
  const openedAt = performance.now()
  socket.on('error', () => undefined)
  socket.resume()
  return new Promise((resolve) => socket.once('close', () => resolve(performance.now() - openedAt)))
}

async function inParallel<Result>(count: number, run: (at: number) => Promise<Result>): Promise<Result[]> {
  const results: Result[] = []
  let next = 0
  const worker = async () => {
    for (let at = next++; at < count; at = next++) results[at] = await run(at)
  }
  await Promise.all(Array.from({ length: Math.min(openingMax, count) }, worker))
  return results
}

function passed(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}

function check(figures: Record<string, number>, name: string, gate: number | undefined, kind: 'least' | 'most'): void {
  const figure = figures[name] ?? Number.NaN
  if (gate === undefined) return
  if (kind === 'most' ? figure <= gate : figure >= gate) return
  throw new Error(`${name} is ${figure}; expected at ${kind} ${gate}. All figures: ${JSON.stringify(figures)}`)
}

function rounded(value: number): number {
  return Math.round(value * 10) / 10
}
