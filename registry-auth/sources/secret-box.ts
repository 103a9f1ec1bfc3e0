import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from 'node:crypto'
import { closeSync, fchmodSync, fstatSync, openSync, readFileSync } from 'node:fs'
import { AppError, errnoOf, messageOf, writeFileAtomic } from '../../common/index.ts'

const KEY_BYTES = 32
const SALT_BYTES = 16
const NONCE_BYTES = 12
const VERSION = 'v1'
const INFO = 'slipway stored secret v1'

/**
 * Keeps secrets that the platform must be able to use again, such as the password of a foreign registry.
 *
 * - The key lies in a file of its own (32 random bytes, mode 0600) and the ciphertext in the database: a copy of the database, a
 *   backup of it, or a page that the disk never overwrote, says nothing without the key. Who can read both is the server's user or
 *   root, against whom no encryption on the same machine helps.
 * - AES-256-GCM: in node:crypto, constant-time on every processor with AES instructions, and authenticated, so that a changed byte
 *   is an error and not another password.
 * - HKDF-SHA256 (RFC 5869) makes a key for each secret from the file's key and a random salt: nonces of 96 random bits are then
 *   used once for each key, and their bound (2^32 for one key, NIST SP 800-38D 8.3) is never met. The file's key is random, so no slow
 *   hash is needed.
 * - `owner` (the registry's host) is authenticated data: a ciphertext that is moved to another record does not open there, and a
 *   password is never sent to another registry than the one it was given for.
 */
export class SecretBox {
  readonly #key: Buffer

  private constructor(key: Buffer) {
    this.#key = key
  }

  /** Reads the key file, or makes it where there is none. Throws `secret-key-unusable`. */
  static open(keyFile: string): SecretBox {
    return new SecretBox(readKey(keyFile) ?? makeKey(keyFile))
  }

  /** Encrypts a secret for `owner`: `v1.SALT.NONCE.CIPHERTEXT.TAG`, base64url. */
  seal(owner: string, secret: string): string {
    const salt = randomBytes(SALT_BYTES)
    const nonce = randomBytes(NONCE_BYTES)
    const cipher = createCipheriv('aes-256-gcm', this.#keyFor(salt), nonce).setAAD(Buffer.from(owner))
    const sealed = Buffer.concat([cipher.update(secret, 'utf8'), cipher.final()])
    return [VERSION, ...[salt, nonce, sealed, cipher.getAuthTag()].map((part) => part.toString('base64url'))].join('.')
  }

  /** The secret that was sealed for `owner`. Throws `secret-unreadable`. */
  unseal(owner: string, text: string): string {
    try {
      const [version, ...rest] = text.split('.')
      const [salt, nonce, sealed, tag] = rest.map((part) => Buffer.from(part, 'base64url'))
      if (version !== VERSION || salt === undefined || nonce === undefined || sealed === undefined || tag === undefined)
        throw new TypeError('it is in no known form')
      const decipher = createDecipheriv('aes-256-gcm', this.#keyFor(salt), nonce, { authTagLength: 16 })
      decipher.setAAD(Buffer.from(owner)).setAuthTag(tag)
      return Buffer.concat([decipher.update(sealed), decipher.final()]).toString('utf8')
    } catch (thrown) {
      throw new AppError(`the secret stored for ${owner} cannot be opened`, {
        code: 'secret-unreadable',
        hint: `the key file or the record was changed: slipway registry login ${owner}`,
        cause: thrown,
      })
    }
  }

  #keyFor(salt: Buffer): Buffer {
    return Buffer.from(hkdfSync('sha256', this.#key, salt, INFO, KEY_BYTES))
  }
}

function readKey(file: string): Buffer | undefined {
  let fd: number
  try {
    fd = openSync(file, 'r')
  } catch (thrown) {
    if (errnoOf(thrown) === 'ENOENT') return undefined
    throw unusable(file, messageOf(thrown), thrown)
  }
  try {
    if ((fstatSync(fd).mode & 0o077) !== 0) fchmodSync(fd, 0o600)
    const key = readFileSync(fd)
    if (key.length !== KEY_BYTES) throw unusable(file, `it has ${key.length} bytes instead of ${KEY_BYTES}`)
    return key
  } finally {
    closeSync(fd)
  }
}

function makeKey(file: string): Buffer {
  const key = randomBytes(KEY_BYTES)
  try {
    writeFileAtomic(file, key, 0o600)
  } catch (thrown) {
    throw unusable(file, messageOf(thrown), thrown)
  }
  return key
}

function unusable(file: string, why: string, cause?: unknown): AppError {
  return new AppError(`the key of stored secrets, ${file}, cannot be used: ${why}`, {
    code: 'secret-key-unusable',
    hint: 'restore the file from a backup; without it every registry login has to be made anew (then remove the file)',
    cause,
  })
}
