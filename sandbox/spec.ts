import { AppError } from '../common/index.ts'
import type { ContainerConfig } from '../oci/index.ts'
import type { InstanceNames } from './names.ts'
import { INSTANCE_ADDRESS } from './netns.ts'
import type { Seccomp } from './seccomp.ts'
import type { RunUser } from './users.ts'

/** PATH of a container whose image sets none, as container engines give it. */
const DEFAULT_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'
/** MAX_ARG_STRLEN of execve(2), end of string included. */
const MAX_STRING_BYTES = 128 * 1024
const HOSTNAME = /^[A-Za-z0-9]([A-Za-z0-9.-]{0,61}[A-Za-z0-9])?$/
export const SHM_BYTES = 64 * 1024 * 1024
/** Above every process of the platform, so that under lack of memory on the whole machine functions go first. */
export const OOM_SCORE = 500

export const MASKED_PATHS = [
  '/proc/acpi',
  '/proc/asound',
  '/proc/interrupts',
  '/proc/kcore',
  '/proc/keys',
  '/proc/latency_stats',
  '/proc/sched_debug',
  '/proc/scsi',
  '/proc/timer_list',
  '/proc/timer_stats',
  '/sys/devices/virtual/powercap',
  '/sys/firmware',
]
export const READONLY_PATHS = ['/proc/bus', '/proc/fs', '/proc/irq', '/proc/sys', '/proc/sysrq-trigger']

/** What an instance is to be, without anything of this machine. */
export interface ContainerSpec {
  image: ContainerConfig
  /** Replaces ENTRYPOINT and drops the image's CMD. */
  command?: string[]
  /** Replaces CMD. */
  args?: string[]
  /** Laid over the image's ENV. */
  env: Record<string, string>
  hostname: string
  memoryBytes: number
  pids: number
  openFiles: number
  user: RunUser
}

/** What this machine adds. */
export interface Walls {
  names: InstanceNames
  seccomp: Seccomp
  /** Own hard limit of open files: without CAP_SYS_RESOURCE no child may have more. */
  maxOpenFiles: number
  limitSwap: boolean
}

interface Mount {
  destination: string
  type: string
  source: string
  options: string[]
}

/** The configuration of the OCI runtime (runtime-spec config.md) for an instance. Throws `instance-create-failed` for what cannot be executed. */
export function ociSpec(spec: ContainerSpec, walls: Walls): object {
  if (!HOSTNAME.test(spec.hostname)) throw refused(`"${spec.hostname.slice(0, 80)}" is no host name`, 'choose another')
  const openFiles = Math.min(spec.openFiles, walls.maxOpenFiles)
  return {
    ociVersion: '1.0.2',
    process: {
      terminal: false,
      user: { uid: spec.user.uid, gid: spec.user.gid, additionalGids: spec.user.additionalGids, umask: 0o022 },
      args: commandLine(spec),
      env: environment(spec),
      cwd: spec.image.WorkingDir === undefined || spec.image.WorkingDir === '' ? '/' : spec.image.WorkingDir,
      capabilities: { bounding: [], effective: [], inheritable: [], permitted: [], ambient: [] },
      rlimits: [
        { type: 'RLIMIT_NOFILE', soft: openFiles, hard: openFiles },
        { type: 'RLIMIT_CORE', soft: 0, hard: 0 },
      ],
      noNewPrivileges: true,
      oomScoreAdj: OOM_SCORE,
    },
    root: { path: walls.names.root, readonly: true },
    hostname: spec.hostname,
    mounts: mounts(walls.names),
    linux: {
      namespaces: [
        ...['pid', 'ipc', 'uts', 'mount', 'cgroup'].map((type) => ({ type })),
        { type: 'network', path: walls.names.netns },
      ],
      cgroupsPath: walls.names.cgroup,
      resources: {
        devices: [{ allow: false, access: 'rwm' }],
        memory: { limit: spec.memoryBytes, ...(walls.limitSwap ? { swap: spec.memoryBytes } : {}) },
        pids: { limit: spec.pids },
      },
      seccomp: walls.seccomp,
      maskedPaths: MASKED_PATHS,
      readonlyPaths: READONLY_PATHS,
    },
  }
}

