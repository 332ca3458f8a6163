// A signaling server that means ill: a test double that does to what it relays whatever such a server can do, one way or
// all of them at once, until it is told to behave. It keeps all that it has seen.
import type { Random } from '../../core/src/lib/random.ts'
import { decodeBase64Url, encodeBase64Url, randomText } from '../src/base64url.ts'
import { createInvite, deriveRoomKeys } from '../src/invite.ts'
import { type SealedEnvelope, Sealer } from '../src/sealing.ts'
import type { SignalingMessage } from '../src/signaling-message.ts'
import type { ManInTheMiddle } from './man-in-the-middle.ts'
import { MemorySignaling, type Signal } from './memory-signaling.ts'

export const attacks = [
  'reorder',
  'repeat',
  'drop',
  'relabel',
  'flip',
  /** Writes over the place in a sealed offer where the fingerprint stands: the cipher alone would let it. */
  'swap-fingerprint',
  /** Announces pages that are not there, and speaks for them: with seals of its own, and with those of others. */
  'join',
  /** Says again what was said in a session of the day before. */
  'replay',
  /** Holds the reader's secret, and puts its own links between the pages. */
  'middle',
] as const

export type Attack = (typeof attacks)[number]

/** Held back for the sake of another order: at most so many. */
const heldMax = 6
const memoryMax = 500

export class EvilSignaling extends MemorySignaling {
  readonly #random: Random
  #attacks: readonly Attack[] = []
  readonly #held: Signal[] = []
  readonly #seen: Signal[] = []
  #yesterday: readonly Signal[] = []
  #ghosts: readonly { readonly id: string; readonly sealer: Sealer }[] = []
  #middle: ManInTheMiddle | undefined
  /** How often it did what. */
  readonly done: Record<Attack, number> = {
    reorder: 0,
    repeat: 0,
    drop: 0,
    relabel: 0,
    flip: 0,
    'swap-fingerprint': 0,
    join: 0,
    replay: 0,
    middle: 0,
  }

  constructor(random: Random) {
    super()
    this.#random = random
    this.tamper = (signal) => this.#tamper(signal)
  }

