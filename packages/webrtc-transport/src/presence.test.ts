import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { LinkMessage } from './framing.ts'
import { AwarenessPresence, type PresenceLink } from './presence.ts'

/** A link that keeps what is sent over it. */
class Wire implements PresenceLink {
  readonly peer: string
  readonly sent: Uint8Array[] = []

  constructor(peer: string) {
    this.peer = peer
  }

  send({ bytes }: LinkMessage): void {
    this.sent.push(bytes)
  }

  get last(): Uint8Array {
    return this.sent.at(-1) ?? new Uint8Array(0)
  }
}

describe('presence', () => {
  const errors: unknown[] = []
  const create = () =>
    new AwarenessPresence<Wire>(
      () => [],
      (error) => errors.push(error),
    )
  let here: AwarenessPresence<Wire>
  let there: AwarenessPresence<Wire>
  let toThere: Wire
  let toHere: Wire

  beforeEach(() => {
    errors.length = 0
    here = create()
    there = create()
    toThere = new Wire('there')
    toHere = new Wire('here')
    here.linkOpened(toThere)
    there.linkOpened(toHere)
  })

  afterEach(() => {
    here.close()
    there.close()
  })

  it('sends nothing while there is nothing to show, and what there is to each new link', () => {
    expect(toThere.sent).toEqual([])
    here.set('shown')
    const late = new Wire('late')
    here.linkOpened(late)
    expect(there.received(toHere, late.last)).toBe(true)
    expect(there.others).toEqual([{ peer: 'here', replicas: [], state: 'shown' }])
  })

  it('keeps the entries that have not changed when another one does', () => {
    const third = create()
    const [fromThird, toThird] = [new Wire('third'), new Wire('there')]
    there.linkOpened(fromThird)
    third.linkOpened(toThird)
    here.set({ n: 1 })
    third.set({ n: 1 })
    there.received(toHere, toThere.last)
    there.received(fromThird, toThird.last)
    const [before] = there.others
    third.set({ n: 2 })
    there.received(fromThird, toThird.last)
    expect(there.others[0]).toBe(before)
    expect(there.others[1]?.state).toEqual({ n: 2 })
    third.close()
  })

  it('believes the state that a page had when it comes back over a new link', () => {
    here.set('shown')
    there.received(toHere, toThere.last)
    there.linkClosed(toHere)
    expect(there.others).toEqual([])
    const again = new Wire('here')
    there.linkOpened(again)
    const copy = new Wire('there')
    here.linkOpened(copy)
    there.received(again, copy.last)
    expect(there.others.map(({ state }) => state)).toEqual(['shown'])
  })

  it('takes what one page says again of another, or of this one, for its own, and touches nobody else with it', () => {
    const shownThere = () => there.others.map(({ peer, state }) => [peer, state])
    there.set('theirs')
    const parrot = new Wire('parrot')
    there.linkOpened(parrot)
    here.set('mine')
    // Ahead of the page whose words these are.
    expect(there.received(parrot, toThere.last)).toBe(true)
    expect(there.received(toHere, toThere.last)).toBe(true)
    expect(shownThere()).toEqual([
      ['here', 'mine'],
      ['parrot', 'mine'],
    ])
    expect(there.received(parrot, toHere.last)).toBe(true)
    expect(there.self).toBe('theirs')
    here.set(null)
    const gone = toThere.last
    here.set('back')
    expect(there.received(toHere, toThere.last)).toBe(true)
    expect(there.received(parrot, gone)).toBe(true)
    there.linkClosed(parrot)
    expect(shownThere()).toEqual([['here', 'back']])
  })

  it('goes on hearing a page that another one spoke for with a clock far ahead', () => {
    const parrot = new Wire('parrot')
    there.linkOpened(parrot)
    here.set('first')
    for (let count = 0; count < 100; count += 1) here.set(count)
    expect(there.received(parrot, toThere.last)).toBe(true)
    expect(there.received(toHere, toThere.sent[0] ?? new Uint8Array(0))).toBe(true)
    expect(there.others.map(({ state }) => state)).toEqual(['first', 99])
  })

  it('refuses an update that is too long', () => {
    here.set('x'.repeat(4_000))
    const long = new Uint8Array(4_200)
    long.set(toThere.last)
    expect(there.received(toHere, long)).toBe(false)
  })

  it('takes or refuses any bytes without throwing', () => {
    here.set('shown')
    const valid = toThere.last
    const changed = fc
      .array(fc.tuple(fc.nat(valid.length - 1), fc.integer({ min: 0, max: 255 })), { minLength: 1, maxLength: 4 })
      .map((changes) => {
        const bytes = valid.slice()
        for (const [at, byte] of changes) bytes[at] = byte
        return bytes
      })
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array({ maxLength: 60 }), changed), (bytes) => {
        const wire = new Wire('fuzz')
        there.linkOpened(wire)
        expect(typeof there.received(wire, bytes)).toBe('boolean')
        there.linkClosed(wire)
      }),
      { numRuns: 500 },
    )
    expect(there.others).toEqual([])
  })

  it('refuses to show bytes', () => {
    const set = () => here.set({ picture: Uint8Array.of(1) })
    expect(set).toThrow(expect.objectContaining({ code: 'InvalidArgument' }))
    expect(here.self).toBeNull()
  })

  it('calls the other listeners when one throws', () => {
    let calls = 0
    here.subscribe(() => {
      throw new Error('a listener of the application')
    })
    here.subscribe(() => {
      calls += 1
    })
    here.set(1)
    expect([calls, errors.length]).toEqual([1, 1])
  })
})
