// What a state machine owes to the replicas, checked on random states and commands: use it in the tests of a machine of
// your own. It needs no test runner and throws on the first broken promise, with the seed and the commands that broke it.
import { checkValue, encodeValue } from '../src/codec/value.ts'
import { type BoundMachine, bindMachine } from '../src/execution/define-machine.ts'
import type {
  CommandArguments,
  CommandResult,
  Commands,
  DeclaredFootprint,
  MachineDefinition,
  Queries,
  ReadTransaction,
} from '../src/execution/machine.ts'
import { Overlay, Store } from '../src/execution/store.ts'
import { createRandom, type Random } from '../src/lib/random.ts'
import { commutes } from '../src/protocol/command.ts'

/** One call of one of these functions, by name. */
export type Call<F extends Commands | Queries> = {
  [K in keyof F & string]: { readonly name: K; readonly args: Readonly<CommandArguments<F[K]>> }
}[keyof F & string]

export interface MachineContractOptions<C extends Commands, Q extends Queries> {
  readonly machine: MachineDefinition<C, Q>
  /** A random command. Few keys and values make commands meet, which is where mistakes show. */
  readonly command: (random: Random) => Call<NoInfer<C>>
  /** A random query; without it queries are not checked. */
  readonly query?: ((random: Random) => Call<NoInfer<Q>>) | undefined
  /** How many states are tried. Default 300. */
  readonly rounds?: number
  /** Default 1. */
  readonly seed?: number
}

/** How much was tried, so that a test can see that it was not too little. */
export interface MachineContractReport {
  /** Pairs of commands that need no order, run in both orders. */
  readonly unorderedPairs: number
  /** Commands that the machine refused. */
  readonly refusals: number
  /** Queries that a command beside their footprint must not change. */
  readonly unrelatedQueries: number
}

/**
 * Throws unless, on every state that was tried:
 * - a command does the same, in state and result, each time, on a restored snapshot, and on an optimistic overlay;
 * - a refused command leaves no trace;
 * - two commands whose footprints do not conflict give the same state and the same two results in either order;
 * - a query is not changed by a command whose footprint does not conflict with the query's;
 * and unless at least one unordered pair came up. Commands that touch what they did not declare throw by themselves.
 */
export function checkMachineContract<C extends Commands, Q extends Queries>(
  options: MachineContractOptions<C, Q>,
): MachineContractReport {
  const { rounds = 300, seed = 1 } = options
  const machine = bindMachine(options.machine)
  const report = { unorderedPairs: 0, refusals: 0, unrelatedQueries: 0 }
  const random = createRandom(seed)
  for (let round = 0; round < rounds; round++) {
    const context = `seed ${seed}, round ${round}`
    const store = new Store()
    machine.init(store)
    for (let earlier = random.integer(20); earlier > 0; earlier--) {
      checkOneCommand(machine, store, prepare(machine, options.command(random)), context, report)
    }
    checkPair(
      machine,
      store,
      prepare(machine, options.command(random)),
      prepare(machine, options.command(random)),
      context,
      report,
    )
    if (options.query !== undefined) {
      checkQuery(machine, store, prepare(machine, options.command(random)), options.query(random), context, report)
    }
  }
  if (report.unorderedPairs === 0)
    throw new Error(`${rounds} rounds gave no two commands that need no order: raise rounds`)
  return report
}

interface Prepared {
  readonly text: string
  readonly bytes: Uint8Array
  readonly footprint: DeclaredFootprint
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] }

function prepare(machine: BoundMachine, call: { readonly name: string; readonly args: readonly unknown[] }): Prepared {
  return { text: describeCall(call), ...machine.prepareCommand(call.name, call.args) }
}

/** Runs the command on the store, and on what should be no different. */
function checkOneCommand(
  machine: BoundMachine,
  store: Store,
  command: Prepared,
  context: string,
  report: Mutable<MachineContractReport>,
): void {
  const before = store.snapshot()
  const overlay = new Overlay(Store.restore(before))
  const expected = machine.apply(overlay, command.bytes)
  const result = machine.apply(store, command.bytes)
  const what = `${command.text} (${context})`
  expectSame(`the result of ${what}, run twice,`, expected, result)
  expectSame(`the state after ${what}, run twice,`, overlay.list(''), store.list(''))
  if (result.ok) return
  report.refusals++
  expectSame(`the state before and after ${what}, which was refused,`, before, store.snapshot())
}

function checkPair(
  machine: BoundMachine,
  store: Store,
  one: Prepared,
  other: Prepared,
  context: string,
  report: Mutable<MachineContractReport>,
): void {
  if (conflict(one.footprint, other.footprint)) return
  report.unorderedPairs++
  const forth = runBoth(machine, store, one, other)
  const back = runBoth(machine, store, other, one)
  const what = `${one.text} and ${other.text} (${context}), whose footprints do not conflict,`
  expectSame(`the state after ${what} in either order`, forth.snapshot, back.snapshot)
  expectSame(`the first result of ${what} in either order`, forth.first, back.second)
  expectSame(`the second result of ${what} in either order`, forth.second, back.first)
}

function runBoth(
  machine: BoundMachine,
  store: Store,
  one: Prepared,
  other: Prepared,
): { readonly first: CommandResult; readonly second: CommandResult; readonly snapshot: Uint8Array } {
  const copy = Store.restore(store.snapshot())
  const first = machine.apply(copy, one.bytes)
  const second = machine.apply(copy, other.bytes)
  return { first, second, snapshot: copy.snapshot() }
}

function checkQuery(
  machine: BoundMachine,
  store: Store,
  command: Prepared,
  query: { readonly name: string; readonly args: readonly unknown[] },
  context: string,
  report: Mutable<MachineContractReport>,
): void {
  if (conflict(command.footprint, machine.queryFootprint(query.name, query.args))) return
  report.unrelatedQueries++
  const ask = (tx: ReadTransaction): unknown => machine.query(query.name, tx, query.args)
  const before = ask(store)
  const copy = Store.restore(store.snapshot())
  machine.apply(copy, command.bytes)
  const what = `${describeCall(query)} before and after ${command.text} (${context}), whose footprints do not conflict,`
  expectSame(`the answer to ${what}`, before, ask(copy))
}

function conflict(one: DeclaredFootprint, other: DeclaredFootprint): boolean {
  if (one === 'everything' || other === 'everything') return true
  return one.some((a) => other.some((b) => a.key === b.key && !commutes(a.mode, b.mode)))
}

function expectSame(what: string, one: unknown, other: unknown): void {
  const a = canonical(one)
  const b = canonical(other)
  if (a.length === b.length && a.every((byte, index) => byte === b[index])) return
  throw new Error(`${what} should be the same, and is not: ${show(one)} / ${show(other)}`)
}

/** Bytes to compare by. An answer that is undefined differs from every value. */
function canonical(answer: unknown): Uint8Array {
  return encodeValue(
    checkValue(answer === undefined ? [] : [answer], { bytesMax: Number.MAX_SAFE_INTEGER, name: 'answer' }),
  )
}

function describeCall(call: { readonly name: string; readonly args: readonly unknown[] }): string {
  return `${call.name}(${call.args.map(show).join(', ')})`
}

function show(what: unknown): string {
  return JSON.stringify(what) ?? String(what)
}
