// This page's newest commands and their fate; also says each result to screen readers.
import { css, html, LitElement, nothing, type TemplateResult } from 'lit'
import { repeat } from 'lit/directives/repeat.js'
import type { Activity, ActivityEntry, Fate } from '../activity.ts'
import { formatDuration } from '../plain-words.ts'
import { EventsController } from '../replica-controller.ts'
import { controls, panel } from './shared-styles.ts'

const fateWords: Readonly<Record<Fate, string>> = {
  pending: 'pending',
  committed: 'committed',
  done: 'done',
  refused: 'refused',
  failed: 'failed',
}

export class ActivityLog extends LitElement {
  static override properties = { activity: { attribute: false } }
  static override styles = [
    controls,
    panel,
    css`
      :host {
        display: block;
      }
      ol {
        display: grid;
        gap: var(--space-2);
        max-height: 18rem;
        margin: 0 calc(-1 * var(--space-2)) 0 0;
        padding: 0 var(--space-2) 0 0;
        overflow-y: auto;
        list-style: none;
        font-size: var(--text-s);
      }
      li {
        display: grid;
        grid-template-columns: minmax(0, 1fr) auto;
        gap: 0 var(--space-3);
      }
      .title {
        display: -webkit-box;
        overflow: hidden;
        font-family: var(--mono);
        font-size: var(--text-xs);
        line-height: 1.6;
        overflow-wrap: anywhere;
        -webkit-box-orient: vertical;
        -webkit-line-clamp: 2;
      }
      .fate {
        font-size: var(--text-xs);
        font-variant-numeric: tabular-nums;
      }
      .detail {
        grid-column: 1 / -1;
        color: var(--muted);
        font-size: var(--text-xs);
        overflow-wrap: anywhere;
      }
      .pending .fate,
      .committed .fate {
        color: var(--accent);
      }
      .done .fate {
        color: var(--muted);
      }
      .refused .fate,
      .refused .detail {
        color: var(--warn);
      }
      .failed .fate,
      .failed .detail {
        color: var(--bad);
      }
    `,
  ]

  declare activity: Activity

  constructor() {
    super()
    new EventsController(this, () => this.activity, ['change'])
  }

  protected override render(): TemplateResult {
    const { entries } = this.activity
    const newest = entries.find(({ fate }) => fate !== 'pending' && fate !== 'committed')
    return html`<section aria-labelledby="title">
      <h2 id="title">Your commands</h2>
      ${
        entries.length === 0
          ? html`<p class="small muted">What you change shows up here, with what became of it.</p>`
          : html`<ol tabindex="0" aria-label="Your commands, newest first" data-testid="activity">
              ${repeat(entries, ({ id }) => id, renderEntry)}
            </ol>`
      }
      <p class="hidden-visually" role="status" data-testid="announcement">
        ${newest === undefined ? '' : `${newest.title}: ${fateWords[newest.fate]}. ${newest.detail}`}
      </p>
    </section>`
  }
}

function renderEntry({ title, fate, detail, tookMs }: ActivityEntry): TemplateResult {
  return html`<li class=${fate} data-testid="activity-entry" data-fate=${fate}>
    <span class="title" title=${title}>${title}</span>
    <span class="fate">${fateWords[fate]}${tookMs === undefined ? '' : ` · ${formatDuration(tookMs)}`}</span>
    ${detail === '' ? nothing : html`<span class="detail">${detail}</span>`}
  </li>`
}

customElements.define('activity-log', ActivityLog)

declare global {
  interface HTMLElementTagNameMap {
    'activity-log': ActivityLog
  }
}
