// The live table of all keys, with its filter. Rows come from two subscriptions, so that what is not agreed on yet can be
// told from what is.
import type { Entry } from '@wepaxos/core'
import { css, html, LitElement, nothing, type TemplateResult } from 'lit'
import { repeat } from 'lit/directives/repeat.js'
import { replicaController } from '../replica-controller.ts'
import type { RoomPresence } from '../room-presence.ts'
import { mergeViews, selectRows } from '../rows.ts'
import type { StoreReplica } from '../store.ts'
import type { StoreCommands } from '../store-commands.ts'
import { formatForDisplay } from '../values.ts'
import { controls } from './shared-styles.ts'
import './store-row.ts'
import type { Row } from './store-row.ts'

const rowsAtFirst = 200
const listAll = (view: { list(): readonly Entry[] }): readonly Entry[] => view.list()

export class StoreTable extends LitElement {
  static override properties = {
    replica: { attribute: false },
    commands: { attribute: false },
    presence: { attribute: false },
    visitors: { attribute: false },
    readOnly: { attribute: false },
    filter: { state: true },
    limit: { state: true },
    edited: { state: true },
  }
  static override styles = [
    controls,
    css`
      :host {
        --row-columns: minmax(6rem, 13rem) minmax(0, 1fr) auto;
        display: block;
        border: 1px solid var(--line);
        border-radius: var(--radius-l);
        background: var(--surface);
      }
      .bar {
        display: flex;
        align-items: center;
        gap: var(--space-3);
        padding: var(--space-3) var(--space-4);
        border-bottom: 1px solid var(--line);
      }
      .bar h2 {
        margin: 0;
        font-size: var(--text-m);
        font-weight: 600;
      }
      .bar input {
        max-width: 14rem;
        margin-left: auto;
      }
      .count {
        color: var(--muted);
        font-size: var(--text-s);
        font-variant-numeric: tabular-nums;
        white-space: nowrap;
      }
      .head {
        display: grid;
        grid-template-columns: var(--row-columns);
        gap: var(--space-3);
        padding: var(--space-2) var(--space-4);
        border-bottom: 1px solid var(--line);
        color: var(--muted);
        font-size: var(--text-xs);
        font-weight: 500;
      }
      store-row:last-child {
        border-bottom: 0;
      }
      store-row:last-child {
        border-radius: 0 0 var(--radius-l) var(--radius-l);
        overflow: clip;
        overflow-clip-margin: 1rem;
      }
      .empty {
        padding: var(--space-6) var(--space-5);
        color: var(--muted);
        text-align: center;
      }
      .empty p {
        max-width: 26rem;
        margin: 0 auto var(--space-2);
      }
      .empty strong {
        color: var(--ink);
        font-size: var(--text-l);
        font-weight: 600;
      }
      .more {
        padding: var(--space-3);
        border-top: 1px solid var(--line);
        text-align: center;
      }
      @media (max-width: 40rem) {
        .head {
          display: none;
        }
        .bar input {
          flex: 1;
        }
      }
    `,
  ]

  declare replica: StoreReplica
  declare commands: StoreCommands
  declare presence: RoomPresence
  /** The presence's others: given so that the table renders when they change. */
  declare visitors: RoomPresence['others']
  declare readOnly: boolean
  declare filter: string
  declare limit: number
  /** Keys that are being edited in this page; the last one is told to the others. */
  declare edited: ReadonlySet<string>
  readonly #optimistic = replicaController(this, () => this.replica, listAll)
  readonly #committed = replicaController(this, () => this.replica, listAll, { view: 'committed' })

  constructor() {
    super()
    this.readOnly = false
    this.filter = ''
    this.limit = rowsAtFirst
    this.edited = new Set()
  }

  focusFilter(): void {
    this.renderRoot.querySelector<HTMLInputElement>('input[type="search"]')?.focus()
  }

