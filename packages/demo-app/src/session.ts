// The life of this page in its room: found or join, hold the room and the replica, leave. Knows no markup.
import { type KvCommands, type KvQueries, kv, openReplica } from '@wepaxos/core'
import { indexedDbStorage } from '@wepaxos/core/indexeddb'
import { joinRoom, type Room } from '@wepaxos/webrtc-transport'
import { pageFacts, partition, signalingUrl } from './config.ts'
import { forgetProfile } from './profile.ts'
import type { StoreReplica } from './store.ts'

export type SessionState =
  /** The room is being made, or entered. */
  | { readonly kind: 'entering' }
  /** In the room; the replica is being opened from the disk. */
  | { readonly kind: 'opening'; readonly room: Room }
  | { readonly kind: 'open'; readonly room: Room; readonly replica: StoreReplica }
  | { readonly kind: 'left'; readonly invite: string }
  | { readonly kind: 'failed'; readonly error: unknown }

declare global {
  interface Window {
    /** For the console and for tests: this page's replica and room, once they are open. */
    wepaxos?: { readonly replica: StoreReplica; readonly room: Room }
  }
}

const leaveTimeoutMs = 10_000

export class Session extends EventTarget {
  #state: SessionState = { kind: 'entering' }

  get state(): SessionState {
    return this.#state
  }

  /** Never rejects: what goes wrong is a state. */
  async start(): Promise<void> {
    try {
      const { hash } = window.location
      const signaling = signalingUrl(pageFacts(document))
      const room = await joinRoom(hash === '' ? { signaling } : { signaling, invite: hash })
      this.#become({ kind: 'opening', room })
      const replica = await openReplica<KvCommands, KvQueries>({
        partition,
        transport: room,
        storage: indexedDbStorage(),
        machine: kv(),
        role: room.role === 'reader' ? 'observer' : 'voter',
      })
      // Only now: a reload before the founding was on disk would try to join a room that never came to be.
      if (room.invite !== hash) window.history.replaceState(null, '', room.invite)
      window.wepaxos = { replica, room }
      this.#become({ kind: 'open', room, replica })
      // Without it a browser that runs short of space may delete the log. Best effort: some ask, some decide by themselves.
      void navigator.storage?.persist?.().catch(() => false)
    } catch (error) {
      this.#become({ kind: 'failed', error })
    }
  }

  /** For good: out of the member list, and the stored state erased. Rejects when the others could not agree to it. */
  async leave(): Promise<void> {
    if (this.#state.kind !== 'open') return
    const { replica, room } = this.#state
    const { invite } = room
    await replica.leave({ timeoutMs: leaveTimeoutMs })
    await room[Symbol.asyncDispose]()
    forgetProfile(window.localStorage, replica.id)
    delete window.wepaxos
    this.#become({ kind: 'left', invite })
  }

  #become(state: SessionState): void {
    this.#state = state
    this.dispatchEvent(new Event('change'))
  }
}
