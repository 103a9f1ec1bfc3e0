import { lstatSync } from 'node:fs'
import { getExtendedAttribute, listExtendedAttributes } from '../common/index.ts'
import { type ByteString, fsPath } from './tar-entry.ts'
import type { TreeDirectory } from './unpack-tree.ts'
import { isKept } from './unpack-xattrs.ts'

export type DirectoryMetadata = NonNullable<TreeDirectory['entry']>

/** Owner, mode, time and kept attributes of a directory of an unpacked layer. */
export function readMetadata(path: ByteString): DirectoryMetadata {
  const stat = lstatSync(fsPath(path), { bigint: true })
  const second = 1_000_000_000n
  const nanoseconds = ((stat.mtimeNs % second) + second) % second
  const names = listExtendedAttributes(fsPath(path)).filter((name) => isKept(name, 'directory'))
  const xattrs = names.map((name): [string, string] => [
    name,
    (getExtendedAttribute(fsPath(path), name) ?? Buffer.alloc(0)).toString('latin1'),
  ])
  return {
    mode: Number(stat.mode) & 0o7777,
    uid: Number(stat.uid),
    gid: Number(stat.gid),
    modified: { seconds: Number((stat.mtimeNs - nanoseconds) / second), nanoseconds: Number(nanoseconds) },
    xattrs: xattrs.length === 0 ? undefined : new Map(xattrs.toSorted(([a], [b]) => (a < b ? -1 : 1))),
  }
}

export function sameMetadata(a: DirectoryMetadata, b: DirectoryMetadata): boolean {
  const text = (metadata: DirectoryMetadata): string =>
    JSON.stringify({ ...metadata, xattrs: [...(metadata.xattrs ?? [])] })
  return text(a) === text(b)
}
