import type { LookupAddress } from 'node:dns'
import type { LookupFunction } from 'node:net'
import { describe, expect, it } from 'vitest'
import { addressKind } from '../../../oci/address.ts'
import { guardedLookup } from '../../../oci/guarded-lookup.ts'
import type { Reach } from '../../../oci/index.ts'

describe('the kind of an address', () => {
  const kinds: [string, string][] = [
    ['203.0.113.9', 'public'],
    ['2001:db8::1', 'public'],
    ['64:ff9b::cb00:7109', 'public'],
    ['127.8.9.1', 'loopback'],
    ['::1', 'loopback'],
    ['::ffff:127.0.0.1', 'loopback'],
    ['64:ff9b::7f00:1', 'loopback'],
    ['10.0.0.1', 'private'],
    ['172.31.255.255', 'private'],
    ['172.32.0.1', 'public'],
    ['192.168.0.1', 'private'],
    ['100.127.0.1', 'private'],
    ['100.128.0.1', 'public'],
    ['fd12::1', 'private'],
    ['::ffff:10.0.0.1', 'private'],
    ['64:ff9b::10.0.0.1', 'private'],
    ['169.254.169.254', 'never'],
    ['::ffff:169.254.169.254', 'never'],
    ['64:ff9b::a9fe:a9fe', 'never'],
    ['fe80::1%eth0', 'never'],
    ['0.0.0.0', 'never'],
    ['::', 'never'],
    ['64:ff9b::', 'never'],
    ['::7f00:1', 'never'],
    ['2002:7f00:1::', 'never'],
    ['224.0.0.1', 'never'],
    ['255.255.255.255', 'never'],
    ['ff02::1', 'never'],
  ]
  it.each(kinds)('%s is %s', (address, kind) => {
    expect(addressKind(address)).toBe(kind)
  })
})

function resolved(hostname: string, addresses: string[], reach: Reach = {}, origin = 'https://r.example') {
  const system: LookupFunction = (_name, _options, callback) =>
    callback(
      null,
      addresses.map((address) => ({ address, family: address.includes(':') ? 6 : 4 })),
    )
  const lookup = guardedLookup('r.example', new URL(origin), reach, system)
  const { promise, resolve, reject } = Promise.withResolvers<string | LookupAddress[]>()
  lookup(hostname, { all: true }, (error, found) => (error === null ? resolve(found) : reject(error)))
  return promise
}

describe('a name that a client of a registry connects to', () => {
  it('is connected to at the addresses that were judged', async () => {
    expect(await resolved('r.example', ['203.0.113.9', '2001:db8::1'])).toEqual([
      { address: '203.0.113.9', family: 4 },
      { address: '2001:db8::1', family: 6 },
    ])
  })

  const refused: [string, string[], Reach][] = [
    ['r.example', ['127.0.0.1'], {}],
    ['r.example', ['10.0.0.1'], {}],
    ['r.example', ['203.0.113.9', '10.0.0.1'], {}],
    ['r.example', ['169.254.169.254'], { allowPrivate: true }],
    ['storage.example', ['127.0.0.1'], { allowPrivate: true }],
    ['storage.example', ['::ffff:10.0.0.1'], {}],
  ]
  it.each(refused)('is refused: %s at %j with %j', async (hostname, addresses, reach) => {
    await expect(resolved(hostname, addresses, reach)).rejects.toMatchObject({
      code: 'registry-address-refused',
      retryable: false,
      hint: expect.stringContaining('slipway registry add r.example'),
    })
  })

  const allowed: [string, string[], Reach, string][] = [
    ['r.example', ['127.0.0.1'], { allowPrivate: true }, 'https://r.example'],
    ['storage.example', ['10.0.0.1'], { allowPrivate: true }, 'https://r.example'],
    ['localhost', ['127.0.0.1', '::1'], {}, 'http://localhost:5000'],
  ]
  it.each(allowed)('is allowed: %s at %j with %j at %s', async (hostname, addresses, reach, origin) => {
    expect(await resolved(hostname, addresses, reach, origin)).toHaveLength(addresses.length)
  })
})
