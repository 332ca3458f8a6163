// Who is in the room: this page first, under a name that can be changed, then the others with what they edit.
import { css, html, LitElement, nothing, type TemplateResult } from 'lit'
import { nameLengthMax } from '../profile.ts'
import type { RoomPresence, Visitor } from '../room-presence.ts'
import { controls, hues } from './shared-styles.ts'

const shownMax = 8

export class PeersBar extends LitElement {
  static override properties = {
    presence: { attribute: false },
    self: { attribute: false },
    visitors: { attribute: false },
    renaming: { state: true },
  }
  static override styles = [
    controls,
    hues,
    css`
      ul {
        display: flex;
        flex-wrap: wrap;
        align-items: center;
        gap: var(--space-1) var(--space-2);
        margin: 0;
        padding: 0;
        list-style: none;
      }
      .chip {
        display: inline-flex;
        align-items: center;
        gap: 0.45em;
        max-width: 15rem;
        min-height: 1.75rem;
        padding: 0 0.65rem 0 0.5rem;
        border: 1px solid var(--line);
        border-radius: 99px;
        background: var(--surface);
        font-size: var(--text-s);
        font-weight: 400;
      }
      .chip::before {
        flex: none;
        width: 0.65em;
        height: 0.65em;
        border-radius: 50%;
        background: var(--hue);
        content: '';
      }
      .name {
        overflow: hidden;
        text-overflow: ellipsis;
        white-space: nowrap;
      }
      .note {
        overflow: hidden;
        color: var(--muted);
        text-overflow: ellipsis;
        white-space: nowrap;
      }
      .self {
        border-color: var(--hue);
      }
      form {
        display: inline-flex;
      }
      form input[type='text'] {
        width: 10rem;
        min-height: 1.75rem;
        border-radius: 99px;
      }
      .more {
        color: var(--muted);
        font-size: var(--text-s);
      }
    `,
  ]

  declare presence: RoomPresence
  declare self: RoomPresence['self']
  declare visitors: readonly Visitor[]
  declare renaming: boolean

  constructor() {
    super()
    this.renaming = false
  }

  protected override render(): TemplateResult {
    const shown = this.visitors.slice(0, shownMax)
    const hidden = this.visitors.length - shown.length
    return html`<ul aria-label="Who is here" data-testid="peers" data-count=${this.visitors.length}>
      <li>${this.renaming ? this.#renderRenaming() : this.#renderSelf()}</li>
      ${shown.map(
        ({ name, hue, editing }) => html`<li>
          <span class="chip" data-hue=${hue} data-testid="peer">
            <span class="name">${name}</span>${
              editing === null ? nothing : html`<span class="note">edits <code>${editing}</code></span>`
            }
          </span>
        </li>`,
      )}
      ${hidden > 0 ? html`<li class="more">and ${hidden} more</li>` : nothing}
    </ul>`
  }

  #renderSelf(): TemplateResult {
    const { name, hue } = this.self
    return html`<button
      type="button"
      class="chip self"
      data-hue=${hue}
      data-testid="own-name"
      title="Change your name"
      aria-label="${name} you: change your name"
      @click=${this.#startRenaming}
    >
      <span class="name">${name}</span><span class="note">you</span>
    </button>`
  }

  #renderRenaming(): TemplateResult {
    return html`<form @submit=${this.#rename} @focusout=${this.#rename} @keydown=${this.#onKey}>
      <input
        type="text"
        aria-label="Your name"
        autocomplete="off"
        spellcheck="false"
        maxlength=${nameLengthMax}
        data-testid="own-name-input"
        .value=${this.self.name}
      />
    </form>`
  }

  async #startRenaming(): Promise<void> {
    this.renaming = true
    await this.updateComplete
    this.renderRoot.querySelector('input')?.select()
  }

  #rename(event: Event): void {
    event.preventDefault()
    if (!this.renaming) return
    const text = this.renderRoot.querySelector('input')?.value ?? ''
    const backToButton = event.type === 'submit'
    // An empty name changes nothing.
    this.presence.rename(text)
    void this.#stopRenaming(backToButton)
  }

  #onKey(event: KeyboardEvent): void {
    if (event.key !== 'Escape') return
    event.preventDefault()
    void this.#stopRenaming(true)
  }

  async #stopRenaming(backToButton: boolean): Promise<void> {
    this.renaming = false
    await this.updateComplete
    if (backToButton) this.renderRoot.querySelector('button')?.focus()
  }
}

customElements.define('peers-bar', PeersBar)

declare global {
  interface HTMLElementTagNameMap {
    'peers-bar': PeersBar
  }
}
