// The public names of @wepaxos/core, grouped by who reads them.

// for authors of state machines
export { defineMachine } from './execution/define-machine.ts'
export type {
  Access,
  AccessMode,
  CommandResult,
  Commands,
  DeclaredFootprint,
  Entry,
  MachineDefinition,
  Queries,
  ReadTransaction,
  WriteTransaction,
} from './execution/machine.ts'
export { type ErrorCode, WepaxosError } from './lib/errors.ts'
export type { Value, ValueObject } from './lib/value.ts'
export { type ReplicaId, replicaId } from './protocol/ids.ts'
export type {
  CheckpointInfo,
  Handle,
  Logger,
  Member,
  Mutators,
  OpenReplicaOptions,
  ProposeOptions,
  Reads,
  Replica,
  ReplicaEvents,
  ReplicaStats,
  Status,
  SubscribeOptions,
  Timeouts,
  View,
} from './runtime/api.ts'
export { openReplica } from './runtime/open-replica.ts'
export type { Channel, Endpoint, PeerPresence, Presence, Transport } from './runtime/transport.ts'
// for applications
export {
  type KvCheck,
  type KvCommands,
  type KvOperation,
  type KvQueries,
  kv,
  type TransactionRefused,
} from './state-machines/kv.ts'
export { memoryStorage } from './storage/memory.ts'
// for authors of storages and transports
export type {
  Storage,
  StorageContents,
  StorageProvider,
  StorageScope,
  StoredCheckpoint,
  StoredInstance,
  StoredMeta,
  WriteBatch,
} from './storage/storage.ts'
