// Who is at the other end of a connection: the address that limits are counted by, and whether a proxy's word for it is
// believed. No limits here.
import { BlockList, isIP } from 'node:net'

/** The proxies that the operator named, as something that can be asked. */
export function proxyList(entries: readonly string[]): BlockList {
  const proxies = new BlockList()
  for (const entry of entries) {
    const [address = '', prefix] = entry.split('/')
    const family = isIP(address) === 4 ? 'ipv4' : 'ipv6'
    if (prefix === undefined) proxies.addAddress(address, family)
    else proxies.addSubnet(address, Number(prefix), family)
  }
  return proxies
}

/**
 * The client's address. X-Forwarded-For is read from its end, for only as long as the hops are trusted: what stands before
 * the first stranger is the stranger's own invention. A hop that is no address ends the reading at the last proxy.
 */
export function clientAddress(remote: string, forwardedFor: string | undefined, proxies: BlockList): string {
  const hops = forwardedFor === undefined ? [] : forwardedFor.split(',').map((hop) => withoutPort(hop.trim()))
  let address = remote
  while (isTrusted(address, proxies)) {
    const hop = hops.pop()
    if (hop === undefined || isIP(hop) === 0) return address
    address = hop
  }
  return address
}

/** What is counted as one client: an IPv4 address, or the /64 that one IPv6 customer has to himself. */
export function addressKey(address: string): string {
  if (isIP(address) !== 6) return address
  const groups = ipv6Groups(address)
  const mapped = groups.slice(0, 5).every((group) => group === 0) && groups[5] === 0xffff
  if (mapped) {
    const [high = 0, low = 0] = groups.slice(6)
    return [high >> 8, high & 0xff, low >> 8, low & 0xff].join('.')
  }
  const network = groups.slice(0, 4).map((group) => group.toString(16))
  return `${network.join(':')}::/64`
}

/** Some proxies write `192.0.2.1:5678`, and `[2001:db8::1]:5678` or `[2001:db8::1]`. */
function withoutPort(hop: string): string {
  const [, v6, v4] = /^(?:\[([^\]]*)\](?::\d{1,5})?|([\d.]+):\d{1,5})$/.exec(hop) ?? []
  return v6 ?? v4 ?? hop
}

/** Whether it is one of the proxies that the operator named. */
export function isTrusted(address: string, proxies: BlockList): boolean {
  const key = addressKey(address)
  return isIP(key) === 4 ? proxies.check(key, 'ipv4') : isIP(address) === 6 && proxies.check(address, 'ipv6')
}

/** The eight numbers of an address that isIP has called version 6. */
function ipv6Groups(address: string): readonly number[] {
  const [withoutZone = ''] = address.split('%')
  const dotted = /^(.*:)(\d+)\.(\d+)\.(\d+)\.(\d+)$/.exec(withoutZone)
  const pure =
    dotted === null ? withoutZone : `${dotted[1]}${hexPair(dotted[2], dotted[3])}:${hexPair(dotted[4], dotted[5])}`
  const [head = '', tail] = pure.split('::')
  const before = groupsOf(head)
  const after = tail === undefined ? [] : groupsOf(tail)
  const zeros = Array.from({ length: Math.max(0, 8 - before.length - after.length) }, () => 0)
  return [...before, ...zeros, ...after]
}

function groupsOf(text: string): readonly number[] {
  return text === '' ? [] : text.split(':').map((group) => Number.parseInt(group, 16))
}

function hexPair(high = '0', low = '0'): string {
  return (Number(high) * 256 + Number(low)).toString(16)
}
