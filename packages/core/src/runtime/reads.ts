// Linearizable reads on their way (docs/protocol.md, section 11): how often a quorum is asked, and when the state here may be
// shown. The asking itself is the protocol's (protocol/read.ts).
import { WepaxosError } from '../lib/errors.ts'
import { type Footprint, footprintsConflict } from '../protocol/command.ts'
import { coversDeps, type Deps, mergeDeps, noDeps } from '../protocol/deps.ts'
import type { EpochRun } from './epoch-run.ts'

/** Reads that wait at one time; beyond that starting one throws Overloaded. */
export const readsMax = 10_000

/** After so many rounds that others' writes spoilt, a read is ordered like a command. */
const roundsMax = 4

export interface ReadsContext {
  run(): EpochRun | null
  /** Starts a round: a slow quorum is asked for what conflicts with the footprint. */
  ask(read: number, footprint: Footprint): void
  /** Whether this replica may propose: one of a page with a reader's link may not, and goes on asking. */
  readonly mayOrder: boolean
  /** Has a command without effect ordered among all that conflicts with the footprint; `done` when it is executed here. */
  order(footprint: Footprint, done: () => void, failed: (error: WepaxosError) => void): void
}

interface Read {
  readonly footprint: Footprint
  readonly ready: () => void
  readonly failed: (error: WepaxosError) => void
  /** One key: everything on it that does not commute has one order, so any state is one of a row of states. */
  readonly singleKey: number | null
  rounds: number
  /** What was executed here when the round began. */
  executedBefore: Deps
  /** Whether something that conflicts was executed here since. */
  disturbed: boolean
  /** What the quorum of this round knew; null while it has not answered. */
  deps: Deps | null
}

export class Reads {
  readonly #context: ReadsContext
  /** By the number of the present round: an answer to an earlier round finds nothing. */
  readonly #rounds = new Map<number, Read>()
  /** Those that are ordered like commands. */
  readonly #ordered = new Set<Read>()
  #nextRound: number

  /** `firstRound`: another one in each life of the replica, so that an answer to an earlier life's read finds nothing. */
  constructor(context: ReadsContext, firstRound: number) {
    this.#context = context
    this.#nextRound = firstRound
  }

  get size(): number {
    return this.#rounds.size
  }

  /** Throws Overloaded. */
  start(footprint: Footprint, ready: () => void, failed: (error: WepaxosError) => void): void {
    if (this.#rounds.size >= readsMax) {
      throw new WepaxosError('Overloaded', `${readsMax} reads of this replica wait for their answer already`, {
        readsMax,
      })
    }
    const [only] = footprint
    const singleKey = typeof only === 'object' && footprint.length === 1 ? only.key : null
    this.#ask({
      footprint,
      ready,
      failed,
      singleKey,
      rounds: 0,
      executedBefore: [],
      disturbed: false,
      deps: null,
    })
  }

  #ask(read: Read): void {
    read.rounds++
    read.deps = null
    read.disturbed = false
    read.executedBefore = this.#context.run()?.executor.executedUpTo.slice() ?? []
    const round = this.#nextRound++
    this.#rounds.set(round, read)
    this.#context.ask(round, read.footprint)
  }

  answered(round: number, deps: Deps): void {
    const read = this.#rounds.get(round)
    if (read !== undefined) read.deps = deps
  }

  /** A command was executed here. */
  executed(footprint: Footprint): void {
    for (const read of this.#rounds.values()) {
      if (!read.disturbed && footprintsConflict(read.footprint, footprint)) read.disturbed = true
    }
  }

  /** What execution has to come to for the reads that wait for it. */
  needs(rows: number): Deps {
    let needs: Deps = noDeps(rows)
    for (const { deps } of this.#rounds.values()) if (deps !== null) needs = mergeDeps(needs, deps)
    return needs
  }

  /** Serves what can be served from the state as it is now. */
  serve(): void {
    const run = this.#context.run()
    if (run === null || this.#rounds.size === 0) return
    for (const [round, read] of [...this.#rounds]) {
      if (read.deps === null || !coversDeps(run.executor.executedUpTo, read.deps)) continue
      this.#rounds.delete(round)
      if (this.#mayShow(run, read, read.deps)) read.ready()
      else if (read.rounds < roundsMax || !this.#context.mayOrder) this.#ask(read)
      else this.#order(read)
    }
  }

  #order(read: Read): void {
    this.#ordered.add(read)
    this.#context.order(
      read.footprint,
      () => {
        if (this.#ordered.delete(read)) read.ready()
      },
      (error) => {
        if (!this.#ordered.delete(read)) return
        if (error.code !== 'OutcomeUnknown') {
          read.failed(error)
          return
        }
        // what became of its command is no matter: a read has no effect, and can be begun anew
        read.rounds = 0
        this.#ask(read)
      },
    )
  }

  /**
   * [RD3] The state here holds what the quorum knew, and perhaps more: commands that commute with each other came as they
   * came. It may be shown where no two of those that matter commute, or where it is still what it was when the round
   * began and the quorum knew of nothing beyond it: then the read took place at that moment.
   */
  #mayShow(run: EpochRun, read: Read, deps: Deps): boolean {
    if (read.singleKey !== null && !run.protocol.index.hasCommuting(read.singleKey)) return true
    return !read.disturbed && coversDeps(read.executedBefore, deps)
  }

  /** [RD2] The epoch ended meanwhile: start over in this one. */
  startOver(): void {
    const reads = [...this.#rounds.values()]
    this.#rounds.clear()
    for (const read of reads) {
      read.rounds = 0
      this.#ask(read)
    }
  }

  failAll(error: WepaxosError): void {
    const reads = [...this.#rounds.values(), ...this.#ordered]
    this.#rounds.clear()
    this.#ordered.clear()
    for (const { failed } of reads) failed(error)
  }
}
