// What pages say to each other about a slot, over a BroadcastChannel: messages are handled in throttled pages too, and not in
// frozen ones. Nothing of it is needed for safety, which rests on the locks and the owner numbers.

/**
 * On the channel named after the slot's database: `ping`: is the owner awake? `pong`: it is. `want`: the page that owned the
 * slot before is back. `closing`: it gets it soon. `whose?`: does the owner only keep it for a page that is gone? `spare`: it
 * does, and would give it to another; `own`: it does not.
 */
const messages = ['ping', 'pong', 'want', 'closing', 'whose?', 'spare', 'own'] as const
export type SlotMessage = (typeof messages)[number]

/** One listener and speaker on a slot's channel. It does not hear itself, but others of the same page. */
export class SlotChannel {
  readonly #channel: BroadcastChannel
  #open = true

  constructor(databaseName: string, listener: (said: SlotMessage) => void) {
    this.#channel = new BroadcastChannel(databaseName)
    this.#channel.onmessage = ({ data }: MessageEvent<unknown>) => {
      if (this.#open && isSlotMessage(data)) listener(data)
    }
  }

  say(message: SlotMessage): void {
    if (this.#open) this.#channel.postMessage(message)
  }

  close(): void {
    this.#open = false
    this.#channel.close()
  }
}

function isSlotMessage(data: unknown): data is SlotMessage {
  return messages.some((message) => message === data)
}

/** On the channel of a scope: a page took that slot. */
interface Taken {
  readonly taken: number
}

export function sayTaken(channelName: string, slot: number): void {
  const channel = new BroadcastChannel(channelName)
  const message: Taken = { taken: slot }
  channel.postMessage(message)
  channel.close()
}

export function isTaken(data: unknown): data is Taken {
  return typeof data === 'object' && data !== null && 'taken' in data && Number.isSafeInteger(data.taken)
}
