import type { Named } from './algorithms.ts'
import { claimsOf, ecdsa, encode, type Good, goodToken, headerOf, jws } from './forge.ts'

const ORDER_P256 = 'ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551'

/** A good token that was changed, cut, wrapped or written in another way. */
export function badEncodings(good: Good): Named[] {
  const token = goodToken(good)
  const [header = '', payload = '', signature = ''] = token.split('.')
  const claims = claimsOf(good)
  const own = ecdsa(good.key.privateKey)
  const bytes = Buffer.from(signature, 'base64url')
  const withSignature = (value: Buffer | string): string =>
    `${header}.${payload}.${typeof value === 'string' ? value : value.toString('base64url')}`
  const withPayload = (value: unknown): string => `${header}.${encode(value)}.${signature}`
  const flipped = (at: number): Buffer => Buffer.from(bytes.map((byte, index) => (index === at ? byte ^ 1 : byte)))
  return [
    ['header and claims only', `${header}.${payload}`],
    ['header and claims and a point', `${header}.${payload}.`],
    ['four parts', `${token}.${signature}`],
    ['a point before it', `.${token}`],
    ['two points between', `${header}..${payload}.${signature}`],
    ['no header', `.${payload}.${signature}`],
    ['no claims', `${header}..${signature}`],
    ['claims before the header', `${payload}.${header}.${signature}`],
    ['points only', '..'],
    ['a word', 'token'],
    ['five parts, as if it were encrypted', `${header}.${header}.${payload}.${payload}.${signature}`],
    ['general JSON form', encode({ payload, signatures: [{ protected: header, signature }] })],
    ['flat JSON form', JSON.stringify({ payload, protected: header, signature }).replaceAll(' ', '')],
    ['a token in a token', jws(headerOf(good), token, own)],
    ['a header that is null', jws('null', claims, own)],
    ['a header that is a list', jws('[]', claims, own)],
    ['a header that is no JSON', jws('{', claims, own)],
    ['a header of NULs', jws('\0\0', claims, own)],
    [
      'a header in UTF-16',
      `${Buffer.from(JSON.stringify(headerOf(good)), 'utf16le').toString('base64url')}.${payload}.${signature}`,
    ],
    ['a header with blanks in its base64', `${header.slice(0, 5)} ${header.slice(5)}.${payload}.${signature}`],
    ['no base64 in the claims', `${header}.%%%.${signature}`],
    ['no base64 in the signature', withSignature('!!!!')],
    [
      'the signature in DER',
      withSignature(
        Buffer.concat([
          Buffer.from([0x30, 68, 2, 32]),
          bytes.subarray(0, 32),
          Buffer.from([2, 32]),
          bytes.subarray(32),
        ]),
      ),
    ],
    ['a signature of zeros', withSignature(Buffer.alloc(64))],
    ['a signature of ones', withSignature(Buffer.alloc(64, 0xff))],
    ['r is 0', withSignature(Buffer.concat([Buffer.alloc(32), bytes.subarray(32)]))],
    ['s is 0', withSignature(Buffer.concat([bytes.subarray(0, 32), Buffer.alloc(32)]))],
    ['r and s are the order of the curve', withSignature(Buffer.from(ORDER_P256.repeat(2), 'hex'))],
    ['r and s changed places', withSignature(Buffer.concat([bytes.subarray(32), bytes.subarray(0, 32)]))],
    ['half a signature', withSignature(bytes.subarray(0, 32))],
    ['a signature that lacks a byte', withSignature(bytes.subarray(0, 63))],
    ['a signature with a byte more', withSignature(Buffer.concat([bytes, Buffer.from([0])]))],
    ['a signature of 4 KB', withSignature(Buffer.alloc(4_096, 1))],
    ...Array.from(
      { length: 16 },
      (_, n): Named => [`bit ${n * 32} of the signature flipped`, withSignature(flipped(n * 4))],
    ),
    ['another subject', withPayload({ ...claims, sub: 'admin' })],
    ['a later end', withPayload({ ...claims, exp: Number(claims['exp']) + 10_000 })],
    [
      'another repository',
      withPayload({ ...claims, access: [{ type: 'repository', name: 'a/b', actions: ['pull'] }] }),
    ],
    ['a claim said twice', withPayload(`${JSON.stringify(claims).slice(0, -1)},"sub":"admin"}`)],
    ['claims with a blank more', withPayload(`${JSON.stringify(claims)} `)],
    ['a token of 12 KB', withPayload({ ...claims, more: 'x'.repeat(9_000) })],
    ['claims 200 levels deep', withPayload(`{"a":${'['.repeat(200)}${']'.repeat(200)}}`)],
  ]
}
