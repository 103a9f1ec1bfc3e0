import type { Machine } from './machine.ts'

export interface Check {
  name: string
  /** `error`: the platform does not start; `warning`: something will not work; `ok`. */
  state: 'ok' | 'warning' | 'error'
  message: string
  hint?: string
}

/** New mount API for overlay, pidfd_getfd, `userxattr`: the youngest of them is 5.11. */
const OLDEST_KERNEL = [5, 11] as const
const MIN_FREE_BYTES = 2 * 1024 ** 3
/** Nothing of this project existed earlier: a clock before it breaks tokens, certificates and records. */
const EARLIEST_MS = Date.UTC(2026, 0, 1)
const LATEST_MS = Date.UTC(2100, 0, 1)

/** What is missing, what will not work and how to mend it, from facts about the machine. `engine` is what was asked for. */
export function checkMachine(machine: Machine, engine: 'runc' | 'docker'): Check[] {
  return [
    system(machine),
    rights(machine, engine),
    kernel(machine),
    ...(engine === 'runc' ? [overlay(machine), cgroups(machine)] : []),
    packages(machine),
    disk(machine),
    dataDirectory(machine),
    code(machine),
    clock(machine),
  ]
}

const ok = (name: string, message: string): Check => ({ name, state: 'ok', message })
const bad = (name: string, message: string, hint: string): Check => ({ name, state: 'error', message, hint })
const weak = (name: string, message: string, hint: string): Check => ({ name, state: 'warning', message, hint })

function isDebian(machine: Machine): boolean {
  return machine.distribution.includes('debian')
}

function system(machine: Machine): Check {
  if (machine.platform !== 'linux') {
    return bad('system', `${machine.platform} has no runc`, 'use the Docker engine: slipway up --engine docker')
  }
  if (isDebian(machine)) return ok('system', `Linux, ${machine.distribution[0]}`)
  return weak(
    'system',
    'not Debian or Ubuntu: packages are not installed for you',
    'install what "packages" names by hand',
  )
}

function rights(machine: Machine, engine: 'runc' | 'docker'): Check {
  if (machine.uid === 0) return ok('rights', 'root: the server runs as a user of its own without any capability')
  const works = machine.dockerSocket
    ? 'the Docker engine works without root: slipway up --engine docker'
    : 'run as root'
  if (engine === 'runc') return bad('rights', 'not root: the runc engine needs it', works)
  return weak(
    'rights',
    'not root: server and supervisor run as the same user',
    'run as root for the full walls between them',
  )
}

function kernel(machine: Machine): Check {
  const [major = 0, minor = 0] = machine.kernel.split('.').map((part) => Number.parseInt(part, 10))
  const [needMajor, needMinor] = OLDEST_KERNEL
  if (major > needMajor || (major === needMajor && minor >= needMinor)) return ok('kernel', machine.kernel)
  return bad(
    'kernel',
    `kernel ${machine.kernel} is too old: ${needMajor}.${needMinor} or later is needed`,
    'upgrade the kernel',
  )
}

function overlay(machine: Machine): Check {
  if (machine.fileSystems.includes('overlay')) return ok('overlay', 'the kernel has overlayfs')
  return bad('overlay', 'the kernel has no overlayfs', 'load it: modprobe overlay')
}

function cgroups(machine: Machine): Check {
  if (machine.cgroup !== 'none') return ok('cgroups', `cgroup ${machine.cgroup}`)
  return bad('cgroups', 'no cgroups are mounted below /sys/fs/cgroup', 'mount cgroup2 at /sys/fs/cgroup')
}

function packages(machine: Machine): Check {
  const { missing } = machine
  if (missing.length === 0) return ok('packages', 'every program is installed')
  const names = missing.join(' ')
  const message = `missing: ${missing.join(', ')}`
  if (isDebian(machine) && machine.uid === 0)
    return weak('packages', message, `they are installed by npm start, or: apt-get install ${names}`)
  return bad('packages', message, `install them as root: apt-get install ${names}`)
}

function disk(machine: Machine): Check {
  const free = `${(machine.freeBytes / 1024 ** 3).toFixed(1)} GB free`
  if (machine.freeBytes >= MIN_FREE_BYTES) return ok('disk', free)
  return bad(
    'disk',
    `only ${free} where the data directory lies: 2 GB are needed`,
    'make room, or name another place with SLIPWAY_DATA',
  )
}

function dataDirectory(machine: Machine): Check {
  const { dataDirectory: path, dataProblem } = machine
  if (dataProblem === null) return ok('data directory', path)
  return bad(
    'data directory',
    `${path} cannot be used: ${dataProblem}`,
    'name another place with SLIPWAY_DATA=DIRECTORY',
  )
}

function code({ uid, closedCode }: Machine): Check {
  if (uid !== 0 || closedCode === null) return ok('code', 'the server’s user can read it')
  return bad(
    'code',
    `${closedCode} is closed to other users, and the server runs as one`,
    'chmod -R go+rX the clone; directories above it may stay closed',
  )
}

function clock(machine: Machine): Check {
  const now = new Date(machine.nowMs).toISOString()
  if (machine.nowMs >= EARLIEST_MS && machine.nowMs < LATEST_MS) return ok('clock', now)
  return bad(
    'clock',
    `the clock says ${now}: tokens and certificates would be refused`,
    'set the clock, for example with timedatectl',
  )
}
