import { chmodSync, mkdirSync, writeFileSync } from 'node:fs'

// A step in a sandbox runs as another user: what it is shown must be readable whatever the umask of this process.

export function makeReadableDirectory(path: string): void {
  mkdirSync(path)
  chmodSync(path, 0o755)
}

/** Writes a file that must not exist yet: a link that lies there is not followed. */
export function writeReadableFile(path: string, text: string): void {
  writeFileSync(path, text, { flag: 'wx' })
  chmodSync(path, 0o644)
}
