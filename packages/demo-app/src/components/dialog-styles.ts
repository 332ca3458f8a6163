// How the page's dialogs look.
import { css } from 'lit'

export const dialog = css`
  dialog {
    width: min(30rem, calc(100vw - 2rem));
    padding: var(--space-5);
    border: 1px solid var(--line);
    border-radius: var(--radius-l);
    background: var(--surface);
    color: var(--ink);
  }
  dialog::backdrop {
    background: rgb(0 0 0 / 45%);
  }
  dialog h2 {
    margin: 0 0 var(--space-3);
    font-size: var(--text-l);
    font-weight: 600;
  }
  dialog p {
    margin: 0 0 var(--space-4);
    font-size: var(--text-s);
  }
  dialog form {
    display: flex;
    flex-wrap: wrap;
    justify-content: flex-end;
    gap: var(--space-2);
  }
`
