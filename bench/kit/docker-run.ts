import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
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

/**
 * A Docker Engine of its own, with the network that it makes by itself: a bridge, and ports published by address translation. All of that is in a
 * network namespace, so that nothing of this machine's network changes. (`--network host` would spare Docker the one wall that costs most, and an
 * instance of ours has it.)
 */
export class DockerRun {
  readonly #env: Record<string, string>
  readonly #networks: NetworkNamespaces
  readonly #netns: string
  #runs = 0

  private constructor(env: Record<string, string>, networks: NetworkNamespaces, netns: string) {
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
    return new DockerRun(env, networks, netns)
  }

  /** The time from `docker run --publish` to the first byte of the answer to an event through the published port. */
  async firstByteMs(): Promise<number> {
    this.#runs += 1
    const name = `bench-${this.#runs}`
    const run = ['run', '--rm', '--name', name, '--publish', `${PORT}:${PORT}`, IMAGE]
    const began = performance.now()
    const child = spawn('docker', run, { stdio: 'ignore', env: { ...process.env, ...this.#env } })
    const ended = new Promise((resolve) => child.once('exit', resolve))
    try {
      return (await this.#answeredAtMs(began)) - began
    } finally {
      await execa('docker', ['rm', '--force', name], { env: this.#env, reject: false })
      await ended
    }
  }

  /** Docker's proxy takes connections before anybody listens behind it: only an answer counts. */
  async #answeredAtMs(began: number): Promise<number> {
    for (;;) {
      const outcome = await this.#networks.dial(this.#netns, PORT)
      if (outcome.kind === 'connected') {
        const caller = Caller.over(new Socket({ fd: outcome.fd, readable: true, writable: true }))
        const answer = await caller.call(postRequest('/event-invoke', '{}')).catch(() => undefined)
        caller.close()
        if (answer?.status === 200) return performance.now()
        if (answer !== undefined) throw new Error(`the container answered ${answer.status}`)
      }
      if (performance.now() - began > TIMEOUT_MS) throw new Error(`no answer of the container within ${TIMEOUT_MS} ms`)
      await sleep(1)
    }
  }
}
