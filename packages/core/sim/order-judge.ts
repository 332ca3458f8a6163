// Whether the order in which the replicas executed explains what their clients were told: every answered command was
// executed, every result is what a plain model gives at that place, and the order of execution and of reading can be had
// without turning around two operations of which one was answered before the other was called. That is linearizability of
// the whole store, transactions and reads of many keys included, with the replicas' own order as the witness.
import type { Value } from '../src/lib/value.ts'
import type { KvCheck } from '../src/state-machines/kv.ts'
import { Violation } from './agreement.ts'
import { addsIn, describe, type ExecutionChecker, type KeyOrder } from './executions.ts'
import type { Call, Command, CommandCall } from './history.ts'
import type { Sight } from './recorded-kv.ts'

/** One operation of the history in the graph of what has to come before what. */
interface Node {
  readonly name: string
  readonly call: number
  readonly return: number
  readonly after: Node[]
  /** How many have to come before and are not placed yet. */
  open: number
  placed: boolean
}

/** Throws the Violation that is found first. */
export function judgeOrder(calls: readonly Call[], executions: ExecutionChecker): void {
  const commands = new Map<number, CommandCall>()
  for (const call of calls) if (call.kind === 'command') commands.set(call.tag, call)
  for (const tag of executions.executions.keys()) {
    if (!commands.has(tag)) throw new Violation(`Invention: command ${tag} was executed and never called`)
  }
  const model = new Model(commands, executions)
  for (const call of calls) {
    if (call.return === null) continue
    if (call.kind === 'command') model.checkAnswer(call)
    else for (const sight of call.sights) model.checkSight(sight, nameOf(call))
  }
  model.checkExecutions()
  place(graphOf(calls, executions))
}

function nameOf(call: Call): string {
  const what = call.kind === 'command' ? `${call.command.op} (command ${call.tag})` : call.read.op
  const returned = call.return === null ? 'never' : call.return.toFixed(2)
  return `${what} of ${call.client}, called at ${call.call.toFixed(2)}, answered at ${returned}`
}

// --- values -----------------------------------------------------------------------------------------------------------

/** The store, computed anew from the commands in their order. */
class Model {
  readonly #commands: ReadonlyMap<number, CommandCall>
  readonly #executions: ExecutionChecker
  /** By key and generation: the value that the generation began with. */
  readonly #bases = new Map<string, Value[]>()

  constructor(commands: ReadonlyMap<number, CommandCall>, executions: ExecutionChecker) {
    this.#commands = commands
    this.#executions = executions
  }

  checkAnswer(call: CommandCall): void {
    const execution = this.#executions.executions.get(call.tag)
    if (execution === undefined) throw new Violation(`Lost: no replica executed what was answered: ${nameOf(call)}`)
    const { result } = this.#effect(call.tag)
    if (JSON.stringify(result) !== JSON.stringify(call.result)) {
      throw new Violation(
        `Result: ${nameOf(call)} was told ${JSON.stringify(call.result)}, and the order gives ${JSON.stringify(result)}`,
      )
    }
  }

  checkExecutions(): void {
    for (const [tag, { touches }] of this.#executions.executions) {
      for (const { before, change } of touches) if (change !== 'adds') this.checkSight(before, `command ${tag}`)
    }
  }

  checkSight(sight: Sight, by: string): void {
    const order = this.#executions.keys.get(sight.key)
    const known = order !== undefined && sight.adds.every((tag) => order.adds[sight.generation]?.has(tag))
    const untouched = sight.generation === 0 && sight.adds.length === 0
    if (!known && !untouched) throw new Violation(`Invention: ${by} found ${describe(sight)}, which nobody made`)
    const value = this.#valueAt(sight)
    if (value !== sight.value) {
      throw new Violation(`Value: ${by} found ${describe(sight)}, and the order gives ${JSON.stringify(value)}`)
    }
  }

  #valueAt({ key, generation, adds }: Sight): Value {
    const base = this.#baseOf(key, generation)
    if (adds.length === 0) return base
    let sum = typeof base === 'number' ? base : 0
    for (const tag of adds) {
      const command = this.#commands.get(tag)?.command
      if (command?.op === 'add') sum += command.by
    }
    return sum
  }

  /** Generations are computed from the first on, each once. */
  #baseOf(key: string, generation: number): Value {
    let bases = this.#bases.get(key)
    if (bases === undefined) {
      bases = [null]
      this.#bases.set(key, bases)
    }
    const makers = this.#executions.keys.get(key)?.makers ?? []
    for (let next = bases.length; next <= generation; next++) {
      const maker = makers[next]
      if (maker === undefined) throw new Violation(`Invention: nobody made generation ${next} of key ${key}`)
      bases.push(this.#effect(maker).values.get(key) ?? null)
    }
    return bases[generation] ?? null
  }

  /** What a command does to what it found, and what it answers. */
  #effect(tag: number): { readonly values: ReadonlyMap<string, Value>; readonly result: Value } {
    const command = this.#commands.get(tag)?.command
    const execution = this.#executions.executions.get(tag)
    if (command === undefined || execution === undefined) throw new Violation(`Invention: there is no command ${tag}`)
    return applyCommand(command, new Map(execution.touches.map(({ before }) => [before.key, before.value])))
  }
}

