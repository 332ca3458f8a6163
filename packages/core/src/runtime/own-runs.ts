// [DU7] The runs of a replica, as its own disk knows them: each with the number of writes that the disk held when it began. A
// run is written down before its replica says anything. So what a peer heard in an earlier run can be compared with how many
// writes of that run are here, however many were made since.
import type { DiskHeard, Hello } from '../protocol/control-message.ts'
import type { ReplicaId } from '../protocol/ids.ts'

/** Each opening counts, also those with nobody near: beyond so many in a row an older disk is not told from a present one. */
const rememberedMax = 256

export class OwnRuns {
  readonly #runs: readonly DiskHeard[]
  readonly present: Readonly<Pick<Hello, 'run' | 'writesAtOpen'>>

  /** `earlier`: in order. */
  constructor(self: ReplicaId, earlier: readonly DiskHeard[], run: number, writesAtOpen: number) {
    this.#runs = [...earlier.slice(1 - rememberedMax), { replica: self, run, writes: writesAtOpen }]
    this.present = { run, writesAtOpen }
  }

  /** Whether this disk holds as many writes of that run as a peer has heard of. */
  hold({ run, writes }: DiskHeard): boolean {
    if (run === this.present.run) return true
    const at = this.#runs.findIndex((one) => one.run === run)
    // Of one that is not remembered, or not known: what was there before all that are.
    const next = this.#runs[at + 1]
    return next !== undefined && writes <= next.writes
  }

  all(): readonly DiskHeard[] {
    return this.#runs
  }
}
