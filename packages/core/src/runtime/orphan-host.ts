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
/** One that could not be run waits when it is offered again. Doubled with each of its failures in a row, up to … */
const failedMs = 1_000
const failuresMax = 6

export class OrphanHost {
  readonly #options: OrphanHostOptions
  readonly #hosted = new Set<HostedReplica>()
  /** By slot. */
  readonly #failures = new Map<number, number>()
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
    const { slot } = orphan
    const failures = this.#failures.get(slot) ?? 0
    const waitMs = failures === 0 ? 0 : failedMs * 2 ** failures
    const hosted = new HostedReplica(orphan, this.#options, waitMs, (how) => {
      if (how === 'failed') this.#failures.set(slot, Math.min(failures + 1, failuresMax))
      else this.#failures.delete(slot)
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
  readonly #onEnd: (how: 'well' | 'failed') => void
  #engine: Engine | null = null
  #opening: Promise<void> | null = null
  #stopTimer: (() => void) | null = null
  #leaving = false
  #ended: Promise<void> | null = null

  constructor(orphan: Orphan, options: OrphanHostOptions, waitMs: number, onEnd: (how: 'well' | 'failed') => void) {
    this.#orphan = orphan
    this.#options = options
    this.#onEnd = onEnd
    orphan.onWanted = () => this.#giveBack()
    if (waitMs === 0) this.#opening = this.#open()
    else
      this.#stopTimer = options.clock.after(waitMs, () => {
        this.#opening = this.#open()
      })
  }

  get id(): ReplicaId | null {
    return this.#engine?.self ?? null
  }

  async #open(): Promise<void> {
    try {
      this.#engine = await this.#options.open(this.#orphan.storage, () => this.#look())
    } catch (error) {
      this.#options.logger.warn('a replica that lost its page can not be run here', { reason: reasonOf(error) })
      await this.#end('failed', () => this.#orphan.storage.close())
      return
    }
    const engine = this.#engine
    this.#options.logger.debug('runs a replica that lost its page', { replica: engine.self })
    if (this.#ended === null && Number.isFinite(this.#options.patienceMs)) {
      this.#stopTimer = this.#options.clock.after(this.#options.patienceMs, () => this.#leave(engine))
    }
    this.#options.onChanged()
    this.#look()
  }

  /** Out of the member list by a barrier, as soon as the others can do without it. */
  #leave(engine: Engine): void {
    if (this.#ended !== null) return
    if (engine.pendingCount > 0) {
      // what its page had in doubt goes first: nobody else has it
      this.#stopTimer = this.#options.clock.after(leaveMs, () => this.#leave(engine))
      return
    }
    try {
      engine.startLeaving()
      this.#leaving = true
    } catch (error) {
      if (!(error instanceof WepaxosError)) throw error // Closed, LastMember, QuorumUnavailable: later, perhaps
    }
    // on its way out of the member list: its page is better off with a new replica
    this.#orphan.onWanted = this.#leaving && engine.reachesQuorum ? null : () => this.#giveBack()
    this.#stopTimer = this.#options.clock.after(leaveMs, () => this.#leave(engine))
    this.#look()
  }

  #giveBack(): void {
    const engine = this.#engine
    if (this.#leaving && engine?.reachesQuorum === true) return // the barrier may be under way
    engine?.giveBack()
    void this.close()
  }

  #look(): void {
    const engine = this.#engine
    if (engine === null || this.#ended !== null) return
    const { state } = engine
    if (state.kind === 'failed') void this.#end('failed', () => this.#giveUp(engine))
    else if (engine.role === 'none' && engine.hasLeft && (engine.removed || this.#leaving)) {
      void this.#end('well', () => engine.erase())
    }
  }

  async #giveUp(engine: Engine): Promise<void> {
    try {
      if (engine.givesDiskUp) await engine.noteLost()
    } finally {
      await this.#orphan.storage.close()
    }
  }

  async close(): Promise<void> {
    await this.#opening
    const engine = this.#engine
    await this.#end('well', () => (engine === null ? this.#orphan.storage.close() : engine.close()))
  }

  #end(how: 'well' | 'failed', act: () => Promise<void>): Promise<void> {
    if (this.#ended === null) {
      this.#stopTimer?.()
      this.#orphan.onWanted = null
      this.#ended = act()
        .catch((error: unknown) => {
          this.#options.logger.warn('a hosted replica did not end well', { reason: reasonOf(error) })
        })
        .then(() => this.#onEnd(how))
    }
    return this.#ended
  }
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
