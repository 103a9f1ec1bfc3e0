import { setExtendedAttribute, syscallErrno } from '../common/index.ts'
import { type ByteString, fsPath, refuse, shown, type TarEntryType } from './tar-entry.ts'

/** How overlayfs marks a directory whose lower layers are hidden, for mounts with `userxattr` (kernel: filesystems/overlayfs). */
export const OPAQUE_XATTR = 'user.overlay.opaque'
export const OPAQUE_VALUE = Buffer.from('y')

/**
 * Whether an attribute of a foreign layer is taken over. `user.overlay.*` and `trusted.overlay.*` would let a layer redirect overlayfs into others;
 * the rest of `trusted.*` and `security.*` means something to the host, not to a container, and needs capabilities that an
 * unpacker should not have.
 */
export function isKept(name: string, type: TarEntryType): boolean {
  if (type !== 'file' && type !== 'directory') return false
  if (name.startsWith('user.')) return !name.startsWith('user.overlay.')
  return name === 'security.capability' || name.startsWith('system.posix_acl_')
}

/** Sets the attributes that are kept. One that the file system does not know is left out; one that it has no room for refuses the layer. */
export function setXattrs(
  path: ByteString,
  type: TarEntryType,
  xattrs: ReadonlyMap<string, ByteString> | undefined,
): void {
  for (const [name, value] of xattrs ?? []) {
    if (!isKept(name, type)) continue
    try {
      setExtendedAttribute(fsPath(path), name, Buffer.from(value, 'latin1'))
    } catch (thrown) {
      const errno = syscallErrno(thrown)
      if (errno === 'EOPNOTSUPP') continue
      // ext4 answers ENOSPC for an attribute that does not fit into one block, on an empty disk too
      if (errno === 'ENOSPC' || errno === 'E2BIG' || errno === 'ERANGE' || errno === 'EINVAL') {
        throw refuse(`extended attribute ${name.slice(0, 100)} of ${shown(path)} cannot be stored (${errno})`)
      }
      throw thrown
    }
  }
}
