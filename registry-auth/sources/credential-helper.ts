import { spawn } from 'node:child_process'
import { AppError, errnoOf, messageOf } from '../../common/index.ts'
import type { Credential } from '../../oci/index.ts'

/** Helpers ask keychains and clouds; one that waits for a person waits for nobody here. */
const TIMEOUT_MS = 30_000
const MAX_ANSWER_BYTES = 131_072
const MAX_COMPLAINT = 500
/** What helpers print, with exit code 1, for a registry they do not know (docker/docker-credential-helpers, credentials/error.go). */
const NOT_FOUND = /credentials not found in native keychain/i
/** The user name that says: the secret is a refresh token (docker/cli, the same convention in every helper). */
const TOKEN_USER = '<token>'

export interface HelperOptions {
  /** Whole environment of the helper. */
  env: NodeJS.ProcessEnv
  /** Default 30,000 ms. */
  timeoutMs?: number
}

/**
 * Asks `docker-credential-SUFFIX get` for a registry: its address on stdin, JSON on stdout. Undefined when the helper knows none.
 * The helper is a program of whoever wrote the configuration: it runs as this user, with its environment, for 30 s at most.
 * What it prints on stdout is never repeated, since it may be a secret. Throws `credential-helper-failed`.
 */
export async function askCredentialHelper(
  suffix: string,
  serverUrl: string,
  options: HelperOptions,
  signal?: AbortSignal,
): Promise<Credential | undefined> {
  const program = `docker-credential-${suffix}`
  const failed = (why: string, cause?: unknown): AppError =>
    new AppError(`${program} gave no credential for ${serverUrl}: ${why}`, {
      code: 'credential-helper-failed',
      fault: 'user',
      hint: `try it by hand: echo ${serverUrl} | ${program} get`,
      cause,
    })
  if (!/^[A-Za-z0-9._-]{1,64}$/.test(suffix)) throw failed('this is no name of a helper')
  const { exitCode, stdout, stderr } = await runHelper(program, serverUrl, options, failed, signal)
  if (exitCode === 0) return readAnswer(stdout, failed)
  if (NOT_FOUND.test(stdout)) return undefined
  const complaint = stderr
    .replace(/[\p{C}\s]+/gu, ' ')
    .trim()
    .slice(0, MAX_COMPLAINT)
  throw failed(`exit code ${exitCode}${complaint === '' ? '' : `: ${complaint}`}`)
}

interface Ended {
  exitCode: number
  stdout: string
  stderr: string
}
type Fail = (why: string, cause?: unknown) => AppError

function runHelper(
  program: string,
  input: string,
  { env, timeoutMs = TIMEOUT_MS }: HelperOptions,
  failed: Fail,
  signal: AbortSignal | undefined,
): Promise<Ended> {
  return new Promise((resolve, reject) => {
    const late = AbortSignal.timeout(timeoutMs)
    const either = signal === undefined ? late : AbortSignal.any([signal, late])
    // A process group of its own: a helper that hands on to other programs is ended with all of them.
    const child = spawn(program, ['get'], { env, stdio: ['pipe', 'pipe', 'pipe'], detached: true })
    const end = (why: unknown): void => {
      if (child.pid !== undefined) killGroup(child.pid)
      child.stdout.destroy()
      child.stderr.destroy()
      reject(why instanceof Error ? why : failed(messageOf(why)))
    }
    const onAbort = (): void => {
      end(signal?.aborted === true ? signal.reason : failed(`no answer within ${timeoutMs} ms`))
    }
    either.addEventListener('abort', onAbort, { once: true })
    const output = { stdout: '', stderr: '' }
    for (const name of ['stdout', 'stderr'] as const) {
      child[name].setEncoding('utf8').on('data', (text: string) => {
        output[name] += text
        if (output[name].length > MAX_ANSWER_BYTES) end(failed(`more than ${MAX_ANSWER_BYTES} bytes on ${name}`))
      })
    }
    child.once('error', (thrown) => {
      either.removeEventListener('abort', onAbort)
      reject(failed(errnoOf(thrown) === 'ENOENT' ? 'there is no such program in PATH' : messageOf(thrown), thrown))
    })
    child.once('close', (exitCode) => {
      either.removeEventListener('abort', onAbort)
      resolve({ exitCode: exitCode ?? -1, ...output })
    })
    child.stdin.on('error', () => undefined) // a helper that does not read its question answers all the same
    child.stdin.end(`${input}\n`)
  })
}

function killGroup(pid: number): void {
  try {
    process.kill(-pid, 'SIGKILL')
  } catch {
    // it has ended meanwhile
  }
}

function readAnswer(text: string, failed: Fail): Credential {
  const answer = parse(text)
  const username: unknown = answer === undefined ? undefined : Reflect.get(answer, 'Username')
  const secret: unknown = answer === undefined ? undefined : Reflect.get(answer, 'Secret')
  if (typeof username !== 'string' || typeof secret !== 'string' || secret === '') {
    throw failed('its answer is not {"ServerURL", "Username", "Secret"}')
  }
  if (username === TOKEN_USER) return { kind: 'identity', token: secret }
  return { kind: 'basic', username, password: secret }
}

function parse(text: string): object | undefined {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null ? value : undefined
  } catch {
    return undefined
  }
}
