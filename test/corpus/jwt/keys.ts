import { createPublicKey } from 'node:crypto'
import type { Named } from './algorithms.ts'
import { certify, claimsOf, ecdsa, ecKey, type Good, headerOf, type Json, jws } from './forge.ts'

const CA_NAME = 'Slipway registry CA'

/** Signed by somebody, and everything by which a token could bring its own trust along. */
export function badKeys(good: Good): Named[] {
  const claims = claimsOf(good)
  const header = headerOf(good)
  const [leaf = ''] = good.key.x5c
  const ca = Buffer.from(good.caPem.replace(/-----[^-]+-----|\s/g, ''), 'base64').toString('base64')
  const key = ecKey()
  const otherCa = ecKey()
  const jwk = createPublicKey(key).export({ format: 'jwk' })
  const otherCaCertificate = certify(otherCa, CA_NAME, otherCa, { authority: true })
  const otherLeaf = certify(key, CA_NAME, otherCa)
  const selfSigned = certify(key, 'Slipway registry tokens', key)
  const byLeaf = certify(key, 'Slipway registry tokens', good.key.privateKey)
  const byLeafAsCa = certify(key, CA_NAME, good.key.privateKey)
  const signed = (over: Record<string, Json>, by = key): string => jws({ ...header, ...over }, claims, ecdsa(by))
  const without = (over: Record<string, Json>): string => jws({ alg: 'ES256', typ: 'JWT', ...over }, claims, ecdsa(key))
  const chains: [string, Json][] = [
    ['our leaf', [leaf]],
    ['our leaf and our CA', [leaf, ca]],
    ['our CA', [ca]],
    ['our CA and our leaf, in the wrong order', [ca, leaf]],
    ['itself', [selfSigned]],
    ['itself and our CA', [selfSigned, ca]],
    ['itself and our leaf', [selfSigned, leaf]],
    ['a leaf of another CA of the same name', [otherLeaf]],
    ['a chain of another CA of the same name', [otherLeaf, otherCaCertificate]],
    ['a chain of another CA, then our CA', [otherLeaf, otherCaCertificate, ca]],
    ['a leaf of another CA, then our CA', [otherLeaf, ca]],
    ['our leaf, then a leaf of another CA', [leaf, otherLeaf]],
    ['our leaf as if it were a CA', [byLeaf, leaf]],
    ['our leaf as if it were a CA, and our CA', [byLeaf, leaf, ca]],
    ['our leaf under the CA’s name', [byLeafAsCa, leaf, ca]],
    ['our leaf under the CA’s name, alone', [byLeafAsCa]],
    ['nothing', []],
    ['an empty certificate', ['']],
    ['null', null],
    ['a text', leaf],
    ['a number', 5],
    ['a list of numbers', [5]],
    ['a certificate that is cut', [leaf.slice(0, 200)]],
    ['a certificate with bytes behind it', [`${leaf}AAAA`]],
    ['a certificate in PEM', [good.caPem]],
    ['a certificate in base64url', [Buffer.from(otherLeaf, 'base64').toString('base64url')]],
    ['no base64', ['%%%%']],
    ['a chain of 16', Array.from({ length: 16 }, () => otherLeaf)],
    ['a leaf that has expired', [certify(key, CA_NAME, otherCa, { toMs: Date.now() - 1_000 })]],
    ['a leaf of the future', [certify(key, CA_NAME, otherCa, { fromMs: Date.now() + 3_000_000 })]],
  ]
  const pointers: Record<string, Json>[] = [
    { jwk },
    { jku: 'http://127.0.0.1:1/keys' },
    { jku: 'https://attacker.example/keys', kid: 'a' },
    { jku: 'file:///etc/passwd' },
    { x5u: 'http://127.0.0.1:1/chain.pem' },
    { x5u: 'file:///etc/ssl/cert.pem' },
    { kid: '../../../../dev/null' },
    { kid: "' OR 1=1 --" },
    { kid: '' },
    { kid: 'a\0b' },
    { kid: [] },
    { kid: 5 },
    { kid: 'AAAA:BBBB:CCCC:DDDD:EEEE:FFFF:GGGG:HHHH:IIII:JJJJ:KKKK:LLLL' },
    { x5t: 'AAAA' },
    { 'x5t#S256': 'AAAA' },
    { jwk: { kty: 'oct', k: 'AAAA' } },
    { jwk: { ...jwk, x: 'AA' } },
    { jwk: null },
    { jwk: 'x' },
    { jwk: { kty: 'RSA', n: 'AQAB', e: 'AQAB' } },
  ]
  const critical: Json[] = [['exp'], ['b64'], ['x-unknown'], [], 'exp', null, ['alg'], [5]]
  return [
    ...chains.map(([what, x5c]): Named => [`a key of its own, x5c is ${what}`, signed({ x5c })]),
    ['our key, x5c is a leaf of another CA', signed({ x5c: [otherLeaf] }, good.key.privateKey)],
    [
      'our key, x5c is itself signed',
      signed({ x5c: [certify(good.key.privateKey, 'a', good.key.privateKey)] }, good.key.privateKey),
    ],
    ['our key without x5c', jws({ alg: 'ES256' }, claims, ecdsa(good.key.privateKey))],
    ...pointers.map((over): Named => [`a key of its own, by ${JSON.stringify(over).slice(0, 60)}`, without(over)]),
    ...pointers
      .slice(0, 6)
      .map((over): Named => [`a key of its own, x5c ours, by ${JSON.stringify(over).slice(0, 60)}`, signed(over)]),
    ...critical.map(
      (crit): Named => [`a key of its own, crit ${JSON.stringify(crit)}`, signed({ crit, 'x-unknown': 1, b64: false })],
    ),
  ]
}
