import { join } from 'node:path'
import type Docker from 'dockerode'
import { AppError } from '../../common/index.ts'
import type { ContainerConfig, Digest } from '../../oci/index.ts'
import {
  commandLine,
  DEFAULT_USER,
  declaredEnvironment,
  type InstanceNames,
  MASKED_PATHS,
  OOM_SCORE,
  READONLY_PATHS,
  type Seccomp,
  SHM_BYTES,
} from '../../sandbox/index.ts'
import type { InstanceSpec } from './engine.ts'
import { stopSignal } from './stop-signal.ts'

/** Labels by which containers and networks of a platform are found again. */
export const LABEL_DATA = 'slipway.data'
export const LABEL_INSTANCE = 'slipway.instance'

/** The port that is published where an instance's own network cannot be entered. */
export const PUBLISHED_PORT = '9000/tcp'

/** Where an instance runs and what this Engine can do. */
export interface Placement {
  dataHash: string
  names: InstanceNames
  /** On this very machine: no network, files and volumes of ours bound in. Elsewhere a network of its own and a published port. */
  local: boolean
  /** `local` keeps every byte; `json-file`, which every Engine has, replaces what is not UTF-8. */
  logDriver: 'local' | 'json-file'
  /** Two files of this size bound what an instance's output may take on the Engine's disk. */
  logFileBytes: number
  seccomp: Seccomp | undefined
  maxOpenFiles: number
}

export function containerName(dataHash: string, id: string): string {
  return `slipway-${dataHash}-${id}`
}

export function imageReference(image: { registry: string; repository: string; digest: Digest }): string {
  return `${image.registry}/${image.repository}@${image.digest}`
}

/** What the Engine is asked to make of an instance. Throws `instance-create-failed` for what cannot be executed. */
export function containerOptions(spec: InstanceSpec, placement: Placement): Docker.ContainerCreateOptions {
  const image = spec.image.config.config ?? {}
  const { id, env, args, command } = spec
  return {
    name: containerName(placement.dataHash, id),
    Image: imageReference(spec.image),
    Hostname: spec.hostname,
    User: image.User === undefined || image.User === '' ? DEFAULT_USER : image.User,
    Env: declaredEnvironment({ image, env }),
    // The whole command as entry point, so that neither side of the image's own can slip in.
    Entrypoint: commandLine({ image, ...(command && { command }), ...(args && { args }) }),
    Cmd: [],
    WorkingDir: image.WorkingDir === undefined || image.WorkingDir === '' ? '/' : image.WorkingDir,
    StopSignal: String(stopSignal(image.StopSignal)),
    Labels: { [LABEL_DATA]: placement.dataHash, [LABEL_INSTANCE]: id },
    Healthcheck: { Test: ['NONE'] }, // the image's own would run commands inside beside the function
    ExposedPorts: { [PUBLISHED_PORT]: {} },
    HostConfig: hostConfig(spec, image, placement),
  }
}

/** As the client's types have it, with what they lack. */
type HostConfig = Docker.HostConfig & { CgroupnsMode: 'private' }

function hostConfig(spec: InstanceSpec, image: ContainerConfig, placement: Placement): HostConfig {
  const openFiles = Math.min(spec.openFiles, placement.maxOpenFiles)
  return {
    ...(placement.local ? localNetwork() : publishedNetwork(placement.dataHash, spec.id)),
    ...tmpAndFiles(spec, image, placement),
    CgroupnsMode: 'private',
    ReadonlyRootfs: true,
    CapDrop: ['ALL'],
    SecurityOpt: [
      'no-new-privileges',
      ...(placement.seccomp === undefined ? [] : [`seccomp=${JSON.stringify(placement.seccomp)}`]),
    ],
    MaskedPaths: MASKED_PATHS,
    ReadonlyPaths: READONLY_PATHS,
    IpcMode: 'private',
    ShmSize: SHM_BYTES,
    Memory: spec.memoryBytes,
    MemorySwap: spec.memoryBytes,
    PidsLimit: spec.pids,
    OomScoreAdj: OOM_SCORE,
    Ulimits: [
      { Name: 'nofile', Soft: openFiles, Hard: openFiles },
      { Name: 'core', Soft: 0, Hard: 0 },
    ],
    Init: false,
    AutoRemove: false,
    RestartPolicy: { Name: 'no' },
    LogConfig: { Type: placement.logDriver, Config: logOptions(placement) },
  }
}

function logOptions({ logDriver, logFileBytes }: Placement): Record<string, string> {
  const size = { 'max-size': String(logFileBytes), 'max-file': '2', mode: 'blocking' }
  return logDriver === 'local' ? { ...size, compress: 'false' } : size
}

function localNetwork(): Docker.HostConfig {
  return { NetworkMode: 'none' }
}

function publishedNetwork(dataHash: string, id: string): Docker.HostConfig {
  return {
    NetworkMode: containerName(dataHash, id),
    PortBindings: { [PUBLISHED_PORT]: [{ HostIp: '127.0.0.1', HostPort: '' }] },
  }
}

/** `/tmp`, the identity files, and the image's VOLUMEs, which stay the read-only directories that the image has there. */
function tmpAndFiles(spec: InstanceSpec, image: ContainerConfig, placement: Placement): Docker.HostConfig {
  const { local, names } = placement
  const bind = (Source: string, Target: string, ReadOnly: boolean) => ({
    Type: 'bind' as const,
    Source,
    Target,
    ReadOnly,
  })
  const own = local
    ? [
        bind(names.tmp, '/tmp', false),
        bind(names.hosts, '/etc/hosts', true),
        bind(names.resolvConf, '/etc/resolv.conf', true),
        bind(names.hostnameFile, '/etc/hostname', true),
      ]
    : []
  const taken = new Set(['/tmp', ...own.map((mount) => mount.Target)])
  const volumes = Object.keys(image.Volumes ?? {})
    .map((path) => join('/', path).replace(/(.)\/+$/, '$1'))
    .filter((path) => !taken.has(path))
    .map((Target, index) => imageVolume(placement, spec.id, Target, index))
  if (volumes.length > 100) {
    throw new AppError(`the image declares ${volumes.length} volumes; at most 100 are possible`, {
      code: 'image-unsupported',
      fault: 'user',
    })
  }
  const Mounts = [...own, ...volumes]
  if (local) return { Mounts }
  return { Mounts, Tmpfs: { '/tmp': `rw,exec,nosuid,nodev,mode=1777,size=${spec.tmpBytes}` } }
}

/** A volume without a name cannot be read-only. The Engine fills this one with what the image has at the place. */
function imageVolume(placement: Placement, id: string, Target: string, index: number) {
  return {
    Type: 'volume' as const,
    Source: `${containerName(placement.dataHash, id)}-${index}`,
    Target,
    ReadOnly: true,
    VolumeOptions: {
      NoCopy: false,
      Labels: { [LABEL_DATA]: placement.dataHash, [LABEL_INSTANCE]: id },
      DriverConfig: { Name: 'local', Options: {} },
    },
  }
}
