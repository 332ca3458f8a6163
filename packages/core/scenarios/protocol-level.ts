// Stories of one epoch, step by step: the real `step` in sim/protocol-cluster.ts, every message in the story's hand. Nothing
// is delivered, lost or timed out but what a command says. Agreement, Visibility and the order of execution are checked by
// the cluster itself whenever something is committed or executed. README.md lists the commands.

import {
  barrierFor,
  type CommitPath,
  type Flight,
  ProtocolCluster,
  rowOf,
  touching,
  voterOf,
} from '../sim/protocol-cluster.ts'
import { must } from '../src/lib/assert.ts'
import { hashString } from '../src/lib/hash.ts'
import { type AccessMode, type Command, equalCommands, type KeyAccess } from '../src/protocol/command.ts'
import { equalDeps } from '../src/protocol/deps.ts'
import type { InstanceId, Row } from '../src/protocol/ids.ts'
import { type CommittedInstance, instanceKey, isCommitted } from '../src/protocol/instance.ts'
import { checkInvariants } from '../src/protocol/invariants.ts'
import { quorumsOf, votersMax } from '../src/protocol/quorum.ts'
import { type Level, StoryError } from './story.ts'
import {
  type LinkPattern,
  matchesLink,
  matchesType,
  mustEqual,
  parseLink,
  parseNumber,
  type Sent,
  transcript,
  Words,
} from './words.ts'

const letters = 'abcdefghi'
/** Commands that change nothing. */
const looksOnly: ReadonlySet<string> = new Set(['dump', 'flights', 'orders', 'thresholds'])
/** `settle` gives up after this. */
const settleMs = 60_000

const pathWords: Readonly<Record<CommitPath, string>> = {
  fast: 'commits on the fast path',
  slow: 'commits on the slow path',
  recovered: 'commits by recovery',
  learned: 'learns',
}

/** Which of the messages on their way are meant: all that is said has to fit. */
interface Pattern {
  readonly types: readonly string[]
  readonly links: readonly LinkPattern[]
  readonly ids: readonly InstanceId[]
}

export class ProtocolLevel implements Level {
  #cluster: ProtocolCluster | null = null
  #words: Words | null = null
  /** What was performed so far, so that it can be played again for other orders. */
  readonly #past: string[] = []
  readonly #texts = new Map<number, string>()
  readonly #paths = new Map<number, CommitPath>()
  #events: (string | Sent)[] = []
  #proposals = 0
  #reads = 0
  /** What the orders that were tried last came to, sorted. */
  #outcomes: readonly string[] = []

