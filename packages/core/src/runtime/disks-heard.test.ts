// [DU7] Which disks count as come back older.
import { describe, expect, test } from 'vitest'
import { replicaId } from '../protocol/ids.ts'
import { DisksHeard } from './disks-heard.ts'

const r = replicaId('a'.repeat(32))
const other = replicaId('b'.repeat(32))

describe('[DU7] what was heard of a disk', () => {
  test('a run may start with as many writes as were heard, or more, and not with fewer', () => {
    const disks = new DisksHeard([])
    expect(disks.cameBackOlder(r, { run: 1, writesAtOpen: 5 })).toBe(false)
    disks.heard(r, 9)
    expect(disks.cameBackOlder(r, { run: 2, writesAtOpen: 9 })).toBe(false)
    disks.heard(r, 12)
    expect(disks.cameBackOlder(r, { run: 3, writesAtOpen: 11 })).toBe(true)
    expect(disks.cameBackOlder(r, { run: 4, writesAtOpen: 13 })).toBe(false)
  })

  test('the same run says the same number at each connection, however far it has come', () => {
    const disks = new DisksHeard([])
    disks.cameBackOlder(r, { run: 1, writesAtOpen: 5 })
    disks.heard(r, 900)
    expect(disks.cameBackOlder(r, { run: 1, writesAtOpen: 5 })).toBe(false)
    expect(disks.of(r)?.writes).toBe(900)
  })

  test('a copy of a disk that runs beside it is noticed', () => {
    const disks = new DisksHeard([])
    disks.cameBackOlder(r, { run: 1, writesAtOpen: 100 })
    disks.heard(r, 150)
    expect(disks.cameBackOlder(r, { run: 2, writesAtOpen: 100 })).toBe(true)
  })

  test('what others heard counts like what was heard here, and never takes anything back', () => {
    const disks = new DisksHeard([{ replica: r, run: 1, writes: 10 }])
    disks.learn({ replica: r, run: 7, writes: 8 })
    expect(disks.of(r)).toEqual({ replica: r, run: 1, writes: 10 })
    disks.learn({ replica: r, run: 7, writes: 20 })
    disks.learn({ replica: other, run: 3, writes: 2 })
    expect(disks.cameBackOlder(r, { run: 8, writesAtOpen: 15 })).toBe(true)
    expect(disks.cameBackOlder(other, { run: 8, writesAtOpen: 1 })).toBe(true)
  })

  test('frames of a replica that said no Hello count for nothing', () => {
    const disks = new DisksHeard([])
    disks.heard(r, 5)
    expect(disks.of(r)).toBeUndefined()
    expect(disks.changed).toBe(false)
  })

  test('remembers a bounded number, those heard of last', () => {
    const disks = new DisksHeard([])
    const id = (index: number) => replicaId(index.toString(16).padStart(32, '0'))
    for (let index = 0; index < 300; index++) disks.learn({ replica: id(index), run: 1, writes: 1 })
    expect(disks.all().length).toBe(256)
    expect(disks.of(id(0))).toBeUndefined()
    expect(disks.of(id(299))).toBeDefined()
  })
})
