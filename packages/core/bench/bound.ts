// What no implementation of the protocol can do without, and nothing else: a lower bound to hold the core against. Three
// replicas (or any number) that agree on each command on the fast path:
//
// - the command is encoded, its PreAccept is encoded into one chunk a link, the frames pass through the same memory network
//   with the same scheduling, and are decoded, all with the codec that ships; what is ready shares a frame;
// - each replica looks up and raises the watermarks of the key, puts the instance into its log, answers with the deps;
// - with a fast quorum of answers the coordinator decodes the command, writes its map, answers the caller, and says so in
//   as few bytes as can be, for the others have the command and deps already.
//
// Left out: every check of what comes in, ballots, recovery and what it needs to know, records on a disk, epochs, sessions,
// the executor (it runs commands in the order in which they are committed, which is right only as long as replicas do not
// write each other's keys), versions and the checks of values, a state machine that is not built in.
import { Reader, Writer } from '../src/codec/bytes.ts'
import { readFrameHead, readMessage, writeFrameHead, writeMessage } from '../src/codec/message.ts'
import { readValue, writeValue } from '../src/codec/value.ts'
import { hashString } from '../src/lib/hash.ts'
import { sha256Hex } from '../src/lib/sha256.ts'
import type { Value } from '../src/lib/value.ts'
import type { ApplicationCommand } from '../src/protocol/command.ts'
import { type Deps, noDeps } from '../src/protocol/deps.ts'
import { type InstanceId, type ReplicaId, replicaIdFromBytes } from '../src/protocol/ids.ts'
import { instanceKey } from '../src/protocol/instance.ts'
import { quorumsOf } from '../src/protocol/quorum.ts'
import type { Channel } from '../src/runtime/transport.ts'
import { CountedNetwork } from './counted-network.ts'
import type { Load, Subject } from './load.ts'

const epoch = 1
/** The log is dropped as often as the core drops its own. */
const epochCommands = 10_000

interface Entry {
  readonly command: ApplicationCommand
  readonly deps: Deps
  /** Answers so far, the coordinator's own among them; at the others 0. */
  answers: number
  committed: boolean
  readonly answered: (() => void) | undefined
}

interface Link {
  readonly to: ReplicaId
  readonly writer: Writer
}

class BoundReplica {
  readonly map = new Map<string, Value>()
  executed = 0
  readonly #voters: readonly ReplicaId[]
  readonly #row: number
  readonly #self: ReplicaId
  readonly #fastQuorum: number
  /** Of the present epoch and of the one before, whose last instances are still under way. */
  #log = new Map<number, Entry>()
  #oldLog = new Map<number, Entry>()
  readonly #watermarks = new Map<number, number[]>()
  readonly #links: readonly Link[]
  readonly #linkOf: ReadonlyMap<ReplicaId, Link>
  readonly #channel: Channel
  readonly #scratch = new Writer()
  #nextSeq = 1
  #flushing = false

