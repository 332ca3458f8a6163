// What the two ends of an open link tell each other about themselves, on channel 0, as JSON, and its total decoder.
import { type ReplicaId, replicaId } from '@wepaxos/core'
import type { PublicIdentity } from './identity.ts'

export type ControlMessage =
  | Announcement
  | { readonly type: 'detach'; readonly channel: number }
  | { readonly type: 'ping'; readonly id: number }
  | { readonly type: 'pong'; readonly id: number }
  /** The page goes away: do not wait for it. */
  | { readonly type: 'bye' }

/** `replica` can be reached under the number `channel` of the sender. `sinceMs`: when it was attached, in Unix time. */
export interface Announcement extends PublicIdentity {
  readonly type: 'attach'
  readonly channel: number
  readonly partition: string
  readonly replica: ReplicaId
  readonly sinceMs: number
  /** With the replica's key, for this link only: see announcement.ts. */
  readonly signature: string
}

export const controlBytesMax = 4096
export const partitionLengthMax = 256

export function encodeControlMessage(message: ControlMessage): Uint8Array {
  return new TextEncoder().encode(JSON.stringify(message))
}

/** undefined for anything that is not exactly such a message. */
export function decodeControlMessage(bytes: Uint8Array): ControlMessage | undefined {
  if (bytes.length > controlBytesMax) return undefined
  let value: unknown
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
  } catch {
    return undefined
  }
  if (typeof value !== 'object' || value === null) return undefined
  const { type, channel, partition, replica, sinceMs, alg, key, signature, id } = value as Record<ControlField, unknown>
  switch (type) {
    case 'attach': {
      if (!isCount(channel) || typeof partition !== 'string' || partition.length > partitionLengthMax) return undefined
      if (typeof replica !== 'string' || typeof sinceMs !== 'number' || !Number.isFinite(sinceMs)) return undefined
      if ((alg !== 'Ed25519' && alg !== 'P-256') || typeof key !== 'string' || typeof signature !== 'string')
        return undefined
      const checked = checkReplicaId(replica)
      if (checked === undefined) return undefined
      return { type, channel, partition, replica: checked, sinceMs, alg, key, signature }
    }
    case 'detach':
      return isCount(channel) ? { type, channel } : undefined
    case 'ping':
    case 'pong':
      return isCount(id) ? { type, id } : undefined
    case 'bye':
      return { type }
    default:
      return undefined
  }
}

type ControlField = keyof Announcement | 'id'

function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 && value <= 0x7fff_ffff
}

function checkReplicaId(text: string): ReplicaId | undefined {
  try {
    return replicaId(text)
  } catch {
    return undefined
  }
}
