// The STUN and TURN servers that the signaling server names, checked. A browser throws at an address that it does not
// understand, and no word of the server's may keep a page from making links.

/** What a room uses of RTCIceServer when the server says it. */
export interface NamedIceServer {
  readonly urls: string[]
  readonly username?: string
  readonly credential?: string
}

/** Browsers slow down with each one, and complain from five on. */
const serversMax = 8
const urlsMax = 8
const textLengthMax = 1_024
const addressPattern =
  /^(stuns?|turns?):([A-Za-z0-9](?:[A-Za-z0-9.-]{0,252}[A-Za-z0-9])?|\[[0-9A-Fa-f:.]{2,45}\])(?::([0-9]{1,5}))?(\?transport=(?:udp|tcp))?$/

/** Those of the list that a connection can be made with; anything else in it is left out. Not a list: none. */
export function decodeIceServers(value: unknown): readonly NamedIceServer[] {
  if (!Array.isArray(value)) return []
  return value
    .slice(0, serversMax)
    .map(decodeIceServer)
    .filter((server) => server !== undefined)
}

function decodeIceServer(value: unknown): NamedIceServer | undefined {
  if (typeof value !== 'object' || value === null) return undefined
  const { urls, username, credential } = value as Readonly<Record<string, unknown>>
  const hasCredentials = isText(username) && isText(credential)
  const given: readonly unknown[] = Array.isArray(urls) ? urls : [urls]
  const usable = given.slice(0, urlsMax).filter((url): url is string => isAddress(url, hasCredentials))
  if (usable.length === 0) return undefined
  return hasCredentials ? { urls: usable, username, credential } : { urls: usable }
}

/** A TURN server without credentials is an error to browsers; so is a STUN server that is told a transport. */
function isAddress(url: unknown, hasCredentials: boolean): boolean {
  const [, scheme, host, port = '3478', transport] = (typeof url === 'string' && addressPattern.exec(url)) || []
  if (scheme === undefined || !URL.canParse(`http://${host}`)) return false
  if (Number(port) < 1 || Number(port) > 65_535) return false
  return scheme.startsWith('turn') ? hasCredentials : transport === undefined
}

function isText(value: unknown): value is string {
  return typeof value === 'string' && value.length > 0 && value.length <= textLengthMax
}
