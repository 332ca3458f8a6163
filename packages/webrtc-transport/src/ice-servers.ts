// STUN and TURN servers, checked: those that the signaling server names, and those that the application gives. A browser
// throws at an address that it does not understand. No word of the server's may keep a page from making links, and the
// application hears of it when it joins.
import { WepaxosError } from '@wepaxos/core'

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
/** libwebrtc makes no connection with a longer one (RFC 8489, section 14.3). */
const usernameBytesMax = 509
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

/** Throws InvalidArgument at the first one that no connection can be made with. */
export function checkIceServers(servers: readonly RTCIceServer[]): void {
  if (!Array.isArray(servers)) throw new WepaxosError('InvalidArgument', 'iceServers is a list of RTCIceServer')
  for (const [index, server] of servers.entries()) {
    const urls: unknown = server?.urls
    const given: readonly unknown[] = Array.isArray(urls) ? urls : [urls]
    if (given.length > 0 && given.every((url) => isAddress(url, hasCredentials(server)))) continue
    // Never the credentials.
    const problem =
      `iceServers[${index}] has addresses stun:host, or turn:host?transport=tcp with username (at most ` +
      `${usernameBytesMax} bytes) and credential, not ${JSON.stringify(urls)}`
    throw new WepaxosError('InvalidArgument', problem)
  }
}

function decodeIceServer(value: unknown): NamedIceServer | undefined {
  if (typeof value !== 'object' || value === null) return undefined
  const { urls } = value as Readonly<Record<string, unknown>>
  const given: readonly unknown[] = Array.isArray(urls) ? urls : [urls]
  const usable = given.slice(0, urlsMax).filter((url): url is string => isAddress(url, hasCredentials(value)))
  if (usable.length === 0) return undefined
  return hasCredentials(value)
    ? { urls: usable, username: value.username, credential: value.credential }
    : { urls: usable }
}

function hasCredentials(server: unknown): server is { readonly username: string; readonly credential: string } {
  const { username, credential } = (server ?? {}) as Readonly<Record<string, unknown>>
  return isText(username) && new TextEncoder().encode(username).length <= usernameBytesMax && isText(credential)
}

/** A TURN server without credentials is an error to browsers; so is a STUN server that is told a transport. */
function isAddress(url: unknown, isAuthorized: boolean): boolean {
  const [, scheme, host, port = '3478', transport] = (typeof url === 'string' && addressPattern.exec(url)) || []
  if (scheme === undefined || !URL.canParse(`http://${host}`)) return false
  if (Number(port) < 1 || Number(port) > 65_535) return false
  return scheme.startsWith('turn') ? isAuthorized : transport === undefined
}

function isText(value: unknown): value is string {
  return typeof value === 'string' && value.length > 0 && value.length <= textLengthMax
}
