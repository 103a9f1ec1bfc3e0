import type { Version } from '../../api/index.ts'
import { AppError, toAppError } from '../../common/index.ts'
import type { HostClient } from '../host/host-client.ts'
import type { Result } from '../host/port.ts'
import type { PullCredential, PullCredentials } from '../invoke/runtime.ts'
import type { StartTrace } from './trace.ts'

/** What the supervisor has beyond a download's own deadline to say that it was reached. */
const LATE_ANSWER_MS = 2_000

interface Download {
  deadlineMs: number
  credential: Promise<PullCredential>
  done: Promise<Result<'prepare'>>
}

/** The downloads under way: each has one credential, which is refused from its end, and serves every start that waits for it. */
export class Downloads {
  readonly #host: HostClient
  readonly #credentials: PullCredentials
  readonly #running = new Map<string, Download>()

  constructor(host: HostClient, credentials: PullCredentials) {
    this.#host = host
    this.#credentials = credentials
  }

  /** Whether the version's namespace may run its image, by our own grants, however local it is. Throws `image-not-allowed`. */
  check(version: Version): void {
    this.#credentials.check(version)
  }

  /**
   * Waits until the version's image is local, by a download under way or a new one. A download has the deadline of the start that
   * began it: who joined one that ran out of time before oneself goes on with another. `trace` gets the credential's id, and how long this
   * start waited for credential, bytes and (within that) their unpacking. What it answers is told the instance that the start makes.
   */
  async wait(version: Version, deadlineMs: number, trace: StartTrace): Promise<(instance: string) => void> {
    this.#credentials.check(version)
    for (;;) {
      const download = this.#running.get(keyOf(version)) ?? this.#begin(version, deadlineMs)
      try {
        return await this.#join(download, version, deadlineMs, trace)
      } catch (thrown) {
        const joinedTooEarlyOne = download.deadlineMs < deadlineMs && Date.now() < deadlineMs
        if (!joinedTooEarlyOne || toAppError(thrown).code !== 'pull-timeout') throw thrown
      }
    }
  }

  /** Rejects with what the download failed with, `pull-timeout` at the start's own deadline. */
  async #join(
    download: Download,
    version: Version,
    deadlineMs: number,
    trace: StartTrace,
  ): Promise<(instance: string) => void> {
    const { phases } = trace
    const late = lateSignal(version, deadlineMs)
    const askedMs = performance.now()
    const credential = await orAborted(download.credential, late)
    const heldMs = performance.now()
    trace.credential = credential.id
    phases.credential = heldMs - askedMs
    const became = credential.joined(version)
    try {
      const { pullMs, unpackMs } = await orAborted(download.done, late)
      const waitedMs = performance.now() - heldMs
      phases.pull = Math.min(pullMs, waitedMs)
      phases.unpack = Math.min(unpackMs, waitedMs)
      return became
    } catch (thrown) {
      phases.pull = performance.now() - heldMs
      // At the deadline the credential ends too: which of the two breaks the download is chance, and only one of them is the reason.
      throw Date.now() >= deadlineMs ? pullTimeout(version) : thrown
    }
  }

  #begin(version: Version, deadlineMs: number): Download {
    const key = keyOf(version)
    const late = lateSignal(version, deadlineMs)
    const credential = this.#credentials.issue(version, deadlineMs, late)
    const done = this.#fetch(version, credential, deadlineMs, late).finally(() => this.#running.delete(key))
    // Each start that waits is told; nobody waiting any more is no crash.
    done.catch(() => undefined)
    const download = { deadlineMs, credential, done }
    this.#running.set(key, download)
    return download
  }

  async #fetch(
    version: Version,
    issuing: Promise<PullCredential>,
    deadlineMs: number,
    late: AbortSignal,
  ): Promise<Result<'prepare'>> {
    const pull = await issuing
    const { registry, repository, platformDigest: digest } = version.image
    const timeoutMs = Math.max(1, Math.ceil(deadlineMs - Date.now()))
    try {
      const args = { registry, repository, digest, credential: pull.credential, timeoutMs, download: pull.id }
      const answer = await this.#host.call('prepare', args, late)
      pull.end()
      return answer
    } catch (thrown) {
      pull.end(toAppError(thrown).code)
      // A supervisor that took over in the middle began anew, with more time than the credential has.
      if (late.aborted) await this.#host.call('cancelDownload', { download: pull.id, reason: 'too late' })
      throw thrown
    }
  }
}

function keyOf({ image: { registry, repository, platformDigest } }: Version): string {
  return `${registry}/${repository}@${platformDigest}`
}

/** For a supervisor that does not say in time that the deadline was reached. Aborts with `pull-timeout`. */
function lateSignal(version: Version, deadlineMs: number): AbortSignal {
  const controller = new AbortController()
  const lateMs = Math.max(1, deadlineMs + LATE_ANSWER_MS - Date.now())
  setTimeout(() => controller.abort(pullTimeout(version)), lateMs).unref()
  return controller.signal
}

function pullTimeout({ image: { repository, platformDigest } }: Version): AppError {
  return new AppError(`pull of ${repository}@${platformDigest} was not done by its deadline`, {
    code: 'pull-timeout',
    fault: 'dependency',
    retryable: true,
    hint: 'give the function a longer initTimeout, or make the image smaller',
  })
}

/** The result, unless `signal` aborts first: then its reason. */
async function orAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  const { promise: aborted, reject } = Promise.withResolvers<never>()
  const onAbort = (): void => reject(signal.reason)
  signal.addEventListener('abort', onAbort, { once: true })
  try {
    return await Promise.race([work, aborted])
  } finally {
    signal.removeEventListener('abort', onAbort)
  }
}
