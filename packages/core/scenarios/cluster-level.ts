// Stories of whole replicas: the runtime that ships, on simulated time, with the network and disks of this folder. No dice, so
// that a story reads the same every time; what the replicas committed is judged by sim/agreement.ts. README.md lists the
// commands.
import { AgreementChecker } from '../sim/agreement.ts'
import { ProcessClock, World } from '../sim/world.ts'
import { must } from '../src/lib/assert.ts'
import { WepaxosError } from '../src/lib/errors.ts'
import type { Epoch, ReplicaId } from '../src/protocol/ids.ts'
import { replicaIdFromBytes } from '../src/protocol/ids.ts'
import { checkInvariants } from '../src/protocol/invariants.ts'
import type { Replica } from '../src/runtime/api.ts'
import { openReplicaIn } from '../src/runtime/open-replica.ts'
import { type KvCommands, type KvQueries, kv } from '../src/state-machines/kv.ts'
import { type Level, StoryError } from './story.ts'
import { StoryDisk } from './story-disk.ts'
import { StoryNetwork } from './story-network.ts'
import { mustEqual, parseLink, parseNumber, type Sent, transcript, Words } from './words.ts'

type KvReplica = Replica<KvCommands, KvQueries>

/** A command, read or request of the story, and what came of it. */
interface Call {
  readonly by: string
  readonly text: string
  readonly madeAt: number
  /** Null while nothing is known. */
  answer: string | null
  answeredAt: number
  /** Its process died: nobody is there to be answered. */
  dead: boolean
}

/** One process: a letter, a disk, and a replica while it runs. */
interface Process {
  readonly name: string
  readonly disk: StoryDisk
  life: number
  replica: KvReplica | null
  clock: ProcessClock | null
  /** What was last said about its members and its status. */
  said: { members: string; status: string }
}

interface Load {
  answered: number
  worstMs: number
}

const withinMs = 60_000
/** Instances in a log whose invariants are still checked at each step. */
const checkedUpTo = 200
/** Seats are given and taken by orders, so that a story decides; `auto` where a story is about that. */
const optionDefaults = { membership: 'manual' } as const

export class ClusterLevel implements Level {
  readonly #world = new World(1)
  readonly #agreement = new AgreementChecker()
  readonly #voters = new Map<Epoch, readonly ReplicaId[]>()
  readonly #network: StoryNetwork
  readonly #processes = new Map<string, Process>()
  readonly #calls: Call[] = []
  readonly #texts = new Map<string, string>()
  readonly #shown = new Set<string>()
  #events: (string | Sent)[] = []
  #quiet = false
  #load: Load | null = null
  /** While a load runs nobody looks: it is about answers, and long. */
  #loaded = false

