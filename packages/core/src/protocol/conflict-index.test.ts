import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type AccessMode, type Command, commandsConflict, type Footprint, nop } from './command.ts'
import { ConflictIndex } from './conflict-index.ts'
import { barrier, command, id, receive, replica, touching, write } from './fixtures.ts'
import { step } from './replica.ts'

const modes: readonly AccessMode[] = ['read', 'write', 'add']

function indexOf(...commands: readonly Command[]): ConflictIndex {
  const index = new ConflictIndex(3)
  for (const [at, cmd] of commands.entries()) index.add(id(1, at + 1), cmd)
  return index
}

describe('conflicts(c)', () => {
  test.each(modes.flatMap((one) => modes.map((two) => [one, two] as const)))(
    '[CF1] %s then %s on one key conflict unless both read or both add',
    (one, two) => {
      const commute = one === two && one !== 'write'
      expect(indexOf(command(one, 7)).conflicts(command(two, 7))).toEqual([0, commute ? 0 : 1, 0])
    },
  )

  test('[CF1] commands on different keys do not conflict, whatever they do', () => {
    for (const one of modes) {
      for (const two of modes) expect(indexOf(command(one, 7)).conflicts(command(two, 8))).toEqual([0, 0, 0])
    }
  })

  test('[CF1] a barrier, and a command that touches everything, conflict with every command, in both directions', () => {
    for (const all of [barrier(3), touching('everything')]) {
      for (const one of [command('read', 1), touching([]), barrier(3), touching('everything')]) {
        expect(indexOf(all).conflicts(one)).toEqual([0, 1, 0])
        expect(indexOf(one).conflicts(all)).toEqual([0, 1, 0])
      }
    }
  })

  test('[CF1] all keys of all proposals of a command count', () => {
    const two = touching([
      { key: 1, mode: 'read' },
      { key: 2, mode: 'write' },
    ])
    const both: Command = { kind: 'application', proposals: [...two.proposals, ...command('add', 3).proposals] }
    for (const cmd of [command('write', 1), command('read', 2), command('read', 3)]) {
      expect(indexOf(both).conflicts(cmd)).toEqual([0, 1, 0])
      expect(indexOf(cmd).conflicts(both)).toEqual([0, 1, 0])
    }
    for (const cmd of [command('read', 1), command('add', 3), write(4)]) {
      expect(indexOf(both).conflicts(cmd)).toEqual([0, 0, 0])
      expect(indexOf(cmd).conflicts(both)).toEqual([0, 0, 0])
    }
  })

  test('[CF2] a Nop, while ordering, conflicts with every command, but with none when executing', () => {
    for (const one of [command('read', 1), touching([]), barrier(3), nop]) {
      expect(indexOf(nop).conflicts(one)).toEqual([0, 1, 0])
      expect(commandsConflict(nop, one)).toBe(false)
      expect(commandsConflict(one, nop)).toBe(false)
    }
  })

  test('[CF2] what became Nop still counts by what it was, and as Nop, in the deps of what comes after', () => {
    const state = replica(3, 1)
    step(state, receive(0, { type: 'PreAccept', id: id(0, 1), command: write(1), deps: [0, 0, 0] }), 0)
    step(state, receive(0, { type: 'Commit', id: id(0, 1), ballot: 16, command: nop, deps: [0, 0, 0] }), 0)
    const deps = (cmd: Command) => step(state, { kind: 'propose', command: cmd }, 0)[0]
    expect(deps(write(1))).toMatchObject({ message: { type: 'PreAccept', deps: [1, 0, 0] } })
    expect(deps(write(2))).toMatchObject({ message: { type: 'PreAccept', deps: [1, 0, 0] } })
  })

  test('a watermark never goes down, in whatever order instances become known', () => {
    const index = new ConflictIndex(3)
    index.add(id(2, 5), write(1))
    index.add(id(2, 3), write(1))
    index.add(id(0, 1), write(1))
    expect(index.conflicts(write(1))).toEqual([1, 0, 5])
  })

  test('the answer is a new array each time: keeping it is safe', () => {
    const index = indexOf(write(1))
    const before = index.conflicts(barrier(3))
    index.add(id(1, 9), write(1))
    expect(before).toEqual([0, 1, 0])
  })
})

test('the watermark of each row is the highest instance that conflicts, as a search through all of them finds it', () => {
  const footprint: fc.Arbitrary<Footprint> = fc.oneof(
    { arbitrary: fc.constant('everything' as const), weight: 1 },
    {
      arbitrary: fc.array(fc.record({ key: fc.nat(3), mode: fc.constantFrom(...modes) }), { maxLength: 3 }),
      weight: 8,
    },
  )
  const anyCommand: fc.Arbitrary<Command> = fc.oneof(
    { arbitrary: footprint.map((one) => touching(one)), weight: 8 },
    { arbitrary: fc.constant(barrier(3)), weight: 1 },
  )
  const known = fc.array(fc.record({ row: fc.nat(2), seq: fc.integer({ min: 1, max: 9 }), cmd: anyCommand }))
  fc.assert(
    fc.property(known, anyCommand, (instances, cmd) => {
      const index = new ConflictIndex(3)
      const expected = [0, 0, 0]
      for (const one of instances) {
        index.add(one, one.cmd)
        if (commandsConflict(one.cmd, cmd)) expected[one.row] = Math.max(expected[one.row] ?? 0, one.seq)
      }
      expect(index.conflicts(cmd)).toEqual(expected)
      if (cmd.kind === 'application') {
        expect(index.conflictsOfFootprint(cmd.proposals[0]?.footprint ?? [])).toEqual(expected)
      }
    }),
    { numRuns: 200, seed: 7 },
  )
})
