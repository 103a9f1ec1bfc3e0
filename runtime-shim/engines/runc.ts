import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join, sep } from 'node:path'
import { AppError, errnoOf, identify, messageOf } from '../../common/index.ts'
import {
  findContainerProcess,
  type InstanceNames,
  identityFiles,
  instanceNames,
  isInstanceId,
  type Monitor,
  monitorsCgroup,
  mountImageRoot,
  ociSpec,
  platformCgroup,
  readExitCode,
  readImageFile,
  resolveUser,
} from '../../sandbox/index.ts'
import type { Engine, EngineInstance, ExitStatus, InstanceSpec, PreparedImage, PrepareRequest } from './engine.ts'
import { exitStatus, RuncInstance } from './runc-instance.ts'
import { makeSandbox, removeTraces, replaceVolume, startMonitor } from './runc-sandbox.ts'
import { openTools, type RuncEngineOptions, type RuncTools } from './runc-tools.ts'
import { WaitingSandboxes } from './runc-waiting.ts'

const CREATE_TIMEOUT_MS = 60_000
const DEFAULT_TMP_BYTES = 512 * 1024 * 1024

/** Opens the engine that runs instances by the OCI runtime itself. Needs root. */
export function openRuncEngine(options: RuncEngineOptions): RuncEngine {
  return new RuncEngine(openTools(options), options.waitingSandboxes ?? 0, options.waitingTmpBytes ?? DEFAULT_TMP_BYTES)
}

export class RuncEngine implements Engine {
  readonly name = 'runc'
  readonly capabilities = { freeze: true, createAhead: true, cpuAfterListen: true, localDial: true }
  readonly #tools: RuncTools
  readonly #waiting: WaitingSandboxes

  constructor(tools: RuncTools, waitingSandboxes: number, waitingTmpBytes: number) {
    this.#tools = tools
    this.#waiting = new WaitingSandboxes(tools, waitingSandboxes, waitingTmpBytes)
  }

  /** An id for the next instance; when a sandbox waits, its own, so that `create` finds it made. */
  reserveId(): string {
    return this.#waiting.reserve()
  }

  /** Settles when as many sandboxes wait as the engine was asked to keep. */
  sandboxesReady(): Promise<void> {
    return this.#waiting.full()
  }

  async prepare(request: PrepareRequest, signal?: AbortSignal): Promise<PreparedImage> {
    const { registry, repository, digest, credential, deadlineMs } = request
    const { content } = this.#tools
    if (credential === null) {
      const image = await content.find(digest)
      if (image === undefined) throw notLocal(digest)
      const { manifestDigest, config, sizeBytes } = image
      return { digest: manifestDigest, config, sizeBytes, pulled: false, pullMs: 0, unpackMs: 0 }
    }
    const result = await content.pull({ registry, repository, digest, credential, deadlineMs }, signal)
    const { manifestDigest, config, sizeBytes } = result.image
    const { pulled, pullMs, unpackMs } = result
    return { digest: manifestDigest, config, sizeBytes, pulled, pullMs, unpackMs }
  }

