// One key of the table: its value, who edits it, and what can be done to it.
import type { Value } from '@wepaxos/core'
import { css, html, LitElement, nothing, type PropertyValues, type TemplateResult } from 'lit'
import type { RoomPresence } from '../room-presence.ts'
import type { StoreCommands } from '../store-commands.ts'
import { formatForDisplay, formatForEdit, kindOf } from '../values.ts'
import { icons } from './icons.ts'
import './row-editor.ts'
import { controls, hues } from './shared-styles.ts'

export interface Row {
  readonly key: string
  /** Undefined: deleted while this page edits it. */
  readonly value: Value | undefined
  readonly version: number
  /** `writing`, `deleting`: what is shown is this page's forecast, not agreed on yet. */
  readonly state: 'agreed' | 'writing' | 'deleting'
}

/** Another page that edits this key. */
export interface Editor {
  readonly name: string
  readonly hue: number
}

// The table makes new objects each time it renders; a row renders only when they say something new.
function rowsDiffer(a: Row, b: Row | undefined): boolean {
  return b === undefined || a.key !== b.key || a.value !== b.value || a.version !== b.version || a.state !== b.state
}

function editorsDiffer(a: readonly Editor[], b: readonly Editor[] | undefined): boolean {
  if (b === undefined || a.length !== b.length) return true
  return a.some(({ name, hue }, index) => name !== b[index]?.name || hue !== b[index]?.hue)
}

/** Fires `editing` (detail: true or false) when an editor opens or closes. */
export class StoreRow extends LitElement {
  static override properties = {
    row: { attribute: false, hasChanged: rowsDiffer },
    commands: { attribute: false },
    presence: { attribute: false },
    readOnly: { attribute: false },
    editors: { attribute: false, hasChanged: editorsDiffer },
    base: { state: true },
  }
  static override styles = [
    controls,
    hues,
    css`
      :host {
        display: block;
        border-bottom: 1px solid var(--line);
      }
      .row {
        position: relative;
        display: grid;
        grid-template-columns: var(--row-columns);
        gap: 0 var(--space-3);
        align-items: center;
        min-height: 2.75rem;
        padding: 0.3rem var(--space-4);
      }
      .row:hover {
        background: var(--hover);
      }
      .row.edited {
        box-shadow: inset 0 0 0 2px var(--hue);
      }
      .row.editing {
        align-items: start;
        background: var(--accent-wash);
      }
      .row.editing .key {
        padding-top: 0.45rem;
      }
      .key {
        font-family: var(--mono);
        font-size: var(--text-s);
        overflow-wrap: anywhere;
      }
      .value {
        justify-content: flex-start;
        width: 100%;
        min-height: 2rem;
        padding: 0.2rem 0.5rem;
        margin-left: -0.5rem;
        font-family: var(--mono);
        font-size: var(--text-s);
        font-weight: 400;
        text-align: left;
      }
      .text {
        overflow: hidden;
        text-overflow: ellipsis;
        white-space: pre;
      }
      .value svg {
        margin-left: auto;
        color: var(--muted);
        opacity: 0;
      }
      .value:hover svg,
      .value:focus-visible svg {
        opacity: 1;
      }
      .writing .text {
        color: var(--muted);
      }
      .deleting .text,
      .deleting .key {
        color: var(--muted);
        text-decoration: line-through;
      }
      .tail {
        display: flex;
        align-items: center;
        justify-content: flex-end;
        gap: var(--space-1);
      }
      .facts {
        margin-right: var(--space-2);
        color: var(--muted);
        font-size: var(--text-xs);
        font-variant-numeric: tabular-nums;
        white-space: nowrap;
      }
      .pending {
        display: inline-flex;
        align-items: center;
        gap: 0.4em;
        color: var(--accent);
      }
      .pending::before {
        width: 0.6em;
        height: 0.6em;
        border: 2px solid currentColor;
        border-right-color: transparent;
        border-radius: 50%;
        content: '';
        animation: turn 0.9s linear infinite;
      }
      @keyframes turn {
        to {
          transform: rotate(1turn);
        }
      }
      .badges {
        position: absolute;
        top: 0;
        right: var(--space-4);
        z-index: 1;
        display: flex;
        gap: var(--space-1);
        transform: translateY(-50%);
      }
      .badge {
        padding: 0 0.5em;
        border-radius: 99px;
        background: var(--hue);
        color: var(--on-hue);
        font-size: var(--text-xs);
        line-height: 1.5;
      }
      .actions {
        display: flex;
        justify-content: flex-end;
        width: 4rem;
      }
      .actions button {
        color: var(--muted);
        font-variant-numeric: tabular-nums;
      }
      .actions button:hover:enabled,
      .actions button:focus-visible {
        color: var(--ink);
      }
      row-editor {
        grid-column: 2 / -1;
        padding: 0.15rem 0;
      }
      @media (max-width: 40rem) {
        .row {
          grid-template-columns: minmax(0, 1fr) auto;
          padding-block: var(--space-2);
        }
        .key {
          grid-column: 1;
          font-weight: 600;
        }
        .tail {
          grid-row: 1;
          grid-column: 2;
        }
        .cell-value,
        row-editor {
          grid-column: 1 / -1;
        }
      }
      @media (hover: none) {
        .value svg {
          opacity: 0.7;
        }
      }
      @media (prefers-reduced-motion: reduce) {
        .pending::before {
          animation: none;
        }
      }
    `,
  ]

