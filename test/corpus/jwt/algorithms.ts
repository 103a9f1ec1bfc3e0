import { createHmac, createPublicKey, generateKeyPairSync, sign } from 'node:crypto'
import { claimsOf, ecdsa, ecKey, type Good, goodToken, headerOf, type Json, jws } from './forge.ts'

export type Named = [name: string, token: string]

const NOTHING = (): Buffer => Buffer.alloc(0)

/** Algorithms that are none, that turn the public key into a secret, or that the signature is not of. */
export function badAlgorithms(good: Good): Named[] {
  const header = headerOf(good)
  const claims = claimsOf(good)
  const own = ecdsa(good.key.privateKey)
  const withAlg = (alg: Json): Json => ({ ...header, alg })
  const nones = [
    'none',
    'None',
    'NONE',
    'nOnE',
    ' none',
    'none ',
    'none\0',
    '',
    null,
    0,
    false,
    true,
    [],
    {},
    ['none'],
    ['ES256'],
  ]
  const certificate = `-----BEGIN CERTIFICATE-----\n${good.key.x5c[0]?.match(/.{1,64}/g)?.join('\n')}\n-----END CERTIFICATE-----\n`
  const publicKey = createPublicKey(certificate)
  const secrets: [string, string | Buffer][] = [
    ['of no byte', ''],
    ['the CA’s certificate', good.caPem],
    ['the leaf’s certificate', certificate],
    ['the leaf’s certificate as x5c', good.key.x5c[0] ?? ''],
    ['the leaf’s public key as PEM', publicKey.export({ type: 'spki', format: 'pem' })],
    ['the leaf’s public key as DER', publicKey.export({ type: 'spki', format: 'der' })],
    ['the word "secret"', 'secret'],
  ]
  const foreign = [
    'ES384',
    'ES512',
    'ES256K',
    'RS256',
    'RS384',
    'PS256',
    'EdDSA',
    'es256',
    'ES256 ',
    'ES-256',
    'ECDSA',
    'A128KW',
    'dir',
    'RSA-OAEP',
    'HS256',
  ]
  const rsa = generateKeyPairSync('rsa', { modulusLength: 2_048 }).privateKey
  const ed = generateKeyPairSync('ed25519').privateKey
  return [
    ...nones.flatMap((alg): Named[] => [
      [`alg ${JSON.stringify(alg)} without a signature`, jws(withAlg(alg), claims, NOTHING)],
      [`alg ${JSON.stringify(alg)} with somebody's signature`, jws(withAlg(alg), claims, ecdsa(ecKey()))],
    ]),
    ['alg none without x5c', jws({ alg: 'none' }, claims, NOTHING)],
    ['no alg', jws({ typ: 'JWT', x5c: good.key.x5c }, claims, ecdsa(ecKey()))],
    ['ES256 without a signature', jws(header, claims, NOTHING)],
    ...(['256', '384', '512'] as const).flatMap((bits) =>
      secrets.map(
        ([what, secret]): Named => [
          `HS${bits}, the secret is ${what}`,
          jws(withAlg(`HS${bits}`), claims, (input) => createHmac(`sha${bits}`, secret).update(input).digest()),
        ],
      ),
    ),
    ...foreign.map(
      (alg): Named => [`our own ES256 signature called ${JSON.stringify(alg)}`, jws(withAlg(alg), claims, own)],
    ),
    ['RS256 by a key of its own', jws(withAlg('RS256'), claims, (input) => sign('sha256', input, rsa))],
    ['EdDSA by a key of its own', jws(withAlg('EdDSA'), claims, (input) => sign(null, input, ed))],
    ['two algs, none last', jws(`{"alg":"ES256","x5c":${JSON.stringify(good.key.x5c)},"alg":"none"}`, claims, NOTHING)],
    [
      'two algs, none first',
      jws(`{"alg":"none","x5c":${JSON.stringify(good.key.x5c)},"alg":"ES256"}`, claims, NOTHING),
    ],
    ['alg and Alg', jws({ ...header, Alg: 'none' }, claims, NOTHING)],
    [
      'the signature of another token of ours',
      goodToken(good).replace(/[^.]+$/, own(Buffer.from('other')).toString('base64url')),
    ],
  ]
}