/** runtime-contract A1, A2: the command replaces ENTRYPOINT and drops the image's CMD; arguments alone replace CMD. */
export function commandLine(spec: Pick<ContainerSpec, 'image' | 'command' | 'args'>): string[] {
  const command = spec.command ?? spec.image.Entrypoint ?? []
  const args = spec.args ?? (spec.command === undefined ? (spec.image.Cmd ?? []) : [])
  const words = [...command, ...args]
  if (words.length === 0 || words[0] === '') {
    throw refused('the image has neither ENTRYPOINT nor CMD', 'give the function a command')
  }
  for (const word of words) checkString(word, 'an argument')
  return words
}

/** The image's ENV, the instance's over it, and PATH, HOME and HOSTNAME where neither has them. */
export function environment(spec: Pick<ContainerSpec, 'image' | 'env' | 'hostname' | 'user'>): string[] {
  const defaults = [`PATH=${DEFAULT_PATH}`, `HOME=${spec.user.home}`, `HOSTNAME=${spec.hostname}`]
  const declared = declaredEnvironment(spec)
  const names = new Set(declared.map((entry) => entry.slice(0, entry.indexOf('='))))
  return [...defaults.filter((entry) => !names.has(entry.slice(0, entry.indexOf('=')))), ...declared]
}

/** The image's ENV with the instance's over it. */
export function declaredEnvironment(spec: Pick<ContainerSpec, 'image' | 'env'>): string[] {
  const all = new Map<string, string>()
  for (const entry of spec.image.Env ?? []) {
    const equals = entry.indexOf('=')
    if (equals > 0) all.set(entry.slice(0, equals), entry.slice(equals + 1))
  }
  for (const [name, value] of Object.entries(spec.env)) {
    if (name === '' || name.includes('=')) throw refused(`"${name}" is no name of a variable`, 'rename it')
    all.set(name, value)
  }
  return [...all].map(([name, value]) => {
    checkString(`${name}=${value}`, `variable ${name.slice(0, 100)}`)
    return `${name}=${value}`
  })
}

function checkString(text: string, what: string): void {
  if (text.includes('\0')) throw refused(`${what} contains a NUL byte`, 'remove it')
  if (Buffer.byteLength(text) >= MAX_STRING_BYTES) {
    throw refused(`${what} is longer than ${MAX_STRING_BYTES - 1} bytes`, 'pass it in a file or in the event')
  }
}

function refused(why: string, hint: string): AppError {
  return new AppError(`the instance cannot be created: ${why}`, { code: 'instance-create-failed', fault: 'user', hint })
}

function mounts(names: InstanceNames): Mount[] {
  const special = (destination: string, type: string, ...options: string[]): Mount => ({
    destination,
    type,
    source: type,
    options: ['nosuid', ...options],
  })
  const bind = (destination: string, source: string, ...options: string[]): Mount => ({
    destination,
    type: 'bind',
    source,
    options: ['bind', 'nosuid', 'nodev', ...options],
  })
  return [
    special('/proc', 'proc', 'noexec', 'nodev'),
    special('/dev', 'tmpfs', 'strictatime', 'mode=755', 'size=65536k'),
    special('/dev/pts', 'devpts', 'noexec', 'newinstance', 'ptmxmode=0666', 'mode=0620', 'gid=5'),
    special('/dev/shm', 'tmpfs', 'noexec', 'nodev', 'mode=1777', `size=${SHM_BYTES}`),
    special('/sys', 'sysfs', 'noexec', 'nodev', 'ro'),
    special('/sys/fs/cgroup', 'cgroup', 'noexec', 'nodev', 'relatime', 'ro'),
    bind('/tmp', names.tmp, 'rw'),
    bind('/etc/hosts', names.hosts, 'noexec', 'ro'),
    bind('/etc/resolv.conf', names.resolvConf, 'noexec', 'ro'),
    bind('/etc/hostname', names.hostnameFile, 'noexec', 'ro'),
  ]
}

/** Contents of the files that every instance has of its own. There is no way out, so there is no name server to name. */
export function identityFiles(hostname: string): { hosts: string; resolvConf: string; hostname: string } {
  return {
    hosts: `127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n${INSTANCE_ADDRESS}\t${hostname}\n`,
    resolvConf: '# this instance has no route and no name server\noptions timeout:1 attempts:1\n',
    hostname: `${hostname}\n`,
  }
}
