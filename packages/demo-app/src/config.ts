// What depends on where the page is served: the address of the signaling server. In order of precedence: `?signaling=` in
// the page's address (invite links keep it), `<meta name="wepaxos-signaling" content="…">`, and /signal on the page's host.

/** What the address is read from. */
export interface PageFacts {
  /** The page's own address. */
  readonly href: string
  /** The content of the meta tag; null where there is none. */
  readonly meta: string | null
}

/** The name of this demo's one state machine in its room. */
export const partition = 'demo'

export function pageFacts(page: Document): PageFacts {
  const meta = page.querySelector('meta[name="wepaxos-signaling"]')
  return { href: page.location.href, meta: meta?.getAttribute('content') ?? null }
}

/** The WebSocket address of the signaling server. Throws a TypeError where the configured one is no address. */
export function signalingUrl({ href, meta }: PageFacts): string {
  const configured = new URL(href).searchParams.get('signaling') || meta || '/signal'
  const url = new URL(configured, href)
  if (url.protocol === 'http:') url.protocol = 'ws:'
  if (url.protocol === 'https:') url.protocol = 'wss:'
  if (url.protocol !== 'ws:' && url.protocol !== 'wss:') {
    throw new TypeError(`the signaling server's address begins with ws: or wss:, not ${url.protocol}`)
  }
  url.hash = ''
  return url.href
}
