// The executor against a plain oracle (every edge, reachability by brute force, the same order within a component) on many
// small random graphs, and against graphs drawn by hand. What commands do, and what happens after the end of an epoch, is
// tested elsewhere.
import { describe, expect, test } from 'vitest'
import { must } from '../lib/assert.ts'
import { createRandom, type Random } from '../lib/random.ts'
import {
  type AccessMode,
  type Command,
  commandsConflict,
  type Footprint,
  type KeyAccess,
  nop,
} from '../protocol/command.ts'
import { type Deps, dependsOn } from '../protocol/deps.ts'
import { formatInstanceId, replicaIdFromBytes } from '../protocol/ids.ts'
import type { CommittedInstance } from '../protocol/instance.ts'
import { Executor } from './executor.ts'

const session = replicaIdFromBytes(new Uint8Array(16))
const noBytes = new Uint8Array()

function touching(...footprints: Footprint[]): Command {
  return {
    kind: 'application',
    proposals: footprints.map((footprint, index) => ({
      session,
      number: index + 1,
      ackedUpTo: 0,
      footprint,
      payload: noBytes,
    })),
  }
}

const barrier: Command = { kind: 'barrier', next: { voters: [session], observers: [] } }

function access(mode: AccessMode, key = 1): Command {
  return touching([{ key, mode }])
}

const write = access('write')

function instance(row: number, seq: number, command: Command, deps: Deps): CommittedInstance {
  return {
    id: { row, seq },
    phase: 'committed',
    promisedBallot: 0,
    acceptedBallot: 0,
    initCommand: command,
    initDeps: deps,
    command,
    deps,
  }
}

/** Every instance of a small epoch, in order of (row, seq); its place in the list is its bit in a set. */
type Graph = readonly CommittedInstance[]

function names(executed: readonly CommittedInstance[]): string[] {
  return executed.map((one) => formatInstanceId(one.id))
}

/** What one executor made of the instances, fed in this order; `run` comes after each that `runsAfter` picks, and at the end. */
function execute(
  rows: number,
  fed: Graph,
  runsAfter: (position: number) => boolean = () => false,
): Executor & { order: string[] } {
  const order: string[] = []
  const executor = new Executor(rows, (one) => order.push(formatInstanceId(one.id)))
  fed.forEach((one, position) => {
    executor.commit(one)
    if (runsAfter(position)) executor.run()
  })
  executor.run()
  return Object.assign(executor, { order })
}

// --- the oracle -----------------------------------------------------------------------------------------------------

/** What the rules of protocol.md, section 7, say of a whole graph. */
class Oracle {
  readonly graph: Graph
  /** By place: the set of those that it reaches over edges, itself included. */
  readonly #reaches: number[]
  /** The barrier that ends the epoch, by place; -1 where there is none. */
  readonly end: number

  constructor(graph: Graph) {
    this.graph = graph
    const reaches = graph.map((from, index) =>
      graph.reduce(
        (set, to, other) =>
          dependsOn(from.deps, to.id) && commandsConflict(from.command, to.command) ? set | (1 << other) : set,
        1 << index,
      ),
    )
    for (let via = 0; via < graph.length; via++) {
      for (let from = 0; from < graph.length; from++) {
        if (((reaches[from] ?? 0) >> via) & 1) reaches[from] = (reaches[from] ?? 0) | (reaches[via] ?? 0)
      }
    }
    this.#reaches = reaches
    const barriers = [...graph.keys()].filter((index) => graph[index]?.command.kind === 'barrier')
    this.end = barriers.find((one) => barriers.every((other) => other === one || this.isBefore(one, other))) ?? -1
  }

