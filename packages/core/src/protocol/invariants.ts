// What holds at one replica after every step, whatever happened before. Only tests and the simulations call it: it goes over
// the whole state. That nothing is said before it is durable, and what replicas owe to each other, can not be seen here.
import { assert } from '../lib/assert.ts'
import { ballotOwner } from './ballot.ts'
import { type Command, equalCommands, type Footprint } from './command.ts'
import { coversDeps, type Deps, equalDeps } from './deps.ts'
import { formatInstanceId, type InstanceId } from './ids.ts'
import { type Instance, instanceIdOf, instanceKey, isCommitted, type KnownInstance } from './instance.ts'
import { quorumsOf } from './quorum.ts'
import type { Attempt, ReplicaState } from './state.ts'

/** Throws AssertionError where something does not hold; the message begins with the rule that it serves. */
export function checkInvariants(state: ReplicaState): void {
  checkMembers(state)
  checkSeqs(state)
  checkLog(state)
  for (const instance of state.log.all()) {
    checkInstance(state, instance)
    checkIndexed(state, instance)
    checkBarrier(state, instance)
  }
  for (const [key, attempt] of state.attempts) {
    hold(instanceKey(attempt.id) === key, '[CO7] an attempt stands under its own instance', attempt.id)
    checkAttempt(state, attempt)
  }
  checkNotes(state)
}

/** The text is put together only where it is needed. */
function hold(condition: boolean, what: string, id?: InstanceId): void {
  if (!condition) assert(false, id === undefined ? what : `${what}: ${formatInstanceId(id)}`)
}

function checkMembers(state: ReplicaState): void {
  const { quorums, self, row, followers, learners, otherVoters } = state
  const { voters } = state.config.members
  const right = quorumsOf(voters.length)
  hold(
    quorums.n === right.n &&
      quorums.f === right.f &&
      quorums.e === right.e &&
      quorums.slow === right.n - right.f &&
      quorums.fast === right.n - right.e,
    '[CO3] quorums follow from the number of voters',
  )
  hold((voters[row ?? -1] ?? self) === self && (row !== null) === voters.includes(self), '[CO7] the row is its own')
  hold(
    otherVoters.length === voters.length - (row === null ? 0 : 1) && !otherVoters.includes(self),
    '[CO1] the others are all voters but itself',
  )
  hold(
    followers.every((id) => state.connected.has(id) && !voters.includes(id)),
    '[CO6] followers are connected, and no voters',
  )
  hold(learners.length === otherVoters.length + followers.length, '[CO6] all others that can be reached hear commits')
  hold(state.needs.length === voters.length, '[CO7] what execution needs has a number a row')
}

function checkSeqs(state: ReplicaState): void {
  const { row, nextSeq, reservedSeq, durableSeq, restartSeq } = state
  if (row === null) {
    hold(state.attempts.size === 0, '[CO7] who only observes attempts nothing')
    return
  }
  hold((state.log.knownUpTo[row] ?? 0) < nextSeq, '[DU1] the next seq is above all own ones that are known')
  hold(reservedSeq >= nextSeq - 1, '[DU1] used seqs are reserved')
  hold(durableSeq <= reservedSeq, '[DU1] only what was reserved is durably reserved')
  hold(restartSeq < nextSeq, '[DU3] seqs from before a restart are not used again')
  hold(everythingUpTo(state, row) >= restartSeq, '[DU3] what is proposed depends on all seqs from before a restart')
}

function checkLog(state: ReplicaState): void {
  const { committedUpTo, knownUpTo } = state.log
  const known = new Array<number>(state.quorums.n).fill(0)
  let count = 0
  for (const { id } of state.log.all()) {
    hold(id.row < state.quorums.n && id.seq >= 1, '[CO7] an instance is in a row of the epoch', id)
    known[id.row] = Math.max(known[id.row] ?? 0, id.seq)
    count++
  }
  hold(count === state.log.size, '[CU1] the log knows how much it holds')
  hold(equalDeps(known, knownUpTo), '[CU2] the log knows how far it goes')
  for (let row = 0; row < state.quorums.n; row++) {
    let upTo = 0
    while (isCommitted(state.log.at(row, upTo + 1))) upTo++
    hold(committedUpTo[row] === upTo, `[CU1] all of row ${row} is committed up to ${upTo}, no less and no more`)
  }
}

