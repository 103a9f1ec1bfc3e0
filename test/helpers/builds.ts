import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { makeNodeBase, type NodeBase } from '../../base-images/node/index.ts'
import { type Builder, type BuilderOptions, createBuilder } from '../../builder/index.ts'
import { createLogger } from '../../common/index.ts'

/** Base layers are kept between runs, under names made from what they hold. */
const BASE_CACHE = join(tmpdir(), 'slipway-test-base')

export function testBase(signal?: AbortSignal): Promise<NodeBase> {
  return makeNodeBase({ cacheDirectory: BASE_CACHE, ...(signal === undefined ? {} : { signal }) })
}

/** A builder that shares nothing with other tests but the base's layers. */
export function testBuilder(home: string, changes: Partial<BuilderOptions> = {}): Builder {
  return createBuilder({
    cacheDirectory: join(home, 'cache'),
    sandboxDirectory: join(home, 'builds'),
    hash: 'test0000',
    credentials: { for: async () => ({ kind: 'anonymous' }) },
    base: (_runtime, _note, signal) => testBase(signal),
    log: createLogger('build-test'),
    ...changes,
  })
}
