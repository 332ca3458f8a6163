// The contract of the PeerLink port, as tests: for the in-memory links in Node and for the real ones in a browser.
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { CreatePeerLink, LinkSignal, PeerLink } from '../src/peer-link.ts'

export interface PeerLinkHarness {
  readonly createLink: CreatePeerLink
  /** Resolves when `condition` holds; rejects, naming `what`, when that takes too long. */
  until(condition: () => boolean, what: string): Promise<void>
}

export function describePeerLinkContract(name: string, open: () => Promise<PeerLinkHarness>): void {
  describe(`${name} keeps the link contract`, () => {
    let harness: PeerLinkHarness
    let left: End
    let right: End

    beforeEach(async () => {
      harness = await open()
      left = new End(harness.createLink, true)
      right = new End(harness.createLink, false)
    })

    afterEach(() => {
      left.link.close('the test is over')
      right.link.close('the test is over')
    })

    async function connect(): Promise<void> {
      left.carryTo(right)
      right.carryTo(left)
      await harness.until(() => left.events.includes('open') && right.events.includes('open'), 'both ends are open')
    }

    it('opens at both ends once, after an offer of the initiator and an answer of the other', async () => {
      await connect()
      expect(left.signals.filter(({ type }) => type !== 'ice').map(({ type }) => type)).toEqual(['offer'])
      expect(right.signals.filter(({ type }) => type !== 'ice').map(({ type }) => type)).toEqual(['answer'])
      expect([left.events, right.events]).toEqual([['open'], ['open']])
    })

    it('says between which two ends it carries, the same at both, and others for each link', async () => {
      await connect()
      const [atLeft, atRight] = await Promise.all([left.link.fingerprints(), right.link.fingerprints()])
      expect([atRight.theirs, atRight.own]).toEqual([atLeft.own, atLeft.theirs])
      expect(atLeft.own).not.toBe(atLeft.theirs)
      expect(atLeft.own).toMatch(/^[0-9a-f]{64}$/)
    })

    it('delivers frames whole and in order, in both directions', async () => {
      await connect()
      const sizes = [1, 16 * 1024, 2, 5_000, 16 * 1024, 3]
      for (const size of sizes) left.link.send(new Uint8Array(size).fill(size & 0xff))
      right.link.send(Uint8Array.of(9, 8, 7))
      await harness.until(
        () => right.frames.length === sizes.length && left.frames.length === 1,
        'all frames are there',
      )
      expect(right.frames.map(({ length }) => length)).toEqual(sizes)
      expect(right.frames.every((frame) => frame.every((byte) => byte === (frame.length & 0xff)))).toBe(true)
      expect([...(left.frames[0] ?? [])]).toEqual([9, 8, 7])
    })

    it('says when it has enough, and when it takes more again', async () => {
      await connect()
      let sent = 0
      while (left.link.writable && sent < 1_000) {
        left.link.send(new Uint8Array(16 * 1024))
        sent += 1
      }
      expect(sent).toBeLessThan(1_000)
      expect(left.link.bufferedBytes).toBeGreaterThan(0)
      await harness.until(() => left.events.includes('drain'), 'it takes more again')
      expect(left.link.writable).toBe(true)
      await harness.until(() => right.frames.length === sent, 'nothing was lost')
    })

    it('closes at both ends, once, and carries nothing from then on', async () => {
      await connect()
      left.link.close('enough')
      left.link.close('more than enough')
      expect(left.events).toEqual(['open'])
      await harness.until(() => left.isClosed && right.isClosed, 'both ends are closed')
      left.link.send(Uint8Array.of(1))
      right.link.send(Uint8Array.of(1))
      expect(left.events).toEqual(['open', 'closed: enough'])
      expect(right.events).toHaveLength(2)
      expect([left.link.writable, right.link.writable, left.link.bufferedBytes]).toEqual([false, false, 0])
      expect(left.link.signal({ type: 'answer', sdp: 'v=0' })).toBe(false)
    })

    it('refuses a description that does not fit, and a second one', async () => {
      expect(left.link.signal({ type: 'offer', sdp: 'v=0' })).toBe(false)
      expect(right.link.signal({ type: 'answer', sdp: 'v=0' })).toBe(false)
      await connect()
      for (const signal of left.signals.filter(({ type }) => type === 'offer')) {
        expect(right.link.signal(signal)).toBe(false)
      }
      left.link.send(Uint8Array.of(5))
      await harness.until(() => right.frames.length === 1, 'the link goes on')
    })

    it('closes on a description that is rubbish, without throwing', async () => {
      expect(right.link.signal({ type: 'offer', sdp: 'rubbish' })).toBe(true)
      await harness.until(() => right.isClosed, 'it has closed')
    })
  })
}

class End {
  readonly link: PeerLink
  readonly events: string[] = []
  readonly frames: Uint8Array[] = []
  readonly signals: LinkSignal[] = []
  #other: End | undefined

  constructor(createLink: CreatePeerLink, initiator: boolean) {
    this.link = createLink({
      peer: initiator ? 'the one that answers' : 'the one that offers',
      initiator,
      iceServers: [],
      events: {
        onSignal: (signal) => {
          this.signals.push(signal)
          this.#other?.link.signal(signal)
        },
        onOpen: () => this.events.push('open'),
        onMessage: (bytes) => this.frames.push(bytes),
        onDrain: () => this.events.push('drain'),
        onClose: (reason) => this.events.push(`closed: ${reason}`),
      },
    })
  }

  get isClosed(): boolean {
    return this.events.some((event) => event.startsWith('closed'))
  }

  /** Carries all signals to `other`, those that were there before included. */
  carryTo(other: End): void {
    this.#other = other
    for (const signal of this.signals) other.link.signal(signal)
  }
}
