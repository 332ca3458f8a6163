// The tiny clusters whose every interleaving is explored. Most come to their end; of the others explore-main.ts says how far
// it came. `lost` towards a replica: it says what it has to say, and is gone.

import type { Scenario } from './explore.ts'
import { accessing, barrierFor } from './protocol-cluster.ts'

const write1 = accessing(1, 'write', 1)
const write2 = accessing(2, 'write', 1)

export const scenarios: readonly Scenario[] = [
  {
    name: 'one-command',
    n: 3,
    commands: [{ row: 0, command: write1 }],
    recoveries: 1,
  },
  {
    name: 'two-voters',
    n: 2,
    commands: [
      { row: 0, command: write1 },
      { row: 1, command: write2 },
    ],
    recoveries: 1,
  },
  {
    name: 'two-commands',
    n: 3,
    commands: [
      { row: 0, command: write1 },
      { row: 1, command: write2 },
    ],
  },
  {
    // the coordinator of one of them has proposed and is gone: who is left has to end it, and the other beside it
    name: 'two-commands-one-gone',
    n: 3,
    commands: [
      { row: 0, command: write1 },
      { row: 1, command: write2 },
    ],
    recoveries: 1,
    recoverers: [1, 2],
    recoverable: [{ row: 0, seq: 1 }],
    lost: (_, to) => to === 0,
  },
  {
    name: 'barrier-gone-and-command',
    n: 3,
    commands: [
      { row: 0, command: barrierFor(3) },
      { row: 1, command: write1 },
    ],
    recoveries: 1,
    recoverers: [1, 2],
    recoverable: [{ row: 0, seq: 1 }],
    lost: (_, to) => to === 0,
  },
  {
    name: 'coordinator-crash-slow-disks-two-left',
    n: 3,
    disk: 'held',
    commands: [{ row: 0, command: write1 }],
    recoveries: 1,
    recoverers: [1],
    crashes: 1,
    crashing: [0],
    fastPathTimeouts: false,
    lost: (from, to) => from === 2 || to === 2,
  },
  {
    name: 'two-commands-one-recovery',
    n: 3,
    commands: [
      { row: 0, command: write1 },
      { row: 1, command: write2 },
    ],
    recoveries: 1,
    recoverers: [2],
    recoverable: [{ row: 0, seq: 1 }],
    fastPathTimeouts: false,
  },
  {
    name: 'two-voters-barrier',
    n: 2,
    commands: [
      { row: 0, command: barrierFor(2) },
      { row: 1, command: write1 },
    ],
    recoveries: 1,
  },
  {
    name: 'barrier-and-command',
    n: 3,
    commands: [
      { row: 0, command: barrierFor(3) },
      { row: 1, command: write1 },
    ],
  },
  {
    name: 'barrier-command-one-recovery',
    n: 3,
    commands: [
      { row: 0, command: barrierFor(3) },
      { row: 1, command: write1 },
    ],
    recoveries: 1,
    recoverers: [2],
    recoverable: [{ row: 0, seq: 1 }],
    fastPathTimeouts: false,
  },
  {
    name: 'coordinator-crash',
    n: 3,
    commands: [{ row: 0, command: write1 }],
    recoveries: 1,
    recoverers: [1, 2],
    crashes: 1,
    crashing: [0],
    fastPathTimeouts: false,
  },
  {
    // it may take a promise from who is left, and leave them with it
    name: 'recoverer-crash',
    n: 3,
    commands: [{ row: 0, command: write1 }],
    recoveries: 1,
    recoverers: [2],
    crashes: 1,
    crashing: [2],
    restarts: false,
    fastPathTimeouts: false,
  },
  {
    name: 'coordinator-crash-slow-disks',
    n: 3,
    disk: 'held',
    commands: [{ row: 0, command: write1 }],
    recoveries: 1,
    recoverers: [1],
    crashes: 1,
    crashing: [0],
    fastPathTimeouts: false,
  },
  {
    name: 'competing-recoveries',
    n: 3,
    commands: [{ row: 0, command: write1 }],
    recoveries: 2,
    recoverers: [1, 2],
    fastPathTimeouts: false,
  },
  {
    name: 'competing-recoveries-one-gone',
    n: 3,
    commands: [{ row: 0, command: write1 }],
    recoveries: 3,
    recoverers: [1, 2],
    fastPathTimeouts: false,
    lost: (_, to) => to === 0,
  },
]
