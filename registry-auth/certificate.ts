import { createHash, createPublicKey, type KeyObject, randomBytes, sign } from 'node:crypto'
import {
  bitString,
  boolean,
  context,
  integer,
  objectIdentifier,
  octetString,
  sequence,
  set,
  time,
  utf8String,
} from './der.ts'

const ECDSA_WITH_SHA256 = '1.2.840.10045.4.3.2'
const COMMON_NAME = '2.5.4.3'
const EXTENSION = {
  subjectKeyId: '2.5.29.14',
  keyUsage: '2.5.29.15',
  basicConstraints: '2.5.29.19',
  authorityKeyId: '2.5.29.35',
} as const
/** Bits from the left (RFC 5280, 4.2.1.3). */
const KEY_USAGE = { digitalSignature: { bits: 0x80, unused: 7 }, keyCertSign: { bits: 0x04, unused: 2 } } as const

export interface CertificateRequest {
  subject: string
  publicKey: KeyObject
  /** The signer: the CA's name and private key (P-256); for the CA its own. */
  issuer: string
  issuerKey: KeyObject
  notBeforeMs: number
  notAfterMs: number
  /** May sign certificates, but none that may sign more; else it signs tokens. */
  authority: boolean
}

/** Makes an X.509 certificate (RFC 5280, version 3) signed with ECDSA and SHA-256; answers its DER. */
export function makeCertificate(request: CertificateRequest): Buffer {
  const algorithm = sequence(objectIdentifier(ECDSA_WITH_SHA256))
  const serial = randomBytes(16)
  serial[0] = ((serial[0] ?? 0) & 0x7f) | 0x40 // positive, and always of 16 bytes
  const toBeSigned = sequence(
    context(0, integer(Buffer.from([2]))),
    integer(serial),
    algorithm,
    distinguishedName(request.issuer),
    sequence(time(request.notBeforeMs), time(request.notAfterMs)),
    distinguishedName(request.subject),
    request.publicKey.export({ type: 'spki', format: 'der' }),
    context(3, sequence(...extensions(request))),
  )
  const signature = sign('sha256', toBeSigned, { key: request.issuerKey, dsaEncoding: 'der' })
  return sequence(toBeSigned, algorithm, bitString(signature))
}

export function toPem(der: Uint8Array): string {
  const lines =
    Buffer.from(der)
      .toString('base64')
      .match(/.{1,64}/g) ?? []
  return `-----BEGIN CERTIFICATE-----\n${lines.join('\n')}\n-----END CERTIFICATE-----\n`
}

function distinguishedName(commonName: string): Buffer {
  return sequence(set(sequence(objectIdentifier(COMMON_NAME), utf8String(commonName))))
}

function extensions({ authority, publicKey, issuerKey }: CertificateRequest): Buffer[] {
  const { bits, unused } = authority ? KEY_USAGE.keyCertSign : KEY_USAGE.digitalSignature
  const constraints = authority ? sequence(boolean(true), integer(Buffer.from([0]))) : sequence()
  const issuerId = context(0, keyId(createPublicKey(issuerKey)), true)
  return [
    extension(EXTENSION.basicConstraints, constraints, true),
    extension(EXTENSION.keyUsage, bitString(Buffer.from([bits]), unused), true),
    extension(EXTENSION.subjectKeyId, octetString(keyId(publicKey)), false),
    extension(EXTENSION.authorityKeyId, sequence(issuerId), false),
  ]
}

function extension(identifier: string, value: Uint8Array, critical: boolean): Buffer {
  return sequence(objectIdentifier(identifier), ...(critical ? [boolean(true)] : []), octetString(value))
}

/** Any value that differs between keys will do (RFC 5280, 4.2.1.2). */
function keyId(publicKey: KeyObject): Buffer {
  return createHash('sha256')
    .update(publicKey.export({ type: 'spki', format: 'der' }))
    .digest()
    .subarray(0, 20)
}