  /** All that ever came here, as text. */
  get seenText(): string {
    return JSON.stringify(this.#seen)
  }

  /** Begins with these attacks. `room` is the name under which the pages meet: the server always knows it. */
  async misbehave(kinds: readonly Attack[], room: string, middle?: ManInTheMiddle): Promise<void> {
    // A stranger's keys, under the right name of the room.
    const keys = { ...(await deriveRoomKeys(createInvite())), room }
    // One id below and one above all others: one is called by offers, the other calls.
    this.#ghosts = ['-', 'z'].map((letter) => {
      const id = letter.repeat(4) + randomText(12)
      return { id, sealer: new Sealer(keys, id, randomText(16)) }
    })
    this.#middle = middle
    this.#attacks = kinds
  }

  /** What was seen until now is the day before. */
  dayEnds(): void {
    this.#yesterday = this.#seen.splice(0)
  }

  /** From now on it does what it should. What it holds back still comes, much too late. */
  behave(): void {
    this.#attacks = []
    this.#middle?.close()
    for (const { to, from, data } of this.#random.shuffle(this.#held.splice(0))) this.inject(to, from, data)
  }

  /** Announces its own pages to `to`, and speaks for them. */
  async intrude(to: string): Promise<void> {
    if (!this.#attacks.includes('join')) return
    const nonce = randomText(16)
    for (const { id, sealer } of this.#ghosts) {
      this.done.join += 1
      this.say(to, { type: 'peer-joined', id })
      const messages: readonly SignalingMessage[] = [
        { type: 'hello', nonce, echo: null },
        { type: 'offer', echo: nonce, sdp: 'v=0' },
        { type: 'bye' },
      ]
      for (const message of messages) this.inject(to, id, await sealer.seal(to, message))
      for (const old of this.#pickSome(this.#seen, 2)) {
        this.inject(to, id, { ...(old.data as SealedEnvelope), from: id, to })
      }
    }
  }

  #tamper(signal: Signal): readonly Omit<Signal, 'to'>[] {
    if (this.#seen.length < memoryMax) this.#seen.push(signal)
    if (this.#attacks.length === 0) return [signal]
    if (this.#attacks.includes('middle') && this.#middle !== undefined) {
      this.done.middle += 1
      this.#middle.take(signal)
      return []
    }
    let said: readonly Omit<Signal, 'to'>[] = [signal]
    for (const attack of this.#attacks) {
      const changed = this.#random.chance(0.6) ? this.#apply(attack, signal, said) : undefined
      if (changed === undefined) continue
      this.done[attack] += 1
      said = changed
    }
    return said
  }

  /** undefined where the attack does not fit this signal. */
  #apply(
    attack: Attack,
    signal: Signal,
    said: readonly Omit<Signal, 'to'>[],
  ): readonly Omit<Signal, 'to'>[] | undefined {
    const random = this.#random
    switch (attack) {
      case 'reorder': {
        this.#held.push(...said.map((one) => ({ ...one, to: signal.to })))
        if (this.#held.length <= heldMax) return []
        const late = random.shuffle(this.#held.splice(0))
        for (const { to, from, data } of late) if (to !== signal.to) this.inject(to, from, data)
        return late.filter(({ to }) => to === signal.to)
      }
      case 'repeat':
        return [...said, ...said, ...this.#pickSome(this.#seen, 3).filter(({ to }) => to === signal.to)]
      case 'drop':
        return []
      case 'relabel': {
        const others = this.#seen.map(({ from }) => from)
        const from = random.chance(0.5) ? randomText(16) : random.pick([...others, signal.from])
        const data = { ...(signal.data as SealedEnvelope), ...(random.chance(0.5) ? { from } : {}) }
        // Back to its sender, too.
        this.inject(signal.from, signal.to, signal.data)
        return [{ from, data }]
      }
      case 'flip':
        return said.map(({ from, data }) => ({ from, data: this.#flipped(data as SealedEnvelope) }))
      case 'swap-fingerprint': {
        const envelope = signal.data as SealedEnvelope
        const ct = decodeBase64Url(envelope.ct)
        // Only what is as long as a description holds one.
        if (ct === undefined || ct.length < 150) return undefined
        const at = random.integer(ct.length - 100)
        for (let index = 0; index < 95; index += 1) ct[at + index] = (ct[at + index] ?? 0) ^ (1 + random.integer(255))
        return [{ from: signal.from, data: { ...envelope, ct: encodeBase64Url(ct) } }]
      }
      case 'replay': {
        const old = this.#pickSome(this.#yesterday, 4)
        for (const { from, to, data } of old) {
          this.say(signal.to, { type: 'peer-joined', id: from })
          this.inject(signal.to, from, data)
          this.inject(signal.to, from, { ...(data as SealedEnvelope), to: signal.to })
          this.inject(signal.to, signal.from, data)
          this.inject(signal.to, signal.from, { ...(data as SealedEnvelope), from: signal.from, to: signal.to })
          this.inject(to, from, data)
        }
        return old.length === 0 ? undefined : said
      }
      case 'join':
        void this.intrude(signal.to)
        return said
      case 'middle':
        return undefined
    }
  }

  #flipped(envelope: SealedEnvelope): unknown {
    const random = this.#random
    const field = random.pick(['ct', 'iv', 'seq', 'session', 'room', 'to', 'v'] as const)
    if (field === 'seq') return { ...envelope, seq: envelope.seq + 1 + random.integer(1_000) }
    if (field === 'v') return { ...envelope, v: 2 }
    const text = envelope[field]
    const at = random.integer(text.length)
    const letter = text[at] === 'A' ? 'B' : 'A'
    return { ...envelope, [field]: text.slice(0, at) + letter + text.slice(at + 1) }
  }

  #pickSome(signals: readonly Signal[], count: number): readonly Signal[] {
    if (signals.length === 0) return []
    return Array.from({ length: count }, () => this.#random.pick(signals))
  }
}
