// What authors of storages, transports and machines test with: the contract suites (they run under vitest), and the fakes
// that keep those contracts.
export { memoryStorage } from '../src/storage/memory.ts'
export {
  type Call,
  checkMachineContract,
  type MachineContractOptions,
  type MachineContractReport,
} from './machine-contract.ts'
export { createMemoryNetwork, type MemoryNetwork, type MemoryNetworkOptions } from './memory-transport.ts'
export { describeStorageContract, type StorageContractOptions } from './storage-contract.ts'
export { describeTransportContract, type TransportHarness } from './transport-contract.ts'
