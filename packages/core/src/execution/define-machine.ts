// From a machine's definition to what the executor needs: commands as bytes, their footprints, and one function that
// applies a command to a state, all of it or nothing. Here a machine's mistakes are caught: a command that touches what it
// did not declare would be ordered differently at different replicas, so it stops instead.
import { DecodeError, Reader, Writer } from '../codec/bytes.ts'
import { checkValue, describe, isPlainObject, readValue, ValueTooLarge, writeValue } from '../codec/value.ts'
import { assert } from '../lib/assert.ts'
import { WepaxosError } from '../lib/errors.ts'
import { argumentsMax, commandBytesMax, footprintAccessesMax, resultBytesMax } from '../lib/limits.ts'
import type { Value } from '../lib/value.ts'
import type {
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
} from './machine.ts'
import { type AtomicTransaction, checkKey } from './store.ts'

/** A command touched a key, or touched it in a way, that its footprint does not declare: a mistake in the machine. */
export class FootprintViolation extends Error {
  constructor(command: string, what: string) {
    super(`the command ${command} ${what}, which its footprint does not declare`)
    this.name = 'FootprintViolation'
  }
}

/** A command as it is agreed on. */
export interface DecodedCommand {
  readonly name: string
  readonly args: readonly Value[]
}

/** A command as it is proposed. */
export interface PreparedCommand {
  readonly bytes: Uint8Array<ArrayBuffer>
  readonly footprint: DeclaredFootprint
}

/** A machine without its types: what the executor and the runtime work with. */
export interface BoundMachine {
  readonly name: string
  readonly version: number
  readonly commandNames: readonly string[]
  readonly queryNames: readonly string[]
  /**
   * The command as bytes, with its footprint; equal commands have equal bytes. Arguments that are left out or undefined at the end are not
   * part of it. Throws InvalidArgument for an unknown name and for arguments that are no values, too large, or not to the
   * liking of the definition's `check` or `footprint`.
   */
  prepareCommand(name: string, args: readonly unknown[]): PreparedCommand
  /** The bytes alone. */
  encodeCommand(name: string, args: readonly unknown[]): Uint8Array<ArrayBuffer>
  /** Throws DecodeError. The name need not be one of this machine's: it may come from another version. */
  decodeCommand(bytes: Uint8Array): DecodedCommand
  /** What the command touches: each key once, in the order of the keys. Throws InvalidArgument. */
  footprint(name: string, args: readonly unknown[]): DeclaredFootprint
  /** The same for a query; `everything` where the definition does not say. */
  queryFootprint(name: string, args: readonly unknown[]): DeclaredFootprint
  /**
   * Runs one command. Its writes take effect together, and only if it returns `ok: true`. Deterministic refusals besides
   * the machine's own: UNKNOWN_COMMAND (not readable, or not a command of this version), INVALID_ARGUMENTS (no footprint
   * for these), TOO_LARGE (a key, value or result beyond its limit). Whatever else the command throws is thrown on, with
   * the store as it was before; FootprintViolation among it.
   */
  apply(store: AtomicTransaction, bytes: Uint8Array): CommandResult
  /** Runs one query. Throws InvalidArgument for an unknown name, and whatever the query throws. */
  query(name: string, tx: ReadTransaction, args: readonly unknown[]): unknown
  /** Fills the empty store at the founding. */
  init(store: AtomicTransaction): void
}

const machineNamePattern = /^[A-Za-z0-9._/-]{1,64}$/
const commandNamePattern = /^[A-Za-z$][\w$]{0,63}$/

const unknownCommand: CommandResult = Object.freeze({ ok: false, code: 'UNKNOWN_COMMAND' })
const invalidArguments: CommandResult = Object.freeze({ ok: false, code: 'INVALID_ARGUMENTS' })
const tooLarge: CommandResult = Object.freeze({ ok: false, code: 'TOO_LARGE' })

/**
 * Checks a definition and gives it back frozen; its types carry over to `replica.mutate`, `view` and `read`, and from
 * `commands` to `footprint` and `check` if those come after it in the literal. Throws InvalidArgument. Commands and queries are functions of the transaction and their arguments alone, and synchronous: no
 * clock, no dice, no state of their own. `add` in a footprint is a promise that the command commutes with every other
 * command that declares `add` on the key, in state and in results; nobody can check that but a test (see
 * `checkMachineContract` in `@wepaxos/core/testing`).
 */
