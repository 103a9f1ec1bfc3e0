import { closeSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import { type Access, dialKind, outputRecords, outputUntil, streamText, within } from './contract-kit.ts'
import type { EngineInstance } from './engine.ts'

export function connectionContract({ harness, kit }: Access): void {
  describe('a dial', () => {
    it('connects to a server that listens on all addresses', async () => {
      const probe = await kit().probe()
      expect(await probe.eval('return 6 * 7')).toBe(42)
    })

    it('is refused while nobody listens on the port', async () => {
      const instance = await kit().start({ args: ['never-listen'] })
      expect(await dialKind(instance)).toBe('refused')
    })

    it('is refused by a server that listens on 127.0.0.1 only', async () => {
      const instance = await kit().start({ args: ['loopback-only'] })
      await sleep(500)
      expect(await dialKind(instance)).toBe('refused')
    })

    it('says that the instance is gone after its process ended', async () => {
      const instance = await kit().runToEnd('0')
      expect(await dialKind(instance)).toBe('gone')
    })

    it('finds a full backlog busy, or connects, but never waits for longer than a second', async (context) => {
      if (!harness().engine.capabilities.localDial) context.skip() // a proxy accepts whatever lies behind it
      const code = `require('net').createServer().listen({ port: 9000, host: '0.0.0.0', backlog: 1 }, () => {
        console.log('listening')
        Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0)
      })`
      const instance = await kit().start({ command: ['/usr/bin/node', '-e', code] })
      await outputUntil(instance, 'stdout', (text) => text.includes('listening'))
      const fds: number[] = []
      let kind = 'connected'
      for (let attempt = 0; attempt < 8 && kind === 'connected'; attempt += 1) {
        const startMs = performance.now()
        const outcome = await instance.dial(9000)
        expect(performance.now() - startMs).toBeLessThan(1_200)
        kind = outcome.kind
        if (outcome.kind === 'connected') fds.push(outcome.fd)
      }
      for (const fd of fds) closeSync(fd)
      expect(kind).toBe('busy')
    })

    it('reaches two instances that run at once, each its own', async () => {
      const [one, other] = await Promise.all([
        kit().probe({ env: { WHO: 'one' } }),
        kit().probe({ env: { WHO: 'other' } }),
      ])
      expect(await one.eval('return process.env.WHO')).toBe('one')
      expect(await other.eval('return process.env.WHO')).toBe('other')
    })
  })
}

export function outputContract({ kit }: Access): void {
  const textOf = (instance: EngineInstance, stream: string): string =>
    streamText(outputRecords(instance.outputFile), stream)

  describe('output', () => {
    it('keeps stdout and stderr apart, blank lines, and a last line without end', async () => {
      const instance = await kit().runToEnd(
        `process.stdout.write('one\\n\\nthree\\nno end'); process.stderr.write('error\\n')`,
      )
      expect(textOf(instance, 'stdout').replace(/\n$/, '')).toBe('one\n\nthree\nno end')
      expect(textOf(instance, 'stderr')).toBe('error\n')
    })

    it('carries a line of 1 MiB and invalid UTF-8 byte for byte', async () => {
      const instance = await kit().runToEnd(
        `require('fs').writeSync(1, Buffer.from([0x61, 0xff, 0xc3, 0x28, 0x0a])); console.log('x'.repeat(1 << 20))`,
      )
      expect(textOf(instance, 'stdout')).toBe(`a\u00ff\u00c3(\n${'x'.repeat(1 << 20)}\n`)
    })

    it('is complete although the process ends at once after 10,000 lines', async () => {
      const instance = await kit().runToEnd(
        `let text = ''; for (let i = 0; i < 10000; i++) text += i + '\\n'; require('fs').writeSync(1, text)`,
      )
      expect(textOf(instance, 'stdout')).toBe(Array.from({ length: 10_000 }, (_, i) => `${i}\n`).join(''))
    })

    it('loses no line when its file is rotated while lines are written', async () => {
      const code = `let i = 0; const timer = setInterval(() => { for (let n = 0; n < 500; n++) console.log(i++);
        if (i >= 50000) clearInterval(timer) }, 5)`
      const instance = await kit().start({ command: ['/usr/bin/node', '-e', code] })
      const files: string[] = []
      for (let turn = 0; turn < 3; turn += 1) {
        await sleep(120)
        files.push(await instance.rotateOutput())
      }
      await within(instance.exited, 20_000, 'end of the process')
      const text = [...files, instance.outputFile].map((file) => streamText(outputRecords(file), 'stdout')).join('')
      expect(files[0]).toBe(`${instance.outputFile}.1`)
      expect(text).toBe(Array.from({ length: 50_000 }, (_, i) => `${i}\n`).join(''))
    })

    it('can be reopened by name as some programs do', async () => {
      const instance = await kit().runToEnd(`require('fs').writeFileSync('/dev/stdout', 'by name\\n')`)
      expect(textOf(instance, 'stdout')).toBe('by name\n')
    })
  })
}
