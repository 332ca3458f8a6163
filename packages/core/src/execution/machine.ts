// How an application says what its commands mean: functions over a transaction on an ordered key-value store that the
// executor owns. That one decision gives snapshots, state hashes, optimistic views and footprints without further code.
import type { Value } from '../lib/value.ts'

/** One key and value of the store, with the number of writes that the key has seen (0: never written). */
export interface Entry {
  readonly key: string
  readonly value: Value
  readonly version: number
}

/** Reads of one state. Values are frozen. */
export interface ReadTransaction {
  get(key: string): Value | undefined
  has(key: string): boolean
  /** How often the key was written since it came to be; 0 when it is not there. */
  version(key: string): number
  /** Entries whose key starts with `prefix`, in the order of their keys' code units. */
  list(prefix: string): readonly Entry[]
  /** How many keys there are. */
  readonly size: number
}

/** What a command may do: reads, and writes that take effect together. */
export interface WriteTransaction extends ReadTransaction {
  set(key: string, value: Value): void
  delete(key: string): boolean
}

/** What a command returns. A refusal is a result, not a throw: all replicas agree on it. */
export type CommandResult =
  | { readonly ok: true; readonly value: Value }
  | ({ readonly ok: false; readonly code: string } & { readonly [fact: string]: Value })

/** How a command touches a key. `read`/`read` and `add`/`add` commute; every other pair on one key is ordered. */
export type AccessMode = 'read' | 'write' | 'add'

export interface Access {
  readonly key: string
  readonly mode: AccessMode
}

/** What a command or query touches: keys, or `everything` (then it is ordered with every command). */
export type DeclaredFootprint = readonly Access[] | 'everything'

// biome-ignore lint/suspicious/noExplicitAny: parameter types are the application's own; checked where they are used
export type Commands = Readonly<Record<string, (tx: WriteTransaction, ...args: any[]) => CommandResult>>
// biome-ignore lint/suspicious/noExplicitAny: as above
export type Queries = Readonly<Record<string, (tx: ReadTransaction, ...args: any[]) => unknown>>

/** A deterministic state machine: no clock, no dice, nothing but the transaction and the arguments. */
export interface MachineDefinition<C extends Commands, Q extends Queries> {
  readonly name: string
  /** Replicas of one partition run the same version. */
  readonly version: number
  readonly commands: C
  readonly queries: Q
  /** What each command touches, from its arguments alone. */
  readonly footprint: { readonly [K in keyof C]: (...args: CommandArguments<C[K]>) => DeclaredFootprint }
  /** What each query touches, for linearizable reads; a query that is missing here touches everything. */
  readonly queryFootprint?: { readonly [K in keyof Q]?: (...args: CommandArguments<Q[K]>) => DeclaredFootprint }
  /** Throws InvalidArgument (or anything) when the arguments are wrong; runs in the proposer only. */
  readonly check?: { readonly [K in keyof C]?: (...args: CommandArguments<C[K]>) => void }
  /** Fills the empty store at the founding. */
  readonly init?: (tx: WriteTransaction) => void
}

export type CommandArguments<F> = F extends (tx: never, ...args: infer A) => unknown ? A : never