export function defineMachine<const C extends Commands, const Q extends Queries>(
  definition: MachineDefinition<C, Q>,
): MachineDefinition<C, Q> {
  refuseUnless(isPlainObject(definition), 'a machine definition is an object', definition)
  const { name, version, commands, queries, footprint, queryFootprint, check, init } = definition
  refuseUnless(
    typeof name === 'string' && machineNamePattern.test(name),
    'the name of a machine is 1 … 64 letters, digits, `.`, `_`, `-` or `/`',
    name,
  )
  refuseUnless(
    Number.isSafeInteger(version) && version >= 1,
    `the version of machine ${name} is a whole number from 1 on`,
    version,
  )
  checkFunctions(`commands of machine ${name}`, commands)
  checkFunctions(`queries of machine ${name}`, queries)
  checkFunctions(`footprints of machine ${name}`, footprint, commands)
  for (const command of Object.keys(commands)) {
    refuseUnless(Object.hasOwn(footprint, command), `command ${command} of machine ${name} has a footprint`, undefined)
  }
  if (queryFootprint !== undefined) checkFunctions(`query footprints of machine ${name}`, queryFootprint, queries)
  if (check !== undefined) checkFunctions(`checks of machine ${name}`, check, commands)
  refuseUnless(init === undefined || typeof init === 'function', `init of machine ${name} is a function`, init)
  return Object.freeze({
    ...definition,
    commands: Object.freeze({ ...commands }),
    queries: Object.freeze({ ...queries }),
    footprint: Object.freeze({ ...footprint }),
    ...(queryFootprint === undefined ? {} : { queryFootprint: Object.freeze({ ...queryFootprint }) }),
    ...(check === undefined ? {} : { check: Object.freeze({ ...check }) }),
  })
}

function checkFunctions(what: string, functions: unknown, allowed?: object): void {
  refuseUnless(isPlainObject(functions), `the ${what} are an object of functions`, functions)
  for (const [name, entry] of Object.entries(functions)) {
    refuseUnless(
      commandNamePattern.test(name),
      `names among the ${what} are letters, digits, _ and $, at most 64, starting with a letter or $`,
      name,
    )
    refuseUnless(allowed === undefined || Object.hasOwn(allowed, name), `the ${what} name only what there is`, name)
    refuseUnless(typeof entry === 'function', `${name} among the ${what} is a function`, entry)
  }
}

function refuseUnless(holds: boolean, expected: string, came: unknown): asserts holds {
  if (!holds) refuse(expected, came)
}

function refuse(expected: string, came: unknown): never {
  throw new WepaxosError('InvalidArgument', `${expected}; got ${describe(came)}`)
}

type AnyFunction = (...args: readonly unknown[]) => unknown
type Functions = ReadonlyMap<string, AnyFunction>

