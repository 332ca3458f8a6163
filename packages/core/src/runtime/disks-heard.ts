// [DU7] How far the disks of the other replicas are known to have come. A disk that was opened with fewer writes than were heard
// from it has come back older, and what its replica says from then on could contradict what it said before.
import type { DiskHeard, Hello } from '../protocol/control-message.ts'
import type { ReplicaId } from '../protocol/ids.ts'

/** Replicas that are remembered at most; those not heard of for longest go first. */
const rememberedMax = 256

export class DisksHeard {
  readonly #disks = new Map<ReplicaId, DiskHeard>()
  /** Whether something is known that was not remembered on disk yet. */
  changed = false

  constructor(remembered: readonly DiskHeard[]) {
    for (const disk of remembered) this.#disks.set(disk.replica, disk)
  }

  /** Whether the peer's disk came back older than what was heard from it; if not, its present run is noted. */
  cameBackOlder(replica: ReplicaId, { run, writesAtOpen }: Pick<Hello, 'run' | 'writesAtOpen'>): boolean {
    const known = this.#disks.get(replica)
    if (known !== undefined && known.run !== run && writesAtOpen < known.writes) return true
    if (known?.run !== run) this.#set({ replica, run, writes: writesAtOpen })
    return false
  }

  /** A frame of the peer came, of its present run. */
  heard(replica: ReplicaId, writes: number): void {
    const known = this.#disks.get(replica)
    if (known !== undefined && writes > known.writes) this.#set({ ...known, writes })
  }

  /** Somebody else heard this. */
  learn(disk: DiskHeard): void {
    const known = this.#disks.get(disk.replica)
    if (known === undefined || disk.writes > known.writes) this.#set(disk)
  }

  of(replica: ReplicaId): DiskHeard | undefined {
    return this.#disks.get(replica)
  }

  all(): readonly DiskHeard[] {
    return [...this.#disks.values()]
  }

  #set(disk: DiskHeard): void {
    this.#disks.delete(disk.replica)
    this.#disks.set(disk.replica, disk)
    for (const oldest of this.#disks.keys()) {
      if (this.#disks.size <= rememberedMax) break
      this.#disks.delete(oldest)
    }
    this.changed = true
  }
}
