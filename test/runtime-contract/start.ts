import { expect } from 'vitest'
import { type Bench, type Check, eventually, type Probe } from './bench.ts'

const ARGV = 'return process.argv.slice(2)'
const ODD = ['', 'a b', `q"'$HOME\`x\``, 'ü😀', 'line\nline', '--flag=x', '$(id)']
const USER = 'return [process.getuid(), process.getgid(), process.getgroups().sort(), process.env.HOME]'

/** What a process that nothing has changed finds: its signals, mask, niceness, capabilities and descriptors. */
export function plainProcess(bench: Bench): Promise<string> {
  return bench.once('plain-process', async () => {
    const script = 'echo umask $(umask); echo nice $(nice); ls -l /proc/self/fd; cat /proc/self/status; echo end'
    const job = await bench.deploy('plain-process', { type: 'job', command: ['/bin/sh', '-c', script] })
    await job.call({})
    return (await job.printed('end')).join('\n')
  })
}

/** The value of a field of /proc/self/status. */
export function statusField(status: string, name: string): string {
  return new RegExp(`^${name}:[ \\t]*(.*)$`, 'm').exec(status)?.[1]?.trim() ?? ''
}

async function wordsOf(bench: Bench, name: string, settings: object): Promise<string[]> {
  const probe = await bench.deploy(name, { ...settings }, 'words')
  return probe.inside(ARGV)
}

async function died(probe: Probe, code: string): Promise<[number, string]> {
  const { statusCode, result } = await probe.call({ code })
  return [statusCode, (result as { errorMessage: string }).errorMessage]
}

export const start = {
  A1: async (bench) => {
    const words = await bench.of('words')
    expect(await words.inside(ARGV)).toEqual(['E', 'C'])
    expect(await words.inside(`return fs.readFileSync('/proc/1/cmdline', 'utf8').split('\\0')`)).toEqual([
      'node',
      '/probe/server.mjs',
      'E',
      'C',
      '',
    ])
  },
  A2: async (bench) => {
    const command = ['node', '/probe/server.mjs', 'X']
    expect(await wordsOf(bench, 'a2-args', { args: ['A'] })).toEqual(['E', 'A'])
    expect(await wordsOf(bench, 'a2-command', { command })).toEqual(['X'])
    expect(await wordsOf(bench, 'a2-both', { command, args: ['A'] })).toEqual(['X', 'A'])
  },
  A3: async (bench) => {
    expect(await wordsOf(bench, 'a3', { args: ODD })).toEqual(['E', ...ODD])
  },
  A4: async (bench) => {
    expect(await bench.inside('return process.cwd()')).toBe('/probe')
    expect(await (await bench.of('bare')).inside('return process.cwd()')).toBe('/')
  },
  A5: async (bench) => {
    expect(await (await bench.of('named')).inside(USER)).toEqual([1001, 1002, [1002, 1003], '/home/probe'])
    expect(await (await bench.of('numbered')).inside(USER)).toEqual([1234, 1003, [1003], '/'])
    const stranger = await bench.deploy('a5', {}, 'stranger')
    expect(await died(stranger, '')).toEqual([445, expect.stringMatching(/unable to find user stranger/)])
  },
  A6: async (bench) => {
    const [uid, gid, groups] = await bench.inside<[number, number, number[]]>(USER)
    expect([uid, gid]).toEqual([1000, 1000])
    expect(groups.filter((group) => group !== 1000)).toEqual([])
  },
  A7: async (bench) => {
    const probe = await bench.of('named')
    expect(await probe.inside(`return fs.readdirSync('/proc').filter((name) => /^\\d+$/.test(name))`)).toEqual(['1'])
    expect(await probe.inside('return process.pid')).toBe(1)
  },
  A8: async (bench) => {
    const probe = await bench.deploy('a8', {}, 'quits')
    await probe.inside('return 1')
    await bench.api.stop(probe.name)
    expect(await probe.printed('got SIGQUIT')).not.toContain('got SIGTERM')
  },
  A9: async (bench) => {
    const probe = await bench.deploy('a9', { memory: 256 })
    expect(await died(probe, 'process.exit(3)')).toEqual([439, 'User process exit when running: code 3'])
    expect(await died(probe, 'process.abort()')).toEqual([439, expect.stringMatching(/code 1\d\d, as by SIG[A-Z]+$/)])
    const eats = 'const kept = []; for (;;) kept.push(Buffer.alloc(1 << 20, 1))'
    expect(await died(probe, eats)).toEqual([434, expect.stringMatching(/^Memory limit reached/)])
    const numbers = async (): Promise<number[]> => (await bench.api.records('a9')).map(({ statusCode }) => statusCode)
    await eventually(numbers, (seen) => expect(seen).toEqual([434, 439, 439]))
  },
  A10: async (bench) => {
    const said = await plainProcess(bench)
    expect(said).toMatch(/^umask 0022\nnice 0\n/)
    for (const name of ['SigIgn', 'SigBlk', 'SigPnd']) expect(statusField(said, name)).toBe('0000000000000000')
  },
} satisfies Record<string, Check>
