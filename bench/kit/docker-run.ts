import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { execa } from 'execa'
import type { NetworkNamespaces } from '../../sandbox/index.ts'
import { startTestDockerd } from '../../test/helpers/dockerd.ts'
import type { Platform } from '../../test/helpers/platform.ts'
import { Caller, postRequest } from './caller.ts'
import type { Defer } from './scenario.ts'

const IMAGE = 'bench:latest'
const PORT = 9_000
const TIMEOUT_MS = 30_000
const ATTEMPT_EVERY_MS = 5

/**
 * A Docker Engine of its own, with the network that it makes by itself: a bridge, and ports published by address translation. All of that is in a
 * network namespace, so that nothing of this machine's network changes. (`--network host` would spare Docker the one wall that costs most, and an
 * instance of ours has it.)
 */
export class DockerRun {
  readonly #env: Record<string, string>
  readonly #networks: NetworkNamespaces
  readonly #netns: string
  /** Prints a line for each container that has started. */
  readonly #starts: Readable
  #runs = 0

  private constructor(env: Record<string, string>, networks: NetworkNamespaces, netns: string, starts: Readable) {
    this.#starts = starts
    this.#env = env
    this.#networks = networks
    this.#netns = netns
  }

  static async prepare(
    platform: Platform,
    image: string,
    networks: NetworkNamespaces,
    defer: Defer,
  ): Promise<DockerRun> {
    const scratch = mkdtempSync(join(tmpdir(), 'slipway-bench-'))
    defer(() => rmSync(scratch, { recursive: true, force: true }))
    const netns = join(scratch, 'netns')
    networks.make(netns)
    defer(() => networks.remove(netns))
    const dockerd = await startTestDockerd({ netns })
    defer(() => dockerd.close())
    const env = { DOCKER_HOST: `unix://${dockerd.socketPath}`, DOCKER_CONFIG: scratch }
    // The Engine cannot reach the registry from in there, so the image is carried.
    const archive = join(scratch, 'image.tar')
    const user = ['registry', 'user', 'add', 'bench', '--allow', 'pull:default/*']
    const { username, password } = await platform.cli<{ username: string; password: string }>(...user)
    const registry = image.slice(0, image.indexOf('/'))
    const authfile = join(scratch, 'auth.json')
    const login = ['login', '--authfile', authfile, '--tls-verify=false', '--username', username, '--password-stdin']
    await execa('skopeo', [...login, registry], { input: password })
    const source = ['--authfile', authfile, '--src-tls-verify=false', `docker://${image}`]
    await execa('skopeo', ['copy', ...source, `docker-archive:${archive}:${IMAGE}`])
    await execa('docker', ['load', '--quiet', '--input', archive], { env })
    const events = spawn('docker', ['events', '--filter', 'event=start'], {
      stdio: ['ignore', 'pipe', 'ignore'],
      env: { ...process.env, ...env },
    })
    defer(() => void events.kill())
    return new DockerRun(env, networks, netns, events.stdout)
  }

  /** The time from `docker run --publish` to the first byte of the answer to an event through the published port. */
  async firstByteMs(): Promise<number> {
    this.#runs += 1
    const name = `bench-${this.#runs}`
    const run = ['run', '--rm', '--name', name, '--publish', `${PORT}:${PORT}`, IMAGE]
    const started = once(this.#starts, 'data')
    const began = performance.now()
    const child = spawn('docker', run, { stdio: 'ignore', env: { ...process.env, ...this.#env } })
    const ended = new Promise((resolve) => child.once('exit', resolve))
    try {
      return (await this.#answeredAtMs(began, started)) - began
    } finally {
      await execa('docker', ['rm', '--force', name], { env: this.#env, reject: false })
      await ended
    }
  }

  /**
   * Docker's proxy takes connections before anybody listens behind it: only an answer counts. No attempt is made before Docker says that the
   * container runs: the kernel would ask for the address of a container that has no network yet, and ask again after a second only.
   */
  async #answeredAtMs(began: number, hasStarted: Promise<unknown>): Promise<number> {
    await hasStarted
    const answered = Promise.withResolvers<number>()
    let isOver = false
    answered.promise.finally(() => (isOver = true)).catch(() => undefined)
    while (!isOver) {
      if (performance.now() - began > TIMEOUT_MS) throw new Error(`no answer of the container within ${TIMEOUT_MS} ms`)
      this.#attempt().then(
        (atMs) => {
          if (atMs !== undefined) answered.resolve(atMs)
        },
        (thrown: unknown) => answered.reject(thrown as Error),
      )
      await sleep(ATTEMPT_EVERY_MS)
    }
    return answered.promise
  }

  /** When an answer came, if one did. */
  async #attempt(): Promise<number | undefined> {
    const outcome = await this.#networks.dial(this.#netns, PORT)
    if (outcome.kind !== 'connected') return undefined
    const caller = Caller.over(new Socket({ fd: outcome.fd, readable: true, writable: true }))
    const answer = await caller.call(postRequest('/event-invoke', '{}')).catch(() => undefined)
    caller.close()
    if (answer !== undefined && answer.status !== 200) throw new Error(`the container answered ${answer.status}`)
    return answer === undefined ? undefined : performance.now()
  }
}
