import { chmodSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { chooseRuntime, detectRuntime, whyRuntimeFails } from '../../sandbox/index.ts'
import { requireProgram } from '../helpers/programs.ts'

const HASH = 'dec1de00'

describe.skipIf(!requireProgram('runc'))('the choice of the OCI runtime', () => {
  let scratch: string
  beforeEach(() => {
    scratch = mkdtempSync(join(tmpdir(), 'slipway-runtime-'))
  })
  afterEach(() => rmSync(scratch, { recursive: true }))

  it('finds that runc makes containers here, and leaves nothing of the trial', async () => {
    expect(await whyRuntimeFails(detectRuntime('runc'), HASH, scratch)).toBeUndefined()
    expect(readdirSync(scratch)).toEqual([])
    expect(readdirSync('/sys/fs/cgroup/').filter((name) => name.includes(HASH))).toEqual([])
  })

  it('gives the words of a runtime that cannot', async () => {
    const path = join(scratch, 'crun')
    writeFileSync(path, '#!/bin/sh\necho "2026-11-21T10:00:00.1Z: this machine is not for me" >&2\nexit 1\n')
    chmodSync(path, 0o755)
    expect(await whyRuntimeFails({ name: 'crun', path }, HASH, scratch)).toContain('this machine is not for me')
  })

  it('is what was asked for, or for auto one that works, with a sentence that says why', async () => {
    expect(await chooseRuntime('runc', HASH, scratch)).toEqual({
      runtime: detectRuntime('runc'),
      reason: 'runc was asked for',
    })
    const { runtime, reason } = await chooseRuntime('auto', HASH, scratch)
    expect(await whyRuntimeFails(runtime, HASH, scratch)).toBeUndefined()
    expect(reason).toMatch(/^crun (cannot make containers here: .+|is not installed|can make containers here)/)
  })
})
