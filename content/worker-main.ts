import pino from 'pino'
import { AppError, createLogger, type Logger, messageOf, toAppError, toPlainError, trimHeap } from '../common/index.ts'
import type { Digest } from '../oci/index.ts'
import { collect } from './collect.ts'
import { ImagePuller } from './image-puller.ts'
import { type ContentLayout, contentLayout } from './layout.ts'
import { makeDurable, sweepWork } from './sweep.ts'
import { emptyTrash } from './trash.ts'
import { asRequest, readSettings, type WorkerAnswer, type WorkerTask } from './worker-protocol.ts'

/**
 * The content worker: fetches, verifies, unpacks and removes, and nothing else. It reads bytes of strangers, so it has no power but that over files
 * (see worker-command.ts), and may be killed at any instant: what it had not finished lies in its work directory, which the next one removes.
 */
process.umask(0)
const settings = readSettings(process.argv[2])
const log = createLogger('content-worker', pino.destination({ fd: 2, sync: true }))
const layout = contentLayout(settings.directory)
const puller = new ImagePuller(layout, settings.limits, log)
const running = new Map<number, AbortController>()

process.on('disconnect', () => process.exit(0))
process.on('message', (message) => {
  const request = asRequest(message)
  if (request === undefined) log.error('message of the store does not fit the protocol')
  else if (request.op === 'cancel') running.get(request.id)?.abort(cancelled())
  else void serve(request)
})
tidy(layout, log)

async function serve(task: WorkerTask): Promise<void> {
  const controller = new AbortController()
  running.set(task.id, controller)
  try {
    answer(await perform(task, controller.signal))
  } catch (thrown) {
    answer({ id: task.id, error: boundedError(thrown) })
  } finally {
    running.delete(task.id)
  }
  if (task.op !== 'collect') await makeDurable(layout).catch((thrown: unknown) => complain(thrown))
  if (running.size === 0) giveBackMemory()
}

/** Buffers of a pull lie outside V8's heap, where nothing tells it that there are many: collected and returned at once, not some day. */
function giveBackMemory(): void {
  globalThis.gc?.()
  trimHeap()
}

async function perform(task: WorkerTask, signal: AbortSignal): Promise<WorkerAnswer> {
  if (task.op === 'collect') return { id: task.id, collected: await collect(layout, task) }
  if (task.op === 'add') return { id: task.id, pulled: await puller.add(task, signal) }
  return { id: task.id, pulled: await puller.pull({ ...task, digest: task.digest as Digest }, signal) }
}

function answer(message: WorkerAnswer): void {
  if (process.connected) process.send?.(message, undefined, undefined, () => undefined)
}

function boundedError(thrown: unknown): ReturnType<typeof toPlainError> {
  const plain = toPlainError(toAppError(thrown))
  return { ...plain, message: plain.message.slice(0, 16_384), details: {} }
}

function cancelled(): AppError {
  return new AppError('the pull was given up: nobody waits for it any more', { code: 'pull-cancelled' })
}

function tidy(layout: ContentLayout, log: Logger): void {
  try {
    sweepWork(layout)
    emptyTrash(layout)
  } catch (thrown) {
    log.warn({ reason: messageOf(thrown) }, 'leftovers of an earlier worker could not be removed')
  }
}

function complain(thrown: unknown): void {
  log.warn({ reason: messageOf(thrown) }, 'layers could not be marked as written to disk')
}