  declare row: Row
  declare commands: StoreCommands
  declare presence: RoomPresence
  declare readOnly: boolean
  declare editors: readonly Editor[]
  /** The value that editing began with; undefined while not editing. */
  declare base: Value | undefined

  constructor() {
    super()
    this.readOnly = false
    this.editors = []
  }

  override connectedCallback(): void {
    super.connectedCallback()
    this.setAttribute('role', 'row')
  }

  focusValue(): void {
    this.renderRoot.querySelector<HTMLButtonElement>('.value')?.focus()
  }

  protected override updated(changed: PropertyValues<this>): void {
    const before = changed.get('row')
    if (before === undefined || before.version === this.row.version || this.row.state !== 'agreed') return
    // What others changed catches the eye for a moment; what this page changed went by as "writing".
    if (before.state !== 'agreed' || matchMedia('(prefers-reduced-motion: reduce)').matches) return
    const wash = getComputedStyle(this).getPropertyValue('--accent-wash')
    this.animate([{ backgroundColor: wash }, { backgroundColor: 'transparent' }], {
      duration: 1_200,
      easing: 'ease-out',
    })
  }

  protected override render(): TemplateResult {
    const { key, state } = this.row
    const [firstEditor] = this.editors
    const { base } = this
    const editing = base !== undefined
    const classes = ['row', state, editing ? 'editing' : '', firstEditor === undefined ? '' : 'edited'].join(' ')
    return html`<div class=${classes} role="presentation" data-hue=${firstEditor?.hue ?? nothing}>
      ${
        this.editors.length === 0
          ? nothing
          : html`<div class="badges">
              ${this.editors.map(
                ({ name, hue }) =>
                  html`<span class="badge" data-hue=${hue} data-testid="editor-badge">${name}<span class="hidden-visually"> is editing ${key}</span></span>`,
              )}
            </div>`
      }
      <div role="rowheader" class="key" data-testid="key">${key}</div>
      ${base === undefined ? this.#renderValue() : this.#renderEditor(base)}
    </div>`
  }

  #renderEditor(base: Value): TemplateResult {
    return html`<row-editor
      role="cell"
      .key=${this.row.key}
      .base=${base}
      .current=${this.row.value}
      .version=${this.row.version}
      .commands=${this.commands}
      .presence=${this.presence}
      @finished=${this.#stopEditing}
    ></row-editor>`
  }

  #renderValue(): TemplateResult {
    const { key, value = null, version, state } = this.row
    const text = formatForDisplay(value)
    const editable = !this.readOnly && state !== 'deleting' && formatForEdit(value) !== undefined
    const countable = Number.isSafeInteger(value)
    return html`
      <div role="cell" class="cell-value">
        <button
          type="button"
          class="value quiet"
          data-testid="edit"
          title=${text.length > 40 ? text : nothing}
          aria-label="Edit ${key}: ${text.slice(0, 200)}"
          ?disabled=${!editable}
          @click=${this.#startEditing}
        >
          <span class="text" data-testid="value">${text}</span>${editable ? icons.edit : nothing}
        </button>
      </div>
      <div role="cell" class="tail">
        <span class="facts">
          ${
            state === 'agreed'
              ? html`${kindOf(value)} · <span title="Written ${version} times">v${version}</span>`
              : html`<span class="pending" data-testid="pending">${state === 'writing' ? 'pending' : 'deleting'}</span>`
          }
        </span>
        <span class="actions">
          ${
            countable
              ? html`<button type="button" class="icon quiet" data-testid="increment" aria-label="+1: add one to ${key}" title="Add one" ?disabled=${this.readOnly} @click=${() => void this.commands.increment(key)}>+1</button>`
              : nothing
          }
          <button
            type="button"
            class="icon quiet"
            data-testid="delete"
            aria-label="Delete ${key}"
            title="Delete"
            ?disabled=${this.readOnly || state === 'deleting'}
            @click=${this.#remove}
          >
            ${icons.remove}
          </button>
        </span>
      </div>
    `
  }

  #remove(): void {
    void this.commands.remove(this.row.key)
    this.dispatchEvent(new CustomEvent('removed'))
  }

  #startEditing(): void {
    if (this.row.value === undefined) return
    this.base = this.row.value
    this.dispatchEvent(new CustomEvent('editing', { detail: true }))
  }

  async #stopEditing(): Promise<void> {
    this.base = undefined
    this.dispatchEvent(new CustomEvent('editing', { detail: false }))
    await this.updateComplete
    this.focusValue()
  }
}

customElements.define('store-row', StoreRow)

declare global {
  interface HTMLElementTagNameMap {
    'store-row': StoreRow
  }
}