function checkInstance(state: ReplicaState, instance: Instance): void {
  const { id, initCommand, initDeps } = instance
  const { n } = state.quorums
  hold((initCommand === null) === (initDeps === null), '[RC4] first command and first deps come together', id)
  hold(initDeps === null || initDeps.length === n, '[CO7] first deps have a number a row', id)
  hold(initCommand === null || initCommand.kind !== 'nop', '[CO2] nobody proposes a Nop', id)
  if (instance.phase === 'none') return
  hold(instance.deps.length === n, '[CO7] deps have a number a row', id)
  hold(instance.acceptedBallot <= instance.promisedBallot, '[RC2] a vote is not above the promise', id)
  if (instance.phase === 'preaccepted') {
    hold(instance.acceptedBallot === 0, '[RC2] a pre-accept is a vote at ballot 0', id)
    hold(initDeps !== null && coversDeps(instance.deps, initDeps), '[CO2] deps hold the first deps', id)
    hold(initCommand !== null && equalCommands(initCommand, instance.command), '[CO2] it is the first command', id)
  }
  if (instance.command.kind !== 'nop') {
    hold(
      initCommand === null || equalCommands(initCommand, instance.command),
      '[CO4] an instance has its command or a Nop',
      id,
    )
  }
}

/** [CF1] [CF2] Whoever asks what conflicts hears of the instance. */
function checkIndexed(state: ReplicaState, instance: Instance): void {
  if (instance.initCommand !== null) checkCommandIndexed(state, instance.id, instance.initCommand)
  if (instance.phase !== 'none' && instance.command !== instance.initCommand) {
    checkCommandIndexed(state, instance.id, instance.command)
  }
}

function checkCommandIndexed(state: ReplicaState, id: InstanceId, command: Command): void {
  const { row, seq } = id
  if (command.kind !== 'application') {
    hold(everythingUpTo(state, row) >= seq, '[CF2] a Nop or barrier conflicts with everything', id)
    return
  }
  for (const { footprint } of command.proposals) {
    if (footprint === 'everything') {
      hold(everythingUpTo(state, row) >= seq, '[CF1] what touches everything conflicts with everything', id)
      continue
    }
    for (const { key } of footprint) {
      const writer: Footprint = [{ key, mode: 'write' }]
      hold(
        (state.index.conflictsOfFootprint(writer)[row] ?? 0) >= seq,
        '[CF1] who writes a key hears who touches it',
        id,
      )
    }
    hold((state.index.conflictsOfFootprint('everything')[row] ?? 0) >= seq, '[CF1] a barrier hears of everything', id)
  }
}

/** What a command that touches no key at all has to come after. */
function everythingUpTo(state: ReplicaState, row: number): number {
  return state.index.conflictsOfFootprint([])[row] ?? 0
}

/** [EP7] Between what must be in the way and what may be: a barrier that was heard of stays until it is decided otherwise. */
function checkBarrier(state: ReplicaState, instance: Instance): void {
  const { id, phase, initCommand } = instance
  const isBarrier = phase !== 'none' && instance.command.kind === 'barrier'
  const isKnown = state.barriers.has(instanceKey(id))
  if (isBarrier || (phase !== 'committed' && initCommand?.kind === 'barrier')) {
    hold(isKnown, '[EP7] a barrier that is not decided otherwise is in the way', id)
  } else if (phase === 'committed') hold(!isKnown, '[EP7] what was decided to be no barrier is not in the way', id)
}

