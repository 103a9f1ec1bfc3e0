import { spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { SignJWT } from 'jose'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { dataPaths } from '../../common/index.ts'
import { TemporaryCredentials } from '../../registry-auth/index.ts'
import { secretsFound } from '../helpers/secret-search.ts'

describe('the search for secrets that ends every end-to-end run', () => {
  let dataDirectory: string
  beforeEach(() => {
    dataDirectory = mkdtempSync(join(tmpdir(), 'slipway-search-'))
    write('admin-token', 'the-admin-token-of-this-platform')
  })
  afterEach(() => rmSync(dataDirectory, { recursive: true, force: true }))

  const write = (name: string, content: string | Buffer): string => {
    const path = join(dataDirectory, name)
    mkdirSync(dirname(path), { recursive: true })
    writeFileSync(path, content)
    return path
  }
  const password = () => new TemporaryCredentials().issuePull('a', Date.now() + 1_000).password

  it('finds nothing where nothing is', () => {
    write('log/server.log', 'slw_ is how passwords begin; eyJhbGciOiJFUzI1NiJ9 is the head of a token')
    expect(secretsFound({ dataDirectory, said: ['no secret'] })).toEqual([])
  })

  it.each([
    ['a password', (secret: string) => `pulled with ${secret}!`],
    ['the header of its login', (secret: string) => `Basic ${Buffer.from(`temporary-1:${secret}`).toString('base64')}`],
    ['a login shifted by one', (secret: string) => `Basic ${Buffer.from(`temporary-12:${secret}`).toString('base64')}`],
    [
      'a login shifted by two',
      (secret: string) => `Basic ${Buffer.from(`temporary-123:${secret}`).toString('base64')}`,
    ],
    ['X-Registry-Auth', (secret: string) => Buffer.from(JSON.stringify({ password: secret })).toString('base64url')],
  ])('finds %s in a file, a log, an answer', (_, shape) => {
    const text = shape(password())
    const path = write('log/server.log', `first line\n${text}\nlast line`)
    const found = secretsFound({ dataDirectory, said: [`refused: ${text}`] })
    expect(found.map((line) => line.replace(/^password( in base64)? /, ''))).toEqual([`in ${path}`, 'in answer 0'])
  })

  it('finds one that lies across two pieces of a large file, and in binary data', () => {
    const large = Buffer.alloc(17 * 1024 * 1024, 0xff)
    large.write(password(), 16 * 1024 * 1024 - 20)
    const path = write('server/slipway.db-wal', large)
    expect(secretsFound({ dataDirectory })).toEqual([`password in ${path}`])
  })

  it('finds our bearers, and no others', async () => {
    const sign = (issuer: string) =>
      new SignJWT({ access: [] }).setProtectedHeader({ alg: 'HS256' }).setIssuer(issuer).sign(Buffer.alloc(32))
    write('log/other.log', `Bearer ${await sign('somebody')}`)
    const path = write('log/registry.log', `Authorization: Bearer ${await sign('slipway')}`)
    expect(secretsFound({ dataDirectory })).toEqual([`bearer in ${path}`])
  })

  it('finds the admin token anywhere but in its own file', () => {
    const path = write('server/state.json', '{"token":"the-admin-token-of-this-platform"}')
    expect(secretsFound({ dataDirectory })).toEqual([`admin token in ${path}`])
    expect(dataPaths(dataDirectory).adminToken).toBe(join(dataDirectory, 'admin-token'))
  })

  it.each(['arguments', 'environment'])('finds a password in the %s of a process of the platform', async (place) => {
    const secret = password()
    const shown = place === 'arguments' ? [secret] : []
    const child = spawn('sleep', ['60', ...[]], {
      argv0: [`sleep-${dataDirectory}`, ...shown].join(' '),
      env: place === 'environment' ? { PASSWORD: secret, SLIPWAY_DATA: dataDirectory } : {},
    })
    try {
      await expect.poll(() => secretsFound({ dataDirectory })).toHaveLength(1)
      expect(secretsFound({ dataDirectory })[0]).toContain(`password in the ${place} of process ${child.pid}`)
    } finally {
      child.kill('SIGKILL')
    }
  })
})
