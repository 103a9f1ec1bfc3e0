import { existsSync, mkdirSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { makeNodeBase, type NodeBase } from '../../base-images/node/index.ts'
import { type Builder, type BuilderOptions, type BuildResult, createBuilder } from '../../builder/index.ts'
import { NPM_VERSION } from '../../builder/npm-tool.ts'
import { ApiClient } from '../../cli/api-client.ts'
import { pushAccess } from '../../cli/local-builder.ts'
import { createLogger, dataPaths } from '../../common/index.ts'
import { CACHE, CONTENT_CACHE } from './cache.ts'
import type { Platform } from './platform.ts'

/** Tools of builds, where the builds of test platforms keep them too. */
export const KEPT = join(CACHE, 'builder')

export function testBase(signal?: AbortSignal): Promise<NodeBase> {
  return makeNodeBase({ cacheDirectory: join(CACHE, 'base-images'), ...(signal === undefined ? {} : { signal }) })
}

/**
 * A builder that shares no layer with other tests. npm is shared, unless `home` has a directory `cache`
 * already; the unpacked base always is.
 */
export function testBuilder(home: string, changes: Partial<BuilderOptions> = {}): Builder {
  const cacheDirectory = join(home, 'cache')
  if (!existsSync(cacheDirectory)) shareTools(cacheDirectory)
  return createBuilder({
    cacheDirectory,
    contentDirectory: CONTENT_CACHE,
    sandboxDirectory: join(home, 'builds'),
    hash: 'test0000',
    credentials: { for: async () => ({ kind: 'anonymous' }) },
    base: (_runtime, _note, signal) => testBase(signal),
    log: createLogger('build-test'),
    ...changes,
  })
}

function shareTools(cacheDirectory: string): void {
  mkdirSync(cacheDirectory)
  mkdirSync(join(KEPT, 'volumes'), { recursive: true })
  symlinkSync(join(KEPT, 'volumes'), join(cacheDirectory, 'volumes'))
  const npm = `npm-${NPM_VERSION}`
  if (existsSync(join(KEPT, npm))) symlinkSync(join(KEPT, npm), join(cacheDirectory, npm))
}

/** What `slipway build DIRECTORY --name NAME` does on a platform, without a process of its own. */
export async function buildInProcess(platform: Platform, directory: string, name: string): Promise<BuildResult> {
  const api = new ApiClient({ url: platform.url, token: platform.token }, AbortSignal.timeout(60_000))
  const { registry, credentials } = await pushAccess(api, 'default')
  const { root, content, hash } = dataPaths(platform.dataDirectory)
  const builder = createBuilder({
    cacheDirectory: KEPT,
    contentDirectory: content,
    sandboxDirectory: join(root, 'builds'),
    hash,
    credentials,
    base: (_runtime, _note, signal) => testBase(signal),
    log: createLogger('build-test'),
  })
  const source = { kind: 'directory', path: directory } as const
  return builder.build({ source, settings: { name }, target: { registry } }, AbortSignal.timeout(60_000))
}
