import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Platform } from '../helpers/platform.ts'

let platform: Platform
let directory: string
beforeAll(async () => {
  platform = await Platform.start()
  directory = mkdtempSync(join(tmpdir(), 'slipway-source-'))
  writeFileSync(
    join(directory, 'index.js'),
    `let calls = 0
     exports.main_handler = async (event) => {
       calls += 1
       console.log('call', calls)
       if (event.waitMs) await new Promise((resolve) => setTimeout(resolve, event.waitMs))
       return { pid: process.pid, calls, started: process.hrtime.bigint().toString().length }
     }`,
  )
  await platform.cli('deploy', directory, '--name', 'counter', '--timeout', '30')
  await platform.cli(
    'deploy',
    directory,
    '--name',
    'many',
    '--timeout',
    '30',
    '--concurrency',
    '64',
    '--memory',
    '1280',
  )
})
afterAll(async () => {
  rmSync(directory, { recursive: true, force: true })
  await platform?.stop()
})

interface Tally {
  answered: number
  refused: number
  reset: number
  other: Map<string, number>
}

/** `callers` call in a loop until `until` settles: each on a new connection, so that refusals are seen. */
async function load(name: string, callers: number, until: Promise<unknown>): Promise<Tally> {
  const tally: Tally = { answered: 0, refused: 0, reset: 0, other: new Map() }
  let going = true
  void until.finally(() => {
    going = false
  })
  const caller = async (): Promise<void> => {
    while (going) {
      const outcome = await once(name)
      if (outcome === '200') tally.answered += 1
      else if (outcome === 'ECONNREFUSED') tally.refused += 1
      else if (outcome === 'ECONNRESET') tally.reset += 1
      else tally.other.set(outcome, (tally.other.get(outcome) ?? 0) + 1)
    }
  }
  await Promise.all(Array.from({ length: callers }, caller))
  return tally
}

function once(name: string): Promise<string> {
  return new Promise((resolve) => {
    const call = request(
      {
        port: platform.port,
        host: '127.0.0.1',
        method: 'POST',
        path: `/v1/namespaces/default/functions/${name}/invocations`,
        headers: { authorization: `Bearer ${platform.token}`, 'content-type': 'application/json' },
        agent: false,
        timeout: 20_000,
      },
      (response) => {
        response.resume()
        response.on('end', () => resolve(String(response.statusCode)))
        response.on('error', () => resolve('ECONNRESET'))
      },
    )
    call.on('timeout', () => call.destroy(new Error('timeout')))
    call.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message))
    call.end('{}')
  })
}

const CALLERS = 64
const KILLS = 10

/** Kills the process of this role, `times` over, each time a new one once it is there. */
async function killRepeatedly(role: 'server' | 'supervisor', times: number): Promise<void> {
  let last: number | undefined
  for (let n = 0; n < times; n += 1) {
    await expect.poll(() => platform.state()?.[role]?.pid, { timeout: 20_000 }).not.toBe(last)
    last = platform.state()?.[role]?.pid
    await sleep(1_000)
    if (last !== undefined) process.kill(last, 'SIGKILL')
  }
  await expect.poll(() => platform.state()?.[role]?.pid, { timeout: 20_000 }).not.toBe(last)
  await sleep(1_000)
}

describe('kill -9', () => {
  it('of the server refuses no connection and fails only the calls in flight', async () => {
    await once('many')
    const kills = killRepeatedly('server', KILLS)
    const tally = await load('many', CALLERS, kills)
    expect(tally.refused).toBe(0)
    expect([...tally.other]).toEqual([])
    expect(tally.reset).toBeLessThanOrEqual(KILLS * CALLERS)
    expect(tally.answered).toBeGreaterThan(KILLS * CALLERS)
  })

  it('of the supervisor disturbs no running instance and no call', async () => {
    const before = await platform.invoke('counter', {})
    const kills = killRepeatedly('supervisor', KILLS)
    const tally = await load('many', 16, kills)
    expect({ ...tally, other: [...tally.other] }).toMatchObject({ refused: 0, reset: 0, other: [] })
    const after = await platform.invoke('counter', {})
    expect(after.body).toMatchObject({ statusCode: 200, coldStart: null })
    expect((after.body['result'] as { calls: number }).calls).toBe(
      (before.body['result'] as { calls: number }).calls + 1,
    )
  })

  it('of both at once leaves the instances and answers again', async () => {
    const before = (await platform.invoke('counter', {})).body['result'] as { calls: number }
    const state = platform.state()
    for (const pid of [state?.supervisor.pid, state?.server?.pid]) if (pid !== undefined) process.kill(pid, 'SIGKILL')
    await expect.poll(() => once('counter'), { timeout: 20_000, interval: 100 }).toBe('200')
    const after = (await platform.invoke('counter', {})).body['result'] as { calls: number }
    expect(after.calls).toBe(before.calls + 2)
  })

  it('of the registry is followed by another registry', async () => {
    const registry = platform.state()?.registry
    if (registry == null) throw new Error('no registry')
    process.kill(registry.pid, 'SIGKILL')
    const answers = async (): Promise<number> => {
      try {
        const response = await fetch(`http://127.0.0.1:${platform.registryPort}/v2/`)
        return response.status
      } catch {
        return 0
      }
    }
    await expect.poll(answers, { timeout: 10_000 }).toBe(401)
  })
})

describe('a server that is stopped', () => {
  it('is replaced after five seconds, and its overdue calls end all the same', async () => {
    await platform.cli('deploy', directory, '--name', 'overdue', '--timeout', '2')
    await platform.invoke('overdue', {})
    const call = platform.invoke('overdue', { waitMs: 60_000 }).catch((thrown: unknown) => thrown)
    await sleep(300)
    const old = platform.state()?.server
    if (old == null) throw new Error('no server')
    process.kill(old.pid, 'SIGSTOP')
    const instances = platform.instanceDirectories()
    await expect.poll(() => platform.state()?.server?.pid, { timeout: 15_000 }).not.toBe(old?.pid)
    await expect.poll(() => once('counter'), { timeout: 15_000 }).toBe('200')
    expect(await call).toBeInstanceOf(Error)
    await expect
      .poll(async () => (await platform.cli<{ instances: unknown[] }>('instances', 'list', 'overdue')).instances, {
        timeout: 10_000,
      })
      .toEqual([])
    expect(instances.length).toBeGreaterThan(0)
  })
})