  async create(spec: InstanceSpec, signal?: AbortSignal): Promise<EngineInstance> {
    const names = this.#names(spec.id, spec.directory)
    const monitor = await this.#sandboxFor(names, spec)
    try {
      await this.#mountRoot(names, spec)
      this.#configure(names, spec)
      const pid = await monitor.create(CREATE_TIMEOUT_MS, signal)
      const process = identify(pid)
      if (process === undefined) throw ended(spec.id)
      return new RuncInstance(this.#tools, names, spec, process)
    } catch (thrown) {
      monitor.discard()
      await this.#cleanUpAfter(names)
      throw thrown
    }
  }

  async adopt(spec: InstanceSpec): Promise<EngineInstance | undefined> {
    const names = this.#names(spec.id, spec.directory)
    const process = findContainerProcess(names)
    return process === undefined ? undefined : new RuncInstance(this.#tools, names, spec, process)
  }

  /** conmon writes the exit down, and the file `oom` beside it where the kernel killed for memory. */
  async lastExit(spec: InstanceSpec): Promise<ExitStatus | undefined> {
    const names = this.#names(spec.id, spec.directory)
    const code = readExitCode(names)
    return code === undefined ? undefined : exitStatus(code, existsSync(join(names.directory, 'oom')))
  }

  async sweep(id: string, directory: string): Promise<void> {
    this.#waiting.forget(id)
    await removeTraces(this.#tools, this.#names(id, directory))
  }

  async strays(): Promise<string[]> {
    const { cgroups, hash, instancesDirectory } = this.#tools
    const claimed = readdirSync(instancesDirectory).filter((id) => existsSync(join(instancesDirectory, id, 'claim')))
    const mounted = mountPoints().flatMap((path) => {
      if (!path.startsWith(instancesDirectory + sep)) return []
      return [path.slice(instancesDirectory.length + 1).split(sep)[0] ?? '']
    })
    const known = new Set([
      ...cgroups.list(platformCgroup(hash)),
      ...claimed,
      ...mounted,
      ...this.#tools.content.owners(),
    ])
    return [...known].filter((id) => isInstanceId(id) && !this.#waiting.has(id))
  }

  async close(): Promise<void> {
    const { cgroups, exits, networks, hash } = this.#tools
    await this.#waiting.close()
    exits.close()
    networks.close()
    cgroups.removeIfEmpty(monitorsCgroup(hash))
    cgroups.removeIfEmpty(platformCgroup(hash))
  }

  async #sandboxFor(names: InstanceNames, spec: InstanceSpec): Promise<Monitor> {
    const waiting = this.#waiting.take(spec.id)
    if (waiting !== undefined) {
      if (spec.tmpBytes !== this.#waiting.tmpBytes) await replaceVolume(this.#tools, names, spec.tmpBytes)
      return waiting.waits ? waiting : startMonitor(this.#tools, names)
    }
    try {
      return await makeSandbox(this.#tools, names, spec.tmpBytes)
    } catch (thrown) {
      if (errnoOf(thrown) === 'EEXIST' && existsSync(names.claim)) {
        throw new AppError(`instance ${spec.id} exists already`, { code: 'instance-exists' })
      }
      await this.#cleanUpAfter(names)
      throw thrown
    }
  }

  async #mountRoot(names: InstanceNames, spec: InstanceSpec): Promise<void> {
    const { content, skeleton } = this.#tools
    await content.lease(spec.image.digest, spec.id)
    const image = await content.find(spec.image.digest)
    if (image === undefined) throw notLocal(spec.image.digest)
    mountImageRoot(image.layerDirectories, skeleton, names.root)
  }

  #configure(names: InstanceNames, spec: InstanceSpec): void {
    const { seccomp, maxOpenFiles, limitSwap } = this.#tools
    const image = spec.image.config.config ?? {}
    const files = identityFiles(spec.hostname)
    writeFileSync(names.hosts, files.hosts, { mode: 0o644 })
    writeFileSync(names.resolvConf, files.resolvConf, { mode: 0o644 })
    writeFileSync(names.hostnameFile, files.hostname, { mode: 0o644 })
    const read = (path: string): string => readImageFile(names.root, path)
    const user = resolveUser(image.User ?? '', read('etc/passwd'), read('etc/group'))
    const { command, args, env, hostname, memoryBytes, pids, openFiles } = spec
    const container = {
      image,
      env,
      hostname,
      memoryBytes,
      pids,
      openFiles,
      user,
      ...(command === undefined ? {} : { command }),
      ...(args === undefined ? {} : { args }),
    }
    const config = ociSpec(container, { names, seccomp, maxOpenFiles, limitSwap })
    writeFileSync(names.config, JSON.stringify(config), { mode: 0o600 })
  }

  async #cleanUpAfter(names: InstanceNames): Promise<void> {
    try {
      await removeTraces(this.#tools, names)
    } catch (thrown) {
      this.#tools.log.error({ id: names.id, why: messageOf(thrown) }, 'a failed creation could not be cleaned up')
    }
  }

  #names(id: string, directory: string): InstanceNames {
    return instanceNames(this.#tools.hash, id, directory)
  }
}

function mountPoints(): string[] {
  const lines = readFileSync('/proc/self/mountinfo', 'utf8').split('\n')
  return lines.map((line) => line.split(' ')[4] ?? '')
}

function notLocal(digest: string): AppError {
  return new AppError(`image ${digest} is not on this machine`, { code: 'image-not-local', hint: 'prepare it first' })
}

function ended(id: string): AppError {
  return new AppError(`instance ${id} cannot be created: its first process ended at once`, {
    code: 'instance-create-failed',
  })
}
