import { chownSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { execa } from 'execa'
import { afterEach, describe, expect, it, onTestFinished } from 'vitest'
import { Place, type Up } from '../helpers/up.ts'

/** Belongs to nobody on a Debian machine. */
const STRANGER = 64_299

const places: Place[] = []
afterEach(async () => {
  for (const place of places.splice(0)) await place.clear()
})

async function newPlace(): Promise<Place> {
  const place = await Place.make()
  places.push(place)
  return place
}

async function occupy(port: number): Promise<void> {
  const server: Server = createServer((socket) => socket.end('HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n'))
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve))
  onTestFinished(() => new Promise((resolve) => server.close(() => resolve())))
}

async function refusal(up: Up): Promise<string> {
  const { code } = await up.ended
  expect(code).toBeGreaterThan(0)
  return up.stderr
}

/** A function that says which process it is; deployed and called once. */
async function deployOne(place: Place): Promise<void> {
  const source = join(place.dataDirectory, 'source')
  mkdirSync(source)
  writeFileSync(join(source, 'index.js'), 'exports.main_handler = async () => process.hrtime.bigint().toString()')
  const deployed = await place.run('deploy', source, '--name', 'one')
  expect(deployed.stderr + deployed.code).toMatch(/0$/)
  expect((await place.run('invoke', 'one', '-d', '{}')).code).toBe(0)
}

describe('slipway up refuses, in one sentence and leaving nothing,', () => {
  it('a gateway port that is taken', async () => {
    const place = await newPlace()
    await occupy(place.port)
    const up = place.up()
    expect(await refusal(up)).toContain(
      `slipway: 127.0.0.1:${place.port} is taken by another program [port-taken]\n` +
        '  choose another with --port, or end what listens there\n',
    )
    expect((await up.ended).code).toBe(6)
    expect(place.leftovers()).toEqual([])
  })

  it('a registry port that is taken', async () => {
    const place = await newPlace()
    await occupy(place.registryPort)
    const up = place.up()
    expect(await refusal(up)).toContain(
      `slipway: 127.0.0.1:${place.registryPort} is taken by another program [port-taken]\n` +
        '  choose another with --registry-port, or end what listens there\n',
    )
    expect((await up.ended).code).toBe(6)
    expect(place.leftovers()).toEqual([])
  })

  it('a data directory on a read-only file system, and one below a file', async () => {
    const place = await newPlace()
    const readOnly = join(place.dataDirectory, 'read-only')
    mkdirSync(readOnly)
    await execa('mount', ['-t', 'tmpfs', '-o', 'ro,size=4g', 'none', readOnly])
    try {
      const up = place.up({ environment: { SLIPWAY_DATA: join(readOnly, 'data') } })
      expect(await refusal(up)).toContain(
        `data directory: ${readOnly}/data cannot be used: it lies on a read-only file system`,
      )
      expect(up.stderr).toContain('SLIPWAY_DATA')
    } finally {
      await execa('umount', [readOnly])
    }
    writeFileSync(join(place.dataDirectory, 'file'), '')
    const below = place.up({ environment: { SLIPWAY_DATA: join(place.dataDirectory, 'file/data') } })
    expect(await refusal(below)).toContain(
      `${place.dataDirectory}/file/data cannot be used: a part of the path is a file`,
    )
    expect(place.leftovers()).toEqual([])
  })

  it('a server that cannot start, with its last words', async () => {
    const place = await newPlace()
    const database = join(place.dataDirectory, 'server/slipway.db')
    mkdirSync(database, { recursive: true })
    const up = place.up()
    expect(await refusal(up)).toMatch(
      /the server ended 5 times before it answered; its last words: [^]*\[server-unusable\]/,
    )
    expect(up.stderr).toContain('log/server.log')
    rmSync(database, { recursive: true })
    expect(place.leftovers()).toEqual([])
  })

  it('without root, naming everything that is missing and what works instead', async () => {
    const place = await newPlace()
    chownSync(place.dataDirectory, STRANGER, STRANGER)
    const home = { HOME: place.dataDirectory, DOCKER_HOST: `unix://${place.dataDirectory}/docker.sock` }
    const up = place.up({ uid: STRANGER, environment: home })
    expect(await refusal(up)).toMatch(
      /this machine cannot run Slipway yet:\n {2}rights: not root: the runc engine needs it/,
    )
    expect(up.stderr).toContain('slipway doctor')
    expect((await up.ended).code).toBe(7)
    expect(readdirSync(place.dataDirectory)).toEqual([])

    writeFileSync(join(place.dataDirectory, 'docker.sock'), '')
    const withDocker = place.up({ uid: STRANGER, environment: home })
    expect(await refusal(withDocker)).toContain('the Docker engine works without root: slipway up --engine docker')

    const doctor = place.up({ command: 'doctor', args: ['-o', 'json'], uid: STRANGER, environment: home })
    expect((await doctor.ended).code).toBe(7)
    const { fit, checks } = JSON.parse(doctor.stdout) as { fit: boolean; checks: { name: string; state: string }[] }
    expect(fit).toBe(false)
    expect(checks).toContainEqual(expect.objectContaining({ name: 'rights', state: 'error' }))
    expect(checks).toContainEqual(expect.objectContaining({ name: 'OCI runtime', state: 'warning' }))
  })
})