/** Makes the executor's side of a definition, checking it on the way. */
export function bindMachine<C extends Commands, Q extends Queries>(definition: MachineDefinition<C, Q>): BoundMachine {
  const checked = defineMachine(definition)
  const commands = functionsOf(checked.commands)
  const queries = functionsOf(checked.queries)
  const footprints = functionsOf(checked.footprint)
  const queryFootprints = functionsOf(checked.queryFootprint)
  const checks = functionsOf(checked.check)
  const writer = new Writer()

  function footprintOf(name: string, args: readonly unknown[]): DeclaredFootprint {
    return checkFootprint(name, find(footprints, 'command', name)(...args))
  }

  function prepareCommand(name: string, args: readonly unknown[]): PreparedCommand {
    find(commands, 'command', name)
    let count = args.length
    while (count > 0 && args[count - 1] === undefined) count--
    if (count > argumentsMax) {
      throw new WepaxosError('InvalidArgument', `a command takes at most ${argumentsMax} arguments; got ${count}`)
    }
    const checkedArgs = checkValue(args.slice(0, count), { bytesMax: commandBytesMax, name: `${name}: arguments` })
    assert(Array.isArray(checkedArgs), 'arguments are an array')
    checks.get(name)?.(...checkedArgs)
    const footprint = footprintOf(name, checkedArgs)
    writer.reset()
    writer.string(name)
    writeValue(writer, checkedArgs)
    const bytes = writer.finish()
    writer.reset()
    return { bytes, footprint }
  }

  function apply(store: AtomicTransaction, bytes: Uint8Array): CommandResult {
    let decoded: DecodedCommand
    try {
      decoded = decodeCommand(bytes)
    } catch (error) {
      if (error instanceof DecodeError) return unknownCommand
      throw error
    }
    const { name, args } = decoded
    const command = commands.get(name)
    if (command === undefined) return unknownCommand
    let declared: DeclaredFootprint
    try {
      declared = footprintOf(name, args)
    } catch {
      // The proposer computed the footprint too, so only a peer that does not play by the rules gets here.
      return invalidArguments
    }
    const transaction = new GuardedTransaction(store, name, declared)
    let result: CommandResult | undefined
    store.begin()
    try {
      result = checkResult(name, command(transaction, ...args))
    } catch (error) {
      // How large a value becomes can depend on the state, so it must not stop the replicas for good.
      if (!(error instanceof ValueTooLarge)) throw error
      result = tooLarge
    } finally {
      transaction.end()
      if (result?.ok === true) store.commit()
      else store.rollback()
    }
    return result
  }

  function init(store: AtomicTransaction): void {
    if (checked.init === undefined) return
    const transaction = new GuardedTransaction(store, 'init', 'everything')
    let done = false
    store.begin()
    try {
      checked.init(transaction)
      done = true
    } finally {
      transaction.end()
      if (done) store.commit()
      else store.rollback()
    }
  }

  return {
    name: checked.name,
    version: checked.version,
    commandNames: Object.freeze([...commands.keys()]),
    queryNames: Object.freeze([...queries.keys()]),
    prepareCommand,
    encodeCommand: (name, args) => prepareCommand(name, args).bytes,
    decodeCommand,
    footprint: footprintOf,
    queryFootprint: (name, args) => {
      find(queries, 'query', name)
      const footprint = queryFootprints.get(name)
      return footprint === undefined ? 'everything' : checkFootprint(name, footprint(...args))
    },
    apply,
    query: (name, tx, args) => find(queries, 'query', name)(tx, ...args),
    init,
  }
}

function functionsOf(functions: object | undefined): Functions {
  // The types of the parameters are the application's; what comes at run time is checked by it, or by the footprint.
  return new Map(Object.entries(functions ?? {}) as [string, AnyFunction][])
}

function find(functions: Functions, kind: 'command' | 'query', name: string): AnyFunction {
  const found = functions.get(name)
  if (found === undefined) {
    const known = [...functions.keys()].join(', ')
    throw new WepaxosError('InvalidArgument', `this machine has no ${kind} ${describe(name)}; it has: ${known}`)
  }
  return found
}

function decodeCommand(bytes: Uint8Array): DecodedCommand {
  const reader: Reader = new Reader(bytes)
  const name = reader.string()
  const args = readValue(reader)
  reader.end()
  if (!Array.isArray(args)) reader.fail('the arguments of a command are not a list')
  if (args.length > argumentsMax) reader.fail(`a command has more than ${argumentsMax} arguments`)
  return { name, args: args as readonly Value[] }
}

/** Checks what a footprint function gave; each key once, with a mode that stands for all that was said of it. */
function checkFootprint(name: string, footprint: unknown): DeclaredFootprint {
  if (footprint === 'everything') return footprint
  if (!Array.isArray(footprint)) refuse(`the footprint of ${name} is a list of accesses or 'everything'`, footprint)
  const list: readonly unknown[] = footprint
  if (list.length === 1) return Object.freeze([checkAccess(name, list[0])])
  const byKey = new Map<string, Access>()
  for (const item of list) {
    const access = checkAccess(name, item)
    const before = byKey.get(access.key)
    // Reading and adding together commutes with neither.
    if (before === undefined) byKey.set(access.key, access)
    else if (before.mode !== access.mode) byKey.set(access.key, Object.freeze({ key: access.key, mode: 'write' }))
  }
  refuseUnless(
    byKey.size <= footprintAccessesMax,
    `the footprint of ${name} has at most ${footprintAccessesMax} keys (declare 'everything' beyond that)`,
    byKey.size,
  )
  const accesses = [...byKey.values()]
  if (accesses.length > 1) accesses.sort((a, b) => (a.key < b.key ? -1 : 1))
  return Object.freeze(accesses)
}

