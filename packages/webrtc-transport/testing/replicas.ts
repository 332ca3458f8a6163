// Replicas without a runtime: ids with their keys, and endpoints that do nothing but what a test has them do.
import type { Endpoint, ReplicaId } from '@wepaxos/core'
import { signAnnouncement } from '../src/announcement.ts'
import type { Announcement } from '../src/control-message.ts'
import type { LinkSession } from '../src/link-session.ts'
import { createReplicaKey, decodeReplicaKey, importReplicaKey } from '../src/replica-key.ts'

/** Goes into an endpoint as it is. */
export interface TestReplica {
  readonly replica: ReplicaId
  readonly key: Uint8Array
}

export function createReplica(): Promise<TestReplica> {
  return createReplicaKey('Ed25519')
}

/** An endpoint that hears nothing. */
export function silent(replica: TestReplica, partition = 'main'): Endpoint {
  return {
    partition,
    replica: replica.replica,
    key: replica.key,
    onConnected: () => undefined,
    onDisconnected: () => undefined,
    onFrame: () => undefined,
  }
}

/** As a page that holds the key says it at this end of a link; `claimed`: whose name it signs, by default its own. */
export async function announcementOf(
  { replica, key }: TestReplica,
  session: LinkSession,
  claimed: ReplicaId = replica,
): Promise<Announcement> {
  const stored = decodeReplicaKey(key)
  if (stored === undefined) throw new Error(`the key of ${replica} is none`)
  const said = { channel: 16, partition: 'main', sinceMs: Date.now() }
  return signAnnouncement({ ...(await importReplicaKey(stored)), replica: claimed }, said, session.proven.binding.own)
}
