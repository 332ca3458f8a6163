// The port to the other peers: what the runtime asks of any transport (WebRTC rooms, the simulated network of the tests,
// …). The contract suite in testing/transport-contract.ts says in tests what is said here in words.

import type { Value } from '../lib/value.ts'
import type { ReplicaId } from '../protocol/ids.ts'

/** What the other end of a connection has proven about itself. */
export interface PeerRights {
  /** It holds the voter's secret of the room, and not only the reader's. */
  readonly mayVote: boolean
}

/** What one replica hears from the transport that it is attached to. Calls never overlap and never throw. */
export interface Endpoint {
  /** The partition's name: only replicas attached under the same name hear each other. */
  readonly partition: string
  /** The attached replica. The transport vouches for it to its peers. */
  readonly replica: ReplicaId
  /** The key that came with the replica's id, where the transport has a `newReplica`. */
  readonly key?: Uint8Array
  /**
   * A replica of the same partition can be reached from now on. Frames to and from it may flow. Without `rights` it has all:
   * the transport knows no readers.
   */
  onConnected(peer: ReplicaId, rights?: PeerRights): void
  /** The replica can not be reached any more; frames that were on the way may be lost. Always follows an onConnected. */
  onDisconnected(peer: ReplicaId): void
  /** One whole frame as it was given to `send`. The bytes belong to the receiver and are not changed afterwards. */
  onFrame(from: ReplicaId, frame: Uint8Array): void
}

/** A replica's own end of a transport. */
export interface Channel {
  /**
   * Sends one frame, best effort: lost when the link breaks, else delivered once; frames of one priority stay in order.
   * Never waits. The transport may keep `frame`; the caller does not change it afterwards. Sending to a replica that is
   * not connected does nothing. `bulk` frames (checkpoint chunks) let others pass.
   */
  send(to: ReplicaId, frame: Uint8Array, priority?: 'normal' | 'bulk'): void
  /** Bytes that wait to be sent to `to`, for the sender's back-pressure; 0 when not connected. */
  queuedBytes(to: ReplicaId): number
  /** Detaches the replica; its peers hear onDisconnected. Idempotent. */
  close(): void
}

/** What one page shows about itself to the other pages of the room. Never part of the replicated state. */
export interface PeerPresence {
  /** The other end's name for the life of its connection. */
  readonly peer: string
  /** Its replicas, as far as they are attached. */
  readonly replicas: readonly ReplicaId[]
  readonly state: Value
}

export interface Presence {
  /** This page's own state, as last set; null when nothing is shown. */
  readonly self: Value
  /** The others', one entry a connected page that shows something. Keeps its identity while nothing changed. */
  readonly others: readonly PeerPresence[]
  /** Replaces this page's state. At most 4 KiB once encoded as JSON: more is an InvalidArgument error. */
  set(state: Value): void
  /** Calls `listener` after each change of `self` or `others`; the returned function ends that. */
  subscribe(listener: () => void): () => void
}

/** A way to reach the other replicas. Several replicas (of several partitions) share one. */
export interface Transport {
  /** Names the group of peers that this transport connects; part of the name under which storages keep a replica. */
  readonly room: string
  /** True in the one page that made the room: a replica opened there without stored state founds its partition. */
  readonly founded: boolean
  /** False where this page holds a reader's secret only: its replicas follow, and neither vote nor propose. Default: true. */
  readonly mayVote?: boolean
  readonly presence: Presence
  /**
   * The id of a new replica, and the secret key that proves it to the peers: nobody else can be attached under that id. The
   * runtime keeps the key with the replica's state, and attaches the replica with it. Without this method ids are random,
   * and have no key.
   */
  newReplica?(): Promise<{ readonly replica: ReplicaId; readonly key: Uint8Array }>
  /** Throws an InvalidArgument error when this replica is attached already, or `key` is not the one of its id. */
  attach(endpoint: Endpoint): Channel
}
