import { createPublicKey, generateKeyPairSync, type KeyObject, sign } from 'node:crypto'
import { makeCertificate } from '../../../registry-auth/certificate.ts'
import type { SigningKey } from '../../../registry-auth/index.ts'

export type Json = unknown
export const encode = (value: Json): string =>
  (Buffer.isBuffer(value) ? value : Buffer.from(typeof value === 'string' ? value : JSON.stringify(value))).toString(
    'base64url',
  )

/** A JWS in compact form; `header` and `payload` may be texts that are no JSON. */
export function jws(header: Json, payload: Json, signer: (input: Buffer) => Buffer): string {
  const input = `${encode(header)}.${encode(payload)}`
  return `${input}.${signer(Buffer.from(input)).toString('base64url')}`
}

export const ecdsa =
  (key: KeyObject, hash = 'sha256') =>
  (input: Buffer): Buffer =>
    sign(hash, input, { key, dsaEncoding: 'ieee-p1363' })

export const ecKey = (namedCurve = 'P-256'): KeyObject => generateKeyPairSync('ec', { namedCurve }).privateKey

/** base64 DER, as `x5c` carries it. */
export function certify(
  key: KeyObject,
  issuer: string,
  issuerKey: KeyObject,
  over: { authority?: boolean; fromMs?: number; toMs?: number } = {},
): string {
  const now = Date.now()
  return makeCertificate({
    subject: over.authority === true ? issuer : 'Slipway registry tokens',
    publicKey: createPublicKey(key),
    issuer,
    issuerKey,
    notBeforeMs: over.fromMs ?? now - 3_600_000,
    notAfterMs: over.toMs ?? now + 3_600_000,
    authority: over.authority ?? false,
  }).toString('base64')
}

/** What a token needs to be good; each bad one differs from it in one thing. */
export interface Good {
  key: SigningKey
  caPem: string
  issuer: string
  service: string
  repository: string
}

export const headerOf = ({ key }: Good): Record<string, Json> => ({ alg: 'ES256', typ: 'JWT', x5c: key.x5c })

export function claimsOf({ issuer, service, repository }: Good): Record<string, Json> {
  const now = Math.floor(Date.now() / 1_000)
  const access = [{ type: 'repository', name: repository, actions: ['pull', 'push', '*'] }]
  return { iss: issuer, sub: 'ci', aud: service, iat: now, nbf: now, exp: now + 600, jti: 'a', access }
}

export const goodToken = (good: Good): string => jws(headerOf(good), claimsOf(good), ecdsa(good.key.privateKey))
