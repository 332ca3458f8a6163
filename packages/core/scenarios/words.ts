// How stories call things: replicas by letters, instances as `a.1`, ballots as `2b` (the second attempt, by b), deps as one
// number a row. The same words at both levels.
import type { Ballot } from '../src/protocol/ballot.ts'
import type { Command, Proposal } from '../src/protocol/command.ts'
import type { ControlMessage } from '../src/protocol/control-message.ts'
import type { Deps } from '../src/protocol/deps.ts'
import type { InstanceId, ReplicaId } from '../src/protocol/ids.ts'
import type { Instance } from '../src/protocol/instance.ts'
import type { Message } from '../src/protocol/message.ts'
import { StoryError } from './story.ts'

/** The names of one epoch. */
export interface Names {
  readonly voters: readonly ReplicaId[]
  nameOf(replica: ReplicaId): string
  /** What was proposed, as the story said it. */
  textOf(proposal: Proposal): string
}

export class Words {
  readonly #names: Names

  constructor(names: Names) {
    this.#names = names
  }

  row(row: number): string {
    const id = this.#names.voters[row]
    return id === undefined ? `row${row}` : this.#names.nameOf(id)
  }

  id({ row, seq }: InstanceId): string {
    return `${this.row(row)}.${seq}`
  }

  ballot(ballot: Ballot): string {
    return ballot === 0 ? '0' : `${Math.floor(ballot / 16)}${this.row(ballot % 16)}`
  }

  deps(deps: Deps): string {
    return `deps ${deps.join(' ')}`
  }

