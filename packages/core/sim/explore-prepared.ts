// Explorations that begin in the middle: situations that are rare in random walks and too deep for an exploration from the
// start. Each begins with what has happened by then, told call by call; from there on all that may happen is explored.
import type { InstanceId, Row } from '../src/protocol/ids.ts'
import type { Message } from '../src/protocol/message.ts'
import type { Scenario } from './explore.ts'
import { accessing, type ProtocolCluster } from './protocol-cluster.ts'

const write1 = accessing(1, 'write', 1)
const write2 = accessing(2, 'write', 1)
const first: InstanceId = { row: 0, seq: 1 }

/** What is on its way from one to the other arrives. */
function hear(cluster: ProtocolCluster, to: Row, from: Row, type: Message['type']): void {
  cluster.deliverAll((flight) => flight.from === from && flight.to === to && flight.message.type === type)
}

function recover(cluster: ProtocolCluster, row: Row, id: InstanceId): void {
  if (cluster.canRecover(row, id)) cluster.recover(row, id)
}

/**
 * Two have accepted a Nop, and 2 has committed it; 1 accepted the command before that, at a lower ballot, and may now recover
 * once more. Two accepted values and two promises: only the ballot of the vote tells which counts.
 */
const twoAcceptedValues: Scenario = {
  name: 'two-accepted-values',
  n: 3,
  commands: [{ row: 0, command: write1 }],
  recoveries: 1,
  recoverers: [1],
  fastPathTimeouts: false,
  prefix: (cluster) => {
    cluster.propose(0, write1)
    hear(cluster, 2, 0, 'PreAccept')
    recover(cluster, 1, first)
    hear(cluster, 2, 1, 'Recover')
    hear(cluster, 1, 2, 'RecoverOk')
    hear(cluster, 2, 1, 'Validate')
    hear(cluster, 1, 2, 'ValidateOk')
    recover(cluster, 2, first)
    hear(cluster, 0, 2, 'Recover')
    hear(cluster, 2, 0, 'RecoverOk')
    hear(cluster, 0, 2, 'Accept')
    // 1 hears of the higher ballot before it tries again
    hear(cluster, 0, 1, 'Accept')
    hear(cluster, 1, 0, 'Nack')
    hear(cluster, 2, 0, 'AcceptOk')
  },
  // what was lost on the way here stays lost
  lost: (from, to, { type }) => (from === 0 && type === 'PreAccept') || (to === 2 && type === 'Recover'),
}

/**
 * 2 has a command validated by 3 and 4, and its coordinator is gone; 1, which knows nothing of it, has proposed another that
 * conflicts. Whoever answers 1 from now on has to know what it validated.
 */
const validatedByTwo: Scenario = {
  name: 'validated-by-two',
  n: 5,
  commands: [
    { row: 0, command: write1 },
    { row: 1, command: write2 },
  ],
  fastPathTimeouts: false,
  restarts: false,
  prefix: (cluster) => {
    cluster.propose(0, write1)
    hear(cluster, 2, 0, 'PreAccept')
    cluster.crash(0, { silently: true })
    recover(cluster, 2, first)
    for (const row of [3, 4]) {
      hear(cluster, row, 2, 'Recover')
      hear(cluster, 2, row, 'RecoverOk')
    }
    for (const row of [3, 4]) hear(cluster, row, 2, 'Validate')
    cluster.propose(1, write2)
  },
  lost: (from, to, message) =>
    ('id' in message && message.id.row === 0 && (from === 0 || to === 1 || message.type === 'Recover')) ||
    (from === 1 && to === 2),
}

/**
 * Two coordinators are gone, each of whose commands one voter of the three that are left has heard of, and neither knows of
 * the other: each recovery finds the other command in its way. Both have to end without the two.
 */
const twoCoordinatorsGone: Scenario = {
  name: 'two-coordinators-gone',
  n: 5,
  commands: [
    { row: 0, command: write1 },
    { row: 1, command: write2 },
  ],
  restarts: false,
  fastPathTimeouts: false,
  prefix: (cluster) => {
    cluster.propose(0, write1)
    cluster.propose(1, write2)
    hear(cluster, 2, 0, 'PreAccept')
    hear(cluster, 3, 1, 'PreAccept')
    cluster.crash(0, { silently: true })
    cluster.crash(1, { silently: true })
    recover(cluster, 2, first)
    recover(cluster, 3, { row: 1, seq: 1 })
  },
  lost: (from) => from < 2,
}

/** A coordinator crashed before the record of its proposal was durable; 1 has heard the proposal. */
const forgottenProposal: Scenario = {
  name: 'forgotten-proposal',
  n: 3,
  disk: 'held',
  commands: [
    { row: 0, command: write1 },
    { row: 0, command: write2 },
  ],
  fastPathTimeouts: false,
  prefix: (cluster) => {
    cluster.propose(0, write1)
    hear(cluster, 1, 0, 'PreAccept')
    cluster.write(1)
    cluster.crash(0, { silently: true })
  },
  lost: (from, to) => from === 2 || to === 2,
}

/** With seven voters a fast quorum is one more than a slow one. So many have answered as the slow one needs. */
const fourOfSeven: Scenario = {
  name: 'four-of-seven',
  n: 7,
  commands: [{ row: 0, command: write1 }],
  recoveries: 1,
  recoverers: [6],
  fastPathTimeouts: false,
  prefix: (cluster) => {
    cluster.propose(0, write1)
    for (const row of [1, 2, 3]) {
      hear(cluster, row, 0, 'PreAccept')
      hear(cluster, 0, row, 'PreAcceptOk')
    }
  },
  // 1 and 2 are cut off by now, and so is the coordinator
  lost: (from, to) => from < 3 || to < 3,
}

export const preparedScenarios: readonly Scenario[] = [
  twoAcceptedValues,
  validatedByTwo,
  twoCoordinatorsGone,
  forgottenProposal,
  fourOfSeven,
]
