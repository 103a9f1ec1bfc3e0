import { openBase } from '../../builder/base-image.ts'
import { createLogger, stripCode } from '../../common/index.ts'
import { compileCode } from '../../runtime-shim/host/index.ts'
import { testBase } from './builds.ts'
import { CONTENT_CACHE, SERVER_CACHE, STRIPPED_CACHE } from './cache.ts'
import { shareDockerd } from './dockerd.ts'
import { PROJECT } from './platform.ts'
import { hasPrograms } from './programs.ts'

const BASE_MS = 10 * 60_000

/** Runs before the suites that use engines: what several files need is made once, before two of them begin to make it at the same time. */
export default async function setUp(): Promise<() => Promise<void>> {
  stripCode(PROJECT, STRIPPED_CACHE)
  compileCode({ codeDirectory: PROJECT, stripped: STRIPPED_CACHE, compiled: SERVER_CACHE })
  process.env['SLIPWAY_CODE_CACHE'] = STRIPPED_CACHE // for what tests start of a platform by itself: content workers
  if (process.getuid?.() === 0 && hasPrograms('mmdebstrap', 'setpriv', 'nice')) {
    const signal = AbortSignal.timeout(BASE_MS)
    const base = await openBase(await testBase(signal), CONTENT_CACHE, createLogger('test'), signal)
    await base.close()
  }
  return shareDockerd()
}
