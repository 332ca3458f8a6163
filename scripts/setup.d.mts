// What vitest.config.ts uses of setup.mjs, which is plain JavaScript because it runs before anything is installed.

/** A path to a Chromium that is installed here; undefined where there is none. */
export function findBrowser(): string | undefined
