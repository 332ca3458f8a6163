// Names for states: two replicas (or messages) with one name behave alike from here on, as long as time only passes in
// ticks that the explorer makes. Whatever a ReplicaState comes to hold is part of the name unless it is left out below, so
// a forgotten field costs time, never a state that is taken for another.
import type { Command } from '../src/protocol/command.ts'
import { type Instance, type InstanceKey, instanceKey } from '../src/protocol/instance.ts'
import type { Message } from '../src/protocol/message.ts'
import type { ReplicaState } from '../src/protocol/state.ts'
import type { ProtocolPromises } from './protocol-promises.ts'
import type { ReplicaHost } from './replica-host.ts'

/** The same for the whole run, or told apart in another way below. */
const leftOut: ReadonlySet<string> = new Set<keyof ReplicaState>([
  'self',
  'row',
  'config',
  'timeouts',
  'quorums',
  'rows',
  'otherVoters',
  'log',
  'index',
  // where all timeouts but the fast path's are out of reach, clocks decide nothing
  'now',
  'tickedAt',
  'heartbeatAt',
  'heardAt',
  'watches',
])

/** Times inside of attempts, pulls and reads. Of `slowSince` only matters whether it is set: see explore.ts. */
const times: ReadonlySet<string> = new Set(['sentAt', 'startedAt', 'slowSince'])

/**
 * All that matters of what is committed, and of a Commit: nobody looks at the ballots of what is final, nor at what was
 * heard of it first.
 */
const final: ReadonlySet<string> = new Set(['type', 'phase', 'id', 'command', 'deps'])

/** Immutable values are named once. */
const names = new WeakMap<object, string>()

function nameOf(value: unknown): string {
  if (value === undefined) return '_'
  if (value === null) return '-'
  if (typeof value === 'string') return value
  if (typeof value !== 'object') return String(value)
  if (value instanceof Uint8Array) return `x${value.join('.')}`
  if (Array.isArray(value)) return `[${value.map(nameOf).join(' ')}]`
  if (ArrayBuffer.isView(value)) return `x${Array.from(value as Float64Array).join('.')}`
  if (value instanceof Set) return `{${[...value].map(nameOf).sort().join(' ')}}`
  if (value instanceof Map) {
    const entries = [...value].map(([key, entry]) => `${nameOf(key)}:${nameOf(entry)}`)
    return `{${entries.sort().join(' ')}}`
  }
  return nameOfObject(value)
}

function nameOfObject(value: object): string {
  let name = names.get(value)
  if (name !== undefined) return name
  if (isCommand(value)) {
    name = nameOfCommand(value)
  } else {
    const parts: string[] = []
    let mutable = false
    const isFinal = ('phase' in value && value.phase === 'committed') || ('type' in value && value.type === 'Commit')
    for (const [field, entry] of Object.entries(value)) {
      if (isFinal && !final.has(field)) continue
      if (times.has(field)) {
        mutable = true
        if (field === 'slowSince') parts.push(entry === undefined ? 'fast' : 'slow')
        continue
      }
      parts.push(`${field}=${nameOf(entry)}`)
    }
    name = `(${parts.join(' ')})`
    // what tells a time changes in place: an attempt, a pull
    if (mutable || !isValue(value)) return name
  }
  names.set(value, name)
  return name
}

function isCommand(value: object): value is Command {
  return 'kind' in value && (value.kind === 'nop' || value.kind === 'application' || value.kind === 'barrier')
}

/** Instances and messages are immutable. */
function isValue(value: object): boolean {
  return ('type' in value && 'id' in value) || ('phase' in value && 'promisedBallot' in value)
}

/** Short and readable; commands of one run are told apart by the numbers of their proposals. */
export function nameOfCommand(command: Command): string {
  switch (command.kind) {
    case 'nop':
      return 'nop'
    case 'barrier':
      return `barrier${command.next.voters.length}`
    case 'application':
      return `c${command.proposals.map(({ number }) => number).join('+')}`
  }
}

export function nameOfMessage(message: Message): string {
  return nameOf(message)
}

function byKey<T extends { readonly id: { readonly row: number; readonly seq: number } }>(values: Iterable<T>): T[] {
  return [...values].sort((a, b) => instanceKey(a.id) - instanceKey(b.id))
}

function nameOfReplica(state: ReplicaState, commands: readonly Command[]): string {
  const parts: string[] = []
  for (const [field, value] of Object.entries(state)) if (!leftOut.has(field)) parts.push(`${field}=${nameOf(value)}`)
  parts.push(`log=${nameOf(byKey(state.log.all()))}`)
  // all that is ever read of the index
  parts.push(`index=${nameOf(commands.map((command) => state.index.conflicts(command)))}`)
  const watches = [...state.watches].map(([key, { at }]) => `${key}${at <= state.now ? 'due' : 'later'}`)
  parts.push(`watches=${watches.sort().join(' ')}`)
  return parts.join('\n')
}

/**
 * Of what waits for the disk: of the writes to one record the last counts. All messages leave together, and to a network
 * that keeps what was ever sent, one that leaves twice has left; all else happens in its order.
 */
function nameOfPending({ pending }: ReplicaHost): string {
  const records = new Map<InstanceKey, Instance>()
  const messages = new Set<string>()
  const others: string[] = []
  let reserved = 0
  for (const one of pending) {
    if (one.kind === 'persist' || one.kind === 'keep') records.set(instanceKey(one.instance.id), one.instance)
    else if (one.kind === 'reserve') reserved = Math.max(reserved, one.upTo)
    else if (one.kind === 'send') messages.add(`${one.to.join()} ${nameOfMessage(one.message)}`)
    else others.push(nameOf(one))
  }
  return `${nameOf(records)} ${reserved} ${[...messages].sort().join(' ')} ${others.join(' ')}`
}

/**
 * `commands` are all that are proposed in the run, and Nop. The executor is named by what it was handed and in which order
 * it executed: what it does next depends on these alone. `readsDisk`: whether it may still start from its disk; where it
 * may not, and nothing waits for the disk, what is on it makes no difference.
 */
export function nameOfHost(host: ReplicaHost, commands: readonly Command[], readsDisk: boolean): string {
  const { state } = host
  const parts = [
    state === null ? 'down' : nameOfReplica(state, commands),
    `commits=${nameOf(byKey(host.commits).map(({ id }) => instanceKey(id)))}`,
    `executed=${nameOf(host.executed.map(({ id }) => instanceKey(id)))}`,
  ]
  if (readsDisk) {
    parts.push(
      `disk=${nameOf(byKey(host.disk.values()))}`,
      `reserved=${host.diskReservedSeq} restart=${host.restartSeq}`,
      `pending=${nameOfPending(host)}`,
    )
  }
  return parts.join('\n')
}

/** What was decided and executed so far, by anybody. */
export function nameOfPromises(promises: ProtocolPromises): string {
  const decided = byKey(promises.decided.values()).map(({ id, command, deps }) => [id, command, deps])
  const before = [...promises.before].map(([key, set]): [InstanceKey, ReadonlySet<InstanceKey>] => [key, set])
  return `${nameOf(decided)}\n${nameOf(new Map(before))}\n${nameOf(promises.proposed)}`
}
