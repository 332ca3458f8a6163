// Whether the states that an epoch starts from are the same at all its voters (docs/protocol.md, [EP6]). A replica whose
// state differs from that of so many voters that its own kind can not be a slow quorum stops; the others go on without the
// odd one.
import type { Epoch, ReplicaId } from '../protocol/ids.ts'
import { quorumsOf } from '../protocol/quorum.ts'

export type Comparison = 'same' | 'unknown' | 'peer-is-odd' | 'self-is-odd'

export class Divergence {
  #epoch: Epoch = 0
  readonly #others = new Set<ReplicaId>()

  /** Compares a peer's hash with this replica's, and weighs it with what other voters said. */
  compare(
    ours: { readonly epoch: Epoch; readonly hash: string; readonly voters: readonly ReplicaId[] },
    peer: ReplicaId,
    theirs: { readonly epoch: Epoch; readonly hash: string | null },
  ): Comparison {
    if (ours.epoch !== this.#epoch) {
      this.#epoch = ours.epoch
      this.#others.clear()
    }
    if (theirs.epoch !== ours.epoch || theirs.hash === null) return 'unknown'
    if (theirs.hash === ours.hash) return 'same'
    if (ours.voters.includes(peer)) this.#others.add(peer)
    const { n, slow } = quorumsOf(ours.voters.length)
    return n - this.#others.size < slow ? 'self-is-odd' : 'peer-is-odd'
  }
}
