// What the server counts, and how Prometheus reads it. Every label has a fixed set of values: nothing that a peer sends
// becomes a label. Gauges are asked for when they are read, so that they can not drift from what they stand for.
import type { FatalErrorCode } from './wire.ts'

/** Why the server refused or ended a socket. Only the last get a wire-v1 error: the others break below it. */
export type RefusalReason =
  | 'bad-frame'
  | 'no-subprotocol'
  | 'too-big'
  | 'too-many-fragments'
  | 'silent'
  | 'slow-reader'
  | 'too-many-connections'
  | FatalErrorCode

export interface Gauges {
  readonly sockets: number
  readonly rooms: number
  readonly members: number
  readonly keptIds: number
  /** y-webrtc topics with at least one subscriber. */
  readonly topics: number
  readonly draining: boolean
  /** False while newcomers had better ask another process: before it listens, while it drains, without its Redis. */
  readonly ready: boolean
}

const counterHelp = {
  sockets_accepted_total: 'Sockets that were taken in.',
  joins_total: 'Peers that joined a room.',
  resumes_total: 'Joins that took over an id from an older socket.',
  messages_received_total: 'Messages and control frames that were read.',
  signals_relayed_total: 'Signals that were passed on.',
  signal_bytes_relayed_total: 'Characters of the signals that were passed on.',
  signals_undelivered_total: 'Signals to a peer that was not in the room.',
  topic_messages_relayed_total: 'Messages to y-webrtc topics that were passed on, counted by receiver.',
  redis_signals_sent_total: 'Signals that went to another process.',
  redis_signals_lost_total: 'Signals to another process that Redis did not take, or that came too late.',
} as const
type CounterName = keyof typeof counterHelp

export class Metrics {
  readonly #counters = new Map<CounterName, number>()
  readonly #refusals = new Map<RefusalReason, number>()

  add(name: CounterName, amount = 1): void {
    this.#counters.set(name, this.count(name) + amount)
  }

  refused(reason: RefusalReason): void {
    this.#refusals.set(reason, this.refusals(reason) + 1)
  }

  count(name: CounterName): number {
    return this.#counters.get(name) ?? 0
  }

  refusals(reason: RefusalReason): number {
    return this.#refusals.get(reason) ?? 0
  }

  /** The Prometheus text format, version 0.0.4. */
  text(gauges: Gauges): string {
    const lines: string[] = []
    const write = (name: string, type: 'counter' | 'gauge', help: string, samples: readonly string[]) => {
      const full = `wepaxos_signaling_${name}`
      lines.push(`# HELP ${full} ${help}`, `# TYPE ${full} ${type}`, ...samples.map((sample) => `${full}${sample}`))
    }
    write('sockets', 'gauge', 'Open sockets.', [` ${gauges.sockets}`])
    write('rooms', 'gauge', 'Rooms with at least one peer.', [` ${gauges.rooms}`])
    write('members', 'gauge', 'Peers in rooms.', [` ${gauges.members}`])
    write('kept_ids', 'gauge', 'Ids that are kept for peers that lost their socket.', [` ${gauges.keptIds}`])
    write('topics', 'gauge', 'y-webrtc topics with at least one subscriber.', [` ${gauges.topics}`])
    write('ready', 'gauge', '1 while the server takes peers.', [` ${gauges.ready ? 1 : 0}`])
    write('draining', 'gauge', '1 while the server is about to stop.', [` ${gauges.draining ? 1 : 0}`])
    for (const name of Object.keys(counterHelp) as CounterName[]) {
      write(name, 'counter', counterHelp[name], [` ${this.count(name)}`])
    }
    const refusals = [...this.#refusals].map(([reason, count]) => `{reason="${reason}"} ${count}`)
    write('refusals_total', 'counter', 'Sockets that the server refused or ended.', refusals)
    write('resident_memory_bytes', 'gauge', 'Memory of the process.', [` ${process.memoryUsage.rss()}`])
    return `${lines.join('\n')}\n`
  }
}
