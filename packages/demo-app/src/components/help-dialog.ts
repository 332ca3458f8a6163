// The shortcuts, and in a few sentences what this page is.
import { css, html, LitElement, type TemplateResult } from 'lit'
import { dialog } from './dialog-styles.ts'
import { controls } from './shared-styles.ts'

export class HelpDialog extends LitElement {
  static override styles = [
    controls,
    dialog,
    css`
      dl {
        display: grid;
        grid-template-columns: auto 1fr;
        gap: var(--space-2) var(--space-4);
        margin: 0 0 var(--space-4);
        font-size: var(--text-s);
      }
      dt {
        white-space: nowrap;
      }
      dd {
        margin: 0;
      }
    `,
  ]

  show(): void {
    this.renderRoot.querySelector('dialog')?.showModal()
  }

  protected override render(): TemplateResult {
    return html`<dialog aria-labelledby="title" data-testid="help">
      <h2 id="title">How this page works</h2>
      <p>
        Every page with the invite link keeps a copy of this store on its own disk. The pages talk to each other directly,
        and agree on each change before it counts; no server sees it.
      </p>
      <dl>
        <dt><kbd>n</kbd></dt>
        <dd>Add a key</dd>
        <dt><kbd>/</kbd></dt>
        <dd>Filter</dd>
        <dt><kbd>Enter</kbd></dt>
        <dd>On a value: edit it. In the editor: save</dd>
        <dt><kbd>Ctrl</kbd> <kbd>Enter</kbd></dt>
        <dd>In the editor: save only if nobody changed it since you began (compare and set)</dd>
        <dt><kbd>Esc</kbd></dt>
        <dd>Cancel, or clear the filter</dd>
        <dt><kbd>?</kbd></dt>
        <dd>This help</dd>
      </dl>
      <form method="dialog"><button class="primary">Close</button></form>
    </dialog>`
  }
}

customElements.define('help-dialog', HelpDialog)

declare global {
  interface HTMLElementTagNameMap {
    'help-dialog': HelpDialog
  }
}
