import { AppError } from '../common/index.ts'

/**
 * Names in a tar are bytes. They are kept as byte strings (one character for each byte, `latin1`), which are cheap to split and
 * compare; `fsPath` turns one into what Node's file calls take without loss.
 */
export type ByteString = string

export type TarEntryType = 'file' | 'link' | 'symlink' | 'character' | 'block' | 'directory' | 'fifo'

export interface SparseSegment {
  offset: number
  length: number
}

/** Seconds since 1970 (negative before) and nanoseconds counted upwards from there. */
export interface TarTime {
  seconds: number
  nanoseconds: number
}

export interface TarEntry {
  type: TarEntryType
  /** As it stands in the tar: may be absolute, may hold `..`, may be empty. At most 4,096 bytes, without NUL. */
  path: ByteString
  /** Target of a link or symbolic link, as it stands in the tar. */
  linkPath: ByteString
  /** Permission bits with setuid, setgid and sticky: 0 to 0o7777. */
  mode: number
  uid: number
  gid: number
  /** Bytes of the file as a reader sees it, holes included; 0 for everything but files. */
  sizeBytes: number
  modified: TarTime
  /** From `SCHILY.xattr.*`; values are byte strings. */
  xattrs: ReadonlyMap<string, ByteString> | undefined
  /** Where the stored bytes belong in a sparse file, ascending and without overlap; undefined when the file has no holes. */
  segments: readonly SparseSegment[] | undefined
}

export const MAX_PATH_BYTES = 4_096
const NON_ASCII = /[\u0080-\u00ff]/

export function fsPath(path: ByteString): string | Buffer {
  return NON_ASCII.test(path) ? Buffer.from(path, 'latin1') : path
}

/** The byte string of a path that Node gave as text (UTF-8). */
export function toByteString(text: string): ByteString {
  return Buffer.from(text, 'utf8').toString('latin1')
}

/** For messages: the bytes read as UTF-8, shortened, without control characters. */
export function shown(path: ByteString): string {
  const text = Buffer.from(path.slice(0, 200), 'latin1').toString('utf8')
  return JSON.stringify(path.length > 200 ? `${text}…` : text)
}

/** A tar that no correct program wrote, or that asks for what is never done. The image itself has to change. */
export function refuse(why: string): AppError {
  return new AppError(`layer refused: ${why}`, {
    code: 'image-invalid',
    fault: 'user',
    hint: 'build the image again with another tool; nothing of this layer was kept',
  })
}
