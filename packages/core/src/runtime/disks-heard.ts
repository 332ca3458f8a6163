// [DU7] How far the disks of the other replicas are known to have come. A disk that was opened with fewer writes than were heard
// from it has come back older, and what its replica says from then on could contradict what it said before.
//
// Of each replica several runs are kept: an older disk that was written to while nobody could be reached does not show by its
// number of writes any more. Its own list of runs tells it then, when a peer says of which run it heard what.
import type { DiskHeard, Hello, Role } from '../protocol/control-message.ts'
import type { ReplicaId } from '../protocol/ids.ts'

/** Runs that are remembered of one replica: those of which most writes are known, whenever they were heard of. */
const runsMax = 4
/** Of all replicas together. The record on disk may hold no more. */
const rememberedMax = 512

export class DisksHeard {
  /** Those heard of last come last; of one replica its runs in the same order. */
  readonly #disks = new Map<ReplicaId, DiskHeard[]>()
  /** In the present epoch: voters are not forgotten, and observers after all others. */
  readonly #roleOf: (replica: ReplicaId) => Role
  #count = 0
  /** Whether something is known that was not remembered on disk yet. */
  changed = false

  constructor(remembered: readonly DiskHeard[], roleOf: (replica: ReplicaId) => Role) {
    this.#roleOf = roleOf
    for (const disk of remembered) {
      const runs = this.#disks.get(disk.replica)
      if (runs === undefined) this.#disks.set(disk.replica, [disk])
      else runs.push(disk)
      this.#count += 1
    }
  }

  /** Whether the peer's disk came back older than what was heard from it; if not, its present run is noted. */
  cameBackOlder(replica: ReplicaId, { run, writesAtOpen }: Pick<Hello, 'run' | 'writesAtOpen'>): boolean {
    if (this.of(replica).some((known) => known.run !== run && writesAtOpen < known.writes)) return true
    if (!this.of(replica).some((known) => known.run === run)) this.#set({ replica, run, writes: writesAtOpen })
    return false
  }

  /** A frame of the peer came, of its present run. */
  heard(replica: ReplicaId, run: number, writes: number): void {
    const known = this.#disks.get(replica)?.find((one) => one.run === run)
    if (known !== undefined && writes > known.writes) this.#set({ ...known, writes })
  }

  /** Somebody else heard this. */
  learn(disk: DiskHeard): void {
    const known = this.of(disk.replica).find((one) => one.run === disk.run)
    if (known === undefined || disk.writes > known.writes) this.#set(disk)
  }

  of(replica: ReplicaId): readonly DiskHeard[] {
    return this.#disks.get(replica) ?? []
  }

  /** The run of which most writes are known: the last one, as far as disks do not come back older. */
  furthest(replica: ReplicaId): DiskHeard | undefined {
    const [first, ...rest] = this.of(replica)
    return rest.reduce((best, one) => (best === undefined || one.writes > best.writes ? one : best), first)
  }

  all(): readonly DiskHeard[] {
    return [...this.#disks.values()].flat()
  }

  #set(disk: DiskHeard): void {
    const before = this.#disks.get(disk.replica) ?? []
    const all = [...before.filter(({ run }) => run !== disk.run), disk]
    // what others heard long ago comes late: it must not push out what was heard since
    const runs = all.sort((a, b) => a.writes - b.writes).slice(-runsMax)
    if (!runs.includes(disk)) return
    this.#disks.delete(disk.replica)
    this.#disks.set(disk.replica, runs)
    this.#count += runs.length - before.length
    this.changed = true
    for (const role of ['none', 'observer'] as const) this.#forget(role)
  }

  /** Those of that role that were not heard of for longest, while there are too many. */
  #forget(role: Role): void {
    if (this.#count <= rememberedMax) return
    for (const [replica, runs] of this.#disks) {
      if (this.#roleOf(replica) !== role) continue
      this.#disks.delete(replica)
      this.#count -= runs.length
      if (this.#count <= rememberedMax) return
    }
  }
}
