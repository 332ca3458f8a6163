// Who is in the room, as the pages tell each other: names, colours, what each one edits and last wrote. Owns what this page
// tells. Nothing here is part of the replicated state.
import type { PeerPresence, ReplicaId } from '@wepaxos/core'
import { decodePresence, encodePresence, type PresenceState } from './presence-state.ts'
import { cleanName, defaultProfile, loadProfile, type Profile, type ProfileStore, saveProfile } from './profile.ts'
import type { StoreReplica } from './store.ts'

/** Another page. */
export interface Visitor extends PresenceState {
  readonly peer: string
  /** Undefined while that page has no replica yet. */
  readonly replica: ReplicaId | undefined
}

export class RoomPresence extends EventTarget {
  readonly #replica: StoreReplica
  readonly #profiles: ProfileStore
  readonly #names = new Map<ReplicaId, string>()
  readonly #unsubscribe: () => void
  #self: PresenceState
  #chosen: boolean
  #others: readonly Visitor[] = []
  #decoded: readonly PeerPresence[] = []

  constructor(replica: StoreReplica, profiles: ProfileStore, now: number) {
    super()
    this.#replica = replica
    this.#profiles = profiles
    const profile = loadProfile(profiles, replica.id) ?? defaultProfile(replica.id)
    this.#chosen = profile.chosen
    this.#self = { name: profile.name, hue: profile.hue, since: now, editing: null, wrote: null }
    this.#unsubscribe = replica.presence.subscribe(() => this.#readOthers())
    this.#readOthers()
    this.#tell({})
    this.#save()
  }

  get self(): PresenceState {
    return this.#self
  }

  get others(): readonly Visitor[] {
    return this.#others
  }

  /** False when nothing is left of the text as a name. */
  rename(text: string): boolean {
    const name = cleanName(text)
    if (name === undefined) return false
    this.#chosen = true
    this.#tell({ name })
    this.#save()
    return true
  }

  edits(key: string | null): void {
    if (key !== this.#self.editing) this.#tell({ editing: key })
  }

  wrote(key: string, version: number): void {
    this.#tell({ wrote: { key, version } })
  }

  editorsOf(key: string): readonly Visitor[] {
    return this.#others.filter((visitor) => visitor.editing === key)
  }

  /** Who made this version of the key, if that page's newest write says so. */
  writerOf(key: string, version: number): string | undefined {
    return this.#others.find(({ wrote }) => wrote?.key === key && wrote.version === version)?.name
  }

  /** A name for a replica: as seen here, or as kept by another tab of this browser; else its id's beginning. */
  nameOf(id: ReplicaId): string {
    if (id === this.#replica.id) return this.#self.name
    return this.#names.get(id) ?? loadProfile(this.#profiles, id)?.name ?? id.slice(0, 6)
  }

  hueOf(id: ReplicaId): number | undefined {
    if (id === this.#replica.id) return this.#self.hue
    return this.#others.find((visitor) => visitor.replica === id)?.hue
  }

  close(): void {
    this.#unsubscribe()
  }

  #readOthers(): void {
    const present = this.#replica.presence.others
    if (present === this.#decoded) return
    this.#decoded = present
    this.#others = present.flatMap(({ peer, replicas, state }) => {
      const decoded = decodePresence(state)
      return decoded === undefined ? [] : [{ ...decoded, peer, replica: replicas[0] }]
    })
    for (const { replica, name } of this.#others) if (replica !== undefined) this.#names.set(replica, name)
    this.#standApart()
    this.dispatchEvent(new Event('change'))
  }

  /** Two pages that came to the same name or colour by chance: the one that came later takes another. */
  #standApart(): void {
    if (this.#chosen) return
    const own = this.#self
    const earlier = this.#others.filter(
      ({ since, replica }) => since < own.since || (since === own.since && (replica ?? '') < this.#replica.id),
    )
    if (!earlier.some(({ name, hue }) => name === own.name || hue === own.hue)) return
    const { name, hue } = defaultProfile(this.#replica.id, this.#others)
    if (name === own.name && hue === own.hue) return
    this.#tell({ name, hue })
    this.#save()
  }

  #tell(change: Partial<PresenceState>): void {
    this.#self = { ...this.#self, ...change }
    this.#replica.presence.set(encodePresence(this.#self))
    this.dispatchEvent(new Event('change'))
  }

  #save(): void {
    const profile: Profile = { name: this.#self.name, hue: this.#self.hue, chosen: this.#chosen }
    saveProfile(this.#profiles, this.#replica.id, profile)
  }
}
