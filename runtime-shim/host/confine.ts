import { join } from 'node:path'

/** Users without a name or a home: nothing on the machine belongs to them but what the platform gives them. */
export const SERVER_UID = 64_210
export const REGISTRY_UID = 64_211

export interface Confinement {
  uid: number
  /** What the process may see of the platform's files, by name below the view. */
  binds: { source: string; name: string; writable: boolean }[]
  /** Directories that are covered by empty file systems. */
  hide: string[]
  /** Program and arguments; a program that begins with `VIEW/` lies in the view. */
  command: string[]
}

/**
 * A mount namespace of its own: a view with the given directories; everything under `hide` and /run (sockets of engines)
 * covered by empty file systems; then all five capability sets are emptied, no new privileges are allowed, and the command
 * takes the place of the shell, so that the pid of the child is the command's. Where the list of name servers lies under /run (systemd-resolved
 * keeps it there), a copy of it stays: registries have names.
 */
const SCRIPT = `set -e
place=$1 uid=$2 binds=$3 hides=$4; shift 4
resolver=$(readlink -f /etc/resolv.conf || true)
servers=$(cat "$resolver" 2>/dev/null || true)
mount -t tmpfs -o mode=0755,size=64k,nosuid,nodev slipway "$place"
while [ "$binds" -gt 0 ]; do
  mkdir -p "$place/slipway/$2"
  mount --bind "$1" "$place/slipway/$2"
  mount -o "remount,bind,$3,nosuid,nodev" "$place/slipway/$2"
  shift 3; binds=$((binds - 1))
done
while [ "$hides" -gt 0 ]; do
  mount -t tmpfs -o mode=0755,size=4k none "$1"
  shift; hides=$((hides - 1))
done
case $resolver in /run/*)
  mkdir -p "\${resolver%/*}"
  printf '%s\\n' "$servers" > "$resolver"
esac
cd "$place/slipway"
exec setpriv --reuid "$uid" --regid "$uid" --clear-groups --inh-caps=-all --bounding-set=-all --no-new-privs "$@"
`

/** A directory that every Debian system has and that none of `paths` lies in. */
function viewPlace(paths: readonly string[]): string {
  const inside = (place: string): boolean => paths.some((path) => `${path}/`.startsWith(`${place}/`))
  return ['/mnt', '/srv', '/media', '/opt'].find((place) => !inside(place)) ?? '/mnt'
}

/** Where a confined process finds what is bound under `name`. */
export function viewPath(paths: readonly string[], name: string): string {
  return join(viewPlace(paths), 'slipway', name)
}

/** The command line that starts `confinement.command` confined. `paths` are those that the view must not cover. */
export function confinedCommand(paths: readonly string[], confinement: Confinement): { file: string; args: string[] } {
  const { uid, binds, hide, command } = confinement
  const hides = [...hide, '/run']
  const bindArgs = binds.flatMap(({ source, name, writable }) => [source, name, writable ? 'rw' : 'ro'])
  const counts = [String(uid), String(binds.length), String(hides.length)]
  const args = ['-c', SCRIPT, 'sh', viewPlace(paths), ...counts, ...bindArgs, ...hides, ...command]
  return { file: 'unshare', args: ['--mount', '--propagation', 'private', 'sh', ...args] }
}