function checkAttempt(state: ReplicaState, attempt: Attempt): void {
  const { id, ballot } = attempt
  const { slow, fast, e } = state.quorums
  const instance = state.log.get(id)
  hold(!isCommitted(instance), '[CO6] nothing is attempted for what is committed', id)
  hold(ballotOwner(ballot, id.row) === state.row, '[CO7] an attempt has a ballot of its own', id)
  if (instance === undefined) {
    hold(false, '[RC1] an attempt is recorded', id)
    return
  }
  if (attempt.kind === 'accepting') {
    hold(instance.promisedBallot >= ballot, '[CO4] a proposer has promised its own ballot', id)
    hold(attempt.acks.size < slow, '[CO5] a quorum commits', id)
    if (instance.phase === 'accepted' && instance.acceptedBallot === ballot) checkOneValue(instance, attempt)
    return
  }
  hold(instance.promisedBallot === ballot, '[RC1] an attempt that a promise forbids is over', id)
  hold(
    instance.phase === 'none' || instance.phase === 'preaccepted' || attempt.kind === 'recovering',
    '[RC4] what is accepted is not validated',
    id,
  )
  switch (attempt.kind) {
    case 'preaccepting': {
      hold(ballot === 0, '[CO1] a coordinator proposes at ballot 0', id)
      const answers = attempt.answers.filter((deps): deps is Deps => deps !== undefined)
      const unchanged = answers.filter((deps) => equalDeps(deps, attempt.initDeps)).length
      hold(attempt.answered === answers.length, '[CO3] answers are counted', id)
      hold(attempt.unchanged === unchanged, '[CO3] unchanged answers are counted', id)
      const own = attempt.answers[id.row] !== undefined
      hold(!own || unchanged < fast, '[CO3] a fast quorum commits', id)
      return
    }
    case 'recovering':
      hold(ballot > 0, '[RC1] ballot 0 recovers nothing', id)
      hold(attempt.answers.size < slow, '[RC3] a quorum decides', id)
      return
    case 'validating':
      hold(attempt.quorum.size >= slow, '[RC4] a slow quorum validates', id)
      hold(attempt.supporters >= attempt.quorum.size - e, '[RC3.4] fewer supporters are a Nop', id)
      hold(attempt.answers.size < attempt.quorum.size, '[RC5] all of the quorum decide', id)
      return
    case 'waiting':
      hold(attempt.quorum.size >= slow, '[RC4] a slow quorum validates', id)
      hold(
        attempt.invalidating.some((other) => !isCommitted(state.log.get(other))),
        '[RC5.3] it waits for something that is not decided',
        id,
      )
      hold((state.waitings.get(instanceKey(id)) ?? -1) >= attempt.supporters, '[RC5.3] it hears its own Waiting', id)
  }
}

function checkOneValue(instance: KnownInstance, attempt: Attempt & { readonly kind: 'accepting' }): void {
  hold(
    equalCommands(instance.command, attempt.command) && equalDeps(instance.deps, attempt.deps),
    '[CO4] one ballot carries one value',
    attempt.id,
  )
}

/** What is only noted until an instance is decided goes when it is. */
function checkNotes(state: ReplicaState): void {
  for (const [key, supporters] of state.waitings) {
    hold(!isCommitted(state.log.get(instanceIdOf(key))), '[RC5.3] what is committed does not wait', instanceIdOf(key))
    hold(supporters >= 0 && supporters <= state.quorums.n, '[RC5.3] supporters are voters', instanceIdOf(key))
  }
  for (const key of state.ballotsSeen.keys()) {
    hold(!isCommitted(state.log.get(instanceIdOf(key))), '[RC1] what is committed needs no ballot', instanceIdOf(key))
  }
  for (const key of state.watches.keys()) {
    hold(!isCommitted(state.log.get(instanceIdOf(key))), '[RC0] what is committed is not watched', instanceIdOf(key))
  }
  for (const { answers } of state.reads.values()) {
    hold(answers.size < state.quorums.slow, '[RD1] a quorum answers a read')
  }
}
