// Committed instances, in: the order of their execution, out (docs/protocol.md, section 7). Most find all that they depend on
// in order already and follow it at once; for the others the strongly connected components of the ready part of the
// dependency graph are found with Tarjan's algorithm, without recursion and in slices, so that neither the length of a
// chain nor the size of a component matters. Sees ids, deps and footprints; what a command does is the caller's.
import { must } from '../lib/assert.ts'
import type { AccessMode, Command } from '../protocol/command.ts'
import { commutes } from '../protocol/command.ts'
import { type Deps, noDeps } from '../protocol/deps.ts'
import type { Row, Seq } from '../protocol/ids.ts'
import type { CommittedInstance } from '../protocol/instance.ts'
import { sortInSlices } from './sort-in-slices.ts'

/** A committed instance that has no place in the order yet. */
interface Vertex {
  readonly row: Row
  readonly seq: Seq
  readonly instance: CommittedInstance
  readonly deps: Deps
  ordered: boolean
  /** Stands in the lists that edges are found in. */
  listed: boolean
  /** Can have no place before some row is committed further: it stands in #waiters. */
  waiting: boolean
  /** What it waits for, while it waits. */
  waitRow: Row
  waitSeq: Seq
  /** Tarjan: -1 while not visited in the current search. */
  index: number
  lowLink: number
  onStack: boolean
}

/** Vertices of one row that touch one key, by seq. Ordered ones are skipped, and dropped from the front. */
interface KeyRow {
  vertices: Vertex[]
  modes: AccessMode[]
  head: number
}

/** A vertex under visit: its successors, and how many of them were followed. */
interface Frame {
  readonly vertex: Vertex
  readonly successors: readonly Vertex[]
  position: number
}

/** One search of Tarjan's, wherever it stands. */
interface Search {
  readonly stack: Vertex[]
  readonly frames: Frame[]
  counter: number
}

/** Called for each instance in order; a Nop is never handed out. */
export type Execute = (instance: CommittedInstance) => void

export class Executor {
  readonly #rows: number
  readonly #execute: Execute
  /** Committed without a place in the order yet, or with one but above the committed watermark of its row. */
  readonly #committed: Map<Seq, Vertex | 'ordered'>[]
  readonly #committedUpTo: number[]
  readonly #ordered: Watermarks
  readonly #executed: Watermarks
  /** The order, from #nextInOrder on not executed yet. */
  #order: CommittedInstance[] = []
  #nextInOrder = 0
  /** Vertices without a place in the order. */
  #unordered = 0
  readonly #keys = new Map<number, (KeyRow | undefined)[]>()
  /** Vertices that touch everything, by row. */
  readonly #everything: KeyRow[]
  /** By row and the seq up to which it has to be committed. */
  readonly #waiters: Map<Seq, Vertex[]>[]
  /** To be visited, from #nextRoot on. */
  #roots: Vertex[] = []
  #nextRoot = 0
  /** The search that a slice ended in. */
  #searching: Iterator<void> | null = null
  /** Edges that may still be followed in this slice. */
  #edges = 0
  /** A barrier has its place in the order: nothing has one after it. */
  #closed = false
  #endedBy: CommittedInstance | null = null

  constructor(rows: number, execute: Execute) {
    this.#rows = rows
    this.#execute = execute
    this.#committed = Array.from({ length: rows }, () => new Map())
    this.#committedUpTo = noDeps(rows)
    this.#ordered = new Watermarks(rows)
    this.#executed = new Watermarks(rows)
    this.#everything = Array.from({ length: rows }, () => ({ vertices: [], modes: [], head: 0 }))
    this.#waiters = Array.from({ length: rows }, () => new Map())
  }

  /** The barrier that was executed, and with it the epoch ended: nothing is executed after it. */
  get endedBy(): CommittedInstance | null {
    return this.#endedBy
  }

  /** For each row, all instances up to here are executed (or Nop). */
  get executedUpTo(): Deps {
    return this.#executed.upTo
  }