/** The model: the command on these values, where null is a key that is not there. */
export function applyCommand(
  command: Command,
  found: ReadonlyMap<string, Value>,
): { readonly values: ReadonlyMap<string, Value>; readonly result: Value } {
  const refused = { values: found, result: false }
  if (command.op === 'transact') {
    if (!command.checks.every((check) => holds(check, found.get(check.key) ?? null))) return refused
    const values = new Map(found)
    for (const operation of command.operations) {
      const before = values.get(operation.key) ?? null
      if (operation.op === 'create' && before !== null) return refused
      if (operation.op === 'delete') values.set(operation.key, null)
      else if (operation.op === 'increment') values.set(operation.key, Number(before ?? 0) + (operation.by ?? 1))
      else values.set(operation.key, operation.value)
    }
    return { values, result: true }
  }
  const before = found.get(command.key) ?? null
  const becomes = (value: Value, result: Value) => ({ values: new Map([[command.key, value]]), result })
  switch (command.op) {
    case 'set':
      return becomes(command.value, true)
    case 'create':
      return before === null ? becomes(command.value, true) : refused
    case 'delete':
      return becomes(null, before !== null)
    case 'compareAndSet':
      return before !== null && before === command.expected ? becomes(command.value, true) : refused
    case 'increment': {
      const sum = Number(before ?? 0) + command.by
      return becomes(sum, sum)
    }
    case 'add':
      return becomes(Number(before ?? 0) + command.by, true)
  }
}

function holds(check: KvCheck, value: Value): boolean {
  if ('exists' in check) return check.exists === (value !== null)
  return 'equals' in check && value !== null && value === check.equals
}

// --- order ------------------------------------------------------------------------------------------------------------

/** What was executed and what was read, each with what has to come after it. */
function graphOf(calls: readonly Call[], executions: ExecutionChecker): Node[] {
  const nodes: Node[] = []
  const byTag = new Map<number, Node>()
  const looks: { readonly node: Node; readonly sight: Sight }[] = []
  for (const call of calls) {
    const isRead = call.kind === 'read'
    if (isRead ? call.return === null : !executions.executions.has(call.tag)) continue
    const node: Node = {
      name: nameOf(call),
      call: call.call,
      return: call.return ?? Number.POSITIVE_INFINITY,
      after: [],
      open: 0,
      placed: false,
    }
    nodes.push(node)
    if (isRead) for (const sight of call.sights) looks.push({ node, sight })
    else byTag.set(call.tag, node)
  }
  for (const [tag, { touches }] of executions.executions) {
    const node = byTag.get(tag)
    if (node === undefined) continue
    for (const { before, change } of touches) {
      if (change !== 'adds') looks.push({ node, sight: before })
      else {
        const order = executions.keys.get(before.key)
        if (order !== undefined) orderWithin(order, before.generation, node, byTag)
      }
    }
  }
  for (const { node, sight } of looks) {
    const order = executions.keys.get(sight.key)
    if (order === undefined) continue
    orderWithin(order, sight.generation, node, byTag)
    const seen = new Set(sight.adds)
    for (const tag of addsIn(order, sight.generation)) {
      const add = byTag.get(tag)
      if (seen.has(tag)) before(add, node)
      else before(node, add)
    }
  }
  return nodes
}

/** After what made the generation, before what makes the next. */
function orderWithin(order: KeyOrder, generation: number, node: Node, byTag: ReadonlyMap<number, Node>): void {
  before(byTag.get(order.makers[generation] ?? -1), node)
  before(node, byTag.get(order.makers[generation + 1] ?? -1))
}

function before(one: Node | undefined, other: Node | undefined): void {
  if (one === undefined || other === undefined || one === other) return
  one.after.push(other)
  other.open++
}

/**
 * Places one operation after another: always the one that was called first of those that wait for nothing. One that was
 * called after another's answer can not come before that; when nothing else is left, there is no order.
 */
function place(nodes: readonly Node[]): void {
  const byReturn = [...nodes].sort((a, b) => a.return - b.return)
  let oldest = 0
  /** Those that wait for nothing, the earliest called last. */
  const ready: Node[] = nodes.filter(({ open }) => open === 0).sort((a, b) => b.call - a.call)
  for (let left = nodes.length; left > 0; left--) {
    while (byReturn[oldest]?.placed === true) oldest++
    const due = byReturn[oldest]
    const next = ready.pop()
    if (next === undefined) {
      throw new Violation(`Linearizability: no order lets each operation see what it saw, such as ${due?.name}`)
    }
    if (due !== undefined && due.return < next.call) {
      throw new Violation(`Linearizability: ${chainTo(due, nodes).join(' → ')}`)
    }
    next.placed = true
    for (const other of next.after) {
      other.open--
      if (other.open === 0) insert(ready, other)
    }
  }
}

/** What is not placed and has to come before the node, the last of it called only after the node's answer. */
function chainTo(due: Node, nodes: readonly Node[]): string[] {
  const chain = [due]
  for (;;) {
    const [first] = chain
    const earlier = nodes.find((one) => !one.placed && first !== undefined && one.after.includes(first))
    if (earlier === undefined || chain.includes(earlier)) return chain.map(({ name }) => name)
    chain.unshift(earlier)
    if (earlier.call > due.return) return chain.map(({ name }) => name)
  }
}

function insert(ready: Node[], node: Node): void {
  let low = 0
  let high = ready.length
  while (low < high) {
    const middle = (low + high) >> 1
    if ((ready[middle] as Node).call >= node.call) low = middle + 1
    else high = middle
  }
  ready.splice(low, 0, node)
}
