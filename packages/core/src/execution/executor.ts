// Committed instances, in: the order of their execution, out (docs/protocol.md, section 7). Finds the strongly connected
// components of the ready part of the dependency graph with Tarjan's algorithm, without recursion, so that the length of
// a chain or the size of a component does not matter. Sees ids, deps and footprints; what a command does is the caller's.
import { must } from '../lib/assert.ts'
import type { AccessMode, Command } from '../protocol/command.ts'
import { commutes } from '../protocol/command.ts'
import { type Deps, noDeps } from '../protocol/deps.ts'
import type { Row, Seq } from '../protocol/ids.ts'
import type { CommittedInstance } from '../protocol/instance.ts'

/** A committed instance that is not executed yet. */
interface Vertex {
  readonly row: Row
  readonly seq: Seq
  readonly instance: CommittedInstance
  readonly deps: Deps
  executed: boolean
  /** Cannot be executed before some row is committed further: it stands in #waiters. */
  waiting: boolean
  /** What it waits for, while it waits. */
  waitRow: Row
  waitSeq: Seq
  /** Tarjan: -1 while not visited in the current search. */
  index: number
  lowLink: number
  onStack: boolean
}

/** Unexecuted vertices of one row that touch one key, by seq. Executed ones are skipped, and dropped from the front. */
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

/** Called for each instance in order; a Nop is never handed out. */
export type Execute = (instance: CommittedInstance) => void

export class Executor {
  readonly #rows: number
  readonly #execute: Execute
  /** Committed and either unexecuted, or executed but above the committed watermark of its row. */
  readonly #committed: Map<Seq, Vertex | 'executed'>[]
  readonly #committedUpTo: number[]
  readonly #executedUpTo: number[]
  /** Executed above #executedUpTo. */
  readonly #executedAbove: Set<Seq>[]
  readonly #keys = new Map<number, (KeyRow | undefined)[]>()
  /** Vertices that touch everything, by row. */
  readonly #everything: KeyRow[]
  /** By row and the seq up to which it has to be committed. */
  readonly #waiters: Map<Seq, Vertex[]>[]
  /** To be visited by the next run. */
  #roots: Vertex[] = []
  #endedBy: CommittedInstance | null = null

  constructor(rows: number, execute: Execute) {
    this.#rows = rows
    this.#execute = execute
    this.#committed = Array.from({ length: rows }, () => new Map())
    this.#committedUpTo = noDeps(rows)
    this.#executedUpTo = noDeps(rows)
    this.#executedAbove = Array.from({ length: rows }, () => new Set())
    this.#everything = Array.from({ length: rows }, () => ({ vertices: [], modes: [], head: 0 }))
    this.#waiters = Array.from({ length: rows }, () => new Map())
  }

  /** The barrier that was executed, and with it the epoch ended: nothing is executed after it. */
  get endedBy(): CommittedInstance | null {
    return this.#endedBy
  }

  /** For each row, all instances up to here are executed (or Nop). */
  get executedUpTo(): Deps {
    return this.#executedUpTo
  }

