// The tiny clusters whose every interleaving is explored. Bounds are chosen so that each comes to its end.

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
    recoveries: 1,
  },
  {
    name: 'coordinator-crash',
    n: 3,
    disk: 'held',
    commands: [{ row: 0, command: write1 }],
    recoveries: 1,
    crashes: 1,
    crashing: [0],
  },
  {
    name: 'competing-recoveries',
    n: 3,
    commands: [{ row: 0, command: write1 }],
    recoveries: 2,
  },
]
