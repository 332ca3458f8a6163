// What stands in the way right now, above the store: a missing quorum, a replica that stopped, a signaling server that does
// not answer. Each says what still works and what can be done.
import type { Status } from '@wepaxos/core'
import type { Room } from '@wepaxos/webrtc-transport'
import { css, html, LitElement, nothing, type PropertyValues, type TemplateResult } from 'lit'
import { adviseWithoutQuorum, describeError } from '../plain-words.ts'
import type { RoomPresence } from '../room-presence.ts'
import { controls } from './shared-styles.ts'

/** A page that has just opened, or a server that restarts, is no cause for alarm. */
const signalingGraceMs = 1_500

export class NoticeBars extends LitElement {
  static override properties = {
    status: { attribute: false },
    signaling: { attribute: false },
    peers: { attribute: false },
    presence: { attribute: false },
    signalingOverdue: { state: true },
  }
  static override styles = [
    controls,
    css`
      :host {
        display: block;
      }
      .notice {
        display: flex;
        flex-wrap: wrap;
        align-items: center;
        gap: var(--space-2) var(--space-4);
        margin-bottom: var(--space-3);
        padding: var(--space-3) var(--space-4);
        border-radius: var(--radius-l);
        background: var(--warn-wash);
        font-size: var(--text-s);
      }
      .notice.bad {
        background: var(--bad-wash);
      }
      .notice p {
        flex: 1 1 20rem;
        margin: 0;
        overflow-wrap: anywhere;
      }
      strong {
        color: var(--warn);
        font-weight: 600;
      }
      .bad strong {
        color: var(--bad);
      }
    `,
  ]

  declare status: Status
  declare signaling: Room['signaling']
  /** How many other pages are connected. */
  declare peers: number
  declare presence: RoomPresence
  declare signalingOverdue: boolean
  #timer: ReturnType<typeof setTimeout> | undefined

  constructor() {
    super()
    this.signalingOverdue = false
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback()
    clearTimeout(this.#timer)
    this.#timer = undefined
  }

  protected override willUpdate(changed: PropertyValues<this>): void {
    if (!changed.has('signaling')) return
    clearTimeout(this.#timer)
    this.#timer = undefined
    this.signalingOverdue = false
    if (this.signaling === 'open') return
    this.#timer = setTimeout(() => {
      this.signalingOverdue = true
    }, signalingGraceMs)
  }

  protected override render(): TemplateResult {
    return html`<div role="status">${this.#renderStatus()}</div>
      <div role="status">${this.#renderSignaling()}</div>`
  }

  #renderStatus(): TemplateResult | typeof nothing {
    const { status } = this
    switch (status.kind) {
      case 'no-quorum':
        return html`<div class="notice" data-testid="banner-no-quorum">
          <p>
            <strong>Waiting for a quorum.</strong> What you change now is kept and waits; reading goes on.
            ${adviseWithoutQuorum(status, (id) => this.presence.nameOf(id))}
          </p>
        </div>`
      case 'removed':
        return html`<div class="notice bad" data-testid="banner-removed">
          <p>
            <strong>This replica is no longer a member.</strong> It left, or the others removed it. Below is what it last
            knew. Reload to join again as a new member.
          </p>
          <button type="button" @click=${reload}>Reload</button>
        </div>`
      case 'closed':
        return html`<div class="notice bad" data-testid="banner-closed">
          <p><strong>This replica is closed.</strong> Its state is kept; reload to take it up again.</p>
          <button type="button" @click=${reload}>Reload</button>
        </div>`
      case 'failed':
        return html`<div class="notice bad" data-testid="banner-failed">
          <p>
            <strong>This replica stopped rather than guess.</strong> ${describeError(status.error)}
            <code>${status.error.code}</code>. What was agreed on is kept by the others, and here on the disk.
          </p>
          <button type="button" @click=${reload}>Reload</button>
        </div>`
      default:
        return nothing
    }
  }

  #renderSignaling(): TemplateResult | typeof nothing {
    if (!this.signalingOverdue || this.status.kind === 'closed') return nothing
    return html`<div class="notice" data-testid="banner-signaling">
      <p>
        <strong>The signaling server does not answer.</strong> ${
          this.peers > 0
            ? 'Pages that are connected go on as they are; nobody new can come in until it is back.'
            : 'Nobody can come in until it is back. This page keeps trying.'
        }
      </p>
    </div>`
  }
}

function reload(): void {
  window.location.reload()
}

customElements.define('notice-bars', NoticeBars)

declare global {
  interface HTMLElementTagNameMap {
    'notice-bars': NoticeBars
  }
}
