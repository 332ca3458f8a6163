// Fetching a checkpoint from a peer in chunks (docs/protocol.md, section 9): one chunk asked for at a time, the hash of the
// whole checked at the end, and nothing kept of a transfer that does not check.
import { sha256Hex } from '../lib/sha256.ts'
import type { CheckpointChunk, FetchCheckpoint } from '../protocol/control-message.ts'
import type { Epoch, ReplicaId } from '../protocol/ids.ts'

export const chunkBytes = 48 * 1_024
/** A checkpoint that claims to be larger is refused. */
export const checkpointBytesMax = 1_024 * 1_024 * 1_024

export interface ServableCheckpoint {
  readonly epoch: Epoch
  readonly bytes: Uint8Array
  readonly hash: string
}

/** The answer to a FetchCheckpoint: from its offset on, or from the start where the fetcher had another checkpoint. */
export function serveChunk(checkpoint: ServableCheckpoint, { epoch, offset }: FetchCheckpoint): CheckpointChunk {
  const from = epoch === checkpoint.epoch && offset < checkpoint.bytes.length ? offset : 0
  return {
    type: 'CheckpointChunk',
    epoch: checkpoint.epoch,
    offset: from,
    totalBytes: checkpoint.bytes.length,
    hash: checkpoint.hash,
    bytes: checkpoint.bytes.subarray(from, from + chunkBytes),
  }
}

interface Incoming {
  readonly epoch: Epoch
  readonly hash: string
  readonly bytes: Uint8Array
  received: number
}

/** One transfer at a time, from one peer; it can go on from another peer that has the same checkpoint. */
export class CheckpointFetcher {
  #peer: ReplicaId | null = null
  #incoming: Incoming | null = null
  #askedAt = 0

  get peer(): ReplicaId | null {
    return this.#peer
  }

  /** Starts, or goes on, with `peer`. What to send. */
  start(peer: ReplicaId, now: number): FetchCheckpoint {
    this.#peer = peer
    this.#askedAt = now
    return { type: 'FetchCheckpoint', epoch: this.#incoming?.epoch ?? 0, offset: this.#incoming?.received ?? 0 }
  }

  /** Whether the peer has not answered for so long. */
  isStale(now: number, afterMs: number): boolean {
    return this.#peer !== null && now - this.#askedAt > afterMs
  }

  stop(): void {
    this.#peer = null
  }

  /** What to ask for next, the whole checkpoint, or why the chunk was refused. */
  receive(
    from: ReplicaId,
    chunk: CheckpointChunk,
    now: number,
  ):
    | { readonly kind: 'more'; readonly ask: FetchCheckpoint }
    | { readonly kind: 'whole'; readonly checkpoint: ServableCheckpoint }
    | { readonly kind: 'repeated' }
    | { readonly kind: 'refused' } {
    if (from !== this.#peer) return { kind: 'refused' }
    if (chunk.totalBytes === 0 || chunk.totalBytes > checkpointBytesMax || chunk.bytes.length === 0)
      return this.#refuse()
    if (this.#incoming?.epoch !== chunk.epoch || this.#incoming.hash !== chunk.hash) {
      if (chunk.offset !== 0) return this.#refuse()
      this.#incoming = { epoch: chunk.epoch, hash: chunk.hash, bytes: new Uint8Array(chunk.totalBytes), received: 0 }
    }
    const incoming = this.#incoming
    // over a slow link the same part is asked for again, and comes twice
    if (chunk.offset < incoming.received) return { kind: 'repeated' }
    if (
      chunk.totalBytes !== incoming.bytes.length ||
      chunk.offset !== incoming.received ||
      chunk.offset + chunk.bytes.length > chunk.totalBytes
    ) {
      return this.#refuse()
    }
    incoming.bytes.set(chunk.bytes, chunk.offset)
    incoming.received += chunk.bytes.length
    if (incoming.received < incoming.bytes.length) return { kind: 'more', ask: this.start(from, now) }
    this.#incoming = null
    this.#peer = null
    const { epoch, hash, bytes } = incoming
    return sha256Hex(bytes) === hash ? { kind: 'whole', checkpoint: { epoch, hash, bytes } } : { kind: 'refused' }
  }

  #refuse(): { readonly kind: 'refused' } {
    this.#incoming = null
    this.#peer = null
    return { kind: 'refused' }
  }
}
