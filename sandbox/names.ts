import { join } from 'node:path'

/**
 * Every name that an instance has on this machine, derived from its id, its directory and the hash of the data directory.
 * Clean-up needs nothing else, so a crash at any point leaves nothing that cannot be found.
 */
export interface InstanceNames {
  id: string
  directory: string
  /** Made first of all and by one alone: who finds it there already has an id that is in use. */
  claim: string
  /** Path of its control group in every hierarchy. */
  cgroup: string
  /** File that pins its network namespace. */
  netns: string
  /** Where its root file system is mounted. */
  root: string
  tmpImage: string
  /** Where the volume of its `/tmp` is mounted. */
  tmp: string
  hosts: string
  resolvConf: string
  hostnameFile: string
  /** Bundle of the OCI runtime: config.json, and conmon's `ctl` and `attach`. */
  bundle: string
  config: string
  control: string
  /** State directory of the OCI runtime (`--root`), for this instance alone. */
  state: string
  stateFile: string
  startFifo: string
  /** Pid of the container's first process, written by conmon when the container is created. */
  pidFile: string
  monitorPidFile: string
  exitDirectory: string
  exitFile: string
  output: string
  /** How often the output was rotated, so that a number is never used twice. */
  rotations: string
}

export function instanceNames(hash: string, id: string, directory: string): InstanceNames {
  const at = (...parts: string[]): string => join(directory, ...parts)
  return {
    id,
    directory,
    claim: at('claim'),
    cgroup: `${platformCgroup(hash)}/${id}`,
    netns: at('netns'),
    root: at('root'),
    tmpImage: at('tmp.img'),
    tmp: at('tmp'),
    hosts: at('hosts'),
    resolvConf: at('resolv.conf'),
    hostnameFile: at('hostname'),
    bundle: at('bundle'),
    config: at('bundle', 'config.json'),
    control: at('bundle', 'ctl'),
    state: at('state'),
    stateFile: at('state', id, 'state.json'),
    startFifo: at('state', id, 'exec.fifo'),
    pidFile: at('pid'),
    monitorPidFile: at('monitor.pid'),
    exitDirectory: at('exit'),
    exitFile: at('exit', id),
    output: at('output.log'),
    rotations: at('rotations'),
  }
}

/** Parent of all control groups of a platform. */
export function platformCgroup(hash: string): string {
  return `/slipway-${hash}`
}

/** Control group of all conmon processes: they must outlive the supervisor's own and share no limit with an instance. */
export function monitorsCgroup(hash: string): string {
  return `${platformCgroup(hash)}/monitors`
}

export function isInstanceId(text: string): boolean {
  return /^[0-9a-f]{16}$/.test(text)
}