  constructor() {
    this.#network = new StoryNetwork(this.#world, {
      votersOf: (epoch) => must(this.#voters.get(epoch), 'the start of an epoch is written before it is spoken of'),
      words: (voters) => this.#words(voters),
      shows: (type) => this.#shown.has(type),
      onMessage: (sent) => this.#events.push(sent),
    })
  }

  async perform(text: string): Promise<readonly string[]> {
    const [verb = '', ...words] = text.split(/\s+/)
    await this.#do(verb, words)
    return transcript(this.#events.splice(0))
  }

  async #do(verb: string, words: readonly string[]): Promise<void> {
    const [first = ''] = words
    switch (verb) {
      case 'cluster':
        return this.#cluster(words)
      case 'open':
        return this.#open(first, words.slice(1))
      case 'kill':
        return this.#kill(this.#process(first))
      case 'freeze':
        must(this.#process(first).clock, 'it runs').frozenUntil = this.#world.now + parseNumber(words[1], 'how long')
        return
      case 'show':
        for (const type of words) this.#shown.add(type)
        return
      case 'hide':
        this.#shown.clear()
        return
      case 'hold':
      case 'lose':
        return this.#rule(verb, words)
      case 'release':
        this.#network.release()
        return
      case 'let-through':
        this.#network.letThrough()
        return
      case 'discard':
        this.#network.discard()
        return
      case 'cut':
        for (const other of words.slice(1)) this.#network.cut(first, other)
        return this.#pass(50)
      case 'mend':
        this.#network.mend()
        return this.#pass(50)
      case 'delay':
        this.#network.delay(first, parseNumber(words[1], 'a delay'))
        return
      case 'disk':
        return this.#disk(first, words[1] ?? '')
      case 'pass':
        return this.#pass(parseNumber(first, 'the milliseconds to pass'))
      case 'wait':
        return this.#wait(words)
      case 'dump':
        for (const name of words) this.#dump(this.#process(name))
        return
      case 'load':
        return this.#runLoad(words)
      default:
        return this.#call(verb, words)
    }
  }

  // --- processes ----------------------------------------------------------------------------------------------------

  /** Opens them, gives each a seat, and waits until all are voters and connected. */
  async #cluster(names: readonly string[]): Promise<void> {
    this.#quiet = true
    const [founder = ''] = names
    for (const name of names) {
      await this.#open(name, [])
      await this.#until(() => this.#replica(name).status.kind === 'ready', 'not ready')
      if (name !== founder) await this.#settled(this.#replica(founder).setRole(this.#replica(name).id, 'voter'))
    }
    await this.#until(
      () =>
        names.every((name) => {
          const { status, members } = this.#replica(name)
          const voters = members.filter((one) => one.role === 'voter' && one.connected)
          return status.kind === 'ready' && voters.length === names.length
        }),
      'they did not all become voters',
    )
    await this.#pass(2_000) // so that they have forgotten the epochs before
    this.#quiet = false
    const { epoch, slowQuorum, fastQuorum } = this.#replica(founder).stats()
    this.#events.push(`epoch ${epoch}: ${names.join(' ')}; slow quorum ${slowQuorum}, fast quorum ${fastQuorum}`)
  }

  async #open(name: string, options: readonly string[]): Promise<void> {
    if (!/^[a-z]$/.test(name)) throw new StoryError('a process is named by one letter')
    const founded = this.#processes.size === 0
    let process = this.#processes.get(name)
    if (process === undefined) {
      const disk = new StoryDisk(this.#world, this.#agreement, this.#voters, name)
      process = { name, disk, life: 0, replica: null, clock: null, said: { members: '', status: '' } }
      this.#processes.set(name, process)
    }
    if (process.replica !== null) throw new StoryError(`${name} runs already`)
    const life = ++process.life
    const opened = process
    const clock = new ProcessClock(this.#world, () => opened.life === life)
    let drawn = 0
    const letter = name.charCodeAt(0)
    const replica = await this.#settled(
      openReplicaIn<KvCommands, KvQueries>(
        {
          partition: 'story',
          transport: this.#network.transport(name, founded),
          storage: process.disk,
          machine: kv(),
          ...optionDefaults,
          ...parseOptions(options),
        },
        {
          clock,
          // 16 bytes are the replica's id, which begins with its letter; a founder's second draw names the partition
          randomBytes: (count) => {
            if (count !== 16) return new Uint8Array(count).fill(life)
            const bytes = new Uint8Array(count).fill(drawn === 0 && life === 1 ? letter : drawn === 0 ? life : 0)
            if (drawn++ === 0) bytes[0] = letter
            return bytes
          },
          // linear in the log: only while that is short
          onStep: (state) => {
            if (state.log.size <= checkedUpTo) checkInvariants(state)
          },
        },
      ),
    )
    process.clock = clock
    process.replica = replica
    this.#look()
  }

  #kill(process: Process): void {
    process.life++
    process.disk.crash()
    this.#network.detach(process.name)
    process.replica = null
    for (const call of this.#calls) if (call.by === process.name && call.answer === null) call.dead = true
    process.said = { members: '', status: '' }
  }

  #disk(name: string, what: string): void {
    const { disk } = this.#process(name)
    switch (what) {
      case 'hold':
        return disk.hold()
      case 'resume':
        return disk.resume()
      case 'keep':
        return disk.keepAside()
      case 'restore':
        return disk.putBack()
      default:
        throw new StoryError('a disk can “hold”, “resume”, “keep” and “restore”')
    }
  }

  #rule(verb: 'hold' | 'lose', words: readonly string[]): void {
    const links = words.map(parseLink).filter((link) => link !== null)
    const types = words.filter((word) => /^[A-Z]/.test(word))
    if (links.length === 0) throw new StoryError('a rule names links, such as a>b')
    for (const link of links) this.#network.add({ verb, types: types.length === 0 ? 'all' : types, link })
  }

  // --- calls --------------------------------------------------------------------------------------------------------

  /** `a set x 1`, `a add x 1`, `a increment x`, `a read x`, `a checkpoint`, `a leave`, `a remove c`, `a promote c`. */
  #call(by: string, words: readonly string[]): void {
    const [what = '', key = '', value = ''] = words
    const replica = this.#replica(by)
    const text = words.join(' ')
    switch (what) {
      case 'set':
        return this.#propose(by, text, replica.mutate.set(key, /^\d+$/.test(value) ? Number(value) : value))
      case 'add':
        return this.#propose(by, text, replica.mutate.add(key, parseNumber(value, 'what is added')))
      case 'increment':
        return this.#propose(by, text, replica.mutate.increment(key))
      case 'read':
        return this.#follow(by, text, replica.read.get(key).then(String))
      case 'checkpoint':
        return this.#follow(
          by,
          text,
          replica.checkpoint().then(({ epoch }) => `epoch ${epoch} begins`),
        )
      case 'leave':
        return this.#follow(
          by,
          text,
          replica.leave({ timeoutMs: withinMs }).then(() => 'left'),
        )
      case 'remove':
      case 'observe':
      case 'promote': {
        const role = what === 'remove' ? 'none' : what === 'observe' ? 'observer' : 'voter'
        const done = replica.setRole(this.#idOf(key), role, { timeoutMs: withinMs })
        return this.#follow(
          by,
          text,
          done.then(() => 'done'),
        )
      }
      default:
        throw new StoryError(`“${by} ${what}” is no command of this level`)
    }
  }

  #propose(
    by: string,
    text: string,
    handle: { readonly key: string; readonly done: Promise<{ ok: boolean; value?: unknown; code?: string }> },
  ): void {
    this.#texts.set(handle.key, text)
    this.#follow(
      by,
      text,
      handle.done.then((result) => (result.ok ? String(result.value) : String(result.code))),
    )
  }

  #follow(by: string, text: string, answer: Promise<string>): void {
    const call: Call = { by, text, madeAt: this.#world.now, answer: null, answeredAt: 0, dead: false }
    this.#calls.push(call)
    const answered = (what: string) => {
      if (call.dead) return
      call.answer = what
      call.answeredAt = this.#world.now
      this.#events.push(`${by}: ${text} → ${what}`)
    }
    answer.then(answered, (error: unknown) => answered(error instanceof WepaxosError ? error.code : String(error)))
  }

  /** Increments of one key by several replicas, in turn and again and again, for a while. */
  async #runLoad(words: readonly string[]): Promise<void> {
    const names = words.filter((word) => /^[a-z]$/.test(word))
    const [key, everyMs, forMs] = ['key', 'every', 'for'].map((name) => {
      return words.find((word) => word.startsWith(`${name}=`))?.slice(name.length + 1)
    })
    const every = parseNumber(everyMs, 'every')
    const until = this.#world.now + parseNumber(forMs, 'for')
    const load: Load = { answered: 0, worstMs: 0 }
    this.#load = load
    this.#loaded = true
    let proposed = 0
    while (this.#world.now < until) {
      for (const name of names) {
        const madeAt = this.#world.now
        proposed++
        const { done } = this.#replica(name).mutate.increment(must(key, 'a load names a key'))
        done.then(
          () => {
            load.answered++
            load.worstMs = Math.max(load.worstMs, this.#world.now - madeAt)
          },
          () => {},
        )
      }
      await this.#pass(every)
    }
    await this.#until(() => load.answered === proposed, 'not everything was answered')
    this.#loaded = false
    this.#events.push(`${proposed} commands by ${names.join(' ')}, all answered`)
  }

  // --- time ---------------------------------------------------------------------------------------------------------

  async #step(): Promise<boolean> {
    const more = await this.#world.step()
    if (!this.#loaded) this.#look()
    return more
  }

  /** Says what has changed at the replicas. */
  #look(): void {
    for (const process of this.#processes.values()) {
      const { replica, name, said } = process
      if (replica === null) continue
      const members = this.#membersOf(replica)
      const status = replica.status.kind === 'failed' ? `failed: ${replica.status.error.code}` : replica.status.kind
      if (!this.#quiet && members !== '' && members !== said.members) {
        this.#events.push(`${name} is in epoch ${replica.stats().epoch}: ${members}`)
      }
      if (!this.#quiet && status !== said.status) this.#events.push(`${name} is ${status}`)
      said.members = members
      said.status = status
    }
  }

  #membersOf(replica: KvReplica): string {
    const of = (role: string) => replica.members.filter((one) => one.role === role).map(({ id }) => id)
    return this.#words([]).members(of('voter'), of('observer'))
  }

  async #pass(ms: number): Promise<void> {
    const deadline = this.#world.now + ms
    this.#world.at(ms, () => {})
    while (this.#world.now < deadline) await this.#step()
  }

  async #until(condition: () => boolean, otherwise: string, within = withinMs): Promise<void> {
    const deadline = this.#world.now + within
    while (!condition()) {
      if (this.#world.now > deadline) throw new StoryError(`${otherwise} within ${within} ms`)
      if (!(await this.#step()) && !condition()) throw new StoryError(`${otherwise}, and nothing is left to happen`)
    }
  }

  async #settled<T>(promise: Promise<T>): Promise<T> {
    let done = false
    const settle = () => {
      done = true
    }
    promise.then(settle, settle)
    await this.#until(() => done, 'no answer')
    return promise
  }

  /** `answers`, `equal a b`, `epoch 5 a b`, `voters a b c at a b`, `status removed c`, each with `within MS`. */
  async #wait(words: readonly string[]): Promise<void> {
    const at = words.indexOf('within')
    const within = at === -1 ? withinMs : parseNumber(words[at + 1], 'how long to wait')
    const [what, ...rest] = at === -1 ? words : words.slice(0, at)
    const named = rest.filter((word) => /^[a-z]$/.test(word))
    switch (what) {
      case 'answers':
        return this.#until(() => this.#unanswered.length === 0, 'no answer', within)
      case 'equal':
        return this.#until(() => this.#areEqual(named), 'not equal', within)
      case 'epoch': {
        const epoch = parseNumber(rest[0], 'an epoch')
        return this.#until(() => this.#named(named).every((one) => one.stats().epoch >= epoch), 'not there', within)
      }
      case 'status':
        return this.#until(() => this.#named(named).every(({ status }) => status.kind === rest[0]), 'not so', within)
      case 'voters': {
        const [expected = '', at] = rest.join(' ').split(' at ')
        const watched = at === undefined ? expected : at
        const voters = (replica: KvReplica) => this.#membersOf(replica).replace(/ \(.*/, '')
        return this.#until(
          () => this.#named(watched.split(' ')).every((one) => voters(one) === expected),
          'not so',
          within,
        )
      }
      default:
        throw new StoryError(`“${what ?? ''}” is nothing to wait for`)
    }
  }

  get #unanswered(): readonly Call[] {
    return this.#calls.filter(({ answer, dead }) => answer === null && !dead)
  }

  #areEqual(names: readonly string[]): boolean {
    const states = this.#named(names).map((replica) => {
      const { epoch, executed, stateHash } = replica.stats()
      return `${epoch} ${executed} ${stateHash}`
    })
    return new Set(states).size === 1
  }

  // --- what is shown ------------------------------------------------------------------------------------------------

  #dump({ name, replica, disk }: Process): void {
    const held = `disk: starts of epochs ${disk.startsHeld.join(' ')}; instances of epochs ${disk.epochs.join(' ')}`
    if (replica === null) {
      this.#events.push(`${name}: down; ${held}`)
      return
    }
    const { epoch, executed } = replica.stats()
    const entries = replica.view.committed.list('').map(({ key, value }) => `${key}=${String(value)}`)
    this.#events.push(
      `${name}: epoch ${epoch}, ${replica.status.kind}, executed ${executed}: ${entries.join(' ') || 'nothing'}; ${held}`,
    )
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
    [
      /^equal states((?: [a-z])*)$/,
      (names = '') => {
        if (!this.#areEqual(names.split(' ').filter(Boolean))) throw new StoryError('the states differ')
      },
    ],
    [
      /^everything answered$/,
      () => {
        const open = this.#unanswered.map(({ by, text }) => `${by} ${text}`)
        mustEqual(open.join(', '), '', 'what has no answer')
      },
    ],
    [
      /^(\w) (\S+) = (.+)$/,
      (name, key, value) =>
        mustEqual(String(this.#replica(name).view.committed.get(must(key, 'matched'))), value, `${key} at ${name}`),
    ],
    [
      /^answer of (\w) (.+): (.+)$/,
      (by, said, answer) => {
        const call = this.#calls.find((one) => one.by === by && one.text === said)
        if (call === undefined) throw new StoryError('nobody called that')
        mustEqual(call.answer ?? 'none', answer, `the answer of ${by} ${said}`)
      },
    ],
    [
      /^(\w) in epoch (\d+): (.+)$/,
      (name, epoch, members) => {
        const replica = this.#replica(name)
        mustEqual(`${replica.stats().epoch}: ${this.#membersOf(replica)}`, `${epoch}: ${members}`, `where ${name} is`)
      },
    ],
    [
      /^(\w) executed (\d+)$/,
      (name, count) => mustEqual(String(this.#replica(name).stats().executed), count, name ?? ''),
    ],
    [/^(\w) is ([\w-]+)$/, (name, status) => mustEqual(this.#replica(name).status.kind, status, `what ${name} is`)],
    [
      /^disk of (\w) holds epochs (.+)$/,
      (name, epochs) => {
        const { disk } = this.#process(name)
        const held = [...new Set([...disk.startsHeld, ...disk.epochs])].sort((a, b) => a - b)
        mustEqual(held.join(' '), epochs, `the epochs on the disk of ${name}`)
      },
    ],
    [/^disk of (\w) erased$/, (name) => mustEqual(String(this.#process(name).disk.erased), 'true', 'erased')],
    [
      /^at most (\d+) Nops$/,
      (most) => {
        const { nops } = this.#agreement.counts()
        if (nops > Number(most)) throw new StoryError(`${nops} instances ended as Nop`)
      },
    ],
    [
      /^at least (\d+) Nops$/,
      (least) => {
        const { nops } = this.#agreement.counts()
        if (nops < Number(least)) throw new StoryError(`${nops} instances ended as Nop`)
      },
    ],
    [
      /^no answer later than (\d+) ms$/,
      (most) => {
        const waits = this.#calls.filter(({ answer }) => answer !== null).map((call) => call.answeredAt - call.madeAt)
        const worst = Math.max(this.#load?.worstMs ?? 0, ...waits)
        if (worst > Number(most)) throw new StoryError(`an answer took ${Math.round(worst)} ms`)
      },
    ],
    [
      /^(\w) refused something$/,
      (name) => {
        if (Object.keys(this.#replica(name).stats().refused).length === 0) throw new StoryError('nothing was refused')
      },
    ],
  ]

  /** That no instance has two values and no epoch two starts was checked at each write; here that conflicts see each other. */
  #expectAgreement(): void {
    if (this.#agreement.counts().instances === 0) throw new StoryError('nothing was committed to agree on')
    this.#agreement.checkVisibility()
  }

  // --- words to things ----------------------------------------------------------------------------------------------

  #process(name: string | undefined): Process {
    const process = this.#processes.get(name ?? '')
    if (process === undefined) throw new StoryError(`there is no process “${name ?? ''}”`)
    return process
  }

  #replica(name: string | undefined): KvReplica {
    const { replica } = this.#process(name)
    if (replica === null) throw new StoryError(`${name} does not run`)
    return replica
  }

  /** The replicas of these processes; of all that run, where none is named. */
  #named(names: readonly string[]): KvReplica[] {
    if (names.length > 0) return names.map((name) => this.#replica(name))
    return [...this.#processes.values()].flatMap(({ replica }) => replica ?? [])
  }

  #idOf(name: string): ReplicaId {
    return replicaIdFromBytes(new Uint8Array(16).fill(this.#process(name).name.charCodeAt(0)))
  }

  #words(voters: readonly ReplicaId[]): Words {
    return new Words({
      voters,
      nameOf: (id) => String.fromCharCode(Number.parseInt(id.slice(0, 2), 16)),
      textOf: ({ session, number }) => this.#texts.get(`${session}:${number}`) ?? 'a command',
    })
  }
}

/** `observer`, `auto`, and numbers such as `checkpointEvery=10`. */
function parseOptions(words: readonly string[]): {
  role?: 'observer'
  membership?: 'auto'
  checkpointEvery?: number
} {
  const options: { role?: 'observer'; membership?: 'auto'; checkpointEvery?: number } = {}
  for (const word of words) {
    const [name, value] = word.split('=')
    if (word === 'observer') options.role = word
    else if (word === 'auto') options.membership = word
    else if (name === 'checkpointEvery') options.checkpointEvery = parseNumber(value, name)
    else throw new StoryError(`there is no option “${word}”`)
  }
  return options
}