  command(command: Command): string {
    switch (command.kind) {
      case 'nop':
        return 'Nop'
      case 'barrier':
        return `barrier → ${this.members(command.next.voters, command.next.observers)}`
      case 'application':
        return command.proposals.map((proposal) => this.#names.textOf(proposal)).join(' + ')
    }
  }

  members(voters: readonly ReplicaId[], observers: readonly ReplicaId[]): string {
    const names = (ids: readonly ReplicaId[]) => ids.map((id) => this.#names.nameOf(id)).join(' ')
    return observers.length === 0 ? names(voters) : `${names(voters)} (observing: ${names(observers)})`
  }

  message(message: Message): string {
    const { type } = message
    switch (type) {
      case 'PreAccept':
        return `${type} ${this.id(message.id)} ${this.command(message.command)}, ${this.deps(message.deps)}`
      case 'PreAcceptOk':
        return `${type} ${this.id(message.id)}, ${this.deps(message.deps)}`
      case 'Accept':
      case 'Commit':
      case 'Validate':
        return `${type} ${this.id(message.id)} at ${this.ballot(message.ballot)}: ${this.command(message.command)}, ${this.deps(message.deps)}`
      case 'ShortCommit':
        return `${type} ${this.id(message.id)}: ${message.value === 'initial' ? 'as first sent' : 'as accepted'}`
      case 'AcceptOk':
      case 'Recover':
        return `${type} ${this.id(message.id)} at ${this.ballot(message.ballot)}`
      case 'RecoverOk':
        return `${type} ${this.id(message.id)} at ${this.ballot(message.ballot)}: ${this.#known(message.known)}`
      case 'ValidateOk': {
        const against = message.invalidating.map(({ id, committed }) => this.id(id) + (committed ? ' (committed)' : ''))
        const verdict = against.length === 0 ? 'nothing against it' : `against it: ${against.join(' ')}`
        return `${type} ${this.id(message.id)} at ${this.ballot(message.ballot)}: ${verdict}`
      }
      case 'Waiting':
        return `${type} ${this.id(message.id)}, ${message.supporters} supporters`
      case 'Nack':
        return `${type} ${this.id(message.id)} at ${this.ballot(message.ballot)}: promised ${this.ballot(message.promisedBallot)}`
      case 'Heartbeat':
        return `${type}: committed up to ${message.committedUpTo.join(' ')}`
      case 'Pull':
        return `${type}: what is committed above ${message.committedUpTo.join(' ')}`
      case 'Pulled': {
        const ids = message.commits.map(({ id }) => this.id(id)).join(' ')
        return `${type}: ${ids === '' ? 'nothing' : ids}${message.more ? ', and there is more' : ''}`
      }
      case 'ReadIndex':
        return type
      case 'ReadIndexOk':
        return `${type}, ${this.deps(message.deps)}`
    }
  }

  #known(known: Extract<Message, { type: 'RecoverOk' }>['known']): string {
    switch (known.phase) {
      case 'none':
        return 'nothing known'
      case 'preaccepted': {
        const first =
          known.initDeps.join(' ') === known.deps.join(' ') ? 'as first sent' : `first ${known.initDeps.join(' ')}`
        return `pre-accepted ${this.command(known.command)}, ${this.deps(known.deps)} (${first})`
      }
      default:
        return `${known.phase} at ${this.ballot(known.acceptedBallot)}: ${this.command(known.command)}, ${this.deps(known.deps)}`
    }
  }

  control(message: ControlMessage): string {
    switch (message.type) {
      case 'EpochEnded':
        return `EpochEnded: here is epoch ${message.epoch}`
      case 'CheckpointChunk':
        return `CheckpointChunk of the start of epoch ${message.epoch}`
      case 'MembershipRequest':
        return `MembershipRequest: ${message.wanted}`
      case 'Forward':
        return `Forward ${this.#names.textOf(message.proposal)}`
      default:
        return message.type
    }
  }

  instance(instance: Instance): string {
    const { promisedBallot } = instance
    const promise = promisedBallot === 0 ? '' : `, promised ${this.ballot(promisedBallot)}`
    if (instance.phase === 'none') return `${this.id(instance.id)}  nothing yet${promise}`
    const at = instance.phase === 'preaccepted' ? '' : ` at ${this.ballot(instance.acceptedBallot)}`
    const value = `${this.command(instance.command)}, ${this.deps(instance.deps)}`
    return `${this.id(instance.id)}  ${instance.phase}${at}: ${value}${promise}`
  }
}

/** One message to several, said in one line. `note` is what became of it on the way. */
export interface Sent {
  readonly from: string
  readonly to: string
  readonly text: string
  readonly note: string
}

/** Lines of a transcript: what is sent to several one after the other is one line. */
export function transcript(events: readonly (string | Sent)[]): string[] {
  const lines: string[] = []
  for (let index = 0; index < events.length; ) {
    const event = events[index++]
    if (event === undefined) break
    if (typeof event === 'string') {
      lines.push(event)
      continue
    }
    const to = [event.to]
    for (;;) {
      const next = events[index]
      if (next === undefined || typeof next === 'string') break
      if (next.from !== event.from || next.text !== event.text || next.note !== event.note) break
      to.push(next.to)
      index++
    }
    lines.push(`${event.from} → ${to.join(' ')}  ${event.text}${event.note}`)
  }
  return lines
}

/** A link as commands name it: `a>b`, `a>*`, `*>b`. */
export interface LinkPattern {
  readonly from: string
  readonly to: string
}

export function parseLink(text: string): LinkPattern | null {
  const [, from, to] = /^([a-z*])>([a-z*])$/.exec(text) ?? []
  return from === undefined || to === undefined ? null : { from, to }
}

export function matchesLink(pattern: LinkPattern, from: string, to: string): boolean {
  return (pattern.from === '*' || pattern.from === from) && (pattern.to === '*' || pattern.to === to)
}

/** Whether a command that names this type means this message: a ShortCommit is a Commit to whoever tells a story. */
export function matchesType(named: string, type: string): boolean {
  return named === type || (named === 'Commit' && type === 'ShortCommit')
}

/** The number in a command, or what is said about it. */
export function parseNumber(text: string | undefined, what: string): number {
  const number = Number(text)
  if (text === undefined || !Number.isFinite(number)) throw new StoryError(`${what} is a number, not “${text ?? ''}”`)
  return number
}

/** Throws where the two differ, saying both. */
export function mustEqual(found: string, expected: string | undefined, what: string): void {
  if (found !== expected) throw new StoryError(`${what}: expected “${expected ?? ''}”, found “${found}”`)
}
