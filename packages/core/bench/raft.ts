// A yardstick with the same promise but with a leader: the raft core of @coaty/consensus.raft, which is etcd's in
// TypeScript. As many of its RawNodes on its own memory storage; all calls are made at the leader, as if everybody knew it.
// An entry is the command as JSON, like the messages: so the package itself sends and measures them. What one node has
// ready for another shares a frame, as with the others here. Each node applies entries to a map; a command counts as
// answered when the leader has applied it.
//
// Left out: ticks, and with them heartbeats and elections but the first, for nothing is ever lost here; sessions, so that a
// command that is said twice would be executed twice; snapshots (the log is cut as often as the core cuts its own).
import Module, { createRequire } from 'node:module'
import type { Ready } from '@coaty/consensus.raft/ported/node'
import type { Message } from '@coaty/consensus.raft/ported/raftpb/raft.pb'
import type { RawNode } from '@coaty/consensus.raft/ported/rawnode'
import type { MemoryStorage } from '@coaty/consensus.raft/ported/storage'
import { type ReplicaId, replicaIdFromBytes } from '../src/protocol/ids.ts'
import type { Channel } from '../src/runtime/transport.ts'
import { CountedNetwork } from './counted-network.ts'
import type { Load, Subject } from './load.ts'

const raft = loadRaft()
const compactEvery = 10_000
/** Entries that stay in the log, for a follower that is behind by what is in flight. */
const kept = 2_000

type EntryData = readonly [number: number, key: string, value: string]

/**
 * The core asks the controller beside it for one constant, the `null` that stands for no data; the controller would bring
 * a network and a database. So the constant is put in its place.
 */
function loadRaft() {
  const require = createRequire(import.meta.url)
  const controller = require.resolve('@coaty/consensus.raft/non-ported/raft-controller')
  const constant = new Module(controller)
  constant.exports = { emptyRaftData: null }
  constant.loaded = true
  require.cache[controller] = constant
  const load = <Exports>(file: string) => require(`@coaty/consensus.raft/ported/${file}`) as Exports
  return {
    ...load<typeof import('@coaty/consensus.raft/ported/rawnode')>('rawnode'),
    ...load<typeof import('@coaty/consensus.raft/ported/raft')>('raft'),
    ...load<typeof import('@coaty/consensus.raft/ported/storage')>('storage'),
    ...load<typeof import('@coaty/consensus.raft/ported/logger')>('logger'),
    ...load<typeof import('@coaty/consensus.raft/ported/raftpb/raft.pb')>('raftpb/raft.pb'),
  }
}

class RaftReplica {
  readonly map = new Map<string, string>()
  executed = 0
  readonly #peers: readonly ReplicaId[]
  readonly #node: RawNode
  readonly #storage: MemoryStorage
  readonly #channel: Channel
  readonly #encoder = new TextEncoder()
  readonly #decoder = new TextDecoder()
  /** Of the proposals made here, by number. */
  readonly #answers = new Map<number, () => void>()
  #proposed = 0
  #compactedUpTo = 0
  #due = false

  constructor(voters: readonly ReplicaId[], self: ReplicaId, network: CountedNetwork) {
    this.#peers = voters.filter((id) => id !== self)
    this.#storage = raft.MemoryStorage.NewMemoryStorage()
    // all begin with the same members, as if restored from one snapshot
    const confState = new raft.ConfState({ voters: [...voters] })
    this.#storage.ApplySnapshot(
      new raft.Snapshot({ metadata: { ...new raft.SnapshotMetadata(), confState, index: 1, term: 1 } }),
    )
    this.#node = raft.RawNode.NewRawNode(
      new raft.RaftConfig({
        id: self,
        electionTick: 10,
        heartbeatTick: 1,
        storage: this.#storage,
        applied: 1,
        maxSizePerMsg: 1_024 * 1_024,
        maxInflightMsgs: 4_096,
        logger: raft.discardLogger,
      }),
    )
    this.#channel = network.transport(self).attach({
      partition: 'raft',
      replica: self,
      onConnected() {},
      onDisconnected() {},
      onFrame: (_from, frame) => this.#receive(frame),
    })
  }

  get leads(): boolean {
    return this.#node.raft.state === raft.StateType.StateLeader
  }

  campaign(): void {
    must(this.#node.campaign())
    this.#soon()
  }

  set(key: string, value: string, answered: () => void): void {
    const number = this.#proposed++
    this.#answers.set(number, answered)
    const data: EntryData = [number, key, value]
    must(this.#node.propose(data))
    this.#soon()
  }

  close(): void {
    this.#channel.close()
  }

  #receive(frame: Uint8Array): void {
    const messages: Message[] = JSON.parse(this.#decoder.decode(frame))
    for (const message of messages) must(this.#node.step(new raft.Message(message)))
    this.#soon()
  }

  /** After what is ready: calls and frames of one moment go together. */
  #soon(): void {
    if (this.#due) return
    this.#due = true
    queueMicrotask(() => {
      this.#due = false
      while (this.#node.hasReady()) this.#work(this.#node.ready())
    })
  }

  /** Writes down, sends, applies: in this order, as the package asks for it. */
  #work(ready: Ready): void {
    if (!ready.hardState.isEmptyHardState()) this.#storage.SetHardState(ready.hardState)
    this.#storage.Append(ready.entries)
    for (const peer of this.#peers) {
      const messages = ready.messages.filter(({ to }) => to === peer)
      if (messages.length > 0) this.#channel.send(peer, this.#encoder.encode(JSON.stringify(messages)))
    }
    for (const { data } of ready.committedEntries) {
      if (data !== null) this.#apply(data)
    }
    this.#node.advance(ready)
    const applied = ready.committedEntries.at(-1)?.index ?? 0
    if (applied - this.#compactedUpTo >= compactEvery + kept) {
      this.#compactedUpTo = applied - kept
      must(this.#storage.Compact(this.#compactedUpTo))
    }
  }

  #apply([number, key, value]: EntryData): void {
    this.map.set(key, value)
    this.executed++
    const answered = this.#answers.get(number)
    this.#answers.delete(number)
    answered?.()
  }
}

function must(error: Error | null): void {
  if (error !== null) throw error
}

export async function openRaft({ replicas }: Load): Promise<Subject> {
  const network = new CountedNetwork()
  const ids = Array.from({ length: replicas }, (_, index) => replicaIdFromBytes(new Uint8Array(16).fill(index + 1)))
  const cluster = ids.map((id) => new RaftReplica(ids, id, network))
  await new Promise((resolve) => setImmediate(resolve))
  const [leader] = cluster
  leader?.campaign()
  // deliveries are microtasks: by then the votes are in
  await new Promise((resolve) => setImmediate(resolve))
  if (leader?.leads !== true) throw new Error('the first node was not elected')
  return {
    set: (_at, key, value, answered) => leader.set(key, value, answered),
    states: () => cluster.map(({ map }) => JSON.stringify([...map].sort())),
    executed: () => cluster.map(({ executed }) => executed),
    takeTraffic: () => network.takeTraffic(),
    close: async () => {
      for (const replica of cluster) replica.close()
    },
  }
}
