import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type Docker from 'dockerode'
import { AppError, type Logger, messageOf } from '../../common/index.ts'
import {
  detectCgroups,
  type InstanceNames,
  identityFiles,
  instanceNames,
  isInstanceId,
  NetworkNamespaces,
  seccompFilter,
  TmpVolumes,
} from '../../sandbox/index.ts'
import { connectDocker, type DockerApi, statusOf } from './docker-api.ts'
import { containerName, containerOptions, type Placement, PUBLISHED_PORT } from './docker-container.ts'
import { type DockerFacts, dockerFacts } from './docker-detect.ts'
import { DockerInstance, signalName } from './docker-instance.ts'
import { OutputFollower } from './docker-output.ts'
import { OutputFile } from './docker-output-file.ts'
import { prepareImage } from './docker-pull.ts'
import { LocalReach, type LocalSite, PublishedReach, type Reach } from './docker-reach.ts'
import { ensureNetwork, namesOf, removeContainer, removeNetwork, removeVolumes } from './docker-traces.ts'
import type {
  Engine,
  EngineCapabilities,
  EngineInstance,
  ExitStatus,
  InstanceSpec,
  PreparedImage,
  PrepareRequest,
} from './engine.ts'
import { stopSignal } from './stop-signal.ts'

const LOG_FILE_BYTES = 256 * 1024 * 1024

export { type DockerDetection, detectDocker } from './docker-detect.ts'

export interface DockerEngineOptions {
  /** Default `/var/run/docker.sock`. */
  socketPath?: string
  /** Hash of the data directory: part of the name of everything that the Engine keeps for us. */
  hash: string
  /** Keeps the templates of `/tmp` volumes between runs. Used on a local Engine only. */
  workDirectory: string
  log: Logger
  /**
   * Size of each of the two files in which the Engine keeps an instance's output. Default 256 MiB: Engines before 23 skip whole files when
   * their reader is more than one behind.
   */
  logFileBytes?: number
  /** False: treat the Engine as if it were on another machine. Default: found out. */
  local?: boolean
}

/** Opens a Docker Engine. Throws `engine-unreachable`. */
export async function openDockerEngine(options: DockerEngineOptions): Promise<Engine> {
  const api = await connectDocker(options.socketPath ?? '/var/run/docker.sock')
  try {
    return new DockerEngine(api, await dockerFacts(api), options)
  } catch (thrown) {
    api.close()
    throw thrown
  }
}

class DockerEngine implements Engine {
  readonly name = 'docker'
  readonly capabilities: EngineCapabilities
  readonly #api: DockerApi
  readonly #facts: DockerFacts
  readonly #dataHash: string
  readonly #logFileBytes: number
  readonly #log: Logger
  readonly #site: LocalSite | undefined
  /** Those whose end is not yet told: they hold streams of the Engine. */
  readonly #instances = new Map<string, DockerInstance>()

  constructor(api: DockerApi, facts: DockerFacts, options: DockerEngineOptions) {
    const local = options.local ?? facts.local
    this.#api = api
    this.#facts = facts
    this.#dataHash = options.hash
    this.#logFileBytes = options.logFileBytes ?? LOG_FILE_BYTES
    this.#log = options.log.child({ engine: 'docker' })
    this.#site = local ? openSite(options.workDirectory, this.#log) : undefined
    // `docker create` prepares no process, so a start later costs nearly what it costs at once.
    this.capabilities = { freeze: true, createAhead: false, cpuAfterListen: true, localDial: local }
  }

