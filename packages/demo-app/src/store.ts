// The types of this demo's replica: the public API, with the key-value store as its machine.
import type { KvCommands, KvQueries, Replica } from '@wepaxos/core'

export type StoreReplica = Replica<KvCommands, KvQueries>