  #reach(from: number, to: number): boolean {
    return (((this.#reaches[from] ?? 0) >> to) & 1) === 1
  }

  /** Of two that conflict: whether `a` is executed first. */
  isBefore(a: number, b: number): boolean {
    if (!this.#reach(a, b)) return true
    if (!this.#reach(b, a)) return false
    const left = must(this.graph[a], 'a place')
    const right = must(this.graph[b], 'a place')
    const byKind = Number(left.command.kind === 'barrier') - Number(right.command.kind === 'barrier')
    return (byKind || left.id.seq - right.id.seq || left.id.row - right.id.row) < 0
  }

  #isReady(index: number, committed: number): boolean {
    const { deps } = must(this.graph[index], 'a place')
    return this.graph.every((other, at) => ((committed >> at) & 1) === 1 || !dependsOn(deps, other.id))
  }

  /** What is executed once exactly `committed` is. */
  executed(committed: number): number {
    let set = 0
    for (let index = 0; index < this.graph.length; index++) {
      if (((committed >> index) & 1) === 0 || this.graph[index]?.command.kind === 'nop') continue
      const canRun = this.graph.every(
        (_, at) => !this.#reach(index, at) || (((committed >> at) & 1) === 1 && this.#isReady(at, committed)),
      )
      if (canRun) set |= 1 << index
    }
    if (this.end < 0 || ((set >> this.end) & 1) === 0) return set
    let cut = 1 << this.end
    for (let index = 0; index < this.graph.length; index++) {
      if (index !== this.end && ((set >> index) & 1) === 1 && this.isBefore(index, this.end)) cut |= 1 << index
    }
    return cut
  }
}

// --- random graphs --------------------------------------------------------------------------------------------------

const modes: readonly AccessMode[] = ['read', 'write', 'write', 'add']

function randomFootprint(random: Random, keys: number): Footprint {
  if (random.chance(0.06)) return 'everything'
  const footprint: KeyAccess[] = []
  for (let left = 1 + random.integer(2); left > 0; left--) {
    footprint.push({ key: random.integer(keys), mode: random.pick(modes) })
  }
  return footprint
}

function randomCommand(random: Random, keys: number, barriers: boolean): Command {
  if (random.chance(0.1)) return nop
  if (barriers && random.chance(0.12)) return barrier
  const proposals = random.chance(0.2) ? 2 : 1
  return touching(...Array.from({ length: proposals }, () => randomFootprint(random, keys)))
}

/** A graph in which Visibility holds and nothing else has to: vectors point up the own row and at each other. */
function randomGraph(random: Random, rows: number): Graph {
  const keys = 1 + random.integer(3)
  const barriers = random.chance(0.4)
  const heights = Array.from({ length: rows }, () => random.integer(1 + Math.min(12, Math.floor(25 / rows))))
  const drafts: { row: number; seq: number; command: Command; deps: number[] }[] = []
  const far = random.next()
  heights.forEach((height, row) => {
    for (let seq = 1; seq <= height; seq++) {
      const deps = heights.map((top, other) => {
        if (random.chance(far)) return random.integer(top + 1)
        return other === row ? seq - 1 : Math.min(top, seq)
      })
      drafts.push({ row, seq, command: randomCommand(random, keys, barriers), deps })
    }
  })
  for (const a of drafts) {
    for (const b of drafts) {
      if (a === b || !commandsConflict(a.command, b.command) || dependsOn(a.deps, b) || dependsOn(b.deps, a)) continue
      const [from, to] = random.chance(0.5) ? [a, b] : [b, a]
      from.deps[to.row] = to.seq
    }
  }
  return drafts.map(({ row, seq, command, deps }) => instance(row, seq, command, deps))
}

function describeGraph(graph: Graph): string {
  return graph
    .map(({ id, command, deps }) => {
      const what =
        command.kind === 'application'
          ? command.proposals
              .map(({ footprint }) =>
                footprint === 'everything' ? footprint : footprint.map(({ key, mode }) => `${mode} ${key}`).join(', '),
              )
              .join(' + ')
          : command.kind
      return `${formatInstanceId(id)} [${deps.join(' ')}] ${what}`
    })
    .join('\n')
}

/**
 * Feeds a graph in a random order, with slices of runs in between, and compares with the oracle after each whole run.
 * Returns what was executed.
 */
function follow(oracle: Oracle, rows: number, random: Random): readonly CommittedInstance[] {
  const { graph } = oracle
  const executed: CommittedInstance[] = []
  const executor = new Executor(rows, (one) => executed.push(one))
  const complain = (what: string) =>
    expect.fail(`${what}; executed ${names(executed).join(' ')} of\n${describeGraph(graph)}`)
  let committed = 0
  const eagerness = random.next()
  const slicing = random.next()
  const fed = random.shuffle([...graph.keys()])
  fed.forEach((place, position) => {
    executor.commit(must(graph[place], 'a place'))
    committed |= 1 << place
    while (random.chance(slicing)) executor.run(random.integer(4))
    if (position < fed.length - 1 && !random.chance(eagerness)) return
    executor.run()
    const places = executed.map((one) => graph.indexOf(one))
    const set = places.reduce((sum, at) => sum | (1 << at), 0)
    if (new Set(places).size < places.length) complain('something was executed twice')
    if (set !== oracle.executed(committed)) complain('not what can be executed')
    const ended = executor.endedBy === null ? -1 : graph.indexOf(executor.endedBy)
    const end = ((set >> Math.max(oracle.end, 0)) & 1) === 1 ? oracle.end : -1
    if (ended !== end) complain('another end')
    places.forEach((later, at) => {
      for (const earlier of places.slice(0, at)) {
        const [a, b] = [must(graph[earlier], 'a place'), must(graph[later], 'a place')]
        if (commandsConflict(a.command, b.command) && !oracle.isBefore(earlier, later)) {
          complain(`${names([b])} belongs before ${names([a])}`)
        }
      }
    })
  })
  return executed
}

/** For each conflicting pair of the executed ones, the order; a cut is equal when these are. */
function conflictOrder(executed: readonly CommittedInstance[]): string[] {
  const pairs: string[] = []
  executed.forEach((later, at) => {
    for (const earlier of executed.slice(0, at)) {
      if (commandsConflict(earlier.command, later.command)) pairs.push(names([earlier, later]).join(' < '))
    }
  })
  return pairs.sort()
}

describe('random graphs', () => {
  test.each([1, 2, 3, 5, 9])(
    'with %i rows, each run executes what the oracle says, in the order that it says',
    (rows) => {
      for (let seed = 1; seed <= 600; seed++) {
        const random = createRandom(seed * 16 + rows)
        const oracle = new Oracle(randomGraph(random, rows))
        follow(oracle, rows, random)
      }
    },
  )

  test.each([3, 5])(
    'with %i rows, two executors that hear of it in different orders end with the same order and cut',
    (rows) => {
      let ends = 0
      for (let seed = 1; seed <= 600; seed++) {
        const random = createRandom(seed * 16 + rows + 0.5)
        const oracle = new Oracle(randomGraph(random, rows))
        const one = follow(oracle, rows, random)
        const other = follow(oracle, rows, random)
        expect(names(other).sort()).toEqual(names(one).sort())
        expect(conflictOrder(other)).toEqual(conflictOrder(one))
        if (oracle.end >= 0) {
          ends++
          expect(names(one).at(-1)).toBe(names(other).at(-1))
        }
      }
      expect(ends, 'graphs with a barrier').toBeGreaterThan(50)
    },
  )
})

describe('graphs drawn by hand', () => {
  test('what lies below a component of its own row comes first, in whatever order it is heard of', () => {
    const graph = [
      instance(0, 1, write, [0]),
      instance(0, 2, write, [4]),
      instance(0, 3, write, [2]),
      instance(0, 4, write, [3]),
    ]
    const [first, ...rest] = graph as [CommittedInstance, ...CommittedInstance[]]
    expect(execute(1, graph).order).toEqual(['0.1', '0.2', '0.3', '0.4'])
    expect(execute(1, [...rest, first]).order).toEqual(['0.1', '0.2', '0.3', '0.4'])
  })

  test('what lies below a component of its own row is waited for when it is blocked itself', () => {
    const graph = [
      instance(0, 1, write, [0, 1]),
      instance(0, 2, write, [4, 0]),
      instance(0, 3, write, [2, 0]),
      instance(0, 4, write, [3, 0]),
    ]
    const executor = execute(2, graph)
    expect(executor.order).toEqual([])
    expect(executor.needs).toEqual([0, 1])
    executor.commit(instance(1, 1, write, [0, 0]))
    executor.run()
    expect(executor.order).toEqual(['1.1', '0.1', '0.2', '0.3', '0.4'])
  })

  test('[EX3] a cycle of two goes by (seq, row)', () => {
    const graph = [instance(0, 1, write, [0, 1]), instance(1, 1, write, [1, 0])]
    expect(execute(2, graph).order).toEqual(['0.1', '1.1'])
    expect(execute(2, [...graph].reverse()).order).toEqual(['0.1', '1.1'])
  })

  test('a cycle of three goes by (seq, row), not by the direction of its edges', () => {
    const graph = [
      instance(0, 1, write, [0, 0, 0]),
      instance(0, 2, write, [1, 1, 0]),
      instance(1, 1, write, [0, 0, 1]),
      instance(2, 1, write, [2, 0, 0]),
    ]
    expect(execute(3, graph).order).toEqual(['0.1', '1.1', '2.1', '0.2'])
    expect(execute(3, [...graph].reverse()).order).toEqual(['0.1', '1.1', '2.1', '0.2'])
  })

  test('[EX2] what depends on one of a component comes after all of it', () => {
    const graph = [
      instance(0, 1, touching([{ key: 1, mode: 'write' }]), [0, 1, 0]),
      instance(
        1,
        1,
        touching([
          { key: 1, mode: 'write' },
          { key: 2, mode: 'write' },
        ]),
        [2, 0, 0],
      ),
      instance(0, 2, touching([{ key: 1, mode: 'write' }]), [1, 1, 0]),
      instance(2, 1, access('write', 2), [0, 1, 0]),
    ]
    expect(execute(3, graph).order).toEqual(['0.1', '1.1', '0.2', '2.1'])
    expect(execute(3, [...graph].reverse()).order).toEqual(['0.1', '1.1', '0.2', '2.1'])
  })

  test('commands that commute make no component: their vectors may point at each other', () => {
    const graph = [
      instance(0, 1, access('add'), [0, 2]),
      instance(1, 1, access('add'), [1, 0]),
      instance(1, 2, access('read', 2), [1, 1]),
    ]
    expect(new Set(execute(2, graph).order)).toEqual(new Set(['0.1', '1.1', '1.2']))
    expect(execute(2, [...graph].reverse()).order[0]).toBe('1.2')
  })

  test('an instance is never its own dependency', () => {
    expect(execute(1, [instance(0, 1, write, [1])]).order).toEqual(['0.1'])
  })

  test('[EX3] a barrier comes last in its component, and ends the epoch: the rest is void', () => {
    const graph = [
      instance(0, 1, barrier, [0, 1, 0]),
      instance(1, 1, write, [1, 0, 0]),
      instance(2, 1, access('write', 9), [1, 0, 0]),
    ]
    for (const fed of [graph, [...graph].reverse()]) {
      const executor = execute(3, fed)
      expect(executor.order).toEqual(['1.1', '0.1'])
      expect(executor.endedBy).toBe(graph[0])
      executor.commit(instance(2, 2, write, [0, 0, 0]))
      executor.run()
      expect(executor.order).toEqual(['1.1', '0.1'])
      expect(executor.executedUpTo).toEqual([1, 1, 0])
    }
  })

  test('of two barriers in one component the first by (seq, row) counts, and the other is void', () => {
    const graph = [instance(0, 1, write, [0, 0]), instance(0, 2, barrier, [1, 1]), instance(1, 1, barrier, [2, 0])]
    for (const fed of [graph, [...graph].reverse()]) {
      const executor = execute(2, fed)
      expect(executor.order).toEqual(['0.1', '1.1'])
      expect(executor.endedBy).toBe(graph[2])
    }
  })

  test('[EX1] a barrier that another replica knew of only as a Nop does not hold anything up', () => {
    const executor = execute(2, [instance(0, 1, nop, [0, 7]), instance(1, 1, write, [1, 0])])
    expect(executor.order).toEqual(['1.1'])
    expect(executor.endedBy).toBeNull()
    expect(executor.executedUpTo).toEqual([1, 1])
  })

  test('what is missing is named by `needs` until it comes, a Nop as well as a command', () => {
    const executor = execute(3, [instance(0, 1, write, [0, 2, 0]), instance(1, 2, write, [0, 1, 0])])
    expect(executor.order).toEqual([])
    expect(executor.needs).toEqual([0, 2, 0])
    expect(executor.backlog).toBe(2)
    executor.commit(instance(1, 1, nop, [0, 0, 0]))
    executor.run()
    expect(executor.order).toEqual(['1.2', '0.1'])
    expect(executor.needs).toEqual([0, 0, 0])
    expect(executor.backlog).toBe(0)
    expect(executor.executedUpTo).toEqual([1, 2, 0])
  })

  test('an instance in the vector is waited for even where it would commute: before it is committed nobody knows', () => {
    const executor = execute(2, [instance(0, 1, access('write', 1), [0, 1])])
    expect(executor.order).toEqual([])
    executor.commit(instance(1, 1, access('write', 2), [0, 0]))
    executor.run()
    expect(executor.order).toEqual(['1.1', '0.1'])
  })

  test('what depends on something blocked is blocked; what does not goes on', () => {
    const executor = execute(3, [
      instance(0, 1, access('write', 1), [0, 1, 0]),
      instance(0, 2, access('write', 1), [1, 0, 0]),
      instance(2, 1, access('write', 2), [0, 0, 0]),
    ])
    expect(executor.order).toEqual(['2.1'])
    expect(executor.executedUpTo).toEqual([0, 0, 1])
    expect(executor.backlog).toBe(2)
  })

  test('nothing is executed before run', () => {
    const order: string[] = []
    const executor = new Executor(1, (one) => order.push(formatInstanceId(one.id)))
    executor.commit(instance(0, 1, write, [0]))
    expect(order).toEqual([])
    executor.run()
    expect(order).toEqual(['0.1'])
  })

  test('a chain of 100,000, followed from its end', () => {
    const length = 100_000
    const links = [instance(2, 1, write, [length / 2, length / 2, 0])]
    for (let place = 1; place <= length; place++) {
      const before = [Math.floor((place - 1) / 2), Math.ceil((place - 1) / 2), 0]
      links.push(instance(place % 2, Math.ceil(place / 2), write, before))
    }
    const executor = execute(3, links)
    expect(executor.order.length).toBe(length + 1)
    expect(executor.order.slice(0, 3)).toEqual(['1.1', '0.1', '1.2'])
    expect(executor.order.slice(-2)).toEqual([`0.${length / 2}`, '2.1'])
  })

  test('a component of 100,000', () => {
    const each = 50_000
    const fed: CommittedInstance[] = []
    for (let seq = 1; seq <= each; seq++) {
      fed.push(instance(0, seq, write, [seq - 1, each]), instance(1, seq, write, [each, seq - 1]))
    }
    const executor = execute(2, fed)
    expect(executor.order.length).toBe(2 * each)
    expect(executor.order.slice(0, 4)).toEqual(['0.1', '1.1', '0.2', '1.2'])
    expect(executor.backlog).toBe(0)
  })

  test('a row of 100,000 on one key that is heard of from its end', () => {
    const length = 100_000
    const fed: CommittedInstance[] = []
    for (let seq = length; seq >= 1; seq--) fed.push(instance(0, seq, write, [seq - 1]))
    const executor = execute(1, fed)
    expect(executor.order.length).toBe(length)
    expect(executor.order.slice(0, 3)).toEqual(['0.1', '0.2', '0.3'])
    expect(executor.order.at(-1)).toBe(`0.${length}`)
  })
})

describe('slices', () => {
  /** A component of twice `each`, and how much of it each slice of `steps` executed. */
  function slices(each: number, steps: number): { readonly order: string[]; readonly executed: number[] } {
    const order: string[] = []
    const executor = new Executor(2, (one) => order.push(formatInstanceId(one.id)))
    for (let seq = 1; seq <= each; seq++) {
      executor.commit(instance(0, seq, write, [seq - 1, each]))
      executor.commit(instance(1, seq, write, [each, seq - 1]))
    }
    const executed: number[] = []
    for (let before = 0, more = true; more; before = order.length) {
      more = executor.run(steps)
      executed.push(order.length - before)
    }
    return { order, executed }
  }

  test('a run in slices executes the same in the same order as one without end', () => {
    const whole = slices(3_000, Number.POSITIVE_INFINITY)
    expect(whole.executed).toEqual([6_000])
    for (const steps of [1, 7, 1_000]) expect(slices(3_000, steps).order, `slices of ${steps}`).toEqual(whole.order)
  })

  test('a slice executes no more instances than it has steps, and says whether there is more to do', () => {
    const { executed } = slices(3_000, 100)
    expect(Math.max(...executed)).toBeLessThanOrEqual(100)
    // following the edges of the component takes slices of its own, in which nothing is executed yet
    expect(executed.length).toBeGreaterThan(120)
    expect(executed[0]).toBe(0)
  })

  test('what is committed between two slices of a search finds its place', () => {
    const order: string[] = []
    const executor = new Executor(3, (one) => order.push(formatInstanceId(one.id)))
    executor.commit(instance(0, 1, write, [0, 2, 0]))
    executor.commit(instance(1, 1, write, [1, 0, 0]))
    executor.commit(instance(1, 2, write, [1, 1, 0]))
    expect(executor.run(1)).toBe(true)
    expect(order).toEqual([])
    executor.commit(instance(2, 1, access('write', 2), [0, 0, 0]))
    executor.commit(instance(2, 2, write, [1, 2, 1]))
    while (executor.run(1)) expect(executor.backlog).toBeGreaterThan(0)
    expect(order.filter((one) => one !== '2.1')).toEqual(['0.1', '1.1', '1.2', '2.2'])
    expect(order).toContain('2.1')
    expect(executor.executedUpTo).toEqual([1, 2, 2])
  })
})
