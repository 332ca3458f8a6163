// Switches between dark and light; back on what the system says, it follows the system again.
import { html, LitElement, type TemplateResult } from 'lit'
import { applyTheme, currentTheme, isDark, systemDark, type Theme } from '../theme.ts'
import { icons } from './icons.ts'
import { controls } from './shared-styles.ts'

export class ThemeToggle extends LitElement {
  static override properties = { theme: { state: true } }
  static override styles = controls

  declare theme: Theme

  constructor() {
    super()
    this.theme = currentTheme()
  }

  override connectedCallback(): void {
    super.connectedCallback()
    systemDark.addEventListener('change', this.#render)
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback()
    systemDark.removeEventListener('change', this.#render)
  }

  protected override render(): TemplateResult {
    const dark = isDark(this.theme)
    return html`<button
      type="button"
      class="icon quiet"
      data-testid="theme"
      aria-label=${dark ? 'Light colours' : 'Dark colours'}
      title=${dark ? 'Light colours' : 'Dark colours'}
      @click=${this.#toggle}
    >
      ${dark ? icons.sun : icons.moon}
    </button>`
  }

  readonly #render = (): void => this.requestUpdate()

  #toggle(): void {
    const wanted = isDark(this.theme) ? 'light' : 'dark'
    this.theme = isDark('system') === (wanted === 'dark') ? 'system' : wanted
    applyTheme(this.theme)
  }
}

customElements.define('theme-toggle', ThemeToggle)

declare global {
  interface HTMLElementTagNameMap {
    'theme-toggle': ThemeToggle
  }
}
