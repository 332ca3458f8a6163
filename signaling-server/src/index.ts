// The public face of @wepaxos/signaling-server. Browsers import `@wepaxos/signaling-server/wire` instead, which has no Node.
export type { Authorize, AuthorizeRequest, AuthorizeVerdict } from './authorize.ts'
export type { Log, LogRecord } from './log.ts'
export type { Gauges, Metrics, RefusalReason } from './metrics.ts'
export { type GivenOptions, OptionError, type OptionName, optionTable, type SignalingOptions } from './options.ts'
export { createSignalingServer, type Listening, type SignalingServer, type SignalingSettings } from './server.ts'
export * from './wire.ts'
