import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { messageOf } from '../../common/index.ts'
import { detectDocker } from '../../runtime-shim/engines/index.ts'
import { chooseRuntime } from '../../sandbox/index.ts'
import type { Check } from '../setup/index.ts'

/** What can run instances here, tried out: which OCI runtime makes a container, and what the Docker Engine lets us do. */
export async function examineEngines(dockerSocket: string): Promise<Check[]> {
  return [await examineRuntime(), await examineDocker(dockerSocket)]
}

async function examineRuntime(): Promise<Check> {
  const name = 'OCI runtime'
  if (process.getuid?.() !== 0)
    return { name, state: 'warning', message: 'not tried: needs root', hint: 'run doctor as root' }
  const scratch = mkdtempSync(join(tmpdir(), 'slipway-doctor-'))
  try {
    const { runtime, reason } = await chooseRuntime('auto', 'd0c70000', scratch)
    return { name, state: 'ok', message: `${runtime.name}: ${reason}` }
  } catch (thrown) {
    return { name, state: 'warning', message: messageOf(thrown), hint: 'install runc' }
  } finally {
    rmSync(scratch, { recursive: true, force: true })
  }
}

async function examineDocker(socket: string): Promise<Check> {
  const name = 'Docker Engine'
  const found = await detectDocker(socket)
  if (!found.reachable) return { name, state: 'ok', message: 'none answers: --engine docker cannot be used' }
  const { version, problem, hint } = found
  if (problem === undefined) return { name, state: 'ok', message: version }
  return { name, state: 'warning', message: `${version}: ${problem}`, ...(hint === undefined ? {} : { hint }) }
}
