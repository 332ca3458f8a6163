// A signaling server that holds the room's reader secret, and so reads and writes what is sealed: it puts its own links
// between two pages and passes on every frame. Nothing but the proof that is bound to the channel can tell.
import { WepaxosError } from '@wepaxos/core'
import type { RoomKeys } from '../src/invite.ts'
import type { CreatePeerLink, LinkSignal, PeerLink } from '../src/peer-link.ts'
import { Opener, type SealedEnvelope, Sealer } from '../src/sealing.ts'
import type { IceCandidate, SignalingMessage } from '../src/signaling-message.ts'
import type { Signal } from './memory-signaling.ts'

/** A proof is a hello and a signature: what comes after these two is meant for a peer that is believed. */
const proofFrames = 2

interface Facing {
  readonly link: PeerLink
  /** Frames from the page that this link faces. */
  frames: number
  isOpen: boolean
  /** For the page, until its link is open. */
  readonly waiting: Uint8Array<ArrayBuffer>[]
  /**
   * Candidates for the page, until the one that is played has sent some: who says more than the one that is played is
   * ahead of its numbers, and keeps it from being heard afterwards.
   */
  candidates: IceCandidate[] | undefined
}

export class ManInTheMiddle {
  readonly #keys: RoomKeys
  readonly #createLink: CreatePeerLink
  readonly #deliver: (to: string, from: string, data: unknown) => void
  readonly #openers = new Map<string, Opener>()
  readonly #sealers = new Map<string, Sealer>()
  /** By "page other": the link of ours that faces `page` and plays `other`. */
  readonly #facing = new Map<string, Facing>()
  /** By "page other": the nonce that `page` last told `other`. */
  readonly #nonces = new Map<string, string>()
  #tail: Promise<unknown> = Promise.resolve()
  /** Pairs of links that it got to open at both sides. */
  opened = 0
  /** Frames that were meant for a proven peer, and came here. */
  stolenFrames = 0

  constructor(keys: RoomKeys, createLink: CreatePeerLink, deliver: (to: string, from: string, data: unknown) => void) {
    this.#keys = keys
    this.#createLink = createLink
    this.#deliver = deliver
  }

  /** Takes a signal off its way. */
  take(signal: Signal): void {
    this.#tail = this.#tail.then(() => this.#take(signal))
  }

  close(): void {
    for (const { link } of this.#facing.values()) link.close('enough')
    this.#facing.clear()
  }

  async #take({ from, to, data }: Signal): Promise<void> {
    const opener = this.#openers.get(to) ?? new Opener(this.#keys, to)
    this.#openers.set(to, opener)
    const opened = await opener.open(from, data)
    if (!opened.ok) throw new WepaxosError('InternalError', `the middle can not open this: ${opened.reason}`)
    const { message } = opened
    // As its sender would seal it: in its session, so that the sender's own messages are taken again afterwards.
    const { session } = data as SealedEnvelope
    if (!this.#sealers.has(from)) this.#sealers.set(from, new Sealer(this.#keys, from, session))
    switch (message.type) {
      case 'hello':
        if (this.#nonces.get(`${from} ${to}`) !== message.nonce) this.#endBoth(from, to)
        this.#nonces.set(`${from} ${to}`, message.nonce)
        await this.#say(from, to, message)
        return
      case 'offer':
        this.#endBoth(from, to)
        this.#face(from, to, false).link.signal({ type: 'offer', sdp: message.sdp })
        this.#face(to, from, true)
        return
      case 'answer':
        this.#facing.get(`${from} ${to}`)?.link.signal({ type: 'answer', sdp: message.sdp })
        return
      case 'ice':
        for (const candidate of message.candidates) {
          this.#facing.get(`${from} ${to}`)?.link.signal({ type: 'ice', candidate })
        }
        await this.#sayCandidates(from, to)
        return
      default:
        await this.#say(from, to, message)
    }
  }

  #face(page: string, other: string, initiator: boolean): Facing {
    const facing: Facing = {
      frames: 0,
      isOpen: false,
      waiting: [],
      candidates: [],
      link: this.#createLink({
        peer: page,
        initiator,
        iceServers: [],
        events: {
          onSignal: (signal) => {
            if (signal.type === 'ice' && facing.candidates !== undefined) facing.candidates.push(signal.candidate)
            else void this.#sayAs(other, page, signal)
          },
          onOpen: () => {
            facing.isOpen = true
            if (this.#facing.get(`${other} ${page}`)?.isOpen === true) this.opened += 1
            for (const bytes of facing.waiting) facing.link.send(bytes)
          },
          onMessage: (bytes) => {
            facing.frames += 1
            if (facing.frames > proofFrames) this.stolenFrames += 1
            const beyond = this.#facing.get(`${other} ${page}`)
            if (beyond?.isOpen === true) beyond.link.send(bytes.slice())
            else beyond?.waiting.push(bytes.slice())
          },
          onDrain: () => undefined,
          onClose: () => this.#facing.get(`${other} ${page}`)?.link.close('its other half is gone'),
        },
      }),
    }
    this.#facing.set(`${page} ${other}`, facing)
    return facing
  }

  #endBoth(page: string, other: string): void {
    for (const name of [`${page} ${other}`, `${other} ${page}`]) {
      const facing = this.#facing.get(name)
      this.#facing.delete(name)
      facing?.link.close('begun anew')
    }
  }

  /** The candidates of our link that plays `from` and faces `to`. */
  async #sayCandidates(from: string, to: string): Promise<void> {
    const facing = this.#facing.get(`${to} ${from}`)
    const echo = this.#nonces.get(`${to} ${from}`)
    if (facing?.candidates === undefined || echo === undefined) return
    const { candidates } = facing
    facing.candidates = undefined
    if (candidates.length > 0) await this.#say(from, to, { type: 'ice', echo, candidates })
  }

  /** What a link of ours wants to tell `page`, in the name of `other`. */
  async #sayAs(other: string, page: string, signal: LinkSignal): Promise<void> {
    const echo = this.#nonces.get(`${page} ${other}`)
    if (echo === undefined) return
    const message: SignalingMessage =
      signal.type === 'ice'
        ? { type: 'ice', echo, candidates: [signal.candidate] }
        : { type: signal.type, echo, sdp: signal.sdp }
    await this.#say(other, page, message)
  }

  async #say(from: string, to: string, message: SignalingMessage): Promise<void> {
    const sealer = this.#sealers.get(from)
    // Of a page that has said nothing yet its session is not known; it always speaks before it is played.
    if (sealer !== undefined) this.#deliver(to, from, await sealer.seal(to, message))
  }
}
