// The replicas at the other ends of the transport: who they are and whether what they say counts. Says and checks Hellos,
// sorts frames by epoch, fetches the state of an epoch that this replica missed. What counted goes to the engine as inputs.
import { DecodeError, Reader } from '../codec/bytes.ts'
import { controlEpoch, readControlMessage, readFrameHead, readMessage } from '../codec/message.ts'
import { WepaxosError } from '../lib/errors.ts'
import type { Proposal } from '../protocol/command.ts'
import type { ControlMessage, DiskHeard, Hello, Role } from '../protocol/control-message.ts'
import type { Input } from '../protocol/effect.ts'
import type { Epoch, ReplicaId } from '../protocol/ids.ts'
import type { Message } from '../protocol/message.ts'
import type { Logger } from './api.ts'
import { CheckpointFetcher, type ServableCheckpoint, serveChunk } from './checkpoint-transfer.ts'
import type { Clock } from './clock.ts'
import type { DisksHeard } from './disks-heard.ts'
import { Divergence } from './divergence.ts'
import type { EpochRun } from './epoch-run.ts'
import type { Outbox } from './outbox.ts'
import type { OwnRuns } from './own-runs.ts'

interface Peer {
  /** Its Hello fits; before that nothing else of it counts. */
  accepted: boolean
  /** Nothing of it counts: its state differs from that of most voters (for this epoch), or its disk came back older. */
  shunned: 'diverged' | 'older-disk' | null
  epoch: Epoch
  /** Whether its page has proven that it may vote. */
  readonly mayVote: boolean
  /** Which run of its replica said Hello. */
  run: number | null
  /** When it was last told that its epoch is over. */
  toldEndedAt: number
  /** When it was last sent a Hello: repeated while its own has not come. */
  helloAt: number
}

/** What the peers need of the engine. */
export interface PeersHost {
  run(): EpochRun | null
  /** Whether this replica takes no part yet: what is said in an epoch goes by, and is said again. */
  hesitates(): boolean
  /** What a peer says counts, and goes to the protocol. */
  push(input: Input): void
  /** It does not count; the reason is counted. */
  refuse(reason: string): void
  changed(): void
  /** The state of a later epoch was fetched. */
  install(checkpoint: ServableCheckpoint): void
  /** A peer said that it stands in `epoch`. */
  holds(peer: ReplicaId, epoch: Epoch): void
  requested(from: ReplicaId, wanted: Role): void
  /** What a connected peer is: one of those that may have a seat, one that is always there. */
  described(peer: ReplicaId, what: { readonly mayVote: boolean; readonly steady: boolean }): void
  forwarded(from: ReplicaId, proposal: Proposal): void
  /** A replica is gone for good, its disk lost. */
  lost(replica: ReplicaId): void
  disconnected(peer: ReplicaId): void
}

export interface PeersOptions {
  readonly self: ReplicaId
  readonly machine: { readonly name: string; readonly version: number }
  readonly clock: Clock
  readonly logger: Logger
  readonly disks: DisksHeard
  /** This replica's own runs, the present one last. */
  readonly runs: OwnRuns
  readonly steady: boolean
  /** Whether replicas of readers may propose. */
  readonly readersPropose: boolean
}

const earlyFramesMax = 256
/** Between repeats of a Hello, and of requests for checkpoint chunks. */
const requestMs = 1_000
/** A frame of a later epoch usually comes just before the barrier that ends this one is executed here. */
const behindMs = 250

export class Peers {
  readonly #host: PeersHost
  readonly #options: PeersOptions
  readonly #outbox: Outbox
  readonly #fetcher = new CheckpointFetcher()
  readonly #divergence = new Divergence()
  readonly #peers = new Map<ReplicaId, Peer>()
  /** Frames of the next epoch that came before this replica was there. */
  #early: { readonly from: ReplicaId; readonly epoch: Epoch; readonly frame: Uint8Array }[] = []
  #behindSince: number | null = null

  constructor(host: PeersHost, outbox: Outbox, options: PeersOptions) {
    this.#host = host
    this.#outbox = outbox
    this.#options = options
  }

