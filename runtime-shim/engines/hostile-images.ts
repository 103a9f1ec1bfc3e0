import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { within } from './contract-kit.ts'
import type { HostileAccess } from './hostile-kit.ts'

/** What an image tries by links in the places that the platform touches. */
export function images({ harness, kit }: HostileAccess): void {
  describe('whose image is full of links aimed at the platform', () => {
    let canary: string
    beforeAll(() => {
      canary = mkdtempSync(join(tmpdir(), 'slipway-canary-'))
      mkdirSync(join(canary, 'directory'))
      writeFileSync(join(canary, 'passwd'), 'canaryuser:x:4321:4321::/:/bin/sh\n')
      writeFileSync(join(canary, 'text'), 'untouched')
    })
    afterAll(() => rmSync(canary, { recursive: true }))

    const link = (directory: string, path: string, target: string): void => {
      mkdirSync(join(directory, path, '..'), { recursive: true })
      rmSync(join(directory, path), { force: true })
      symlinkSync(target, join(directory, path))
    }
    const unchanged = (): void => {
      expect(readdirSync(canary).sort()).toEqual(['directory', 'passwd', 'text'])
      expect(readdirSync(join(canary, 'directory'))).toEqual([])
      expect(readFileSync(join(canary, 'text'), 'utf8')).toBe('untouched')
      expect(statSync(join(canary, 'text')).mode & 0o777).toBe(0o644)
    }

    it('puts nothing where its mount points point to', async () => {
      const up = '../../../../../../../../../..'
      const image = await harness().makeImage((directory) => {
        for (const path of ['etc/hosts', 'etc/resolv.conf', 'etc/hostname'])
          link(directory, path, `${up}${canary}/text`)
        link(directory, 'tmp', `${up}${canary}/directory`)
        link(directory, 'run', `${canary}/directory`)
      })
      const spec = kit().spec({ image })
      const outcome = await harness()
        .engine.create(spec)
        .then(async (instance) => {
          await instance.start()
          await sleep(200)
          return 'started'
        })
        .catch(() => 'refused')
      expect(['started', 'refused']).toContain(outcome)
      unchanged()
    })

    it('whose /proc, /sys, /dev are links leads no mount out of its root', async () => {
      const image = await harness().makeImage((directory) => {
        for (const path of ['proc', 'sys', 'dev']) link(directory, path, `${canary}/directory`)
      })
      const started = kit().start({ image })
      await started.catch(() => undefined)
      unchanged()
    })

    it('has no user read out of the passwd file of the machine', async () => {
      const image = await harness().makeImage((directory) => link(directory, 'etc/passwd', `${canary}/passwd`), {
        User: 'canaryuser',
      })
      await expect(kit().start({ image })).rejects.toThrow(/canaryuser/)
    })

    it('has no working directory outside its root', async () => {
      const image = await harness().makeImage((directory) => link(directory, 'work', canary), { WorkingDir: '/work' })
      const started = kit().start({
        image,
        command: ['/usr/bin/node', '-e', `require('fs').writeFileSync('text', 'touched')`],
      })
      await started.then((instance) => within(instance.exited, 20_000, 'exit')).catch(() => undefined)
      unchanged()
    })
  })
}
