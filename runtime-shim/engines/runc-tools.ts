import { mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Logger } from '../../common/index.ts'
import type { ContentStore } from '../../content/index.ts'
import {
  type Cgroups,
  detectCgroups,
  detectRuntime,
  ExitWatch,
  makeSkeleton,
  NetworkNamespaces,
  type OciRuntime,
  platformCgroup,
  type Seccomp,
  seccompFilter,
  TmpVolumes,
} from '../../sandbox/index.ts'

export interface RuncEngineOptions {
  /** Hash of the data directory (common/paths.ts): part of every name outside it. */
  hash: string
  /** `run/instances` */
  instancesDirectory: string
  /** For what is made once: the skeleton layer and templates of `/tmp` volumes. */
  workDirectory: string
  content: ContentStore
  log: Logger
  /** Default: runc. */
  runtime?: OciRuntime
  /** Sandboxes (network namespace, control group, `/tmp` volume) kept ready for ids that `reserveId` hands out. Default 0. */
  waitingSandboxes?: number
  /** Size of the `/tmp` volume of a waiting sandbox. Default 512 MiB. */
  waitingTmpBytes?: number
}

/** What all instances of an engine share. */
export interface RuncTools {
  hash: string
  instancesDirectory: string
  content: ContentStore
  log: Logger
  runtime: OciRuntime
  cgroups: Cgroups
  networks: NetworkNamespaces
  volumes: TmpVolumes
  exits: ExitWatch
  seccomp: Seccomp
  skeleton: string
  maxOpenFiles: number
  limitSwap: boolean
}

export function openTools(options: RuncEngineOptions): RuncTools {
  const { hash, instancesDirectory, workDirectory, content, log } = options
  mkdirSync(instancesDirectory, { recursive: true, mode: 0o700 })
  mkdirSync(workDirectory, { recursive: true, mode: 0o700 })
  const cgroups = detectCgroups()
  cgroups.create(platformCgroup(hash))
  return {
    hash,
    instancesDirectory,
    content,
    log,
    runtime: options.runtime ?? detectRuntime(),
    cgroups,
    networks: new NetworkNamespaces(log),
    volumes: new TmpVolumes(join(workDirectory, 'tmp-volumes')),
    exits: new ExitWatch(),
    seccomp: seccompFilter(),
    skeleton: makeSkeleton(join(workDirectory, 'skeleton')),
    maxOpenFiles: hardLimitOfOpenFiles(),
    limitSwap: cgroups.canLimitSwap(platformCgroup(hash)),
  }
}

function hardLimitOfOpenFiles(): number {
  const match = /^Max open files +\d+ +(\d+)/m.exec(readFileSync('/proc/self/limits', 'latin1'))
  return Number(match?.[1] ?? 1024)
}
