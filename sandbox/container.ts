import { closeSync, constants, openSync, readFileSync, readSync, unlinkSync } from 'node:fs'
import { basename } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { AppError, errnoOf, identify, type ProcessIdentity, runAny } from '../common/index.ts'
import type { InstanceNames } from './names.ts'
import type { OciRuntime } from './oci-runtime.ts'
import { runtimeMessage } from './runtime-message.ts'

const START_TIMEOUT_MS = 10_000

/** The container's first process as conmon wrote it down, if it is alive and in the instance's own control group. */
export function findContainerProcess(names: InstanceNames): ProcessIdentity | undefined {
  const pid = Number(readText(names.pidFile) ?? '')
  if (!Number.isInteger(pid) || pid <= 0) return undefined
  const process = identify(pid)
  const groups = readText(`/proc/${pid}/cgroup`) ?? ''
  return process !== undefined && groups.split('\n').some((line) => line.endsWith(`:${names.cgroup}`))
    ? process
    : undefined
}

/** Whether the process is still runc's own (`/usr/sbin/runc init`), and not the container's command. */
function isWaiting(pid: number): boolean {
  const [program = '', word] = (readText(`/proc/${pid}/cmdline`) ?? '').split('\0')
  return basename(program) === 'runc' && word === 'init'
}

/** Lets a created container run its command. Throws `instance-start-failed`. */
export async function startContainer(runtime: OciRuntime, names: InstanceNames, pid: number): Promise<void> {
  if (runtime.name === 'runc') return startByFifo(names, pid)
  const args = ['--root', names.state, 'start', names.id]
  const { exitCode, stderr } = await runAny(runtime.path, args, { timeoutMs: START_TIMEOUT_MS })
  if (exitCode !== 0) throw failed(names, runtimeMessage(stderr))
}

/**
 * runc's init process waits in opening `exec.fifo` for writing; opening and reading it is all that `runc start` does, so no process is needed for
 * it. (crun's waits the other way round.)
 */
async function startByFifo(names: InstanceNames, pid: number): Promise<void> {
  const fifo = openFifo(names)
  const untilMs = performance.now() + START_TIMEOUT_MS
  const byte = Buffer.alloc(1)
  try {
    for (let waitMs = 0; ; waitMs = Math.min(5, waitMs + 0.2)) {
      if (readNow(fifo, byte) === 1) break
      if (identify(pid) === undefined) {
        if (readNow(fifo, byte) === 1) break // it wrote, ran and ended since the line above
        throw failed(names, 'its first process has ended')
      }
      // A reader that leaves early breaks the pipe of an init that has yet to write: only what is no init any more has been started before.
      if (!isWaiting(pid)) break
      if (performance.now() > untilMs) throw failed(names, `the runtime did not answer within ${START_TIMEOUT_MS} ms`)
      await sleep(waitMs)
    }
  } finally {
    closeSync(fifo)
  }
  unlinkSync(names.startFifo)
}

function openFifo(names: InstanceNames): number {
  try {
    return openSync(names.startFifo, constants.O_RDONLY | constants.O_NONBLOCK)
  } catch (thrown) {
    if (errnoOf(thrown) === 'ENOENT') throw failed(names, 'it is not waiting to be started')
    throw thrown
  }
}

/** 0 while nobody has written. */
function readNow(fd: number, buffer: Buffer): number {
  try {
    return readSync(fd, buffer, 0, 1, null)
  } catch (thrown) {
    if (errnoOf(thrown) === 'EAGAIN') return 0
    throw thrown
  }
}

function readText(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return undefined
  }
}

function failed(names: InstanceNames, why: string): AppError {
  return new AppError(`instance ${names.id} cannot be started: ${why}`, { code: 'instance-start-failed' })
}
