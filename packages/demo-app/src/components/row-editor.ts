// Changes the value of one key, in place. Enter saves whatever the others did meanwhile; "Save if unchanged" is a
// compare-and-set against the value that editing began with, and says who was first when it is refused.
import type { Value } from '@wepaxos/core'
import { css, html, LitElement, nothing, type TemplateResult } from 'lit'
import type { RoomPresence } from '../room-presence.ts'
import type { StoreCommands } from '../store-commands.ts'
import { formatForEdit, formatShort, kindOf, parseValue, sameValue } from '../values.ts'
import { controls } from './shared-styles.ts'

interface Conflict {
  /** Undefined: the key was deleted. */
  readonly value: Value | undefined
  readonly by: string | undefined
}

/** Fires `finished` (detail: whether anything was saved) when it is done with. */
export class RowEditor extends LitElement {
  static override properties = {
    key: { attribute: false },
    base: { attribute: false },
    current: { attribute: false },
    version: { attribute: false },
    commands: { attribute: false },
    presence: { attribute: false },
    text: { state: true },
    problem: { state: true },
    conflict: { state: true },
    asking: { state: true },
  }
  static override styles = [
    controls,
    css`
      :host {
        display: grid;
        gap: var(--space-2);
      }
      form {
        display: flex;
        flex-wrap: wrap;
        gap: var(--space-2);
        align-items: center;
      }
      .field {
        position: relative;
        flex: 1 1 12rem;
        min-width: 0;
      }
      .field input {
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
      .buttons {
        display: flex;
        flex-wrap: wrap;
        gap: var(--space-2);
      }
      p {
        margin: 0;
        font-size: var(--text-s);
        overflow-wrap: anywhere;
      }
      .problem {
        color: var(--bad);
      }
      .note {
        color: var(--warn);
      }
      .conflict {
        display: grid;
        gap: var(--space-2);
        padding: var(--space-2) var(--space-3);
        border-radius: var(--radius);
        background: var(--warn-wash);
        color: var(--warn);
      }
      .conflict button {
        color: var(--ink);
      }
    `,
  ]

  declare key: string
  /** The value that editing began with. */
  declare base: Value
  /** The value as it is now; undefined when the key was deleted. */
  declare current: Value | undefined
  declare version: number
  declare commands: StoreCommands
  declare presence: RoomPresence
  declare text: string
  declare problem: string
  declare conflict: Conflict | undefined
  declare asking: boolean

  constructor() {
    super()
    this.text = ''
    this.problem = ''
    this.asking = false
  }

  override connectedCallback(): void {
    super.connectedCallback()
    if (!this.hasUpdated) this.text = formatForEdit(this.base) ?? ''
  }

  protected override firstUpdated(): void {
    this.#input?.focus()
    this.#input?.select()
  }

  protected override render(): TemplateResult {
    const parsed = parseValue(this.text)
    return html`
      <form @submit=${this.#save} @keydown=${this.#onKey}>
        <div class="field">
          <input
            type="text"
            class="mono"
            aria-label="New value of ${this.key}"
            aria-invalid=${this.problem === '' ? 'false' : 'true'}
            aria-describedby="problem"
            autocomplete="off"
            autocapitalize="off"
            spellcheck="false"
            data-testid="edit-input"
            .value=${this.text}
            ?disabled=${this.asking}
            @input=${this.#onInput}
          />
          <span class="kind" aria-hidden="true">${parsed.ok ? kindOf(parsed.value) : ''}</span>
        </div>
        <div class="buttons">
          <button class="primary" data-testid="save" ?disabled=${this.asking} title="Save (Enter)">Save</button>
          <button
            type="button"
            data-testid="save-if-unchanged"
            ?disabled=${this.asking}
            title="Compare and set (Ctrl+Enter): only if it is still ${formatShort(this.base)}"
            @click=${this.#saveIfUnchanged}
          >
            ${this.asking ? 'Asking the others…' : 'Save if unchanged'}
          </button>
          <button type="button" class="quiet" data-testid="cancel" title="Cancel (Escape)" @click=${() => this.#finish(false)}>
            Cancel
          </button>
        </div>
      </form>
      <p id="problem" class="problem" role="alert" ?hidden=${this.problem === ''} data-testid="edit-problem">${this.problem}</p>
      ${this.conflict === undefined ? this.#renderChangedNote() : this.#renderConflict(this.conflict)}
    `
  }

