import { readlinkSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { type Access, outputRecords, streamText, within } from './contract-kit.ts'

const MiB = 1024 * 1024

export function insideContract({ harness, kit }: Access): void {
  describe('inside, a function finds', () => {
    it('its arguments and environment byte for byte, and nothing of the platform', async () => {
      const odd = ['', 'a b', `q"'$HOME\`x\``, 'ü😀', 'line\nline', '--flag=x']
      const env = { OVERLAID: 'from spec', MULTI: 'a\nb=c"\u{1F600}', EMPTY: '', LONG: 'x'.repeat(32 * 1024) }
      const code = `console.log(JSON.stringify({ argv: process.argv.slice(1), env: process.env }))`
      const instance = await kit().runToEnd('', { command: ['/usr/bin/node', '-e', code, '--'], args: odd, env })
      const text = streamText(outputRecords(instance.outputFile), 'stdout')
      const seen = JSON.parse(Buffer.from(text, 'latin1').toString('utf8')) as { argv: string[]; env: object }
      expect(seen.argv).toEqual(odd)
      expect(seen.env).toMatchObject({ ...env, IMAGE_VARIABLE: 'from image', PATH: '/usr/bin:/bin', HOME: '/' })
      const known = [...Object.keys(env), 'IMAGE_VARIABLE', 'PATH', 'HOME', 'HOSTNAME']
      expect(Object.keys(seen.env).filter((name) => !known.includes(name))).toEqual([])
    })

    it('that command replaces entrypoint and cmd, and args alone replace cmd', async () => {
      const { image } = harness()
      const echo = ['/usr/bin/node', '-e', 'console.log(process.argv.slice(1).join())', '--']
      const config = { ...image.config, config: { ...image.config.config, Entrypoint: [...echo, 'E'], Cmd: ['C'] } }
      const said = async (overrides: { command?: string[]; args?: string[] }): Promise<string> => {
        const instance = await kit().start({ image: { ...image, config }, ...overrides })
        await within(instance.exited, 20_000, 'exit')
        return streamText(outputRecords(instance.outputFile), 'stdout').trim()
      }
      expect(await said({})).toBe('E,C')
      expect(await said({ args: ['A'] })).toBe('E,A')
      expect(await said({ command: [...echo, 'X'] })).toBe('X')
      expect(await said({ command: [...echo, 'X'], args: ['A'] })).toBe('X,A')
    })

    it('itself as process 1 without privilege: no capability, no new privileges, a system call filter', async () => {
      const instance = await kit().start({ command: ['/bin/cat', '/proc/self/status'] })
      await within(instance.exited, 20_000, 'exit')
      const status = streamText(outputRecords(instance.outputFile), 'stdout')
      const field = (name: string): string => new RegExp(`^${name}:[ \\t]*(.*)$`, 'm').exec(status)?.[1] ?? ''
      for (const set of ['CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb']) expect(field(set)).toBe('0000000000000000')
      expect(field('NoNewPrivs')).toBe('1')
      expect(field('Seccomp')).toBe('2')
      expect(field('Pid')).toBe('1')
      expect(field('Uid')).toBe('1000\t1000\t1000\t1000')
      expect(field('Gid')).toBe('1000\t1000\t1000\t1000')
      expect(field('Groups')).toMatch(/^(1000)?\s*$/)
      expect(field('Umask')).toBe('0022')
      expect(field('SigBlk')).toBe('0000000000000000')
      expect(field('SigIgn')).toBe('0000000000000000')
    })

    it('the user that the image names, with the groups of that user', async () => {
      const { image } = harness()
      const withUser = async (User: string): Promise<unknown> => {
        const config = { ...image.config, config: { ...image.config.config, User } }
        const probe = await kit().probe({ image: { ...image, config } })
        return probe.eval(`return [process.getuid(), process.getgid(), process.getgroups().sort(), process.env.HOME]`)
      }
      expect(await withUser('probe')).toEqual([1001, 1002, [1002, 1003], '/home/probe'])
      expect(await withUser('1234:1003')).toEqual([1234, 1003, [1003], '/'])
      expect(await withUser('root')).toMatchObject([0, 0, [0], '/root'])
    })

    it('namespaces of its own', async () => {
      const probe = await kit().probe()
      for (const kind of ['pid', 'mnt', 'ipc', 'uts', 'net', 'cgroup']) {
        const inside = await probe.eval(`return fs.readlinkSync('/proc/self/ns/${kind}')`)
        expect(inside).not.toBe(readlinkSync(`/proc/self/ns/${kind}`))
      }
    })

    it('a root that cannot be written', async () => {
      const probe = await kit().probe()
      for (const directory of ['/', '/etc', '/usr/bin', '/probe']) {
        expect(await probe.failure(`fs.writeFileSync('${directory}/x', '')`)).toMatch(/^(EROFS|EACCES)$/)
      }
      const config = { ...harness().image.config, config: { ...harness().image.config.config, User: '0:0' } }
      const root = await kit().probe({ image: { ...harness().image, config } })
      expect(await root.failure(`fs.writeFileSync('/etc/x', '')`)).toBe('EROFS')
    })

    it('an empty /tmp that ends in ENOSPC at its size and is gone in the next instance', async () => {
      const probe = await kit().probe({ tmpBytes: 64 * MiB })
      expect(await probe.eval(`return [fs.readdirSync('/tmp'), fs.statSync('/tmp').mode & 0o7777]`)).toEqual([
        [],
        0o1777,
      ])
      const fill = `const block = Buffer.alloc(1 << 20, 1), fd = fs.openSync('/tmp/full', 'w'); let n = 0
        try { for (; n < 200; n++) fs.writeSync(fd, block) } catch (e) { return [n, e.code] } return [n, 'none']`
      const [written, code] = await probe.eval<[number, string]>(fill)
      expect(code).toBe('ENOSPC')
      expect(written).toBeGreaterThan(48)
      expect(written).toBeLessThanOrEqual(64)
      const next = await kit().probe({ tmpBytes: 64 * MiB })
      expect(await next.eval(`return fs.readdirSync('/tmp')`)).toEqual([])
    })

    it('its own names and devices only', async () => {
      const probe = await kit().probe({ hostname: 'my-host' })
      expect(await probe.eval(`return [os.hostname(), process.cwd()]`)).toEqual(['my-host', '/probe'])
      expect(await probe.eval(`return (await dns.lookup('localhost', { family: 4 })).address`)).toBe('127.0.0.1')
      expect(await probe.eval(`return net.isIP((await dns.lookup('my-host')).address)`)).toBeGreaterThan(0)
      expect(await probe.eval(`return fs.readFileSync('/etc/resolv.conf', 'utf8').includes('search')`)).toBe(false)
      const devices = await probe.eval<string[]>(`return fs.readdirSync('/dev').sort()`)
      const allowed = 'console core fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero'.split(
        ' ',
      )
      expect(devices.filter((name) => !allowed.includes(name))).toEqual([])
      for (const name of [
        'null',
        'zero',
        'full',
        'random',
        'urandom',
        'tty',
        'fd',
        'stdin',
        'stdout',
        'stderr',
        'ptmx',
        'pts',
        'shm',
      ]) {
        expect(devices).toContain(name)
      }
      expect(await probe.failure(`fs.writeFileSync('/dev/shm/x', 'x')`)).toBe('none')
    })

    it('stdin at its end, stdout and stderr, and no other descriptor of the platform', async () => {
      const code = `const fs = require('fs'); const n = fs.readSync(0, Buffer.alloc(1)); const links = []
        for (const fd of fs.readdirSync('/proc/self/fd')) try { links.push(fs.readlinkSync('/proc/self/fd/' + fd)) } catch {}
        console.log(JSON.stringify({ n, tty: [0, 1, 2].map((fd) => require('tty').isatty(fd)), links }))`
      const instance = await kit().runToEnd(code)
      const seen = JSON.parse(streamText(outputRecords(instance.outputFile), 'stdout')) as {
        n: number
        links: string[]
      }
      expect(seen).toMatchObject({ n: 0, tty: [false, false, false] })
      const foreign = seen.links.filter((link) => !/^(pipe:|socket:|anon_inode:|\/dev\/|\/proc\/)/.test(link))
      expect(foreign).toEqual([])
    })

    it('kernel files masked or read-only', async () => {
      const probe = await kit().probe()
      expect(await probe.failure(`fs.writeFileSync('/proc/sys/kernel/hostname', 'x')`)).toMatch(/EROFS|EACCES/)
      expect(await probe.failure(`fs.mkdirSync('/sys/fs/cgroup/x')`)).toMatch(/EROFS|EACCES|ENOENT|EPERM/)
      expect(await probe.failure(`fs.writeFileSync('/sys/kernel/x', 'x')`)).toMatch(/EROFS|EACCES/)
      for (const path of ['/proc/kcore', '/proc/keys', '/proc/timer_list']) {
        const bytes = await probe.eval(`try { return fs.readFileSync('${path}').length } catch { return 0 }`)
        expect(bytes).toBe(0)
      }
    })

    it('its memory limit where runtimes look for it', async () => {
      const probe = await kit().probe({ memoryBytes: 192 * MiB })
      expect(await probe.eval('return process.constrainedMemory()')).toBe(192 * MiB)
    })

    it('no way out of its network namespace', async () => {
      const probe = await kit().probe()
      const code = `return new Promise((resolve) => net.connect(80, '169.254.169.254').on('connect', () => resolve('none'))
        .on('error', (e) => resolve(e.code)).setTimeout(2000, () => resolve('lost')))`
      const outcome = harness().engine.capabilities.localDial ? /ENETUNREACH|EHOSTUNREACH|ECONNREFUSED/ : /^(?!none)/
      expect(await probe.eval(code)).toMatch(outcome)
    })
  })
}
