import type { Options } from 'execa'
import { AppError } from './errors.ts'

export interface CommandOptions {
  /** Milliseconds before the command is killed. Default 60,000. */
  timeoutMs?: number
  signal?: AbortSignal
  cwd?: string
  /** The whole environment of the child: nothing is inherited but PATH unless given here. */
  env?: Record<string, string>
  /** Text for stdin; default: end of file at once. */
  input?: string
  /** Called with each line of stdout and stderr while the command runs. */
  onLine?: (line: string) => void
}

export interface CommandResult {
  stdout: string
  stderr: string
  exitCode: number
}

const MAX_OUTPUT_BYTES = 16 * 1024 * 1024

/**
 * Runs a program with an argument array (never a shell) and returns its output. This file is the only caller of execa.
 * Throws `command-failed` with the last lines of stderr when it ends with anything but 0, is killed or cannot be started.
 */
export async function run(file: string, args: readonly string[], options: CommandOptions = {}): Promise<CommandResult> {
  const result = await runAny(file, args, options)
  if (result.exitCode !== 0) {
    const said = (result.stderr || result.stdout).trim().split('\n').slice(-5).join('\n')
    throw new AppError(`${file} ${args[0] ?? ''} failed with exit code ${result.exitCode}: ${said}`, {
      code: 'command-failed',
      details: { file, exitCode: result.exitCode, stderr: said },
    })
  }
  return result
}

/** As `run`, but an exit code other than 0 is an answer, not an error. A program that cannot be started still throws. */
export async function runAny(
  file: string,
  args: readonly string[],
  options: CommandOptions = {},
): Promise<CommandResult> {
  const settings: Options = {
    reject: false,
    timeout: options.timeoutMs ?? 60_000,
    extendEnv: false,
    env: { PATH: process.env['PATH'] ?? '/usr/sbin:/usr/bin:/sbin:/bin', ...options.env },
    maxBuffer: MAX_OUTPUT_BYTES,
    stdin: options.input === undefined ? 'ignore' : 'pipe',
    stripFinalNewline: false,
    ...(options.input === undefined ? {} : { input: options.input }),
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    ...(options.signal === undefined ? {} : { cancelSignal: options.signal }),
  }
  // Loaded when first used: it takes 9 MB, and the server and the parent run no commands.
  const { execa } = await import('execa')
  const child = execa(file, [...args], settings)
  if (options.onLine !== undefined) {
    for (const stream of [child.stdout, child.stderr]) forwardLines(stream, options.onLine)
  }
  const result = await child
  if (result.exitCode === undefined) {
    const why = result.timedOut ? `no end within ${settings.timeout} ms` : (result.shortMessage ?? 'killed')
    throw new AppError(`${file} ${args[0] ?? ''} failed: ${why}`, {
      code: 'command-failed',
      details: { file, signal: result.signal ?? null, timedOut: result.timedOut },
      cause: result,
    })
  }
  return { stdout: text(result.stdout), stderr: text(result.stderr), exitCode: result.exitCode }
}

function text(value: unknown): string {
  return typeof value === 'string' ? value : ''
}

function forwardLines(stream: NodeJS.ReadableStream | null, onLine: (line: string) => void): void {
  let rest = ''
  stream?.on('data', (chunk: Buffer) => {
    const lines = (rest + chunk.toString('utf8')).split('\n')
    rest = (lines.pop() ?? '').slice(-65_536)
    for (const line of lines) onLine(line)
  })
}
