// Later in this task. A promise's reaction instead of queueMicrotask, which in a browser costs many times as much: every call
// goes through the page's callback machinery, and a command takes a dozen of them.

const settled = Promise.resolve()

/** Calls `action` when what runs now has come to its end. What it throws is an unhandled rejection. */
export function microtask(action: () => void): void {
  void settled.then(action)
}
