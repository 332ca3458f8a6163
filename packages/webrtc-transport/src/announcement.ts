// How a page announces a replica over a link: signed with the replica's key, for this end of this link only. So nobody
// announces an id whose key it does not hold, and what a page has heard is of no use to it on another link, or back on this.
import type { Announcement } from './control-message.ts'
import { isSignedBy, knowsKind, signAs } from './identity.ts'
import { lengthPrefixed } from './length-prefixed.ts'
import { type ReplicaKey, replicaIdOf } from './replica-key.ts'

type Said = Pick<Announcement, 'partition' | 'replica' | 'channel' | 'sinceMs'>

const bindingLabel = 'wepaxos-replica-bind/v1'

/** `end`: the announcing end of the link, as its proof has named it (`LinkBinding`). */
export async function signAnnouncement(
  { replica, alg, key, privateKey }: ReplicaKey,
  { channel, partition, sinceMs }: Omit<Said, 'replica'>,
  end: string,
): Promise<Announcement> {
  const said = { channel, partition, replica, sinceMs }
  const signature = await signAs({ alg, key, privateKey }, bound(said, end))
  return { type: 'attach', ...said, alg, key, signature }
}

/** `unknown-key`: this browser does not know the kind of the key, so it can not tell. */
export type AnnouncementCheck = 'proven' | 'unproven' | 'unknown-key'

/** Whether the end `end` holds the key of the replica that it announces. */
export async function checkAnnouncement(announcement: Announcement, end: string): Promise<AnnouncementCheck> {
  if (!(await knowsKind(announcement.alg))) return 'unknown-key'
  const [replica, isSigned] = await Promise.all([
    replicaIdOf(announcement),
    isSignedBy(announcement, announcement.signature, bound(announcement, end)),
  ])
  return isSigned && replica === announcement.replica ? 'proven' : 'unproven'
}

function bound({ partition, replica, channel, sinceMs }: Said, end: string): Uint8Array<ArrayBuffer> {
  return lengthPrefixed([bindingLabel, partition, replica, String(channel), String(sinceMs), end])
}
