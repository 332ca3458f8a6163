// A button that copies a text to the clipboard and says so. Where the browser refuses, it says that too.
import { html, LitElement, type PropertyValues, type TemplateResult } from 'lit'
import { icons } from './icons.ts'
import { controls } from './shared-styles.ts'

const saidForMs = 1_800

export class CopyButton extends LitElement {
  static override properties = {
    text: { attribute: false },
    label: { type: String },
    compact: { type: Boolean },
    said: { state: true },
  }
  static override styles = controls

  declare text: string
  /** What is copied, for the button's name: `Copy <label>`. */
  declare label: string
  /** An icon only. */
  declare compact: boolean
  declare said: 'nothing' | 'copied' | 'refused'
  #timer: ReturnType<typeof setTimeout> | undefined

  constructor() {
    super()
    this.text = ''
    this.label = 'text'
    this.compact = false
    this.said = 'nothing'
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback()
    clearTimeout(this.#timer)
  }

  protected override willUpdate(changed: PropertyValues<this>): void {
    if (changed.has('text')) this.said = 'nothing'
  }

  protected override render(): TemplateResult {
    const words = { nothing: 'Copy', copied: 'Copied', refused: 'Not allowed' }[this.said]
    const icon = this.said === 'copied' ? icons.check : icons.copy
    return html`<button
        type="button"
        class=${this.compact ? 'icon quiet' : 'primary'}
        aria-label="Copy ${this.label}"
        title="Copy ${this.label}"
        @click=${this.#copy}
      >
        ${icon}${this.compact ? '' : words}
      </button>
      <span class="hidden-visually" role="status">${this.said === 'nothing' ? '' : words}</span>`
  }

  async #copy(): Promise<void> {
    try {
      await navigator.clipboard.writeText(this.text)
      this.said = 'copied'
    } catch {
      this.said = 'refused'
    }
    clearTimeout(this.#timer)
    this.#timer = setTimeout(() => {
      this.said = 'nothing'
    }, saidForMs)
  }
}

customElements.define('copy-button', CopyButton)

declare global {
  interface HTMLElementTagNameMap {
    'copy-button': CopyButton
  }
}
