import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { findConnection } from '../../../cli/connection.ts'

let data: string
beforeEach(() => {
  data = mkdtempSync(join(tmpdir(), 'slipway-cli-'))
})
afterEach(() => rmSync(data, { recursive: true }))

function started(): NodeJS.ProcessEnv {
  mkdirSync(join(data, 'run'))
  writeFileSync(join(data, 'run/supervisor.json'), '{"pid":1,"port":8123,"registryPort":5000}')
  writeFileSync(join(data, 'admin-token'), 'local-token\n')
  return { SLIPWAY_DATA: data }
}

test('the platform of this machine is found in its data directory', () => {
  expect(findConnection(started())).toEqual({ url: 'http://127.0.0.1:8123', token: 'local-token' })
})

test('the environment wins, each variable for itself', () => {
  const env = started()
  expect(findConnection({ ...env, SLIPWAY_SERVER: 'https://far.example:9/' })).toEqual({
    url: 'https://far.example:9',
    token: 'local-token',
  })
  expect(findConnection({ ...env, SLIPWAY_TOKEN: 't' })).toEqual({ url: 'http://127.0.0.1:8123', token: 't' })
  expect(findConnection({ SLIPWAY_DATA: '/absent', SLIPWAY_SERVER: 'http://x', SLIPWAY_TOKEN: 't' }).url).toBe(
    'http://x',
  )
})

test.each([
  [{}, 'server-unreachable'],
  [{ SLIPWAY_SERVER: 'http://x' }, 'token-missing'],
  [{ SLIPWAY_SERVER: 'x:1' }, 'usage'],
  [{ SLIPWAY_SERVER: 'ftp://x' }, 'usage'],
])('without a platform %j is %s', (env, code) => {
  for (const SLIPWAY_DATA of [data, join(data, 'absent')]) {
    expect(() => findConnection({ ...env, SLIPWAY_DATA })).toThrow(expect.objectContaining({ code }))
  }
})
