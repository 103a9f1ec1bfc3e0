import { createPrivateKey, generateKeyPairSync, type KeyObject, X509Certificate } from 'node:crypto'
import { mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { AppError, errnoOf, writeFileAtomic } from '../common/index.ts'
import { makeCertificate, toPem } from './certificate.ts'

/** What signs tokens now: a private key, and its certificate as the `x5c` header carries it (base64 DER, leaf first). */
export interface SigningKey {
  privateKey: KeyObject
  x5c: string[]
  notAfterMs: number
}

const HOUR_MS = 3_600_000
const DAY_MS = 24 * HOUR_MS
const CA_LIFE_MS = 20 * 365 * DAY_MS
const CA_FILE = 'registry-ca.pem'
const CA_NAME = 'Slipway registry CA'
/** Leaves are made this long before now, so that a clock set back a little (or a registry's that lags) accepts them. */
const BACKDATE_MS = HOUR_MS

/**
 * The keys behind the local registry's tokens. A CA, made once and kept in one file (mode 0600: private key and certificate,
 * so that it is there whole or not), is all that the registry knows (`rootcertbundle`). Tokens are signed by a leaf that it signs, which lives
 * in memory only and is replaced every 24 hours and at each start, without a word to the registry.
 */
export class SigningKeys {
  readonly caCertificatePem: string
  readonly #caKey: KeyObject
  readonly #rotateAfterMs: number
  #leaf: { key: SigningKey; madeAtMs: number } | undefined

  private constructor(caKey: KeyObject, caCertificatePem: string, rotateAfterMs: number) {
    this.#caKey = caKey
    this.caCertificatePem = caCertificatePem
    this.#rotateAfterMs = rotateAfterMs
  }

  /** Reads the CA below `directory` (made with mode 0700), or makes one. Throws `signing-keys-unusable`. */
  static open(directory: string, { rotateAfterMs = DAY_MS }: { rotateAfterMs?: number } = {}): SigningKeys {
    mkdirSync(directory, { recursive: true, mode: 0o700 })
    const path = join(directory, CA_FILE)
    const text = readIfThere(path) ?? makeAuthority(path, Date.now())
    const { key, certificatePem } = readAuthority(path, text)
    return new SigningKeys(key, certificatePem, rotateAfterMs)
  }

  /** The key for a token that is signed now; a new one when the last is a day old or the clock left its time. */
  current(nowMs: number): SigningKey {
    const leaf = this.#leaf
    const age = leaf === undefined ? 0 : nowMs - leaf.madeAtMs
    if (leaf !== undefined && age >= 0 && age < this.#rotateAfterMs) return leaf.key
    return this.rotate(nowMs)
  }

  /** Signs with a new key from now on; what the former signed stays good until it expires. */
  rotate(nowMs: number): SigningKey {
    const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
    const notAfterMs = nowMs + 2 * this.#rotateAfterMs
    const certificate = makeCertificate({
      subject: 'Slipway registry tokens',
      publicKey,
      issuer: CA_NAME,
      issuerKey: this.#caKey,
      notBeforeMs: nowMs - BACKDATE_MS,
      notAfterMs,
      authority: false,
    })
    const key = { privateKey, x5c: [certificate.toString('base64')], notAfterMs }
    this.#leaf = { key, madeAtMs: nowMs }
    return key
  }
}

function readIfThere(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8')
  } catch (thrown) {
    if (errnoOf(thrown) === 'ENOENT') return undefined
    throw thrown
  }
}

function makeAuthority(path: string, nowMs: number): string {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const certificate = makeCertificate({
    subject: CA_NAME,
    publicKey,
    issuer: CA_NAME,
    issuerKey: privateKey,
    notBeforeMs: nowMs - DAY_MS,
    notAfterMs: nowMs + CA_LIFE_MS,
    authority: true,
  })
  const text = privateKey.export({ type: 'pkcs8', format: 'pem' }) + toPem(certificate)
  writeFileAtomic(path, text, 0o600)
  return text
}

function readAuthority(path: string, text: string): { key: KeyObject; certificatePem: string } {
  const unusable = (why: string, cause?: unknown): AppError =>
    new AppError(`the registry's signing keys in ${path} cannot be used: ${why}`, {
      code: 'signing-keys-unusable',
      hint: 'move the file away and start again: a new one is made, and the registry is restarted with it',
      cause,
    })
  try {
    const key = createPrivateKey(text)
    const certificate = new X509Certificate(text.slice(text.indexOf('-----BEGIN CERTIFICATE-----')))
    if (!certificate.checkPrivateKey(key)) throw unusable('key and certificate do not belong together')
    if (certificate.validToDate.getTime() < Date.now()) throw unusable('the certificate has expired')
    return { key, certificatePem: certificate.toString() }
  } catch (thrown) {
    throw thrown instanceof AppError ? thrown : unusable('it is damaged', thrown)
  }
}
