import { setTimeout as sleep } from 'node:timers/promises'
import { AppError } from '../../common/index.ts'
import type { EngineInstance, ExitStatus } from '../engines/engine.ts'

/** A refused dial costs 40 µs; asking every millisecond at first keeps the wait below what a start itself varies by. */
function pauseMs(waitedMs: number): number {
  if (waitedMs < 300) return 1
  return waitedMs < 3_000 ? 5 : 25
}

/**
 * Dials until the instance listens: the connection that proves it becomes the first pooled one.
 * Throws `instance-exited` when the process ends first and `port-binding-failed` after `timeoutMs`; that instance is stopped.
 */
export async function dialUntilListening(instance: EngineInstance, port: number, timeoutMs: number): Promise<number> {
  const began = performance.now()
  let exit: ExitStatus | undefined
  instance.exited.then(
    (status) => {
      exit = status
    },
    // The table tells of it.
    () => undefined,
  )
  for (;;) {
    const outcome = await instance.dial(port)
    if (outcome.kind === 'connected') return outcome.fd
    if (outcome.kind === 'gone') exit ??= await instance.exited
    if (exit !== undefined) {
      const how = exit.oom ? 'was killed for memory' : `exited with ${exit.signal ?? `code ${exit.code}`}`
      const details = { exit }
      throw new AppError(`the process ${how} before it listened on port ${port}`, {
        code: 'instance-exited',
        fault: 'user',
        details,
      })
    }
    const waitedMs = performance.now() - began
    if (waitedMs > timeoutMs) {
      await instance.stop(0)
      throw new AppError(`nobody listened on 0.0.0.0:${port} within ${timeoutMs} ms`, {
        code: 'port-binding-failed',
        fault: 'user',
        hint: `make the server listen on 0.0.0.0:${port}, not on 127.0.0.1`,
      })
    }
    await sleep(pauseMs(waitedMs))
  }
}
