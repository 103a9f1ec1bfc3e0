import { readFileSync } from 'node:fs'
import { expect } from 'vitest'
import { type Check, eventually, type Line } from './bench.ts'
import { plainProcess } from './start.ts'

const MIB = 1024 * 1024
const LINES = 10_000
const FLOOD_MIB = 100
/** The log of an Engine is read at about 10 MB a second on a quiet machine. */
const FLOOD_WAIT_MS = 60_000

function megabytesOf(pid: number | undefined): number {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8')
  return Number(/^VmRSS:\s+(\d+)/m.exec(status)?.[1] ?? 0) / 1024
}

function bytesOf({ line, lineBase64 }: Line): Buffer {
  return lineBase64 === undefined ? Buffer.from(line) : Buffer.from(lineBase64, 'base64')
}

export const streams = {
  D1: async (bench) => {
    const seen = await bench.inside(`return [fs.readSync(0, Buffer.alloc(1)), require('tty').isatty(0)]`)
    expect(seen).toEqual([0, false])
  },
  D2: async (bench) => {
    expect(await bench.inside(`return [1, 2].map((fd) => require('tty').isatty(fd))`)).toEqual([false, false])
    // The fourth is the directory that ls itself reads.
    const open = [...(await plainProcess(bench)).matchAll(/ (\d+) -> (\S+)$/gm)].map(([, fd, to]) => [fd, to])
    expect(open).toEqual([
      ['0', '/dev/null'],
      ['1', expect.stringMatching(/^pipe:/)],
      ['2', expect.stringMatching(/^pipe:/)],
      ['3', expect.stringMatching(/^\/proc\/\d+\/fd$/)],
    ])
  },
  D3: async (bench) => {
    const probe = await bench.deploy('d3')
    const code = `for (let n = 0; n < ${LINES}; n += 1) { fs.writeSync(1, 'out ' + n + '\\n'); fs.writeSync(2, 'err ' + n + '\\n') }
      process.exit(0)`
    expect((await probe.call({ code })).statusCode).not.toBe(200)
    await probe.printed(`err ${LINES - 1}`)
    await probe.printed(`out ${LINES - 1}`)
    const lines = await probe.lines()
    for (const [stream, word] of [
      ['stdout', 'out'],
      ['stderr', 'err'],
    ]) {
      const own = lines.filter((line) => line.stream === stream).map(({ line }) => line)
      expect(own).toEqual(Array.from({ length: LINES }, (_, n) => `${word} ${n}`))
    }
  },
  D4: async (bench) => {
    const probe = await bench.deploy('d4')
    const odd = Buffer.from([0x61, 0, 0xff, 0xfe, 0x62])
    const code = `const all = Buffer.concat([Buffer.alloc(${MIB}, 'x'), Buffer.from('\\n'), Buffer.from('${odd.toString('hex')}', 'hex'), Buffer.from('\\nlast')])
      for (let at = 0; at < all.length; ) at += fs.writeSync(1, all, at)
      process.exit(0)`
    await probe.call({ code })
    await probe.printed('last')
    const lines = (await probe.lines()).filter(({ stream }) => stream === 'stdout').map(bytesOf)
    expect(lines.map((line) => line.length)).toEqual([MIB, odd.length, 4])
    expect(lines[0]?.equals(Buffer.alloc(MIB, 'x'))).toBe(true)
    expect(lines[1]).toEqual(odd)
  },
  D5: async (bench) => {
    const probe = await bench.deploy('d5')
    const state = bench.platform.state()
    const pids = [state?.supervisor.pid, state?.server?.pid]
    const before = pids.map(megabytesOf)
    await probe.inside(`const block = Buffer.from(('x'.repeat(1023) + '\\n').repeat(64))
      for (let n = 0; n < ${FLOOD_MIB * 16}; n += 1) fs.writeSync(1, block)`)
    // Asked for from here on: a look at all of the flood would cost what is measured.
    const sinceMs = Date.now()
    await probe.inside(`console.log('after the flood')`)
    const newest = async (): Promise<string> =>
      (await bench.api.request('GET', `/v1/namespaces/default/functions/d5/logs?sinceMs=${sinceMs}`)).text()
    await eventually(newest, (seen) => expect(seen).toContain('after the flood'), FLOOD_WAIT_MS)
    const grown = pids.map((pid, at) => megabytesOf(pid) - (before[at] ?? 0))
    expect(Math.max(...grown)).toBeLessThan(FLOOD_MIB * 0.8)
  },
  D6: async (bench) => {
    for (const path of ['/dev/stdout', '/dev/stderr', '/proc/self/fd/1']) {
      expect(`${path} ${await bench.failure(`fs.closeSync(fs.openSync('${path}', 'w'))`)}`).toBe(`${path} none`)
    }
    const probe = await bench.of('plain')
    await probe.inside(`fs.appendFileSync('/dev/stderr', 'reopened\\n')`)
    await probe.printed('reopened')
  },
  D7: async (bench) => {
    const closed = await bench.deploy('d7-closed')
    await closed.inside('fs.closeSync(1)')
    expect(await closed.inside('return 1')).toBe(1)
    const probe = await bench.deploy('d7')
    const pid = await probe.inside('return seen.listenedMs')
    const { supervisor } = bench.platform.state() ?? {}
    process.kill(supervisor?.pid ?? 0, 'SIGKILL')
    await eventually(
      () => bench.platform.state()?.supervisor.pid,
      (seen) => expect(seen).not.toBe(supervisor?.pid),
    )
    const said = async (): Promise<unknown> =>
      probe.inside(`console.log('still here'); return seen.listenedMs`).catch(() => undefined)
    await eventually(said, (seen) => expect(seen).toBe(pid))
    await probe.printed('still here')
  },
} satisfies Record<string, Check>
