// Lit's way to a replica: controllers that render their host again when what it shows has changed. They subscribe while the
// host is connected, and follow it when it is given another replica.
import type { Commands, Queries, Replica, ReplicaStats, SubscribeOptions, View } from '@wepaxos/core'
import type { ReactiveController, ReactiveControllerHost } from 'lit'

/** The base of all: something to subscribe to that the host may get late, or exchange. */
abstract class SourceController<S> implements ReactiveController {
  readonly #source: () => S | undefined
  #current: S | undefined
  #unsubscribe: (() => void) | undefined

  constructor(host: ReactiveControllerHost, source: () => S | undefined) {
    this.#source = source
    host.addController(this)
  }

  protected abstract subscribe(source: S): () => void

  hostUpdate(): void {
    this.#follow(this.#source())
  }

  hostConnected(): void {
    this.#follow(this.#source())
  }

  hostDisconnected(): void {
    this.#follow(undefined)
  }

  #follow(source: S | undefined): void {
    if (source === this.#current) return
    this.#unsubscribe?.()
    this.#current = source
    this.#unsubscribe = source === undefined ? undefined : this.subscribe(source)
  }
}

/** A selected value of the replica's state, kept up to date. */
export class ReplicaController<C extends Commands, Q extends Queries, T> extends SourceController<Replica<C, Q>> {
  readonly #host: ReactiveControllerHost
  readonly #selector: (view: View<Q>) => T
  readonly #options: SubscribeOptions<T>
  #value: T | undefined

  constructor(
    host: ReactiveControllerHost,
    replica: () => Replica<C, Q> | undefined,
    selector: (view: View<Q>) => T,
    options: SubscribeOptions<T>,
  ) {
    super(host, replica)
    this.#host = host
    this.#selector = selector
    this.#options = options
  }

  /** Undefined until there is a replica. */
  get value(): T | undefined {
    return this.#value
  }

  protected override subscribe(replica: Replica<C, Q>): () => void {
    return replica.subscribe(
      this.#selector,
      (value) => {
        this.#value = value
        this.#host.requestUpdate()
      },
      this.#options,
    )
  }
}

/** `replica` is asked before each render, so it may be a property of the host that is set later. */
export function replicaController<C extends Commands, Q extends Queries, T>(
  host: ReactiveControllerHost,
  replica: () => Replica<C, Q> | undefined,
  selector: (view: View<Q>) => T,
  options: SubscribeOptions<T> = {},
): ReplicaController<C, Q, T> {
  return new ReplicaController(host, replica, selector, options)
}

const statsEveryMs = 250
/** Commands of others that changed nothing (refusals) count as executed, but wake no subscriber. */
const statsAnywayMs = 2_000

/** The replica's figures: asked for after a change, but at most four times a second, since the hash costs. */
export class StatsController<C extends Commands, Q extends Queries> extends SourceController<Replica<C, Q>> {
  readonly #host: ReactiveControllerHost
  #value: ReplicaStats | undefined

  constructor(host: ReactiveControllerHost, replica: () => Replica<C, Q> | undefined) {
    super(host, replica)
    this.#host = host
  }

  /** Undefined until there is a replica. */
  get value(): ReplicaStats | undefined {
    return this.#value
  }

  protected override subscribe(replica: Replica<C, Q>): () => void {
    const ending = new AbortController()
    const { signal } = ending
    let timer: ReturnType<typeof setTimeout> | undefined
    const read = (): void => {
      timer = undefined
      try {
        // copied at once: the hash belongs to the same moment as the other figures
        this.#value = { ...replica.stats() }
      } catch {
        // Erased or never founded: the last figures stay.
        return
      }
      this.#host.requestUpdate()
    }
    const soon = (): void => {
      timer ??= setTimeout(read, statsEveryMs)
    }
    const anyway = setInterval(() => {
      if (!document.hidden) soon()
    }, statsAnywayMs)
    read()
    // A new object each time: every executed command counts, whatever it changed.
    replica.subscribe(() => ({}), soon, { view: 'committed', signal })
    replica.addEventListener('status', soon, { signal })
    replica.addEventListener('members', soon, { signal })
    replica.addEventListener('checkpoint', soon, { signal })
    return () => {
      ending.abort()
      clearInterval(anyway)
      clearTimeout(timer)
    }
  }
}

/** Renders the host again when any of these events of a source comes. */
export class EventsController extends SourceController<EventOrigin> {
  readonly #host: ReactiveControllerHost
  readonly #types: readonly string[]

  constructor(host: ReactiveControllerHost, source: () => EventOrigin | undefined, types: readonly string[]) {
    super(host, source)
    this.#host = host
    this.#types = types
  }

  protected override subscribe(source: EventOrigin): () => void {
    const listener = (): void => this.#host.requestUpdate()
    for (const type of this.#types) source.addEventListener(type, listener)
    return () => {
      for (const type of this.#types) source.removeEventListener(type, listener)
    }
  }
}

/** What rooms, replicas and the demo's own objects have in common. */
interface EventOrigin {
  addEventListener(type: string, listener: () => void): void
  removeEventListener(type: string, listener: () => void): void
}
