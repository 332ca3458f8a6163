/** For every Chromium that is started here: it asks the network for nothing, and shows nothing of its own. */
export const chromiumArguments: readonly string[] = [
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--no-first-run',
  '--disable-quic',
  // Chromium's sandbox refuses to start under root.
  ...(process.getuid?.() === 0 ? ['--no-sandbox'] : []),
]
