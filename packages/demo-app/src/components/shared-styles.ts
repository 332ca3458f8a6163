// What the components' styles have in common: controls, headings, the colours of peers. The tokens are in styles.css.
import { css } from 'lit'

export const controls = css`
  :host {
    box-sizing: border-box;
  }
  :host([hidden]) {
    display: none;
  }
  *,
  *::before,
  *::after {
    box-sizing: border-box;
  }
  button,
  input {
    font: inherit;
    color: inherit;
  }
  button {
    display: inline-flex;
    align-items: center;
    justify-content: center;
    gap: 0.4em;
    min-height: 2rem;
    padding: 0 0.75rem;
    border: 1px solid var(--line);
    border-radius: var(--radius);
    background: var(--surface);
    font-size: var(--text-s);
    font-weight: 500;
    white-space: nowrap;
    cursor: pointer;
  }
  button:hover {
    background: var(--hover);
  }
  button:disabled {
    opacity: 0.55;
    cursor: not-allowed;
  }
  button.primary {
    border-color: transparent;
    background: var(--accent);
    color: var(--on-accent);
  }
  button.primary:hover:enabled {
    background: var(--accent-hover);
  }
  button.danger {
    border-color: currentColor;
    color: var(--bad);
  }
  button.quiet {
    border-color: transparent;
    background: transparent;
  }
  button.quiet:hover:enabled {
    background: var(--hover);
  }
  button.icon {
    width: 2rem;
    padding: 0;
  }
  input[type='text'],
  input[type='search'] {
    width: 100%;
    min-width: 0;
    min-height: 2rem;
    padding: 0.2rem 0.6rem;
    border: 1px solid var(--control-line);
    border-radius: var(--radius);
    background: var(--surface);
    font-size: var(--text-s);
  }
  input.mono {
    font-family: var(--mono);
  }
  input::placeholder {
    color: var(--muted);
    opacity: 1;
  }
  input[aria-invalid='true'] {
    border-color: var(--bad);
  }
  :focus-visible {
    outline: 2px solid var(--accent);
    outline-offset: 2px;
  }
  a {
    color: var(--accent);
  }
  code,
  .mono {
    font-family: var(--mono);
    font-size: 0.96em;
  }
  svg {
    width: 1em;
    height: 1em;
    flex: none;
    fill: none;
    stroke: currentColor;
    stroke-width: 1.6;
    stroke-linecap: round;
    stroke-linejoin: round;
  }
  kbd {
    display: inline-block;
    min-width: 1.6em;
    padding: 0 0.4em;
    border: 1px solid var(--line);
    border-bottom-width: 2px;
    border-radius: 4px;
    background: var(--sunken);
    font: var(--text-xs) / 1.5 var(--mono);
    text-align: center;
  }
  .hidden-visually {
    position: absolute;
    width: 1px;
    height: 1px;
    margin: -1px;
    overflow: hidden;
    clip-path: inset(50%);
    white-space: nowrap;
  }
`

/** A titled box of the side column. */
export const panel = css`
  section {
    padding: var(--space-4);
    border: 1px solid var(--line);
    border-radius: var(--radius-l);
    background: var(--surface);
  }
  h2 {
    margin: 0 0 var(--space-3);
    font-size: var(--text-s);
    font-weight: 600;
    letter-spacing: 0.01em;
  }
  p {
    margin: 0;
  }
  .muted {
    color: var(--muted);
  }
  .small {
    font-size: var(--text-s);
  }
`

/**
 * The colours of peers. A number picks one: a colour that a peer sends is never used as it comes, and the page's policy
 * allows no style attributes.
 */
export const hues = css`
  [data-hue='0'] {
    --hue: var(--hue-0);
  }
  [data-hue='1'] {
    --hue: var(--hue-1);
  }
  [data-hue='2'] {
    --hue: var(--hue-2);
  }
  [data-hue='3'] {
    --hue: var(--hue-3);
  }
  [data-hue='4'] {
    --hue: var(--hue-4);
  }
  [data-hue='5'] {
    --hue: var(--hue-5);
  }
  [data-hue='6'] {
    --hue: var(--hue-6);
  }
  [data-hue='7'] {
    --hue: var(--hue-7);
  }
`