describe('slipway up', () => {
  it('runs once on a data directory, and side by side on two', async () => {
    const [one, two] = [(await newPlace()).seed(), (await newPlace()).seed()]
    const first = one.up()
    await Promise.all([first.ready(), two.up().ready()])
    const second = one.up()
    expect(await refusal(second)).toContain('Slipway runs already on')
    expect(second.stderr).toContain('slipway down')
    expect((await second.ended).code).toBe(6)
    await deployOne(one)
    await deployOne(two)
    expect((await two.run('down')).code).toBe(0)
    expect(two.leftovers()).toEqual([])
    expect((await one.run('invoke', 'one', '-d', '{}')).code).toBe(0)
    first.child.kill('SIGTERM')
    expect(await first.ended).toEqual({ code: 0, signal: null })
    expect(one.leftovers()).toEqual([])
  })

  it('goes on without its parent; the next one takes over, another port is refused, and down ends all', async () => {
    const place = (await newPlace()).seed()
    const first = await place.up().ready()
    const before = place.state()
    first.child.kill('SIGKILL')
    await first.ended
    expect(await place.answers()).toBe(true)

    const elsewhere = place.up({ args: ['--port', String(place.port + 1)] })
    expect(await refusal(elsewhere)).toContain(`at 127.0.0.1:${place.port}`)
    const next = place.up()
    await expect.poll(() => next.stderr, { timeout: 20_000 }).toContain(`http://127.0.0.1:${place.port}`)
    expect(place.state()).toMatchObject({ supervisor: before?.supervisor, server: before?.server })

    place.kill('supervisor')
    await expect.poll(() => place.state()?.supervisor.pid, { timeout: 20_000 }).not.toBe(before?.supervisor.pid)
    await next.ready()
    expect((await place.run('down')).code).toBe(0)
    expect(await next.ended).toEqual({ code: 0, signal: null })
    expect(place.leftovers()).toEqual([])
  })

  it('asked to keep instances ends alone; down ends what it left, and what a killed platform left', async () => {
    const place = (await newPlace()).seed()
    const up = await place.up({ environment: { SLIPWAY_KEEP_INSTANCES: '1' } }).ready()
    await deployOne(place)
    up.child.kill('SIGTERM')
    expect(await up.ended).toEqual({ code: 0, signal: null })
    expect((await place.run('invoke', 'one', '-d', '{}')).code).toBe(0)

    place.kill('supervisor', 'server')
    expect(place.leftovers()).not.toEqual([])
    expect(await place.run('down', '-o', 'json')).toMatchObject({ code: 0, stdout: '{"stopped":true}\n' })
    expect(place.leftovers()).toEqual([])
    expect(await place.run('down', '-o', 'json')).toMatchObject({ code: 0, stdout: '{"stopped":false}\n' })
  })

  it('interrupted at any moment of its start leaves nothing', async () => {
    const place = (await newPlace()).seed()
    for (const ms of [100, 300, 500, 700, 900, 1_200, 1_600]) {
      const up = place.up()
      await sleep(ms)
      up.child.kill(ms % 200 === 0 ? 'SIGTERM' : 'SIGINT')
      await up.ended
      expect({ ms, left: place.leftovers() }).toEqual({ ms, left: [] })
    }
    await place.up().ready()
  })

  it('killed with all it started, at any moment of its start, is followed by one that works', async () => {
    const place = (await newPlace()).seed()
    for (const ms of [200, 500, 700, 900, 1_200, 1_600]) {
      const up = place.up()
      await sleep(ms)
      up.child.kill('SIGKILL')
      place.kill('supervisor', 'server')
      await up.ended
    }
    const up = await place.up().ready()
    await deployOne(place)
    up.child.kill('SIGINT')
    expect(await up.ended).toEqual({ code: 0, signal: null })
    expect(place.leftovers()).toEqual([])
  })
})

/** Starts it until a call of `hello-node` is answered in time after the start: on a busy machine the first try may be late. */
async function answerWithin(place: Place, limitMs: number): Promise<Up> {
  const answeredMs: number[] = []
  for (;;) {
    const began = Date.now()
    const up = await place.up({ command: 'start' }).ready()
    const call = await place.run('invoke', 'hello-node', '-d', '{}')
    answeredMs.push(Date.now() - began)
    expect(call.code).toBe(0)
    if (Math.min(...answeredMs) < limitMs) return up
    if (answeredMs.length === 3) throw new Error(`answered after ${answeredMs.join(', ')} ms`)
    up.child.kill('SIGINT')
    await up.ended
  }
}

describe('slipway start', () => {
  it('makes nothing again the second time, and answers the first call within five seconds', async () => {
    const place = await newPlace()
    const first = place.up({ command: 'start' })
    await expect.poll(() => first.stderr, { timeout: 100_000 }).toContain('ends the platform.')
    expect(first.stderr).toMatch(/✓ event call .*200/)
    first.child.kill('SIGINT')
    expect(await first.ended).toEqual({ code: 0, signal: null })
    expect(place.leftovers()).toEqual([])

    const second = await answerWithin(place, 5_000)
    await expect.poll(() => second.stderr, { timeout: 60_000 }).toContain('ends the platform.')
    expect(second.stderr).toMatch(/✓ Node base image .*made before/)
    const digest = /sha256:[0-9a-f]{64}/
    const line = (up: Up, step: string): string => up.stderr.split('\n').find((text) => text.includes(step)) ?? ''
    expect(digest.exec(line(second, '✓ deploy by digest'))?.[0]).toBe(
      digest.exec(line(first, '✓ deploy by digest'))?.[0],
    )
  })
})