  protected override render(): TemplateResult {
    const all = mergeViews(this.#optimistic.value ?? [], this.#committed.value ?? [])
    const { rows, matching } = selectRows(all, this.filter, textOf, this.limit, this.edited)
    return html`
      <div class="bar">
        <h2 id="title">Store</h2>
        <span class="count" data-testid="size"
          >${this.filter.trim() === '' ? all.length.toLocaleString('en') : `${matching.toLocaleString('en')} of ${all.length.toLocaleString('en')}`}
          <span class="hidden-visually">keys</span></span
        >
        <input
          type="search"
          placeholder="Filter"
          aria-label="Filter by key or value"
          data-testid="filter"
          .value=${this.filter}
          @input=${this.#onFilter}
          @keydown=${this.#onFilterKey}
        />
      </div>
      ${
        rows.length === 0
          ? this.#renderEmpty(all.length === 0)
          : html`<div role="table" aria-labelledby="title">
              <div role="rowgroup">
                <div class="head" role="row">
                  <span role="columnheader">Key</span><span role="columnheader">Value</span
                  ><span role="columnheader"><span class="hidden-visually">Kind, version and actions</span></span>
                </div>
              </div>
              <div role="rowgroup" data-testid="rows">${repeat(
                rows,
                (row) => row.key,
                (row) => this.#renderRow(row),
              )}</div>
            </div>`
      }
      ${
        matching > this.limit
          ? html`<div class="more">
              <button type="button" @click=${() => this.#showMore()}>
                Show more (${(matching - this.limit).toLocaleString('en')} are hidden)
              </button>
            </div>`
          : nothing
      }
    `
  }

  #renderRow(row: Row): TemplateResult {
    return html`<store-row
      data-testid="row-${row.key}"
      .row=${row}
      .commands=${this.commands}
      .presence=${this.presence}
      .readOnly=${this.readOnly}
      .editors=${this.presence.editorsOf(row.key)}
      @editing=${(event: CustomEvent<boolean>) => this.#onEditing(row.key, event.detail)}
      @removed=${this.#onRemoved}
    ></store-row>`
  }

  #renderEmpty(nothingAtAll: boolean): TemplateResult {
    if (!nothingAtAll) {
      return html`<div class="empty" data-testid="no-match">
        <p>No key or value contains <code>${this.filter.trim()}</code>.</p>
        <button type="button" @click=${() => this.#setFilter('')}>Show all</button>
      </div>`
    }
    return html`<div class="empty" data-testid="empty">
      <p><strong>Nothing here yet</strong></p>
      <p>Add the first key above. Every page that has the invite link will show it, and keep it.</p>
    </div>`
  }

  #onFilter(event: Event): void {
    if (event.target instanceof HTMLInputElement) this.#setFilter(event.target.value)
  }

  #onFilterKey(event: KeyboardEvent): void {
    if (event.key !== 'Escape' || this.filter === '') return
    event.preventDefault()
    this.#setFilter('')
  }

  #setFilter(filter: string): void {
    this.filter = filter
    this.limit = rowsAtFirst
  }

  #showMore(): void {
    this.limit += rowsAtFirst
  }

  #onEditing(key: string, editing: boolean): void {
    const edited = new Set(this.edited)
    edited.delete(key)
    if (editing) edited.add(key)
    this.edited = edited
    this.presence.edits([...edited].at(-1) ?? null)
  }

  /** The focus was on the row that goes; it moves to a neighbour, not to the top of the page. */
  #onRemoved(event: Event): void {
    if (!(event.target instanceof HTMLElement)) return
    const neighbour = event.target.nextElementSibling ?? event.target.previousElementSibling
    if (neighbour?.localName === 'store-row') (neighbour as HTMLElementTagNameMap['store-row']).focusValue()
    else this.focusFilter()
  }
}

function textOf(row: Row): string {
  return row.value === undefined ? '' : formatForDisplay(row.value)
}

customElements.define('store-table', StoreTable)

declare global {
  interface HTMLElementTagNameMap {
    'store-table': StoreTable
  }
}
