import { mkdirSync } from 'node:fs'
import type { FunctionYaml } from '../api/index.ts'
import { AppError, errnoOf, type Logger } from '../common/index.ts'
import type { Digest } from '../oci/index.ts'
import type { CredentialSource } from '../registry-auth/index.ts'
import type { BaseImage } from './base-image.ts'
import { runBuild } from './build.ts'
import type { BuildEvent, StepTime } from './progress.ts'
import type { BaseOutcome } from './publish.ts'
import type { Source } from './source.ts'

export interface BuildRequest {
  source: Source
  /** What the caller says; it wins over `function.yaml`. */
  settings?: FunctionYaml
  target: {
    /** `127.0.0.1:5000` */
    registry: string
    /** Default: NAMESPACE/NAME. */
    repository?: string
    /** Default `latest`. */
    tag?: string
  }
  onEvent?: (event: BuildEvent) => void
}

export interface BuildResult {
  /** REGISTRY/REPOSITORY@DIGEST */
  image: string
  /** Of what the tag points to. */
  digest: Digest
  /** Of the manifest for this machine's platform: the same, unless the tag points to an index. */
  platformDigest: Digest
  tag: string
  sizeBytes: number
  pushedBytes: number
  reusedBytes: number
  base: BaseOutcome
  durationMs: number
  steps: StepTime[]
  /** `function.yaml` and the request together, with name, namespace, type and runtime as they were decided. */
  settings: FunctionYaml & { name: string; namespace: string; type: 'event' | 'web' | 'job'; runtime: string }
  /** Files left out because such files hold secrets. */
  secrets: string[]
  /** The lock file that was resolved because the source has none; keep it beside package.json. */
  resolvedLock?: { file: string; text: string }
}

/** Turns source into a digest-pinned image in a registry. */
export interface Builder {
  build(request: BuildRequest, signal: AbortSignal): Promise<BuildResult>
}

export interface BuilderOptions {
  /** Layers and tools are kept here. */
  cacheDirectory: string
  /** The content store that holds unpacked base images: the platform's own where there is one on this machine. */
  contentDirectory: string
  /** Sandboxes of dependency steps live here while they run. */
  sandboxDirectory: string
  /** Hash of the data directory (DataPaths.hash). */
  hash: string
  credentials: CredentialSource
  /** Finds or makes the base image of a runtime. */
  base(runtime: string, note: (text: string) => void, signal: AbortSignal): Promise<BaseImage>
  log: Logger
  /** Layers kept for later builds, at most so many bytes. Default 4 GiB. */
  maxCacheBytes?: number
}

/** The builder of this machine. Several may work on the same directories at the same time. */
export function createBuilder(options: BuilderOptions): Builder {
  mkdirSync(options.cacheDirectory, { recursive: true, mode: 0o700 })
  return {
    async build(request, signal) {
      try {
        return await runBuild(options, request, signal)
      } catch (thrown) {
        throw errnoOf(thrown) === 'ENOSPC' ? diskFull(options.cacheDirectory, thrown) : thrown
      }
    },
  }
}

function diskFull(directory: string, cause: unknown): AppError {
  return new AppError(`the build ended since the disk of ${directory} is full`, {
    code: 'disk-full',
    retryable: true,
    hint: 'free space, or name another data directory by SLIPWAY_DATA',
    cause,
  })
}
