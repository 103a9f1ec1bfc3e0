import { describe, expect, it } from 'vitest'
import { checkMachine, type Machine } from '../../../cli/setup/index.ts'

const GIB = 1024 ** 3
/** A machine on which nothing is wrong. */
const FIT: Machine = {
  platform: 'linux',
  architecture: 'x64',
  kernel: '6.1.0-21-amd64',
  uid: 0,
  distribution: ['debian'],
  fileSystems: ['nodev', 'overlay', 'ext4'],
  cgroup: 'v2',
  freeBytes: 50 * GIB,
  dataDirectory: '/var/lib/slipway',
  dataProblem: null,
  closedCode: null,
  nowMs: Date.UTC(2027, 5, 1),
  dockerSocket: false,
  missing: [],
}

const unfit = (machine: Partial<Machine>, engine: 'runc' | 'docker' = 'runc') =>
  checkMachine({ ...FIT, ...machine }, engine).filter(({ state }) => state !== 'ok')

describe('a machine', () => {
  it.each(['runc', 'docker'] as const)('on which nothing is wrong is fit for %s', (engine) => {
    expect(unfit({}, engine)).toEqual([])
  })

  it.each<[string, Partial<Machine>, string, string, string]>([
    [
      'an old kernel',
      { kernel: '4.19.0-26-amd64' },
      'kernel',
      'kernel 4.19.0-26-amd64 is too old: 5.11 or later is needed',
      'upgrade',
    ],
    [
      'the kernel just before',
      { kernel: '5.10.0' },
      'kernel',
      'kernel 5.10.0 is too old: 5.11 or later is needed',
      'upgrade',
    ],
    ['no overlayfs', { fileSystems: ['ext4'] }, 'overlay', 'the kernel has no overlayfs', 'modprobe overlay'],
    [
      'a clone made under umask 077',
      { closedCode: '/root/slipway/common' },
      'code',
      '/root/slipway/common is closed to other users, and the server runs as one',
      'chmod',
    ],
    [
      'no control groups',
      { cgroup: 'none' },
      'cgroups',
      'no cgroups are mounted below /sys/fs/cgroup',
      'mount cgroup2',
    ],
    [
      'too little space',
      { freeBytes: GIB },
      'disk',
      'only 1.0 GB free where the data directory lies: 2 GB are needed',
      'SLIPWAY_DATA',
    ],
    [
      'a read-only data directory',
      { dataProblem: 'it lies on a read-only file system' },
      'data directory',
      '/var/lib/slipway cannot be used: it lies on a read-only file system',
      'SLIPWAY_DATA',
    ],
    [
      'a clock at the epoch',
      { nowMs: 0 },
      'clock',
      'the clock says 1970-01-01T00:00:00.000Z: tokens and certificates would be refused',
      'set the clock',
    ],
    [
      'a clock far ahead',
      { nowMs: Date.UTC(2150, 0) },
      'clock',
      'the clock says 2150-01-01T00:00:00.000Z: tokens and certificates would be refused',
      'set the clock',
    ],
    ['another system', { platform: 'darwin' }, 'system', 'darwin has no runc', 'slipway up --engine docker'],
  ])('with %s is refused by its own sentence, which says what to do', (_title, machine, name, message, hint) => {
    expect(unfit(machine)).toEqual([{ name, state: 'error', message, hint: expect.stringContaining(hint) }])
  })

  it.each(['5.11.0', '5.11.22-generic', '6.0', '10.2'])('with kernel %s is fit', (kernel) => {
    expect(unfit({ kernel })).toEqual([])
  })

  it('without packages has them installed as root on Debian and on what is like it', () => {
    const missing = ['runc', 'conmon']
    for (const distribution of [['debian'], ['ubuntu', 'debian']]) {
      expect(unfit({ missing, distribution })).toEqual([
        {
          name: 'packages',
          state: 'warning',
          message: 'missing: runc, conmon',
          hint: 'they are installed by npm start, or: apt-get install runc conmon',
        },
      ])
    }
  })

  it('that is not Debian is told once what to install by hand', () => {
    expect(unfit({ distribution: ['fedora'] }).map(({ name, state }) => [name, state])).toEqual([['system', 'warning']])
    const checks = unfit({ distribution: ['fedora'], missing: ['runc'] })
    expect(checks.map(({ name, state }) => [name, state])).toEqual([
      ['system', 'warning'],
      ['packages', 'error'],
    ])
  })

  it('without root is refused for runc, with everything missing beside it, and told whether Docker works', () => {
    const checks = unfit({ uid: 1000, missing: ['runc', 'conmon'], dockerSocket: true })
    expect(checks).toEqual([
      {
        name: 'rights',
        state: 'error',
        message: 'not root: the runc engine needs it',
        hint: 'the Docker engine works without root: slipway up --engine docker',
      },
      {
        name: 'packages',
        state: 'error',
        message: 'missing: runc, conmon',
        hint: 'install them as root: apt-get install runc conmon',
      },
    ])
    expect(unfit({ uid: 1000 })).toMatchObject([{ name: 'rights', hint: 'run as root' }])
  })

  it('without root is fit for Docker, and the weaker walls are said', () => {
    expect(unfit({ uid: 1000, dockerSocket: true, cgroup: 'none', fileSystems: [] }, 'docker')).toEqual([
      {
        name: 'rights',
        state: 'warning',
        message: 'not root: server and supervisor run as the same user',
        hint: 'run as root for the full walls between them',
      },
    ])
  })

  it('with several faults has them all named together', () => {
    const names = unfit({ kernel: '4.4', cgroup: 'none', freeBytes: 0, nowMs: 0, dataProblem: 'x' }).map(
      ({ name }) => name,
    )
    expect(names).toEqual(['kernel', 'cgroups', 'disk', 'data directory', 'clock'])
  })
})
