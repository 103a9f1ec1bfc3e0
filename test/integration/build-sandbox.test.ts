import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { type OpenBase, openBase } from '../../builder/base-image.ts'
import { BuildSandbox, type SandboxMachine, type SandboxOptions } from '../../builder/build-sandbox.ts'
import { createLogger } from '../../common/index.ts'
import { detectCgroups, NetworkNamespaces, TmpVolumes } from '../../sandbox/index.ts'
import { KEPT, testBase } from '../helpers/builds.ts'
import { CONTENT_CACHE } from '../helpers/cache.ts'
import { requireProgram } from '../helpers/programs.ts'

describe.skipIf(!requireProgram('runc', 'mmdebstrap', 'tar'))('a build step', () => {
  let home: string
  let base: OpenBase
  let machine: SandboxMachine
  let origin: Server
  let place: string
  let sandbox: BuildSandbox | undefined

  beforeAll(async () => {
    home = mkdtempSync(join(tmpdir(), 'slipway-step-'))
    base = await openBase(await testBase(), CONTENT_CACHE, createLogger('test'), AbortSignal.timeout(60_000))
    const namespaces = new NetworkNamespaces(createLogger('test'))
    const volumes = new TmpVolumes(join(KEPT, 'volumes'))
    machine = { directory: join(home, 'builds'), hash: 'teststep', namespaces, volumes, cgroups: detectCgroups() }
    origin = createServer((_request, response) => response.end('from the registry'))
    await new Promise<void>((resolve) => origin.listen(0, '127.0.0.1', resolve))
    place = `127.0.0.1:${(origin.address() as AddressInfo).port}`
    mkdirSync(join(home, 'tool'), { mode: 0o755 })
  })
  afterEach(async () => {
    await sandbox?.close()
    sandbox = undefined
    expect(existsSync(machine.directory) ? readdirSync(machine.directory) : []).toEqual([])
    expect(readFileSync('/proc/self/mountinfo', 'utf8')).not.toContain(home)
  })
  afterAll(async () => {
    origin.close()
    await base.close()
    machine.namespaces.close()
    rmSync(home, { recursive: true })
  })

  /** Runs a program of ours as a step; answers the JSON that it printed last. */
  async function step(script: string, options: Partial<SandboxOptions> = {}): Promise<unknown> {
    writeFileSync(join(home, 'tool/step.mjs'), script, { mode: 0o644 })
    sandbox = await BuildSandbox.open(machine, {
      layers: base.layers,
      image: (await testBase()).config.config ?? {},
      tool: join(home, 'tool'),
      lent: { 'ca.pem': 'lent' },
      allowed: new Set([place]),
      upstreamProxy: undefined,
      signal: AbortSignal.timeout(60_000),
      ...options,
    })
    const lines: string[] = []
    const env = { PROXY: sandbox.proxyUrl, PLACE: place }
    await sandbox.run(['node', '/run/tool/step.mjs'], env, (line) => lines.push(line))
    return JSON.parse(lines.filter((line) => line.startsWith('{')).at(-1) ?? 'null') as unknown
  }

  it('has no power, writes only where it may, and within bounds', async () => {
    const answer = await step(`
      import { readFileSync, statfsSync, writeFileSync } from 'node:fs'
      const status = readFileSync('/proc/self/status', 'utf8')
      const field = (name) => new RegExp('^' + name + ':\\\\s*(\\\\S+)', 'm').exec(status)[1]
      const writes = (path) => { try { writeFileSync(path, 'x'); return 'written' } catch (error) { return error.code } }
      const bytes = (path) => { const { blocks, bsize } = statfsSync(path); return blocks * bsize }
      console.log(JSON.stringify({
        uid: process.getuid(), caps: field('CapBnd') + field('CapEff'), noNewPrivs: field('NoNewPrivs'), seccomp: field('Seccomp'),
        root: writes('/x'), usr: writes('/usr/x'), tool: writes('/run/tool/x'), lent: writes('/run/lent/ca.pem'),
        work: writes('/var/user/x'), tmp: writes('/tmp/x'), lentText: readFileSync('/run/lent/ca.pem', 'utf8'),
        bounded: bytes('/var/user') <= 4 * 1024 ** 3 && bytes('/tmp') <= 4 * 1024 ** 3,
        env: Object.keys(process.env).filter((name) => /SECRET|TOKEN|SLIPWAY/.test(name)),
      }))`)
    expect(answer).toEqual({
      uid: 1000,
      caps: '0'.repeat(32),
      noNewPrivs: '1',
      seccomp: '2',
      root: 'EROFS',
      usr: 'EROFS',
      tool: 'EROFS',
      lent: 'EROFS',
      work: 'written',
      tmp: 'written',
      lentText: 'lent',
      bounded: true,
      env: [],
    })
    expect(readFileSync(join(sandbox?.workDirectory ?? '', 'x'), 'utf8')).toBe('x')
  })

  it('reaches the allowed place through the proxy, and nothing else in any way', async () => {
    const answer = await step(`
      import { request } from 'node:http'
      import { connect } from 'node:net'
      import { networkInterfaces } from 'node:os'
      const proxy = new URL(process.env.PROXY)
      const tunnel = (target) => new Promise((resolve) => {
        const asked = request({ host: proxy.hostname, port: proxy.port, method: 'CONNECT', path: target })
        asked.on('connect', (answer, socket) => { socket.destroy(); resolve(answer.statusCode) })
        asked.on('error', (error) => resolve(error.code))
        asked.end()
      })
      const direct = (host, port) => new Promise((resolve) => {
        const socket = connect(port, host, () => resolve('connected'))
        socket.on('error', (error) => resolve(error.code))
      })
      const [host, port] = process.env.PLACE.split(':')
      console.log(JSON.stringify({
        allowed: await tunnel(process.env.PLACE), metadata: await tunnel('169.254.169.254:80'), other: await tunnel('127.0.0.1:22'),
        direct: await direct(host, Number(port)), outside: await direct('192.0.2.1', 80), interfaces: Object.keys(networkInterfaces()),
      }))`)
    expect(answer).toEqual({
      allowed: 200,
      metadata: 403,
      other: 403,
      direct: 'ECONNREFUSED',
      outside: 'ENETUNREACH',
      interfaces: expect.not.arrayContaining(['eth0']),
    })
    expect(sandbox?.refusedPlaces).toEqual(['169.254.169.254:80', '127.0.0.1:22'])
  })

  it('that does not end is ended with all its children', async () => {
    const startedMs = performance.now()
    const script = `
      import { spawn } from 'node:child_process'
      spawn('sleep', ['1000'], { detached: true })
      process.on('SIGTERM', () => {})
      setInterval(() => {}, 1000)`
    await expect(step(script, { timeoutMs: 1500 })).rejects.toMatchObject({ code: 'build-step-timeout' })
    expect(performance.now() - startedMs).toBeLessThan(10_000)
  })

  it('that eats memory or processes ends without taking anybody along', async () => {
    await expect(step('const all = []; for (;;) all.push(Buffer.alloc(64 * 1024 * 1024, 1))')).rejects.toMatchObject({
      code: 'command-failed',
    })
    await sandbox?.close()
    const answer = await step(`
      import { spawnSync, spawn } from 'node:child_process'
      let failed = 0
      for (let n = 0; n < 400; n += 1) await new Promise((resolve) => {
        const child = spawn('sleep', ['100'], { stdio: 'ignore' })
        child.once('spawn', resolve)
        child.once('error', () => { failed += 1; resolve() })
      })
      console.log(JSON.stringify({ failed: failed > 100 }))
      process.exit()`)
    expect(answer).toEqual({ failed: true })
  })
})
