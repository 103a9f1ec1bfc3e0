import { createHash } from 'node:crypto'
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { execa } from 'execa'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { PROJECT } from '../helpers/platform.ts'
import { Place } from '../helpers/up.ts'

/** The Node that a bare Debian machine begins with; another Node 20 or later does where there is none. */
const SYSTEM_NODE = existsSync('/usr/bin/node') ? '/usr/bin/node' : process.execPath

let directory: string
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'slipway-clone-'))
})
afterAll(() => rmSync(directory, { recursive: true, force: true }))

/** What a clone of this working tree has, below a home that only root may enter; packages are hard links. */
async function cloneUnderClosedHome(): Promise<string> {
  const home = join(directory, 'home')
  mkdirSync(home, { mode: 0o700 })
  const clone = join(home, 'slipway')
  mkdirSync(clone)
  const listed = await execa('git', ['-C', PROJECT, 'ls-files', '-co', '--exclude-standard', '-z'])
  for (const path of listed.stdout.split('\0')) {
    if (path !== '' && existsSync(join(PROJECT, path))) cpSync(join(PROJECT, path), join(clone, path))
  }
  await execa('cp', ['-al', join(PROJECT, 'node_modules'), join(clone, 'node_modules')])
  return clone
}

describe('npm start', () => {
  it('does not wait for an installation that was killed before it said who it was', async () => {
    const clone = join(directory, 'killed')
    const programs = join(clone, 'programs')
    mkdirSync(join(clone, '.bootstrap-lock'), { recursive: true })
    mkdirSync(programs)
    utimesSync(join(clone, '.bootstrap-lock'), 1, 1)
    cpSync(join(PROJECT, 'bootstrap.mjs'), join(clone, 'bootstrap.mjs'))
    writeFileSync(join(clone, 'package-lock.json'), '{}')
    writeFileSync(join(programs, 'npm'), '#!/bin/sh\necho "npm was asked" >&2\nexit 1\n', { mode: 0o755 })
    const { stderr } = await execa(SYSTEM_NODE, ['bootstrap.mjs'], {
      cwd: clone,
      env: { PATH: `${programs}:${process.env['PATH']}` },
      reject: false,
      timeout: 10_000,
    })
    expect(stderr).toContain('npm was asked')
  })

  it('works in a clone under a home that only root may enter, begun by the Node of the system', async () => {
    const clone = await cloneUnderClosedHome()
    // `bootstrap.mjs` takes the packages for installed when they are those of this lock file.
    const stamp = join(clone, 'node_modules/.slipway-lock')
    rmSync(stamp, { force: true })
    const lock = readFileSync(join(clone, 'package-lock.json'))
    writeFileSync(stamp, createHash('sha256').update(lock).digest('hex'))

    const place = await Place.make()
    try {
      const program = [SYSTEM_NODE, join(clone, 'bootstrap.mjs')]
      const up = place.up({ command: 'start', program, project: clone })
      await expect.poll(() => up.stderr, { timeout: 100_000, interval: 100 }).toContain('ends the platform.')
      expect(up.stderr).toMatch(/✓ event call .*200 \{"greeting"/)
      expect(up.stderr).toMatch(/✓ web call /)
      expect(up.stderr).not.toContain('✗')
      // The server is another user, who may not enter the home.
      const server = place.state()?.server
      const uid = /^Uid:\s+(\d+)/m.exec(readFileSync(`/proc/${server?.pid}/status`, 'utf8'))?.[1]
      expect(uid).not.toBe('0')
      up.child.kill('SIGINT')
      expect(await up.ended).toEqual({ code: 0, signal: null })
      expect(place.leftovers()).toEqual([])
    } finally {
      await place.clear()
    }
  })
})

interface Lock {
  packages: Record<string, { version?: string; resolved?: string; integrity?: string; optional?: boolean }>
}

describe('the committed lock file', () => {
  const lock = JSON.parse(readFileSync(join(PROJECT, 'package-lock.json'), 'utf8')) as Lock

  it('names no registry, and every package with its digest', () => {
    const entries = Object.entries(lock.packages).filter(([path]) => path !== '')
    expect(entries.filter(([, { resolved }]) => resolved !== undefined)).toEqual([])
    expect(entries.filter(([, { integrity }]) => integrity === undefined).map(([path]) => path)).toEqual([])
  })

  it('has Node for every platform that bootstrap.mjs knows, all of one version', () => {
    const names = [...readFileSync(join(PROJECT, 'bootstrap.mjs'), 'utf8').matchAll(/'(node-[a-z0-9-]+)',/g)]
    const versions = names.map(([, name = '']) => lock.packages[`node_modules/${name}`]?.version)
    expect(versions).toHaveLength(4)
    expect(new Set(versions)).toEqual(new Set([process.versions.node]))
  })

  it('is installed by npm ci without a script', async () => {
    const empty = join(directory, 'empty')
    mkdirSync(empty)
    for (const name of ['package.json', 'package-lock.json', '.npmrc']) cpSync(join(PROJECT, name), join(empty, name))
    await execa('npm', ['ci', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error'], {
      cwd: empty,
      timeout: 110_000,
    })
    const node = join(empty, `node_modules/node-${process.platform}-${process.arch}/bin/node`)
    chmodSync(node, 0o755)
    const { stdout } = await execa(node, ['--version'])
    expect(stdout).toBe(process.version)
    const { exitCode } = await execa(node, ['-e', "require('koffi').load('libc.so.6')"], { cwd: empty })
    expect(exitCode).toBe(0)
  })
})
