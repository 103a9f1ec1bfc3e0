import { accessSync, constants, existsSync, readFileSync, statfsSync } from 'node:fs'
import { release } from 'node:os'
import { dirname } from 'node:path'

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
  dataWritable: boolean
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
    fileSystems: readText('/proc/filesystems').split(/\s+/),
    cgroup: cgroupVersion(),
    freeBytes: disk.bavail * disk.bsize,
    dataWritable: writable(existing),
    nowMs: Date.now(),
    dockerSocket: existsSync(process.env['DOCKER_HOST']?.replace(/^unix:\/\//, '') ?? '/var/run/docker.sock'),
    missing,
  }
}

function nearestExisting(path: string): string {
  return existsSync(path) || path === '/' ? path : nearestExisting(dirname(path))
}

function writable(path: string): boolean {
  try {
    accessSync(path, constants.W_OK)
    return true
  } catch {
    return false
  }
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}

function distribution(): string[] {
  const text = readText('/etc/os-release')
  return [...text.matchAll(/^ID(?:_LIKE)?="?([^"\n]*)"?$/gm)].flatMap((match) => (match[1] ?? '').split(' '))
}

function cgroupVersion(): Machine['cgroup'] {
  if (existsSync('/sys/fs/cgroup/cgroup.controllers')) return 'v2'
  return existsSync('/sys/fs/cgroup/memory') ? 'v1' : 'none'
}
