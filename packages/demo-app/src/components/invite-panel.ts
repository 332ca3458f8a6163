// The invite link: whoever has it can read and change everything in the room.
import { css, html, LitElement, type TemplateResult } from 'lit'
import './copy-button.ts'
import { controls, panel } from './shared-styles.ts'

export class InvitePanel extends LitElement {
  static override properties = { link: { attribute: false }, alone: { attribute: false } }
  static override styles = [
    controls,
    panel,
    css`
      :host {
        display: block;
      }
      .link {
        display: flex;
        gap: var(--space-2);
        margin-bottom: var(--space-3);
      }
      input[type='text'] {
        font-family: var(--mono);
        font-size: var(--text-xs);
      }
    `,
  ]

  declare link: string
  /** Nobody else is here yet. */
  declare alone: boolean

  constructor() {
    super()
    this.link = ''
    this.alone = false
  }

  protected override render(): TemplateResult {
    return html`<section aria-labelledby="title">
      <h2 id="title">Invite</h2>
      <div class="link">
        <input type="text" readonly aria-label="Invite link" data-testid="invite-link" .value=${this.link} @focus=${this.#selectAll} />
        <copy-button label="the invite link" .text=${this.link} data-testid="copy-invite"></copy-button>
      </div>
      <p class="small muted">
        ${
          this.alone
            ? html`Open it in two more tabs, or <a href=${this.link} target="_blank" rel="noopener" data-testid="open-invite">start with one</a>:
                with three replicas, any one of them may be away.`
            : 'Whoever has this link can read and change everything here. What follows the # is never sent to a server.'
        }
      </p>
    </section>`
  }

  #selectAll(event: Event): void {
    if (event.target instanceof HTMLInputElement) event.target.select()
  }
}

customElements.define('invite-panel', InvitePanel)

declare global {
  interface HTMLElementTagNameMap {
    'invite-panel': InvitePanel
  }
}
