// What stands on the page while there is no state to show: entering, looking for members, left, failed.
import type { Status } from '@wepaxos/core'
import type { Room } from '@wepaxos/webrtc-transport'
import { css, html, LitElement, type PropertyValues, type TemplateResult } from 'lit'
import { count, describeError, describeStartFailure } from '../plain-words.ts'
import { EventsController } from '../replica-controller.ts'
import type { SessionState } from '../session.ts'
import { icons } from './icons.ts'
import { controls } from './shared-styles.ts'

/** After so long without a member the page says what may be wrong; it goes on looking. */
const patienceMs = 6_000

interface Words {
  readonly screen: 'entering' | 'joining' | 'nobody' | 'left' | 'failed'
  readonly title: string
  readonly text: string
}

export class StartScreen extends LitElement {
  static override properties = {
    state: { attribute: false },
    status: { attribute: false },
    waitedLong: { state: true },
  }
  static override styles = [
    controls,
    css`
      :host {
        display: grid;
        place-items: center;
        min-height: 70vh;
        padding: var(--space-5);
      }
      main {
        max-width: 30rem;
        text-align: center;
      }
      .mark {
        color: var(--accent);
        font-size: 2.5rem;
        line-height: 1;
      }
      .busy svg {
        animation: breathe 1.8s ease-in-out infinite;
      }
      @keyframes breathe {
        50% {
          opacity: 0.35;
        }
      }
      h1 {
        margin: var(--space-4) 0 var(--space-2);
        font-size: var(--text-xl);
        font-weight: 600;
        line-height: 1.25;
        letter-spacing: -0.01em;
        text-wrap: balance;
      }
      p {
        margin: 0 0 var(--space-3);
        color: var(--muted);
        overflow-wrap: anywhere;
        text-wrap: pretty;
      }
      .fact {
        font-size: var(--text-s);
      }
      .fact::first-letter {
        text-transform: uppercase;
      }
      .buttons {
        display: flex;
        flex-wrap: wrap;
        justify-content: center;
        gap: var(--space-2);
        margin-top: var(--space-5);
      }
      @media (prefers-reduced-motion: reduce) {
        .busy svg {
          animation: none;
        }
      }
    `,
  ]

  declare state: SessionState
  /** The replica's, once there is one. */
  declare status: Status | undefined
  declare waitedLong: boolean
  #timer: ReturnType<typeof setTimeout> | undefined

  constructor() {
    super()
    this.waitedLong = false
    new EventsController(this, () => this.#room, ['peers', 'signaling'])
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback()
    clearTimeout(this.#timer)
    this.#timer = undefined
  }

  protected override willUpdate(changed: PropertyValues<this>): void {
    if (!changed.has('state') && !changed.has('status')) return
    if (this.#alone) {
      this.#timer ??= setTimeout(() => {
        this.waitedLong = true
      }, patienceMs)
    } else {
      clearTimeout(this.#timer)
      this.#timer = undefined
      this.waitedLong = false
    }
  }

  protected override render(): TemplateResult {
    const { screen, title, text } = this.#words()
    const busy = screen === 'entering' || screen === 'joining'
    return html`<main data-testid="screen" data-screen=${screen}>
      <div class="mark ${busy ? 'busy' : ''}">${icons.mark}</div>
      <div role=${screen === 'failed' ? 'alert' : 'status'}>
        <h1>${title}</h1>
        <p data-testid="screen-text">${text}</p>
      </div>
      ${this.#renderFacts()} ${this.#renderButtons(screen)}
    </main>`
  }

  #words(): Words {
    const { state, status } = this
    if (state.kind === 'failed') {
      const { title, advice } = describeStartFailure(state.error)
      return { screen: 'failed', title, text: advice }
    }
    if (state.kind === 'left') {
      return {
        screen: 'left',
        title: 'You left the room',
        text: 'The others go on without this replica. Its copy in this browser is erased.',
      }
    }
    if (status?.kind === 'failed') {
      const { title, advice } = describeStartFailure(status.error)
      return { screen: 'failed', title, text: advice }
    }
    if (status?.kind === 'joining' && status.peers > 0) {
      return { screen: 'joining', title: 'Joining the room', text: 'A member answered. Its state is on the way.' }
    }
    if (status?.kind === 'joining' && this.waitedLong) {
      return {
        screen: 'nobody',
        title: 'Nobody answers',
        text: 'The invite may be mistyped, or all members are away. This page goes on looking, and joins as soon as one is there.',
      }
    }
    if (status?.kind === 'joining') {
      return { screen: 'joining', title: 'Looking for the room', text: 'Asking who else has this invite.' }
    }
    return { screen: 'entering', title: 'One moment', text: 'Opening the room.' }
  }

  #renderFacts(): TemplateResult {
    if (this.state.kind === 'failed') return html`<p class="fact">${describeError(this.state.error)}</p>`
    if (this.status?.kind === 'failed') return html`<p class="fact">${describeError(this.status.error)}</p>`
    const room = this.#room
    if (room === undefined || this.status?.kind !== 'joining') return html``
    if (room.signaling !== 'open') {
      return html`<p class="fact" data-testid="screen-signaling">
        The signaling server ${room.signaling === 'connecting' ? 'has not answered yet' : 'does not answer'}.
        ${room.signalingProblem ?? ''}
      </p>`
    }
    const connected = room.peers.filter((peer) => peer.state === 'open').length
    return html`<p class="fact" data-testid="screen-peers">
      The signaling server answers. ${connected === 0 ? 'No other page is connected yet.' : `${count(connected, 'page')} connected.`}
    </p>`
  }

  #renderButtons(screen: Words['screen']): TemplateResult {
    if (screen === 'entering' || screen === 'joining') return html``
    return html`<div class="buttons">
      ${
        this.state.kind === 'left'
          ? html`<button type="button" data-testid="join-again" @click=${() => window.location.reload()}>Join again</button>`
          : html`<button type="button" data-testid="try-again" @click=${() => window.location.reload()}>Try again</button>`
      }
      <button type="button" class="primary" data-testid="new-room" @click=${openNewRoom}>Make a new room</button>
    </div>`
  }

  get #room(): Room | undefined {
    return this.state.kind === 'opening' || this.state.kind === 'open' ? this.state.room : undefined
  }

  get #alone(): boolean {
    return this.status?.kind === 'joining' && this.status.peers === 0
  }
}

/** The same page without its fragment. */
function openNewRoom(): void {
  const { pathname, search } = window.location
  window.history.pushState(null, '', `${pathname}${search}`)
  window.location.reload()
}

customElements.define('start-screen', StartScreen)

declare global {
  interface HTMLElementTagNameMap {
    'start-screen': StartScreen
  }
}
