// [OR1] Replicas of this page's partition that lost their own page: run here beside the page's own one, so that the quorum is
// there again, until their page is back and asks for them, or else until the others have let them go.
import { WepaxosError } from '../lib/errors.ts'
import type { ReplicaId } from '../protocol/ids.ts'
import type { Orphan, Storage } from '../storage/storage.ts'
import type { Logger } from './api.ts'
import type { Clock } from './clock.ts'
import type { Engine } from './engine.ts'

export interface OrphanHostOptions {
  /** Opens the orphan's replica on its disk. `changed` is called whenever something about it has. */
  readonly open: (storage: Storage, changed: () => void) => Promise<Engine>
  readonly clock: Clock
  readonly logger: Logger
  /** How long its page may take to come back before the replica gets out of the member list. */
  readonly patienceMs: number
  /** The set of hosted replicas has changed. */
  readonly onChanged: () => void
}

/** Between two tries to get out of the member list. */
const leaveMs = 1_000

export class OrphanHost {
  readonly #options: OrphanHostOptions
  readonly #hosted = new Set<HostedReplica>()
  #closed = false

  constructor(options: OrphanHostOptions) {
    this.#options = options
  }

  /** The ids of those that run here. */
  get ids(): readonly ReplicaId[] {
    return [...this.#hosted].flatMap(({ id }) => (id === null ? [] : [id]))
  }

  adopt(orphan: Orphan): void {
    if (this.#closed) {
      void orphan.storage.close()
      return
    }
    const hosted = new HostedReplica(orphan, this.#options, () => {
      this.#hosted.delete(hosted)
      this.#options.onChanged()
    })
    this.#hosted.add(hosted)
  }

  async close(): Promise<void> {
    this.#closed = true
    await Promise.all([...this.#hosted].map((hosted) => hosted.close()))
  }
}

class HostedReplica {
  readonly #orphan: Orphan
  readonly #options: OrphanHostOptions
  readonly #onEnd: () => void
  readonly #opening: Promise<Engine | null>
  #engine: Engine | null = null
  #stopTimer: (() => void) | null = null
  #leaving = false
  #ended: Promise<void> | null = null

  constructor(orphan: Orphan, options: OrphanHostOptions, onEnd: () => void) {
    this.#orphan = orphan
    this.#options = options
    this.#onEnd = onEnd
    orphan.onWanted = () => {
      // once it is on its way out of the member list, its page is better off with a new replica
      if (!this.#leaving) void this.close()
    }
    this.#opening = options
      .open(orphan.storage, () => this.#look())
      .then(
        (engine) => {
          this.#engine = engine
          if (this.#ended === null) this.#begin(engine)
          return engine
        },
        (error: unknown) => {
          const reason = error instanceof Error ? error.message : String(error)
          options.logger.warn('a replica that lost its page can not be run here', { reason })
          void this.#end(() => orphan.storage.close())
          return null
        },
      )
  }

  get id(): ReplicaId | null {
    return this.#engine?.self ?? null
  }

  #begin(engine: Engine): void {
    this.#options.logger.debug('runs a replica that lost its page', { replica: engine.self })
    this.#stopTimer = this.#options.clock.after(this.#options.patienceMs, () => this.#leave(engine))
    this.#options.onChanged()
    this.#look()
  }

  /** Out of the member list by a barrier, as soon as the others can do without it. */
  #leave(engine: Engine): void {
    if (this.#ended !== null) return
    this.#leaving = true
    this.#orphan.onWanted = null
    try {
      engine.startLeaving()
    } catch (error) {
      if (!(error instanceof WepaxosError)) throw error // Closed, LastMember, QuorumUnavailable: later, perhaps
    }
    this.#stopTimer = this.#options.clock.after(leaveMs, () => this.#leave(engine))
    this.#look()
  }

  #look(): void {
    const engine = this.#engine
    if (engine === null || this.#ended !== null) return
    if (engine.state.kind === 'failed') void this.#end(() => this.#orphan.storage.close())
    else if (engine.removed ? engine.hasLeft : this.#leaving && engine.hasLeft) void this.#end(() => engine.erase())
  }

  async close(): Promise<void> {
    const engine = await this.#opening
    if (engine !== null) await this.#end(() => engine.close())
  }

  #end(how: () => Promise<void>): Promise<void> {
    if (this.#ended === null) {
      this.#stopTimer?.()
      this.#orphan.onWanted = null
      this.#ended = how()
        .catch((error: unknown) => {
          const reason = error instanceof Error ? error.message : String(error)
          this.#options.logger.warn('a hosted replica did not end well', { reason })
        })
        .then(() => this.#onEnd())
    }
    return this.#ended
  }
}
