import { expect } from 'vitest'
import { type Bench, type Check, type Probe } from './bench.ts'

const ENV = 'return process.env'
type Env = Record<string, string>

const OF_THE_PLATFORM = {
  TENCENTCLOUD_RUNENV: 'SCF',
  USER_CODE_ROOT: '/var/user/',
  USER: 'qcloud',
  SCF_FUNCTIONVERSION: '$LATEST',
  PORT: '9000',
}
const NAMES = [
  ...Object.keys(OF_THE_PLATFORM),
  'SCF_FUNCTIONNAME',
  'TENCENTCLOUD_REGION',
  'TENCENTCLOUD_APPID',
  'TENCENTCLOUD_UIN',
]
/** execve(2) takes strings of 128 KiB, end included. */
const TOO_LONG = 128 * 1024 + 1
/** What the platform's generated passwords and bearers look like. */
const SECRETS = 'slw_[A-Za-z0-9_-]{43}|eyJ[A-Za-z0-9_-]{10,}[.]eyJ[A-Za-z0-9_-]{10,}[.][A-Za-z0-9_-]{40,}'

const own = {
  OVERLAID: 'from settings',
  PORT: '1',
  TZ: 'Europe/Berlin',
  MULTI: 'a\nb=c"\'$x \u{1F600}',
  LONG: 'x'.repeat(32 * 1024),
}

async function withEnvironment(bench: Bench): Promise<Probe> {
  return bench.once('environment', async () => {
    await bench.api.put('/v1/namespaces/default', { maxEnvBytes: 1_000_000 })
    return bench.deploy('environment', { env: own })
  })
}

export const environment = {
  B1: async (bench) => {
    expect((await bench.inside<Env>(ENV))['PORT']).toBe('9000')
    expect((await (await withEnvironment(bench)).inside<Env>(ENV))['PORT']).toBe('9000')
  },
  B2: async (bench) => {
    const env = await bench.inside<Env>(ENV)
    expect(env).toMatchObject({ ...OF_THE_PLATFORM, SCF_FUNCTIONNAME: 'image-plain' })
    for (const name of NAMES) expect(env).toHaveProperty(name)
  },
  B3: async (bench) => {
    const env = await (await withEnvironment(bench)).inside<Env>(ENV)
    expect(env).toMatchObject({ IMAGE_VARIABLE: 'from image', OVERLAID: 'from settings' })
    await expect(bench.deploy('b3', { env: { SCF_FUNCTIONNAME: 'mine' } })).rejects.toThrow(/SCF_, which is reserved/)
    const forged = await (await bench.deploy('b3', {}, 'forged')).inside<Env>(ENV)
    expect(forged['SCF_FUNCTIONNAME']).toBe('b3')
  },
  B4: async (bench) => {
    const { MULTI, LONG } = await (await withEnvironment(bench)).inside<Env>(ENV)
    expect({ MULTI, LONG }).toEqual({ MULTI: own.MULTI, LONG: own.LONG })
    const long = bench.deploy('b4', { env: { LONG: 'x'.repeat(TOO_LONG) } })
    await expect(long).rejects.toThrow(/LONG=… has 131078 bytes, the kernel takes at most 131071/)
  },
  B5: async (bench) => {
    expect((await bench.inside<Env>(ENV))['PATH']).toBe('/usr/local/bin:/usr/bin:/bin')
    const bare = await (await bench.of('bare')).inside<Env>(ENV)
    expect(bare['PATH']).toBe('/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin')
  },
  B6: async (bench) => {
    const hostname = await bench.inside<string>('return os.hostname()')
    expect(await bench.inside<Env>(ENV)).toMatchObject({ HOME: '/', USER: 'qcloud', HOSTNAME: hostname })
    expect((await (await bench.of('named')).inside<Env>(ENV))['HOME']).toBe('/home/probe')
  },
  B7: async (bench) => {
    const bare = await (await bench.of('bare')).inside<Env>(ENV)
    expect(Object.keys(bare).filter((name) => ![...NAMES, 'PATH', 'HOME', 'HOSTNAME'].includes(name))).toEqual([])
    const plain = Object.keys(await bench.inside<Env>(ENV))
    expect(plain.filter((name) => !(name in bare)).sort()).toEqual(['IMAGE_VARIABLE', 'OVERLAID'])
  },
  B8: async (bench) => {
    const probe = await bench.deploy('b8', {}, 'root')
    const found = await probe.inside<string[]>(`
      fs.writeFileSync('/tmp/planted', 'slw_' + 'x'.repeat(43))
      const secret = /^(?:${SECRETS})/
      const holds = (bytes) => bytes.includes('${bench.platform.token}') || ['slw_', 'eyJ'].some((start) => {
        for (let at = bytes.indexOf(start); at !== -1; at = bytes.indexOf(start, at + 1))
          if (secret.test(bytes.toString('latin1', at, at + 8192))) return true
        return false
      })
      const found = []
      const look = (path) => { try { if (holds(fs.readFileSync(path))) found.push(path) } catch { /* not for us */ } }
      const walk = (directory) => {
        for (const entry of fs.readdirSync(directory || '/', { withFileTypes: true })) {
          const path = directory + '/' + entry.name
          if (entry.isDirectory() && path !== '/proc' && path !== '/sys') walk(path)
          else if (entry.isFile()) look(path)
        }
      }
      walk('')
      for (const name of ['environ', 'cmdline', 'mountinfo', 'maps']) look('/proc/1/' + name)
      fs.rmSync('/tmp/planted') // the platform's own search would find it too
      return found`)
    // What was planted shows that the search finds.
    expect(found).toEqual(['/tmp/planted'])
  },
  B9: async (bench) => {
    expect(await bench.inside<Env>(ENV)).not.toHaveProperty('TZ')
    const zone = 'return childProcess.execFileSync("date", ["+%z"], { encoding: "utf8" }).trim()'
    expect(await bench.inside(zone)).toBe('+0000')
    const chosen = await (await withEnvironment(bench)).inside<string>(
      'return Intl.DateTimeFormat().resolvedOptions().timeZone',
    )
    expect(chosen).toBe('Europe/Berlin')
  },
} satisfies Record<string, Check>
