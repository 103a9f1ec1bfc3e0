import { closeSync, mkdtempSync, readFileSync, rmSync, statSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { boundLog, openLog } from '../../../runtime-shim/host/log-file.ts'

let directory: string
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'slipway-log-'))
})
afterEach(() => rmSync(directory, { recursive: true, force: true }))

describe('a log', () => {
  it('is set aside while a process writes it, which goes on at the beginning', async () => {
    const path = join(directory, 'server.log')
    const fd = openLog(path)
    try {
      writeSync(fd, 'first line\n')
      await boundLog(path, 1_000)
      expect(readFileSync(path, 'utf8')).toBe('first line\n')
      await boundLog(path, 5)
      writeSync(fd, 'second line\n')
      expect(readFileSync(path, 'utf8')).toBe('second line\n')
      expect(readFileSync(`${path}.1`, 'utf8')).toBe('first line\n')
    } finally {
      closeSync(fd)
    }
  })

  it('that is not there is none that is too large', async () => {
    await boundLog(join(directory, 'none.log'), 0)
    expect(statSync(join(directory, 'none.log'), { throwIfNoEntry: false })).toBeUndefined()
  })
})
