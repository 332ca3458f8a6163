// [DU7] What a replica's own disk says to what a peer heard of it.
import { describe, expect, test } from 'vitest'
import { replicaId } from '../protocol/ids.ts'
import { OwnRuns } from './own-runs.ts'

const self = replicaId('a'.repeat(32))
const heard = (run: number, writes: number) => ({ replica: self, run, writes })

describe('[DU7] the runs of a replica', () => {
  const first = new OwnRuns(self, [], 1, 0)
  const second = new OwnRuns(self, first.all(), 2, 17)
  const third = new OwnRuns(self, second.all(), 3, 40)

  test('all that was heard of an earlier run is there when the next one began with as many writes', () => {
    expect(third.hold(heard(1, 17))).toBe(true)
    expect(third.hold(heard(2, 40))).toBe(true)
    expect(third.hold(heard(3, 999))).toBe(true)
  })

  test('what is missing of a run is missing however much was written since', () => {
    // The copy was taken when run 1 had 15 writes; run 4 wrote 100 more.
    const fourth = new OwnRuns(self, first.all(), 4, 15)
    const fifth = new OwnRuns(self, fourth.all(), 5, 115)
    expect(fifth.hold(heard(1, 17))).toBe(false)
    expect(fifth.hold(heard(1, 15))).toBe(true)
  })

  test('a run that this disk does not know came after the copy, or before all that is remembered', () => {
    expect(third.hold(heard(77, 1))).toBe(false)
    let runs = new OwnRuns(self, [], 1, 10)
    for (let run = 2; run < 600; run++) runs = new OwnRuns(self, runs.all(), run, run * 10)
    expect(runs.all().length).toBe(256)
    expect(runs.hold(heard(5, 60))).toBe(true)
    expect(runs.present).toEqual({ run: 599, writesAtOpen: 5990 })
  })
})
