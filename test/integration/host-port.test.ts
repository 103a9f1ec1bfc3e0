import { closeSync, mkdtempSync, openSync, readSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { AppError, createLogger } from '../../common/index.ts'
import { connectHost, type HostClient } from '../../runtime-shim/host/host-client.ts'
import { type Handlers, HostServer } from '../../runtime-shim/host/host-server.ts'
import { OPERATIONS, PORT_VERSION } from '../../runtime-shim/host/port.ts'

const logger = createLogger('test')
logger.level = 'silent'
const undo: (() => void)[] = []
afterEach(() => {
  for (const step of undo.splice(0).reverse()) step()
})

function directory(): string {
  const path = mkdtempSync(join(tmpdir(), 'slipway-port-'))
  undo.push(() => rmSync(path, { recursive: true, force: true }))
  return path
}

const server = {
  dataRoot: '/d',
  address: '127.0.0.1',
  port: 1,
  registryHost: 'r',
  registryRealm: 'realm',
  adminTokenSha256: 'x',
  leaseFile: 'l',
  identity: { region: 'r', appId: '1', uin: '2' },
  generation: 1,
}

/** Handlers that refuse everything but what a test gives. */
function handlers(own: Partial<Handlers>): Handlers {
  const refuse = (): never => {
    throw new AppError('not in this test', { code: 'internal' })
  }
  const all = Object.fromEntries(Object.keys(OPERATIONS).map((name) => [name, refuse])) as unknown as Handlers
  const hello: Handlers['hello'] = () => ({ version: PORT_VERSION, supervisorPid: process.pid, engine: 'runc', server })
  return { ...all, hello, ping: () => ({}), ...own }
}

async function listen(at: string, own: Partial<Handlers>, isServer = (): boolean => true): Promise<HostServer> {
  const host = new HostServer({
    socketPath: join(at, 'host.sock'),
    fdSocketPath: join(at, 'fd.sock'),
    gid: process.getgid?.() ?? 0,
    isServer,
    handlers: handlers(own),
    onMessage: () => undefined,
    logger,
  })
  await host.listen()
  undo.push(() => host.close())
  return host
}

async function connect(at: string): Promise<HostClient> {
  const { client } = await connectHost({
    socketPath: join(at, 'host.sock'),
    fdSocketPath: join(at, 'fd.sock'),
    generation: 1,
    logger,
  })
  undo.push(() => client.close())
  return client
}

const ID = '0123456789abcdef'
const digest = `sha256:${'0'.repeat(64)}`
const prepareArgs = { registry: 'r', repository: 'r', digest, credential: null, timeoutMs: 1 }
const prepared = {
  digest,
  sizeBytes: 1,
  pulled: false,
  pullMs: 0,
  unpackMs: 0,
  architecture: 'amd64',
  os: 'linux',
  user: '',
  entrypoint: [],
  cmd: [],
}
const createArgs = {
  registry: 'r',
  repository: 'r',
  digest,
  env: {},
  memoryBytes: 1,
  cpus: 1,
  pids: 64,
  openFiles: 64,
  tmpBytes: 1,
  graceMs: 1,
  owner: { namespace: 'n', function: 'f', version: 'v', purpose: 'call' },
}

describe('the port between server and supervisor', () => {
  it('answers an operation and passes a descriptor beside the answer', async () => {
    const at = directory()
    writeFileSync(join(at, 'file'), 'beside')
    await listen(at, {
      output: async (_args, pass) => ({ rotated: 1, descriptor: await pass(openSync(join(at, 'file'), 'r')) }),
    })
    const client = await connect(at)
    const { descriptor } = await client.call('output', { id: ID, rotated: 0 })
    const fd = client.takeDescriptor(descriptor ?? -1)
    const text = Buffer.alloc(6)
    readSync(fd, text, 0, 6, 0)
    closeSync(fd)
    expect(text.toString()).toBe('beside')
  })

  it('carries errors with code, message and hint', async () => {
    const at = directory()
    await listen(at, {
      stop: () => {
        throw new AppError('no such instance', { code: 'instance-gone', hint: 'look with list' })
      },
    })
    const client = await connect(at)
    await expect(client.call('stop', { id: ID, graceMs: 0, reason: '' })).rejects.toMatchObject({
      code: 'instance-gone',
      message: 'no such instance',
      hint: 'look with list',
    })
  })

  it('refuses arguments and answers that do not fit their schema', async () => {
    const at = directory()
    await listen(at, { rotate: () => ({ rotated: -1 }) })
    const client = await connect(at)
    await expect(client.call('rotate', { id: ID })).rejects.toMatchObject({ code: 'port-message' })
  })

  it('carries no more of an error than fits, so that what a user wrote cannot break the port', async () => {
    const at = directory()
    let hellos = 0
    await listen(at, {
      hello: () => {
        hellos += 1
        return { version: PORT_VERSION, supervisorPid: process.pid, engine: 'runc', server }
      },
      rotate: () => {
        throw new AppError('m'.repeat(100_000), {
          code: 'instance-create-failed',
          details: { big: 'd'.repeat(2_000_000) },
        })
      },
      prepare: () => ({ ...prepared, entrypoint: Array.from({ length: 20 }, () => 'e'.repeat(100_000)) }),
    })
    const client = await connect(at)
    await expect(client.call('rotate', { id: ID })).rejects.toMatchObject({
      code: 'instance-create-failed',
      message: 'm'.repeat(16_384),
      details: {},
    })
    await expect(client.call('prepare', prepareArgs)).rejects.toMatchObject({ code: 'port-message' })
    const command = Array.from({ length: 12 }, () => 'c'.repeat(100_000))
    await expect(client.call('create', { ...createArgs, command })).rejects.toMatchObject({ code: 'port-message' })
    await expect(client.call('stop', { id: 'short', graceMs: 0, reason: '' })).rejects.toMatchObject({
      code: 'port-message',
    })
    expect(hellos).toBe(1)
  })

  it('removes an instance whose creation nobody waits for any more', async () => {
    const at = directory()
    const created = Promise.withResolvers<{ id: string; createMs: number }>()
    const removed = Promise.withResolvers<string>()
    await listen(at, {
      create: () => created.promise,
      remove: ({ id }) => {
        removed.resolve(id)
        return {}
      },
    })
    const client = await connect(at)
    await expect(client.call('create', createArgs, AbortSignal.timeout(20))).rejects.toThrow('timeout')
    created.resolve({ id: ID, createMs: 1 })
    expect(await removed.promise).toBe(ID)
  })

  it('lets no stranger in', async () => {
    const at = directory()
    await listen(at, {}, () => false)
    const greeted = connect(at).then(() => 'greeted')
    const late = new Promise<string>((resolve) => setTimeout(() => resolve('refused'), 300))
    expect(await Promise.race([greeted, late])).toBe('refused')
  })

  it('says so when two versions cannot talk', async () => {
    const at = directory()
    await listen(at, {
      hello: () => {
        throw new AppError('server speaks version 9 of the port', { code: 'port-version' })
      },
    })
    await expect(connect(at)).rejects.toMatchObject({ code: 'port-version' })
  })

  it('asks the next supervisor again what the last one did not answer', async () => {
    const at = directory()
    const first = await listen(at, { rotate: () => new Promise(() => undefined) })
    const client = await connect(at)
    let reconnected = 0
    client.onReconnect(() => {
      reconnected += 1
    })
    const answer = client.call('rotate', { id: ID })
    await new Promise((resolve) => setTimeout(resolve, 50))
    first.close()
    await listen(at, { rotate: () => ({ rotated: 7 }) })
    expect(await answer).toEqual({ rotated: 7 })
    expect(reconnected).toBe(1)
  })

  it('ends a connection that sends what is no message', async () => {
    const at = directory()
    await listen(at, {})
    const { connect: dial } = await import('node:net')
    const socket = dial(join(at, 'host.sock'))
    const closed = new Promise<boolean>((resolve) => socket.once('close', () => resolve(true)))
    socket.on('error', () => undefined)
    socket.write('not json\n')
    expect(await closed).toBe(true)
  })

  it('keeps nothing open of a server that takes no descriptors', async () => {
    const at = directory()
    const plain = createServer().listen(0)
    undo.push(() => plain.close())
    await listen(at, {
      dial: async (_args, pass) => ({ outcome: 'connected', descriptor: await pass(openSync('/dev/null', 'r')) }),
    })
    const client = await connect(at)
    const { readdirSync } = await import('node:fs')
    const before = readdirSync('/proc/self/fd').length
    for (let n = 0; n < 20; n += 1) {
      const { descriptor } = await client.call('dial', { id: ID, port: 9000 })
      closeSync(client.takeDescriptor(descriptor ?? -1))
    }
    expect(readdirSync('/proc/self/fd').length).toBeLessThanOrEqual(before + 1)
  })
})
