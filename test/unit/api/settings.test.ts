import { describe, expect, test } from 'vitest'
import { DEFAULT_BOUNDS, environmentProblems, resolveSettings, type SettingsPatch } from '../../../api/index.ts'

const DEFAULTS = {
  type: 'event',
  env: {},
  memory: 128,
  timeout: 3,
  initTimeout: 90,
  concurrency: 1,
  provisioned: 0,
  prewarm: 0,
  keepAlive: 300,
}
const resolve = (patch: unknown, current?: Parameters<typeof resolveSettings>[2]) =>
  resolveSettings(patch as SettingsPatch, DEFAULT_BOUNDS, current)

describe('settings', () => {
  test('have the documented defaults', () => {
    expect(resolve({})).toEqual(DEFAULTS)
  })

  test.each([
    ['-u app.py', ['-u', 'app.py']],
    ['  a \t b\n', ['a', 'b']],
    ['', []],
    [
      ['a b', 'c'],
      ['a b', 'c'],
    ],
  ])('args %j are the words %j', (args, words) => {
    expect(resolve({ args }).args).toEqual(words)
    expect(resolve({ command: args }).command).toEqual(words)
  })

  test('are laid over the present ones; null takes one away; variables change one by one', () => {
    const current = resolve({ args: ['a'], memory: 512, maxInstances: 2, env: { A: '1', B: '2' } })
    expect(resolve({ args: null, maxInstances: null, timeout: 7, env: { A: null, C: '3' } }, current)).toEqual({
      ...DEFAULTS,
      memory: 512,
      timeout: 7,
      env: { B: '2', C: '3' },
    })
    expect(current.env).toEqual({ A: '1', B: '2' })
  })

  test.each([64, 128, 256, 3072, 3200, 122_880])('take %i MB', (memory) => {
    expect(resolve({ memory }).memory).toBe(memory)
  })

  test.each([
    [{ memory: 63 }, 'memory must be >= 64'],
    [{ memory: 65 }, 'memory must be 64 or a multiple of 128 (MB), not 65'],
    [{ memory: 192 }, 'memory must be 64 or a multiple of 128 (MB), not 192'],
    [{ memory: 122_881 }, 'memory must be <= 122880'],
    [{ timeout: 0 }, 'timeout must be >= 1'],
    [{ timeout: 2.5 }, 'timeout must be integer'],
    [{ initTimeout: 301 }, 'initTimeout must be <= 300'],
    [{ concurrency: 101 }, 'concurrency must be <= 100'],
    [{ type: 'cron' }, 'type must be one of event, web, job'],
    [{ args: ['a\0b'] }, 'args must not contain NUL'],
    [{ args: ['ä'.repeat(65_536)] }, 'args must have no word above 131071 bytes'],
    [{ nothing: 1 }, 'nothing is not known'],
    [{ env: { A: 1 } }, 'env.A'],
  ])('refuse %j', (patch, said) => {
    expect(() => resolve(patch)).toThrow(said)
  })

  test('name all problems at once', () => {
    expect(() => resolve({ memory: 200, env: { SCF_A: '', '1': '' } })).toThrow(
      'settings is not valid: env.1 must begin with a letter and have only A-Z a-z 0-9 _; ' +
        'env.SCF_A must not begin with SCF_, which is reserved; memory must be 64 or a multiple of 128 (MB), not 200',
    )
  })

  test('stay within what the namespace allows', () => {
    const bounds = { ...DEFAULT_BOUNDS, maxEnvBytes: 10, maxMemoryMb: 256 }
    expect(() => resolveSettings({ memory: 384 }, bounds)).toThrow('memory must be at most 256 (MB) in this namespace')
    expect(() => resolveSettings({ env: { KEY: '12345678' } }, bounds)).toThrow('env has 11 bytes, at most 10')
    expect(resolveSettings({ memory: 256, env: { KEY: '1234567' } }, bounds).memory).toBe(256)
  })
})

