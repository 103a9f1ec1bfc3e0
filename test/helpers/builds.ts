import { existsSync, mkdirSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { makeNodeBase, type NodeBase } from '../../base-images/node/index.ts'
import { type Builder, type BuilderOptions, createBuilder } from '../../builder/index.ts'
import { NPM_VERSION } from '../../builder/npm-tool.ts'
import { createLogger } from '../../common/index.ts'

/** Base layers and tools are kept between runs, under names made from what they hold. */
export const KEPT = join(tmpdir(), 'slipway-test-base')

export function testBase(signal?: AbortSignal): Promise<NodeBase> {
  return makeNodeBase({ cacheDirectory: KEPT, ...(signal === undefined ? {} : { signal }) })
}

/**
 * A builder that shares no layer with other tests. npm and the unpacked base are shared, unless `home` has a directory `cache`
 * already: then nothing is.
 */
export function testBuilder(home: string, changes: Partial<BuilderOptions> = {}): Builder {
  const cacheDirectory = join(home, 'cache')
  if (!existsSync(cacheDirectory)) shareTools(cacheDirectory)
  return createBuilder({
    cacheDirectory,
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
  for (const name of ['base-layers', 'volumes']) {
    mkdirSync(join(KEPT, name), { recursive: true })
    symlinkSync(join(KEPT, name), join(cacheDirectory, name))
  }
  const npm = `npm-${NPM_VERSION}`
  if (existsSync(join(KEPT, npm))) symlinkSync(join(KEPT, npm), join(cacheDirectory, npm))
}
