import { createHash, randomBytes, timingSafeEqual } from 'node:crypto'

/**
 * Passwords here are never chosen by people: 256 random bits. A plain SHA-256 is enough to keep them, since slow hashes
 * (scrypt, bcrypt) only make guessing expensive, and nobody guesses 256 bits; and each request of a client can be checked at once.
 */
export function makeSecret(): string {
  return randomBytes(32).toString('base64url')
}

/** SHA-256 in hex: what is stored in place of a secret. */
export function hashSecret(secret: string): string {
  return createHash('sha256').update(secret).digest('hex')
}

/** Compares in a time that does not depend on where the two differ. */
export function secretMatches(secret: string, storedHash: string): boolean {
  const expected = Buffer.from(storedHash, 'hex')
  const actual = createHash('sha256').update(secret).digest()
  return expected.length === actual.length && timingSafeEqual(expected, actual)
}
