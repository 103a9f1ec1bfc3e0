import { join } from 'node:path'
import type { DataPaths } from '../common/index.ts'

/** Where builds keep what they can use again. `SLIPWAY_CACHE` names one place for several data directories. */
export function buildPlaces(
  env: NodeJS.ProcessEnv,
  paths: DataPaths,
): { base: string; builder: string; sandboxes: string } {
  const cache = env['SLIPWAY_CACHE'] || paths.cache
  return {
    base: join(cache, 'base-images'),
    builder: join(cache, 'builder'),
    sandboxes: join(paths.root, 'builds'),
  }
}
