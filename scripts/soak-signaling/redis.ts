// `soak redis`: two processes of the signaling server over a real Redis server. Peers on different processes meet and hear
// each other; those of a process that is killed vanish, and come back with their tokens.
import { ensureRedisServer, startRedis } from '../../signaling-server/testing/redis-server.ts'
import { type ServerProcess, startServerProcess } from '../../signaling-server/testing/server-process.ts'
import { SoakPeer, soakId } from '../../signaling-server/testing/soak-peer.ts'

const processTimeoutMs = 2_000
/** How much later than the timeout a killed process's peers may still be there: a heartbeat, and a busy machine. */
const slackMs = 3_000

/** Each round kills one of the two processes. Throws when peers do not meet, or the killed ones stay. */
export async function soakRedis(rounds = 5, pairs = 20): Promise<Record<string, number>> {
  const redis = await startRedis(ensureRedisServer())
  const flags = [
    ['--redis-url', redis.url],
    ['--redis-process-timeout-ms', String(processTimeoutMs)],
    ['--address-sockets-max', '10000'],
    ['--address-connects-per-minute', '100000'],
  ].flat()
  const running: ServerProcess[] = []
  const start = async () => {
    const server = await startServerProcess(flags)
    running.push(server)
    return server
  }
  const meetMs: number[] = []
  const signalMs: number[] = []
  const vanishMs: number[] = []
  try {
    let [east, west] = [await start(), await start()]
    for (let round = 0; round < rounds; round++) {
      const met = await Promise.all(
        Array.from({ length: pairs }, (_, at) => meet(east, west, `round-${round}-${at}`, meetMs, signalMs)),
      )
      const killedAt = performance.now()
      const gone = met.map(async ({ survivor, room }) => {
        const { reason } = await survivor.expect('peer-left', ({ id }) => id === soakId('west'))
        if (reason !== 'gone') throw new Error(`${room}: the peer of a killed process left as ${reason}`)
        vanishMs.push(performance.now() - killedAt)
      })
      west.kill('SIGKILL')
      await west.ended
      await Promise.all(gone)
      // Half of them come back to the process that is left, half to a new one.
      const fresh = await start()
      await Promise.all(
        met.map(async ({ survivor, room, resume }, at) => {
          const { url } = at % 2 === 0 ? east : fresh
          const { peer, welcome } = await SoakPeer.join(url, room, 'west', { resume })
          if (!welcome.peers.some((id) => id === soakId('east'))) throw new Error(`${room}: nobody there on return`)
          await survivor.expect('peer-joined', ({ id }) => id === soakId('west'))
          for (const one of [peer, survivor]) one.close()
          await Promise.all([peer.closed, survivor.closed])
        }),
      )
      // The older one is the next to be killed.
      ;[east, west] = [fresh, east]
    }
  } finally {
    for (const server of running) server.kill('SIGKILL')
    await Promise.all(running.map(({ ended }) => ended))
    await redis.stop()
  }
  const slowest = Math.max(...vanishMs)
  if (slowest > processTimeoutMs + slackMs) {
    throw new Error(`the peers of a killed process were there for another ${slowest} ms`)
  }
  return {
    kills: rounds,
    pairs: meetMs.length,
    meetMsMedian: median(meetMs),
    signalMsMedian: median(signalMs),
    vanishMsMedian: median(vanishMs),
    vanishMsMax: Math.round(slowest),
  }
}

/** One peer on each process, in one room: they hear of each other, and then from each other, in order. */
async function meet(east: ServerProcess, west: ServerProcess, room: string, meetMs: number[], signalMs: number[]) {
  const { peer: survivor } = await SoakPeer.join(east.url, room, 'east')
  const startedAt = performance.now()
  const { peer, welcome } = await SoakPeer.join(west.url, room, 'west')
  await survivor.expect('peer-joined', ({ id }) => id === soakId('west'))
  meetMs.push(performance.now() - startedAt)
  if (!welcome.peers.some((id) => id === soakId('east'))) throw new Error(`${room}: the welcome names nobody`)
  for (let sent = 0; sent < 10; sent++) {
    const saidAt = performance.now()
    survivor.say({ type: 'signal', to: soakId('west'), data: `ping ${sent}` })
    const ping = await peer.expect('signal')
    peer.say({ type: 'signal', to: soakId('east'), data: `pong ${sent}` })
    const pong = await survivor.expect('signal')
    signalMs.push((performance.now() - saidAt) / 2)
    if (ping.data !== `ping ${sent}` || pong.data !== `pong ${sent}`) throw new Error(`${room}: signals out of order`)
  }
  return { room, survivor, resume: welcome.resume }
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((left, right) => left - right)
  return Math.round((sorted[Math.floor(sorted.length / 2)] ?? Number.NaN) * 10) / 10
}
