import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { AppError, messageOf } from '../common/index.ts'
import { type CachedLayer, type LayerCache, type LayerEntry, treeEntries } from '../oci/index.ts'
import type { BaseImage, OpenBase } from './base-image.ts'
import { BuildSandbox, LENT_DIRECTORY, requireRoot, type SandboxMachine, TOOL_DIRECTORY } from './build-sandbox.ts'
import { placeOf } from './connect-proxy.ts'
import { type NpmSettings, readNpmSettings } from './npm-settings.ts'
import { NPM_VERSION, npmDirectory } from './npm-tool.ts'
import { writeReadableFile } from './readable.ts'
import { readSmallFile } from './source-file.ts'

export interface DependencyRequest {
  base: BaseImage
  packageJson: string
  /** Of package.json: what decides what is installed, as canonical text. */
  dependencyKey: string
  lockFile: string
  /** Absent: the dependencies are resolved to what is newest now. */
  lock: string | undefined
}

export interface DependencyLayer {
  layer: CachedLayer
  reused: boolean
  /** The lock that was resolved because there was none. */
  resolvedLock: string | undefined
}

/** What the dependency step works with. */
export interface DependencyTools {
  machine: SandboxMachine
  cache: LayerCache
  cacheDirectory: string
  openBase: (base: BaseImage) => Promise<OpenBase>
  note: (text: string) => void
}

const DESTINATION = 'var/user/node_modules'
const MAX_LOCK_BYTES = 32 * 1024 * 1024
const MAX_LINE = 500
const MAX_ERROR_LINES = 40
/** npm's record of where each package came from: it names the machine's registry, and nobody reads it at run time. */
const LEFT_OUT = new Set(['.package-lock.json', '.cache'])

/**
 * The layer of production dependencies, installed by npm inside the base image so that binaries fit it, without running any
 * script of a package. Found again by lock file, base and npm version. Throws `dependencies-failed`, `npm-unavailable`.
 */
export async function dependencyLayer(
  request: DependencyRequest,
  tools: DependencyTools,
  signal: AbortSignal,
): Promise<DependencyLayer> {
  const known = request.lock === undefined ? undefined : tools.cache.find(cacheKey(request, request.lock))
  if (known !== undefined) return { layer: known, reused: true, resolvedLock: undefined }
  requireRoot()
  const settings = await readNpmSettings(process.env, signal)
  const tool = await npmDirectory(tools.cacheDirectory, signal)
  const base = await tools.openBase(request.base)
  try {
    const sandbox = await BuildSandbox.open(tools.machine, {
      layers: base.layers,
      image: request.base.config.config ?? {},
      tool,
      lent: { 'ca.pem': settings.certificates },
      allowed: new Set([placeOf(settings.registry)]),
      upstreamProxy: settings.upstreamProxy,
      signal,
    })
    try {
      return await install(request, tools, settings, sandbox, signal)
    } finally {
      await sandbox.close()
    }
  } finally {
    await base.close()
  }
}

async function install(
  request: DependencyRequest,
  tools: DependencyTools,
  settings: NpmSettings,
  sandbox: BuildSandbox,
  signal: AbortSignal,
): Promise<DependencyLayer> {
  const lockPath = join(sandbox.workDirectory, request.lockFile)
  const npm = (...args: string[]): Promise<void> => runNpm(args, settings, sandbox, tools.note)
  writeReadableFile(join(sandbox.workDirectory, 'package.json'), request.packageJson)
  let { lock } = request
  if (lock === undefined) {
    tools.note('there is no lock file: resolving the newest versions that package.json allows')
    await npm('install', '--package-lock-only')
    lock = readSmallFile(lockPath, MAX_LOCK_BYTES) ?? ''
    const known = tools.cache.find(cacheKey(request, lock))
    if (known !== undefined) return { layer: known, reused: true, resolvedLock: lock }
  }
  rmSync(lockPath, { force: true })
  writeReadableFile(lockPath, lock)
  await npm('ci')
  const entries = installedEntries(join(sandbox.workDirectory, 'node_modules'), signal)
  const layer = await tools.cache.write(cacheKey(request, lock), entries, {}, { signal })
  return { layer, reused: false, resolvedLock: request.lock === undefined ? lock : undefined }
}

function cacheKey(request: DependencyRequest, lock: string): unknown {
  return ['npm', NPM_VERSION, request.base.digest, request.lockFile, lock, request.dependencyKey]
}

function installedEntries(directory: string, signal: AbortSignal): LayerEntry[] {
  const keep = (path: string): boolean => !LEFT_OUT.has(path)
  const installed = treeEntries(directory, { prefix: DESTINATION, owners: 'normal', keep, signal })
  return [{ kind: 'directory', path: DESTINATION }, ...installed]
}

async function runNpm(
  args: string[],
  settings: NpmSettings,
  sandbox: BuildSandbox,
  note: (text: string) => void,
): Promise<void> {
  const command = ['node', `${TOOL_DIRECTORY}/bin/npm-cli.js`, ...args]
  const errors: string[] = []
  const onLine = (line: string): void => {
    const error = /^npm error ?(.*)$/.exec(line)?.[1]
    if (error === undefined && line !== '') note(line.slice(0, MAX_LINE))
    else if (error !== undefined && errors.length < MAX_ERROR_LINES) errors.push(error.slice(0, MAX_LINE))
  }
  try {
    await sandbox.run(command, npmEnvironment(settings, sandbox.proxyUrl), onLine)
  } catch (cause) {
    if (!(cause instanceof AppError) || cause.code !== 'command-failed') throw cause
    const reason = reasonOf(errors)
    throw failed(`npm ${args[0]}: ${reason === '' ? messageOf(cause) : reason}`, sandbox.refusedPlaces, cause)
  }
}

/** What npm says is wrong, without the usage that may follow it. */
function reasonOf(errors: readonly string[]): string {
  const end = errors.findIndex((line) => /^(Usage:|Clean install a project|A complete log of this run)/.test(line))
  const said = errors.slice(0, end === -1 ? undefined : end)
  return said.filter((line) => line.trim() !== '').join('\n')
}

function failed(what: string, refused: readonly string[], cause: AppError): AppError {
  return new AppError(`installing dependencies failed: ${what}`, {
    code: 'dependencies-failed',
    fault: 'user',
    hint:
      refused.length === 0
        ? 'check package.json and the lock file with the same command on your machine'
        : `only the configured package registry can be reached during a build, not ${refused.join(', ')}`,
    details: { refused },
    cause,
  })
}

function npmEnvironment(settings: NpmSettings, proxy: string): Record<string, string> {
  const options = {
    audit: 'false',
    cache: '/tmp/npm',
    fund: 'false',
    globalconfig: `${LENT_DIRECTORY}/npmrc-global`,
    https_proxy: proxy,
    // Scripts of packages are programs of strangers; what they would build, most packages also ship.
    ignore_scripts: 'true',
    noproxy: '',
    omit: 'dev',
    progress: 'false',
    proxy,
    registry: settings.registry.href,
    // A lock made against another registry means the same packages: integrity decides, not the host that it names.
    replace_registry_host: 'always',
    strict_ssl: String(settings.strictSsl),
    update_notifier: 'false',
    userconfig: `${LENT_DIRECTORY}/npmrc-user`,
  }
  const prefixed = Object.entries(options).map(([key, value]) => [`npm_config_${key}`, value])
  return { ...Object.fromEntries(prefixed), NODE_EXTRA_CA_CERTS: `${LENT_DIRECTORY}/ca.pem` }
}