  async perform(text: string): Promise<readonly string[]> {
    const [verb = '', ...words] = text.split(/\s+/)
    await this.#do(verb, words)
    if (!looksOnly.has(verb)) this.#past.push(text)
    return transcript(this.#events.splice(0))
  }

  async #do(verb: string, words: readonly string[]): Promise<void> {
    switch (verb) {
      case 'cluster':
        return this.#start(words)
      case 'propose':
        return this.#propose(words)
      case 'read':
        return this.#read(words)
      case 'deliver':
      case 'repeat':
        return this.#deliver(words, verb === 'repeat')
      case 'run':
        return words[0] === 'writing' ? this.#runWriting() : void this.#there.deliverAll(this.#wanted(words))
      case 'lose':
        return this.#lose(words)
      case 'recover':
        return this.#recover(words)
      case 'tick':
        for (const row of this.#rows(words)) this.#there.tick(row)
        return
      case 'pass':
        this.#there.tickAll(parseNumber(words[0], 'the milliseconds to pass'))
        return
      case 'write':
        for (const row of this.#rows(words)) this.#there.write(row)
        return
      case 'crash':
        return this.#crash(words)
      case 'restart':
        for (const row of this.#rows(words)) this.#there.restart(row)
        return
      case 'disconnect':
      case 'connect': {
        const [a, b] = this.#pair(words)
        if (verb === 'connect') this.#there.connect(a, b)
        else this.#there.disconnect(a, b)
        return
      }
      case 'settle':
        return this.#settle()
      case 'dump':
        return this.#dump(words)
      case 'flights':
        for (const flight of this.#there.flights) this.#events.push(this.#sent(flight, ''))
        return
      case 'orders':
        return this.#orders(words)
      case 'thresholds':
        return this.#thresholds()
      default:
        throw new StoryError(`“${verb}” is no command of this level`)
    }
  }

  get #there(): ProtocolCluster {
    if (this.#cluster === null) throw new StoryError('a story begins with a cluster')
    return this.#cluster
  }

  get #say(): Words {
    return must(this.#words, 'a cluster has names')
  }

  // --- what happens -------------------------------------------------------------------------------------------------

  #start(words: readonly string[]): void {
    const n = parseNumber(words[0], 'the size of a cluster')
    const options = words.slice(1)
    for (const option of options) {
      if (option !== 'held' && option !== 'heartbeats') throw new StoryError(`a cluster has no option “${option}”`)
    }
    this.#words = new Words({
      voters: Array.from({ length: n }, (_, row) => voterOf(row)),
      nameOf: (id) => letters[rowOf(id)] ?? '?',
      textOf: ({ number }) => this.#texts.get(number) ?? `command ${number}`,
    })
    const say = this.#words
    this.#cluster = new ProtocolCluster({
      n,
      check: checkInvariants,
      disk: options.includes('held') ? 'held' : 'instant',
      heartbeats: options.includes('heartbeats'),
      listener: {
        sent: (from, to, message) =>
          this.#events.push({ from: say.row(from), to: say.row(to), text: say.message(message), note: '' }),
        committed: (by, instance, path) => this.#onCommitted(by, instance, path),
        executed: (by, { id, command }) =>
          this.#events.push(`${say.row(by)} executes ${say.id(id)} ${say.command(command)}`),
        refused: (by, { from, message, reason }) =>
          this.#events.push(`${say.row(by)} refuses ${say.message(message)} of ${say.row(rowOf(from))}: ${reason}`),
        readable: (by, { deps }) =>
          this.#events.push(`${say.row(by)} may read when this is executed: ${deps.join(' ')}`),
      },
    })
    const { slow, fast } = quorumsOf(n)
    this.#events.push(`${letters.slice(0, n).split('').join(' ')}: slow quorum ${slow}, fast quorum ${fast}`)
  }

  #onCommitted(by: Row, instance: CommittedInstance, path: CommitPath): void {
    const say = this.#say
    if (path !== 'learned') this.#paths.set(instanceKey(instance.id), path)
    const value = `${say.command(instance.command)}, ${say.deps(instance.deps)}`
    this.#events.push(`${say.row(by)} ${pathWords[path]} ${say.id(instance.id)}: ${value}`)
  }

  #propose(words: readonly string[]): void {
    const [at, kind = '', ...rest] = words
    const row = this.#row(at)
    if (!this.#there.canPropose(row)) throw new StoryError(`${at} can not propose now`)
    const command = kind === 'barrier' ? this.#barrier(rest) : this.#command(kind, rest)
    this.#there.propose(row, command)
  }

  #barrier(words: readonly string[]): Command {
    return barrierFor(words.length === 0 ? this.#there.n : parseNumber(words[0], 'the voters after a barrier'))
  }

  /** `write x y`, `add x`, `read x`, or `everything`. */
  #command(kind: string, keys: readonly string[]): Command {
    const number = ++this.#proposals
    this.#texts.set(number, [kind, ...keys].join(' '))
    if (kind === 'everything') return touching(number, 'everything')
    const mode: AccessMode | undefined = (['write', 'add', 'read'] as const).find((one) => one === kind)
    if (mode === undefined || keys.length === 0) throw new StoryError('a command is “write”, “add” or “read” and keys')
    return touching(
      number,
      keys.map((key): KeyAccess => ({ key: hashString(key), mode })),
    )
  }

  #read([at, ...keys]: readonly string[]): void {
    const footprint = keys.map((key): KeyAccess => ({ key: hashString(key), mode: 'read' }))
    this.#there.read(this.#row(at), ++this.#reads, footprint)
  }

  #deliver(words: readonly string[], keep: boolean): void {
    const wanted = this.#wanted(words)
    const found = this.#there.flights.filter(wanted)
    if (found.length === 0) throw new StoryError('nothing like that is on its way')
    for (const flight of found) this.#there.deliver(flight, { keep })
  }

  /** With held disks: everything is written and delivered, and what comes of it. */
  #runWriting(): void {
    const cluster = this.#there
    const busy = () =>
      cluster.flights.length > 0 || cluster.hosts.some(({ isUp, pending }) => isUp && pending.length > 0)
    while (busy()) {
      for (const row of this.#up()) cluster.write(row)
      cluster.deliverAll()
    }
  }

  #lose(words: readonly string[]): void {
    const wanted = this.#wanted(words)
    const found = this.#there.flights.filter(wanted)
    if (found.length === 0) throw new StoryError('nothing like that is on its way')
    for (const flight of found) this.#events.push(this.#sent(flight, '  (lost)'))
    this.#there.dropAll(wanted)
  }

  #recover(words: readonly string[]): void {
    const row = this.#row(words[0])
    const id = this.#id(words[1])
    if (!this.#there.canRecover(row, id)) throw new StoryError(`${words[0]} can not start to recover ${words[1]}`)
    this.#there.recover(row, id)
  }

  #crash(words: readonly string[]): void {
    const options = words.slice(1)
    for (const option of options) {
      if (option !== 'written' && option !== 'silently') throw new StoryError(`there is no crash “${option}”`)
    }
    this.#there.crash(this.#row(words[0]), {
      written: options.includes('written'),
      silently: options.includes('silently'),
    })
  }

  /** Everything is delivered and time passes, until all that anybody knows of is decided everywhere. */
  #settle(): void {
    const cluster = this.#there
    const until = cluster.now + settleMs
    while (!this.#isSettled()) {
      if (cluster.now >= until) throw new StoryError(`not settled after ${settleMs} ms`)
      cluster.tickAll(50)
      cluster.deliverAll()
    }
    // the way there is long, and another story's business: only where it leads is shown
    this.#events = summarized(this.#events)
  }

  #isSettled(): boolean {
    const up = this.#up()
    if (this.#there.flights.some(({ message }) => message.type !== 'Heartbeat')) return false
    return up.every((row) =>
      up.every((other) => [...this.#there.state(other).log.all()].every(({ id }) => this.#committedAt(row, id))),
    )
  }

  #up(): Row[] {
    return this.#there.hosts.filter(({ isUp }) => isUp).map(({ row }) => row)
  }

  #committedAt(row: Row, id: InstanceId): boolean {
    return isCommitted(this.#there.state(row).log.get(id))
  }

  // --- what is shown ------------------------------------------------------------------------------------------------

  #sent({ from, to, message }: Flight, note: string): Sent {
    const say = this.#say
    return { from: say.row(from), to: say.row(to), text: say.message(message), note }
  }

  #dump(words: readonly string[]): void {
    const say = this.#say
    const ids = words.filter((word) => word.includes('.')).map((word) => instanceKey(this.#id(word)))
    const names = words.filter((word) => !word.includes('.'))
    for (const row of names.length === 0 ? this.#there.hosts.map((host) => host.row) : this.#rows(names)) {
      if (!this.#there.isUp(row)) {
        this.#events.push(`${say.row(row)}: down`)
        continue
      }
      const instances = [...this.#there.state(row).log.all()]
        .filter(({ id }) => ids.length === 0 || ids.includes(instanceKey(id)))
        .sort((one, other) => one.id.row - other.id.row || one.id.seq - other.id.seq)
      if (instances.length === 0) this.#events.push(`${say.row(row)}: knows nothing`)
      for (const instance of instances) this.#events.push(`${say.row(row)}: ${say.instance(instance)}`)
    }
  }

  /** Delivers what is on its way to one replica in every order, each in a copy of the cluster, and says what came of it. */
  async #orders(words: readonly string[]): Promise<void> {
    const to = this.#row(words[0])
    const id = this.#id(words[1])
    const flights = this.#there.flights.filter((flight) => flight.to === to)
    const outcomes = new Map<string, string[]>()
    for (const order of permutations(flights.map(({ number }) => number))) {
      const copy = new ProtocolLevel()
      for (const past of this.#past) await copy.perform(past)
      const outcome = copy.#outcomeOf(order, to, id)
      const said = outcomes.get(outcome) ?? []
      said.push(
        order
          .map((number) =>
            this.#say.row(
              must(
                flights.find((one) => one.number === number),
                'it was there',
              ).from,
            ),
          )
          .join(''),
      )
      outcomes.set(outcome, said)
    }
    this.#outcomes = [...outcomes.keys()].sort()
    for (const [outcome, orders] of [...outcomes].sort(([, a], [, b]) => b.length - a.length)) {
      const shown = orders.length > 6 ? `${orders.slice(0, 6).join(', ')}, …` : orders.join(', ')
      this.#events.push(`${outcome}: ${orders.length} of ${[...outcomes.values()].flat().length} orders (${shown})`)
    }
  }

  #outcomeOf(order: readonly number[], to: Row, id: InstanceId): string {
    const say = this.#say
    for (const number of order) {
      const flight = this.#there.flights.find((one) => one.number === number)
      if (flight !== undefined) this.#there.deliver(flight)
    }
    const attempt = this.#there.state(to).attempts.get(instanceKey(id))
    if (attempt?.kind === 'accepting') return `slow path, ${say.deps(attempt.deps)}`
    const instance = this.#there.state(to).log.get(id)
    if (isCommitted(instance)) return `fast path, ${say.deps(instance.deps)}`
    return 'undecided'
  }

  #thresholds(): void {
    for (let n = 1; n <= votersMax; n++) {
      const { f, e, slow, fast } = quorumsOf(n)
      this.#events.push(`n = ${n}: slow quorum ${slow}, fast quorum ${fast}; ${f} may be away, ${e} on the fast path`)
    }
  }

  // --- what has to hold ---------------------------------------------------------------------------------------------

  async expect(text: string): Promise<void> {
    for (const [pattern, holds] of this.#expectations) {
      const match = pattern.exec(text)
      if (match !== null) return holds(...match.slice(1))
    }
    throw new StoryError('nobody knows how to expect that')
  }

  readonly #expectations: readonly (readonly [RegExp, (...parts: string[]) => void])[] = [
    [/^agreement$/, () => this.#expectAgreement()],
    [/^the same executed everywhere$/, () => this.#expectSameExecution()],
    [
      /^executed ([a-i ]+): (.+)$/,
      (names = '', ids) => {
        for (const row of this.#rows(names.split(' '))) {
          const found = this.#there.executed(row).map(({ id }) => this.#say.id(id))
          mustEqual(found.join(' ') || 'nothing', ids, `what ${this.#say.row(row)} executed`)
        }
      },
    ],
    [
      /^everywhere (\S+): (.+)$/,
      (id, value) => {
        for (const row of this.#up()) this.#expectCommitted(row, this.#id(id), value)
      },
    ],
    [
      /^at (\w) (\S+): (.+)$/,
      (name, id, state) => {
        const known = this.#there.state(this.#row(name)).log.get(this.#id(id))
        const found = known === undefined ? 'unknown' : this.#say.instance(known).replace(/^\S+\s+/, '')
        mustEqual(found, state, `${id} at ${name}`)
      },
    ],
    [
      /^path of (\S+): (\w+)$/,
      (id, path) => mustEqual(this.#paths.get(instanceKey(this.#id(id))) ?? 'none', path, `the path of ${id}`),
    ],
    [
      /^(\w) (can|can not) propose$/,
      (name, can) =>
        mustEqual(this.#there.canPropose(this.#row(name)) ? 'can' : 'can not', can, `whether ${name} can propose`),
    ],
    [
      /^next seq of (\w): (\d+)$/,
      (name, seq) => mustEqual(String(this.#there.state(this.#row(name)).nextSeq), seq, `the next seq of ${name}`),
    ],
    [/^outcomes: (.+)$/, (outcomes) => mustEqual(this.#outcomes.join(' | '), outcomes, 'what the orders came to')],
    [/^nothing on its way$/, () => mustEqual(String(this.#there.flights.length), '0', 'messages on their way')],
  ]

  #expectCommitted(row: Row, id: InstanceId, value = ''): void {
    const say = this.#say
    const instance = this.#there.state(row).log.get(id)
    if (!isCommitted(instance)) throw new StoryError(`${say.id(id)} is not committed at ${say.row(row)}`)
    const command = say.command(instance.command)
    const whole = `${command}, ${say.deps(instance.deps)}`
    mustEqual(value.includes(', deps ') ? whole : command, value, `${say.id(id)} at ${say.row(row)}`)
  }

  /** No instance has two values anywhere, on disk or in memory; that conflicting ones see each other was checked before. */
  #expectAgreement(): void {
    const say = this.#say
    const { decided } = this.#there.promises
    if (decided.size === 0) throw new StoryError('nothing was committed, so there is nothing to agree on')
    for (const { row, state, disk } of this.#there.hosts) {
      for (const instance of [...(state?.log.all() ?? []), ...disk.values()]) {
        if (!isCommitted(instance)) continue
        const first = must(decided.get(instanceKey(instance.id)), 'what is committed was noted')
        if (!equalCommands(first.command, instance.command) || !equalDeps(first.deps, instance.deps)) {
          throw new StoryError(`${say.row(row)} has another value for ${say.id(instance.id)}`)
        }
      }
    }
  }

  /** All that are up have executed the same instances, and everything that was committed but Nops. */
  #expectSameExecution(): void {
    const say = this.#say
    const all = [...this.#there.promises.decided.values()]
      .filter(({ command }) => command.kind !== 'nop')
      .map(({ id }) => say.id(id))
      .sort()
    for (const row of this.#up()) {
      const here = this.#there.executed(row).map(({ id }) => say.id(id))
      mustEqual(here.sort().join(' '), all.join(' '), `what ${say.row(row)} executed`)
    }
  }

  // --- words to things ----------------------------------------------------------------------------------------------

  #row(name: string | undefined): Row {
    const row = name === undefined || name.length !== 1 ? -1 : letters.indexOf(name)
    if (row < 0 || row >= this.#there.n) throw new StoryError(`there is no replica “${name ?? ''}”`)
    return row
  }

  #rows(names: readonly string[]): Row[] {
    return names[0] === 'all' ? this.#up() : names.map((name) => this.#row(name))
  }

  #pair([a, b]: readonly string[]): readonly [Row, Row] {
    return [this.#row(a), this.#row(b)]
  }

  #id(text: string | undefined): InstanceId {
    const [, row, seq] = /^([a-i])\.(\d+)$/.exec(text ?? '') ?? []
    if (row === undefined || seq === undefined) throw new StoryError(`“${text ?? ''}” is no instance`)
    return { row: this.#row(row), seq: Number(seq) }
  }

  /** `all`, or types, links and instances. */
  #wanted(words: readonly string[]): (flight: Flight) => boolean {
    const pattern = this.#pattern(words)
    return ({ from, to, message }) => {
      const say = this.#say
      if (pattern.types.length > 0 && !pattern.types.some((type) => matchesType(type, message.type))) return false
      if (pattern.links.length > 0 && !pattern.links.some((link) => matchesLink(link, say.row(from), say.row(to)))) {
        return false
      }
      return (
        pattern.ids.length === 0 || ('id' in message && pattern.ids.some((id) => say.id(id) === say.id(message.id)))
      )
    }
  }

  #pattern(words: readonly string[]): Pattern {
    const types: string[] = []
    const links: LinkPattern[] = []
    const ids: InstanceId[] = []
    for (const word of words) {
      const link = parseLink(word)
      if (link !== null) links.push(link)
      else if (word.includes('.')) ids.push(this.#id(word))
      else if (/^[A-Z]\w+$/.test(word)) types.push(word)
      else if (word !== 'all') throw new StoryError(`“${word}” is no type of message, no link like a>b, no instance`)
    }
    return { types, links, ids }
  }
}

/** Without messages; what happened to several instances alike is one line. */
function summarized(events: readonly (string | Sent)[]): string[] {
  const idsOf = new Map<string, string[]>()
  for (const event of events) {
    if (typeof event !== 'string') continue
    const id = /\b[a-i]\.\d+\b/.exec(event)?.[0] ?? ''
    const alike = event.replace(id, '…')
    const ids = idsOf.get(alike) ?? []
    ids.push(id)
    idsOf.set(alike, ids)
  }
  return [...idsOf].map(([alike, ids]) => {
    const said = ids.length > 2 ? `${ids[0]} to ${ids.at(-1)} (${ids.length})` : ids.join(' and ')
    return alike.replace('…', said)
  })
}

/** Every order of the items, in the order of the items. */
function permutations<T>(items: readonly T[]): T[][] {
  let orders: T[][] = [[]]
  for (const item of items) {
    orders = orders.flatMap((order) =>
      Array.from({ length: order.length + 1 }, (_, at) => [...order.slice(0, at), item, ...order.slice(at)]),
    )
  }
  return orders
}