  constructor(voters: readonly ReplicaId[], row: number, network: CountedNetwork) {
    const self = voters[row]
    if (self === undefined) throw new Error(`there is no voter in row ${row}`)
    this.#voters = voters
    this.#row = row
    this.#self = self
    this.#fastQuorum = quorumsOf(voters.length).fast
    this.#links = voters.filter((id) => id !== self).map((to) => ({ to, writer: new Writer() }))
    this.#linkOf = new Map(this.#links.map((link) => [link.to, link]))
    this.#channel = network.transport(`bound${row}`).attach({
      partition: 'bound',
      replica: self,
      onConnected() {},
      onDisconnected() {},
      onFrame: (from, frame) => this.#receive(from, frame),
    })
  }

  set(key: string, value: string, answered: () => void): void {
    const scratch = this.#scratch
    scratch.reset()
    scratch.string('set')
    writeValue(scratch, [key, value])
    const id = { row: this.#row, seq: this.#nextSeq++ }
    const keyHash = hashString(key)
    const command: ApplicationCommand = {
      kind: 'application',
      proposals: [
        {
          session: this.#self,
          number: id.seq,
          ackedUpTo: id.seq - 1,
          footprint: [{ key: keyHash, mode: 'write' }],
          payload: scratch.finish(),
        },
      ],
    }
    const deps = this.#depsOf(keyHash, id)
    this.#put(id, { command, deps, answers: 1, committed: false, answered })
    for (const { writer } of this.#links) {
      writeMessage(this.#open(writer), { type: 'PreAccept', id, command, deps }, this.#voters)
    }
    this.#flushSoon()
  }

  close(): void {
    this.#channel.close()
  }

  #put(id: InstanceId, entry: Entry): void {
    if (this.#log.size >= epochCommands) {
      this.#oldLog = this.#log
      this.#log = new Map()
    }
    this.#log.set(instanceKey(id), entry)
  }

  #get(id: InstanceId): Entry | undefined {
    const key = instanceKey(id)
    return this.#log.get(key) ?? this.#oldLog.get(key)
  }

  /** What the key was written by, up to now; from now on by `id` too. */
  #depsOf(keyHash: number, id: InstanceId): Deps {
    const watermarks = this.#watermarks.get(keyHash)
    if (watermarks === undefined) {
      const first = noDeps(this.#voters.length)
      first[id.row] = id.seq
      this.#watermarks.set(keyHash, first)
      return noDeps(this.#voters.length)
    }
    const deps = watermarks.slice()
    if (id.seq > (watermarks[id.row] ?? 0)) watermarks[id.row] = id.seq
    return deps
  }

  #receive(from: ReplicaId, frame: Uint8Array): void {
    const reader = new Reader(frame)
    readFrameHead(reader)
    const link = this.#linkOf.get(from)
    if (link === undefined) return
    while (reader.remaining > 0) {
      const message = readMessage(reader, this.#voters)
      switch (message.type) {
        case 'PreAccept': {
          const { id, command } = message
          if (command.kind !== 'application') break
          const [proposal] = command.proposals
          const [access] = proposal?.footprint === 'everything' ? [] : (proposal?.footprint ?? [])
          if (access === undefined) break
          const deps = this.#depsOf(access.key, id).map((seq, row) => Math.max(seq, message.deps[row] ?? 0))
          this.#put(id, { command, deps, answers: 0, committed: false, answered: undefined })
          writeMessage(this.#open(link.writer), { type: 'PreAcceptOk', id, deps }, this.#voters)
          break
        }
        case 'PreAcceptOk': {
          const entry = this.#get(message.id)
          if (entry === undefined || ++entry.answers !== this.#fastQuorum) break
          this.#commit(entry)
          for (const { writer } of this.#links) {
            writeMessage(this.#open(writer), { type: 'ShortCommit', id: message.id, value: 'initial' }, this.#voters)
          }
          break
        }
        case 'ShortCommit': {
          const entry = this.#get(message.id)
          if (entry !== undefined) this.#commit(entry)
          break
        }
        default:
          throw new Error(`nobody here says ${message.type}`)
      }
    }
    this.#flushSoon()
  }

  #commit(entry: Entry): void {
    entry.committed = true
    for (const { payload } of entry.command.proposals) {
      const reader = new Reader(payload)
      reader.string()
      const args = readValue(reader)
      if (!Array.isArray(args)) throw new Error('the arguments are a list')
      this.map.set(args[0], args[1])
      this.executed++
    }
    entry.answered?.()
  }

  #open(writer: Writer): Writer {
    if (writer.length === 0) writeFrameHead(writer, { epoch, writes: 0 })
    return writer
  }

  /** After what is ready: frames that arrived already, and calls that follow from them. */
  #flushSoon(): void {
    if (this.#flushing) return
    this.#flushing = true
    queueMicrotask(() => this.#flush())
  }

  #flush(): void {
    this.#flushing = false
    for (const { to, writer } of this.#links) {
      if (writer.length === 0) continue
      this.#channel.send(to, writer.finish())
      writer.reset()
    }
  }
}

export async function openBound({ replicas, conflictPercent }: Load): Promise<Subject> {
  if (replicas < 3 || conflictPercent > 0) throw new Error('the bound loop knows the fast path only')
  const network = new CountedNetwork()
  const voters = Array.from({ length: replicas }, (_, row) => replicaIdFromBytes(new Uint8Array(16).fill(row + 1)))
  const cluster = voters.map((_, row) => new BoundReplica(voters, row, network))
  // the network tells its ends of each other in a microtask
  await new Promise((resolve) => setImmediate(resolve))
  return {
    set: (at, key, value, answered) => cluster[at]?.set(key, value, answered),
    states: () => cluster.map(({ map }) => sha256Hex(new TextEncoder().encode(JSON.stringify([...map].sort())))),
    executed: () => cluster.map(({ executed }) => executed),
    takeTraffic: () => network.takeTraffic(),
    close: async () => {
      for (const replica of cluster) replica.close()
    },
  }
}
