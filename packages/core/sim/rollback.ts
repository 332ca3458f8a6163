// One story of a disk that comes back other than it was left, from one seed: three replicas under load, one of them dies, its
// disk is set back to an older copy, damaged or emptied, and it is opened again. It has to be noticed before the replica says
// anything in an epoch, nothing that was answered may be lost or happen twice, and all three have to end in one state. An older
// disk may be opened while nobody can be reached, and written to, before the others see it: it is to be noticed all the same. A
// disk that is as it was left may be opened alone too, and nothing is to be noticed.
import { Reader } from '../src/codec/bytes.ts'
import { controlEpoch, readFrameHead } from '../src/codec/message.ts'
import { must } from '../src/lib/assert.ts'
import { createRandom, type Random } from '../src/lib/random.ts'
import type { ReplicaId } from '../src/protocol/ids.ts'
import type { Transport } from '../src/runtime/transport.ts'
import { diskDamages } from '../testing/disk-records.ts'
import { type DiskImage, FaultyDisk } from '../testing/faulty-disk.ts'
import { FaultyPage } from '../testing/faulty-page.ts'
import { agree, type KvReplica, Stage } from './stage.ts'

const ways = [
  'an older copy',
  'an older copy, opened alone first',
  'as it was left, opened alone first',
  ...diskDamages,
] as const
type Way = (typeof ways)[number]

export interface RollbackReport {
  readonly way: Way
  /** How many writes the older copy lacked; 0 for the other ways. */
  readonly writesBack: number
  readonly answered: number
}

/** Throws where something was not noticed, or noticed although it is not so, lost, or done twice. */
export async function rollbackRound(seed: number): Promise<RollbackReport> {
  const dice = createRandom(seed)
  const stage = new Stage(seed)
  const disk = new FaultyDisk({ seed, later: (task) => stage.world.at(dice.next() * 2, task) })
  const page = new FaultyPage(disk)
  const a = await stage.open('a')
  const b = await stage.open('b')
  const c = await stage.open('c', { storage: page })
  await stage.until(() => [a, b, c].every((one) => one.status.kind === 'ready' && votersOf(one).length === 3))

  const load = new Load(dice)
  let image: DiskImage | null = null
  let imageWrites = 0
  const rounds = 10 + dice.integer(30)
  // a late copy lacks so few writes that those made alone outnumber them
  const imageAt = dice.chance(0.5) ? dice.integer(rounds) : rounds - 1
  for (let round = 0; round < rounds; round++) {
    load.call([a, b, c])
    await stage.pass(dice.next() * 20)
    if (dice.chance(0.05)) a.checkpoint().catch(() => {}) // superseded by another, perhaps
    if (round === imageAt) {
      image = disk.keep(0)
      imageWrites = c.stats().storage.writes
    }
  }
  // somebody has to have heard of a later write: an answer or a heartbeat says how many there are
  await stage.when(c.mutate.increment('after the copy').done)
  await stage.pass(600)
  const before = c.stats().storage.writes
  load.call([a, b, c])
  await stage.pass(dice.next() * 3)
  stage.kill('c')
  page.die()
  for (let more = dice.integer(10); more > 0; more--) {
    load.call([a, b])
    await stage.pass(dice.next() * 20)
  }

  const kept = must(image, 'a copy was kept')
  // right after an epoch has ended there is not every kind of record to damage
  const way = must(
    dice.shuffle(ways).find((one) => isDone(() => tamper(disk, one, kept))),
    'there is something to damage',
  )
  const said = new Said(c.id)
  const open = (storage: FaultyPage) =>
    stage.open('c', { storage, transport: said.listening(stage.network.transport('c', false)) })
  if (way.endsWith('opened alone first')) {
    for (const other of ['a', 'b']) stage.network.cut('c', other)
    for (let reloads = dice.chance(0.3) ? 2 + dice.integer(3) : 1; reloads > 0; reloads--) {
      const alonePage = new FaultyPage(disk)
      const alone = await open(alonePage)
      for (let commands = 1 + dice.integer(40); commands > 0; commands--) {
        load.propose(alone)
        await stage.pass(dice.next() * 150) // so that many have a write of their own
      }
      if (dice.chance(0.5)) await stage.when(alone.close())
      stage.kill('c')
      alonePage.die()
    }
    for (const other of ['a', 'b']) stage.network.mend('c', other)
  }
  const anew = await open(new FaultyPage(disk))
  for (let more = dice.integer(10); more > 0; more--) {
    load.call([a, b])
    await stage.pass(dice.next() * 20)
  }
  if (way === 'as it was left, opened alone first') {
    await stage.until(() => anew.status.kind === 'ready', 120_000)
    await stage.pass(1_000)
    if (anew.id !== c.id) throw new Error(`seed ${seed}: ${way}: taken for an older disk`)
  } else {
    await stage.until(() => anew.id !== c.id && anew.status.kind === 'ready', 120_000)
    if (said.frames > 0) throw new Error(`seed ${seed}: ${way}: the old id said ${said.frames} frames in an epoch`)
    await stage.until(() => votersOf(a).includes(anew.id) && !votersOf(a).includes(c.id), 120_000)
  }
  load.call([a, b, anew])
  await stage.until(() => load.settled([a, b, anew]) && agree([a, b, anew]), 120_000)
  load.judge(seed, a)
  const writesBack = way.startsWith('an older copy') ? before - imageWrites : 0
  return { way, writesBack, answered: load.answered }
}

