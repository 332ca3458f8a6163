import { describe, expect, test } from 'vitest'
import { nop } from './command.ts'
import { commitMessage } from './commit.ts'
import type { Effect } from './effect.ts'
import {
  accepted,
  committed,
  id,
  keep,
  observer,
  preaccepted,
  receive,
  replica,
  send,
  stranger,
  sync,
  voter,
  write,
} from './fixtures.ts'
import type { CommittedInstance } from './instance.ts'
import type { Commit, Heartbeat } from './message.ts'
import { step } from './replica.ts'

const cmd = write(1)

function heartbeat(committedUpTo: readonly number[]): Heartbeat {
  return { type: 'Heartbeat', committedUpTo, executed: 0 }
}

function commit(row: number, seq: number): Commit {
  return { type: 'Commit', id: id(row, seq), ballot: 0, command: cmd, deps: [0, 0, 0] }
}

test('[CU2] behind an instance that is undecided everywhere the portions go on', () => {
  const state = replica(3, 0)
  const asked = step(state, { kind: 'catchUp', from: voter(1) }, 0)
  expect(asked).toEqual([pull(1, [0, 0, 0])])
  // 1.1 is missing at the peer too
  const commits = [commit(1, 2), commit(1, 3)]
  const effects = step(state, receive(1, { type: 'Pulled', commits, more: true }), 0)
  expect(effects).toContainEqual(pull(1, [0, 3, 0]))
  expect(step(state, receive(1, { type: 'Pulled', commits: [], more: true }), 0)).toEqual([])
})

function learned({ id: at, command, deps }: Commit): Effect[] {
  const instance = committed(at, 0, command, deps)
  return [{ kind: 'committed', instance, path: 'learned' }, keep(instance)]
}

/** Asks the voter of `to` for what is committed above these watermarks. */
function pull(to: number, committedUpTo: readonly number[]): Effect {
  return send([to], { type: 'Pull', committedUpTo })
}

describe('when to pull', () => {
  test('[CU1] what is missing at the first heartbeat may be on the way; what still is at the next is pulled', () => {
    const state = replica(3, 1)
    expect(step(state, receive(0, heartbeat([2, 0, 0])), 0)).toEqual([])
    expect(step(state, receive(0, heartbeat([2, 0, 0])), 500)).toEqual([pull(0, [0, 0, 0])])
  })

  test('[CU1] what was missing at the last heartbeat and came since is not pulled, though more is missing now', () => {
    const state = replica(3, 1)
    step(state, receive(0, heartbeat([1, 0, 0])), 0)
    step(state, receive(0, commit(0, 1)), 1)
    expect(step(state, receive(0, heartbeat([2, 0, 0])), 500)).toEqual([])
    expect(step(state, receive(0, heartbeat([2, 0, 0])), 1_000)).toEqual([pull(0, [1, 0, 0])])
  })

  test('[CU1] a heartbeat of one that is behind, or equal, asks for nothing', () => {
    const state = replica(3, 1, { instances: [committed(id(0, 1), 0, cmd, [0, 0, 0])] })
    for (const at of [0, 500]) {
      expect(step(state, receive(0, heartbeat([0, 0, 0])), at)).toEqual([])
      expect(step(state, receive(2, heartbeat([1, 0, 0])), at)).toEqual([])
    }
  })

  test('[CU1] a lag of more than 128 instances, over all rows, is pulled at once', () => {
    expect(step(replica(3, 1), receive(0, heartbeat([64, 0, 64])), 0)).toEqual([])
    expect(step(replica(3, 1), receive(0, heartbeat([64, 0, 65])), 0)).toEqual([pull(0, [0, 0, 0])])
  })

  test('[CU1] only one pull is under way at a time', () => {
    const state = replica(3, 1)
    step(state, receive(0, heartbeat([200, 0, 0])), 0)
    expect(step(state, receive(2, heartbeat([200, 0, 0])), 0)).toEqual([])
    expect(step(state, { kind: 'catchUp', from: voter(2) }, 0)).toEqual([])
  })

  test('[CU1] when the one that was asked is lost, another is', () => {
    const state = replica(3, 1)
    step(state, receive(0, heartbeat([200, 0, 0])), 0)
    expect(step(state, { kind: 'disconnected', peer: voter(0) }, 0)).toEqual([])
    expect(step(state, receive(2, heartbeat([200, 0, 0])), 0)).toEqual([pull(2, [0, 0, 0])])
  })

  test('[CU1] the runtime may ask for a pull from a replica that is no member', () => {
    expect(step(replica(3, 1), { kind: 'catchUp', from: stranger }, 0)).toEqual([
      { kind: 'send', to: [stranger], message: { type: 'Pull', committedUpTo: [0, 0, 0] } },
    ])
  })
})

