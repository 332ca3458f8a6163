// The contract of the transport port, as tests. Whoever makes a transport runs this suite on it: the memory network in
// Node, the WebRTC room in a browser.
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type ReplicaId, replicaId } from '../src/protocol/ids.ts'
import type { Channel, Transport } from '../src/runtime/transport.ts'

/** Three pages of one room, the first of which has made it, and a hand on what lies between them. */
export interface TransportHarness {
  readonly transports: readonly [Transport, Transport, Transport]
  /** From now on nothing passes between two of them, by index. */
  cut(left: number, right: number): void
  heal(left: number, right: number): void
  /** Resolves when `condition` holds; rejects, naming `what`, when that takes too long. */
  until(condition: () => boolean, what: string): Promise<void>
  close(): Promise<void>
}

/** Describes the suite for one kind of transport; `open` makes a fresh harness for each test. */
export function describeTransportContract(name: string, open: () => Promise<TransportHarness>): void {
  describe(`${name} keeps the transport contract`, () => {
    let harness: TransportHarness
    let observers: Observer[]
    let alpha: ReplicaId
    let beta: ReplicaId
    let gamma: ReplicaId
    let delta: ReplicaId
    /** Where the transport gives its replicas keys. */
    let keys: Map<ReplicaId, Uint8Array>

    beforeEach(async () => {
      harness = await open()
      observers = []
      keys = new Map()
      alpha = await newReplica('a')
      beta = await newReplica('b')
      gamma = await newReplica('c')
      delta = await newReplica('d')
    })

    /** As the transport wants it; else one with an id of that digit. */
    async function newReplica(digit: string): Promise<ReplicaId> {
      const made = await harness.transports[0].newReplica?.()
      if (made === undefined) return replicaId(digit.repeat(32))
      keys.set(made.replica, made.key)
      return made.replica
    }

    afterEach(async () => {
      for (const observer of observers) observer.channel.close()
      await harness.close()
      expect(observers.flatMap(({ faults }) => faults)).toEqual([])
    })

    function attach(page: 0 | 1 | 2, replica: ReplicaId, partition = 'main'): Observer {
      const observer = new Observer(harness.transports[page], replica, partition, keys.get(replica))
      observers.push(observer)
      return observer
    }

    function connected(...all: readonly Observer[]): Promise<void> {
      return harness.until(
        () => all.every((one) => all.every((other) => one === other || one.connected.has(other.replica))),
        'everyone is connected with everyone',
      )
    }

    it('names one room on all pages, made by the first of them', () => {
      const [first, second, third] = harness.transports
      expect([second.room, third.room]).toEqual([first.room, first.room])
      expect([first.founded, second.founded, third.founded]).toEqual([true, false, false])
    })

    it('connects all replicas of a partition, telling each about each other exactly once', async () => {
      const all = [attach(0, alpha), attach(1, beta), attach(2, gamma)] as const
      await connected(...all)
      for (const one of all) {
        expect([...one.events].sort()).toEqual(
          all
            .filter((other) => other !== one)
            .map(({ replica }) => `connected ${replica}`)
            .sort(),
        )
      }
    })

    it('calls no endpoint from within attach', async () => {
      const first = attach(0, alpha)
      attach(1, beta)
      await harness.until(() => first.connected.has(beta), 'beta is there')
      const late = attach(2, gamma)
      expect(late.events).toEqual([])
      await connected(...observers)
    })

    it('keeps replicas of different partitions apart', async () => {
      const first = attach(0, alpha, 'left')
      const second = attach(1, beta, 'right')
      const third = attach(2, gamma, 'left')
      await connected(first, third)
      expect(second.events).toEqual([])
      expect(first.events).toEqual([`connected ${gamma}`])
    })

    it('carries several partitions between the same pages, each to its own endpoint', async () => {
      const left = [attach(0, alpha, 'left'), attach(1, beta, 'left')] as const
      const right = [attach(0, gamma, 'right'), attach(1, delta, 'right')] as const
      await connected(...left)
      await connected(...right)
      left[0].channel.send(beta, bytes('for left'))
      right[0].channel.send(delta, bytes('for right'))
      await harness.until(() => left[1].frames.length + right[1].frames.length === 2, 'both frames are there')
      expect(left[1].frames).toEqual([{ from: alpha, text: 'for left' }])
      expect(right[1].frames).toEqual([{ from: gamma, text: 'for right' }])
    })

    it('delivers each frame once, in the order of sending, under the name of its sender', async () => {
      const [first, second, third] = [attach(0, alpha), attach(1, beta), attach(2, gamma)]
      await connected(first, second, third)
      const expected: string[] = []
      for (let count = 0; count < 300; count += 1) {
        const text = `frame ${count} ${'x'.repeat((count * 37) % 3000)}`
        expected.push(text)
        first.channel.send(beta, bytes(text))
        if (count % 3 === 0) third.channel.send(beta, bytes(`other ${count}`))
      }
      await harness.until(() => second.frames.length === 400, 'all frames are there')
      const from = (replica: ReplicaId) => second.frames.filter((frame) => frame.from === replica)
      expect(from(alpha).map(({ text }) => text)).toEqual(expected)
      expect(from(gamma)).toHaveLength(100)
      expect(first.frames).toEqual([])
    })

    it('delivers what is sent at once to who has just connected, in order, though the other end may know later', async () => {
      const texts = Array.from({ length: 20 }, (_, count) => `greeting ${count}`)
      const greet = (observer: Observer, peer: ReplicaId) => {
        for (const text of texts) observer.channel.send(peer, bytes(text))
      }
      const all: Observer[] = []
      // The last one finds that the others are there already.
      for (const [page, replica] of [alpha, beta, gamma].entries()) {
        const observer = attach(page as 0 | 1 | 2, replica)
        observer.onConnected = (peer) => greet(observer, peer)
        all.push(observer)
        const count = (all.length - 1) * texts.length
        await harness.until(() => all.every(({ frames }) => frames.length === count), 'all greetings are there')
      }
      for (const { replica, frames } of all) {
        for (const other of all) {
          const said = frames.filter(({ from }) => from === other.replica).map(({ text }) => text)
          expect(said).toEqual(other.replica === replica ? [] : texts)
        }
      }
    })

    it('gives each new replica an id of its own, if it gives ids', async () => {
      expect(new Set([alpha, beta, gamma, delta]).size).toBe(4)
      expect([0, 4]).toContain(keys.size)
      for (const key of keys.values()) expect(key.length).toBeGreaterThan(16)
    })

    it('does not call an endpoint from within send', async () => {
      const [first, second] = [attach(0, alpha), attach(1, beta)]
      await connected(first, second)
      first.channel.send(beta, bytes('later'))
      expect(second.frames).toEqual([])
      await harness.until(() => second.frames.length === 1, 'the frame is there')
    })

    it('delivers an empty frame, and one of a megabyte, whole', async () => {
      const [first, second] = [attach(0, alpha), attach(1, beta)]
      await connected(first, second)
      const big = Uint8Array.from({ length: 1_000_000 }, (_, index) => (index * 31) % 251)
      first.channel.send(beta, new Uint8Array(0))
      first.channel.send(beta, big)
      first.channel.send(beta, big, 'bulk')
      await harness.until(() => second.raw.length === 3, 'all three are there')
      expect(second.raw.map(({ length }) => length).sort((left, right) => left - right)).toEqual([
        0, 1_000_000, 1_000_000,
      ])
      for (const frame of second.raw.filter(({ length }) => length > 0)) expect(sameBytes(frame, big)).toBe(true)
    })

    it('gives each receiver bytes of its own', async () => {
      const all = [attach(0, alpha), attach(1, beta), attach(2, gamma)] as const
      await connected(...all)
      const frame = bytes('shared')
      all[0].channel.send(beta, frame)
      all[0].channel.send(gamma, frame)
      await harness.until(() => all[1].raw.length + all[2].raw.length === 2, 'both have it')
      all[1].raw[0]?.fill(0)
      expect(all[2].raw[0]).toEqual(bytes('shared'))
      expect(frame).toEqual(bytes('shared'))
    })

    it('does nothing for a frame to a replica that is not connected', async () => {
      const [first, second] = [attach(0, alpha), attach(1, beta)]
      await connected(first, second)
      first.channel.send(delta, bytes('nobody'))
      first.channel.send(alpha, bytes('myself'))
      expect(first.channel.queuedBytes(delta)).toBe(0)
      first.channel.send(beta, bytes('somebody'))
      await harness.until(() => second.frames.length === 1, 'the frame to somebody is there')
      expect(first.frames).toEqual([])
    })

    it('tells the others when a replica is detached, and nothing more to itself', async () => {
      const [first, second, third] = [attach(0, alpha), attach(1, beta), attach(2, gamma)]
      await connected(first, second, third)
      const before = [...first.events]
      first.channel.close()
      first.channel.close()
      first.channel.send(beta, bytes('too late'))
      second.channel.send(alpha, bytes('too late'))
      await harness.until(() => !second.connected.has(alpha) && !third.connected.has(alpha), 'alpha is gone')
      second.channel.send(gamma, bytes('still here'))
      await harness.until(() => third.frames.length === 1, 'the others go on')
      expect(first.events).toEqual(before)
      expect([first.frames, second.frames]).toEqual([[], []])
      expect(first.channel.queuedBytes(beta)).toBe(0)
    })

    it('refuses to attach a replica twice, and takes it again once it is detached', async () => {
      const [first, second] = [attach(0, alpha), attach(1, beta)]
      await connected(first, second)
      expect(() => attach(0, alpha)).toThrow(expect.objectContaining({ code: 'InvalidArgument' }))
      first.channel.close()
      const again = attach(0, alpha)
      await connected(again, second)
      again.channel.send(beta, bytes('back'))
      await harness.until(() => second.frames.length === 1, 'the frame is there')
      expect(second.events).toEqual([`connected ${alpha}`, `disconnected ${alpha}`, `connected ${alpha}`])
    })

    it('tells both ends of a cut, and connects them again when it has healed', async () => {
      const [first, second, third] = [attach(0, alpha), attach(1, beta), attach(2, gamma)]
      await connected(first, second, third)
      harness.cut(0, 1)
      await harness.until(() => !first.connected.has(beta) && !second.connected.has(alpha), 'both ends know of the cut')
      expect([first.connected.has(gamma), second.connected.has(gamma)]).toEqual([true, true])
      harness.heal(0, 1)
      await connected(first, second, third)
      first.channel.send(beta, bytes('again'))
      await harness.until(() => second.frames.length === 1, 'frames flow again')
    })

    it('shows what one page sets to all others, until it shows nothing any more', async () => {
      const [first, second, third] = harness.transports
      attach(0, alpha)
      first.presence.set({ name: 'ana' })
      expect(first.presence.self).toEqual({ name: 'ana' })
      const shown = (page: Transport) => page.presence.others.map(({ state, replicas }) => ({ state, replicas }))
      const ana = [{ state: { name: 'ana' }, replicas: [alpha] }]
      const see = (expected: unknown) => () =>
        [second, third].every((page) => JSON.stringify(shown(page)) === JSON.stringify(expected))
      await harness.until(see(ana), 'both see ana')
      expect(first.presence.others).toEqual([])
      first.presence.set({ name: 'bo' })
      await harness.until(see([{ state: { name: 'bo' }, replicas: [alpha] }]), 'both see the new name')
      first.presence.set(null)
      await harness.until(see([]), 'nobody is shown')
      expect(first.presence.self).toBeNull()
    })

    it('tells subscribers of presence about each change, and keeps the list while nothing changes', async () => {
      const [first, second] = harness.transports
      let calls = 0
      const end = second.presence.subscribe(() => {
        calls += 1
      })
      first.presence.set({ at: 1 })
      await harness.until(() => second.presence.others.length === 1, 'the state is there')
      expect(calls).toBeGreaterThan(0)
      const before = second.presence.others
      expect(second.presence.others).toBe(before)
      end()
      const callsBefore = calls
      first.presence.set({ at: 2 })
      await harness.until(() => second.presence.others !== before, 'the next state is there')
      expect(second.presence.others.map(({ state }) => state)).toEqual([{ at: 2 }])
      expect(calls).toBe(callsBefore)
    })

    it('refuses a presence state of more than 4 KiB, and keeps the one before', () => {
      const { presence } = harness.transports[0]
      presence.set('small')
      const tooBig = () => presence.set('x'.repeat(4095))
      expect(tooBig).toThrow(expect.objectContaining({ code: 'InvalidArgument' }))
      expect(presence.self).toBe('small')
      presence.set('x'.repeat(4094))
      expect(presence.self).toHaveLength(4094)
    })

    it('takes presence away with the connection, and brings it back with it', async () => {
      const [first, second] = harness.transports
      const [left, right] = [attach(0, alpha), attach(1, beta)]
      await connected(left, right)
      first.presence.set('here')
      await harness.until(() => second.presence.others.length === 1, 'it is shown')
      harness.cut(0, 1)
      await harness.until(() => second.presence.others.length === 0, 'it is gone with the connection')
      harness.heal(0, 1)
      await harness.until(() => second.presence.others.length === 1, 'it is back')
      expect(second.presence.others[0]?.state).toBe('here')
    })
  })
}

