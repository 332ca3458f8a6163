// Attempts of a hostile signaling server to get between the pages of a room, or into it, one fresh room each. Counts what
// it reached, which has to be nothing, and that the pages find each other as soon as it behaves.
import type { Channel } from '@wepaxos/core'
import { createRandom } from '../../core/src/lib/random.ts'
import { deriveRoomKeys, parseInvite, readerInvite } from '../src/invite.ts'
import type { Room } from '../src/room.ts'
import { type Attack, attacks, EvilSignaling } from './evil-signaling.ts'
import { ManInTheMiddle } from './man-in-the-middle.ts'
import { createReplica, silent, type TestReplica } from './replicas.ts'
import { createWorld, isMesh } from './room-world.ts'

const attackMs = 8_000
/** What the pages tell each other, and nobody else is to see. */
const secretText = 'the state of this room, which is nobody’s business'

/** One way of attack a round, in turn, and all of them at once but the middle, which leaves nothing for the others. */
const mixes: readonly (readonly Attack[])[] = [
  ...attacks.map((attack) => [attack]),
  attacks.filter((attack) => attack !== 'middle'),
]

/**
 * Runs `rounds` attempts. Throws at the first that reached anything, or after which the pages do not connect, naming its
 * seed: `soakAttacks(1, seed)` repeats it, up to the keys, which no seed determines.
 */
export async function soakAttacks(
  rounds: number,
  firstSeed = Math.floor(Math.random() * 1e9),
): Promise<Record<string, number>> {
  const totals: Record<string, number> = {
    firstSeed,
    wrongConnections: 0,
    stateBytesOut: 0,
    middleLinks: 0,
    reconnected: 0,
  }
  const add = (name: string, count: number) => {
    totals[name] = (totals[name] ?? 0) + count
  }
  for (let seed = firstSeed; seed < firstSeed + rounds; seed += 1) {
    try {
      for (const [name, count] of Object.entries(await attempt(seed))) add(name, count)
    } catch (error) {
      throw new Error(`the attack with seed ${seed} (${mixOf(seed).join(', ')})`, { cause: error })
    }
  }
  return totals
}

function mixOf(seed: number): readonly Attack[] {
  return mixes[seed % mixes.length] ?? []
}

async function attempt(seed: number): Promise<Readonly<Record<string, number>>> {
  const kinds = mixOf(seed)
  const evil = new EvilSignaling(createRandom(seed))
  const world = createWorld(evil, seed)
  try {
    // Little patience, so that there is much to attack.
    const connectTimeoutMs = 1_000
    const founder = await world.join({ connectTimeoutMs })
    const { invite, room } = founder
    if (kinds.includes('replay')) {
      const other = await world.join({ invite, connectTimeoutMs })
      await world.until(() => isMesh([founder, other]), 'they were connected the day before')
      const closing = other.close()
      await world.clock.advance(100)
      await closing
      evil.dayEnds()
    }
    const keys = await deriveRoomKeys(await readerInvite(parseInvite(invite)))
    const middle = new ManInTheMiddle(keys, world.links.createLink, (to, from, data) => evil.inject(to, from, data))
    await evil.misbehave(kinds, room, middle)

    const rooms = [founder, ...(await Promise.all([0, 1].map(() => world.join({ invite, connectTimeoutMs }))))]
    const heard = rooms.map(() => 0)
    const replicas = await Promise.all(rooms.map(createReplica))
    const channels = rooms.flatMap((one, index) => {
      const replica = replicas[index]
      return replica === undefined ? [] : [talk(one, replica, () => (heard[index] = (heard[index] ?? 0) + 1))]
    })
    let wrongConnections = 0
    const judge = () => {
      wrongConnections += rooms.reduce((sum, one) => sum + wrongPeers(one, rooms), 0)
    }
    for (const one of rooms) one.addEventListener('peers', judge)
    for (let passedMs = 0; passedMs < attackMs; passedMs += 500) {
      // Links that are open need no server: it gets its chance when they break.
      for (const one of rooms) one.faults.breakLinks()
      if (passedMs % 2_000 === 0) for (const one of rooms) await evil.intrude(one.self)
      await world.clock.advance(500)
      judge()
    }
    if (middle.opened === 0 && kinds.includes('middle'))
      throw new Error('the middle got no link open: it proves nothing')
    const stateBytesOut = middle.stolenFrames + (evil.seenText.includes(secretText) ? secretText.length : 0)
    if (wrongConnections + stateBytesOut > 0) {
      throw new Error(`${wrongConnections} wrong connections, ${stateBytesOut} frames or bytes out`)
    }

    evil.behave()
    await world.until(() => isMesh(rooms), 'all are connected once the server behaves')
    const before = [...heard]
    for (const channel of channels) channel()
    await world.until(() => heard.every((count, index) => count >= (before[index] ?? 0) + 2), 'all hear the others')
    judge()
    if (wrongConnections > 0) throw new Error('a wrong connection after the attack')
    const refused = rooms.flatMap((one) => Object.values(one.refused)).reduce((sum, count) => sum + count, 0)
    return { wrongConnections, stateBytesOut, middleLinks: middle.opened, reconnected: 1, refused, ...evil.done }
  } finally {
    await world.close()
  }
}

/** Tells everybody who comes, and again when it is called. */
function talk(room: Room, replica: TestReplica, onFrame: () => void): () => void {
  const peers = new Set<Parameters<Channel['send']>[0]>()
  const frame = new TextEncoder().encode(secretText)
  const channel = room.attach({
    ...silent(replica),
    onConnected: (peer) => {
      peers.add(peer)
      channel.send(peer, frame)
    },
    onDisconnected: (peer) => peers.delete(peer),
    onFrame,
  })
  return () => {
    for (const peer of peers) channel.send(peer, frame)
  }
}

/** Open peers that are none of the rooms, or that are taken for another one than they are. */
function wrongPeers(room: Room, rooms: readonly Room[]): number {
  return room.peers.filter(({ id, state, identity, role }) => {
    if (state !== 'open') return false
    const real = rooms.find(({ self }) => self === id)
    return real === undefined || real.identity !== identity || real.role !== role
  }).length
}
