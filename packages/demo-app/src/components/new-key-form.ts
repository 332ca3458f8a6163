// Adds a key. It is a unique claim: where the key exists already, nothing is overwritten unless the person says so.
import type { Value } from '@wepaxos/core'
import { css, html, LitElement, nothing, type TemplateResult } from 'lit'
import type { StoreCommands } from '../store-commands.ts'
import { formatShort, kindOf, parseValue } from '../values.ts'
import { controls } from './shared-styles.ts'

export class NewKeyForm extends LitElement {
  static override properties = {
    commands: { attribute: false },
    readOnly: { attribute: false },
    key: { state: true },
    text: { state: true },
    problem: { state: true },
    taken: { state: true },
  }
  static override styles = [
    controls,
    css`
      :host {
        display: block;
      }
      form {
        display: grid;
        grid-template-columns: minmax(0, 2fr) minmax(0, 3fr) auto;
        gap: var(--space-2);
      }
      .field {
        position: relative;
        min-width: 0;
      }
      .field.value input {
        padding-right: 4.5rem;
      }
      .kind {
        position: absolute;
        inset: 0 0.6rem 0 auto;
        display: flex;
        align-items: center;
        color: var(--muted);
        font-size: var(--text-xs);
        pointer-events: none;
      }
      input[type='text'],
      form button {
        min-height: 2.5rem;
      }
      .message {
        display: flex;
        flex-wrap: wrap;
        align-items: center;
        gap: var(--space-2) var(--space-3);
        margin-top: var(--space-2);
        font-size: var(--text-s);
        overflow-wrap: anywhere;
      }
      .problem {
        color: var(--bad);
      }
      .taken {
        color: var(--warn);
      }
      .taken button {
        color: var(--ink);
      }
      @media (max-width: 40rem) {
        form {
          grid-template-columns: minmax(0, 1fr) auto;
        }
        .field.key {
          grid-column: 1 / -1;
        }
      }
    `,
  ]

  declare commands: StoreCommands
  declare readOnly: boolean
  declare key: string
  declare text: string
  declare problem: string
  /** The last attempt found this key taken by this value. */
  declare taken: { readonly key: string; readonly theirs: Value; readonly ours: Value } | undefined

  constructor() {
    super()
    this.readOnly = false
    this.key = ''
    this.text = ''
    this.problem = ''
  }

  override focus(): void {
    this.renderRoot.querySelector<HTMLInputElement>('input')?.focus()
  }

  protected override render(): TemplateResult {
    const parsed = parseValue(this.text)
    return html`
      <form @submit=${this.#submit} aria-label="Add a key">
        <div class="field key">
          <input
            type="text"
            class="mono"
            placeholder="New key"
            aria-label="New key"
            autocomplete="off"
            autocapitalize="off"
            spellcheck="false"
            data-testid="new-key"
            .value=${this.key}
            ?disabled=${this.readOnly}
            @input=${(event: Event) => this.#type(event, 'key')}
          />
        </div>
        <div class="field value">
          <input
            type="text"
            class="mono"
            placeholder="Value: 42, true, text, JSON"
            aria-label="Value of the new key"
            autocomplete="off"
            autocapitalize="off"
            spellcheck="false"
            data-testid="new-value"
            .value=${this.text}
            ?disabled=${this.readOnly}
            aria-invalid=${this.problem === '' ? 'false' : 'true'}
            aria-describedby="message"
            @input=${(event: Event) => this.#type(event, 'text')}
          />
          <span class="kind" aria-hidden="true">${this.text !== '' && parsed.ok ? kindOf(parsed.value) : ''}</span>
        </div>
        <button class="primary" data-testid="new-submit" ?disabled=${this.readOnly}>Add</button>
      </form>
      <div id="message" role="status">
        ${this.problem === '' ? nothing : html`<div class="message problem" data-testid="new-problem">${this.problem}</div>`}
        ${this.taken === undefined ? nothing : this.#renderTaken(this.taken)}
      </div>
    `
  }

  #renderTaken({ key, theirs, ours }: NonNullable<NewKeyForm['taken']>): TemplateResult {
    return html`<div class="message taken" data-testid="new-taken">
      <span><code>${key}</code> exists: it is <code>${formatShort(theirs)}</code>.</span>
      <button
        type="button"
        data-testid="new-replace"
        @click=${() => {
          void this.commands.set(key, ours)
          this.#clear()
        }}
      >
        Replace it with ${formatShort(ours, 24)}
      </button>
    </div>`
  }

  #type(event: Event, field: 'key' | 'text'): void {
    if (event.target instanceof HTMLInputElement) this[field] = event.target.value
    this.problem = ''
    this.taken = undefined
  }

  async #submit(event: Event): Promise<void> {
    event.preventDefault()
    const key = this.key.trim()
    const parsed = parseValue(this.text)
    if (key === '') this.problem = 'Type a key.'
    else if (!parsed.ok) this.problem = parsed.problem
    if (key === '' || !parsed.ok) return
    const outcome = this.commands.create(key, parsed.value)
    this.#clear()
    this.focus()
    const ended = await outcome
    // What was typed comes back with a refusal, unless the next key is being typed already.
    if (ended.kind === 'done' || this.key !== '' || this.text !== '') return
    if (ended.kind === 'failed') {
      this.problem = ended.problem
      this.key = key
    } else {
      this.taken = { key, theirs: ended.result.value, ours: parsed.value }
    }
  }

  #clear(): void {
    this.key = ''
    this.text = ''
    this.problem = ''
    this.taken = undefined
  }
}

customElements.define('new-key-form', NewKeyForm)

declare global {
  interface HTMLElementTagNameMap {
    'new-key-form': NewKeyForm
  }
}