  /** For each row, execution waits for everything up to here to be committed; 0 where it waits for nothing. */
  get needs(): Deps {
    return this.#waiters.map((bySeq, row) => {
      let needed = 0
      for (const seq of bySeq.keys()) if (seq > needed) needed = seq
      return needed > (this.#committedUpTo[row] ?? 0) ? needed : 0
    })
  }

  /** Committed instances that are not executed yet. */
  get backlog(): number {
    return this.#unordered + this.#order.length - this.#nextInOrder
  }

  /** Takes a committed instance, each once. Nothing is executed before `run`. */
  commit(instance: CommittedInstance): void {
    if (this.#endedBy !== null) return
    const { id, command, deps } = instance
    const { row, seq } = id
    let entry: Vertex | 'ordered' = 'ordered'
    if (command.kind === 'nop') {
      // [EX1] executing a Nop does nothing and conflicts with nothing
      this.#ordered.note(row, seq)
      this.#executed.note(row, seq)
    } else if (!this.#closed && this.#ordered.cover(deps)) {
      // [EX2] a component of its own: no edge leads out of it
      this.#append(instance)
    } else {
      entry = {
        row,
        seq,
        instance,
        deps,
        ordered: false,
        listed: false,
        waiting: false,
        waitRow: 0,
        waitSeq: 0,
        index: -1,
        lowLink: 0,
        onStack: false,
      }
      this.#unordered++
      this.#roots.push(entry)
    }
    this.#advance(row, seq, entry)
  }

  /**
   * Executes what can be executed now, in a slice of so many steps: a step is an edge that is followed, or an instance that
   * is executed. True when there is more to do.
   */
  run(steps = Number.POSITIVE_INFINITY): boolean {
    this.#edges = steps
    for (let left = steps; this.#endedBy === null; ) {
      while (this.#nextInOrder < this.#order.length) {
        if (left-- <= 0) return true
        this.#executeNext()
        if (this.#endedBy !== null) return false
      }
      if (this.#order.length > 0) {
        this.#order = []
        this.#nextInOrder = 0
      }
      if (this.#closed || !this.#orderMore()) return false
      if (this.#edges <= 0 && this.#nextInOrder === this.#order.length) return true
    }
    return false
  }

  #executeNext(): void {
    const instance = must(this.#order[this.#nextInOrder], 'within the order')
    this.#nextInOrder++
    const { id, command } = instance
    this.#executed.note(id.row, id.seq)
    if (command.kind === 'barrier') this.#endedBy = instance
    this.#execute(instance)
  }

  /** Goes on with a search until the slice ends, or it does. False where nothing is left to be searched. */
  #orderMore(): boolean {
    if (this.#searching !== null) {
      if (this.#searching.next().done === true) this.#searching = null
      return true
    }
    while (this.#nextRoot < this.#roots.length) {
      const root = must(this.#roots[this.#nextRoot], 'within the list')
      this.#nextRoot++
      if (root.ordered || root.waiting) continue
      if (this.#ordered.cover(root.deps)) {
        this.#place(root)
        return true
      }
      const search: Search = { stack: [], frames: [], counter: 0 }
      if (!this.#visit(search, root)) continue
      this.#searching = this.#search(search)
      return true
    }
    this.#roots = []
    this.#nextRoot = 0
    return false
  }

  /** Moves the committed watermark of the row, and wakes what waited for that. */
  #advance(row: Row, seq: Seq, entry: Vertex | 'ordered'): void {
    const inRow = must(this.#committed[row], 'a row of the epoch')
    let upTo = this.#committedUpTo[row] ?? 0
    if (seq !== upTo + 1) {
      inRow.set(seq, entry)
      return
    }
    if (entry !== 'ordered') inRow.set(seq, entry)
    const waiters = must(this.#waiters[row], 'a row of the epoch')
    for (let next: Vertex | 'ordered' | undefined = entry; next !== undefined; next = inRow.get(upTo + 1)) {
      upTo++
      if (next !== 'ordered') this.#list(next)
      else if (inRow.size > 0) inRow.delete(upTo)
      if (waiters.size === 0) continue
      const woken = waiters.get(upTo)
      if (woken === undefined) continue
      waiters.delete(upTo)
      for (const vertex of woken) {
        vertex.waiting = false
        this.#roots.push(vertex)
      }
    }
    this.#committedUpTo[row] = upTo
  }

  /** Gives the instance the next place in the order. */
  #append(instance: CommittedInstance): void {
    const { row, seq } = instance.id
    this.#ordered.note(row, seq)
    this.#order.push(instance)
    if (instance.command.kind === 'barrier') this.#closed = true
  }

  /** The same for a vertex, which is forgotten with it. */
  #place(vertex: Vertex): void {
    const { row, seq } = vertex
    vertex.ordered = true
    vertex.onStack = false
    this.#unordered--
    const inRow = must(this.#committed[row], 'a row of the epoch')
    if (seq <= (this.#committedUpTo[row] ?? 0)) inRow.delete(seq)
    else inRow.set(seq, 'ordered')
    if (vertex.listed) this.#leave(vertex.instance.command, row)
    this.#append(vertex.instance)
  }

  // --- what conflicts with what -------------------------------------------------------------------------------------

  /**
   * Makes the vertex one that edges may lead to. Only when its row is committed up to it: before that nothing that depends
   * on it is visited. So each list grows at its end, in whatever order the commits come.
   */
  #list(vertex: Vertex): void {
    const { row } = vertex
    const { command } = vertex.instance
    vertex.listed = true
    if (command.kind !== 'application') {
      add(must(this.#everything[row], 'a row of the epoch'), vertex, 'write')
      return
    }
    for (const { footprint } of command.proposals) {
      if (footprint === 'everything') {
        add(must(this.#everything[row], 'a row of the epoch'), vertex, 'write')
        continue
      }
      for (const { key, mode } of footprint) {
        let byRow = this.#keys.get(key)
        if (byRow === undefined) {
          byRow = new Array<KeyRow | undefined>(this.#rows).fill(undefined)
          this.#keys.set(key, byRow)
        }
        let keyRow = byRow[row]
        if (keyRow === undefined) {
          keyRow = { vertices: [], modes: [], head: 0 }
          byRow[row] = keyRow
        }
        add(keyRow, vertex, mode)
      }
    }
  }

  /** Forgets ordered vertices; a key that nothing unordered touches is dropped. */
  #leave(command: Command, row: Row): void {
    if (command.kind !== 'application') {
      trim(must(this.#everything[row], 'a row of the epoch'))
      return
    }
    for (const { footprint } of command.proposals) {
      if (footprint === 'everything') {
        trim(must(this.#everything[row], 'a row of the epoch'))
        continue
      }
      for (const { key } of footprint) {
        const byRow = this.#keys.get(key)
        const keyRow = byRow?.[row]
        if (byRow === undefined || keyRow === undefined) continue
        trim(keyRow)
        if (keyRow.vertices.length === 0) {
          byRow[row] = undefined
          if (byRow.every((entry) => entry === undefined)) this.#keys.delete(key)
        }
      }
    }
  }

  /**
   * The edges: to unordered vertices that `vertex` depends on and conflicts with. An edge that a path through another
   * edge implies is left out where that is seen at once, so that a chain has edges linear in its length.
   */
  #successors(vertex: Vertex): Vertex[] {
    const found: Vertex[] = []
    const { command } = vertex.instance
    const touchesEverything =
      command.kind === 'barrier' ||
      (command.kind === 'application' && command.proposals.some((one) => one.footprint === 'everything'))
    for (let row = 0; row < this.#rows; row++) {
      const upTo = vertex.deps[row] ?? 0
      if (upTo === 0) continue
      if (touchesEverything) {
        for (const entry of must(this.#committed[row], 'a row of the epoch').values()) {
          if (entry !== 'ordered' && entry !== vertex && entry.seq <= upTo) found.push(entry)
        }
        continue
      }
      collect(must(this.#everything[row], 'a row of the epoch'), vertex, row, upTo, 'write', found)
      if (command.kind !== 'application') continue
      for (const { footprint } of command.proposals) {
        if (footprint === 'everything') continue
        for (const { key, mode } of footprint) {
          const keyRow = this.#keys.get(key)?.[row]
          if (keyRow !== undefined) collect(keyRow, vertex, row, upTo, mode, found)
        }
      }
    }
    return found
  }

  // --- Tarjan -------------------------------------------------------------------------------------------------------

  /** Gives places to the components that the visited vertices reach, as far as all they reach is committed. Yields at the end of a slice. */
  *#search(search: Search): Generator<void> {
    const { stack, frames } = search
    for (;;) {
      const frame = frames.at(-1)
      if (frame === undefined) return
      const { vertex, successors } = frame
      const next = successors[frame.position]
      if (next !== undefined) {
        frame.position++
        if (--this.#edges <= 0) yield
        if (next.ordered) continue
        if (next.waiting) {
          this.#suspend(stack, next.waitRow, next.waitSeq)
          return
        }
        if (next.index === -1) {
          if (!this.#visit(search, next)) return
        } else if (next.onStack && next.index < vertex.lowLink) {
          vertex.lowLink = next.index
        }
        continue
      }
      frames.pop()
      const parent = frames.at(-1)?.vertex
      if (parent !== undefined && vertex.lowLink < parent.lowLink) parent.lowLink = vertex.lowLink
      if (vertex.lowLink === vertex.index) yield* this.#placeComponent(stack, vertex)
      if (this.#closed) return
    }
  }

  /** False when the vertex can have no place yet; then nothing on the stack can. */
  #visit(search: Search, vertex: Vertex): boolean {
    const { deps } = vertex
    for (let row = 0; row < this.#rows; row++) {
      const needed = deps[row] ?? 0
      if (needed > (this.#committedUpTo[row] ?? 0)) {
        search.stack.push(vertex)
        this.#suspend(search.stack, row, needed)
        return false
      }
    }
    vertex.index = search.counter
    vertex.lowLink = search.counter
    search.counter++
    vertex.onStack = true
    search.stack.push(vertex)
    search.frames.push({ vertex, successors: this.#successors(vertex), position: 0 })
    return true
  }

  /** Everything on the stack reaches what is missing: it all waits. */
  #suspend(stack: readonly Vertex[], row: Row, seq: Seq): void {
    const waiters = must(this.#waiters[row], 'a row of the epoch')
    let waiting = waiters.get(seq)
    if (waiting === undefined) {
      waiting = []
      waiters.set(seq, waiting)
    }
    for (const vertex of stack) {
      vertex.index = -1
      vertex.onStack = false
      vertex.waiting = true
      vertex.waitRow = row
      vertex.waitSeq = seq
      waiting.push(vertex)
    }
  }

  /** [EX3] Commands by (seq, row), barriers after all of them; the first barrier ends the epoch. `root` and all above it on the stack. */
  *#placeComponent(stack: Vertex[], root: Vertex): Generator<void> {
    if (stack.at(-1) === root) {
      stack.pop()
      this.#place(root)
      return
    }
    const component: Vertex[] = []
    for (let vertex = stack.pop(); vertex !== undefined; vertex = stack.pop()) {
      component.push(vertex)
      if (vertex === root) break
      if (--this.#edges <= 0) yield
    }
    for (const cost of sortInSlices(component, precedes)) {
      this.#edges -= cost
      if (this.#edges <= 0) yield
    }
    for (const vertex of component) {
      this.#place(vertex)
      if (this.#closed) return
      if (--this.#edges <= 0) yield
    }
  }
}

/** For each row, how far it is done, and what is done beyond that. */
class Watermarks {
  readonly upTo: number[]
  readonly #above: Set<Seq>[]

  constructor(rows: number) {
    this.upTo = noDeps(rows)
    this.#above = Array.from({ length: rows }, () => new Set())
  }

  note(row: Row, seq: Seq): void {
    const above = must(this.#above[row], 'a row of the epoch')
    if (seq !== (this.upTo[row] ?? 0) + 1) {
      above.add(seq)
      return
    }
    let upTo = seq
    while (above.size > 0 && above.delete(upTo + 1)) upTo++
    this.upTo[row] = upTo
  }

  /** Whether everything that `deps` stands for is done. */
  cover(deps: Deps): boolean {
    const { upTo } = this
    for (let row = 0; row < deps.length; row++) if ((deps[row] ?? 0) > (upTo[row] ?? 0)) return false
    return true
  }
}

function isBarrier(vertex: Vertex): boolean {
  return vertex.instance.command.kind === 'barrier'
}

/** [EX3] */
function precedes(a: Vertex, b: Vertex): number {
  return Number(isBarrier(a)) - Number(isBarrier(b)) || a.seq - b.seq || a.row - b.row
}

function add({ vertices, modes }: KeyRow, vertex: Vertex, mode: AccessMode): void {
  vertices.push(vertex)
  modes.push(mode)
}

function trim(keyRow: KeyRow): void {
  const { vertices, modes } = keyRow
  while (keyRow.head < vertices.length && vertices[keyRow.head]?.ordered === true) keyRow.head++
  if (keyRow.head * 2 >= vertices.length) {
    vertices.splice(0, keyRow.head)
    modes.splice(0, keyRow.head)
    keyRow.head = 0
  }
}

/**
 * Unordered entries with seq ≤ upTo that conflict with an access of `mode`. In the vertex's own row those above and those
 * below it are gone through apart: leaving out what another edge implies rests on each vertex having an edge to the nearest
 * one below itself in its own row, so nothing above may stand in for that. (Two vertices that see each other would each
 * leave the rest to the other.)
 */
function collect(keyRow: KeyRow, vertex: Vertex, row: Row, upTo: Seq, mode: AccessMode, found: Vertex[]): void {
  if (row === vertex.row && upTo >= vertex.seq) {
    collectRange(keyRow, vertex.seq + 1, upTo, mode, found)
    collectRange(keyRow, 1, vertex.seq - 1, mode, found)
  } else {
    collectRange(keyRow, 1, upTo, mode, found)
  }
}

/** Entries with from ≤ seq ≤ upTo, from the highest down. */
function collectRange(keyRow: KeyRow, from: Seq, upTo: Seq, mode: AccessMode, found: Vertex[]): void {
  const { vertices, modes, head } = keyRow
  let low = head
  let high = vertices.length
  while (low < high) {
    const middle = (low + high) >> 1
    if (must(vertices[middle], 'within the list').seq <= upTo) low = middle + 1
    else high = middle
  }
  /** A conflicting write already found: what it depends on below itself in its row is reached through it. */
  let through: Vertex | undefined
  for (let at = low - 1; at >= head; at--) {
    const other = must(vertices[at], 'within the list')
    if (other.seq < from) return
    if (other.ordered) continue
    if (through !== undefined && (through.deps[other.row] ?? 0) >= other.seq) return
    const otherMode = modes[at] ?? 'write'
    if (commutes(otherMode, mode)) continue
    found.push(other)
    if (otherMode === 'write') through = other
  }
}