/** An endpoint that writes down what it hears, and any breach of the order in which it should hear it. */
class Observer {
  readonly replica: ReplicaId
  readonly channel: Channel
  readonly events: string[] = []
  readonly faults: string[] = []
  readonly connected = new Set<ReplicaId>()
  onConnected: (peer: ReplicaId) => void = () => undefined
  readonly raw: Uint8Array[] = []
  readonly #from: ReplicaId[] = []

  constructor(transport: Transport, replica: ReplicaId, partition: string, key: Uint8Array | undefined) {
    this.replica = replica
    this.channel = transport.attach({
      partition,
      replica,
      ...(key === undefined ? {} : { key }),
      onConnected: (peer) => {
        if (this.connected.has(peer)) this.faults.push(`${replica} heard twice that ${peer} is connected`)
        if (peer === replica) this.faults.push(`${replica} is connected with itself`)
        this.connected.add(peer)
        this.events.push(`connected ${peer}`)
        this.onConnected(peer)
      },
      onDisconnected: (peer) => {
        if (!this.connected.delete(peer)) this.faults.push(`${replica} lost ${peer} without having had it`)
        this.events.push(`disconnected ${peer}`)
      },
      onFrame: (from, frame) => {
        if (!this.connected.has(from)) this.faults.push(`${replica} got a frame of ${from}, which is not connected`)
        this.raw.push(frame)
        this.#from.push(from)
      },
    })
  }

  get frames(): readonly { readonly from: ReplicaId | undefined; readonly text: string }[] {
    return this.raw.map((frame, index) => ({ from: this.#from[index], text: new TextDecoder().decode(frame) }))
  }
}

function bytes(text: string): Uint8Array {
  return new TextEncoder().encode(text)
}

/** `toEqual` walks a megabyte element by element; this does not. */
function sameBytes(left: Uint8Array, right: Uint8Array): boolean {
  return left.length === right.length && left.every((byte, index) => byte === right[index])
}
