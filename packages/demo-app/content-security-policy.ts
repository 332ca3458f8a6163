// The policy that the built page carries, and that whoever serves it should send as a header too. It shuts out injected
// scripts and foreign requests; it can not stop WebRTC, for which browsers have no directive.

/**
 * Where the page may look for a signaling server besides its own origin. By default this machine, so that a build can be
 * tried with any local server.
 */
export const localSignalingSources: readonly string[] = ['ws://127.0.0.1:*', 'ws://localhost:*']

/**
 * The policy's text. As a header it also says who may frame the page; browsers ignore that part (and complain about it)
 * in a `<meta>` tag.
 */
export function contentSecurityPolicy(place: 'header' | 'meta', signalingSources = localSignalingSources): string {
  return [
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self' data:",
    ["connect-src 'self'", ...signalingSources].join(' '),
    "base-uri 'none'",
    "form-action 'none'",
    ...(place === 'header' ? ["frame-ancestors 'none'"] : []),
    "require-trusted-types-for 'script'",
    'trusted-types lit-html',
  ].join('; ')
}
