// The page of an open room: puts the parts together, and owns what belongs to this visit: presence, activity, shortcuts.
import type { Room } from '@wepaxos/webrtc-transport'
import { css, html, LitElement, type PropertyValues, type TemplateResult } from 'lit'
import { Activity } from '../activity.ts'
import { adviseLeaving, describeStatus } from '../plain-words.ts'
import { EventsController } from '../replica-controller.ts'
import { RoomPresence } from '../room-presence.ts'
import type { StoreReplica } from '../store.ts'
import { StoreCommands } from '../store-commands.ts'
import './activity-log.ts'
import './help-dialog.ts'
import { icons } from './icons.ts'
import './invite-panel.ts'
import './leave-dialog.ts'
import './new-key-form.ts'
import './notice-bars.ts'
import './peers-bar.ts'
import { controls } from './shared-styles.ts'
import './status-panel.ts'
import './store-table.ts'
import './theme-toggle.ts'

interface Visit {
  readonly presence: RoomPresence
  readonly activity: Activity
  readonly commands: StoreCommands
}

export class RoomView extends LitElement {
  static override properties = {
    room: { attribute: false },
    replica: { attribute: false },
    leave: { attribute: false },
    visit: { state: true },
  }
  static override styles = [
    controls,
    css`
      :host {
        display: block;
        max-width: 84rem;
        margin: 0 auto;
        padding: 0 var(--space-5) var(--space-6);
      }
      header {
        display: flex;
        flex-wrap: wrap;
        align-items: center;
        gap: var(--space-2) var(--space-4);
        padding: var(--space-4) 0;
      }
      .brand {
        display: inline-flex;
        align-items: center;
        gap: 0.45em;
        margin: 0;
        font-size: var(--text-l);
        font-weight: 650;
        letter-spacing: -0.015em;
      }
      .brand svg {
        color: var(--accent);
        font-size: 1.15em;
      }
      .status {
        display: inline-flex;
        align-items: center;
        gap: 0.5em;
        font-size: var(--text-s);
        font-weight: 500;
      }
      .status::before {
        width: 0.6em;
        height: 0.6em;
        border-radius: 50%;
        background: currentColor;
        content: '';
      }
      .good {
        color: var(--good);
      }
      .busy {
        color: var(--accent);
      }
      .warn {
        color: var(--warn);
      }
      .bad {
        color: var(--bad);
      }
      peers-bar {
        margin-left: auto;
      }
      .tools {
        display: flex;
        gap: var(--space-1);
      }
      .tools button,
      .tools theme-toggle {
        color: var(--muted);
        font-size: 1rem;
      }
      .tools .leave {
        font-size: var(--text-s);
      }
      .columns {
        display: grid;
        grid-template-columns: minmax(0, 1fr) 20rem;
        gap: var(--space-5);
        align-items: start;
      }
      main,
      aside {
        display: grid;
        gap: var(--space-4);
        min-width: 0;
      }
      @media (max-width: 62rem) {
        .columns {
          grid-template-columns: minmax(0, 1fr);
        }
        aside {
          grid-template-columns: repeat(auto-fit, minmax(min(18rem, 100%), 1fr));
          align-items: start;
        }
      }
      @media (max-width: 40rem) {
        :host {
          padding: 0 var(--space-3) var(--space-5);
        }
        peers-bar {
          order: 1;
          width: 100%;
          margin: 0;
        }
        .tools {
          margin-left: auto;
        }
      }
    `,
  ]

  declare room: Room
  declare replica: StoreReplica
  declare leave: () => Promise<void>
  declare visit: Visit | undefined

  constructor() {
    super()
    new EventsController(this, () => this.room, ['peers', 'signaling'])
    new EventsController(this, () => this.replica, ['status', 'members'])
    new EventsController(this, () => this.visit?.presence, ['change'])
  }

