// What a replica finds on its disk when it is opened: all of it readable and as the last write left it, or the disk is lost.
// Never a guess in between.
import { DecodeError, UnknownVersionError } from '../codec/bytes.ts'
import {
  decodeDisksHeard,
  decodeIdentity,
  decodeInstance,
  decodeOutboxEntry,
  decodeReplicaKey,
  decodeReservation,
  type Reservation,
} from '../codec/record.ts'
import { Application } from '../execution/application.ts'
import { checkpointHash } from '../execution/checkpoint.ts'
import type { BoundMachine } from '../execution/define-machine.ts'
import { AssertionError, must } from '../lib/assert.ts'
import { WepaxosError } from '../lib/errors.ts'
import type { Command, Membership } from '../protocol/command.ts'
import type { DiskHeard } from '../protocol/control-message.ts'
import type { ReplicaId } from '../protocol/ids.ts'
import type { Instance } from '../protocol/instance.ts'
import type { StorageContents } from '../storage/storage.ts'
import type { ServableCheckpoint } from './checkpoint-transfer.ts'
import { DiskSeal, damaged } from './disk-seal.ts'
import type { CarriedProposal } from './proposals.ts'
import {
  disksHeardName,
  identityName,
  lostName,
  outboxName,
  outboxPrefix,
  replicaKeyName,
  reservationName,
  returnsName,
  runsName,
} from './write-queue.ts'

/** A replica that was here before. */
export interface FoundReplica {
  readonly self: ReplicaId
  /** Null where the transport that it was made with gave it none. */
  readonly key: Uint8Array | null
  readonly seal: DiskSeal
  readonly disks: readonly DiskHeard[]
  /** [DU7] Its own runs before this one. */
  readonly runs: readonly DiskHeard[]
  /** [OR1] It was given back while it was leaving. */
  readonly returns: boolean
  readonly reservation: Reservation
  readonly application: Application
  readonly members: Membership
  readonly start: ServableCheckpoint
  readonly instances: readonly Instance[]
  /** [SE4] */
  readonly carried: readonly CarriedProposal[]
  /** Commands that were answered, and whose records are still there. */
  readonly answered: readonly number[]
  /** Numbers of the own session that may name a command already: reserved, or kept on disk before they were. */
  readonly numbersUsedUpTo: number
}

/**
 * Null where nothing was ever stored. Throws DamagedStorage for a lost disk, with the replica's id in `details.replica` where
 * that can still be read; StorageFailed for one that another version wrote, or that could not be taken in for a reason that
 * is not the disk's (memory ran short, say); MachineMismatch.
 */
export function findOnDisk(machine: BoundMachine, contents: StorageContents): FoundReplica | null {
  let self: ReplicaId | undefined
  try {
    const identity = contents.meta.get(identityName)
    if (identity !== undefined) self = decodeIdentity(identity).self
    const seal = DiskSeal.of(contents)
    if (self === undefined) return null
    if (contents.meta.has(lostName)) throw damaged('this disk was found to have come back older')
    return decodeAll(machine, contents, self, seal)
  } catch (error) {
    if (error instanceof UnknownVersionError) {
      const what = 'the stored state was written by another version of wepaxos'
      throw new WepaxosError('StorageFailed', `${what}: ${error.message}`, { reason: 'other-version' }, error)
    }
    if (error instanceof WepaxosError && error.code !== 'DamagedStorage') throw error
    const isDamage = error instanceof WepaxosError || error instanceof DecodeError || error instanceof AssertionError
    if (!isDamage) {
      // nothing is known against the disk: it is not to be given up
      throw new WepaxosError('StorageFailed', 'the stored state could not be taken in', { reason: 'disk' }, error)
    }
    const what = error instanceof WepaxosError ? error.message : 'the stored state of this replica can not be read'
    const details = { reason: 'damaged', ...(self === undefined ? {} : { replica: self }) }
    throw new WepaxosError('DamagedStorage', what, details, error)
  }
}

function decodeAll(machine: BoundMachine, contents: StorageContents, self: ReplicaId, seal: DiskSeal): FoundReplica {
  const reservation = decodeReservation(must(contents.meta.get(reservationName), 'every replica has reserved numbers'))
  const newest = must(contents.checkpoints.at(-1), 'every replica has a checkpoint')
  const { application, checkpoint } = Application.restore(machine, newest.bytes)
  const { epoch, members } = checkpoint
  if (epoch !== newest.epoch) throw damaged('a checkpoint is kept under the epoch of another')
  const instances: Instance[] = []
  for (const { epoch: stored, row, seq, bytes } of contents.instances) {
    if (stored !== epoch) continue
    const instance = decodeInstance(bytes, members.voters)
    if (instance.id.row !== row || instance.id.seq !== seq) throw damaged('an instance is kept under the id of another')
    instances.push(instance)
  }
  const key = contents.meta.get(replicaKeyName)
  const heard = contents.meta.get(disksHeardName)
  const runs = contents.meta.get(runsName)
  const { highest, ...inDoubt } = proposalsInDoubt(contents, instances, self)
  return {
    self,
    key: key === undefined ? null : decodeReplicaKey(key),
    seal,
    disks: heard === undefined ? [] : decodeDisksHeard(heard),
    runs: runs === undefined ? [] : decodeDisksHeard(runs),
    returns: contents.meta.has(returnsName),
    reservation,
    application,
    members,
    start: { epoch, bytes: newest.bytes, hash: checkpointHash(newest.bytes) },
    instances,
    ...inDoubt,
    numbersUsedUpTo: Math.max(reservation.sessionNumber, highest),
  }
}

/**
 * [SE4] The commands of session `self` that have a record of their own, or are in an instance of the log, by number; but
 * those that a later one says are answered.
 */
function proposalsInDoubt(
  contents: StorageContents,
  instances: readonly Instance[],
  self: ReplicaId,
): Pick<FoundReplica, 'carried' | 'answered'> & { readonly highest: number } {
  const found = new Map<number, CarriedProposal>()
  let answeredUpTo = 0
  for (const [name, bytes] of contents.meta) {
    if (!name.startsWith(outboxPrefix)) continue
    const entry = decodeOutboxEntry(bytes)
    if (name !== outboxName(entry.number)) throw damaged('a command is kept under the number of another')
    found.set(entry.number, { ...entry, stored: true })
  }
  const look = (command: Command | null) => {
    if (command?.kind !== 'application') return
    for (const { session, number, ackedUpTo, footprint, payload } of command.proposals) {
      if (session !== self) continue
      answeredUpTo = Math.max(answeredUpTo, ackedUpTo)
      // what only ordered a read has no payload, and nobody waits for it any more
      if (payload.length === 0 || found.has(number)) continue
      found.set(number, { number, footprint, payload, stored: false, openedIn: null })
    }
  }
  for (const instance of instances) {
    if (instance.phase !== 'none') look(instance.command)
    look(instance.initCommand)
  }
  const all = [...found.values()].sort((a, b) => a.number - b.number)
  return {
    carried: all.filter(({ number }) => number > answeredUpTo),
    answered: all.filter(({ number, stored }) => stored && number <= answeredUpTo).map(({ number }) => number),
    highest: all.at(-1)?.number ?? 0,
  }
}
