import { createHash, randomBytes, timingSafeEqual } from 'node:crypto'

/** What every generated password begins with, so that scanners for secrets know one wherever it turns up. */
export const SECRET_PREFIX = 'slw_'

/**
 * Passwords here are never chosen by people: 256 random bits. A plain SHA-256 is enough to keep them, since slow hashes
 * (scrypt, bcrypt) only make guessing expensive, and nobody guesses 256 bits; and each request of a client can be checked at once.
 */
export function makeSecret(): string {
  return SECRET_PREFIX + randomBytes(32).toString('base64url')
}

/** SHA-256 in hex: what is stored in place of a secret. */
export function hashSecret(secret: string): string {
  return createHash('sha256').update(secret).digest('hex')
}

/** No secret is known that has it. */
const NO_HASH = '0'.repeat(64)

/** Compares in a time that does not depend on where the two differ, nor on whether there is a stored hash at all. */
export function secretMatches(secret: string, storedHash: string = NO_HASH): boolean {
  const expected = Buffer.from(storedHash, 'hex')
  const actual = createHash('sha256').update(secret).digest()
  return expected.length === actual.length && timingSafeEqual(expected, actual)
}
