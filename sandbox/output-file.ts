import { closeSync, constants, existsSync, openSync, readFileSync, renameSync, writeFileSync, writeSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { AppError, errnoOf, writeFileAtomic } from '../common/index.ts'
import type { InstanceNames } from './names.ts'

const REOPEN_TIMEOUT_MS = 5_000
/** conmon's word for "open your file anew" (its ctl FIFO: message type 2). */
const REOPEN = '2 0 0\n'

/**
 * Moves the output file to `output.log.N` and has conmon start a new one; answers the moved file's path once nothing more will be written to it.
 * Not to be called twice at once for one instance. conmon's own size limit is not used: it throws the older lines away.
 */
export async function rotateOutput(names: InstanceNames): Promise<string> {
  const number = (existsSync(names.rotations) ? Number(readFileSync(names.rotations, 'latin1')) : 0) + 1
  const moved = `${names.output}.${number}`
  writeFileAtomic(names.rotations, String(number))
  renameSync(names.output, moved)
  const told = tellMonitor(names)
  const untilMs = performance.now() + REOPEN_TIMEOUT_MS
  for (let waitMs = 0; !existsSync(names.output); waitMs = Math.min(20, waitMs + 1)) {
    if (!told || existsSync(names.exitFile)) {
      writeFileSync(names.output, '', { flag: 'a', mode: 0o600 }) // the instance has ended: nobody writes any more
      return moved
    }
    if (performance.now() > untilMs) {
      throw new AppError(`conmon of instance ${names.id} did not open its output anew within ${REOPEN_TIMEOUT_MS} ms`, {
        code: 'output-rotation-failed',
        retryable: true,
      })
    }
    await sleep(waitMs)
  }
  return moved
}

/** False when no monitor reads the FIFO. */
function tellMonitor(names: InstanceNames): boolean {
  try {
    const fifo = openSync(names.control, constants.O_WRONLY | constants.O_NONBLOCK)
    try {
      writeSync(fifo, REOPEN)
    } finally {
      closeSync(fifo)
    }
    return true
  } catch (thrown) {
    if (errnoOf(thrown) === 'ENXIO' || errnoOf(thrown) === 'ENOENT') return false
    throw thrown
  }
}
