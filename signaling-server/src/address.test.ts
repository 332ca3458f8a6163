import { describe, expect, it } from 'vitest'
import { addressKey, clientAddress, proxyList } from './address.ts'

describe('addressKey', () => {
  it.each([
    ['192.0.2.7', '192.0.2.7'],
    ['::ffff:192.0.2.7', '192.0.2.7'],
    ['::ffff:c000:207', '192.0.2.7'],
    ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2::/64'],
    ['2001:db8:1:2::9', '2001:db8:1:2::/64'],
    ['2001:0db8:0001:0002::', '2001:db8:1:2::/64'],
    ['::1', '0:0:0:0::/64'],
    ['fe80::1%eth0', 'fe80:0:0:0::/64'],
    ['64:ff9b::192.0.2.7', '64:ff9b:0:0::/64'],
  ])('counts %s as %s', (address, key) => {
    expect(addressKey(address)).toBe(key)
  })
})

describe('clientAddress', () => {
  const proxies = proxyList(['127.0.0.1', '10.0.0.0/8', '2001:db8::/32'])

  it('does not believe the header of a stranger', () => {
    expect(clientAddress('192.0.2.1', '198.51.100.1', proxies)).toBe('192.0.2.1')
  })

  it('believes a trusted proxy, also one that is written as IPv6', () => {
    expect(clientAddress('127.0.0.1', '198.51.100.1', proxies)).toBe('198.51.100.1')
    expect(clientAddress('::ffff:127.0.0.1', '198.51.100.1', proxies)).toBe('198.51.100.1')
    expect(clientAddress('2001:db8::5', '198.51.100.1', proxies)).toBe('198.51.100.1')
  })

  it('stops at the first stranger from the end, so that what a client invents counts for nothing', () => {
    expect(clientAddress('127.0.0.1', '203.0.113.9, 198.51.100.1, 10.1.2.3', proxies)).toBe('198.51.100.1')
  })

  it.each([
    ['198.51.100.1:5678', '198.51.100.1'],
    ['198.51.100.1:5678, 10.1.2.3:80', '198.51.100.1'],
    ['[2001:470::1]:5678', '2001:470::1'],
    ['[2001:470::1], [2001:db8::7]:443', '2001:470::1'],
    ['2001:470::1', '2001:470::1'],
    ['198.51.100.1:port', '127.0.0.1'],
    ['[198.51.100.1', '127.0.0.1'],
    ['[]:80', '127.0.0.1'],
  ])('reads %s, with ports or without, as %s', (forwarded, address) => {
    expect(clientAddress('127.0.0.1', forwarded, proxies)).toBe(address)
  })

  it('takes the proxy itself when its header is missing or holds no address', () => {
    expect(clientAddress('127.0.0.1', undefined, proxies)).toBe('127.0.0.1')
    expect(clientAddress('127.0.0.1', '198.51.100.1, nonsense', proxies)).toBe('127.0.0.1')
  })
})
