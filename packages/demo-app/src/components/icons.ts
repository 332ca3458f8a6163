// The few icons of the page, drawn on a 16 × 16 grid. All are decoration: whoever uses one gives it a name in text.
import { html, type TemplateResult } from 'lit'

export const icons = {
  copy: html`<svg viewBox="0 0 16 16" aria-hidden="true"><rect x="5.5" y="5.5" width="8" height="8" rx="1.5" /><path d="M10.5 3.2V3A1.5 1.5 0 0 0 9 1.5H3A1.5 1.5 0 0 0 1.5 3v6A1.5 1.5 0 0 0 3 10.5h.2" /></svg>`,
  check: html`<svg viewBox="0 0 16 16" aria-hidden="true"><path d="m3 8.5 3.5 3.5L13 4.5" /></svg>`,
  edit: html`<svg viewBox="0 0 16 16" aria-hidden="true"><path d="M10.8 2.7a1.4 1.4 0 0 1 2 0l.5.5a1.4 1.4 0 0 1 0 2L5.5 13l-3 .5.5-3z" /></svg>`,
  remove: html`<svg viewBox="0 0 16 16" aria-hidden="true"><path d="M2.5 4.5h11M6.5 2.5h3M4 4.5l.6 8.1a1 1 0 0 0 1 .9h4.8a1 1 0 0 0 1-.9L12 4.5" /></svg>`,
  sun: html`<svg viewBox="0 0 16 16" aria-hidden="true"><circle cx="8" cy="8" r="2.8" /><path d="M8 1.5v1M8 13.5v1M1.5 8h1M13.5 8h1M3.4 3.4l.7.7M11.9 11.9l.7.7M3.4 12.6l.7-.7M11.9 4.1l.7-.7" /></svg>`,
  moon: html`<svg viewBox="0 0 16 16" aria-hidden="true"><path d="M13.5 9.6A5.9 5.9 0 0 1 6.4 2.5a5.9 5.9 0 1 0 7.1 7.1z" /></svg>`,
  help: html`<svg viewBox="0 0 16 16" aria-hidden="true"><circle cx="8" cy="8" r="6.3" /><path d="M6.2 6.3a1.8 1.8 0 1 1 2.7 1.6c-.6.3-.9.7-.9 1.3M8 11.4v.1" /></svg>`,
  leave: html`<svg viewBox="0 0 16 16" aria-hidden="true"><path d="M6.5 2.5h-3a1 1 0 0 0-1 1v9a1 1 0 0 0 1 1h3M10 11l3-3-3-3M13 8H6.5" /></svg>`,
  mark: html`<svg viewBox="0 0 16 16" aria-hidden="true"><path d="M3 4h10M3 4l5 8.5M13 4l-5 8.5" /><g fill="currentColor"><circle cx="3" cy="4" r="1.7" /><circle cx="13" cy="4" r="1.7" /><circle cx="8" cy="12.5" r="1.7" /></g></svg>`,
} satisfies Readonly<Record<string, TemplateResult>>