  #renderChangedNote(): TemplateResult | typeof nothing {
    if (this.asking || sameValue(this.current, this.base)) return nothing
    const by = this.presence.writerOf(this.key, this.version)
    return html`<p class="note" data-testid="changed-meanwhile">
      ${
        this.current === undefined
          ? 'Deleted meanwhile. Save makes it anew.'
          : html`Changed meanwhile${by === undefined ? '' : ` by ${by}`}: it is now
              <code>${formatShort(this.current)}</code>. Save overwrites that.`
      }
    </p>`
  }

  #renderConflict({ value, by }: Conflict): TemplateResult {
    return html`<div class="conflict" role="alert" data-testid="conflict">
      <p>
        <strong>Not saved.</strong>
        ${
          value === undefined
            ? 'The key was deleted first.'
            : html`${by === undefined ? 'Someone' : by} was first: it is now <code data-testid="conflict-value">${formatShort(value)}</code>.`
        }
      </p>
      <div class="buttons">
        <button type="button" data-testid="take-theirs" @click=${() => this.#finish(false)}>
          ${value === undefined ? 'Leave it deleted' : 'Take theirs'}
        </button>
        <button type="button" data-testid="overwrite" @click=${this.#save}>Save mine all the same</button>
      </div>
    </div>`
  }

  get #input(): HTMLInputElement | null {
    return this.renderRoot.querySelector('input')
  }

  #onInput(event: Event): void {
    if (event.target instanceof HTMLInputElement) this.text = event.target.value
    this.problem = ''
  }

  #onKey(event: KeyboardEvent): void {
    if (event.key === 'Escape') {
      event.preventDefault()
      this.#finish(false)
    } else if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) {
      event.preventDefault()
      void this.#saveIfUnchanged()
    }
  }

  #read(): Value | undefined {
    const parsed = parseValue(this.text)
    if (parsed.ok) return parsed.value
    this.problem = parsed.problem
    this.#input?.focus()
    return undefined
  }

  async #save(event: Event): Promise<void> {
    event.preventDefault()
    const value = this.#read()
    if (value === undefined) return
    // The row shows it at once, agreed on or not. Only for what can not even be proposed, such as a value that is too
    // large, the editor stays open with what was typed; that is known before the next task.
    const nextTask = new Promise<undefined>((resolve) => setTimeout(resolve, 0, undefined))
    const outcome = await Promise.race([this.commands.set(this.key, value), nextTask])
    if (outcome?.kind === 'failed') this.problem = outcome.problem
    else this.#finish(true)
  }

  async #saveIfUnchanged(): Promise<void> {
    const value = this.#read()
    if (value === undefined || this.asking) return
    this.asking = true
    this.conflict = undefined
    const outcome = await this.commands.compareAndSet(this.key, this.base, value)
    this.asking = false
    if (outcome.kind === 'done') {
      this.#finish(true)
    } else if (outcome.kind === 'failed') {
      this.problem = outcome.problem
    } else {
      const { value: theirs, version } = outcome.result
      const by = this.presence.writerOf(this.key, version)
      this.conflict = version === 0 ? { value: undefined, by: undefined } : { value: theirs, by }
      // Seen now: trying again compares with that.
      if (version > 0) this.base = theirs
    }
  }

  #finish(saved: boolean): void {
    this.dispatchEvent(new CustomEvent('finished', { detail: saved }))
  }
}

customElements.define('row-editor', RowEditor)

declare global {
  interface HTMLElementTagNameMap {
    'row-editor': RowEditor
  }
}
