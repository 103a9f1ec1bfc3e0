import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { execa } from 'execa'
import { startTestDockerd } from '../../test/helpers/dockerd.ts'
import { freePort, type Platform } from '../../test/helpers/platform.ts'
import { listening } from './bare.ts'
import { postRequest } from './caller.ts'
import type { Defer } from './scenario.ts'

/** A Docker Engine of its own that has pulled one image from the platform's registry. */
export class DockerRun {
  readonly #env: Record<string, string>
  readonly #image: string
  #runs = 0

  private constructor(env: Record<string, string>, image: string) {
    this.#env = env
    this.#image = image
  }

  static async prepare(platform: Platform, image: string, defer: Defer): Promise<DockerRun> {
    const dockerd = await startTestDockerd({ own: true })
    defer(() => dockerd.close())
    const config = mkdtempSync(join(tmpdir(), 'slipway-bench-'))
    defer(() => rmSync(config, { recursive: true, force: true }))
    const env = { DOCKER_HOST: `unix://${dockerd.socketPath}`, DOCKER_CONFIG: config }
    const user = ['registry', 'user', 'add', 'bench', '--allow', 'pull:default/*']
    const { username, password } = await platform.cli<{ username: string; password: string }>(...user)
    const registry = image.slice(0, image.indexOf('/'))
    await execa('docker', ['login', '--username', username, '--password-stdin', registry], { env, input: password })
    await execa('docker', ['pull', '--quiet', image], { env })
    return new DockerRun(env, image)
  }

  /** The time from `docker run` on the host's network (the cheapest there is) to the first byte of the answer to an event. */
  async firstByteMs(): Promise<number> {
    const port = await freePort()
    this.#runs += 1
    const name = `bench-${this.#runs}`
    const run = ['run', '--rm', '--name', name, '--network', 'host', this.#image]
    const began = performance.now()
    const child = spawn('docker', [...run, String(port)], { stdio: 'ignore', env: { ...process.env, ...this.#env } })
    const ended = new Promise((resolve) => child.once('exit', resolve))
    try {
      const caller = await listening(port, 30_000)
      const { status } = await caller.call(postRequest('/event-invoke', '{}'))
      const elapsedMs = performance.now() - began
      caller.close()
      if (status !== 200) throw new Error(`the container answered ${status}`)
      return elapsedMs
    } finally {
      await execa('docker', ['rm', '--force', name], { env: this.#env, reject: false })
      await ended
    }
  }
}
