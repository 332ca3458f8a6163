// The wire that y-webrtc's clients speak: topics to subscribe to, and messages that go to all subscribers of a topic, the
// sender too. On a path of its own, within the same limits. Topics live in one process; nothing is kept.
import { type Authorize, askAuthorize } from './authorize.ts'
import { accept, type Decoded, type Fields, hasOtherFields, parseRecord, refuse } from './bounded-json.ts'
import type { GuardedSocket, SocketContext, SocketOwner } from './guarded-socket.ts'
import type { FatalErrorCode } from './wire.ts'

/** Rooms of y-webrtc have any name that their application likes. */
export const topicLengthMax = 256

export type TopicMessage =
  | { readonly type: 'subscribe' | 'unsubscribe'; readonly topics: readonly string[] }
  /** `data` is whatever y-webrtc puts there; sealed when its room has a password. */
  | { readonly type: 'publish'; readonly topic: string; readonly data: unknown }
  | { readonly type: 'ping' }

/** Total, and strict: y-webrtc's own server would end on what is refused here. */
export function decodeTopicMessage(text: string): Decoded<TopicMessage> {
  const parsed = parseRecord(text)
  if (!parsed.ok) return parsed
  const fields: Fields = parsed.message
  const type = fields['type']
  switch (type) {
    case 'subscribe':
    case 'unsubscribe': {
      if (hasOtherFields(fields, ['type', 'topics'])) return refuse(`unknown field in ${type}`)
      const { topics } = fields
      if (!Array.isArray(topics) || !topics.every(isTopic)) return refuse(`${type}.topics is no list of topics`)
      return accept({ type, topics })
    }
    case 'publish': {
      if (hasOtherFields(fields, ['type', 'topic', 'data'])) return refuse('unknown field in publish')
      const { topic, data } = fields
      if (!isTopic(topic)) return refuse('publish.topic is no topic')
      if (data === undefined) return refuse('publish.data is missing')
      return accept({ type, topic, data })
    }
    case 'ping':
      return hasOtherFields(fields, ['type']) ? refuse('unknown field in ping') : accept({ type })
    default:
      return refuse('unknown type')
  }
}

/** Who listens to which topic. */
export class Topics {
  readonly #topics = new Map<string, Set<GuardedSocket>>()
  readonly #topicsMax: number
  readonly #subscribersMax: number

  constructor(topicsMax: number, subscribersMax: number) {
    this.#topicsMax = topicsMax
    this.#subscribersMax = subscribersMax
  }

  get count(): number {
    return this.#topics.size
  }

  subscribe(topic: string, socket: GuardedSocket): Extract<FatalErrorCode, 'room-full' | 'server-full'> | undefined {
    const subscribers = this.#topics.get(topic)
    if (subscribers?.has(socket)) return undefined
    if (subscribers !== undefined && subscribers.size >= this.#subscribersMax) return 'room-full'
    if (subscribers === undefined && this.#topics.size >= this.#topicsMax) return 'server-full'
    if (subscribers === undefined) this.#topics.set(topic, new Set([socket]))
    else subscribers.add(socket)
    return undefined
  }

  unsubscribe(topic: string, socket: GuardedSocket): void {
    const subscribers = this.#topics.get(topic)
    subscribers?.delete(socket)
    if (subscribers?.size === 0) this.#topics.delete(topic)
  }

  /** A copy: telling a subscriber can end it. */
  subscribersOf(topic: string): readonly GuardedSocket[] {
    return [...(this.#topics.get(topic) ?? [])]
  }
}

export interface TopicContext extends SocketContext {
  readonly topics: Topics
  readonly authorize: Authorize | undefined
}

/** One client of y-webrtc. */
export class TopicConnection implements SocketOwner {
  readonly #context: TopicContext
  readonly #socket: GuardedSocket
  readonly #token: string | undefined
  readonly #subscribed = new Set<string>()
  /** While the hook is asked, later messages wait here for their turn. */
  #turn: Promise<void> = Promise.resolve()
  #waiting = 0
  #isEnded = false

  constructor(context: TopicContext, socket: GuardedSocket, token: string | undefined) {
    this.#context = context
    this.#socket = socket
    this.#token = token
  }

  onText(text: string): void {
    const decoded = decodeTopicMessage(text)
    if (!decoded.ok) return this.#socket.end('bad-message', decoded.problem)
    const { message } = decoded
    const { authorize, options } = this.#context
    if (authorize === undefined) return this.#obey(message)
    // A slow hook must not make the server hold more than the rate limit lets in at once.
    if (this.#waiting >= options.messagesBurst) return this.#socket.end('too-many-messages')
    this.#waiting += 1
    this.#turn = this.#turn.then(async () => {
      await this.#askThenObey(authorize, message)
      this.#waiting -= 1
    })
  }

  onEnded(): void {
    this.#isEnded = true
    for (const topic of this.#subscribed) this.#context.topics.unsubscribe(topic, this.#socket)
    this.#subscribed.clear()
  }

  async #askThenObey(authorize: Authorize, message: TopicMessage): Promise<void> {
    if (this.#isEnded) return
    const { options, log } = this.#context
    const { address, origin } = this.#socket
    const wanted = new Set(message.type === 'subscribe' ? message.topics : [])
    for (const topic of this.#subscribed) wanted.delete(topic)
    // Before the hook is asked: it may have to ask a database for each.
    if (this.#subscribed.size + wanted.size > options.socketTopicsMax) return this.#socket.end('too-many-topics')
    for (const topic of wanted) {
      if (this.#isEnded) return
      const request = { room: topic, id: undefined, token: this.#token, origin, address }
      const answer = await askAuthorize(authorize, request, options.authorizeTimeoutMs, log)
      if (!answer.allowed) return this.#socket.end(answer.error)
    }
    this.#obey(message)
  }

  #obey(message: TopicMessage): void {
    if (this.#isEnded) return
    switch (message.type) {
      case 'subscribe':
        for (const topic of message.topics) {
          const refusal = this.#subscribe(topic)
          if (refusal !== undefined) return this.#socket.end(refusal)
        }
        return
      case 'unsubscribe':
        for (const topic of message.topics) {
          this.#subscribed.delete(topic)
          this.#context.topics.unsubscribe(topic, this.#socket)
        }
        return
      case 'publish':
        return this.#publish(message.topic, message.data)
      case 'ping':
        return this.#socket.tell('{"type":"pong"}')
    }
  }

  #subscribe(topic: string): FatalErrorCode | undefined {
    const { topics, options } = this.#context
    if (!this.#subscribed.has(topic) && this.#subscribed.size >= options.socketTopicsMax) return 'too-many-topics'
    const refusal = topics.subscribe(topic, this.#socket)
    if (refusal === undefined) this.#subscribed.add(topic)
    return refusal
  }

  /** Only subscribers are heard, so that who may not subscribe can not publish either. */
  #publish(topic: string, data: unknown): void {
    const { topics, metrics } = this.#context
    if (!this.#subscribed.has(topic)) return metrics.add('signals_undelivered_total')
    const subscribers = topics.subscribersOf(topic)
    const text = JSON.stringify({ type: 'publish', topic, data, clients: subscribers.length })
    for (const subscriber of subscribers) subscriber.tell(text)
    metrics.add('topic_messages_relayed_total', subscribers.length)
  }
}

function isTopic(value: unknown): value is string {
  return typeof value === 'string' && value.length > 0 && value.length <= topicLengthMax
}
