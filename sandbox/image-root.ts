import { closeSync, fstatSync, mkdirSync, openSync, readSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { mountOverlay, openInRoot, unmount } from '../common/index.ts'

const MAX_FILE_BYTES = 1024 * 1024
const DIRECTORIES = ['proc', 'sys', 'dev', 'tmp', 'run', 'etc']
const FILES = ['etc/hosts', 'etc/resolv.conf', 'etc/hostname']

/**
 * Makes the layer that lies below every image: the directories and empty files on which an instance's own mounts are put, for images that
 * lack them (a missing one cannot be made on a read-only root). Idempotent; answers its directory.
 */
export function makeSkeleton(directory: string): string {
  for (const name of DIRECTORIES) mkdirSync(join(directory, name), { recursive: true, mode: 0o755 })
  for (const name of FILES) writeFileSync(join(directory, name), '', { mode: 0o644 })
  return directory
}

/**
 * Mounts an image's layers (lowest first) read-only at `target`, so that every place on which something will be mounted is a real directory or
 * file. An image that has a link there, aimed at who knows what, gets the skeleton above it as well as below: its link is hidden.
 */
export function mountImageRoot(layers: readonly string[], skeleton: string, target: string): void {
  mountOverlay([skeleton, ...layers], target)
  if (hasRealMountPoints(target)) return
  unmount(target)
  mountOverlay([...layers, skeleton], target)
}

function hasRealMountPoints(root: string): boolean {
  const fd = openSync(root, 'r')
  try {
    return DIRECTORIES.every((name) => isReal(fd, name, true)) && FILES.every((name) => isReal(fd, name, false))
  } finally {
    closeSync(fd)
  }
}

function isReal(root: number, name: string, directory: boolean): boolean {
  const fd = openInRoot(root, name, { noSymlinks: true, pathOnly: true })
  if (fd === undefined) return false
  try {
    const stat = fstatSync(fd)
    return directory ? stat.isDirectory() : stat.isFile()
  } finally {
    closeSync(fd)
  }
}

/** The text of a file of an image (up to 1 MiB), read as from inside: no link leads out. Empty when it is absent or no regular file. */
export function readImageFile(root: string, path: string): string {
  const rootFd = openSync(root, 'r')
  try {
    const fd = openInRoot(rootFd, path)
    if (fd === undefined) return ''
    try {
      return readRegular(fd)
    } finally {
      closeSync(fd)
    }
  } finally {
    closeSync(rootFd)
  }
}

function readRegular(fd: number): string {
  const stat = fstatSync(fd)
  if (!stat.isFile()) return ''
  const buffer = Buffer.alloc(Math.min(stat.size, MAX_FILE_BYTES))
  const length = readSync(fd, buffer, 0, buffer.length, 0)
  return buffer.toString('utf8', 0, length)
}
