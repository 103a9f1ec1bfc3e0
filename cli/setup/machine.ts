import { accessSync, constants, existsSync, readFileSync, statfsSync, statSync } from 'node:fs'
import { release } from 'node:os'
import { dirname, join } from 'node:path'
import { dockerSocketPath, errnoOf } from '../../common/index.ts'

/** What the checks look at: read once, so that the decisions are pure. */
export interface Machine {
  platform: string
  architecture: string
  kernel: string
  uid: number
  /** ID and ID_LIKE of os-release. */
  distribution: string[]
  fileSystems: string[]
  cgroup: 'v1' | 'v2' | 'none'
  freeBytes: number
  dataDirectory: string
  /** Why it cannot be written, or null when it can. */
  dataProblem: string | null
  /** A part of this project's code that users other than its owner cannot read, or null. */
  closedCode: string | null
  nowMs: number
  dockerSocket: boolean
  /** Programs of SYSTEM_PACKAGES for running that are missing. */
  missing: string[]
}

export function readMachine(dataDirectory: string, missing: string[]): Machine {
  const existing = nearestExisting(dataDirectory)
  const disk = statfsSync(existing)
  return {
    platform: process.platform,
    architecture: process.arch,
    kernel: release(),
    uid: process.getuid?.() ?? -1,
    distribution: distribution(),
    fileSystems: fileSystems(),
    cgroup: cgroupVersion(),
    freeBytes: disk.bavail * disk.bsize,
    dataDirectory,
    dataProblem: writingProblem(existing),
    closedCode: closedCode(join(import.meta.dirname, '../..')),
    nowMs: Date.now(),
    dockerSocket: existsSync(dockerSocketPath(process.env)),
    missing,
  }
}

function nearestExisting(path: string): string {
  return existsSync(path) || path === '/' ? path : nearestExisting(dirname(path))
}

function writingProblem(path: string): string | null {
  if (!statSync(path).isDirectory()) return 'a part of the path is a file'
  try {
    accessSync(path, constants.W_OK)
    return null
  } catch (thrown) {
    return errnoOf(thrown) === 'EROFS' ? 'it lies on a read-only file system' : 'this user may not write there'
  }
}

/** A clone made under umask 077 is closed in all of its parts: looking at one of each kind is enough. */
function closedCode(root: string): string | null {
  const parts = ['.', 'package.json', 'common', 'common/index.ts', 'node_modules', 'node_modules/fastify/package.json']
  const isClosed = (path: string): boolean => {
    const found = statSync(path, { throwIfNoEntry: false })
    const wanted = found?.isDirectory() === true ? 0o005 : 0o004
    return found !== undefined && (found.mode & wanted) !== wanted
  }
  return parts.map((part) => join(root, part)).find(isClosed) ?? null
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}

/** A module that nobody has needed yet is not listed; the kernel loads it with the first mount. */
function fileSystems(): string[] {
  const loadable = existsSync(`/lib/modules/${release()}/kernel/fs/overlayfs`) ? ['overlay'] : []
  return [...readText('/proc/filesystems').split(/\s+/), ...loadable]
}

function distribution(): string[] {
  const text = readText('/etc/os-release')
  return [...text.matchAll(/^ID(?:_LIKE)?="?([^"\n]*)"?$/gm)].flatMap((match) => (match[1] ?? '').split(' '))
}

function cgroupVersion(): Machine['cgroup'] {
  if (existsSync('/sys/fs/cgroup/cgroup.controllers')) return 'v2'
  return existsSync('/sys/fs/cgroup/memory') ? 'v1' : 'none'
}