function tamper(disk: FaultyDisk, way: Way, kept: DiskImage): void {
  switch (way) {
    case 'an older copy':
    case 'an older copy, opened alone first':
      disk.restore(0, kept)
      break
    case 'as it was left, opened alone first':
      break
    default:
      disk.damage(0, way)
  }
}

function isDone(act: () => void): boolean {
  try {
    act()
    return true
  } catch {
    return false
  }
}

function votersOf(replica: KvReplica): readonly ReplicaId[] {
  return replica.members.filter(({ role }) => role === 'voter').map(({ id }) => id as ReplicaId)
}

/** Increments of two counters, by whoever is asked, and what they were answered. */
class Load {
  readonly #dice: Random
  readonly #answers = new Map<string, number[]>()
  #called = 0

  constructor(dice: Random) {
    this.#dice = dice
  }

  get answered(): number {
    return [...this.#answers.values()].reduce((sum, values) => sum + values.length, 0)
  }

  call(replicas: readonly KvReplica[]): void {
    for (const replica of replicas) {
      if (!this.#dice.chance(0.3)) this.propose(replica)
    }
  }

  propose(replica: KvReplica): void {
    const key = this.#dice.pick(['x', 'y'])
    this.#called++
    replica.mutate.increment(key).done.then(
      (result) => {
        if (!result.ok) return
        const values = this.#answers.get(key) ?? []
        values.push(Number(result.value))
        this.#answers.set(key, values)
      },
      () => {}, // its replica died, or lost its disk: unknown
    )
  }

  settled(replicas: readonly KvReplica[]): boolean {
    return replicas.every((replica) => replica.stats().pending === 0)
  }

  /** Every increment answers with another value, and the counter holds them all, and no more than were called. */
  judge(seed: number, replica: KvReplica): void {
    let total = 0
    for (const [key, values] of this.#answers) {
      const now = Number(replica.view.committed.get(key) ?? 0)
      total += now
      if (new Set(values).size !== values.length)
        throw new Error(`seed ${seed}: two increments of ${key} gave the same`)
      if (Math.max(...values) > now) throw new Error(`seed ${seed}: an answered increment of ${key} is lost`)
    }
    if (total > this.#called) throw new Error(`seed ${seed}: ${total} increments happened, ${this.#called} were called`)
  }
}

/** What a replica says in epochs, counted. */
class Said {
  readonly #id: ReplicaId
  frames = 0

  constructor(id: string) {
    this.#id = id as ReplicaId
  }

  listening(transport: Transport): Transport {
    return {
      ...transport,
      attach: (endpoint) => {
        const channel = transport.attach(endpoint)
        return {
          ...channel,
          send: (to, frame, priority) => {
            if (endpoint.replica === this.#id && readFrameHead(new Reader(frame)).epoch !== controlEpoch) this.frames++
            channel.send(to, frame, priority)
          },
        }
      },
    }
  }
}
