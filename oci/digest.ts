import { createHash } from 'node:crypto'
import { AppError } from '../common/index.ts'

/** `sha256:` and 64 lower-case hex digits: the only algorithm Slipway makes; others are refused by name. */
export type Digest = `sha256:${string}`

const SHA256 = /^sha256:[0-9a-f]{64}$/

export function isDigest(text: string): text is Digest {
  return SHA256.test(text)
}

/** Checks and brands a digest. Throws `digest-invalid`. */
export function parseDigest(text: string): Digest {
  if (isDigest(text)) return text
  throw new AppError(`"${text.slice(0, 100)}" is no digest: expected sha256: and 64 hex digits`, {
    code: 'digest-invalid',
    fault: 'user',
  })
}

export function digestOf(data: string | Uint8Array): Digest {
  return `sha256:${createHash('sha256').update(data).digest('hex')}`
}

/** The hex part, as used in file names. */
export function digestHex(digest: Digest): string {
  return digest.slice('sha256:'.length)
}