describe('the environment', () => {
  test.each(['A', 'a1', 'TZ', 'PATH', 'SCF', 'MY_SCF_X', 'TencentCloud_X'])('may have %s', (key) => {
    expect(environmentProblems({ [key]: 'v' })).toEqual([])
  })

  test.each(['', '1A', '_A', 'A-B', 'A B', 'Ä', 'A=B', 'SCF_X', 'QCLOUD_X', 'TENCENTCLOUD_X', 'TECENTCLOUD_X'])(
    'may not have "%s"',
    (key) => {
      expect(environmentProblems({ [key]: 'v' })).toHaveLength(1)
    },
  )

  test('may have no variable that execve does not take, whatever the namespace allows', () => {
    expect(environmentProblems({ KEY: 'x'.repeat(131_067) }, 1_000_000)).toEqual([])
    expect(environmentProblems({ KEY: 'x'.repeat(131_068) }, 1_000_000)).toEqual([
      { path: 'env.KEY', message: 'KEY=… has 131072 bytes, the kernel takes at most 131071' },
    ])
  })

  test('counts bytes, not characters, of names and values together', () => {
    expect(environmentProblems({ K: 'ä'.repeat(2047) })).toEqual([])
    expect(environmentProblems({ K: 'ä'.repeat(2048) })).toEqual([
      { path: 'env', message: 'has 4097 bytes, at most 4096 are allowed' },
    ])
  })
})

test('refuses for a job what an instance made of its event cannot have, and more provisioned instances than there may be', () => {
  const job = { type: 'job', concurrency: 2, prewarm: 1, provisioned: 1 } as const
  expect(() => resolveSettings(job, DEFAULT_BOUNDS)).toThrow(
    /concurrency must be 1 .*provisioned must be 0 .*prewarm must be 0 /s,
  )
  expect(() => resolveSettings({ provisioned: 3, maxInstances: 2 }, DEFAULT_BOUNDS)).toThrow(
    /provisioned must be at most/,
  )
})

describe('settings of web calls', () => {
  const web: SettingsPatch = { type: 'web', timeout: 60, limits: { requestBytes: 10, responseBytes: 20 } }

  test('are changed one by one, and taken away by null', () => {
    const current = resolveSettings({ ...web, websocket: { idleTimeout: 60 } }, DEFAULT_BOUNDS)
    const patched = resolveSettings(
      { limits: { requestBytes: null, responseHeaderBytes: 30 } },
      DEFAULT_BOUNDS,
      current,
    )
    expect(patched).toMatchObject({
      limits: { responseBytes: 20, responseHeaderBytes: 30 },
      websocket: { idleTimeout: 60 },
    })
    expect(patched.limits).not.toHaveProperty('requestBytes')
    const without = resolveSettings({ limits: null, websocket: { idleTimeout: null } }, DEFAULT_BOUNDS, patched)
    expect(without).not.toHaveProperty('limits')
    expect(without).not.toHaveProperty('websocket')
  })

  test.each([
    [
      'beyond what the namespace allows',
      { ...web, limits: { responseBytes: 2 ** 31 } },
      'at most 1073741824 in this namespace',
    ],
    [
      'of a WebSocket that its timeout ends before',
      { ...web, websocket: { idleTimeout: 61 } },
      'at most the timeout, which is 60 s',
    ],
    ['of a function that takes events', { ...web, type: 'event' }, 'is for web functions'],
  ] as [string, SettingsPatch, string][])('are refused: %s', (_title, patch, why) => {
    expect(() => resolveSettings(patch, DEFAULT_BOUNDS)).toThrow(why)
  })

  test('have the documented size at least, whatever the namespace allows', () => {
    const bounds = { ...DEFAULT_BOUNDS, maxBodyBytes: 0 }
    const limits = { requestBytes: 6 * 1024 * 1024 }
    expect(resolveSettings({ type: 'web', limits }, bounds).limits).toEqual(limits)
  })
})
