// States and errors in plain words: what is the case, and what a person can do about it. No markup.
import { type Member, type ReplicaId, type ReplicaStats, type Status, WepaxosError } from '@wepaxos/core'

export interface StatusWords {
  /** One or two words, for a label. */
  readonly label: string
  readonly tone: 'good' | 'busy' | 'warn' | 'bad'
  /** What it means, in a sentence or two. */
  readonly meaning: string
}

/** What is needed besides the status itself to say what it means. */
export interface StatusFacts {
  readonly members: readonly Member[]
  readonly slowQuorum: number
}

export function describeStatus(status: Status, { members, slowQuorum }: StatusFacts): StatusWords {
  switch (status.kind) {
    case 'joining':
      return {
        label: 'Joining',
        tone: 'busy',
        meaning:
          status.peers === 0
            ? 'Looking for a member to get the state from.'
            : 'A member was found; its state is on the way.',
      }
    case 'ready':
      return { label: 'Ready', tone: 'good', meaning: describeReady(members, slowQuorum) }
    case 'read-only':
      return {
        label: 'Following',
        tone: 'good',
        meaning: 'This page has a reader link: it shows everything, and changes nothing.',
      }
    case 'no-quorum':
      return {
        label: 'No quorum',
        tone: 'warn',
        meaning: `${describeReach(status)} What you change now waits; reading goes on.`,
      }
    case 'removed':
      return {
        label: 'Removed',
        tone: 'bad',
        meaning: 'This replica left the room or was removed. What it last knew can still be read.',
      }
    case 'closed':
      return { label: 'Closed', tone: 'bad', meaning: 'This replica was closed. Reload the page to take it up again.' }
    case 'failed':
      return { label: 'Stopped', tone: 'bad', meaning: describeError(status.error) }
  }
}

function describeReach({ reachable, needed, members }: Extract<Status, { kind: 'no-quorum' }>): string {
  if (members === 1) return 'The only voter can not be reached.'
  return `${reachable} of ${count(members, 'voter')} can be reached, and ${needed} are needed to decide.`
}

function describeReady(members: readonly Member[], slowQuorum: number): string {
  const voters = members.filter((member) => member.role === 'voter')
  const self = members.find((member) => member.self)
  if (self?.role === 'observer') {
    return voters.length === 1
      ? 'Another page decides alone; this one keeps a copy and has no vote. An odd number of pages votes: when a third one comes, all three may.'
      : 'This replica keeps a copy and has no vote of its own: an odd number of pages votes, and a voter proposes what you change.'
  }
  if (voters.length <= 1) {
    const copies = members.length - voters.length
    return copies === 0
      ? 'This is the only voter: it decides alone, and no other page has a copy yet.'
      : `This is the only voter: it decides alone, and ${copies === 1 ? 'one other page keeps a copy' : `${copies} other pages keep copies`}. When a third page comes, three vote, and any one of them may be away.`
  }
  const spare = voters.length - slowQuorum
  const rule = `Each change is agreed on by ${slowQuorum} of ${voters.length} voters.`
  if (spare <= 0) return `${rule} Both are needed: when one goes away, changes wait for it.`
  return `${rule} ${spare === 1 ? 'One may' : `${spare} may`} be away and it goes on.`
}

/** Who is missing, and what brings the quorum back. */
export function adviseWithoutQuorum(
  { missing, reachable, needed }: Extract<Status, { kind: 'no-quorum' }>,
  nameOf: (id: ReplicaId) => string,
): string {
  if (missing.length === 0) return 'It goes on by itself when enough voters are back.'
  const lacking = needed - reachable
  const which =
    missing.length === 1
      ? { back: 'it is back', open: 'Open its page again, in the browser where it was.' }
      : {
          back:
            lacking === missing.length
              ? 'they are back'
              : lacking === 1
                ? 'one of them is back'
                : `${lacking} of them are back`,
          open: 'Open their pages again, in the browser where they were.',
        }
  return `Missing: ${joinWords(missing.map(nameOf))}. It goes on by itself as soon as ${which.back}. ${which.open}`
}

export interface LeaveAdvice {
  readonly kind: 'go' | 'last' | 'would-stop-the-others'
  readonly text: string
}

