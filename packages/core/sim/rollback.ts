// One story of a disk that comes back other than it was left, from one seed: three replicas under load, one of them dies, its
// disk is set back to an older copy, damaged or emptied, and it is opened again. It has to be noticed before the replica says
// anything in an epoch, nothing that was answered may be lost or happen twice, and all three have to end in one state.
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

const ways = ['an older copy', ...diskDamages] as const

export interface RollbackReport {
  readonly way: (typeof ways)[number]
  /** How many writes the older copy lacked; 0 for the other ways. */
  readonly writesBack: number
  readonly answered: number
}

/** Throws where something was not noticed, lost, or done twice. */
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
  const imageAt = dice.integer(rounds)
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
    dice
      .shuffle(ways)
      .find((one) => isDone(() => (one === 'an older copy' ? disk.restore(0, kept) : disk.damage(0, one)))),
    'there is something to damage',
  )
  const said = new Said(c.id)
  const anew = await stage.open('c', {
    storage: new FaultyPage(disk),
    transport: said.listening(stage.network.transport('c', false)),
  })
  for (let more = dice.integer(10); more > 0; more--) {
    load.call([a, b])
    await stage.pass(dice.next() * 20)
  }
  await stage.until(() => anew.id !== c.id && anew.status.kind === 'ready', 120_000)
  if (said.frames > 0) throw new Error(`seed ${seed}: ${way}: the old id said ${said.frames} frames in an epoch`)
  await stage.until(() => votersOf(a).includes(anew.id) && !votersOf(a).includes(c.id), 120_000)
  load.call([a, b, anew])
  await stage.until(() => load.settled([a, b, anew]) && agree([a, b, anew]), 120_000)
  load.judge(seed, a)
  const writesBack = way === 'an older copy' ? before - imageWrites : 0
  return { way, writesBack, answered: load.answered }
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
      if (this.#dice.chance(0.3)) continue
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
