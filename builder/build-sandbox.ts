import { randomBytes } from 'node:crypto'
import { chmodSync, mkdirSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { AppError, identify, messageOf, run } from '../common/index.ts'
import type { ContainerConfig } from '../oci/index.ts'
import {
  type Cgroups,
  detectRuntime,
  type InstanceNames,
  identityFiles,
  makeSkeleton,
  mountImageRoot,
  type NetworkNamespaces,
  ociSpec,
  seccompFilter,
  type TmpVolumes,
} from '../sandbox/index.ts'
import { OWNER_FILE, removeSandbox, sandboxNames } from './build-sandbox-names.ts'
import { type ConnectProxy, serveConnectProxy } from './connect-proxy.ts'
import { makeReadableDirectory, writeReadableFile } from './readable.ts'

/** Bounds of a step that runs in the base image: a large dependency tree fits, a bomb does not. */
const STEP_TIMEOUT_MS = 10 * 60_000
const MEMORY_BYTES = 2 * 1024 ** 3
const PIDS = 256
const OPEN_FILES = 16_384
const VOLUME_BYTES = 4 * 1024 ** 3
const STEP_USER = { uid: 1000, gid: 1000, additionalGids: [], home: '/tmp' }
const PROXY_ADDRESS = '127.0.0.1'

/** Where the step finds things; nothing else of it can be written but `/tmp`. */
export const WORK_DIRECTORY = '/var/user'
export const TOOL_DIRECTORY = '/run/tool'
export const LENT_DIRECTORY = '/run/lent'

/** What of this machine a sandbox is made with. */
export interface SandboxMachine {
  /** Sandboxes lie here, mode 0700. */
  directory: string
  /** Hash of the data directory: part of every name outside it. */
  hash: string
  namespaces: NetworkNamespaces
  volumes: TmpVolumes
  cgroups: Cgroups
}

export interface SandboxOptions {
  /** Directories of the base image's unpacked layers, lowest first. */
  layers: readonly string[]
  image: ContainerConfig
  /** A directory of this machine shown read-only at TOOL_DIRECTORY. */
  tool: string
  /** Files shown read-only at LENT_DIRECTORY, for as long as the sandbox lives. */
  lent: Record<string, string>
  /** The only places that can be reached, `HOST:PORT`. */
  allowed: ReadonlySet<string>
  upstreamProxy: URL | undefined
  /** For each run. Default 10 minutes. */
  timeoutMs?: number
  signal: AbortSignal
}

/**
 * A container in the base image for steps that run foreign programs at build time: everything read-only but two volumes of bounded size, no
 * capability, no route; a proxy on its loopback leads to the allowed places. What it makes is read from `workDirectory` while it is open.
 */
export class BuildSandbox {
  readonly #machine: SandboxMachine
  readonly #options: SandboxOptions
  readonly #names: InstanceNames
  #proxy: ConnectProxy | undefined
  /** WORK_DIRECTORY on this machine. */
  readonly workDirectory: string
  proxyUrl = ''

  private constructor(machine: SandboxMachine, options: SandboxOptions) {
    this.#machine = machine
    this.#options = options
    this.#names = sandboxNames(machine, randomBytes(8).toString('hex'))
    this.workDirectory = join(this.#names.directory, 'work')
  }

  static async open(machine: SandboxMachine, options: SandboxOptions): Promise<BuildSandbox> {
    requireRoot()
    const sandbox = new BuildSandbox(machine, options)
    try {
      await sandbox.#make()
      return sandbox
    } catch (thrown) {
      await sandbox.close()
      throw thrown
    }
  }

  /** Places that were asked for and are not allowed. */
  get refusedPlaces(): string[] {
    return [...(this.#proxy?.refused ?? [])]
  }

  /** Runs one program to its end. Throws `command-failed` with what it said last, `build-step-timeout`, or the abort reason. */
  async run(args: string[], env: Record<string, string>, onLine: (line: string) => void): Promise<void> {
    const runtime = detectRuntime()
    const { signal, timeoutMs = STEP_TIMEOUT_MS } = this.#options
    signal.throwIfAborted()
    writeFileSync(this.#names.config, JSON.stringify(this.#spec(args, env)), { mode: 0o600 })
    const deadline = AbortSignal.timeout(timeoutMs)
    const end = AbortSignal.any([signal, deadline])
    // Killing the container ends the runtime; killing the runtime would leave the container.
    const kill = setInterval(() => {
      if (end.aborted) this.#machine.cgroups.killAll(this.#names.cgroup).catch(() => undefined)
    }, 100)
    try {
      const { bundle, state, id } = this.#names
      await run(runtime.path, ['--root', state, 'run', '--bundle', bundle, id], {
        timeoutMs: timeoutMs + 30_000,
        onLine,
      })
    } catch (cause) {
      signal.throwIfAborted()
      if (!deadline.aborted) throw cause
      throw new AppError(`a build step did not end within ${timeoutMs / 1000} s`, {
        code: 'build-step-timeout',
        fault: 'user',
        cause,
      })
    } finally {
      clearInterval(kill)
    }
  }

  /** Ends what runs and removes every trace. Idempotent. */
  async close(): Promise<void> {
    this.#proxy?.close()
    await removeSandbox(this.#machine, this.#names)
  }

  async #make(): Promise<void> {
    const names = this.#names
    // With its owner's name from the first instant: a build that is killed is found and swept by the next one.
    const making = `${names.directory}.new`
    mkdirSync(making, { recursive: true, mode: 0o700 })
    writeFileSync(join(making, OWNER_FILE), JSON.stringify(identify(process.pid)))
    renameSync(making, names.directory)
    for (const path of [names.bundle, names.root, names.state]) mkdirSync(path)
    const { volumes, namespaces } = this.#machine
    await volumes.make(names.tmpImage, names.tmp, VOLUME_BYTES)
    await volumes.make(`${this.workDirectory}.img`, this.workDirectory, VOLUME_BYTES)
    chmodSync(this.workDirectory, 0o777)
    this.#writeLentFiles()
    this.#mountRoot()
    namespaces.make(names.netns)
    const fd = namespaces.listen(names.netns, PROXY_ADDRESS, 0)
    const { allowed, upstreamProxy } = this.#options
    this.#proxy = await serveConnectProxy(fd, { allowed, upstream: upstreamProxy })
    this.proxyUrl = `http://${PROXY_ADDRESS}:${this.#proxy.port}`
  }

  #writeLentFiles(): void {
    const lent = join(this.#names.directory, 'lent')
    makeReadableDirectory(lent)
    for (const [name, text] of Object.entries(this.#options.lent)) writeReadableFile(join(lent, name), text)
    const { hosts, resolvConf, hostname } = identityFiles('build')
    writeReadableFile(this.#names.hosts, hosts)
    writeReadableFile(this.#names.resolvConf, resolvConf)
    writeReadableFile(this.#names.hostnameFile, hostname)
  }

  /** A read-only root has no place to make mount points in: they come from a layer of their own. */
  #mountRoot(): void {
    const points = join(this.#names.directory, 'points')
    for (const path of ['', '/var', WORK_DIRECTORY, '/run', TOOL_DIRECTORY, LENT_DIRECTORY]) {
      makeReadableDirectory(points + path)
    }
    const skeleton = makeSkeleton(join(this.#names.directory, 'skeleton'))
    try {
      mountImageRoot([points, ...this.#options.layers], skeleton, this.#names.root)
    } catch (cause) {
      throw new AppError(`the base image cannot be mounted for the build: ${messageOf(cause)}`, {
        code: 'build-failed',
        cause,
      })
    }
  }

  #spec(args: string[], env: Record<string, string>): object {
    const { image, tool } = this.#options
    const config = ociSpec(
      {
        image: { ...image, WorkingDir: WORK_DIRECTORY },
        command: args,
        env: { ...env, HOME: STEP_USER.home },
        hostname: 'build',
        memoryBytes: MEMORY_BYTES,
        pids: PIDS,
        openFiles: OPEN_FILES,
        user: STEP_USER,
      },
      { names: this.#names, seccomp: seccompFilter(), maxOpenFiles: OPEN_FILES, limitSwap: false },
    ) as { mounts: object[] }
    const bind = (destination: string, source: string, ...options: string[]): object => ({
      destination,
      type: 'bind',
      source,
      options: ['bind', 'nosuid', 'nodev', ...options],
    })
    config.mounts.push(
      bind(WORK_DIRECTORY, this.workDirectory, 'rw'),
      bind(TOOL_DIRECTORY, tool, 'ro'),
      bind(LENT_DIRECTORY, join(this.#names.directory, 'lent'), 'ro'),
    )
    return config
  }
}

/** Throws `build-needs-root`: namespaces, mounts and control groups are root's. */
export function requireRoot(): void {
  if (process.getuid?.() === 0) return
  throw new AppError('installing dependencies inside the base image needs root', {
    code: 'build-needs-root',
    fault: 'user',
    hint: 'run the build as root, or vendor node_modules and leave package.json without dependencies',
  })
}
