// The whole page: one session, and the screen that its state asks for.
import { css, html, LitElement, type TemplateResult } from 'lit'
import { EventsController } from '../replica-controller.ts'
import { Session } from '../session.ts'
import './room-view.ts'
import './start-screen.ts'

export class WepaxosApp extends LitElement {
  static override styles = css`
    :host {
      display: block;
      min-height: 100vh;
    }
  `

  readonly #session = new Session()
  readonly #leave = (): Promise<void> => this.#session.leave()

  constructor() {
    super()
    new EventsController(this, () => this.#session, ['change'])
    new EventsController(this, () => this.#replica, ['status'])
    void this.#session.start()
  }

  override connectedCallback(): void {
    super.connectedCallback()
    window.addEventListener('hashchange', this.#onHashChange)
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback()
    window.removeEventListener('hashchange', this.#onHashChange)
  }

  protected override render(): TemplateResult {
    const { state } = this.#session
    if (state.kind === 'open' && hasState(state.replica)) {
      return html`<room-view .room=${state.room} .replica=${state.replica} .leave=${this.#leave}></room-view>`
    }
    return html`<start-screen .state=${state} .status=${this.#replica?.status}></start-screen>`
  }

  get #replica(): SessionReplica | undefined {
    const { state } = this.#session
    return state.kind === 'open' ? state.replica : undefined
  }

  /** Another invite was put into the address bar: that is another room. */
  readonly #onHashChange = (): void => {
    const { state } = this.#session
    if (state.kind === 'open' && window.location.hash === state.room.invite) return
    window.location.reload()
  }
}

type SessionReplica = Extract<Session['state'], { kind: 'open' }>['replica']

/** False until it has joined: a replica that failed before that has no members to show. */
function hasState(replica: SessionReplica): boolean {
  return replica.status.kind !== 'joining' && replica.members.length > 0
}

customElements.define('wepaxos-app', WepaxosApp)

declare global {
  interface HTMLElementTagNameMap {
    'wepaxos-app': WepaxosApp
  }
}