/** What leaving now would mean for the others. */
export function adviseLeaving(members: readonly Member[]): LeaveAdvice {
  const others = members.filter((member) => !member.self)
  const here = others.filter((member) => member.connected)
  if (others.length === 0) {
    return {
      kind: 'last',
      text: 'You are its last member, so there is nobody to leave it to. Close the tab instead: the store stays in this browser, and opens again with the link.',
    }
  }
  const voters = others.filter((member) => member.role === 'voter')
  const voting = members.some((member) => member.self && member.role === 'voter')
  if (voting && here.length === 0) {
    return {
      kind: 'would-stop-the-others',
      text: 'None of the others is here, so nobody could take over what you hold. Wait until somebody is back.',
    }
  }
  const reachable = voters.filter((member) => member.connected).length
  // The number of voters is kept odd: of an even number one would observe. With no other voter an observer takes over.
  const seats = voters.length % 2 === 1 ? voters.length : Math.max(0, voters.length - 1)
  const needed = Math.floor(seats / 2) + 1
  if (voting && seats > 0 && reachable < needed) {
    return {
      kind: 'would-stop-the-others',
      text: `Without you ${count(seats, 'replica')} would vote. ${needed} of them would be needed to decide anything, and ${reachable} can be reached. Wait until more are here.`,
    }
  }
  return {
    kind: 'go',
    text: 'This replica stops being a member, so the others need not wait for it any more, and its copy in this browser is erased. If you only want to go on later, close the tab instead: this replica is taken up again when you come back.',
  }
}

/** An error for people. Codes that have something better to say than their message are listed here. */
export function describeError(error: unknown): string {
  if (!(error instanceof WepaxosError)) return error instanceof Error ? error.message : String(error)
  switch (error.code) {
    case 'OutcomeUnknown':
      return 'Nobody has said yet what became of this. It may still happen.'
    case 'QuorumUnavailable':
      return 'Too few voters can be reached to decide this.'
    case 'Removed':
      return 'This replica is no longer a member of the room.'
    case 'StorageInUse':
      return 'All replicas that this browser keeps for the room are open in other tabs.'
    default:
      return error.message
  }
}

/** A headline and advice for an error that kept the page from opening its room. */
export function describeStartFailure(error: unknown): { readonly title: string; readonly advice: string } {
  const code = error instanceof WepaxosError ? error.code : undefined
  switch (code) {
    case 'InvalidInvite':
      return {
        title: 'This invite link is not complete',
        advice: 'A part of it was lost on the way. Ask for the link again, and copy all of it, to the last letter.',
      }
    case 'NotSupported':
      return {
        title: 'This browser can not hold a replica',
        advice: 'WebRTC, IndexedDB and Web Locks are needed, on a page that came over https or from this machine.',
      }
    case 'StorageFailed':
    case 'DamagedStorage':
      return {
        title: 'The stored state can not be used',
        advice: 'The browser’s storage may be full or switched off, as it is in some private windows.',
      }
    case 'MachineMismatch':
      return {
        title: 'The room runs another version of this page',
        advice: 'Reload to get the newest version; if that does not help, the others should reload.',
      }
    default:
      return { title: 'The room could not be opened', advice: 'Reload to try again.' }
  }
}

/** How durable an answer is, and whether the browser keeps it when space runs short. */
export function describeKept({ durability, persisted, usedBytes }: ReplicaStats['storage']): string {
  const kept = { strict: 'safe from power cuts', relaxed: 'safe from crashes', memory: 'in memory only' }[durability]
  const promise = persisted === true ? ', promised to stay' : ''
  const used = usedBytes === null ? '' : `, ${(usedBytes / 1_048_576).toFixed(1)} MiB`
  return `${kept}${promise}${used}`
}

export function count(number: number, noun: string): string {
  return `${number.toLocaleString('en')} ${noun}${number === 1 ? '' : 's'}`
}

export function joinWords(words: readonly string[]): string {
  return new Intl.ListFormat('en', { type: 'conjunction' }).format(words)
}

export function formatDuration(milliseconds: number): string {
  if (milliseconds < 10) return `${milliseconds.toFixed(1)} ms`
  if (milliseconds < 1_000) return `${Math.round(milliseconds)} ms`
  return `${(milliseconds / 1_000).toFixed(1)} s`
}
