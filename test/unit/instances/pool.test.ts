import { closeSync, readdirSync } from 'node:fs'
import { afterEach, describe, expect, it } from 'vitest'
import type { Version } from '../../../api/index.ts'
import { AppError, createLogger, listenTcp, localPort, startConnect } from '../../../common/index.ts'
import type { HostClient } from '../../../runtime-shim/host/host-client.ts'
import { socketOf } from '../../../runtime-shim/instances/connections.ts'
import { Downloads } from '../../../runtime-shim/instances/downloads.ts'
import { StartBudget, VersionPool } from '../../../runtime-shim/instances/index.ts'
import type { PullCredentials } from '../../../runtime-shim/invoke/runtime.ts'

const logger = createLogger('test')
logger.level = 'silent'
const EXIT = { code: 1, signal: null, oom: false }
const undo: (() => void)[] = []
afterEach(() => {
  for (const step of undo.splice(0)) step()
})

/** A pool whose supervisor does everything at once; `before` each answer the test may do something, or throw. */
function poolWith(
  settings: Partial<Version['settings']>,
  before: (op: string, args: { id: string }) => void = () => {},
) {
  const asked: string[] = []
  let ids = 0
  const host = {
    call: async (op: string, args: { id: string }) => {
      asked.push(op)
      await Promise.resolve()
      before(op, args)
      ids += 1
      return { id: String(ids).padStart(16, '0'), createMs: 1, startMs: 1, listenMs: 1, descriptor: 1 }
    },
    takeDescriptor: () => connectedDescriptor(),
  } as unknown as HostClient
  const defaults = {
    concurrency: 1,
    memory: 128,
    timeout: 3,
    initTimeout: 90,
    keepAlive: 300,
    prewarm: 0,
    provisioned: 0,
    env: {},
  }
  const version = {
    namespace: 'default',
    function: 'f',
    version: '$LATEST',
    revision: 1,
    image: { registry: 'r', repository: 'f', digest: 'd', platformDigest: 'd' },
    settings: { ...defaults, ...settings },
  } as unknown as Version
  const pool = new VersionPool(version, {
    host,
    downloads: new Downloads(host, ANYONE),
    identity: { region: '', appId: '', uin: '' },
    logger,
    onInstance: () => undefined,
    instancesElsewhere: () => 0,
    starts: new StartBudget(() => 1_000),
  })
  return { pool, asked }
}

/** Credentials for whoever asks. */
const ANYONE: PullCredentials = {
  check: () => undefined,
  issue: async () => ({
    id: 'c',
    credential: { kind: 'anonymous' },
    joined: () => () => undefined,
    end: () => undefined,
  }),
}

/** A connected socket, as the supervisor passes one. */
function connectedDescriptor(): number {
  const listener = listenTcp('127.0.0.1', 0)
  undo.push(() => closeSync(listener))
  const connection = startConnect('127.0.0.1', localPort(listener))
  if (connection.kind !== 'connected' && connection.kind !== 'pending') throw new Error(connection.kind)
  return connection.fd
}

const openDescriptors = (): number => readdirSync('/proc/self/fd').length
const forever = new AbortController().signal

describe('a pool of instances', () => {
  it('ends an instance that is asked for while it is being started', async () => {
    let begun = (): void => {}
    const starting = new Promise<void>((resolve) => {
      begun = resolve
    })
    const { pool, asked } = poolWith({}, (op) => {
      if (op === 'start') begun()
    })
    const call = pool.acquire(forever)
    await starting
    const [instance] = pool.instances
    if (instance === undefined) throw new Error('no instance')
    expect(instance.state).toBe('starting')
    pool.stop(instance, 'asked for')
    await expect(call).rejects.toThrow()
    expect(asked).toContain('stop')
    expect(instance.state).toBe('draining')
  })

  it('outlives a function that resets a connection before anything was sent on it', async () => {
    const listener = listenTcp('127.0.0.1', 0)
    const connection = startConnect('127.0.0.1', localPort(listener))
    if (connection.kind !== 'connected' && connection.kind !== 'pending') throw new Error(connection.kind)
    const socket = socketOf(connection.fd)
    closeSync(listener) // resets what was not accepted
    await new Promise((resolve) => socket.once('close', resolve))
    expect(socket.destroyed).toBe(true)
  })

  it('tells of a process that ended as it listened, and leaves no descriptor open', async () => {
    const { pool } = poolWith({}, (op, { id }) => {
      if (op === 'start') pool.exited(id, EXIT)
    })
    const before = openDescriptors()
    await expect(pool.acquire(forever)).rejects.toMatchObject({ code: 'instance-exited' })
    expect(pool.empty).toBe(true)
    expect(openDescriptors()).toBe(before + 1) // the listener of this test
  })

  it('lets the other calls of an instance end that must not be used again', async () => {
    const { pool, asked } = poolWith({ concurrency: 2 })
    const [one, two] = await Promise.all([pool.acquire(forever), pool.acquire(forever)])
    expect(one.instance).toBe(two.instance)
    pool.release(one.instance, 'connection broken')
    expect(asked).not.toContain('stop')
    expect(one.instance.state).toBe('draining')
    pool.release(two.instance)
    expect(asked).toContain('stop')
    pool.exited(one.instance.id, EXIT)
  })

  it('fails only the calls that waited for a failed start when another instance serves', async () => {
    let starts = 0
    const { pool } = poolWith({ maxInstances: 2 }, (op) => {
      if (op === 'start') starts += 1
      if (op === 'start' && starts > 1) throw new AppError('no', { code: 'instance-start-failed' })
    })
    const first = await pool.acquire(forever)
    const later = [pool.acquire(forever), pool.acquire(forever)].map((slot) =>
      slot.then(
        () => 'served',
        () => 'failed',
      ),
    )
    await later[0]
    pool.release(first.instance)
    expect(await Promise.all(later)).toEqual(['failed', 'served'])
    pool.exited(first.instance.id, EXIT)
  })
})
