import { BlockList, isIP } from 'node:net'

/**
 * What kind of network an address lies in, as far as a client has to care:
 * `loopback` is this machine, `private` somebody's own network (RFC 1918, 6598, 4193), `never` no place of a registry: link-local
 * (RFC 3927, 4291: the metadata services of clouds answer there), multicast, unspecified, reserved, and the wrappings of IPv4 in
 * IPv6 that nobody uses any more (RFC 6890, RFC 7526).
 */
export type AddressKind = 'public' | 'loopback' | 'private' | 'never'

const KINDS: readonly [AddressKind, BlockList][] = [
  ['loopback', networks('127.0.0.0/8', '::1/128')],
  ['private', networks('10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16', '100.64.0.0/10', 'fc00::/7')],
  [
    'never',
    networks(
      '0.0.0.0/8',
      '169.254.0.0/16',
      '192.0.0.0/24',
      '198.18.0.0/15',
      '224.0.0.0/3',
      '::/96',
      '64:ff9b:1::/48',
      '2001::/32',
      '2002::/16',
      'fe80::/10',
      'fec0::/10',
      'ff00::/8',
    ),
  ],
]

/** NAT64 (RFC 6052): the last 32 bits are the IPv4 address that is really spoken to. */
const NAT64 = '64:ff9b::'

/** `address` is a literal IPv4 or IPv6 address without brackets and zone; IPv4-mapped ones count as what they map. */
export function addressKind(address: string): AddressKind {
  const plain = unwrapped(address)
  const family = isIP(plain) === 6 ? 'ipv6' : 'ipv4'
  return KINDS.find(([, list]) => list.check(plain, family))?.[0] ?? 'public'
}

/** The literal address that a URL's host name is, if it is one: without brackets. */
export function literalAddress(hostname: string): string | undefined {
  const bare = hostname.replace(/^\[|\]$/g, '').toLowerCase()
  return isIP(bare) === 0 ? undefined : bare
}

function unwrapped(address: string): string {
  if (isIP(address) !== 6) return address
  const normal = new URL(`http://[${address.replace(/%.*$/, '')}]`).hostname.slice(1, -1)
  if (!normal.startsWith(NAT64)) return normal
  const groups = normal
    .slice(NAT64.length)
    .split(':')
    .filter((group) => group !== '')
  if (groups.length > 2) return normal
  const value = groups.reduce((sum, group) => sum * 65_536 + Number.parseInt(group, 16), 0)
  return [24, 16, 8, 0].map((shift) => Math.floor(value / 2 ** shift) % 256).join('.')
}

function networks(...texts: readonly string[]): BlockList {
  const list = new BlockList()
  for (const text of texts) {
    const [network = '', prefix] = text.split('/')
    list.addSubnet(network, Number(prefix), isIP(network) === 6 ? 'ipv6' : 'ipv4')
  }
  return list
}
