import { type ChildProcess, spawn } from 'node:child_process'
import type { Duplex } from 'node:stream'
import { AppError, messageOf } from '../common/index.ts'
import type { InstanceNames } from './names.ts'
import type { OciRuntime } from './oci-runtime.ts'
import { runtimeMessage } from './runtime-message.ts'

const MAX_ANSWER_BYTES = 256 * 1024
const SYNC_FD = 3
const START_FD = 4

export interface MonitorRequest {
  names: InstanceNames
  runtime: OciRuntime
  /** Called with conmon's pid before it does anything: the moment to move it into a control group. */
  onSpawned: (pid: number) => void
  timeoutMs: number
  signal?: AbortSignal
}

/**
 * Creates a container through conmon, which then holds its stdout and stderr, writes them to `names.output` and its exit status to
 * `names.exitFile`, whatever becomes of this process. Answers the pid of the container's first process.
 * Throws `instance-create-failed` with the exact message of the OCI runtime.
 */
export async function createMonitored(request: MonitorRequest): Promise<number> {
  const { names, runtime } = request
  const child = spawn('conmon', conmonArguments(names, runtime), {
    stdio: ['ignore', 'ignore', 'ignore', 'pipe', 'pipe'],
    detached: true,
    cwd: names.directory, // conmon leaves a file `oom` where it stands when the kernel killed for memory
    env: {
      PATH: process.env['PATH'] ?? '/usr/sbin:/usr/bin:/sbin:/bin',
      _OCI_SYNCPIPE: String(SYNC_FD),
      _OCI_STARTPIPE: String(START_FD),
    },
  })
  const start = child.stdio[START_FD] as Duplex
  start.on('error', () => undefined) // conmon is gone: its answer, or its absence, says so
  try {
    const answer = answerOf(child, request)
    if (child.pid !== undefined) request.onSpawned(child.pid)
    start.end('\0')
    return readPid(await answer, names)
  } finally {
    start.destroy()
    child.stdio[SYNC_FD]?.destroy()
    child.unref()
  }
}

function conmonArguments(names: InstanceNames, runtime: OciRuntime): string[] {
  const flags: [string, string][] = [
    ['--api-version', '1'],
    ['-c', names.id],
    ['-u', names.id],
    ['-n', names.id],
    ['-r', runtime.path],
    ...['--root', names.state].map((argument): [string, string] => ['--runtime-arg', argument]),
    ['-b', names.bundle],
    ['-p', names.pidFile],
    ['--conmon-pidfile', names.monitorPidFile],
    ['--exit-dir', names.exitDirectory],
    ['--socket-dir-path', names.directory],
    ['-l', `k8s-file:${names.output}`],
    ['--log-level', 'warning'],
  ]
  // Without it conmon flushes the file to disk at each rotation (10 to 40 ms), and reads nothing from the function meanwhile.
  return [...flags.flat(), '--no-sync-log']
}

/** conmon's one line of JSON. */
function answerOf(child: ChildProcess, { names, timeoutMs, signal }: MonitorRequest): Promise<string> {
  return new Promise((resolve, reject) => {
    const sync = child.stdio[SYNC_FD] as Duplex
    let text = ''
    const fail = (why: string): void => {
      clearTimeout(timer)
      signal?.removeEventListener('abort', onAbort)
      reject(failed(names.id, why))
    }
    const onAbort = (): void => fail(`given up: ${messageOf(signal?.reason)}`)
    const timer = setTimeout(() => fail(`no answer from conmon within ${timeoutMs} ms`), timeoutMs)
    signal?.addEventListener('abort', onAbort, { once: true })
    child.on('error', (thrown) => fail(`conmon cannot be started: ${thrown.message}`))
    sync.on('error', (thrown) => fail(`conmon's answer cannot be read: ${thrown.message}`))
    sync.on('end', () =>
      fail(text === '' ? 'conmon ended without an answer' : `conmon answered "${text.slice(0, 200)}"`),
    )
    sync.on('data', (chunk: Buffer) => {
      text += chunk.toString('utf8')
      if (text.length > MAX_ANSWER_BYTES) return fail('conmon answers without end')
      if (!text.includes('\n')) return
      clearTimeout(timer)
      signal?.removeEventListener('abort', onAbort)
      resolve(text)
    })
  })
}

function readPid(answer: string, names: InstanceNames): number {
  const parsed = JSON.parse(answer) as { data?: unknown; message?: unknown }
  if (typeof parsed.data === 'number' && parsed.data > 0) return parsed.data
  throw failed(names.id, runtimeMessage(typeof parsed.message === 'string' ? parsed.message : 'no message'))
}

function failed(id: string, why: string): AppError {
  return new AppError(`instance ${id} cannot be created: ${why}`, { code: 'instance-create-failed', fault: 'user' })
}
