import { describe, expect, it } from 'vitest'
import { instanceNames } from '../../../sandbox/names.ts'
import { seccompFilter } from '../../../sandbox/seccomp.ts'
import { type ContainerSpec, commandLine, environment, identityFiles, ociSpec } from '../../../sandbox/spec.ts'

const spec: ContainerSpec = {
  image: { Entrypoint: ['/e'], Cmd: ['c'], Env: ['A=image', 'B=image', 'broken'] },
  env: {},
  hostname: 'h',
  memoryBytes: 1000,
  pids: 32,
  openFiles: 5000,
  user: { uid: 1, gid: 2, additionalGids: [3], home: '/home/x' },
}
const walls = {
  names: instanceNames('abcd1234', '00112233445566ff', '/data/run/instances/00112233445566ff'),
  seccomp: seccompFilter('x64'),
  maxOpenFiles: 4096,
  limitSwap: true,
}
interface Shape {
  process: {
    rlimits: unknown
    capabilities: Record<string, string[]>
    noNewPrivileges: boolean
    cwd: string
    user: unknown
  }
  root: unknown
  mounts: { destination: string; options: string[] }[]
  linux: {
    namespaces: { type: string; path?: string }[]
    resources: unknown
    cgroupsPath: string
    maskedPaths: string[]
  }
}
const made = (overrides: Partial<ContainerSpec> = {}, wallOverrides = {}): Shape =>
  ociSpec({ ...spec, ...overrides }, { ...walls, ...wallOverrides }) as Shape

describe('the command line of an instance', () => {
  const image = { Entrypoint: ['/e'], Cmd: ['c'] }
  it.each([
    [{}, ['/e', 'c']],
    [{ args: ['a'] }, ['/e', 'a']],
    [{ args: [] }, ['/e']],
    [{ command: ['/x'] }, ['/x']],
    [{ command: ['/x'], args: ['a'] }, ['/x', 'a']],
  ])('with %j over an image with both is %j', (overrides, expected) => {
    expect(commandLine({ image, ...overrides })).toEqual(expected)
  })

  it('is refused when there is none', () => {
    expect(() => commandLine({ image: {} })).toThrow('the image has neither ENTRYPOINT nor CMD')
  })

  it('is refused with a NUL byte or an argument that execve would not take', () => {
    expect(() => commandLine({ image, args: ['a\0b'] })).toThrow('NUL')
    expect(() => commandLine({ image, args: ['x'.repeat(131_072)] })).toThrow('longer than 131071 bytes')
    expect(commandLine({ image, args: ['x'.repeat(131_071)] })).toHaveLength(2)
  })
})

describe('the environment of an instance', () => {
  it('is that of the image, overlaid, with PATH, HOME and HOSTNAME where neither has them', () => {
    expect(environment({ ...spec, env: { B: 'own', C: '' } }).sort()).toEqual([
      'A=image',
      'B=own',
      'C=',
      'HOME=/home/x',
      'HOSTNAME=h',
      'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
    ])
  })

  it('leaves what the image says of PATH and HOME', () => {
    const all = environment({ ...spec, image: { Env: ['PATH=/p', 'HOME=/h'] } })
    expect(all).toContain('PATH=/p')
    expect(all).toContain('HOME=/h')
  })

  it.each([[{ 'A=B': 'x' }], [{ '': 'x' }], [{ A: 'x\0' }], [{ A: 'x'.repeat(131_072) }]])('refuses %.60j', (env) => {
    expect(() => environment({ ...spec, env })).toThrow(expect.objectContaining({ code: 'instance-create-failed' }))
  })
})

describe('the configuration for the runtime', () => {
  it('gives no capability and no new privileges', () => {
    const { process } = made()
    for (const set of ['bounding', 'effective', 'inheritable', 'permitted', 'ambient']) {
      expect(process.capabilities[set]).toEqual([])
    }
    expect(process.noNewPrivileges).toBe(true)
  })

  it('has a read-only root and only /tmp, /dev, its terminals and shared memory writable', () => {
    const { root, mounts } = made()
    expect(root).toEqual({ path: '/data/run/instances/00112233445566ff/root', readonly: true })
    const writable = mounts.filter(({ options }) => !options.includes('ro')).map(({ destination }) => destination)
    expect(writable.sort()).toEqual(['/dev', '/dev/pts', '/dev/shm', '/proc', '/tmp'])
    for (const { destination, options } of mounts) expect(`${destination} ${options.join()}`).toContain('nosuid')
  })

  it('clamps the limit of open files to what this process may give, and forbids core dumps', () => {
    expect(made().process.rlimits).toEqual([
      { type: 'RLIMIT_NOFILE', soft: 4096, hard: 4096 },
      { type: 'RLIMIT_CORE', soft: 0, hard: 0 },
    ])
    expect(made({ openFiles: 100 }).process.rlimits).toContainEqual({ type: 'RLIMIT_NOFILE', soft: 100, hard: 100 })
  })

  it('limits swap together with memory only where the kernel counts it', () => {
    expect(made().linux.resources).toMatchObject({ memory: { limit: 1000, swap: 1000 }, pids: { limit: 32 } })
    expect(made({}, { limitSwap: false }).linux.resources).toMatchObject({ memory: { limit: 1000 } })
  })

  it('joins the network namespace of the instance and makes the others anew', () => {
    const { namespaces, cgroupsPath } = made().linux
    expect(namespaces.map(({ type }) => type).sort()).toEqual(['cgroup', 'ipc', 'mount', 'network', 'pid', 'uts'])
    expect(namespaces.find(({ type }) => type === 'network')?.path).toBe('/data/run/instances/00112233445566ff/netns')
    expect(cgroupsPath).toBe('/slipway-abcd1234/00112233445566ff')
  })

  it.each(['', 'two words', 'a\nb', '-x', 'x'.repeat(64)])('refuses the host name %j', (hostname) => {
    expect(() => made({ hostname })).toThrow('is no host name')
  })

  it('takes the working directory of the image, or /', () => {
    expect(made({ image: { Entrypoint: ['/e'], WorkingDir: '/w' } }).process.cwd).toBe('/w')
    expect(made({ image: { Entrypoint: ['/e'], WorkingDir: '' } }).process.cwd).toBe('/')
  })
})

it('the host file of an instance resolves localhost and its own name', () => {
  expect(identityFiles('me').hosts).toMatch(/^127\.0\.0\.1\tlocalhost$/m)
  expect(identityFiles('me').hosts).toMatch(/^169\.254\.9\.1\tme$/m)
  expect(identityFiles('me').resolvConf).not.toMatch(/nameserver|search/)
})
