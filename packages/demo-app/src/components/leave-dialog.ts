// Leaving for good, after a question: it can not be undone.
import { WepaxosError } from '@wepaxos/core'
import { html, LitElement, nothing, type TemplateResult } from 'lit'
import { describeError, type LeaveAdvice } from '../plain-words.ts'
import { dialog } from './dialog-styles.ts'
import { controls } from './shared-styles.ts'

export class LeaveDialog extends LitElement {
  static override properties = {
    leave: { attribute: false },
    advice: { attribute: false },
    leaving: { state: true },
    problem: { state: true },
  }
  static override styles = [controls, dialog]

  /** Does it. */
  declare leave: () => Promise<void>
  declare advice: LeaveAdvice
  declare leaving: boolean
  declare problem: string

  constructor() {
    super()
    this.leaving = false
    this.problem = ''
  }

  show(): void {
    this.problem = ''
    this.renderRoot.querySelector('dialog')?.showModal()
  }

  protected override render(): TemplateResult {
    return html`<dialog aria-labelledby="title" data-testid="leave-dialog">
      <h2 id="title">Leave the room?</h2>
      <p data-testid="leave-advice">${this.advice.text}</p>
      ${this.problem === '' ? nothing : html`<p role="alert" data-testid="leave-problem">${this.problem}</p>`}
      <form method="dialog">
        <button class="quiet" ?disabled=${this.leaving}>Stay</button>
        <button type="button" class="danger" data-testid="leave-confirm" ?disabled=${this.leaving || this.advice.kind !== 'go'} @click=${this.#confirm}>
          ${this.leaving ? 'Leaving…' : 'Leave for good'}
        </button>
      </form>
    </dialog>`
  }

  async #confirm(): Promise<void> {
    this.leaving = true
    this.problem = ''
    try {
      await this.leave()
    } catch (error) {
      this.problem =
        error instanceof WepaxosError && error.code === 'Timeout'
          ? 'The others can not do without this replica yet. Leave the page open and try again when more of them are here.'
          : describeError(error)
    } finally {
      this.leaving = false
    }
  }
}

customElements.define('leave-dialog', LeaveDialog)

declare global {
  interface HTMLElementTagNameMap {
    'leave-dialog': LeaveDialog
  }
}