  /** Those whose Hello fits. */
  get accepted(): readonly ReplicaId[] {
    return [...this.#peers].filter(([, peer]) => peer.accepted).map(([id]) => id)
  }

  /** Whether the replica can be heard here, and nothing speaks against it. */
  isAround(id: ReplicaId): boolean {
    return id === this.#options.self || this.#peers.get(id)?.shunned === null
  }

  connected(peer: ReplicaId, mayVote: boolean): void {
    this.#peers.set(peer, {
      accepted: false,
      mayVote,
      shunned: null,
      epoch: 0,
      run: null,
      toldEndedAt: Number.NEGATIVE_INFINITY,
      helloAt: this.#options.clock.now(),
    })
    this.#sayHello(peer)
    this.#host.changed()
  }

  disconnected(peer: ReplicaId): void {
    const wasAccepted = this.#peers.get(peer)?.accepted === true
    this.#peers.delete(peer)
    this.#outbox.forget(peer)
    if (wasAccepted) this.#host.push({ kind: 'disconnected', peer })
    if (this.#fetcher.peer === peer) this.#fetcher.stop()
    this.#host.disconnected(peer)
    this.#host.changed()
  }

  /** A new epoch begins here: who can be heard is there from its beginning. */
  beginEpoch(): void {
    this.#behindSince = null
    this.#fetcher.stop()
    for (const [id, peer] of this.#peers) {
      if (peer.shunned === 'diverged') peer.shunned = null
      if (peer.accepted) this.#host.push({ kind: 'connected', peer: id })
    }
  }

  /** What came for this epoch before it began here. */
  receiveEarly(epoch: Epoch): void {
    const early = this.#early.filter((one) => one.epoch === epoch)
    this.#early = this.#early.filter((one) => one.epoch > epoch)
    for (const { from, frame } of early) this.receiveFrame(from, frame)
  }

  /** The start of the present epoch is durable here: what this replica is has changed. */
  sayHelloToAll(): void {
    for (const peer of this.#peers.keys()) this.#sayHello(peer)
  }

  tick(now: number): void {
    for (const [id, peer] of this.#peers) {
      // who is shunned may not have heard why
      if (peer.accepted || now - peer.helloAt < requestMs) continue
      peer.helloAt = now
      this.#sayHello(id)
    }
    if (this.#fetcher.isStale(now, requestMs)) this.#fetcher.stop()
    const running = this.#host.run()
    if (running === null) {
      this.#fetchFromAhead()
    } else if (this.#behindSince !== null) {
      if (![...this.#peers.values()].some((peer) => peer.accepted && peer.epoch > running.start.epoch)) {
        this.#behindSince = null
      } else if (now - this.#behindSince > behindMs) {
        this.#fetchFromAhead()
      }
    }
  }

  get #epoch(): Epoch {
    return this.#host.run()?.start.epoch ?? 0
  }

  #sayHello(to: ReplicaId): void {
    const running = this.#host.run()
    const durable = running?.durable === true
    const { machine, runs, steady } = this.#options
    this.#outbox.control(to, {
      type: 'Hello',
      cluster: running?.application.cluster ?? null,
      machine: machine.name,
      machineVersion: machine.version,
      epoch: durable ? running.start.epoch : 0,
      checkpointHash: durable ? running.start.hash : null,
      heard: this.#peers.get(to)?.accepted === true,
      steady,
      ...runs.present,
      disksHeard: this.#disksToTell(to, running),
    })
  }

  /** The receiver's own disk, and those of the voters: who was away hears of them from others. */
  #disksToTell(to: ReplicaId, running: EpochRun | null): DiskHeard[] {
    const told = new Set([to, ...(running?.members.voters ?? [])])
    return [...told].flatMap((replica) => this.#options.disks.of(replica))
  }

  /** Never throws on what a peer sent: refuses and counts. */
  receiveFrame(from: ReplicaId, frame: Uint8Array): void {
    const peer = this.#peers.get(from)
    if (peer === undefined) {
      this.#host.refuse('stranger')
      return
    }
    try {
      const reader = new Reader(frame)
      const { epoch, writes } = readFrameHead(reader)
      if (epoch === controlEpoch) {
        while (reader.remaining > 0) this.#receiveControl(from, peer, readControlMessage(reader))
        if (peer.accepted) this.#heardWrites(from, peer, writes)
        return
      }
      if (!peer.accepted) {
        this.#host.refuse(peer.shunned ?? 'no-hello')
        return
      }
      this.#heardWrites(from, peer, writes)
      const running = this.#host.run()
      if (running === null) return
      if (peer.shunned !== null && epoch === running.start.epoch) {
        this.#host.refuse(peer.shunned)
        return
      }
      if (peer.mayVote) peer.epoch = Math.max(peer.epoch, epoch)
      if (epoch < running.start.epoch) {
        this.#tellEnded(from, peer, running)
      } else if (epoch > running.start.epoch) {
        if (peer.mayVote) this.#hearLaterEpoch(from, epoch, frame)
        else this.#host.refuse('reader')
      } else {
        if (peer.mayVote) this.#host.holds(from, epoch)
        if (this.#host.hesitates()) return
        while (reader.remaining > 0) this.#receiveMessage(from, peer, readMessage(reader, running.members.voters))
      }
    } catch (error) {
      if (!(error instanceof DecodeError)) throw error
      this.#host.refuse('garbage')
      this.#options.logger.warn('a frame could not be read', { from, reason: error.message })
    }
  }

  #heardWrites(from: ReplicaId, peer: Peer, writes: number): void {
    if (peer.mayVote && peer.run !== null) this.#options.disks.heard(from, peer.run, writes)
  }

  #receiveMessage(from: ReplicaId, peer: Peer, message: Message): void {
    // [MB3] a reader may ask, and is believed nothing; that it says how far it has come is no offence
    const counts = peer.mayVote || message.type === 'Pull' || message.type === 'ReadIndex'
    if (counts) this.#host.push({ kind: 'receive', from, message })
    else if (message.type !== 'Heartbeat') this.#host.refuse('reader')
  }

  /** [EP4] */
  #tellEnded(from: ReplicaId, peer: Peer, running: EpochRun): void {
    const now = this.#options.clock.now()
    if (now - peer.toldEndedAt < behindMs) return
    peer.toldEndedAt = now
    this.#outbox.control(from, { type: 'EpochEnded', epoch: running.start.epoch })
  }

  #hearLaterEpoch(from: ReplicaId, epoch: Epoch, frame: Uint8Array): void {
    this.#behindSince ??= this.#options.clock.now()
    if (this.#early.length < earlyFramesMax) this.#early.push({ from, epoch, frame })
  }

  #receiveControl(from: ReplicaId, peer: Peer, message: ControlMessage): void {
    if (message.type === 'Hello') {
      this.#receiveHello(from, peer, message)
      return
    }
    if (!peer.accepted) {
      this.#host.refuse(peer.shunned ?? 'no-hello')
      return
    }
    const running = this.#host.run()
    switch (message.type) {
      case 'EpochEnded':
        if (!peer.mayVote) return // [MB3]
        peer.epoch = Math.max(peer.epoch, message.epoch)
        if (message.epoch > this.#epoch) this.#behindSince ??= this.#options.clock.now()
        return
      case 'FetchCheckpoint':
        if (running !== null) this.#outbox.control(from, serveChunk(running.start, message), 'bulk')
        return
      case 'CheckpointChunk':
        this.#receiveChunk(from, message)
        return
      case 'MembershipRequest':
        if (running?.role !== 'voter') this.#host.refuse('not-a-voter')
        else if (message.wanted === 'voter' && !peer.mayVote) this.#host.refuse('reader')
        else this.#host.requested(from, message.wanted)
        return
      case 'Forward':
        if (!peer.mayVote && !this.#options.readersPropose) this.#host.refuse('reader')
        else this.#host.forwarded(from, message.proposal)
        return
      case 'Retired':
        // one that can be heard has not lost its disk, whatever another says of it
        if (!peer.mayVote || this.isAround(message.replica)) this.#host.refuse('not-retired')
        else this.#host.lost(message.replica)
        return
      default:
        message satisfies never
    }
  }

  #receiveHello(from: ReplicaId, peer: Peer, hello: Hello): void {
    const { machine, logger } = this.#options
    const running = this.#host.run()
    if (hello.machine !== machine.name || hello.machineVersion !== machine.version) {
      this.#host.refuse('another-machine')
      const theirs = `${hello.machine}@${hello.machineVersion}`
      if (peer.run !== hello.run) {
        logger.warn('a peer runs another state machine', { from, theirs, ours: `${machine.name}@${machine.version}` })
      }
      peer.run = hello.run
      return
    }
    if (hello.cluster !== null && running !== null && hello.cluster !== running.application.cluster) {
      this.#host.refuse('another-founding')
      logger.warn('a peer belongs to another founding of this partition', { from })
      return
    }
    if (!peer.mayVote && running?.members.voters.includes(from) === true) {
      this.#host.refuse('reader') // [MB3] it says that it is a voter
      return
    }
    peer.run = hello.run
    if (peer.mayVote) {
      if (!this.#compareDisks(from, peer, hello)) return
      if (running !== null && !this.#compareStarts(running, from, peer, hello)) return
      peer.epoch = Math.max(peer.epoch, hello.epoch)
      if (running !== null) this.#host.holds(from, hello.epoch)
    }
    if (!peer.accepted) {
      peer.accepted = true
      this.#host.described(from, { mayVote: peer.mayVote, steady: hello.steady })
      this.#host.push({ kind: 'connected', peer: from })
    }
    if (!hello.heard) this.#sayHello(from)
    if (peer.mayVote && hello.epoch > this.#epoch) {
      if (running === null) this.#fetch(from)
      else this.#behindSince ??= this.#options.clock.now()
    }
    this.#host.changed()
  }

  /**
   * [DU7] Both ends look: this replica at whether its own disk came back older than the peer heard, and at whether the peer's
   * did. Throws DamagedStorage in the first case; false in the second.
   */
  #compareDisks(from: ReplicaId, peer: Peer, hello: Hello): boolean {
    const { self, runs, disks } = this.#options
    // what it says of others counts from those alone who share this partition, and whose word may stop a voter
    const cluster = this.#host.run()?.application.cluster
    const counts = cluster !== undefined && hello.cluster === cluster
    for (const disk of counts ? hello.disksHeard : []) {
      if (disk.replica !== self) this.#learn(disk)
      else if (!runs.hold(disk)) {
        const { writesAtOpen } = runs.present
        throw new WepaxosError(
          'DamagedStorage',
          `the disk came back older: a peer has heard of ${disk.writes} writes in a run of which it does not hold as many`,
          { reason: 'older', writes: writesAtOpen, heard: disk.writes, peer: from, epoch: hello.epoch },
        )
      }
    }
    if (!disks.cameBackOlder(from, hello)) return true
    this.#shunOlder(from, peer)
    return false
  }

  /**
   * What a third one heard of a later run than the one that is connected here: either this link is that of a page that is
   * gone, or the disk came back older. Its next Hello tells; until then nothing of it counts.
   */
  #learn(disk: DiskHeard): void {
    this.#options.disks.learn(disk)
    const peer = this.#peers.get(disk.replica)
    if (peer?.run == null || peer.run === disk.run || !peer.accepted) return
    if (this.#options.disks.furthest(disk.replica)?.run === peer.run) return
    peer.accepted = false
    this.#host.push({ kind: 'disconnected', peer: disk.replica })
    this.#sayHello(disk.replica)
    this.#host.changed()
  }

  #shunOlder(id: ReplicaId, peer: Peer): void {
    if (peer.shunned === 'older-disk') return
    peer.shunned = 'older-disk'
    this.#host.refuse('older-disk')
    const heard = this.#options.disks.furthest(id)?.writes
    this.#options.logger.warn("a peer's disk came back older than it was: nothing of it counts", { from: id, heard })
    this.#sayHello(id) // so that it learns of it
    if (peer.accepted) this.#host.push({ kind: 'disconnected', peer: id })
    peer.accepted = false
    this.#host.changed()
  }

  /** [EP6] Rather stop than go on with a state that the others do not share, and rather go on without the odd one. */
  #compareStarts(running: EpochRun, from: ReplicaId, peer: Peer, hello: Hello): boolean {
    const { epoch, hash } = running.start
    const ours = { epoch, hash, voters: running.members.voters }
    const comparison = this.#divergence.compare(ours, from, { epoch: hello.epoch, hash: hello.checkpointHash })
    if (comparison === 'same' || comparison === 'unknown') return true
    if (comparison === 'self-is-odd') {
      throw new WepaxosError('Diverged', `the state at the start of epoch ${epoch} differs from that of other voters`, {
        peer: from,
        ours: hash,
        theirs: hello.checkpointHash,
      })
    }
    if (peer.shunned === null) {
      peer.shunned = 'diverged'
      this.#host.refuse('diverged')
      this.#options.logger.warn('a peer holds another state than this replica: nothing of it counts in this epoch', {
        from,
        epoch,
      })
      if (!hello.heard) this.#sayHello(from) // so that it can see for itself
      if (peer.accepted) this.#host.push({ kind: 'disconnected', peer: from })
      peer.accepted = false
    }
    return false
  }

  #fetch(from: ReplicaId): void {
    if (this.#fetcher.peer !== null) return
    this.#outbox.control(from, this.#fetcher.start(from, this.#options.clock.now()))
  }

  #fetchFromAhead(): void {
    if (this.#fetcher.peer !== null) return
    let best: ReplicaId | undefined
    let bestEpoch = this.#epoch
    for (const [id, peer] of this.#peers) {
      if (peer.accepted && peer.epoch > bestEpoch) {
        best = id
        bestEpoch = peer.epoch
      }
    }
    if (best !== undefined) this.#fetch(best)
  }

  #receiveChunk(from: ReplicaId, chunk: Extract<ControlMessage, { type: 'CheckpointChunk' }>): void {
    const outcome = this.#fetcher.receive(from, chunk, this.#options.clock.now())
    switch (outcome.kind) {
      case 'more':
        this.#outbox.control(from, outcome.ask)
        return
      case 'whole':
        this.#host.install(outcome.checkpoint)
        if (this.#host.run() !== null) this.#host.push({ kind: 'catchUp', from })
        return
      case 'repeated':
        return
      default:
        this.#host.refuse('checkpoint-chunk')
    }
  }
}