  /** For each row, execution waits for everything up to here to be committed; 0 where it waits for nothing. */
  get needs(): Deps {
    return this.#waiters.map((bySeq, row) => {
      let needed = 0
      for (const seq of bySeq.keys()) if (seq > needed) needed = seq
      return needed > (this.#committedUpTo[row] ?? 0) ? needed : 0
    })
  }

  /** Committed instances that could not be executed yet. */
  get backlog(): number {
    let count = 0
    for (const row of this.#committed) for (const entry of row.values()) if (entry !== 'executed') count++
    return count
  }

  /** Takes a committed instance, each once. Nothing is executed before `run`. */
  commit(instance: CommittedInstance): void {
    if (this.#endedBy !== null) return
    const { row, seq } = instance.id
    const inRow = must(this.#committed[row], 'a row of the epoch')
    if (instance.command.kind === 'nop') {
      // [EX1] executing a Nop does nothing and conflicts with nothing
      inRow.set(seq, 'executed')
      this.#noteExecuted(row, seq)
    } else {
      const vertex: Vertex = {
        row,
        seq,
        instance,
        deps: instance.deps,
        executed: false,
        waiting: false,
        waitRow: 0,
        waitSeq: 0,
        index: -1,
        lowLink: 0,
        onStack: false,
      }
      inRow.set(seq, vertex)
      this.#enter(vertex, instance.command)
      this.#roots.push(vertex)
    }
    this.#advance(row)
  }

  /** Executes everything that can be executed now. */
  run(): void {
    while (this.#roots.length > 0 && this.#endedBy === null) {
      const roots = this.#roots
      this.#roots = []
      for (const root of roots) {
        if (this.#endedBy !== null) return
        if (!root.executed && !root.waiting) this.#search(root)
      }
    }
  }

  /** Moves the committed watermark of the row, and wakes what waited for that. */
  #advance(row: Row): void {
    const inRow = must(this.#committed[row], 'a row of the epoch')
    const waiters = must(this.#waiters[row], 'a row of the epoch')
    let upTo = this.#committedUpTo[row] ?? 0
    for (;;) {
      const next = inRow.get(upTo + 1)
      if (next === undefined) break
      upTo++
      if (next === 'executed') inRow.delete(upTo)
      const woken = waiters.get(upTo)
      if (woken !== undefined) {
        waiters.delete(upTo)
        for (const vertex of woken) {
          vertex.waiting = false
          this.#roots.push(vertex)
        }
      }
    }
    this.#committedUpTo[row] = upTo
  }

  #noteExecuted(row: Row, seq: Seq): void {
    const above = must(this.#executedAbove[row], 'a row of the epoch')
    let upTo = this.#executedUpTo[row] ?? 0
    if (seq !== upTo + 1) {
      above.add(seq)
      return
    }
    upTo = seq
    while (above.size > 0 && above.delete(upTo + 1)) upTo++
    this.#executedUpTo[row] = upTo
  }

  // --- what conflicts with what -------------------------------------------------------------------------------------

  #enter(vertex: Vertex, command: Command): void {
    if (command.kind !== 'application') {
      insert(must(this.#everything[vertex.row], 'a row of the epoch'), vertex, 'write')
      return
    }
    for (const { footprint } of command.proposals) {
      if (footprint === 'everything') {
        insert(must(this.#everything[vertex.row], 'a row of the epoch'), vertex, 'write')
        continue
      }
      for (const { key, mode } of footprint) {
        let byRow = this.#keys.get(key)
        if (byRow === undefined) {
          byRow = new Array<KeyRow | undefined>(this.#rows).fill(undefined)
          this.#keys.set(key, byRow)
        }
        let keyRow = byRow[vertex.row]
        if (keyRow === undefined) {
          keyRow = { vertices: [], modes: [], head: 0 }
          byRow[vertex.row] = keyRow
        }
        insert(keyRow, vertex, mode)
      }
    }
  }

  /** Forgets executed vertices; a key that nothing unexecuted touches is dropped. */
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
   * The edges: to unexecuted vertices that `vertex` depends on and conflicts with. An edge that a path through another
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
          if (entry !== 'executed' && entry !== vertex && entry.seq <= upTo) found.push(entry)
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

  /** Executes the components that `root` reaches, as far as all they reach is committed. */
  #search(root: Vertex): void {
    const stack: Vertex[] = []
    const frames: Frame[] = []
    let counter = 0

    /** False when the vertex cannot be executed yet; then nothing on the stack can. */
    const enter = (vertex: Vertex): boolean => {
      for (let row = 0; row < this.#rows; row++) {
        const needed = vertex.deps[row] ?? 0
        if (needed > (this.#committedUpTo[row] ?? 0)) {
          stack.push(vertex)
          this.#suspend(stack, row, needed)
          return false
        }
      }
      vertex.index = counter
      vertex.lowLink = counter
      counter++
      vertex.onStack = true
      stack.push(vertex)
      frames.push({ vertex, successors: this.#successors(vertex), position: 0 })
      return true
    }

    if (!enter(root)) return
    for (;;) {
      const frame = frames.at(-1)
      if (frame === undefined) return
      const { vertex } = frame
      const next = frame.successors[frame.position]
      if (next !== undefined) {
        frame.position++
        if (next.executed) continue
        if (next.waiting) {
          this.#suspend(stack, next.waitRow, next.waitSeq)
          return
        }
        if (next.index === -1) {
          if (!enter(next)) return
        } else if (next.onStack && next.index < vertex.lowLink) {
          vertex.lowLink = next.index
        }
        continue
      }
      frames.pop()
      const parent = frames.at(-1)?.vertex
      if (parent !== undefined && vertex.lowLink < parent.lowLink) parent.lowLink = vertex.lowLink
      if (vertex.lowLink === vertex.index) {
        const from = stack.lastIndexOf(vertex)
        this.#executeComponent(stack.splice(from))
        if (this.#endedBy !== null) return
      }
    }
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

  /** [EX3] Commands by (seq, row), barriers after all of them; the first barrier ends the epoch. */
  #executeComponent(component: Vertex[]): void {
    if (component.length > 1) {
      component.sort((a, b) => Number(isBarrier(a)) - Number(isBarrier(b)) || a.seq - b.seq || a.row - b.row)
    }
    for (const vertex of component) {
      vertex.executed = true
      vertex.onStack = false
      const inRow = must(this.#committed[vertex.row], 'a row of the epoch')
      if (vertex.seq <= (this.#committedUpTo[vertex.row] ?? 0)) inRow.delete(vertex.seq)
      else inRow.set(vertex.seq, 'executed')
      this.#noteExecuted(vertex.row, vertex.seq)
      this.#leave(vertex.instance.command, vertex.row)
      if (isBarrier(vertex)) this.#endedBy = vertex.instance
      this.#execute(vertex.instance)
      if (this.#endedBy !== null) return
    }
  }
}

function isBarrier(vertex: Vertex): boolean {
  return vertex.instance.command.kind === 'barrier'
}

/** Keeps the order of seqs; commits usually come in order, so the place is usually the end. */
function insert(keyRow: KeyRow, vertex: Vertex, mode: AccessMode): void {
  const { vertices, modes } = keyRow
  let at = vertices.length
  while (at > keyRow.head && must(vertices[at - 1], 'within the list').seq > vertex.seq) at--
  vertices.splice(at, 0, vertex)
  modes.splice(at, 0, mode)
}

function trim(keyRow: KeyRow): void {
  const { vertices, modes } = keyRow
  while (keyRow.head < vertices.length && vertices[keyRow.head]?.executed === true) keyRow.head++
  if (keyRow.head * 2 >= vertices.length) {
    vertices.splice(0, keyRow.head)
    modes.splice(0, keyRow.head)
    keyRow.head = 0
  }
}

/**
 * Unexecuted entries with seq ≤ upTo that conflict with an access of `mode`. In the vertex's own row those above and those
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
    if (other.executed) continue
    if (through !== undefined && (through.deps[other.row] ?? 0) >= other.seq) return
    const otherMode = modes[at] ?? 'write'
    if (commutes(otherMode, mode)) continue
    found.push(other)
    if (otherMode === 'write') through = other
  }
}
