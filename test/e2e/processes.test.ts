import { execFileSync } from 'node:child_process'
import { readdirSync, readFileSync, readlinkSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Platform } from '../helpers/platform.ts'

let platform: Platform
let pids: Record<string, number>
beforeAll(async () => {
  platform = await Platform.start()
  const { processes } = await platform.cli<{ processes: { role: string; pid: number }[] }>('status')
  pids = Object.fromEntries(processes.map(({ role, pid }) => [role, pid]))
})
afterAll(() => platform?.stop())

function status(role: string): Record<string, string> {
  const lines = readFileSync(`/proc/${pids[role]}/status`, 'utf8').trim().split('\n')
  return Object.fromEntries(lines.map((line) => line.split(/:\s+/, 2) as [string, string]))
}

/** Runs a command in the mount namespace of a process, as root: what is not there for root is there for nobody. */
function seenBy(role: string, command: string): string {
  return execFileSync('nsenter', ['-t', String(pids[role]), '-m', 'sh', '-c', command], { encoding: 'utf8' })
}

describe('the processes', () => {
  it('are named by status', () => {
    expect(Object.keys(pids).sort()).toEqual(expect.arrayContaining(['parent', 'registry', 'server', 'supervisor']))
    expect(pids['supervisor']).toBe(platform.state()?.supervisor.pid)
  })

  it.each(['server', 'registry'])('%s has a user of its own, no capability in any set, and can gain none', (role) => {
    const { Uid, Gid, Groups = '', NoNewPrivs, ...rest } = status(role)
    expect(Uid?.split('\t').includes('0')).toBe(false)
    expect(Gid?.split('\t').includes('0')).toBe(false)
    expect(Groups.trim()).toBe('')
    expect(NoNewPrivs).toBe('1')
    for (const set of ['CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb'])
      expect([set, rest[set]]).toEqual([set, '0000000000000000'])
  })

  it('server and registry have different users', () => {
    expect(status('server')['Uid']).not.toBe(status('registry')['Uid'])
  })

  it('show the server the code read-only, its own files, and nothing of the engines', () => {
    expect(readlinkSync(`/proc/${pids['server']}/ns/mnt`)).not.toBe(readlinkSync('/proc/self/ns/mnt'))
    expect(seenBy('server', `ls -A ${platform.dataDirectory}`)).toBe('')
    expect(seenBy('server', 'ls -A /run')).toBe('')
    const view = readlinkSync(`/proc/${pids['server']}/cwd`)
    expect(seenBy('server', `ls ${view}`).split('\n').filter(Boolean)).toEqual([
      ...['code', 'compiled', 'run', 'server', 'stripped'],
    ])
    for (const code of ['code', 'compiled', 'stripped'])
      expect(() => seenBy('server', `touch ${view}/${code}/package.json`)).toThrow('Read-only file system')
    expect(seenBy('server', `ls ${view}/code`)).toContain('package.json')
  })

  it('leave secrets to their owners', () => {
    const mode = (path: string): string => (statSync(join(platform.dataDirectory, path)).mode & 0o777).toString(8)
    expect(mode('admin-token')).toBe('600')
    expect([mode('content'), mode('run/instances'), mode('server'), mode('registry')]).toEqual([
      '700',
      '700',
      '700',
      '750',
    ])
    expect(statSync(join(platform.dataDirectory, 'registry')).uid).toBe(0)
    const named = readdirSync(platform.dataDirectory).filter((name) => name.includes('token'))
    expect(named).toEqual(['admin-token'])
  })

  it('carry the token in no argument and no variable', () => {
    for (const [role, pid] of Object.entries(pids)) {
      const seen = readFileSync(`/proc/${pid}/cmdline`, 'utf8') + readFileSync(`/proc/${pid}/environ`, 'utf8')
      expect([role, seen.includes(platform.token)]).toEqual([role, false])
    }
  })
})