  override connectedCallback(): void {
    super.connectedCallback()
    document.addEventListener('keydown', this.#onKey)
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback()
    document.removeEventListener('keydown', this.#onKey)
    this.visit?.presence.close()
    this.visit = undefined
  }

  protected override willUpdate(changed: PropertyValues<this>): void {
    if (this.visit !== undefined && !changed.has('replica')) return
    this.visit?.presence.close()
    const presence = new RoomPresence(this.replica, window.localStorage, Date.now())
    const activity = new Activity(() => performance.now())
    this.visit = { presence, activity, commands: new StoreCommands(this.replica, activity, presence) }
  }

  protected override render(): TemplateResult {
    if (this.visit === undefined) return html``
    const { presence, activity, commands } = this.visit
    const { status, members } = this.replica
    const { others: visitors } = presence
    const words = describeStatus(status, { members, slowQuorum: 0 })
    const ended = status.kind === 'removed' || status.kind === 'closed' || status.kind === 'failed'
    const readOnly = ended || status.kind === 'read-only'
    const connected = this.room.peers.filter((peer) => peer.state === 'open').length
    const link = new URL(this.room.invite, window.location.href).href
    return html`
      <header>
        <h1 class="brand">${icons.mark}wepaxos</h1>
        <span class="status ${words.tone}" role="status" data-testid="status" data-kind=${status.kind}>${words.label}</span>
        <peers-bar .presence=${presence} .self=${presence.self} .visitors=${visitors}></peers-bar>
        <div class="tools">
          <button type="button" class="icon quiet" aria-label="Help" title="Help (?)" @click=${() => this.#help?.show()}>
            ${icons.help}
          </button>
          <theme-toggle></theme-toggle>
          <button type="button" class="quiet leave" data-testid="leave" ?disabled=${ended && status.kind !== 'removed'} @click=${() => this.#leaving?.show()}>
            ${icons.leave}Leave
          </button>
        </div>
      </header>
      <notice-bars
        .status=${status}
        .signaling=${this.room.signaling}
        .peers=${connected}
        .presence=${presence}
      ></notice-bars>
      <div class="columns">
        <main>
          <new-key-form .commands=${commands} .readOnly=${readOnly}></new-key-form>
          <store-table
            .replica=${this.replica}
            .commands=${commands}
            .presence=${presence}
            .visitors=${visitors}
            .readOnly=${readOnly}
          ></store-table>
        </main>
        <aside aria-label="Room">
          <invite-panel .link=${link} .alone=${members.length <= 1}></invite-panel>
          <status-panel .replica=${this.replica} .presence=${presence} .visitors=${visitors}></status-panel>
          <activity-log .activity=${activity}></activity-log>
        </aside>
      </div>
      <help-dialog></help-dialog>
      <leave-dialog .leave=${this.leave} .advice=${adviseLeaving(members)}></leave-dialog>
    `
  }

  get #help(): HTMLElementTagNameMap['help-dialog'] | null {
    return this.renderRoot.querySelector('help-dialog')
  }

  get #leaving(): HTMLElementTagNameMap['leave-dialog'] | null {
    return this.renderRoot.querySelector('leave-dialog')
  }

  readonly #onKey = (event: KeyboardEvent): void => {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return
    // Inside shadow roots the event's own target is the host; what is typed in a field is no shortcut.
    const [target] = event.composedPath()
    if (target instanceof HTMLInputElement || target instanceof HTMLDialogElement) return
    if (event.composedPath().some((part) => part instanceof HTMLDialogElement && part.open)) return
    if (event.key === 'n') this.renderRoot.querySelector('new-key-form')?.focus()
    else if (event.key === '/') this.renderRoot.querySelector('store-table')?.focusFilter()
    else if (event.key === '?') this.#help?.show()
    else return
    event.preventDefault()
  }
}

customElements.define('room-view', RoomView)

declare global {
  interface HTMLElementTagNameMap {
    'room-view': RoomView
  }
}