  prepare(request: PrepareRequest, signal?: AbortSignal): Promise<PreparedImage> {
    return prepareImage(this.#api, this.#facts.architecture, request, this.#log, signal)
  }

  async create(spec: InstanceSpec, signal?: AbortSignal): Promise<EngineInstance> {
    const names = this.#names(spec.id, spec.directory)
    const options = containerOptions(spec, this.#placement(names))
    if ((await this.#find(spec.id)) !== undefined) throw alreadyThere(spec.id)
    try {
      await this.#makeSurroundings(spec, names)
      const create = (abortSignal: AbortSignal) => this.#api.docker.createContainer({ ...options, abortSignal })
      await this.#api.call(`creating instance ${spec.id}`, create, { code: 'instance-create-failed', signal })
      return await this.#instance(spec, names)
    } catch (thrown) {
      const error = createError(spec, thrown)
      if (error.code !== 'instance-exists')
        await this.#removeTraces(names).catch((again: unknown) => this.#leftTraces(spec.id, again))
      throw error
    }
  }

  async adopt(spec: InstanceSpec): Promise<EngineInstance | undefined> {
    const found = await this.#find(spec.id)
    if (found === undefined) return undefined
    const instance = await this.#instance(spec, this.#names(spec.id, spec.directory))
    if (found.State.Status === 'created') return instance
    await instance.attach(found)
    if (found.State.Running) return instance
    await instance.exited // its last output is still copied
    return undefined
  }

  async lastExit(spec: InstanceSpec): Promise<ExitStatus | undefined> {
    const state = (await this.#find(spec.id))?.State
    if (state === undefined || state.Running || state.Status === 'created') return undefined
    return { code: state.ExitCode, signal: signalName(state.ExitCode), oom: state.OOMKilled && state.ExitCode === 137 }
  }

  async sweep(id: string, directory: string): Promise<void> {
    await this.#removeTraces(this.#names(id, directory))
    await this.#instances.get(id)?.close()
    this.#instances.delete(id)
  }

  async strays(): Promise<string[]> {
    const prefix = containerName(this.#dataHash, '')
    const names = await namesOf(this.#api, this.#dataHash)
    const ids = names
      .filter((name) => name.startsWith(prefix))
      .map((name) => name.slice(prefix.length).split('-')[0] ?? '')
    return [...new Set(ids.filter(isInstanceId))]
  }

  async close(): Promise<void> {
    this.#api.close()
    await Promise.all([...this.#instances.values()].map((instance) => instance.close()))
    this.#site?.namespaces.close()
  }

  /** They carry the instance's name, so the next sweep finds them. */
  #leftTraces(id: string, thrown: unknown): void {
    this.#log.warn({ instance: id, why: messageOf(thrown) }, 'traces of a failed creation remain')
  }

  #names(id: string, directory: string): InstanceNames {
    return instanceNames(this.#dataHash, id, directory)
  }

  #placement(names: InstanceNames): Placement {
    const local = this.#site !== undefined
    return {
      dataHash: this.#dataHash,
      names,
      local,
      logDriver: this.#facts.logDrivers.includes('local') ? 'local' : 'json-file',
      logFileBytes: this.#logFileBytes,
      // The filter names this machine's architecture; an Engine elsewhere has its own default.
      seccomp: local ? seccompFilter() : undefined,
      maxOpenFiles: local ? hardLimitOfOpenFiles() : Number.MAX_SAFE_INTEGER,
    }
  }

  async #find(id: string): Promise<Docker.ContainerInspectInfo | undefined> {
    const container = this.#api.container(containerName(this.#dataHash, id))
    return this.#api.find(`looking for instance ${id}`, (abortSignal) => container.inspect({ abortSignal }))
  }

  /** What must be there before the container: volume and files, or a network. Traces of a crash are removed first. */
  async #makeSurroundings(spec: InstanceSpec, names: InstanceNames): Promise<void> {
    if (this.#site === undefined) {
      await ensureNetwork(this.#api, containerName(this.#dataHash, spec.id), this.#dataHash)
      return
    }
    const files = identityFiles(spec.hostname)
    writeFileSync(names.hosts, files.hosts, { mode: 0o644 })
    writeFileSync(names.resolvConf, files.resolvConf, { mode: 0o644 })
    writeFileSync(names.hostnameFile, files.hostname, { mode: 0o644 })
    this.#site.volumes.remove(names.tmpImage, names.tmp)
    await this.#site.volumes.make(names.tmpImage, names.tmp, spec.tmpBytes)
  }

  async #instance(spec: InstanceSpec, names: InstanceNames): Promise<DockerInstance> {
    const container = containerName(this.#dataHash, spec.id)
    const output = await OutputFile.open(names.output, join(names.directory, 'output.cursor'))
    const instance = new DockerInstance({
      api: this.#api,
      id: spec.id,
      container,
      stopSignal: stopSignal(spec.image.config.config?.StopSignal),
      cpus: spec.cpus < this.#facts.cpus ? spec.cpus : undefined,
      output,
      follower: new OutputFollower(this.#api, container, output, this.#log),
      openReach: (state) => this.#openReach(container, state),
      removeTraces: () => this.#removeTraces(names),
      log: this.#log,
    })
    this.#instances.set(spec.id, instance)
    void instance.exited.then(() => this.#instances.delete(spec.id))
    return instance
  }

  async #openReach(container: string, state: Docker.ContainerInspectInfo): Promise<Reach | undefined> {
    if (!state.State.Running) return undefined
    if (this.#site !== undefined) return LocalReach.find(this.#site, state.State.Pid, state.Id)
    const hostPort = Number(state.NetworkSettings.Ports[PUBLISHED_PORT]?.[0]?.HostPort)
    if (!Number.isInteger(hostPort)) return undefined
    const port = Number.parseInt(PUBLISHED_PORT, 10)
    return new PublishedReach(this.#api, container, { port, hostPort, startedAt: state.State.StartedAt })
  }

  async #removeTraces(names: InstanceNames): Promise<void> {
    const container = containerName(this.#dataHash, names.id)
    await removeContainer(this.#api, container)
    await removeVolumes(this.#api, this.#dataHash, names.id)
    if (this.#site === undefined) await removeNetwork(this.#api, container)
    this.#site?.volumes.remove(names.tmpImage, names.tmp)
    for (const file of [names.hosts, names.resolvConf, names.hostnameFile]) rmSync(file, { force: true })
  }
}

function openSite(workDirectory: string, log: Logger): LocalSite {
  return { namespaces: new NetworkNamespaces(log), cgroups: detectCgroups(), volumes: new TmpVolumes(workDirectory) }
}

/** The Engine runs on this machine under limits like ours: what we may not raise for a child, it may not either. */
function hardLimitOfOpenFiles(): number {
  const [, hard] = /^Max open files\s+\S+\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'latin1')) ?? []
  return hard === undefined ? Number.MAX_SAFE_INTEGER : Number(hard)
}

function alreadyThere(id: string): AppError {
  return new AppError(`an instance ${id} exists already`, { code: 'instance-exists' })
}

function createError(spec: InstanceSpec, thrown: unknown): AppError {
  const status = statusOf(thrown)
  if (status === 409) return alreadyThere(spec.id)
  if (status === 404) {
    const image = `${spec.image.repository}@${spec.image.digest}`
    return new AppError(`image ${image} is not on this machine`, {
      code: 'image-not-local',
      retryable: true,
      cause: thrown,
    })
  }
  return thrown as AppError
}