function checkAccess(name: string, access: unknown): Access {
  // the words are put together only where they are needed: this runs for every command at every replica
  if (!isPlainObject(access)) refuse(`an access in the footprint of ${name} is {key, mode}`, access)
  const { key, mode } = access
  const checkedKey = checkKey(key)
  if (!isAccessMode(mode)) refuse(`the mode of an access in the footprint of ${name} is read, write or add`, mode)
  return Object.freeze({ key: checkedKey, mode })
}

function isAccessMode(mode: unknown): mode is AccessMode {
  return mode === 'read' || mode === 'write' || mode === 'add'
}

function checkResult(name: string, result: unknown): CommandResult {
  const plain = plainSuccess(result)
  if (plain !== undefined) return plain
  const what = `the result of command ${name}`
  const checked = checkValue(result, { bytesMax: resultBytesMax, name: what })
  refuseUnless(isPlainObject(checked), `${what} is {ok: true, value} or {ok: false, code, …facts}`, checked)
  const { ok, code, value } = checked as { readonly ok?: Value; readonly code?: Value; readonly value?: Value }
  if (ok === true) refuseUnless(value !== undefined, `${what} with ok: true has a value`, value)
  else {
    refuseUnless(ok === false, `${what} has ok: true or ok: false`, ok)
    refuseUnless(typeof code === 'string' && code !== '', `${what} with ok: false has a code`, code)
  }
  return checked as unknown as CommandResult
}

/** `{ok: true, value}` with a value that needs no looking into, as most commands return: nothing is walked or counted for it. */
function plainSuccess(result: unknown): CommandResult | undefined {
  if (!isPlainObject(result) || result['ok'] !== true) return undefined
  const { value } = result
  const plain = value === null || typeof value === 'boolean' || (Number.isSafeInteger(value) && !Object.is(value, -0))
  if (!plain || Reflect.ownKeys(result).length !== 2) return undefined
  return Object.freeze({ ok: true, value: value as Value })
}

/** What a command gets to see: the store, as far as it declared to touch it, and only while it runs. */
class GuardedTransaction implements WriteTransaction {
  readonly #store: WriteTransaction
  readonly #command: string
  readonly #declared: DeclaredFootprint
  #ended = false

  constructor(store: WriteTransaction, command: string, declared: DeclaredFootprint) {
    this.#store = store
    this.#command = command
    this.#declared = declared
  }

  get size(): number {
    this.#allowEverything('asks for the number of keys')
    return this.#store.size
  }

  get(key: string): Value | undefined {
    this.#allowRead(key)
    return this.#store.get(key)
  }

  has(key: string): boolean {
    this.#allowRead(key)
    return this.#store.has(key)
  }

  version(key: string): number {
    this.#allowRead(key)
    return this.#store.version(key)
  }

  list(prefix: string): readonly Entry[] {
    this.#allowEverything('lists keys')
    return this.#store.list(prefix)
  }

  set(key: string, value: Value): void {
    if (this.#mode(key) === 'read') throw new FootprintViolation(this.#command, `sets ${describe(key)}`)
    this.#store.set(key, value)
  }

  delete(key: string): boolean {
    // Not with `add` either: nothing commutes with a deletion, for the key starts again at version 1.
    if (this.#mode(key) !== 'write') throw new FootprintViolation(this.#command, `deletes ${describe(key)}`)
    return this.#store.delete(key)
  }

  end(): void {
    this.#ended = true
  }

  #allowRead(key: string): void {
    this.#mode(key)
  }

  #allowEverything(what: string): void {
    this.#refuseAfterEnd()
    if (this.#declared !== 'everything') throw new FootprintViolation(this.#command, what)
  }

  #mode(key: string): AccessMode {
    this.#refuseAfterEnd()
    if (this.#declared === 'everything') return 'write'
    const declared = this.#declared
    for (let at = 0; at < declared.length; at++) {
      const access = declared[at]
      if (access?.key === key) return access.mode
    }
    throw new FootprintViolation(this.#command, `touches ${describe(key)}`)
  }

  #refuseAfterEnd(): void {
    if (this.#ended) throw new FootprintViolation(this.#command, 'uses its transaction after it has returned')
  }
}
