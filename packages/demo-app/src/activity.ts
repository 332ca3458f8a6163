// The commands of this page and what became of them, newest first. Only what this page proposed: the replicated log is not
// for reading.
import type { CommandResult, Handle } from '@wepaxos/core'
import { describeError } from './plain-words.ts'

export type Fate = 'pending' | 'committed' | 'done' | 'refused' | 'failed'

export interface ActivityEntry {
  readonly id: number
  /** The command as the page shows it, for example `set color = "blue"`. */
  readonly title: string
  readonly fate: Fate
  /** What came of it, or what stood in its way; empty while unknown. */
  readonly detail: string
  /** From the click to the result; undefined until then. */
  readonly tookMs: number | undefined
}

/** How a command ended. */
export type Outcome<R extends CommandResult> =
  | { readonly kind: 'done'; readonly result: Extract<R, { ok: true }> }
  | { readonly kind: 'refused'; readonly result: Extract<R, { ok: false }> }
  /** It was not accepted, or this page can not tell what became of it. */
  | { readonly kind: 'failed'; readonly problem: string }

const entriesMax = 50

export class Activity extends EventTarget {
  readonly #now: () => number
  #entries: readonly ActivityEntry[] = []
  #nextId = 1

  /** `now` in milliseconds; only differences count. */
  constructor(now: () => number) {
    super()
    this.#now = now
  }

  get entries(): readonly ActivityEntry[] {
    return this.#entries
  }

  /** Proposes a command and follows it to its end. `explain` puts its result into a few words. */
  async follow<R extends CommandResult>(
    title: string,
    propose: () => Handle<R>,
    explain: (result: R) => string,
  ): Promise<Outcome<R>> {
    const id = this.#nextId++
    const startedAt = this.#now()
    const entry: ActivityEntry = { id, title, fate: 'pending', detail: '', tookMs: undefined }
    this.#entries = [entry, ...this.#entries].slice(0, entriesMax)
    this.#changed()
    try {
      const handle = propose()
      handle.committed.then(
        () => this.#change(id, (entry) => (entry.fate === 'pending' ? { fate: 'committed' } : {})),
        // Told by `done`.
        () => {},
      )
      const result = await handle.done
      const fate = result.ok ? 'done' : 'refused'
      this.#change(id, () => ({ fate, detail: explain(result), tookMs: this.#now() - startedAt }))
      return { kind: fate, result } as Outcome<R>
    } catch (error) {
      const problem = describeError(error)
      this.#change(id, () => ({ fate: 'failed', detail: problem, tookMs: this.#now() - startedAt }))
      return { kind: 'failed', problem }
    }
  }

  #change(id: number, change: (entry: ActivityEntry) => Partial<ActivityEntry>): void {
    this.#entries = this.#entries.map((entry) => (entry.id === id ? { ...entry, ...change(entry) } : entry))
    this.#changed()
  }

  #changed(): void {
    this.dispatchEvent(new Event('change'))
  }
}
