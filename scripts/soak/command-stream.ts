// Streams of commands from several tabs, what they were told and when, and the judgement over it: nothing answered is missing,
// nothing happened twice, and every key's history is linearizable.

import type { HistoryLine } from '../../packages/core/sim/history.ts'
import { entryOf, judgeHistory } from '../../packages/core/sim/linearizability.ts'
import { createRandom, type Random } from '../../packages/core/src/lib/random.ts'
import type { Asked, Plain } from './pages/replica-page.ts'
import { type ReplicaTab, steadyMs, type TimedAnswer } from './replica-tab.ts'

/** So many commands on one set of shared keys: short histories are judged to the end. */
const setLength = 120
/** The checker takes values of one thousand as made from one write. */
const valueStep = 1_000

/** One tab's part of a stream. */
export interface Run {
  /** Ends when no command is under way any more; with what went wrong, if anything did. */
  stop(): Promise<readonly Error[]>
  /** Commands under way at the moment. */
  readonly underWay: number
  readonly answered: number
}

export interface Verdict {
  readonly commands: number
  readonly answered: number
  /** Commands whose answer never came. */
  readonly inDoubt: number
  /** Of those, how many took effect. */
  readonly inDoubtDone: number
  /** Answered and not there in the end. */
  readonly lost: number
  readonly executedTwice: number
  /** Keys whose history was found linearizable. */
  readonly keysLinearizable: number
}

export class CommandStream {
  readonly #random: Random
  readonly #lines: HistoryLine[] = []
  /** Each key here is incremented by one command, once. */
  readonly #once = new Map<string, 'told' | 'in doubt'>()
  /** The value that was last seen at a key, for comparisons that have a chance. */
  readonly #seen = new Map<string, Plain>()
  #count = 0
  #values = 0

  constructor(seed: number) {
    this.#random = createRandom(seed)
  }

  get answered(): number {
    return this.#lines.filter((line) => line.return !== null).length + [...this.#once.values()].filter(isTold).length
  }

  /** Keeps so many commands under way from this tab. */
  start(tab: ReplicaTab, client: string, inFlight: number): Run {
    const state = { going: true, underWay: 0, answered: 0 }
    const errors: Error[] = []
    const line = async (name: string): Promise<void> => {
      while (state.going) {
        state.underWay += 1
        try {
          await this.#one(tab, name)
          state.answered += 1
          state.underWay -= 1
        } catch (error) {
          // Still under way, as far as anybody knows.
          errors.push(error instanceof Error ? error : new Error(String(error)))
          return
        }
      }
    }
    const ended = Promise.all(Array.from({ length: inFlight }, (_, index) => line(`${client}.${index}`)))
    return {
      get underWay() {
        return state.underWay
      },
      get answered() {
        return state.answered
      },
      async stop() {
        state.going = false
        await ended
        return errors
      },
    }
  }

  /** `tab`: a replica that stands where all stand. Throws at what must not be. */
  async judge(tab: ReplicaTab): Promise<Verdict> {
    const inState = new Map(await tab.entries('once/'))
    const lost: string[] = []
    const twice: string[] = []
    let inDoubtDone = 0
    for (const [key, what] of this.#once) {
      const times = Number(inState.get(key) ?? 0)
      if (times === 0 && what === 'told') lost.push(key)
      if (times > 1) twice.push(key)
      if (times === 1 && what === 'in doubt') inDoubtDone += 1
    }
    const strangers = [...inState.keys()].filter((key) => !this.#once.has(key))
    if (lost.length > 0) throw new Error(`answered and missing: ${lost.join(', ')}`)
    if (twice.length > 0) throw new Error(`executed twice: ${twice.join(', ')}`)
    if (strangers.length > 0) throw new Error(`asked by nobody: ${strangers.join(', ')}`)
    const verdicts = judgeHistory([...this.#lines, ...(await this.#lastLooks(tab))].map(entryOf))
    for (const [key, verdict] of verdicts) {
      if (verdict === 'yes') continue
      const history = this.#lines.filter((line) => line.key === key).map((line) => JSON.stringify(line))
      throw new Error(`is the history of ${key} linearizable? ${verdict}\n${history.join('\n')}`)
    }
    const commands = this.#lines.length + this.#once.size
    const answered = this.answered
    return {
      commands,
      answered,
      inDoubt: commands - answered,
      inDoubtDone,
      lost: lost.length,
      executedTwice: twice.length,
      keysLinearizable: verdicts.size,
    }
  }

  async #one(tab: ReplicaTab, client: string): Promise<void> {
    this.#count += 1
    if (this.#count % 3 === 0) {
      const key = `once/${this.#count}`
      this.#once.set(key, 'in doubt')
      await tab.ask({ op: 'increment', key, args: [1] })
      this.#once.set(key, 'told')
      return
    }
    const asked = this.#draw(`shared/${Math.floor(this.#count / setLength)}/${this.#random.integer(3)}`)
    const line = { client, op: asked.op, key: asked.key, args: asked.args }
    const at = this.#lines.length
    // Until the answer comes: it may take effect at any time from now on, or never.
    this.#lines.push({ ...line, call: steadyMs(), return: null, result: null })
    const answer = await tab.ask(asked)
    this.#lines[at] = { ...line, call: answer.call, return: answer.return, result: answer.result }
    this.#remember(asked, answer)
  }

  #draw(key: string): Asked {
    const roll = this.#random.integer(10)
    if (roll < 3) return { op: 'increment', key, args: [1] }
    if (roll < 6) return { op: 'get', key, args: [] }
    if (roll < 8) return { op: 'compareAndSet', key, args: [this.#seen.get(key) ?? null, this.#nextValue()] }
    return { op: roll === 8 ? 'create' : 'set', key, args: [this.#nextValue()] }
  }

  #remember({ op, key, args }: Asked, { result }: TimedAnswer): void {
    if (op === 'get' || op === 'increment') this.#seen.set(key, result)
    else if (result === true) this.#seen.set(key, args.at(-1) ?? null)
  }

  #nextValue(): number {
    this.#values += 1
    return this.#values * valueStep
  }

  /** What all replicas hold in the end, as reads after everything else. */
  async #lastLooks(tab: ReplicaTab): Promise<HistoryLine[]> {
    const inState = new Map(await tab.entries('shared/'))
    const keys = new Set(this.#lines.map(({ key }) => String(key)))
    const at = steadyMs()
    return [...keys].map((key) => {
      return { client: 'end', op: 'get', key, args: [], call: at, return: at + 1, result: inState.get(key) ?? null }
    })
  }
}

function isTold(what: 'told' | 'in doubt'): boolean {
  return what === 'told'
}
