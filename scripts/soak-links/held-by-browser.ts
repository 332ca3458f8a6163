// Connections that the browser itself forgets to let go. Chromium 156 keeps one now and then for good that was closed in the
// moment in which it had a change of its state to tell: the event that waits for its turn holds the connection. No page can do
// anything about it, so it is told apart from what a page holds.
import type { CDPSession } from 'playwright'

/** What is read of a heap snapshot, in V8's format: rows of numbers, whose columns `meta` names. */
interface Snapshot {
  readonly snapshot: {
    readonly meta: {
      readonly node_fields: readonly string[]
      readonly edge_fields: readonly string[]
      readonly edge_types: readonly [readonly string[], ...unknown[]]
    }
  }
  readonly nodes: readonly number[]
  readonly edges: readonly number[]
  readonly strings: readonly string[]
}

/** Objects of the class that nothing holds but the browser's own roots, and the object itself. */
export async function heldByBrowser(session: CDPSession, className: string): Promise<number> {
  let text = ''
  const gather = ({ chunk }: { chunk: string }) => {
    text += chunk
  }
  session.on('HeapProfiler.addHeapSnapshotChunk', gather)
  await session.send('HeapProfiler.takeHeapSnapshot', { reportProgress: false })
  session.off('HeapProfiler.addHeapSnapshotChunk', gather)
  return countHeldByBrowser(JSON.parse(text), className)
}

function countHeldByBrowser({ snapshot, nodes, edges, strings }: Snapshot, className: string): number {
  const { node_fields, edge_fields, edge_types } = snapshot.meta
  const nodeSize = node_fields.length
  const edgeSize = edge_fields.length
  const [nameAt, edgeCountAt] = [node_fields.indexOf('name'), node_fields.indexOf('edge_count')]
  const [typeAt, toAt] = [edge_fields.indexOf('type'), edge_fields.indexOf('to_node')]
  const nameOf = (node: number) => strings[nodes[node + nameAt] ?? -1] ?? ''
  /** By object: whether a root of the browser holds it, and whether anything else does. */
  const held = new Map<number, { byBrowser: boolean; byPage: boolean }>()
  let edge = 0
  for (let node = 0; node < nodes.length; node += nodeSize) {
    for (let left = nodes[node + edgeCountAt] ?? 0; left > 0; left -= 1, edge += edgeSize) {
      const to = edges[edge + toAt] ?? -1
      const isWeak = edge_types[0][edges[edge + typeAt] ?? -1] === 'weak'
      if (isWeak || to === node || nameOf(to) !== className) continue
      const holders = held.get(to) ?? { byBrowser: false, byPage: false }
      if (nameOf(node) === 'C++ Persistent roots') holders.byBrowser = true
      else holders.byPage = true
      held.set(to, holders)
    }
  }
  return [...held.values()].filter(({ byBrowser, byPage }) => byBrowser && !byPage).length
}
