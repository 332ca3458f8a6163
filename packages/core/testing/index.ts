// What authors of storages, transports and machines test with: the contract suites (they run under vitest), and the fakes
// that keep those contracts.
export { memoryStorage } from '../src/storage/memory.ts'
export { type DiskDamage, diskDamages } from './disk-records.ts'
export { type DiskImage, type DiskSlot, FaultyDisk, type FaultyDiskOptions } from './faulty-disk.ts'
export { FaultyPage } from './faulty-page.ts'
export {
  type Call,
  checkMachineContract,
  type MachineContractOptions,
  type MachineContractReport,
} from './machine-contract.ts'
export { createMemoryNetwork, type MemoryNetwork, type MemoryNetworkOptions } from './memory-transport.ts'
export {
  describeStorageContract,
  type FailingDisk,
  type StorageContractOptions,
  type StorageFaults,
} from './storage-contract.ts'
export type { CrashableDisk, OwnersDeath } from './storage-contract-crashes.ts'
export type { OrphanPage, SharedDisk } from './storage-contract-orphans.ts'
export { describeTransportContract, type TransportHarness } from './transport-contract.ts'
