// [DU7] Which disks count as come back older.
import { describe, expect, test } from 'vitest'
import { replicaId } from '../protocol/ids.ts'
import { DisksHeard } from './disks-heard.ts'

const r = replicaId('a'.repeat(32))
const other = replicaId('b'.repeat(32))
const nobody = () => 'none' as const
const id = (index: number) => replicaId(index.toString(16).padStart(32, '0'))

describe('[DU7] what was heard of a disk', () => {
  test('a run may start with as many writes as were heard, or more, and not with fewer', () => {
    const disks = new DisksHeard([], nobody)
    expect(disks.cameBackOlder(r, { run: 1, writesAtOpen: 5 })).toBe(false)
    disks.heard(r, 1, 9)
    expect(disks.cameBackOlder(r, { run: 2, writesAtOpen: 9 })).toBe(false)
    disks.heard(r, 2, 12)
    expect(disks.cameBackOlder(r, { run: 3, writesAtOpen: 11 })).toBe(true)
    expect(disks.cameBackOlder(r, { run: 4, writesAtOpen: 13 })).toBe(false)
  })

  test('the same run says the same number at each connection, however far it has come', () => {
    const disks = new DisksHeard([], nobody)
    disks.cameBackOlder(r, { run: 1, writesAtOpen: 5 })
    disks.heard(r, 1, 900)
    expect(disks.cameBackOlder(r, { run: 1, writesAtOpen: 5 })).toBe(false)
    expect(disks.furthest(r)?.writes).toBe(900)
  })

  test('a copy of a disk that runs beside it is noticed', () => {
    const disks = new DisksHeard([], nobody)
    disks.cameBackOlder(r, { run: 1, writesAtOpen: 100 })
    disks.heard(r, 1, 150)
    expect(disks.cameBackOlder(r, { run: 2, writesAtOpen: 100 })).toBe(true)
  })

  test('what others heard counts like what was heard here, and never takes anything back', () => {
    const disks = new DisksHeard([{ replica: r, run: 1, writes: 10 }], nobody)
    disks.learn({ replica: r, run: 7, writes: 8 })
    expect(disks.furthest(r)).toEqual({ replica: r, run: 1, writes: 10 })
    disks.learn({ replica: r, run: 7, writes: 20 })
    disks.learn({ replica: other, run: 3, writes: 2 })
    expect(disks.cameBackOlder(r, { run: 8, writesAtOpen: 15 })).toBe(true)
    expect(disks.cameBackOlder(other, { run: 8, writesAtOpen: 1 })).toBe(true)
  })

  test('frames of a replica that said no Hello count for nothing', () => {
    const disks = new DisksHeard([], nobody)
    disks.heard(r, 1, 5)
    expect(disks.of(r)).toEqual([])
    expect(disks.changed).toBe(false)
  })

  test('what was heard of an earlier run is not forgotten for a later one that holds more', () => {
    const disks = new DisksHeard([], nobody)
    disks.cameBackOlder(r, { run: 1, writesAtOpen: 5 })
    disks.heard(r, 1, 17)
    disks.cameBackOlder(r, { run: 2, writesAtOpen: 18 })
    expect(disks.of(r)).toEqual([
      { replica: r, run: 1, writes: 17 },
      { replica: r, run: 2, writes: 18 },
    ])
    for (let run = 3; run < 10; run++) disks.cameBackOlder(r, { run, writesAtOpen: 18 })
    expect(disks.of(r).map(({ run }) => run)).toEqual([6, 7, 8, 9])
  })

  test('what a third one remembers of old runs does not push out what came after them', () => {
    const disks = new DisksHeard([], nobody)
    for (const run of [2, 3, 4, 5]) {
      disks.cameBackOlder(r, { run, writesAtOpen: run * 10 })
      disks.heard(r, run, run * 10 + 9)
    }
    for (const run of [1, 2, 3, 4]) disks.learn({ replica: r, run, writes: run * 10 + 9 })
    expect(disks.furthest(r)).toMatchObject({ run: 5, writes: 59 })
    expect(disks.cameBackOlder(r, { run: 9, writesAtOpen: 52 })).toBe(true)
  })

  test('remembers a bounded number, those heard of last', () => {
    const disks = new DisksHeard([], nobody)
    for (let index = 0; index < 600; index++) disks.learn({ replica: id(index), run: 1, writes: 1 })
    expect(disks.all().length).toBe(512)
    expect(disks.of(id(0))).toEqual([])
    expect(disks.of(id(599))).toHaveLength(1)
  })

  test('whoever comes by, voters are not forgotten, and observers last', () => {
    const disks = new DisksHeard([], (replica) => (replica === r ? 'voter' : replica === other ? 'observer' : 'none'))
    disks.learn({ replica: r, run: 1, writes: 1 })
    disks.learn({ replica: other, run: 1, writes: 1 })
    for (let index = 0; index < 600; index++) disks.learn({ replica: id(index), run: 1, writes: 1 })
    expect([disks.of(r).length, disks.of(other).length, disks.all().length]).toEqual([1, 1, 512])
  })

  test('what is remembered comes back', () => {
    const disks = new DisksHeard([], nobody)
    for (const run of [1, 2, 3]) disks.learn({ replica: r, run, writes: run })
    const again = new DisksHeard(disks.all(), nobody)
    expect(again.all()).toEqual(disks.all())
    for (let index = 0; index < 600; index++) again.learn({ replica: id(index), run: 1, writes: 1 })
    expect(again.all().length).toBe(512)
  })
})