describe('Pull', () => {
  test('[CU2] committed instances above the watermarks are sent, and nothing else, once all of them are durable', () => {
    const instances: CommittedInstance[] = [
      committed(id(0, 1), 0, cmd, [0, 0, 0]),
      committed(id(0, 2), 17, nop, [0, 0, 0]),
      committed(id(1, 2), 0, cmd, [2, 0, 0]),
      committed(id(2, 1), 0, cmd, [1, 2, 0]),
    ]
    const uncommitted = [preaccepted(id(1, 1), cmd, [0, 0, 0]), accepted(id(0, 3), 0, cmd, [2, 0, 0])]
    const state = replica(3, 1, { instances: [...instances, ...uncommitted] })
    const commits = instances.slice(1).map(commitMessage)
    expect(step(state, receive(2, { type: 'Pull', committedUpTo: [1, 0, 0] }), 0)).toEqual([
      sync,
      send([2], { type: 'Pulled', commits, more: false }),
    ])
  })

  test('[CU2] one that has everything gets an empty answer, and so does an observer', () => {
    const message = { type: 'Pull', committedUpTo: [0, 0, 0] } as const
    expect(step(replica(3, 1), receive(observer, message), 0)).toEqual([
      sync,
      { kind: 'send', to: [observer], message: { type: 'Pulled', commits: [], more: false } },
    ])
  })

  test('[CU2] at most 512 instances are sent at once; the answer says when there are more', () => {
    const instances = Array.from({ length: 513 }, (_, index) => committed(id(0, index + 1), 0, cmd, [0, 0, 0]))
    const state = replica(3, 1, { instances })
    expect(step(state, receive(2, { type: 'Pull', committedUpTo: [0, 0, 0] }), 0)).toEqual([
      sync,
      send([2], { type: 'Pulled', commits: instances.slice(0, 512).map(commitMessage), more: true }),
    ])
    expect(step(state, receive(2, { type: 'Pull', committedUpTo: [1, 0, 0] }), 0)).toEqual([
      sync,
      send([2], { type: 'Pulled', commits: instances.slice(1).map(commitMessage), more: false }),
    ])
  })

  test('[CU2] large commands come in smaller portions, but never none', () => {
    const [proposal] = cmd.proposals
    const large = { ...cmd, proposals: proposal ? [{ ...proposal, payload: new Uint8Array(300_000) }] : [] }
    const one = committed(id(0, 1), 0, large, [0, 0, 0])
    const two = committed(id(2, 1), 0, large, [0, 0, 0])
    const state = replica(3, 1, { instances: [one, two] })
    expect(step(state, receive(2, { type: 'Pull', committedUpTo: [0, 0, 0] }), 0)).toEqual([
      sync,
      send([2], { type: 'Pulled', commits: [commitMessage(one)], more: true }),
    ])
    expect(step(state, receive(2, { type: 'Pull', committedUpTo: [1, 0, 0] }), 0)).toEqual([
      sync,
      send([2], { type: 'Pulled', commits: [commitMessage(two)], more: false }),
    ])
  })
})

describe('Pulled', () => {
  test('[CU2] the commits are learned, and where there are more the next portion is asked for', () => {
    const state = replica(3, 1)
    step(state, { kind: 'catchUp', from: voter(0) }, 0)
    const commits = [commit(0, 1), commit(2, 1)]
    expect(step(state, receive(0, { type: 'Pulled', commits, more: true }), 0)).toEqual([
      ...commits.flatMap(learned),
      pull(0, [1, 0, 1]),
    ])
    expect(step(state, receive(0, { type: 'Pulled', commits: [commit(0, 2)], more: false }), 0)).toEqual(
      learned(commit(0, 2)),
    )
    expect(step(state, { kind: 'catchUp', from: voter(2) }, 0)).toEqual([pull(2, [2, 0, 1])])
  })

  test('[CU2] an empty portion that promises more does not start an endless exchange', () => {
    const state = replica(3, 1)
    step(state, { kind: 'catchUp', from: voter(0) }, 0)
    expect(step(state, receive(0, { type: 'Pulled', commits: [], more: true }), 0)).toEqual([])
  })

  test('[CU2] what is known already is passed over', () => {
    const state = replica(3, 1, { instances: [committed(id(0, 1), 0, cmd, [0, 0, 0])] })
    step(state, { kind: 'catchUp', from: voter(0) }, 0)
    const commits = [commit(0, 1), commit(0, 2)]
    expect(step(state, receive(0, { type: 'Pulled', commits, more: false }), 0)).toEqual(learned(commit(0, 2)))
  })

  test('[CU2] a voter that was not asked is believed, but asked for no more', () => {
    const state = replica(3, 1)
    step(state, { kind: 'catchUp', from: voter(0) }, 0)
    const message = { type: 'Pulled', commits: [commit(0, 1)], more: true } as const
    expect(step(state, receive(2, message), 0)).toEqual(learned(commit(0, 1)))
    expect(step(state, { kind: 'catchUp', from: voter(2) }, 0)).toEqual([])
  })
})
