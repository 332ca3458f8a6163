// The package's public face: an edge replica inside another program, and what Node lacks for rooms of its own.
export { type EdgeEnd, type EdgeReplica, type EdgeReplicaOptions, runEdgeReplica } from './edge-replica.ts'
export type { Log, LogRecord } from './log.ts'
export { createNodeSocket, loadNodeLinks } from './node-links.ts'
